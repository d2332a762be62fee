"""The periodic grid: exact derivatives of waves, Parseval's theorem, bad input."""

import math

import pytest
import torch

from phasefield.grid import Grid


@pytest.mark.parametrize("shape", [(16,), (16, 9), (8, 6, 5)])
def test_k2_gives_minus_the_laplacian_of_a_wave(shape):
    grid = Grid(shape, 0.7)
    wave_numbers = [2 * math.pi / (n * grid.spacing) for n in shape]
    phase = sum(k * x for k, x in zip(wave_numbers, grid.cell_centres(), strict=True))
    u = torch.cos(phase)
    laplacian = -grid.inverse(grid.k2 * grid.transform(u))
    torch.testing.assert_close(laplacian, -sum(k * k for k in wave_numbers) * u)


@pytest.mark.parametrize("shape", [(10,), (9,), (6, 8), (6, 7), (4, 5, 6)])
def test_multiplicity_makes_parseval_exact_for_even_and_odd_lengths(shape):
    grid = Grid(shape, 1.0)
    u = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = (grid.transform(u).abs().square() * grid.multiplicity).sum() / grid.cells
    torch.testing.assert_close(total, u.square().sum())


WALLS = [
    ((10,), ("no-flux",)),
    ((9,), ("no-flux",)),
    ((6, 8), ("no-flux", "periodic")),
    ((7, 6), ("periodic", "no-flux")),
    ((6, 5), ("no-flux", "no-flux")),
    ((4, 5, 6), ("periodic", "no-flux", "periodic")),
    ((5, 4, 6), ("no-flux", "periodic", "no-flux")),
]


@pytest.mark.parametrize(("shape", "boundaries"), [((6, 7), ()), *WALLS])
def test_an_inverse_that_is_not_scaled_is_as_many_times_larger_as_turns_says(shape, boundaries):
    grid = Grid(shape, 1.0, boundaries)
    u = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(grid.inverse(grid.transform(u), scaled=False), grid.turns * u)


@pytest.mark.parametrize(("shape", "boundaries"), WALLS)
def test_a_transform_between_walls_is_inverted_and_obeys_parseval(shape, boundaries):
    grid = Grid(shape, 0.7, boundaries)
    u = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u_hat = grid.transform(u)
    torch.testing.assert_close(grid.inverse(u_hat), u, rtol=0, atol=1e-14)
    weight = grid.multiplicity.expand(u_hat.shape).contiguous()
    assert grid.mode_sum(weight, u_hat) == pytest.approx(float(u.square().sum()))
    first = u_hat.flatten(1)[:, 0]
    torch.testing.assert_close(first.real, u.flatten(1).sum(1))


@pytest.mark.parametrize(("shape", "boundaries"), WALLS)
def test_k2_between_walls_gives_minus_the_laplacian_of_a_cosine(shape, boundaries):
    """cos(πx/L) has no slope at either wall."""
    grid = Grid(shape, 0.7, boundaries)
    halves = [1 if kind == "no-flux" else 2 for kind in boundaries]
    numbers = [half * math.pi / (n * 0.7) for half, n in zip(halves, shape, strict=True)]
    u = math.prod(torch.cos(k * x) for k, x in zip(numbers, grid.cell_centres(), strict=True))
    laplacian = -grid.inverse(grid.k2 * grid.transform(u))
    torch.testing.assert_close(laplacian, -sum(k * k for k in numbers) * u)


def test_a_box_with_walls_is_half_of_its_mirrored_ring():
    u = torch.randn((6, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    box, ring = Grid((6, 5), 1.0, ("no-flux",) * 2), Grid((12, 10), 1.0)
    mirrored = torch.cat([u, u.flip(0)])
    mirrored = torch.cat([mirrored, mirrored.flip(1)], 1)

    def smoothed(grid, field):
        return grid.inverse(grid.transform(field) * (-0.3 * grid.k2).exp())

    torch.testing.assert_close(smoothed(box, u), smoothed(ring, mirrored)[:6, :5])


def test_single_precision_fields_stay_so():
    grid = Grid((8, 9), 1.0, ("no-flux", "periodic"), dtype=torch.float32)
    u = grid.field(lambda x, y: torch.cos(x) * y)
    assert u.dtype == torch.float32
    back = grid.inverse(grid.transform(u))
    assert back.dtype == torch.float32
    torch.testing.assert_close(back, u, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("boundaries", [("periodic",), ("no-flux",) * 3])
def test_boundaries_of_another_kind_or_number_are_refused(boundaries):
    with pytest.raises(ValueError, match='`boundaries` must hold "periodic" or "no-flux"'):
        Grid((8, 8), 1.0, boundaries)


def test_fields_of_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="`dtype` must be float64 or float32"):
        Grid((8, 8), 1.0, dtype=torch.int64)


def test_cell_centres_start_half_a_cell_in():
    x, y = Grid((4, 6), 2.0).cell_centres()
    assert x[0, 0] == y[0, 0] == 1.0
    assert x[-1, 0] == 7.0
    assert y[0, -1] == 11.0


@pytest.mark.parametrize("shape", [(), (3,), (8, 8, 8, 8)])
def test_a_shape_without_one_to_three_axes_of_four_cells_is_refused(shape):
    with pytest.raises(ValueError, match="`shape` must hold one to three lengths"):
        Grid(shape, 1.0)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, math.inf])
def test_a_spacing_that_is_not_positive_is_refused(spacing):
    with pytest.raises(ValueError, match="`spacing` must be finite and positive"):
        Grid((8,), spacing)
