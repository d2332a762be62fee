"""Error bars: known correlation times, honest coverage, walkers that disagree."""

import numpy as np
import pytest
from boxes import Q, ideal_gas
from chains import autoregressive

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import (
    autocorrelation_time,
    chemical_potential,
    ergodic_mean,
    heat_capacity,
    hessian,
    sublattice_stderr,
)
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregressive_chain(rho):
    tau = autocorrelation_time(autoregressive(rho, (1, 4000, 64)))
    assert tau[0, 0] == pytest.approx(0.5 * (1 + rho) / (1 - rho), rel=0.05)


@pytest.mark.parametrize(("rho", "walkers"), [(0.0, 8), (0.8, 8), (0.8, 64)])
def test_error_bars_of_correlated_chains_cover_the_truth(rho, walkers):
    result = ergodic_mean(autoregressive(rho, (600, 200, walkers)))
    z = result.mean.value / result.mean.stderr
    # Taking the larger of two estimates errs on the safe side, by a few per cent for few walkers.
    assert 0.94 < (np.abs(z) < 2).mean() < 0.99
    assert result.ergodic.mean() > 0.99


def test_effective_number_of_records_is_the_number_over_twice_tau():
    result = ergodic_mean(autoregressive(0.8, (1, 2000, 32)))
    assert result.effective[0, 0] == pytest.approx(2000 * 32 / 9, rel=0.1)
    assert result.mean.stderr[0, 0] == pytest.approx(result.effective[0, 0] ** -0.5, rel=0.4)


def test_walkers_in_different_basins_are_flagged_and_their_error_does_not_shrink():
    records = 0.1 * autoregressive(0.3, (1, 400, 64))
    records[:, :, :32] += 1.0
    result = ergodic_mean(records)
    assert not result.ergodic.any()
    assert result.mean.stderr[0, 0] == pytest.approx(0.5, rel=0.05)
    one_walker_off = 0.1 * autoregressive(0.3, (1, 400, 64))
    one_walker_off[:, :, 7] += 1.0
    assert not ergodic_mean(one_walker_off).ergodic.any()


def test_records_that_never_change_are_a_sharp_mean_or_not_ergodic():
    same = ergodic_mean(np.ones((1, 50, 8, 1)))
    assert same.ergodic.all()
    assert same.mean.stderr[0, 0] == 0
    apart = ergodic_mean(np.broadcast_to(np.arange(8.0)[:, None], (1, 50, 8, 1)))
    assert not apart.ergodic.any()


@pytest.mark.parametrize("value", [0.1, 1 / 3, -0.7])
def test_a_constant_whose_mean_rounds_has_the_autocorrelation_time_of_independent_records(value):
    records = np.full((1, 50, 8, 1), value)
    assert (records.mean(1) != value).any()
    assert autocorrelation_time(records)[0, 0] == 0.5
    result = ergodic_mean(records)
    assert result.long_enough.all()
    assert result.mean.stderr[0, 0] < 1e-16


@pytest.mark.parametrize("samples", [3, 33])
def test_walkers_that_alternate_in_and_out_of_step_are_ergodic(samples):
    """±1 in turn, as a free spin that takes every flip: odd numbers leave means of ±1/M."""
    records = (-1.0) ** (np.arange(samples)[:, None] + np.arange(64))
    result = ergodic_mean(records[None, ..., None])
    assert np.abs(records.mean(0)) == pytest.approx(1 / samples)
    assert result.ergodic.all()


@pytest.mark.parametrize("walkers", [2, 8, 64])
def test_no_error_is_quoted_below_the_stated_number_of_autocorrelation_times(walkers):
    """τ = 4.5 records: 50 τ in all and 20 τ per walker, the batches well on either side."""
    least = 4.5 * max(20, 50 / walkers)
    few = ergodic_mean(autoregressive(0.8, (40, round(0.3 * least), walkers)))
    many = ergodic_mean(autoregressive(0.8, (40, round(2.5 * least), walkers)))
    assert few.long_enough.mean() < 0.3
    assert many.long_enough.mean() > 0.95
    assert (np.isnan(few.mean.stderr) == ~few.long_enough).all()
    assert np.isfinite(few.mean.value).all()


@pytest.mark.parametrize("walkers", [2, 4, 16, 64])
@pytest.mark.parametrize("times", [0.5, 1, 2, 4])
def test_chains_of_a_few_autocorrelation_times_quote_no_optimistic_error(walkers, times):
    """Whatever the number of walkers, and though τ itself is then underestimated."""
    result = ergodic_mean(autoregressive(0.98, (100, round(49.5 * times), walkers)))
    z = np.abs(result.mean.value / result.mean.stderr)
    assert (np.isnan(z) | ~result.ergodic | (z < 2)).mean() > 0.9
    assert result.long_enough.mean() < 0.3


