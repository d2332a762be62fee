"""Training: what is learned from exact and from noisy derivatives, and that it repeats."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from references import measured, sobol_states
from torch import nn

from idnn.data import Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.train import FitSettings, NotTrained, derivative_loss, fit, prepare
from idnn.units import EV_PER_SITE_IN_J_PER_MOL

T = 1273.0
SMALL = NetworkSettings(widths=(12, 12))
NOISE = 5e-3


def rms(x):
    return float(x.square().mean().sqrt())


def error(network, f):
    """RMS of ∂f/∂η (eV/site) over states never trained on."""
    test = measured(f, 2000, seed=77, sigma=1, noise=0)
    with torch.no_grad():
        return rms(network.gradient(test.eta) - test.mu)


def learn(data, shape=SMALL, **settings):
    network = IntegrableNetwork(FCC_L12, T, shape)
    result = fit(network, derivative_loss, prepare(network, data), FitSettings(**settings))
    return network, result


def test_300_exact_states_teach_the_dupin_energy(trained, truth):
    # 41 J/mol measured; a network of 2 x 20 softplus units on 200 states reached 87 in a trial.
    assert error(trained, truth) * EV_PER_SITE_IN_J_PER_MOL < 82


def test_without_the_ideal_reference_the_same_network_learns_far_less(trained, truth):
    data = measured(truth, 300, seed=1, sigma=1e-3, noise=0)
    network = IntegrableNetwork(FCC_L12, T, NetworkSettings())
    fit(network, derivative_loss, replace(prepare(network, data), residual=data.mu), FitSettings())
    test = measured(truth, 2000, seed=77, sigma=1, noise=0)
    with torch.no_grad():
        plain = network.gradient(test.eta) - network.reference.gradient(test.eta)
    assert rms(plain - test.mu) > 10 * error(trained, truth)


def test_a_bragg_williams_solution_is_learned():
    interaction = torch.tensor([1.4, -1.4, -1.4, -1.4], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, T, SMALL.floor), interaction)
    network, _ = learn(measured(f, 100, seed=1, sigma=1e-3, noise=0), iterations=300)
    # 1.2e-3 eV/site measured, of slopes that span 1 eV/site.
    assert error(network, f) < 2.5e-3


def test_noise_is_fitted_to_its_size_and_more_data_lower_the_error(truth):
    errors = {}
    for count in (100, 1600):
        network, _ = learn(measured(truth, count, seed=1, sigma=NOISE, noise=NOISE), iterations=300)
        errors[count] = error(network, truth)
        held_out = measured(truth, 1000, seed=5, sigma=NOISE, noise=NOISE)
        with torch.no_grad():
            chi = rms((network.gradient(held_out.eta) - held_out.mu) / held_out.sigma)
        # 4000 residuals: χ is known to 1/√8000 = 0.011; 4 of these, and what is left to learn.
        assert chi == pytest.approx(1, abs=0.045 + (errors[count] / NOISE) ** 2 / 2)
    # Sixteen times the data would be a quarter of the error for a linear fit.
    assert errors[1600] < 0.5 * errors[100]
    assert errors[1600] < 0.15 * NOISE


def test_the_same_seed_gives_the_same_bits(truth):
    data = measured(truth, 60, seed=2, sigma=NOISE, noise=NOISE)
    (one, first), (two, second) = (learn(data, iterations=60) for _ in range(2))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def committee(truth, executor=None, **options):
    settings = CommitteeSettings(
        members=3, network=NetworkSettings(widths=(6,)), fit=FitSettings(iterations=40), **options
    )
    data = measured(truth, 40, seed=3, sigma=NOISE, noise=NOISE)
    seen = []
    network = train_committee(
        FCC_L12, T, data, settings, executor=executor, observe=lambda n: seen.append(n)
    )
    assert seen == [1, 2, 3]
    return network


def test_a_committee_does_not_depend_on_where_its_members_train(truth):
    serial = committee(truth)
    # Not fork: a child of a process whose torch has started threads can hang.
    context = get_context("forkserver")
    context.set_forkserver_preload(["idnn.ensemble"])
    before = FCC_L12.q.data_ptr()
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        parallel = committee(truth, pool)
    # Torch would move a tensor that it pickles into shared memory and free what views point to.
    assert FCC_L12.q.data_ptr() == before
    for mine, theirs in zip(serial.parameters(), parallel.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_members_saw_different_noise_and_the_seed_changes_all(truth):
    one, other = committee(truth, seed=0), committee(truth, seed=1)
    weights = torch.cat([one.weights[0], other.weights[0]]).flatten(1)
    assert torch.pdist(weights).min() > 0.1


def test_a_committee_without_data_is_refused():
    nothing = torch.empty(0, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="`data` must hold at least one point"):
        train_committee(
            FCC_L12, 1000.0, Derivatives(nothing, nothing, nothing), CommitteeSettings()
        )


def test_training_restores_the_number_of_threads(truth):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        committee(truth)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Bowl(nn.Module):
    """A loss with its minimum at (1, 1)."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))


