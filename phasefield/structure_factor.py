"""The structure factor of a field, averaged over directions, and the length it contains."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from phasefield.grid import Grid
from phasefield.interfaces import walls


@dataclass(frozen=True, eq=False)
class StructureFactor:
    """S(k) = |∫ (u − ū) e^{−ik·r} dV|² / V, averaged over shells of |k|.

    Walls are mirrors: S is that of the box and its mirror images.

    Attributes:
        wave_number: mean |k| of each shell, 1/nm.
        value: S of each shell, nmᵈ.
        mode_density: modes of each shell per volume, 1/nmᵈ: Σ S·mode_density is the variance of u.
    """

    wave_number: Float[np.ndarray, " shell"]
    value: Float[np.ndarray, " shell"]
    mode_density: Float[np.ndarray, " shell"]

    @property
    def mean_wave_number(self) -> float:
        """⟨k⟩ = Σ k S(k) / Σ S(k) over shells, 1/nm; NaN for a field without structure."""
        total = self.value.sum()
        return float((self.wave_number * self.value).sum() / total) if total > 0 else math.nan

    @property
    def characteristic_length(self) -> float:
        """2π/⟨k⟩, nm."""
        return 2 * math.pi / self.mean_wave_number


def structure_factor(grid: Grid, u: Float[Tensor, "*space"]) -> StructureFactor:
    """S(k) of a field in shells as wide as the smallest wave number of the grid.

    A variance that is rounding error alone counts as none.
    """
    mean = float(u.double().mean())
    u_hat = grid.transform(u - mean)
    power = u_hat.abs().double().square().cpu().numpy().ravel()
    k = grid.k2.sqrt().cpu().numpy().ravel()
    weight = grid.multiplicity.expand(grid.k2.shape).cpu().numpy().ravel()
    shell = np.rint(k / k[k > 0].min()).astype(np.int64)
    weight[0] = 0.0  # k = 0 is the mean
    modes = np.bincount(shell, weights=weight)
    kept = modes > 0
    modes, wave_number = modes[kept], np.bincount(shell, weights=weight * k)[kept]
    total = np.bincount(shell, weights=weight * power)[kept]
    if total.sum() < (10 * grid.epsilon * mean * grid.cells) ** 2:
        total = np.zeros_like(total)
    volume, mirrored = grid.cells * grid.cell_volume, 2 ** len(walls(grid))
    return StructureFactor(
        wave_number=wave_number / modes,
        value=mirrored * volume / grid.cells**2 * total / modes,
        mode_density=modes / (mirrored * volume),
    )
