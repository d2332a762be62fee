"""Equations of one's own: rolls of Swift & Hohenberg, a manufactured solution, refusals."""

import math

import pytest
import torch

from phasefield.adaptive import StepControl
from phasefield.equation import Equation
from phasefield.grid import Grid
from phasefield.integrators import INTEGRATORS
from phasefield.solve import solve

TIGHT = StepControl(tolerance=1e-9, largest_step=0.05)


def test_rolls_of_swift_and_hohenberg_grow_to_their_known_amplitude():
    """u = a cos x with a² = 4r/3, less terms of r² in the third harmonic (r/(9−1)⁴ here)."""
    r, n = 0.01, 32
    grid = Grid((n,), 2 * math.pi * 4 / n)
    model = Equation(grid, ("u",), -((1 - grid.k2) ** 2)[None], lambda u, time: r * u - u**3)
    x = grid.cell_centres()[0]
    loose = StepControl(tolerance=1e-7)
    end = solve(model, (0.05 * torch.cos(x))[None], [3000.0], control=loose)
    amplitude = 2 * float((end.u[0] * torch.cos(x)).mean())
    assert amplitude == pytest.approx(math.sqrt(4 * r / 3), rel=1e-4)


def test_a_source_in_time_gives_the_solution_it_was_made_for():
    """u = cos(x) sin(t) solves u̇ = ∇²u + S with S = cos(x)(cos t + sin t)."""
    grid = Grid((16,), 2 * math.pi / 16)
    wave = torch.cos(grid.cell_centres()[0])

    def force(u, time):
        return (wave * (math.cos(time) + math.sin(time)))[None] + 0 * u

    model = Equation(grid, ("u",), -grid.k2[None], force)
    end = solve(model, torch.zeros(1, 16, dtype=torch.float64), [2.0],
                control=TIGHT)  # fmt: skip
    torch.testing.assert_close(end.u[0], wave * math.sin(2.0), rtol=0, atol=1e-8)


@pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)
def test_a_manufactured_solution_is_met_at_the_order_of_the_integrator(integrator):
    """u = ½ + ⅕ sin x cos t of u̇ = κ∇²u − 4u(u−1)(u−½) + S, smooth in space and time."""
    grid, kappa = Grid((16,), 2 * math.pi / 16), 0.3
    x = grid.cell_centres()[0]

    def exact(time):
        return (0.5 + 0.2 * torch.sin(x) * math.cos(time))[None]

    def force(u, time):
        v = exact(time)
        source = -0.2 * torch.sin(x) * math.sin(time) + kappa * (v - 0.5)
        return -4 * u * (u - 1) * (u - 0.5) + source + 4 * v * (v - 1) * (v - 0.5)

    model = Equation(grid, ("u",), -kappa * grid.k2[None], force)

    def error(dt):
        control = StepControl(fixed_step=dt, integrator=integrator)
        return float((solve(model, exact(0.0), [2.0], control=control).u - exact(2.0)).norm())

    assert math.log2(error(1 / 16) / error(1 / 32)) == pytest.approx(integrator.order, abs=0.2)


def test_a_weight_multiplies_the_force():
    grid = Grid((8,), 1.0)
    model = Equation(grid, ("u",), 0 * grid.k2[None], lambda u, t: 0 * u + 1, 3 + 0 * grid.k2[None])
    end = solve(model, torch.zeros(1, 8, dtype=torch.float64), [2.0])
    torch.testing.assert_close(end.u, torch.full_like(end.u, 6.0))


def test_a_linear_part_that_grows_or_has_another_shape_is_refused():
    grid = Grid((8,), 1.0)
    with pytest.raises(ValueError, match="`linear` must nowhere be positive"):
        Equation(grid, ("u",), grid.k2[None], lambda u, t: u)
    with pytest.raises(ValueError, match=r"`linear` must have shape \(1, 5\)"):
        Equation(grid, ("u",), -grid.k2, lambda u, t: u)