def rosenbrock(model, scale):
    x, y = model.at
    return scale * ((1 - x) ** 2 + 100 * (y - x**2) ** 2)


def test_any_module_and_loss_can_be_fitted():
    bowl = Bowl()
    result = fit(bowl, rosenbrock, 1.0, FitSettings(weight_decay=0))
    assert bowl.at.tolist() == pytest.approx([1, 1], abs=1e-6)
    assert result.losses[-1] < 1e-12


def test_weight_decay_pulls_towards_zero_by_its_closed_form():
    class Point(nn.Module):
        def __init__(self):
            super().__init__()
            self.at = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    point = Point()
    fit(point, lambda m, goal: (m.at - goal).square().sum(), 3.0, FitSettings(weight_decay=0.5))
    assert float(point.at.detach()) == pytest.approx(3.0 / 1.5, abs=1e-9)


def test_no_more_iterations_are_done_than_asked_for():
    bowl, further = Bowl(), Bowl()
    few = fit(bowl, rosenbrock, 1.0, FitSettings(iterations=3))
    more = fit(further, rosenbrock, 1.0, FitSettings(iterations=20))
    assert few.losses[-1] > 10 * more.losses[-1]


def test_a_loss_that_is_not_finite_is_reported():
    with pytest.raises(NotTrained, match="look for outliers"):
        fit(Bowl(), rosenbrock, float("nan"), FitSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(iterations=0), "`iterations` and `history` must be at least 1"),
        (dict(history=0), "`iterations` and `history` must be at least 1"),
        (dict(weight_decay=-1.0), "`weight_decay` and `tolerance` must not be negative"),
        (dict(tolerance=float("nan")), "`weight_decay` and `tolerance` must not be negative"),
    ],
)
def test_bad_fit_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FitSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(members=1), "`members` must be at least 2"),
        (dict(discrepancy=float("nan")), "`discrepancy` must not be negative"),
    ],
)
def test_bad_committee_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CommitteeSettings(**settings)


def test_a_floor_adds_in_quadrature():
    eta = sobol_states(5, seed=1)
    data = Derivatives(eta, eta, torch.full_like(eta, 3e-3))
    assert data.with_floor(4e-3).sigma.tolist() == [pytest.approx([5e-3] * 4, rel=1e-15)] * 5


def test_errors_along_directions_weigh_and_perturb_mu_there():
    eta = sobol_states(400, seed=2)
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    directions = directions / directions.norm(dim=0)
    sigma = torch.tensor([1e-3, 1e-2, 0.1, 1.0], dtype=torch.float64).expand(400, 4)
    data = Derivatives(eta, torch.zeros_like(eta), sigma, directions)
    noise = torch.randn(400, 4, generator=generator, dtype=torch.float64)
    moved = data.perturbed(noise)
    torch.testing.assert_close(moved.mu @ directions, sigma * noise)
    torch.testing.assert_close(data.along(moved.mu), sigma * noise)
    network = IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(widths=(4,)), seeds=(0,))
    batch, shifted = prepare(network, data), prepare(network, moved)
    # The same network: residuals differ by what was added, in units of their σ by the noise.
    torch.testing.assert_close((shifted.residual - batch.residual) * batch.weight, noise)
    slopes = network.excess_gradients(batch.h, batch.jacobian)
    plain = prepare(network, Derivatives(eta, data.mu, sigma))
    expected = network.excess_gradients(plain.h, plain.jacobian) @ directions
    torch.testing.assert_close(slopes, expected)


def test_directions_that_are_not_unit_vectors_are_refused():
    eta = sobol_states(5, seed=1)
    with pytest.raises(ValueError, match=r"`\|directions\|` must lie in"):
        Derivatives(eta, eta, torch.full_like(eta, 1.0), 2 * torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mu", torch.nan, "`mu` must be finite: 1 of 20 entries"),
        ("eta", torch.inf, "`eta` must be finite"),
        ("sigma", 0.0, "`sigma` must be finite and positive"),
        ("sigma", torch.nan, "`sigma` must be finite and positive"),
    ],
)
def test_bad_data_are_refused(name, value, message):
    columns = {key: torch.ones(5, 4, dtype=torch.float64) for key in ("eta", "mu", "sigma")}
    columns[name][2, 1] = value
    with pytest.raises(ValueError, match=message):
        Derivatives(**columns)
