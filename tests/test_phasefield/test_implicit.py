"""Implicit steps: order, the equation they solve, tangents, long steps and their limits."""

import gc
import math
from dataclasses import replace

import pytest
import torch

from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.order_parameters import FCC_L12
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import Point, etdrk4
from phasefield.models import GradientFlow, OrderField

T = 0.5


def cahn_hilliard(boundaries=()):
    field = OrderField("c", True, 1.0, 0.5)
    grid = Grid((16,), 1.0, boundaries)
    return GradientFlow(grid, double_well(5.0, 0.3, 0.7), (field,), stabiliser=(1.0,))


def alloy(coupling=None):
    interaction = torch.tensor([0.35, -0.35, -0.35, -0.35], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, 1000.0, 1e-3), interaction)
    order = [OrderField(f"eta{i}", False, 1.0, 0.2) for i in (1, 2, 3)]
    fields = (OrderField("c", True, 1.0, 0.2), *order)
    return GradientFlow(
        Grid((12, 10), 0.5), f, fields, 0.01128, coupling, stabiliser=(1.0, 2.0, 2.0, 2.0)
    )


def mixed():
    """κᵢⱼ of any two of four fields."""
    coupling = torch.full((4, 4), 0.03, dtype=torch.float64)
    coupling[0, 1] = coupling[1, 0] = -0.05
    return coupling


def random_alloy(seed=0):
    generator = torch.Generator().manual_seed(seed)
    u = 0.02 * torch.randn((4, 12, 10), generator=generator, dtype=torch.float64)
    u[0] += 0.16
    return u


def wave(grid):
    x = grid.cell_centres()[0]
    k = 2 * math.pi / 16
    return grid.transform((0.5 + 0.1 * torch.cos(k * x) + 0.05 * torch.cos(2 * k * x))[None])


def final(problem, u, integrator, steps, time=T):
    dt = time / steps
    step, force, old = integrator.prepare(problem, dt), problem.evaluate(u).force_hat, (None, None)
    for i in range(steps):
        attempt = step(Point(i * dt, u, force, *old, dt))
        old, u, force = (u, force), attempt.u_hat, attempt.end.force_hat
    return problem.grid.inverse(u)


@pytest.mark.parametrize("boundaries", [("periodic",), ("no-flux",)])
def test_implicit_differentiation_is_of_second_order(boundaries):
    problem = cahn_hilliard(boundaries)
    u = wave(problem.grid)
    exact = final(problem, u, etdrk4, 512)
    coarse, fine = (float((final(problem, u, implicit_bdf2, n) - exact).norm()) for n in (32, 64))
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


def test_its_error_estimate_is_of_third_order():
    problem = cahn_hilliard()
    u = wave(problem.grid)
    force = problem.evaluate(u).force_hat

    def estimate(dt):
        end = etdrk4.prepare(problem, dt)(Point(0.0, u, force))
        at = Point(dt, end.u_hat, end.end.force_hat, u, force, dt)
        return float(implicit_bdf2.prepare(problem, dt)(at).error().abs().max())

    assert math.log2(estimate(4e-3) / estimate(2e-3)) == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("ratio", [1, 2])
def test_a_stabiliser_far_above_the_curvature_hides_no_error(ratio):
    """The estimate against the error itself, for equal steps and for one twice as long."""
    problem = replace(cahn_hilliard(), stabiliser=(1000.0,))
    start, dt = wave(problem.grid), 0.005
    middle = problem.grid.transform(final(problem, start, etdrk4, 64, dt / ratio))
    forces = [problem.evaluate(u).force_hat for u in (middle, start)]
    at = Point(dt / ratio, middle, forces[0], start, forces[1], dt / ratio)
    attempt = implicit_bdf2.prepare(problem, dt)(at)
    exact = final(problem, middle, etdrk4, 64, dt)
    error = float((problem.grid.inverse(attempt.u_hat) - exact).abs().max())
    assert float(problem.grid.inverse(attempt.error()).abs().max()) == pytest.approx(error, rel=0.3)


def test_a_long_first_step_solves_the_equation_of_implicit_euler():
    """û' − dt [L û' + W F(û')] = û to the accuracy of Newton's iteration."""
    problem = cahn_hilliard()
    u = problem.grid.transform(torch.full((1, 16), 0.3, dtype=torch.float64))
    u = u + 0.2 * (wave(problem.grid) - u)
    dt = 30.0
    at = Point(0.0, u, problem.evaluate(u).force_hat)
    new = implicit_bdf2.prepare(problem, dt)(at).u_hat
    rest = new - dt * (problem.linear * new + problem.weight * problem.evaluate(new).force_hat) - u
    by = 1 / (1 - dt * problem.linear)
    assert float(problem.grid.inverse(by * rest).abs().max()) < 1e-9
    assert float((new[:, 0] - u[:, 0]).abs().max()) < 1e-14  # mass


@pytest.mark.parametrize("problem", [cahn_hilliard(), alloy(), alloy(mixed())])
def test_the_tangent_is_the_derivative_of_the_force(problem):
    grid = problem.grid
    u = grid.inverse(wave(grid)) if len(problem.fields) == 1 else random_alloy()
    generator = torch.Generator().manual_seed(5)
    v = torch.randn(u.shape, generator=generator, dtype=torch.float64)
    step = 1e-5
    forward, back = (
        grid.inverse(problem.evaluate(grid.transform(u + sign * step * v)).force_hat)
        for sign in (1, -1)
    )
    found = grid.inverse(problem.tangent(grid.transform(u))(grid.transform(v)))
    torch.testing.assert_close(found, (forward - back) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("problem", [alloy(), alloy(mixed())])
def test_conserved_and_other_fields_together_agree_with_exponential_steps(problem):
    u = problem.grid.transform(random_alloy())
    exact = final(problem, u, etdrk4, 256)
    found = final(problem, u, implicit_bdf2, 128)
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-4)


def test_a_step_longer_than_something_takes_to_grow_is_refused_by_its_error():
    """f″ < 0 everywhere: the derivative is not definite."""
    field = OrderField("eta", False, 1.0, 1e-3)
    problem = GradientFlow(Grid((16,), 1.0), Expression("-u**2/2 + u**4/4", ("u",)), (field,))
    u = problem.grid.transform(0.01 * problem.grid.inverse(wave(problem.grid)))
    attempt = implicit_bdf2.prepare(problem, 50.0)(Point(0.0, u, problem.evaluate(u).force_hat))
    assert attempt.error().isnan().all()


@pytest.mark.parametrize("stabiliser", [(1.0, 2.0, 2.0, 2.0), (0.0, 0.0, 0.0, 0.0)])
def test_a_step_leaves_no_fields_to_the_collector_of_cycles(stabiliser):
    """It comes by too rarely: a run of 96³ cells came to 20 GB."""
    problem = replace(alloy(mixed()), stabiliser=stabiliser)
    u = problem.grid.transform(random_alloy())
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        final(problem, u, implicit_bdf2, 2)
        gc.collect()
        assert [x for x in gc.garbage if isinstance(x, torch.Tensor)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
