"""The network: exact gradient and Hessian, exact symmetry, integrability, committees."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import sobol_states

import idnn.layers
import idnn.network
from idnn.free_energy import FreeEnergy, IdealMixing, WithGradient, chemical_potential, hessian
from idnn.network import ACTIVATIONS, IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12

T = 1000.0
FRACTION = st.floats(min_value=-0.05, max_value=1.05)
"""A little outside too: a phase field overshoots."""


def network(members=1, *, activation="squareplus", widths=(9, 7), temperature=T):
    shape = NetworkSettings(widths=widths, activation=activation)
    return IntegrableNetwork(FCC_L12, temperature, shape, seeds=range(members))


def same(a, b, *, atol=1e-13):
    """Equal to rounding: terms of order 1 eV, a few hundred operations."""
    torch.testing.assert_close(a, b, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("widths", [(5,), (9, 7), (6, 5, 4)])
def test_the_gradient_is_the_derivative_of_the_value(activation, members, widths):
    f = network(members, activation=activation, widths=widths)
    eta = sobol_states(50, seed=1, margin=-0.05).requires_grad_()
    (slope,) = torch.autograd.grad(f(eta).sum(), eta)
    same(f.gradient(eta).detach(), slope)
    for i, each in enumerate(f.gradients(eta)):
        (slope,) = torch.autograd.grad(f.values(eta)[i].sum(), eta)
        same(each.detach(), slope)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_hessian_is_symmetric_and_that_of_finite_differences(activation):
    f = network(2, activation=activation)
    eta = sobol_states(20, seed=2, margin=0.05)
    h = hessian(f, eta)
    same(h, h.mT)
    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        central = (f.gradient(eta[:, None] + step) - f.gradient(eta[:, None] - step)) / 2e-5
    # Second-order differences: h² f⁗/6, f⁗ ≈ kT/x⁴ at x = 0.05, and rounding 1e-16/h.
    torch.testing.assert_close(h, central, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(FRACTION, min_size=4, max_size=4), st.integers(0, 23))
def test_value_and_gradient_have_the_crystals_symmetry(x, element):
    f = network(2)
    eta = FCC_L12.order_parameters(torch.tensor(x, dtype=torch.float64))
    image = FCC_L12.images(eta)[element]
    with torch.no_grad():
        same(f(image), f(eta))
        same(f.gradient(image), FCC_L12.images(f.gradient(eta))[element], atol=1e-12)


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_the_value_at_zero_is_zero(floor):
    f = IntegrableNetwork(FCC_L12, T, NetworkSettings(floor=floor), seeds=(3, 4))
    zero = torch.zeros(4, dtype=torch.float64)
    assert f(zero) == 0
    assert torch.equal(f.values(zero), torch.zeros(2, dtype=torch.float64))


def test_with_and_without_a_graph_the_gradient_is_the_same():
    f = network(3)
    eta = sobol_states(40, seed=4)
    tracked = f.gradient(eta)
    with torch.no_grad():
        plain = f.gradient(eta)
    assert tracked.requires_grad
    assert not plain.requires_grad
    same(tracked.detach(), plain)


def test_the_gradient_can_be_trained_through():
    f = network(2)
    f.gradient(sobol_states(8, seed=4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in f.parameters())


def test_chunks_do_not_change_the_gradient(monkeypatch):
    f = network(2)
    eta = sobol_states(60, seed=5).reshape(3, 4, 5, 4)
    with torch.no_grad():
        whole = f.gradient(eta)
        monkeypatch.setattr(idnn.network, "ROWS_AT_ONCE", 17)
        same(f.gradient(eta), whole)
    assert whole.shape == eta.shape


def test_any_batch_shape_gives_the_same_values():
    f = network(2)
    eta = sobol_states(24, seed=6)
    with torch.no_grad():
        flat = f(eta)
        same(f(eta.reshape(2, 3, 4, 4)), flat.reshape(2, 3, 4))
        same(f(eta[7]), flat[7])
        assert f(eta[:0]).shape == (0,)
        assert f.gradient(eta[:0]).shape == (0, 4)


def test_single_precision_follows_double_precision():
    f, eta = network(2), sobol_states(50, seed=7)
    with torch.no_grad():
        exact = f.gradient(eta)
        single = f.to(torch.float32).gradient(eta.float())
    assert single.dtype == torch.float32
    # 1 - x and ln x in single precision near the walls: 1e-7/1e-3 of kT.
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5)


def test_a_network_is_a_free_energy_that_knows_its_gradient():
    f = network()
    assert isinstance(f, FreeEnergy)
    assert isinstance(f, WithGradient)
    eta = sobol_states(5, seed=8)
    same(chemical_potential(f, eta).detach(), f.gradient(eta).detach())


def test_the_committee_is_the_mean_of_its_members():
    f, eta = network(4), sobol_states(30, seed=9)
    with torch.no_grad():
        alone = torch.stack([f.member(i)(eta) for i in range(4)])
        same(f.values(eta), alone)
        same(f(eta), alone.mean(0))
        slopes = torch.stack([f.member(i).gradient(eta) for i in range(4)])
        same(f.gradients(eta), slopes)


def test_gathering_members_gives_the_committee_back():
    f = network(3)
    again = IntegrableNetwork.gather([f.member(i) for i in range(3)], range(3))
    for mine, theirs in zip(f.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    picked = IntegrableNetwork.gather([f], [2, 0])
    assert picked.members == 2
    assert torch.equal(picked.weights[0][0], f.weights[0][2])


def test_members_differ_by_seed_and_seeds_repeat():
    f, again = network(2), network(2)
    assert torch.equal(f.weights[0], again.weights[0])
    assert not torch.equal(f.weights[0][0], f.weights[0][1])


def test_making_a_network_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    network(3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bend", [0.0, 0.15])
def test_the_learned_potential_is_the_path_integral_of_the_learned_gradient(trained, bend):
    """∫ μ·dη from A1 to L1₂ is f(L1₂) − f(A1) along a straight and along a bent path."""
    start = torch.tensor([0.1, 0.1, 0.1, 0.1], dtype=torch.float64)
    end = torch.tensor([0.9, 0.05, 0.04, 0.06], dtype=torch.float64)
    aside = torch.tensor([-1, 2, 1, 0.5], dtype=torch.float64) * bend
    node, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(60))
    t = ((node + 1) / 2)[:, None]
    x = start + t * (end - start) + (t * (1 - t)) ** 2 * aside
    dx = (end - start) + 2 * t * (1 - t) * (1 - 2 * t) * aside
    with torch.no_grad():
        mu = trained.gradient(FCC_L12.order_parameters(x))
        work = ((mu * FCC_L12.order_parameters(dx)).sum(-1) * weight / 2).sum()
        f_end, f_start = trained(FCC_L12.order_parameters(torch.stack([end, start])))
    # Gauss-Legendre with 60 nodes integrates the logarithms to better than 1e-11.
    assert float(work) == pytest.approx(float(f_end - f_start), abs=1e-11)


def test_a_higher_floor_changes_ideal_mixing_below_it_and_nothing_else():
    trained = IntegrableNetwork(FCC_L12, T, NetworkSettings(floor=1e-3), seeds=(3, 4))
    raised = trained.requires_grad_(False).with_floor(0.02)
    eta = sobol_states(200, seed=11, margin=-0.02)
    x = FCC_L12.site_fractions(eta)
    touched = ((x < 0.02) | (x > 0.98)).any(-1)
    change = raised.gradients(eta) - trained.gradients(eta)
    assert 20 < int(touched.sum()) < 180
    assert not change[:, ~touched].any()
    exact = IdealMixing(FCC_L12.q, T, 0.02).gradient(eta) - IdealMixing(
        FCC_L12.q, T, 1e-3
    ).gradient(eta)
    same(change, exact.expand(2, -1, -1), atol=1e-12)
    assert (exact[touched].abs().amax(-1) > 0).all()
    # Values too: zero at the origin, and with the gradient as slope.
    zero = torch.zeros(4, dtype=torch.float64)
    assert raised(zero) == 0
    x = eta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(raised(x).sum(), x)
    same(slope, raised.gradient(eta))
    assert (raised.settings.floor, trained.settings.floor) == (0.02, 1e-3)
    assert not any(p.requires_grad for p in raised.parameters())
    assert all(p.requires_grad for p in trained.requires_grad_(True).with_floor(0.02).parameters())


@pytest.mark.parametrize("floor", [0.9e-3, 0.0, float("nan")])
def test_a_floor_below_that_of_training_is_refused(floor):
    with pytest.raises(
        ValueError, match=r"`floor` must not be below that of training, 0\.001; it is"
    ):
        network().with_floor(floor)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(widths=()), "`widths` must be positive integers"),
        (dict(widths=(8, 0)), "`widths` must be positive integers"),
        (dict(activation="relu"), r"`activation` must be one of \['gelu', 'logcosh', .*'relu'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NetworkSettings(**settings)


def test_a_bad_temperature_is_refused():
    with pytest.raises(ValueError, match="`temperature` must be finite and positive"):
        network(temperature=-300.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(5,), (9, 7), (6, 5, 4)])
def test_the_closed_form_hessian_is_the_derivative_of_the_gradient(activation, widths):
    f = network(2, activation=activation, widths=widths)
    eta = sobol_states(30, seed=3, margin=-0.02).requires_grad_()
    mu = f.gradient(eta)
    rows = [torch.autograd.grad(mu[:, i].sum(), eta, retain_graph=True)[0] for i in range(4)]
    found = f.hessian(eta).detach()
    # Up to kT/floor = 86 eV beyond the walls, of which rounding is 1e-14.
    torch.testing.assert_close(found, torch.stack(rows, -2), rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(found, found.mT, rtol=1e-12, atol=1e-11)
    same(hessian(f, eta), found)
    same(f.hessians(eta).detach().mean(0), found)


@pytest.mark.parametrize("element", range(0, 24, 5))
def test_the_hessian_turns_with_the_crystal(element):
    f, eta = network(2).requires_grad_(False), sobol_states(20, seed=4, margin=0.02)
    turn = FCC_L12.images(torch.eye(4, dtype=torch.float64))[element].T
    image = FCC_L12.images(eta)[element]
    torch.testing.assert_close(image, eta @ turn.T, rtol=0, atol=1e-15)
    turned = turn @ f.hessian(eta) @ turn.T
    torch.testing.assert_close(f.hessian(image), turned, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("rows", "numbers"), [(7, 1 << 16), (60, 7 * 3 * 16), (19, 1), (60, 1 << 16)]
)
def test_value_and_gradient_at_once_are_value_and_gradient(monkeypatch, rows, numbers):
    f = network(3)
    eta = sobol_states(60, seed=5, margin=-0.02).reshape(3, 4, 5, 4)
    monkeypatch.setattr(idnn.network, "ROWS_AT_ONCE", rows)
    monkeypatch.setattr(idnn.layers, "NUMBERS_AT_ONCE", numbers)
    value, mu = f.evaluate(eta)
    assert not value.requires_grad
    assert not mu.requires_grad
    with torch.no_grad():
        same(value, f(eta))
        same(mu, f.gradient(eta))
    zero, _ = f.evaluate(torch.zeros(4, dtype=torch.float64))
    assert abs(float(zero)) < 1e-15
    empty = f.evaluate(eta[:0])
    assert [tuple(e.shape) for e in empty] == [(0, 4, 5), (0, 4, 5, 4)]


def test_all_of_a_network_works_in_single_precision():
    f, eta = network(2).requires_grad_(False), sobol_states(50, seed=7, margin=0.02)
    exact = [f(eta), *f.evaluate(eta), f.hessian(eta)]
    f = f.to(torch.float32)
    single = [f(eta.float()), *f.evaluate(eta.float()), f.hessian(eta.float())]
    # 1e-7 of the largest of kT/x², 4 eV of a Hessian, times Q's 4.
    for found, expected in zip(single, exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
