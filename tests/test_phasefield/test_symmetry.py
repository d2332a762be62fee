"""Moved, turned and mirrored fields evolve to moved, turned and mirrored fields, to rounding."""

from itertools import combinations

import pytest
import torch

from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.order_parameters import FCC_L12
from phasefield.adaptive import StepControl
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import etdrk4
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

P, W = "periodic", "no-flux"


def alloy(grid):
    """Conserved and ordering fields with a gradient term between all of them."""
    interaction = torch.tensor([0.35, -0.35, -0.35, -0.35], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, 1000.0, 1e-3), interaction)
    order = [OrderField(f"eta{i}", False, 1.0, 0.2) for i in (1, 2, 3)]
    coupling = torch.full((4, 4), 0.03, dtype=torch.float64)
    fields = (OrderField("c", True, 1.0, 0.2), *order)
    return GradientFlow(grid, f, fields, 0.01128, coupling), (0.16, 0.0, 0.0, 0.0)


def transport(grid):
    """A mobility of the composition, by which gradients and divergences count."""
    well, field = double_well(5.0, 0.3, 0.7), OrderField("c", True, 1.0, 0.5)
    return GradientFlow(grid, well, (field,), mobility=lambda u: 4 * u[0] * (1 - u[0])), (0.5,)


def noise(model, means):
    generator = torch.Generator().manual_seed(3)
    shape = (len(means), *model.grid.shape)
    column = torch.tensor(means, dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
    return column + 0.02 * torch.randn(shape, generator=generator, dtype=torch.float64)


def evolved(model, u, integrator=etdrk4):
    """After eight steps, in which noise decays or grows by a multiple."""
    control = StepControl(fixed_step=0.25, integrator=integrator)
    end = solve(model, u, [2.0], control=control).u
    assert float((end - u).abs().max()) > 0.02
    return end


def assert_moves_alike(model, moved_model, means, move, integrator=etdrk4):
    """Moved, then evolved, is evolved, then moved."""
    u = noise(model, means)
    found = evolved(moved_model, move(u).contiguous(), integrator)
    expected = move(evolved(model, u, integrator))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [alloy, transport])
@pytest.mark.parametrize("shape", [(12, 12), (9, 9), (6, 6, 6)])
def test_quarter_turns_about_every_axis(make, shape):
    model, means = make(Grid(shape, 0.5))
    for plane in combinations(range(1, len(shape) + 1), 2):
        for turns in (1, 2):
            assert_moves_alike(model, model, means, lambda u, p=plane, n=turns: u.rot90(n, p))


@pytest.mark.parametrize("make", [alloy, transport])
@pytest.mark.parametrize("boundaries", [(), (W, P), (W, W)])
def test_mirrors_of_every_axis(make, boundaries):
    model, means = make(Grid((10, 7), 0.5, boundaries))
    for axis in (1, 2):
        assert_moves_alike(model, model, means, lambda u, a=axis: u.flip(a))


@pytest.mark.parametrize("make", [alloy, transport])
@pytest.mark.parametrize(
    ("shape", "boundaries"), [((10, 7), ()), ((10, 7), (W, P)), ((6, 5, 8), (P, W, P))]
)
def test_exchanged_axes_of_a_box_of_unlike_edges(make, shape, boundaries):
    model, means = make(Grid(shape, 0.5, boundaries))
    for a, b in combinations(range(len(shape)), 2):
        order = [*range(len(shape))]
        order[a], order[b] = b, a
        turned = Grid(
            tuple(shape[i] for i in order),
            0.5,
            tuple(boundaries[i] for i in order[: len(boundaries)]),
        )
        assert_moves_alike(
            model, make(turned)[0], means, lambda u, a=a, b=b: u.transpose(a + 1, b + 1)
        )


@pytest.mark.parametrize("make", [alloy, transport])
def test_shifts_by_whole_cells_in_three_dimensions(make):
    model, means = make(Grid((6, 5, 8), 0.5))
    assert_moves_alike(model, model, means, lambda u: u.roll((1, 2, 5), (1, 2, 3)))


def test_a_quarter_turn_with_implicit_steps():
    """Iterations are as many on either side."""
    model, means = alloy(Grid((10, 10), 0.5))
    assert_moves_alike(model, model, means, lambda u: u.rot90(1, (1, 2)), implicit_bdf2)
