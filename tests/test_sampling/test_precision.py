"""Runs asked for a precision: reached, paid for, unbiased, and one run's records."""

from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
from boxes import Q, ideal_gas

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.finite_size import ideal_excess
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.precision import sample_to_precision

BOX = Supercell(FCC_L12, 3)
GAS = ClusterHamiltonian.on(ideal_gas(), BOX)
FIRST = Schedule(walkers=16, sweeps=40, burn_in=10, stride=2)


def umbrella(x, phi=1.0):
    """Of an ideal gas at 1000 K, centred so that ⟨x⟩ is near x."""
    mu = BOLTZMANN_EV * 1000 / 4 * np.log(x / (1 - x)) @ np.linalg.inv(Q)
    return Umbrella(FCC_L12, x @ Q.T + mu / (2 * phi), np.full(x.shape, phi))


def run(rows, **changes):
    x = np.random.default_rng(7).uniform(0.1, 0.9, (6, 4))[rows]
    settings = {
        "temperature": 1000.0, "sigma_mu": 2e-3, "first": FIRST, "budget": 5000, "seed": 4,
        "point_seeds": tuple(rows),
    }  # fmt: skip
    return sample_to_precision(GAS, umbrella(x), **(settings | changes)), umbrella(x)


def test_every_error_is_as_small_as_asked_and_was_not_one_doubling_before():
    runs, _ = run(range(6))
    lengths = {20 * 2**k for k in range(10)}
    for done in runs:
        assert done.outcome == "precision"
        assert (done.mu.stderr <= 2e-3).all()
        assert (done.mu.stderr > 0.5e-3).any()
        assert done.samples.eta.shape[1] in lengths
        assert done.needed <= done.samples.schedule.sweeps
    assert len({done.samples.schedule.sweeps for done in runs}) > 1


def test_records_are_those_of_one_uninterrupted_run_whatever_the_companions():
    together, _ = run(range(6), sigma_mu=1e-3)
    (alone,), bias = run([3], sigma_mu=1e-3)
    assert alone.samples.schedule.sweeps > 2 * FIRST.sweeps
    whole = sample(
        GAS, bias, temperature=1000.0, schedule=alone.samples.schedule, seed=4, point_seeds=(3,)
    )
    for samples in (alone.samples, together[3].samples):
        assert (samples.eta == whole.eta).all()
        assert (samples.energy == whole.energy).all()
        assert samples.acceptance == pytest.approx(whole.acceptance, rel=1e-12)
        assert (samples.chains.occupation == whole.chains.occupation).all()
    assert (alone.mu.value == together[3].mu.value).all()


def test_a_budget_too_small_is_spent_and_says_what_would_do():
    (short,), _ = run([0], budget=300, sigma_mu=5e-4)
    assert short.outcome == "budget"
    assert short.samples.schedule.sweeps == 300
    (enough,), _ = run([0], budget=round(2.5 * short.needed), sigma_mu=5e-4)
    assert enough.outcome == "precision"
    assert enough.needed == pytest.approx(short.needed, rel=0.3)


def test_walkers_stuck_in_different_domains_are_not_ergodic():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 4))
    stuck = Umbrella(FCC_L12, np.array([[0.57, 0.97, 0.02, 0.49]]) @ Q.T, np.full((1, 4), 0.2))
    (done,) = sample_to_precision(
        hamiltonian, stuck, temperature=400.0, sigma_mu=1e-3, budget=320, seed=0,
        first=Schedule(walkers=64, sweeps=40, burn_in=20, stride=2),
    )  # fmt: skip
    assert done.outcome == "not ergodic"
    assert not (done.mu.stderr <= 1e-3).all()


@pytest.mark.parametrize(("centre", "outcome"), [(1.1, "precision"), (3.0, "frozen")])
def test_a_centre_outside_is_followed_or_said_to_be_out_of_reach(centre, outcome):
    """κ₀ is where ⟨η₀⟩ may not be: an ideal gas follows as far as fluctuations bring it."""
    umbrella = Umbrella(FCC_L12, np.array([[centre, 0.0, 0.0, 0.0]]), np.full((1, 4), 1.0))
    (done,) = sample_to_precision(
        GAS, umbrella, temperature=1000.0, sigma_mu=5e-3, first=FIRST, budget=2000, seed=4
    )
    assert done.outcome == outcome
    assert np.isfinite(done.needed) == np.isfinite(done.mu.stderr).all() == (outcome == "precision")
    assert (done.samples.eta[0, -1, :, 0] == 1).all() == (outcome == "frozen")


@pytest.mark.slow
def test_errors_of_runs_that_stopped_themselves_still_cover_the_truth():
    """Stopping where an error looks small must not make it too small: 300 runs."""
    x = np.random.default_rng(3).uniform(0.1, 0.9, (300, 4))
    runs = sample_to_precision(
        GAS, umbrella(x), temperature=1000.0, sigma_mu=2e-3, first=FIRST, budget=640, seed=5
    )
    z = []
    for done in runs:
        kept = done.samples.eta.mean((1, 2)) @ np.linalg.inv(Q).T
        excess = ideal_excess(kept, np.full_like(kept, 0.25), temperature=1000.0, sites=27)
        ideal = BOLTZMANN_EV * 1000 / 4 * np.log(kept / (1 - kept))
        z.append((done.mu.value - (ideal + excess.force) @ np.linalg.inv(Q)) / done.mu.stderr)
    stopped = [done.outcome for done in runs]
    assert stopped.count("precision") > 250
    assert len({done.samples.schedule.sweeps for done in runs}) > 2
    covered = (np.abs(np.array(z)) < 1).mean()
    assert 0.63 < covered < 0.73


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma_mu": 0.0}, "`sigma_mu` must be finite and positive; it is 0"),
        ({"sigma_mu": float("nan")}, "`sigma_mu` must be finite and positive"),
        ({"budget": float("nan")}, "`budget` must hold the first batch of 40 sweeps; it is nan"),
        ({"budget": 30}, "`budget` must hold the first batch of 40 sweeps; it is 30"),
        ({"first": replace(FIRST, walkers=1)}, "`first` must have at least 2 `walkers`"),
        ({"point_seeds": (1, 2)}, r"`point_seeds` must hold one per point"),
    ],
)
def test_bad_requests_are_refused(monkeypatch, changes, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user runs it
    with pytest.raises(ValueError, match=message):
        run([0], **changes)
