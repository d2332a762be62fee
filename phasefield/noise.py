"""Thermal noise of the amplitude that statistical mechanics asks for."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.units import BOLTZMANN_EV
from phasefield.grid import Grid

CELLS_PER_STREAM = 2**16
"""Cells whose numbers come from one stream, at least: whole planes of the first axis."""


@dataclass(frozen=True)
class Noise:
    """Langevin noise ζ with ⟨ζᵢ(r,t) ζᵢ(r′,t′)⟩ = 2 k_BT Ω Rᵢ δ(r−r′) δ(t−t′).

    With Rᵢ = −M∇² of a conserved field it conserves the mean (Cook 1970,
    doi:10.1016/0001-6160(70)90144-6; Hohenberg & Halperin 1977, doi:10.1103/RevModPhys.49.435).
    States then come up with probability exp(−F/k_BT).

    Attributes:
        temperature: K.
        seed: of the numbers; the same on every device and for any number of threads or
            processes.
        extent: of the dimensions that the grid lacks: thickness in nm of a two-dimensional grid,
            cross-section in nm² of a one-dimensional one.
    """

    temperature: float
    seed: int
    extent: float = 1.0

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        require_positive("extent", self.extent)

    def amplitude(
        self,
        grid: Grid,
        rate: Float[Tensor, "field *k"],
        linear: Float[Tensor, "field *k"],
        site_volume: float,
        dt: float,
    ) -> Float[Tensor, "field *k"]:
        """What a transformed field of unit variance is multiplied by for a step of length dt.

        √(2 k_BT R Ω/V · (1 − e^{2L dt})/(−2L)), V the volume of a cell.
        """
        sites = grid.cell_volume * self.extent / site_volume
        z = 2 * dt * linear
        time = dt * torch.where(z == 0, 1.0, torch.expm1(z) / torch.where(z == 0, 1.0, z))
        return (2 * BOLTZMANN_EV * self.temperature / sites * rate * time).sqrt()

    def white(self, grid: Grid, fields: int, step: int) -> Float[Tensor, "field *space"]:
        """Standard normal numbers for every cell, a function of seed and step alone."""
        plane = math.prod(grid.shape[1:])
        thick = -(-CELLS_PER_STREAM // plane)
        mine = grid.slabs.planes
        parts, first_of_all = [], mine.start // thick * thick
        for first in range(first_of_all, mine.stop, thick):
            # Streams of one generator, told apart by an odd multiplier (splitmix64).
            key = (self.seed + 0x9E3779B97F4A7C15 * (step * 2**20 + first + 1)) % 2**63
            generator = torch.Generator().manual_seed(key)
            shape = (fields, min(thick, grid.shape[0] - first), *grid.shape[1:])
            parts.append(torch.randn(shape, generator=generator, dtype=grid.dtype))
        drawn = torch.cat(parts, 1)[:, mine.start - first_of_all : mine.stop - first_of_all]
        return drawn.contiguous().to(grid.device)
