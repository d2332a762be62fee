"""Forces, tangents and bounds of coherent misfit against differences of its energy."""

import pytest
import torch
from strained import CONTROLS, LINEAR, NICKEL, SHEARED, SMOOTH, both, random

from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.stiffness import by_mandel, vector


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("change", [0.0, 2.0])
def test_the_force_is_the_derivative_of_the_energy(control, change):
    grid, u = Grid((7, 6, 5), 0.7), random((1, 7, 6, 5))
    models = both(grid, NICKEL, SHEARED, SMOOTH, change * NICKEL, control)
    v, step = random(u.shape, 5) - 0.5, 1e-4
    for model in models if change == 0 else models[1:]:
        rise = model.respond(u + step * v).energy - model.respond(u - step * v).energy
        slope = float((model.respond(u).force * v).sum())
        assert float(rise) / (2 * step) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("control", CONTROLS)
def test_the_tangent_is_the_derivative_of_the_force(control):
    grid, u = Grid((7, 6, 5), 0.7), random((1, 7, 6, 5))
    one, other = both(grid, NICKEL, SHEARED, SMOOTH, control=control)
    v, step = random(u.shape, 5) - 0.5, 1e-5
    change = one.respond(u + step * v).force - one.respond(u - step * v).force
    torch.testing.assert_close(one.tangent(u)(v), change / (2 * step), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(other.tangent(u)(v), one.tangent(u)(v), rtol=1e-9, atol=1e-10)


def test_a_share_may_fall_with_a_field():
    """A linear one, whose slopes are numbers."""
    grid, u = Grid((7, 6), 0.7), random((1, 7, 6))
    falling, rising = Expression("1 - 2*u", ("u",)), Expression("2*u", ("u",))
    down = both(grid, NICKEL, SHEARED, falling, tolerance=1e-10)
    up = both(grid, NICKEL, -SHEARED, rising, tolerance=1e-10)
    for one, other in zip(down, up, strict=True):
        # A misfit common to all cells is no stress in a free body.
        found, expected = one.respond(u).force, other.respond(u).force
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_the_tangent_of_a_body_half_way_between_two_stiffnesses_is_exact():
    """All of it alike and free, hence without stress: only its own stiffness matters."""
    grid, u = Grid((7, 6, 5), 0.7), torch.full((1, 7, 6, 5), 0.5).double()
    _, model = both(grid, NICKEL, SHEARED, LINEAR, 2 * NICKEL)
    v, step = random(u.shape, 5) - 0.5, 1e-4
    change = model.respond(u + step * v).force - model.respond(u - step * v).force
    expected = change / (2 * step)
    scale = float(expected.abs().max())
    torch.testing.assert_close(model.tangent(u)(v), expected, rtol=0, atol=1e-5 * scale)


def test_curvature_is_the_sum_of_all_that_may_add_up():
    # θ₁ = x² − 3xy, θ₂ = y with opposite strains: |∂θ₁| = (0.7, 1.5), |∂θ₂| = (0, 1), and the rows
    # of |∂²θ₁| add up to 5 and 3.
    x, y = (Expression(text, ("x", "y")) for text in ("x**2 - 3*x*y", "y"))
    misfits = (Misfit(x, SHEARED), Misfit(y, -SHEARED))
    u = torch.tensor([[0.5], [0.1]], dtype=torch.float64)
    grid, contrast = Grid((4, 4), 1.0), Contrast(y, 0.5 * NICKEL)
    stiff = float(vector(SHEARED) @ by_mandel(NICKEL) @ vector(SHEARED))
    for model, factor in (
        (HomogeneousElasticity(grid, NICKEL, misfits), 1.0),
        (InhomogeneousElasticity(grid, NICKEL, misfits, (contrast,)), 1.5),
    ):
        (found,) = model.curvature(u, 0.4).tolist()
        expected = [factor * stiff * a * 3.2 + 0.4 * b for a, b in ((0.7, 5.0), (2.5, 3.0))]
        assert found == pytest.approx(expected, rel=1e-12)


def test_the_largest_pull_on_a_body_held_without_strain_is_that_of_its_own_misfit():
    grid, u = Grid((8, 9), 0.7), torch.full((1, 8, 9), 0.3, dtype=torch.float64)
    energy = float(vector(SHEARED) @ by_mandel(NICKEL) @ vector(SHEARED))
    for model in both(grid, NICKEL, SHEARED, control="held"):
        assert model.largest_pull(u) == pytest.approx(0.3 * energy, rel=1e-12)


def test_curvature_bounds_the_tangent():
    grid, u = Grid((8, 9), 0.7), random((1, 8, 9))
    one, other = both(grid, NICKEL, SHEARED, SMOOTH, 0.5 * NICKEL)
    for model in (one, other):
        bound = float(model.curvature(u.flatten(1), model.largest_pull(u)).max())
        v = random(u.shape, 3) - 0.5
        for _ in range(30):
            v = model.tangent(u)(v)
            v = v / (norm := float(v.norm()))
        assert 0 < norm < bound
