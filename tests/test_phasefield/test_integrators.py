"""Time steps: φ-functions, order of convergence of the steps and of their error estimates."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import pytest
import torch

from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.integrators import (
    INTEGRATORS,
    Evaluation,
    Point,
    etdrk2,
    etdrk4,
    phi_functions,
    sbdf2,
)
from phasefield.models import GradientFlow, OrderField

T = 0.5


@pytest.fixture(scope="module")
def problem():
    grid = Grid((16,), 1.0)
    field = OrderField("c", True, 1.0, 0.5)
    return GradientFlow(grid, double_well(5.0, 0.3, 0.7), (field,), stabiliser=(1.0,))


@pytest.fixture(scope="module")
def start(problem):
    x = problem.grid.cell_centres()[0]
    k = 2 * math.pi / 16
    u = 0.5 + 0.1 * torch.cos(k * x) + 0.05 * torch.sin(2 * k * x)
    return problem.grid.transform(u[None])


def final(problem, u, integrator, steps):
    """After equal steps; of two-step integrators the first is one of a one-step method."""
    dt = T / steps
    step, n, old = integrator.prepare(problem, dt), problem.evaluate(u, 0.0).force_hat, (None, None)
    for i in range(steps):
        attempt = step(Point(i * dt, u, n, *old, dt))
        old, u, n = (u, n), attempt.u_hat, attempt.end.force_hat
    return problem.grid.inverse(u)


every_integrator = pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)


@every_integrator
def test_an_integrator_converges_at_its_stated_order(integrator, problem, start):
    exact = final(problem, start, etdrk4, 512)
    coarse, fine = (float((final(problem, start, integrator, n) - exact).norm()) for n in (64, 128))
    assert math.log2(coarse / fine) == pytest.approx(integrator.order, abs=0.15)


@every_integrator
def test_an_error_estimate_shrinks_at_its_stated_order(integrator, problem, start):
    n = problem.evaluate(start, 0.0).force_hat

    def estimate(dt):
        at = Point(0.0, start, n)
        if integrator.two_steps:  # an exact step comes before
            end = etdrk4.prepare(problem, dt)(at)
            at = Point(dt, end.u_hat, end.end.force_hat, start, n, dt)
        return float(integrator.prepare(problem, dt)(at).error().abs().max())

    coarse, fine = estimate(1e-3), estimate(5e-4)
    assert math.log2(coarse / fine) == pytest.approx(integrator.error_order, abs=0.15)


def test_steps_of_changing_length_keep_the_order_of_two_step_differentiation(problem, start):
    """Lengths alternate 1 : 2, as they never do in a run."""

    def error(pairs):
        dt, exact = T / (3 * pairs), final(problem, start, etdrk4, 512)
        u, n, old, elapsed, time = (
            start,
            problem.evaluate(start, 0.0).force_hat,
            (None, None),
            1.0,
            0.0,
        )
        for length in [dt, 2 * dt] * pairs:
            attempt = sbdf2.prepare(problem, length)(Point(time, u, n, *old, elapsed))
            old, u, n = (u, n), attempt.u_hat, attempt.end.force_hat
            elapsed, time = length, time + length
        return float((problem.grid.inverse(u) - exact).norm())

    assert math.log2(error(32) / error(64)) == pytest.approx(2, abs=0.15)


@every_integrator
def test_a_step_hands_over_n_of_its_own_result(integrator, problem, start):
    at = Point(0.0, start, problem.evaluate(start, 0.0).force_hat)
    attempt = integrator.prepare(problem, 0.01)(at)
    assert torch.equal(attempt.end.force_hat, problem.evaluate(attempt.u_hat, 0.01).force_hat)


@dataclass(frozen=True)
class Modes:
    """u̇ = λ u + g(t) in every mode."""

    rates: torch.Tensor
    source: Callable
    grid: Grid

    @property
    def linear(self):
        return self.rates

    @property
    def weight(self):
        return torch.ones_like(self.rates)

    def evaluate(self, u_hat, time):
        nothing = torch.tensor(math.nan)
        return Evaluation(torch.full_like(u_hat, self.source(time)), nothing, nothing)


@pytest.mark.parametrize("integrator", [etdrk2, etdrk4])
def test_exponential_steps_are_exact_when_the_problem_is_linear(integrator):
    rates = -torch.tensor([[0.0, 1.0, 100.0]], dtype=torch.float64)
    decay = Modes(rates, lambda time: 0.0, Grid((4,), 1.0))
    u = torch.ones(1, 3, dtype=torch.complex128)
    new = integrator.prepare(decay, 0.3)(Point(0.0, u, torch.zeros_like(u))).u_hat
    torch.testing.assert_close(new.real, (0.3 * decay.linear).exp())


@every_integrator
def test_sources_that_depend_on_time_are_met_at_the_times_of_the_stages(integrator):
    """u̇ = −u + cos t has the solution ½(cos t + sin t) + (u₀ − ½) e^{−t}."""
    problem = Modes(torch.full((1, 3), -1.0, dtype=torch.float64), math.cos, Grid((4,), 1.0))
    u = torch.full((1, 3), 0.8, dtype=torch.float64)
    exact = 0.5 * (math.cos(1.0) + math.sin(1.0)) + 0.3 * math.exp(-1.0)

    def error(steps):
        dt, new, old = 1 / steps, u, (None, None)
        step, n = integrator.prepare(problem, dt), problem.evaluate(u, 0.0).force_hat
        for i in range(steps):
            attempt = step(Point(i * dt, new, n, *old, dt))
            old, new, n = (new, n), attempt.u_hat, attempt.end.force_hat
        return abs(float(new[0, 0]) - exact)

    assert math.log2(error(16) / error(32)) == pytest.approx(integrator.order, abs=0.15)


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
