"""Time steps: φ-functions, order of convergence of the steps and of their error estimates."""

import math

import mpmath
import pytest
import torch

from phasefield.free_energies import DoubleWell
from phasefield.grid import Grid
from phasefield.integrators import etdrk2, etdrk4, phi_functions, semi_implicit_euler
from phasefield.models import GradientFlow, OrderField

T = 0.5


@pytest.fixture(scope="module")
def problem():
    grid = Grid((16,), 1.0)
    field = OrderField("c", True, 1.0, 0.5)
    return GradientFlow(grid, DoubleWell(5.0, 0.3, 0.7), (field,), stabiliser=(1.0,))


@pytest.fixture(scope="module")
def start(problem):
    x = problem.grid.cell_centres()[0]
    k = 2 * math.pi / 16
    u = 0.5 + 0.1 * torch.cos(k * x) + 0.05 * torch.sin(2 * k * x)
    return problem.grid.transform(u[None])


def final(problem, u, integrator, steps):
    step, n = integrator(problem, T / steps), problem.nonlinear(u)
    for _ in range(steps):
        attempt = step(u, n)
        u, n = attempt.u_hat, attempt.n_hat
    return problem.grid.inverse(u)


@pytest.mark.parametrize(
    ("integrator", "order"), [(semi_implicit_euler, 1), (etdrk2, 2), (etdrk4, 4)]
)
def test_integrator_converges_at_its_stated_order(integrator, order, problem, start):
    exact = final(problem, start, etdrk4, 512)
    coarse, fine = (float((final(problem, start, integrator, n) - exact).norm()) for n in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    ("integrator", "order"), [(semi_implicit_euler, 2), (etdrk2, 2), (etdrk4, 4)]
)
def test_error_estimate_shrinks_at_its_stated_order(integrator, order, problem, start):
    n = problem.nonlinear(start)
    coarse, fine = (
        float(integrator(problem, dt)(start, n).error_hat.abs().max()) for dt in (2e-3, 1e-3)
    )
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("integrator", [semi_implicit_euler, etdrk2, etdrk4])
def test_a_step_hands_over_n_of_its_own_result(integrator, problem, start):
    attempt = integrator(problem, 0.01)(start, problem.nonlinear(start))
    assert torch.equal(attempt.n_hat, problem.nonlinear(attempt.u_hat))


@pytest.mark.parametrize("integrator", [etdrk2, etdrk4])
def test_exponential_steps_are_exact_when_the_problem_is_linear(integrator):
    class Decay:
        linear = -torch.tensor([[0.0, 1.0, 100.0]], dtype=torch.float64)

        def nonlinear(self, u_hat):
            return torch.zeros_like(u_hat)

    u = torch.ones(1, 3, dtype=torch.complex128)
    new = integrator(Decay(), 0.3)(u, torch.zeros_like(u)).u_hat
    torch.testing.assert_close(new.real, (0.3 * Decay.linear).exp())


@pytest.mark.parametrize("z", [0.0, -1e-9, -1e-3, -0.5, -0.999, -1.0, -3.0, -40.0, -1e4])
def test_phi_functions_agree_with_fifty_digits(z):
    computed = phi_functions(torch.tensor([z], dtype=torch.float64))
    with mpmath.workdps(50):
        x = mpmath.mpf(z)
        exact = [mpmath.exp(x)]
        for m in range(3):
            exact.append(
                (exact[-1] - 1 / mpmath.factorial(m)) / x if z else 1 / mpmath.factorial(m + 1)
            )
        for ours, theirs in zip(computed, exact, strict=True):
            assert float(ours) == pytest.approx(float(theirs), rel=2e-15, abs=1e-300)
