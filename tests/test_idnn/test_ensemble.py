"""Committees: what is learned from exact and from noisy data, and how sure members are of it."""

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from learning import best_of, rms
from references import measured

import idnn.ensemble
from idnn.data import Derivatives, Energies
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.levenberg import LevenbergMarquardt
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.thermal import ThermalNetwork
from idnn.units import EV_PER_SITE_IN_J_PER_MOL

T = 1273.0
SMALL = NetworkSettings(widths=(6,))
NOISE = 5e-3


def error(network, f):
    """RMS of ∂f/∂η (eV/site) over states never trained on."""
    test = measured(f, 2000, seed=77, sigma=1, noise=0)
    with torch.no_grad():
        return rms(network.gradient(test.eta) - test.mu)


def committee(data, executor=None, observe=None, **options):
    settings = CommitteeSettings(
        **dict(members=3, restarts=2, network=SMALL, fit=LevenbergMarquardt(iterations=25))
        | options
    )
    fresh = IntegrableNetwork(FCC_L12, T, settings.network, seeds=settings.seeds)
    return train_committee(fresh, data, settings, executor=executor, observe=observe)


@pytest.fixture(scope="module")
def noisy(truth):
    return measured(truth, 40, seed=3, sigma=NOISE, noise=NOISE)


@pytest.fixture(scope="module")
def serial(noisy):
    return committee(noisy)


def test_300_exact_states_teach_the_dupin_energy(trained, truth):
    # 12 J/mol measured, and 23 where it began elsewhere.
    assert error(trained, truth) * EV_PER_SITE_IN_J_PER_MOL < 30


def test_without_the_ideal_reference_the_same_network_learns_far_less(trained, truth):
    """What is asked of g is then f itself: data that have the reference added beforehand."""
    exact = measured(truth, 300, seed=1, sigma=1e-3, noise=0)
    ideal = trained.reference.gradient
    plain = best_of(
        FCC_L12,
        T,
        trained.settings,
        Derivatives(exact.eta, exact.mu + ideal(exact.eta), exact.sigma),
        restarts=1,
    )
    test = measured(truth, 2000, seed=77, sigma=1, noise=0)
    with torch.no_grad():
        found = plain.gradient(test.eta) - ideal(test.eta)
    assert rms(found - test.mu) > 10 * error(trained, truth)


def test_a_bragg_williams_solution_is_learned():
    interaction = torch.tensor([1.4, -1.4, -1.4, -1.4], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, T, 1e-3), interaction)
    network = best_of(
        FCC_L12, T, NetworkSettings(widths=(12,)), measured(f, 100, seed=1, sigma=1e-3, noise=0),
        restarts=1,
    )  # fmt: skip
    # A third of σ measured, of slopes that span 1 eV/site: the prior asks for no more.
    assert error(network, f) < 7e-4


def test_noise_is_fitted_to_its_size_and_more_data_lower_the_error(truth):
    errors = {}
    for count in (100, 1000):
        data = measured(truth, count, seed=1, sigma=NOISE, noise=NOISE)
        network = best_of(FCC_L12, T, NetworkSettings(widths=(10, 10)), data, restarts=1)
        errors[count] = error(network, truth)
        held_out = measured(truth, 1000, seed=5, sigma=NOISE, noise=NOISE)
        with torch.no_grad():
            chi = rms((network.gradient(held_out.eta) - held_out.mu) / held_out.sigma)
        # 4000 residuals: χ is known to 1/√8000 = 0.011; 4 of these, and what is left to learn.
        assert chi == pytest.approx(1, abs=0.045 + (errors[count] / NOISE) ** 2 / 2)
    # Ten times the data would be 0.32 of the error for a linear fit.
    assert errors[1000] < 0.5 * errors[100]
    assert errors[1000] < 0.2 * NOISE


def test_members_are_as_far_apart_as_from_the_truth(truth):
    data = measured(truth, 60, seed=3, sigma=NOISE, noise=NOISE)
    network = committee(data, members=6, restarts=1, network=NetworkSettings(widths=(8,))).network
    test = measured(truth, 500, seed=77, sigma=1, noise=0)
    with torch.no_grad():
        spread = network.gradients(test.eta).std(0)
        off = network.gradient(test.eta) - test.mu
    # Half of Student's t of five degrees of freedom lies within 0.73; one truth, so within 2.
    typical = float((off / spread).abs().median()) / 0.73
    assert 0.5 < typical < 2