def test_short_chains_leave_the_errors_of_all_estimates_unknown():
    x = np.array([[0.2, 0.4, 0.5, 0.7]])
    short, enough = (
        ideal_samples(
            x, stiffness=1.0, cells=3,
            schedule=Schedule(walkers=16, sweeps=sweeps, burn_in=20, stride=1),
        )
        for sweeps in (6, 200)
    )  # fmt: skip
    for estimate in (chemical_potential, hessian, heat_capacity):
        assert np.isnan(estimate(short).stderr).all()
        assert np.isfinite(estimate(short).value).all()
        assert np.isfinite(estimate(enough).stderr).all()


def ideal_samples(x, *, stiffness, cells, schedule, temperature=1000.0):
    """Ideal gas with the umbrella centred so that the infinite box has mean x."""
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), Supercell(FCC_L12, cells))
    mu = BOLTZMANN_EV * temperature / 4 * np.log(x / (1 - x)) @ np.linalg.inv(Q)
    phi = np.broadcast_to(stiffness, x.shape).astype(float)
    umbrella = Umbrella(FCC_L12, x @ Q.T + mu / (2 * phi), phi)
    return sample(hamiltonian, umbrella, temperature=temperature, schedule=schedule, seed=2)


def test_ideal_gas_has_its_closed_form_hessian():
    x = np.array([[0.2, 0.4, 0.5, 0.7]])
    samples = ideal_samples(
        x, stiffness=(5.0, 3.0, 2.0, 1.0), cells=5,
        schedule=Schedule(walkers=64, sweeps=3000, burn_in=50, stride=2),
    )  # fmt: skip
    found = hessian(samples)
    inverse = np.linalg.inv(Q)
    expected = inverse.T @ np.diag(BOLTZMANN_EV * 1000 / 4 / (x * (1 - x))[0]) @ inverse
    # The finite box adds 1/N terms, below 3 % here (see test_finite_size for their removal).
    tolerance = 4 * found.stderr[0] + 0.03 * np.abs(expected).max()
    assert (np.abs(found.value[0] - expected) < tolerance).all()
    assert (found.stderr[0] < 0.06).all()


def test_errors_of_mu_cover_the_distance_from_the_exact_curve():
    """μ against its exact value at the sampled ⟨η⟩, for 400 points of short runs."""
    x = np.random.default_rng(3).uniform(0.05, 0.95, (400, 4))
    samples = ideal_samples(
        x, stiffness=4.0, cells=3, schedule=Schedule(walkers=16, sweeps=120, burn_in=20, stride=2)
    )
    mu, eta = chemical_potential(samples), ergodic_mean(samples.eta)
    # Equal φ make A diagonal: sublattices are independent and `ideal_excess` is exact.
    from sampling.finite_size import ideal_excess

    fractions = eta.mean.value @ np.linalg.inv(Q).T
    excess = ideal_excess(fractions, np.ones_like(x), temperature=1000.0, sites=27)
    ideal = BOLTZMANN_EV * 1000 / 4 * np.log(fractions / (1 - fractions))
    z = (mu.value - (ideal + excess.force) @ np.linalg.inv(Q)) / mu.stderr
    assert eta.ergodic.mean() > 0.98
    assert 0.93 < (np.abs(z) < 2).mean() < 0.985
    assert abs(z.mean()) < 4 / np.sqrt(z.size)


def test_one_slow_order_parameter_leaves_the_errors_of_all_mu_unknown():
    """Every μᵢ rests on H, and H on the fluctuations of all η."""
    samples = ideal_samples(
        np.array([[0.2, 0.4, 0.5, 0.7]]), stiffness=1.0, cells=3,
        schedule=Schedule(walkers=16, sweeps=200, burn_in=20, stride=1),
    )  # fmt: skip
    assert np.isfinite(chemical_potential(samples).stderr).all()
    samples.eta[..., 2] = 0.1 * autoregressive(0.999, (1, 200, 16))[..., 0]
    for stderr in (chemical_potential(samples).stderr, sublattice_stderr(samples)):
        assert np.isnan(stderr).all()


def test_a_sublattice_that_never_changes_leaves_the_hessian_unknown():
    x = np.full((1, 4), 0.5)
    samples = ideal_samples(
        x, stiffness=1.0, cells=2, schedule=Schedule(walkers=4, sweeps=20, burn_in=0)
    )
    samples.eta[..., 1] = samples.eta[..., 0]
    assert np.isnan(hessian(samples).value).all()
    assert np.isnan(chemical_potential(samples).stderr).all()
