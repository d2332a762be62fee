"""Interface energies known in closed form: one order parameter, two, and one that follows."""

import math
from dataclasses import dataclass, replace

import pytest
import torch

from idnn.interface import NotAnInterface, interface
from idnn.order_parameters import FCC_L12


def crystal(dimension):
    """As many order parameters as site fractions, and the same."""
    return replace(
        FCC_L12, name="test", q=torch.eye(dimension, dtype=torch.float64),
        group=torch.arange(dimension)[None], supplied=None,
    )  # fmt: skip


@dataclass(frozen=True)
class DoubleWell:
    """W η²(1−η)² (eV/site)."""

    height: float

    def __call__(self, eta):
        return self.height * eta[..., 0] ** 2 * (1 - eta[..., 0]) ** 2


@dataclass(frozen=True)
class Superpotential:
    """½|1 − zⁿ|² of z = 4(η₀ − ½) + 4i(η₁ − ½): wells at the n-th roots of one."""

    order: int

    def __call__(self, eta):
        z = torch.complex(4 * eta[..., 0] - 2, 4 * eta[..., 1] - 2)
        slope = 1 - z**self.order
        return (slope.real**2 + slope.imag**2) / 2


@dataclass(frozen=True)
class Follower:
    """A double well in η₀ whose second order parameter would like to be η₀(1−η₀)."""

    stiffness: float

    def __call__(self, eta):
        a, b = eta[..., 0], eta[..., 1]
        return 0.3 * a**2 * (1 - a) ** 2 + self.stiffness * (b - a * (1 - a)) ** 2


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_double_well_has_its_closed_form_energy_and_profile():
    """σΩ = ∫√(2KW)η(1−η)dη = √(2KW)/6 and η = ½(1 + tanh(x√(W/2K)))."""
    height, kappa = 0.02, 3.0
    found = interface(
        DoubleWell(height), crystal(1), vector(0), vector(1), 0.0,
        gradient=torch.tensor([[kappa]], dtype=torch.float64), site_volume=11.0, points=1025,
    )  # fmt: skip
    assert found.energy == pytest.approx(math.sqrt(2 * kappa * height) / 6 / 11.0, rel=1e-5)
    x = found.position
    near = x.abs() < 20
    profile = (1 + torch.tanh(x * math.sqrt(height / 2 / kappa))) / 2
    assert (found.eta[1:-1, 0] - profile)[near].abs().max() < 1e-4


def test_the_energy_converges_at_second_order_and_states_its_grid_error():
    exact = math.sqrt(2 * 0.02) / 6
    errors, stated = [], []
    for points in (65, 129, 257):
        found = interface(
            DoubleWell(0.02), crystal(1), vector(0), vector(1), 0.0,
            gradient=torch.eye(1, dtype=torch.float64), site_volume=1.0, points=points,
        )  # fmt: skip
        errors.append(abs(found.energy - exact))
        stated.append(found.grid_error)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.05)
    assert stated == pytest.approx(errors, rel=0.1)


@pytest.mark.parametrize("order", [3, 4])
def test_a_curved_path_of_two_order_parameters_has_the_energy_of_its_superpotential(order):
    """Where Δω = ½|W′(z)|² and K = 1, no path costs less than |W(b) − W(a)|, and one costs that."""

    def w(z):
        return z - z ** (order + 1) / (order + 1)

    a, b = 1 + 0j, complex(math.cos(2 * math.pi / order), math.sin(2 * math.pi / order))
    left, right = (vector(0.5 + z.real / 4, 0.5 + z.imag / 4) for z in (a, b))
    found = interface(
        Superpotential(order), crystal(2), left, right, 0.0,
        gradient=16 * torch.eye(2, dtype=torch.float64), site_volume=1.0,
    )  # fmt: skip
    assert found.energy == pytest.approx(abs(w(b) - w(a)), rel=1e-4)
    straight = (right - left) / (right - left).norm()
    line = left + ((found.eta - left) @ straight)[:, None] * straight
    assert (found.eta - line).norm(dim=1).max() > 0.025


def test_an_order_parameter_without_gradient_energy_follows_the_other():
    found = interface(
        Follower(2.0), crystal(2), vector(0, 0), vector(1, 0), 0.0,
        gradient=torch.diag(vector(1.5, 0)), site_volume=1.0,
    )  # fmt: skip
    assert found.energy == pytest.approx(math.sqrt(2 * 1.5 * 0.3) / 6, rel=1e-4)
    a, b = found.eta.unbind(-1)
    assert (b - a * (1 - a)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient": torch.diag(vector(1, -0.1))}, "positive semidefinite"),
        ({"gradient": torch.diag(vector(0, 1))}, "positive semidefinite"),
        ({"gradient": torch.full((2, 2), math.nan, dtype=torch.float64)}, "gradient"),
        ({"points": 200}, "points"),
        ({"site_volume": math.nan}, "site_volume"),
        ({"mu": 0.1}, "equal"),
    ],
)
def test_bad_input_is_named(changes, message):
    given = {
        "mu": 0.0, "gradient": torch.eye(2, dtype=torch.float64), "site_volume": 1.0, "points": 65,
    } | changes  # fmt: skip
    with pytest.raises(ValueError, match=message):
        interface(Follower(1.0), crystal(2), vector(0, 0), vector(1, 0), given.pop("mu"), **given)


def test_a_path_stays_where_site_fractions_are_fractions():
    """A free energy that falls beyond the wall at η₁ = 0, along which the path then leads."""

    def f(eta):
        return DoubleWell(0.02)(eta) + 0.1 * eta[..., 1]

    found = interface(
        f, crystal(2), vector(0, 0), vector(1, 0), 0.0,
        gradient=torch.eye(2, dtype=torch.float64), site_volume=1.0,
    )  # fmt: skip
    assert found.energy == pytest.approx(math.sqrt(2 * 0.02) / 6, rel=1e-4)
    assert found.eta[:, 1].min() >= 0


def test_wells_above_a_third_state_have_no_interface():
    def f(eta):
        hump = (eta[..., 0] * (1 - eta[..., 0])) ** 2
        return 0.1 * hump - 2 * hump**2 + (eta[..., 1] - 0.5) ** 2

    with pytest.raises(NotAnInterface, match="not the stable phases"):
        interface(
            f, crystal(2), vector(0, 0.5), vector(1, 0.5), 0.0,
            gradient=torch.eye(2, dtype=torch.float64), site_volume=1.0,
        )  # fmt: skip
