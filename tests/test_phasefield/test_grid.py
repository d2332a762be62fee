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
