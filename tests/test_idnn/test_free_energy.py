"""Closed forms: ideal mixing with its C² continuation, Bragg-Williams, derivatives."""

import math

import pytest
import torch
from references import DupinNickelAluminium, sobol_states

from idnn.free_energy import (
    BraggWilliams,
    FreeEnergy,
    IdealMixing,
    WithGradient,
    WithHessian,
    chemical_potential,
    hessian,
)
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV

T = 1000.0
KT = BOLTZMANN_EV * T
FLOOR = 1e-3
INTERACTION = torch.tensor([1.4, -1.4, -1.3, -1.2], dtype=torch.float64)


def one_site(floor):
    """Ideal mixing of a crystal with one sublattice: η is x."""
    return IdealMixing(torch.eye(1, dtype=torch.float64), T, floor)


def column(*x):
    return torch.tensor(x, dtype=torch.float64)[:, None]


def test_ideal_mixing_of_one_sublattice_has_its_closed_form():
    x = column(0.0, 0.25, 0.5, 1.0)
    entropy = [0.25 * math.log(0.25) + 0.75 * math.log(0.75), -math.log(2)]
    assert one_site(0.0)(x).tolist() == pytest.approx([0, KT * entropy[0], KT * entropy[1], 0])
    slope = one_site(0.0).gradient(x[1:2])
    assert float(slope) == pytest.approx(KT * math.log(0.25 / 0.75), rel=1e-14)


def test_ideal_mixing_averages_over_the_sublattices():
    x = torch.tensor([0.9, 0.1, 0.2, 0.3], dtype=torch.float64)
    each = one_site(0.0)(x[:, None])
    whole = IdealMixing(FCC_L12.q, T)(FCC_L12.order_parameters(x))
    assert float(whole) == pytest.approx(float(each.mean()), rel=1e-13)


@pytest.mark.parametrize("edge", [FLOOR, 1 - FLOOR])
def test_the_continuation_joins_with_value_slope_and_curvature(edge):
    f, h = one_site(FLOOR), 1e-9
    below, above = column(edge - h), column(edge + h)
    # Across 2h a C² function changes by 2h times its next derivative: 14 kT, kT/floor, kT/floor².
    assert float(f(above) - f(below)) == pytest.approx(0, abs=2 * h * 14 * KT)
    jump = float(f.gradient(above) - f.gradient(below))
    assert jump == pytest.approx(2 * h * KT / FLOOR, rel=0.01)
    assert float(hessian(f, above)) == pytest.approx(float(hessian(f, below)), rel=1e-5)
    assert float(hessian(f, column(edge))) == pytest.approx(float(hessian(f, above)), rel=1e-5)


def test_inside_the_floors_the_continuation_changes_nothing():
    x = column(FLOOR, 0.3, 1 - FLOOR)
    assert torch.equal(one_site(FLOOR)(x), one_site(0.0)(x))


@pytest.mark.parametrize("x", [-0.2, -1e-4, 5e-4, 0.5, 0.9999, 1.3])
def test_the_continued_gradient_is_the_derivative_of_the_continued_value(x):
    f = one_site(FLOOR)
    point = column(x).requires_grad_()
    (slope,) = torch.autograd.grad(f(point).sum(), point)
    assert float(f.gradient(point).detach()) == pytest.approx(float(slope), rel=1e-13)
    assert math.isfinite(float(slope))


def test_without_a_floor_ideal_mixing_is_nan_outside():
    outside = column(-0.01, 1.01)
    assert one_site(0.0)(outside).isnan().all()
    assert one_site(0.0).gradient(outside).isnan().all()


@pytest.mark.parametrize("floor", [0.0, FLOOR])
def test_nan_stays_nan(floor):
    assert one_site(floor)(column(math.nan)).isnan().all()
    assert one_site(floor).gradient(column(math.nan)).isnan().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be finite and positive"):
        IdealMixing(FCC_L12.q, temperature)


@pytest.mark.parametrize("floor", [-0.1, 0.5, math.nan])
def test_a_bad_floor_is_refused(floor):
    with pytest.raises(ValueError, match=r"`floor` must lie in \[0, 0.5\)"):
        IdealMixing(FCC_L12.q, T, floor)


def test_bragg_williams_has_its_closed_form_and_its_gradient():
    f = BraggWilliams(IdealMixing(FCC_L12.q, T), INTERACTION)
    eta = sobol_states(64, seed=3)
    ideal = IdealMixing(FCC_L12.q, T)(eta)
    torch.testing.assert_close(f(eta) - ideal, eta.square() @ INTERACTION, rtol=0, atol=1e-15)
    point = eta.requires_grad_()
    (slope,) = torch.autograd.grad(f(point).sum(), point)
    torch.testing.assert_close(f.gradient(point), slope, rtol=1e-13, atol=1e-15)


def test_the_bragg_williams_hessian_of_the_disordered_state_has_its_closed_form():
    eta = torch.tensor([0.2, 0, 0, 0], dtype=torch.float64)
    h = hessian(BraggWilliams(IdealMixing(FCC_L12.q, T), INTERACTION), eta)
    expected = torch.diag(KT / (0.2 * 0.8) + 2 * INTERACTION)
    torch.testing.assert_close(h, expected, rtol=1e-13, atol=1e-14)


def test_a_free_energy_without_a_gradient_is_differentiated():
    f = DupinNickelAluminium(T)
    assert isinstance(f, FreeEnergy)
    assert not isinstance(f, WithGradient)
    eta = sobol_states(8, seed=5, margin=0.05)
    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    central = (f(eta[:, None] + step) - f(eta[:, None] - step)) / 2e-5
    torch.testing.assert_close(chemical_potential(f, eta), central, rtol=0, atol=1e-7)


def test_a_chemical_potential_carries_a_graph_only_when_asked():
    eta = sobol_states(2, seed=5)
    assert chemical_potential(DupinNickelAluminium(T), eta).requires_grad
    with torch.no_grad():
        assert not chemical_potential(DupinNickelAluminium(T), eta).requires_grad
    assert not hessian(DupinNickelAluminium(T), eta).requires_grad


@pytest.mark.parametrize("floor", [0.0, FLOOR])
@pytest.mark.parametrize("kind", ["ideal", "bragg-williams"])
def test_a_closed_form_hessian_is_the_derivative_of_the_gradient(floor, kind):
    f = IdealMixing(FCC_L12.q, T, floor)
    if kind == "bragg-williams":
        f = BraggWilliams(f, INTERACTION)
    assert isinstance(f, WithHessian)
    eta = sobol_states(40, seed=6, margin=0.01 if floor == 0 else -0.01).requires_grad_()
    mu = f.gradient(eta)
    rows = [torch.autograd.grad(mu[:, i].sum(), eta, retain_graph=True)[0] for i in range(4)]
    # Up to kT/floor = 86 eV.
    torch.testing.assert_close(
        f.hessian(eta).detach(), torch.stack(rows, -2), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(hessian(f, eta), f.hessian(eta).detach(), rtol=0, atol=0)
