"""Formulas: derivatives against autograd and closed forms, compiled passes, refusals."""

import math

import numpy as np
import pytest
import torch

from idnn.free_energy import FreeEnergy, WithEvaluate, WithGradient, WithHessian, hessian
from phasefield.expression import Expression, double_well

LANDAU = Expression(
    "a/2*(c - 0.125)**2 + b/6*(0.383 - c)*(x**2 + y**2) - d/3*x*y + (x**2 + y**2)**2 / 4",
    ("c", "x", "y"),
    {"a": 905.387, "b": 211.611, "d": 165.031},
)
SOLUTION = Expression(
    "kT*(c*log(c) + (1 - c)*log(1 - c)) + w*c*(1 - c) + exp(-s**2)*tanh(s) + sqrt(c)**3 * cos(s)",
    ("c", "s"),
    {"kT": 0.08, "w": 0.2},
)
CUBIC = Expression("-u**3 / 3 + 2", ("u",))
CASES = pytest.mark.parametrize("f", [LANDAU, SOLUTION, CUBIC, double_well(5.0, 0.3, 0.7)])


def somewhere(f, count=50):
    generator = torch.Generator().manual_seed(3)
    shape = (count, len(f.fields))
    return 0.1 + 0.8 * torch.rand(shape, generator=generator, dtype=torch.float64)


@CASES
def test_derivatives_are_those_of_autograd(f):
    eta = somewhere(f)
    for protocol in (FreeEnergy, WithGradient, WithHessian, WithEvaluate):
        assert isinstance(f, protocol)
    x = eta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x)
    torch.testing.assert_close(f.gradient(eta), slope, rtol=1e-12, atol=1e-12)
    value, potential = f.evaluate(eta)
    torch.testing.assert_close(value, f(eta), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(potential, slope, rtol=1e-12, atol=1e-12)

    class Plain:
        def __call__(self, eta):
            return f(eta)

    torch.testing.assert_close(f.hessian(eta), hessian(Plain(), eta), rtol=1e-11, atol=1e-11)


@CASES
def test_a_compiled_pass_gives_force_and_sums(f):
    eta = somewhere(f, 1000)
    s = np.linspace(0.5, 2.0, len(f.fields))
    u = eta.T.contiguous().numpy().copy()
    first, second = f.kernel(u, s, 0, 600), f.kernel(u, s, 600, 1000)
    value, slope = f.evaluate(eta)
    expected = slope.T - torch.from_numpy(s)[:, None] * eta.T
    torch.testing.assert_close(torch.from_numpy(u), expected, rtol=1e-12, atol=1e-12)
    assert first[0] + second[0] == pytest.approx(float(value.sum()), rel=1e-12)
    assert first[1] + second[1] == pytest.approx(float(value.abs().sum()), rel=1e-12)


def test_a_compiled_pass_outside_the_domain_gives_nan_and_stops_nothing():
    u = np.array([[0.5, -0.1], [0.0, 0.0]])
    total, _ = SOLUTION.kernel(u, np.zeros(2), 0, 2)
    assert math.isnan(total)
    assert math.isfinite(u[0, 0])
    assert math.isnan(u[0, 1])


def test_the_double_well_has_the_curvature_of_its_closed_form():
    """f″ = 2ρ(b − a)² at a well."""
    f = double_well(5.0, 0.3, 0.7)
    at_well = torch.tensor([0.3], dtype=torch.float64)
    assert float(f.hessian(at_well)[0, 0]) == pytest.approx(2 * 5 * 0.4**2)
    assert float(f(at_well)) == 0.0


def test_wells_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="`low` must be below `high`"):
        double_well(1.0, 0.7, 0.3)
    with pytest.raises(ValueError, match="`height` must be finite and positive"):
        double_well(-1.0, 0.3, 0.7)


@pytest.mark.parametrize(
    ("formula", "complaint"),
    [
        ("c +", "cannot be read"),
        ("c + z", "may use .* it uses 'z'"),
        ("__import__('os').system('true')", "may hold numbers"),
        ("c.real", "may hold numbers"),
        ("[c for c in (1, 2)]", "may hold numbers"),
        ("log(c, 2)", "may hold numbers"),
        ("'c'", "may hold numbers"),
        ("True", "may hold numbers"),
        ("c if c else c", "may hold numbers"),
    ],
)
def test_anything_but_a_formula_is_refused(formula, complaint):
    with pytest.raises(ValueError, match=complaint):
        Expression(formula, ("c",))


@pytest.mark.parametrize("constants", [{"c": 1.0}, {"log": 1.0}])
def test_a_name_used_twice_is_refused(constants):
    with pytest.raises(ValueError, match="must differ"):
        Expression("c", ("c",), constants)
