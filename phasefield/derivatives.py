"""Gradients and divergences on a grid, between walls as well."""

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.grid import Grid


def gradient(grid: Grid, u_hat: Tensor) -> list[Float[Tensor, "*space"]]:
    """∂u/∂x[, ∂u/∂y[, ∂u/∂z]] on the cells, of transformed u.

    Along a ring i k û; along an axis that ends in walls a cosine series becomes a sine series,
    sin(πk(n+½)/N) = (−1)ⁿ cos(π(N−k)(n+½)/N).
    """
    found = []
    for axis, k in enumerate(grid.odd_wave_numbers):
        if _has_walls(grid, axis):
            sines = _mirrored(-k * u_hat, axis - len(grid.shape))
            found.append(grid.inverse(sines.to(u_hat.dtype)) * _alternating(grid, axis))
        else:
            found.append(grid.inverse((1j * k * u_hat).to(u_hat.dtype)))
    return found


def divergence(grid: Grid, flux: list[Float[Tensor, "*space"]]) -> Tensor:
    """Σ ∂Jᵢ/∂xᵢ, transformed; J vanishes at walls."""
    total: Tensor | None = None
    for axis, (k, along) in enumerate(zip(grid.odd_wave_numbers, flux, strict=True)):
        if _has_walls(grid, axis):
            cosines = grid.transform(along * _alternating(grid, axis))
            part = k * _mirrored(cosines, axis - len(grid.shape))
        else:
            part = 1j * k * grid.transform(along)
        total = part if total is None else total + part
    assert total is not None
    return total


def _has_walls(grid: Grid, axis: int) -> bool:
    return bool(grid.boundaries) and grid.boundaries[axis] == "no-flux"


def _mirrored(u_hat: Tensor, axis: int) -> Tensor:
    """Entry k from entry N − k; entry 0 stays."""
    return u_hat.flip(axis).roll(1, axis)


def _alternating(grid: Grid, axis: int) -> Tensor:
    signs = 1.0 - 2.0 * (torch.arange(grid.shape[axis], device=grid.device) % 2)
    shape = [-1 if a == axis else 1 for a in range(len(grid.shape))]
    return signs.to(grid.dtype).reshape(shape)
