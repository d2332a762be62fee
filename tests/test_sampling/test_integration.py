"""Thermodynamic integration against enumeration, closed forms and an independent estimator."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from boxes import LAYERS, all_states, ideal_gas, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import Estimate
from sampling.exchange import exchange
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.integration import (
    INFINITE_TEMPERATURE,
    Integral,
    coin_tosses,
    crossing,
    integrate,
    low_temperature,
)
from sampling.lattice import Supercell

SMALL = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2))
SCHEDULE = Schedule(walkers=32, sweeps=1600, burn_in=100, stride=2)
STATES = all_states(16)
ETA = SMALL.supercell.filled(STATES) / 8 @ LAYERS.q.numpy().T
ENERGY = SMALL.energy(STATES)


def fields(*rows):
    return Umbrella.semi_grand(LAYERS, np.array(rows, dtype=float))


def exact(umbrella, kelvin):
    """G of every point by summing over all states."""
    found = []
    for i, temperature in enumerate(np.broadcast_to(kelvin, len(umbrella.centre))):
        u = (ENERGY + 16 * umbrella[i : i + 1].energy(ETA)) / (BOLTZMANN_EV * temperature)
        found.append((u.min() - np.log(np.exp(u.min() - u).sum())) / 16)
    return np.array(found)


def assert_close(integral, expected):
    assert integral.sound.all()
    assert (integral.rule_error < 2 * integral.reduced.stderr.max()).all()
    miss = np.abs(integral.reduced.value - expected)
    assert (miss[1:] < 4 * integral.reduced.stderr[1:]).all()
    assert integral.reduced.stderr.max() < 2e-3


def test_cooling_from_infinite_temperature_gives_the_enumerated_free_energy():
    kelvin = 1 / np.linspace(1 / 30000, 1 / 800, 16)
    umbrella = fields(*[[0.1, 0.05]] * 16)
    samples = sample(SMALL, umbrella, temperature=kelvin, schedule=SCHEDULE, seed=1)
    hot = coin_tosses(SMALL, umbrella[:1], schedule=SCHEDULE, seed=1)
    integral = integrate([hot, samples], reference=INFINITE_TEMPERATURE)
    assert_close(integral, [INFINITE_TEMPERATURE, *exact(umbrella, kelvin)])
    omega = integral.reduced.value[-1] * BOLTZMANN_EV * kelvin[-1]
    assert integral.potential.value[-1] == pytest.approx(omega)


LINE = np.linspace(0.0, 1.0, 21)[:, None]
SEMI_GRAND = Umbrella.semi_grand(LAYERS, LINE * [2.2, 0.1] - [1.5, 0.0])
CENTRE = Umbrella(LAYERS, LINE * [0.9, 0.1], np.full((21, 2), 1.5))
ALL = Umbrella(LAYERS, LINE * [0.4, 0.1], 2 * LINE * [1.0, 0.3], LINE * [0.2, -0.1])


@pytest.mark.parametrize(
    ("umbrella", "kelvin"),
    [(SEMI_GRAND, 1200.0), (CENTRE, 1200.0), (ALL, 1 / np.linspace(1 / 2000, 1 / 1000, 21))],
    ids=["field", "umbrella centre", "all at once"],
)
def test_any_path_gives_the_enumerated_differences(umbrella, kelvin):
    samples = sample(SMALL, umbrella, temperature=kelvin, schedule=SCHEDULE, seed=2)
    expected = exact(umbrella, kelvin)
    assert_close(integrate([samples], reference=expected[0]), expected)


def test_errors_hold_where_walkers_are_exchanged_between_points():
    umbrella = fields(*[[0.1, 0.0]] * 6)
    kelvin = 1 / np.linspace(1 / 2000, 1 / 700, 6)
    schedule = Schedule(walkers=32, sweeps=1200, burn_in=64, stride=2)
    ladder = exchange(SMALL, umbrella, temperature=kelvin, schedule=schedule, seed=4, every=6)
    expected = exact(umbrella, kelvin)
    integral = integrate([ladder.samples], reference=expected[0])
    assert (np.abs(integral.reduced.value - expected)[1:] < 4 * integral.reduced.stderr[1:]).all()


def test_the_ideal_gas_in_a_field_is_its_closed_form_in_a_large_box():
    box = Supercell(FCC_L12, 8)
    line = np.linspace(0.4, 1.0, 7)[:, None]
    umbrella = Umbrella.semi_grand(FCC_L12, line * [0.3, 0.2, -0.1, 0.0])
    samples = sample(
        ClusterHamiltonian.on(ideal_gas(), box), umbrella, temperature=1000.0, seed=3,
        schedule=Schedule(walkers=16, sweeps=120, burn_in=20, stride=2),
    )  # fmt: skip
    per_site = 4 * umbrella.sublattice_field / (BOLTZMANN_EV * 1000)
    expected = -np.log1p(np.exp(per_site)).mean(1)
    integral = integrate([samples], reference=float(expected[0]))
    assert integral.reduced.value == pytest.approx(expected, abs=2e-4)
    miss = np.abs(integral.reduced.value - expected)
    assert (miss[1:] < 4 * np.hypot(integral.reduced.stderr, integral.rule_error)[1:]).all()


def test_few_flips_of_an_ideal_gas_are_exact_at_any_temperature():
    box = Supercell(FCC_L12, 2)
    umbrella = Umbrella.semi_grand(FCC_L12, np.array([[-0.3, 0.1, 0.0, 0.05]] * 2))
    kelvin = np.array([300.0, 3000.0])
    found = low_temperature(
        ClusterHamiltonian.on(ideal_gas(), box), umbrella, temperature=kelvin,
        occupation=np.zeros(32, np.uint8),
    )  # fmt: skip
    per_site = 4 * umbrella.sublattice_field / (BOLTZMANN_EV * kelvin[:, None])
    assert found == pytest.approx(-np.log1p(np.exp(per_site)).mean(1))


def test_few_flips_leave_out_three_at_a_time():
    umbrella = fields(*[[-1.5, 0.0]] * 3)
    kelvin = np.array([2500.0, 1800.0, 1400.0])
    empty = np.zeros(16, np.uint8)
    found = low_temperature(SMALL, umbrella, temperature=kelvin, occupation=empty)
    cost = SMALL.flip_cost(empty[None], 0)[0] + 1.5
    miss = np.abs(found - exact(umbrella, kelvin))
    assert miss[-1] < 1e-6
    order = np.diff(np.log(miss)) / np.diff(-cost / (BOLTZMANN_EV * kelvin))
    assert (order > 2.5).all()


def test_the_limits_join_the_integral():
    # From the dilute limit along the field, and from infinite temperature: one number.
    start = fields([-1.5, 0.0])
    along = sample(SMALL, SEMI_GRAND[:16], temperature=1200.0, schedule=SCHEDULE, seed=5)
    reference = low_temperature(
        SMALL, start, temperature=1200.0, occupation=np.zeros(16, np.uint8)
    )  # fmt: skip
    end = integrate([along], reference=float(reference[0]))
    corner = Umbrella.semi_grand(LAYERS, np.tile(SEMI_GRAND.field[15], (16, 1)))
    kelvin = 1 / np.linspace(1 / 20000, 1 / 1200, 16)
    cooled = sample(SMALL, corner, temperature=kelvin, schedule=SCHEDULE, seed=6)
    hot = coin_tosses(SMALL, corner[:1], schedule=SCHEDULE, seed=7)
    other = integrate([hot, cooled], reference=INFINITE_TEMPERATURE)
    sigma = np.hypot(end.reduced.stderr[-1], other.reduced.stderr[-1])
    assert abs(end.reduced.value[-1] - other.reduced.value[-1]) < 4 * sigma


def test_free_energies_agree_with_the_multistate_estimator():
    samples = sample(SMALL, ALL, temperature=1500.0, schedule=SCHEDULE, seed=8)
    eta = samples.eta[:, ::10].reshape(-1, 2)
    energy = samples.energy[:, ::10].reshape(-1)
    beta_n = 16 / (BOLTZMANN_EV * 1500)
    reduced = np.array([beta_n * (energy + ALL[i : i + 1].energy(eta)) for i in range(21)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of pymbar about its optional packages and its solvers.
        from pymbar import MBAR

        result = MBAR(reduced, np.full(21, len(energy) // 21)).compute_free_energy_differences()
    integral = integrate([samples], reference=0.0)
    sigma = np.hypot(result["dDelta_f"][0] / 16, integral.reduced.stderr)
    miss = np.abs(result["Delta_f"][0] / 16 - integral.reduced.value)
    assert (miss[1:] < 4 * sigma[1:]).all()


def test_no_error_is_quoted_behind_a_point_that_is_not_in_equilibrium():
    kelvin = np.array([2000.0, 1500.0, 50.0, 1500.0])
    samples = sample(
        SMALL, fields(*[[0.1, 0.0]] * 4), temperature=kelvin, seed=9,
        schedule=Schedule(walkers=16, sweeps=400, burn_in=50, stride=2),
    )  # fmt: skip
    integral = integrate([samples], reference=0.0)
    assert integral.sound.tolist() == [True, True, False, True]
    assert np.isnan(integral.reduced.stderr).tolist() == [False, False, True, True]


def test_a_frozen_crystal_is_no_chain_too_short():
    kelvin = np.array([110.0, 120.0, 130.0])
    samples = sample(
        SMALL, fields(*[[-1.5, 0.01]] * 3), temperature=kelvin, seed=9,
        schedule=Schedule(walkers=7, sweeps=100, burn_in=10, stride=3),
        start=np.zeros((3, 7, 16), np.uint8),
    )  # fmt: skip
    integral = integrate([samples], reference=0.0)
    assert (samples.eta == 0).all()
    assert integral.sound.all()
    assert (integral.reduced.stderr < 1e-15).all()
    ground = (SMALL.energy(np.zeros((1, 16), np.uint8))[0] / 16) / (BOLTZMANN_EV * kelvin)
    assert integral.reduced.value == pytest.approx(ground - ground[0])


def short(walkers=4, cells=2, points=2):
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), Supercell(LAYERS, cells))
    schedule = Schedule(walkers=walkers, sweeps=4, burn_in=0, stride=1)
    umbrella = fields(*[[0.0, 0.0]] * points)
    return sample(hamiltonian, umbrella, temperature=900.0, schedule=schedule, seed=0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (lambda: [short(points=1)], "at least two points; it holds 1"),
        (lambda: [short(walkers=1)], "at least two; it has (sites, walkers) [(16, 1)]"),
        (lambda: [short(), short(walkers=5)], "[(16, 4), (16, 5)]"),
        (lambda: [short(), short(cells=3)], "[(16, 4), (54, 4)]"),
    ],
)
def test_paths_that_do_not_hang_together_are_refused(path, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        integrate(path(), reference=0.0)


def test_limits_outside_their_range_are_refused():
    empty = np.zeros(16, np.uint8)
    with pytest.raises(ValueError, match="must have no `stiffness`"):
        low_temperature(SMALL, CENTRE, temperature=900.0, occupation=empty)
    with pytest.raises(ValueError, match="must be a ground state at these fields; a flip costs -"):
        low_temperature(SMALL, fields([2.0, 0.0]), temperature=900.0, occupation=empty)
    with pytest.raises(ValueError, match="`umbrella` must hold one point; it holds 21"):
        coin_tosses(SMALL, ALL, schedule=SCHEDULE, seed=0)


@pytest.mark.parametrize("kelvin", [0.0, -500.0, np.nan])
def test_a_limit_at_no_temperature_is_refused(kelvin):
    with pytest.raises(ValueError, match="`temperature` must be finite and positive"):
        low_temperature(
            SMALL, fields([-1.5, 0.0]), temperature=kelvin, occupation=np.zeros(16, np.uint8)
        )


@pytest.mark.parametrize("occupation", [np.zeros(15, np.uint8), np.full(16, 2)])
def test_a_crystal_of_another_box_is_refused(occupation):
    with pytest.raises(ValueError, match="must hold 0 or 1 for each of the box's 16 sites"):
        low_temperature(SMALL, fields([-1.5, 0.0]), temperature=900.0, occupation=occupation)


@pytest.mark.parametrize("reference", [np.nan, np.inf])
def test_an_unknown_reference_is_refused(reference):
    with pytest.raises(ValueError, match="`reference` must be finite; it is"):
        integrate([short()], reference=reference)


def made_up(kelvin, records):
    """Samples of energies [point, sample, walker] that no run made."""
    _, samples, walkers = records.shape
    like = sample(
        SMALL, fields(*[[0.0, 0.0]] * len(kelvin)), temperature=kelvin, seed=0,
        schedule=Schedule(walkers=walkers, sweeps=samples, burn_in=0, stride=1),
    )  # fmt: skip
    return replace(like, energy=records)


def test_variances_of_few_records_leave_no_bias():
    """ΔG between an energy that is fixed and one that is normal, from four records of two walkers.

    The variance of so few is an eighth too small on average; what (N/12)Δβ² of it enters is not.
    """
    pairs, spread = 500, 10.0
    beta = np.tile([1.0, 1.1], pairs)
    records = spread * np.random.default_rng(3).standard_normal((2 * pairs, 4, 2))
    records[::2] = 0.0
    integral = integrate([made_up(1 / (BOLTZMANN_EV * beta), records)], reference=0.0)
    steps = np.diff(integral.reduced.value)[::2]
    exact = 16 / 12 * (0.1 * spread) ** 2
    error = steps.std() / np.sqrt(pairs)
    assert error < exact / 8 / 5
    assert abs(steps.mean() - exact) < 4 * error


def straight(omega, slope, along, stderr=1e-4):
    """G = omega + slope·along + along²/20 as if it had been integrated."""
    value = omega + slope * along + along**2 / 20
    return Integral(
        reduced=Estimate(value, np.full(len(along), stderr)),
        rule_error=np.zeros(len(along)),
        sound=np.ones(len(along), dtype=bool),
        temperature=np.full(len(along), 1000.0),
    )


def test_phases_cross_where_their_lines_do_also_beyond_where_they_are_known():
    one, two = np.linspace(0.0, 1.0, 7), np.linspace(1.2, 2.0, 6)[::-1]
    where = crossing((one, straight(0.55, 0.0, one)), (two, straight(0.0, 0.5, two)))
    assert where is not None
    assert where.value == pytest.approx(1.1)
    assert where.stderr == pytest.approx(np.sqrt(2) * 1e-4 / 0.5)
    assert crossing((one, straight(0.0, -1.0, one)), (two, straight(9.0, 0.5, two))) is None
    # 0.05 (p − 0.2)(p − 1.4): of two crossings the one nearer to where both phases are known.
    near, far = np.linspace(1.2, 1.5, 7), np.linspace(0.0, 1.5, 7)
    bent = replace(
        straight(0.0, 0.0, far),
        reduced=Estimate(0.05 * (far - 0.2) * (far - 1.4), np.full(7, 1e-4)),
    )
    flat = replace(bent, reduced=Estimate(np.zeros(7), np.full(7, 1e-4)))
    for one_phase, other in (((near, flat), (far, bent)), ((far, bent), (near, flat))):
        assert crossing(one_phase, other).value == pytest.approx(1.4)
    low = np.linspace(0.1, 0.4, 7)
    assert crossing((low, flat), (far, bent)).value == pytest.approx(0.2)
    for strange in ((np.nan * one, straight(0.0, 0.0, one)), (one, straight(np.nan, 0.0, one))):
        with pytest.raises(ValueError, match="must have finite parameters and G; one has not"):
            crossing(strange, (one, straight(0.0, 0.5, one)))
    with pytest.raises(ValueError, match="at least six points; one has 5"):
        crossing((one, straight(0.0, 0.0, one)), (two[:5], straight(0.0, 0.5, two[:5])))
