"""sample(): exact averages under the umbrella, reproducibility, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import LAYERS, Q, all_states, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling import ensemble
from sampling.clusters import illustrative_expansion
from sampling.ensemble import EnergyMismatch, Schedule, sample
from sampling.estimate import chemical_potential, ergodic_mean, hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

SHORT = Schedule(walkers=16, sweeps=20, burn_in=5, stride=2)


def exact(hamiltonian, umbrella, temperature):
    """⟨η⟩, ⟨E⟩/N and Cov(η) of one umbrella by summing over every state."""
    box = hamiltonian.supercell
    states = all_states(len(box.sites))
    eta = box.filled(states) / box.sites_per_sublattice @ box.system.q.numpy().T
    energy = hamiltonian.energy(states)
    total = energy + len(box.sites) * umbrella.energy(eta)
    weight = np.exp(-(total - total.min()) / (BOLTZMANN_EV * temperature))
    weight /= weight.sum()
    deviation = eta - weight @ eta
    return (
        weight @ eta,
        weight @ energy / len(box.sites),
        deviation.T @ (weight[:, None] * deviation),
    )


@pytest.mark.parametrize(
    ("temperature", "centre", "stiffness"),
    [
        (1000.0, (0.30, 0.10), (1.0, 1.0)),
        (1000.0, (0.90, -0.30), (0.5, 2.0)),
        (2000.0, (0.50, 0.00), (0.0, 0.0)),
        (500.0, (0.20, 0.15), (2.0, 1.0)),
    ],
)
def test_averages_under_the_bias_equal_exact_enumeration(temperature, centre, stiffness):
    hamiltonian = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2))
    umbrella = Umbrella(LAYERS, np.array([centre]), np.array([stiffness]))
    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=11,
        schedule=Schedule(walkers=256, sweeps=4000, burn_in=200, stride=4),
    )  # fmt: skip
    single = Umbrella(LAYERS, umbrella.centre[0], umbrella.stiffness[0])
    mean, energy, covariance = exact(hamiltonian, single, temperature)

    eta = ergodic_mean(samples.eta)
    assert eta.ergodic.all()
    assert (np.abs(eta.mean.value[0] - mean) < 4 * eta.mean.stderr[0]).all()
    found = ergodic_mean(samples.energy[..., None])
    assert abs(found.mean.value[0, 0] - energy) < 4 * found.mean.stderr[0, 0]

    curvature = hessian(samples)
    thermal = BOLTZMANN_EV * temperature / 16
    expected = thermal * np.linalg.inv(covariance) - 2 * np.diag(stiffness)
    assert (np.abs(curvature.value[0] - expected) < 4 * curvature.stderr[0]).all()
    mu = chemical_potential(samples)
    residual = mu.value[0] - (
        umbrella.chemical_potential(mean[None])[0] + expected @ (eta.mean.value[0] - mean)
    )
    assert (np.abs(residual) < 4 * mu.stderr[0]).all()


def umbrellas(rows):
    x = np.random.default_rng(4).random((7, 4))[rows]
    return Umbrella(FCC_L12, x @ Q.T, np.tile([5.0, 3.0, 3.0, 3.0], (len(x), 1)))


def run(rows, **changes):
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    settings = {"temperature": 1000.0, "schedule": SHORT, "seed": 9, "point_seeds": tuple(rows)}
    return sample(hamiltonian, umbrellas(rows), **(settings | changes))


def test_a_point_does_not_depend_on_the_points_that_share_its_call():
    together, alone = run(range(7)), run([5])
    shuffled = run([6, 5, 0])
    for other, row in ((alone, 0), (shuffled, 1)):
        assert (together.eta[5] == other.eta[row]).all()
        assert (together.energy[5] == other.energy[row]).all()
        assert together.acceptance[5] == other.acceptance[row]


def test_seeds_make_chains_and_nothing_else_does():
    first = run([1, 2])
    assert (run([1, 2]).eta == first.eta).all()
    assert (run([1, 2], seed=10).eta != first.eta).any((1, 2, 3)).all()
    assert (run([1, 2], point_seeds=(8, 9)).eta != first.eta).any((1, 2, 3)).all()
    walkers = np.moveaxis(first.eta[0], 1, 0).reshape(SHORT.walkers, -1)
    assert len(np.unique(walkers, axis=0)) == len(walkers)


def test_more_walkers_leave_the_first_ones_as_they_were():
    few, many = run([3]), run([3], schedule=replace(SHORT, walkers=70))
    assert (many.eta[:, :, :16] == few.eta).all()


def test_records_are_the_requested_sweeps():
    every = run([2], schedule=Schedule(walkers=4, sweeps=12, burn_in=3, stride=1))
    third = run([2], schedule=Schedule(walkers=4, sweeps=12, burn_in=3, stride=3))
    assert third.eta.shape == (1, 4, 4, 4)
    assert (third.eta == every.eta[:, 2::3]).all()
    assert (third.energy == every.energy[:, 2::3]).all()


def test_a_kernel_that_loses_count_is_found_out(monkeypatch):
    true_run = ensemble.cpu.run

    def faulty(tables, walkers, *rest):
        true_run(tables, walkers, *rest)
        walkers.energy[0, 3] += 1

    monkeypatch.setattr(ensemble.cpu, "run", faulty)
    with pytest.raises(EnergyMismatch, match="1 of 64 walkers carry a wrong energy"):
        run([0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be finite and positive; it is 0"),
        ({"temperature": float("nan")}, "`temperature` must be finite and positive"),
        ({"seed": -1}, r"`seed` must lie in \[0, 2\^64\); it is -1"),
        ({"point_seeds": (1,)}, r"`point_seeds` must hold one per point \(2\); it holds 1"),
        ({"point_seeds": (1, 2**32)}, r"`point_seeds` must lie in \[0, 2\^32\)"),
    ],
)
def test_bad_runs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        run([0, 1], **changes)


def test_an_umbrella_of_another_shape_is_refused():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    with pytest.raises(ValueError, match="`umbrella` must have `centre` and `stiffness` of shape"):
        sample(
            hamiltonian, Umbrella(FCC_L12, np.zeros(4), np.ones(4)),
            temperature=1000.0, schedule=SHORT, seed=0,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"walkers": 1}, "`walkers` must be at least 2; it is 1"),
        ({"burn_in": -1}, "`burn_in` must be at least 0; it is -1"),
        ({"stride": 0}, "`stride` must be at least 1; it is 0"),
        ({"sweeps": 3, "stride": 2}, "`sweeps` must hold at least two records"),
    ],
)
def test_bad_schedules_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**changes)
