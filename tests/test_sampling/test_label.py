"""label(): boxes agree after correction, processes agree bit for bit, frozen points are marked."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from itertools import count
from multiprocessing import get_context

import numpy as np
import pytest
from boxes import Q, ideal_gas

import sampling.label
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.box_size import differing_from, in_a_larger_box
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import Estimate
from sampling.label import LabelTask, label
from sampling.labelled_point import labelled

PHI = np.array([5.0, 3.0, 3.0, 3.0])


def task_at(x, expansion, *, mu=None, **changes):
    eta = np.atleast_2d(x) @ Q.T
    settings = {
        "expansion": expansion,
        "system": "fcc-L12",
        "cells": (3,),
        "temperature": 1000.0,
        "centre": eta + (0.0 if mu is None else mu / (2 * PHI)),
        "stiffness": np.broadcast_to(PHI, eta.shape).copy(),
        "point_seeds": tuple(range(len(eta))),
        "seed": 1,
        "schedule": Schedule(walkers=64, sweeps=400, burn_in=50, stride=2),
    }
    return LabelTask(**(settings | changes))


def ideal_mu(x, temperature=1000.0):
    return BOLTZMANN_EV * temperature / 4 * np.log(x / (1 - x)) @ np.linalg.inv(Q)


def test_ideal_gas_has_its_closed_form_mu_hessian_and_no_energy():
    x = np.array([[0.05, 0.05, 0.05, 0.05], [0.92, 0.04, 0.06, 0.03], [0.4, 0.5, 0.3, 0.6]])
    schedule = Schedule(walkers=64, sweeps=4000, burn_in=50, stride=2)
    points = label(task_at(x, ideal_gas(), mu=ideal_mu(x), cells=(4,), schedule=schedule))
    inverse = np.linalg.inv(Q)
    for point in points:
        fractions = point.eta.value @ inverse.T
        # What is left is the umbrella's coupling of sublattices, below 0.1 meV here; uncorrected,
        # the dilute points would be 3 to 10 meV off.
        miss = point.mu.value - ideal_mu(fractions)
        assert (np.abs(miss) < 4 * point.mu.stderr + 2e-4).all()
        assert np.abs(point.mu_raw + point.correction - point.mu.value).max() < 1e-15
        curvature = BOLTZMANN_EV * 1000 / 4 / (fractions * (1 - fractions))
        expected = inverse.T @ np.diag(curvature) @ inverse
        miss = np.abs(point.hessian.value - expected)
        assert (miss < 4 * point.hessian.stderr + 0.01 * np.abs(expected).max()).all()
        assert point.energy.value == point.energy.stderr == 0
        assert point.ergodic
    assert [point.stiff for point in points[:2]] == [True, True]
    assert np.abs(points[0].correction[0]) > 5e-3


def test_boxes_of_different_size_agree_once_corrected():
    """Interacting, dilute γ at 1000 K: 108 and 864 sites, μ carried to one ⟨η⟩ by H."""
    x = np.full((1, 4), 0.05)
    mu = np.array([-0.90, 0.0, 0.0, 0.0])
    small, large = (
        label(
            task_at(x, illustrative_expansion(), mu=mu, cells=(cells,),
                    schedule=Schedule(sweeps=sweeps, burn_in=100, stride=2))
        )[0]
        for cells, sweeps in ((4, 6000), (6, 2000))
    )  # fmt: skip
    shift = small.hessian.value @ (large.eta.value - small.eta.value)
    raw = small.mu_raw + shift - large.mu_raw
    corrected = small.mu.value + shift - large.mu.value
    error = np.hypot(small.mu.stderr, large.mu.stderr)
    assert raw[0] > 0.008
    assert (np.abs(corrected) < 4 * error).all()
    assert error.max() < 5e-4


def same(a, b):
    for field in fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if field.name == "wall_s":
            continue
        if isinstance(left, Estimate):
            assert np.array_equal(left.value, right.value, equal_nan=True)
            assert np.array_equal(left.stderr, right.stderr, equal_nan=True)
        elif field.name == "schedule":
            assert left == right
        else:
            assert np.array_equal(left, right, equal_nan=not isinstance(left, str))


def test_processes_and_splitting_change_no_bit():
    x = np.random.default_rng(0).uniform(0.1, 0.9, (4, 4))
    schedule = Schedule(walkers=24, sweeps=40, burn_in=10, stride=2)
    task = task_at(x, illustrative_expansion(), schedule=schedule)
    halves = [
        replace(
            task, centre=task.centre[part], stiffness=task.stiffness[part],
            point_seeds=task.point_seeds[part],
        )
        for part in (slice(0, 1), slice(1, 4))
    ]  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = [point for points in pool.map(label, halves) for point in points]
    for a, b in zip(label(task), elsewhere, strict=True):
        same(a, b)


def test_a_point_whose_sublattice_never_changes_is_marked_and_spares_the_others():
    x = np.array([[0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.5, 0.4]])
    mu = np.array([[-8.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    frozen, alive = label(task_at(x, illustrative_expansion(), mu=mu, temperature=900.0))
    assert (frozen.eta.value == 0).all()
    assert np.isnan(frozen.mu.value).all()
    assert np.isnan(frozen.hessian.value).all()
    assert (frozen.ergodic, frozen.stiff) == (False, False)
    assert np.isfinite([alive.mu.value, alive.mu.stderr]).all()


def ordering(**changes):
    """A state where order sets in slowly, from random starts and without burn-in."""
    x = np.array([0.57, 0.97, 0.02, 0.49])
    schedule = Schedule(**({"walkers": 64, "burn_in": 0, "stride": 2} | changes))
    task = task_at(x, illustrative_expansion(), cells=(4,), schedule=schedule)
    return label(task)[0]


def test_records_before_equilibrium_are_left_out_and_the_rest_agrees_with_a_long_run():
    fresh, long = ordering(sweeps=800), ordering(sweeps=2000, burn_in=1000)
    assert fresh.equilibrated
    assert fresh.dropped > 0
    assert long.dropped == 0
    miss = (fresh.energy.value - long.energy.value).item()
    assert abs(miss) < 4 * np.hypot(fresh.energy.stderr, long.energy.stderr)


def unknown_errors(point):
    return [
        bool(np.isnan(estimate.stderr).all()) and bool(np.isfinite(estimate.value).all())
        for estimate in (point.eta, point.mu, point.hessian, point.energy)
    ]


def test_chains_too_short_for_error_bars_have_none():
    point = ordering(sweeps=10, burn_in=200)
    assert point.equilibrated
    assert unknown_errors(point) == [True] * 4


def test_a_point_that_drifts_to_its_end_has_no_error_bars(monkeypatch):
    """η at rest and the energy still going down, as when domains coarsen."""
    steady = ordering(sweeps=400, burn_in=200)

    def coarsening(*args, **kwargs):
        samples = sample(*args, **kwargs)
        fall = np.linspace(0.0, -0.01, samples.energy.shape[1])
        return replace(samples, energy=samples.energy + fall[:, None])

    monkeypatch.setattr(sampling.label, "sample", coarsening)
    drifting = ordering(sweeps=400, burn_in=200)
    assert (steady.equilibrated, drifting.equilibrated) == (True, False)
    assert unknown_errors(steady) == [False] * 4
    assert unknown_errors(drifting) == [True] * 4


def in_boxes(x, mu, cells, sweeps, **changes):
    schedule = Schedule(walkers=32, sweeps=sweeps, burn_in=200, stride=2)
    return label(task_at(x, illustrative_expansion(), mu=np.asarray(mu), cells=cells,
                         schedule=schedule, **changes))  # fmt: skip


def test_a_homogeneous_state_is_sampled_in_the_largest_box_and_freed_of_its_size():
    """Disorder with strong short-range order: 108 sites add 16 meV to μ₀ of a large box."""
    small, both, large = (
        in_boxes([[0.15] * 4], [[-0.74, 0.0, 0.0, 0.0]], cells, sweeps, temperature=1500.0)[0]
        for cells, sweeps in (((3,), 8_000), ((3, 4), 8_000), ((6, 8), 2_000))
    )
    directions = FCC_L12.directions.numpy()

    def miss(point):
        carried = large.hessian.value @ (point.eta.value - large.eta.value)
        return (point.mu.value - large.mu.value - carried) @ directions

    assert [p.homogeneous for p in (small, both, large)] == [True] * 3
    assert (both.cells, both.sites, both.length) == (4, 256, pytest.approx(4 * 3.56))
    error = np.sqrt(sum(p.sublattice_stderr**2 + p.size_error**2 for p in (both, large)))
    assert (np.abs(miss(both)) < 4 * error).all()
    assert (np.abs(miss(small)) > 4 * error).all()
    assert error.max() < 3e-3


def test_a_state_that_parts_into_phases_is_learned_from_the_smallest_box_with_its_doubt():
    (point,) = in_boxes([[0.57, 0.97, 0.02, 0.49]], np.zeros(4), (3, 4, 6), 600)
    (alone,) = in_boxes([[0.57, 0.97, 0.02, 0.49]], np.zeros(4), (3,), 600)
    assert not point.homogeneous
    assert point.cells == 3
    assert np.array_equal(point.mu.value, alone.mu.value)
    assert (alone.size_error == 0).all()
    assert (point.size_error == point.size_error[0]).all()
    assert point.size_error[0] > 5e-3
    # It went no further than the second box.
    attempted = 32 * (108 * (200 + 600) + 256 * (200 + 400))
    assert (alone.flips, point.flips) == (32 * 108 * (200 + 600), attempted)


def test_a_box_whose_state_is_unstable_rules_out_all_larger_ones(monkeypatch):
    """A mixture can look stable in a large box: nothing but the smallest says that it is not."""
    seen = {}

    def told(samples, hamiltonian, *, length):
        point = labelled(samples, hamiltonian, length=length)
        if point.cells == 3:
            bent = replace(point.hessian, value=point.hessian.value - 10 * np.eye(4))
            point = replace(point, hessian=bent, homogeneous=False)
        seen[point.cells] = point
        return point

    monkeypatch.setattr(sampling.label, "labelled", told)
    schedule = Schedule(walkers=8, sweeps=1000, burn_in=10, stride=2)
    (point,) = label(task_at([[0.3, 0.4, 0.5, 0.6]], ideal_gas(), cells=BOXES, schedule=schedule))
    assert seen[4].homogeneous
    assert list(seen) == [3, 4]
    same(point, replace(differing_from(seen[4], seen[3], FCC_L12, 1000.0), flips=point.flips))


BOXES = (3, 4, 5, 6)


@pytest.mark.parametrize(
    ("homogeneous", "sampled", "kept", "beside"),
    [
        ("TTTT", 4, 6, 5),
        ("TTFT", 3, 4, 3),
        ("FTTF", 4, 5, 4),
        ("FTFT", 3, 4, 3),
        ("FFTT", 2, 3, 4),
        ("TFTT", 2, 3, 4),
    ],
)
def test_boxes_are_climbed_while_homogeneous_and_compared_with_the_one_below(
    monkeypatch, homogeneous, sampled, kept, beside
):
    """Ideal gases that are said to be homogeneous, or not, one second in each box."""
    state = dict(zip(BOXES, (letter == "T" for letter in homogeneous), strict=True))
    seen = {}

    def told(samples, hamiltonian, *, length):
        point = labelled(samples, hamiltonian, length=length)
        seen[point.cells] = replace(point, homogeneous=state[point.cells])
        return seen[point.cells]

    monkeypatch.setattr(sampling.label, "labelled", told)
    seconds = count()
    monkeypatch.setattr(sampling.label.time, "perf_counter", lambda: float(next(seconds)))
    schedule = Schedule(walkers=8, sweeps=1000, burn_in=10, stride=2)
    (point,) = label(task_at([[0.3, 0.4, 0.5, 0.6]], ideal_gas(), cells=BOXES, schedule=schedule))
    assert list(seen) == list(BOXES[:sampled])
    assert (point.cells, point.wall_s) == (kept, sampled)
    # As many flips as in the smallest, 1000·27/64 = 422 sweeps of 4³ cells, but 400 at least.
    sweeps = {3: 1000, 4: 422}
    assert point.flips == sum(8 * 4 * n**3 * (10 + sweeps.get(n, 400)) for n in seen)
    if state[kept] and beside < kept and state[beside]:
        expected = in_a_larger_box(seen[beside], seen[kept], FCC_L12, 1000.0)
    else:
        expected = differing_from(seen[beside], seen[kept], FCC_L12, 1000.0)
    same(point, replace(expected, flips=point.flips))


def test_a_larger_box_is_sampled_no_longer_than_a_smallest_of_few_sweeps():
    schedule = Schedule(walkers=8, sweeps=60, burn_in=10, stride=2)
    (point,) = label(task_at([[0.3, 0.4, 0.5, 0.6]], ideal_gas(), cells=(3, 5), schedule=schedule))
    assert point.flips == 8 * 4 * (27 + 125) * (10 + 60)


def test_boxes_that_do_not_ascend_are_refused():
    with pytest.raises(ValueError, match=r"`cells` must hold .* ascending; it is \(4, 3\)"):
        task_at(np.full(4, 0.5), ideal_gas(), cells=(4, 3))


def test_an_unknown_system_is_refused():
    with pytest.raises(ValueError, match=r"`system` must be one of .*; it is 'hcp'"):
        label(task_at(np.full(4, 0.5), ideal_gas(), system="hcp"))


def test_a_task_with_too_few_seeds_is_refused():
    with pytest.raises(ValueError, match="equally many; they are 2, 2 and 1"):
        task_at(np.full((2, 4), 0.5), ideal_gas(), point_seeds=(0,))