def test_a_committee_does_not_depend_on_where_its_members_train(noisy, serial):
    # Not fork: a child of a process whose torch has started threads can hang.
    context = get_context("forkserver")
    context.set_forkserver_preload(["idnn.ensemble"])
    before = FCC_L12.q.data_ptr()
    seen = []
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        parallel = committee(noisy, pool, seen.append)
    assert seen == [2, 3]
    # Torch would move a tensor that it pickles into shared memory and free what views point to.
    assert FCC_L12.q.data_ptr() == before
    assert parallel.noise == serial.noise
    for mine, theirs in zip(
        serial.network.parameters(), parallel.network.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_the_start_is_left_as_it_is(noisy):
    settings = CommitteeSettings(members=2, restarts=1, network=SMALL)
    start = IntegrableNetwork(FCC_L12, T, SMALL, seeds=settings.seeds)
    before = [p.detach().clone() for p in start.parameters()]
    found = train_committee(start, noisy, settings).network
    assert all(torch.equal(a, b) for a, b in zip(before, start.parameters(), strict=True))
    assert not torch.equal(found.weights[0], start.weights[0])


def test_the_seed_changes_every_member(noisy, serial):
    other = committee(noisy, seed=1).network
    weights = torch.cat([serial.network.weights[0], other.weights[0]]).detach().flatten(1)
    assert torch.pdist(weights).min() > 0.1


@pytest.mark.parametrize("members", [2, 5])
def test_noises_sum_to_zero_and_have_unit_variance(members):
    noise = idnn.ensemble._noise(torch.Generator().manual_seed(1), members, 4000, 3)
    assert noise.sum(0).abs().max() < 1e-13
    # (members − 1)·12,000 free numbers.
    assert float(noise.var(correction=0)) == pytest.approx(
        1, abs=4 * (2 / (members - 1) / 12e3) ** 0.5
    )


def test_one_potential_learns_slopes_and_energies_of_several_temperatures():
    """A regular solution: v of f does not depend on T, so ⟨E⟩ = Σvη² at every temperature."""
    v = torch.tensor([0.4, -0.3, -0.3, -0.3], dtype=torch.float64)
    kelvin = torch.tensor([800.0, 1100.0, 1400.0]).double().repeat(30)
    eta = measured(BraggWilliams(IdealMixing(FCC_L12.q, T), v), 90, seed=1, sigma=1, noise=0).eta
    ideal = [IdealMixing(FCC_L12.q, float(t), 1e-3) for t in kelvin]
    mu = torch.stack([BraggWilliams(i, v).gradient(e) for i, e in zip(ideal, eta, strict=True)])
    energy = eta.square() @ v
    settings = CommitteeSettings(members=2, restarts=1, network=NetworkSettings(widths=(10,)))
    fresh = ThermalNetwork(FCC_L12, (750.0, 1450.0), settings.network, seeds=settings.seeds)
    data = [
        Derivatives(eta, mu, torch.full_like(mu, 1e-3), None, kelvin),
        Energies(eta, energy, torch.full_like(energy, 1e-3), kelvin),
    ]
    found = train_committee(fresh, data, settings).network
    test = measured(lambda e: (e.square() * v).sum(-1), 300, seed=5, sigma=1, noise=0).eta
    with torch.no_grad():
        # Between and at trained temperatures; a fraction of the 1 meV of every datum.
        assert rms(found.energy(test, 950.0) - test.square() @ v) < 1e-3
        truth = BraggWilliams(IdealMixing(FCC_L12.q, 950.0, 1e-3), v)
        assert rms(found.at(950.0).gradient(test) - truth.gradient(test)) < 1e-3


def test_training_restores_the_number_of_threads(noisy):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        committee(noisy, members=2, restarts=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_member_sees_noise_of_its_own(noisy, serial):
    """From one start, members differ by noise alone."""
    start = IntegrableNetwork.gather([serial.network], [0] * 6)
    settings = CommitteeSettings(members=6, restarts=1, network=SMALL)
    network = train_committee(start, noisy, settings).network
    with torch.no_grad():
        mu = network.gradients(noisy.eta)
    apart = torch.pdist(mu.flatten(1)) / mu[0].numel() ** 0.5
    assert apart.min() > 0.3 * apart.median()


def test_a_committee_of_another_size_is_refused(noisy):
    network = IntegrableNetwork(FCC_L12, T, SMALL, seeds=range(5))
    with pytest.raises(
        ValueError, match="`network` must have 6 members, 2 restarts for each of 3; it has 5"
    ):
        train_committee(network, noisy, CommitteeSettings(members=3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(members=1), "`members` must be at least 2"),
        (dict(restarts=0), "`restarts` must be at least 1"),
        (dict(discrepancy=math.nan), "`discrepancy` must not be negative"),
    ],
)
def test_bad_committee_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CommitteeSettings(**settings)


def test_a_committee_that_is_not_on_the_cpu_is_refused(noisy):
    settings = CommitteeSettings(members=2, restarts=1, network=SMALL)
    elsewhere = IntegrableNetwork(FCC_L12, T, SMALL, seeds=range(2)).to("meta")
    with pytest.raises(ValueError, match=r"must be on the CPU.*they are on cpu and meta"):
        train_committee(elsewhere, noisy, settings)
