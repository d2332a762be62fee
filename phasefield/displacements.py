"""Displacements, the strains they make, the forces they feel, and a medium of one stiffness."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.elasticity import MeanState, Modes
from phasefield.grid import Grid

_SHEARS = {3: (1, 2), 4: (0, 2), 5: (0, 1)}
"""Axes of the shear components."""

_ROOT = 1 / math.sqrt(2)


class Displacement(NamedTuple):
    """Displacement and mean strain, or residuals of both.

    Attributes:
        modes: of the displacement v, times i, so that only real numbers multiply them.
        mean: ε̄.
    """

    modes: list[Tensor]
    mean: Float[Tensor, " 6"]


@dataclass(frozen=True, eq=False)
class Displacements:
    """The linear operations on displacements and stresses.

    Attributes:
        grid: the cells, periodic.
        stiffness: C of the medium, by Mandel, energy/nm³.
        mean: what of the mean strain is held.
        plane: whether nothing moves along z.
    """

    grid: Grid
    stiffness: Float[Tensor, "6 6"]
    mean: MeanState
    plane: bool

    def strain(self, of: Displacement) -> Float[Tensor, "6 *space"]:
        """ε̄ + sym ∇v."""
        k, w = self._k, of.modes
        shape, once = self.grid.slabs.local_shape, 1 / self.grid.turns
        out = torch.empty((6, *shape), dtype=self.grid.dtype, device=self.grid.device)
        for row, mean in enumerate(of.mean.tolist()):
            i, j = _SHEARS.get(row, (row, row))
            pairs = [(i, j)] if i == j else [(i, j), (j, i)]
            scale = once if i == j else once * _ROOT
            terms = [(k[a], scale, w[b]) for a, b in pairs if a < len(k) and b < len(w)]
            if row in self._rows and terms:
                cells = self.grid.inverse(self.grid.combine(*terms), scaled=False)
                torch.add(cells, mean, out=out[row])
            else:
                out[row] = mean
        return out

    def residual(self, stress: Tensor, *, applied: bool = True) -> Displacement:
        """Forces that are not balanced: −Nᵀσ, and σ̄ less the mean stress where it is free."""
        k = self._k
        s = {row: self.grid.transform(stress[row]) for row in self._rows}
        modes = []
        for i in self._axes:
            terms = [(k[i], -1.0, s[i])] if i < len(k) else []
            for row, axes in _SHEARS.items():
                other = [axis for axis in axes if axis != i]
                if row in s and i in axes and other[0] < len(k):
                    terms.append((k[other[0]], -_ROOT, s[row]))
            modes.append(self.grid.combine(*terms))
        load = self.mean.applied if applied else 0.0
        mean = (load - self.grid.mean(stress).double()) * self.mean.free
        return Displacement(modes, mean)

    def relaxed(self, residual: Displacement) -> Displacement:
        """What the medium does under these forces."""
        inverse, forces = self._compliance, residual.modes
        modes = [
            self.grid.combine(*[(inverse[i, j], 1.0, f) for j, f in enumerate(forces)])
            for i in self._axes
        ]
        return Displacement(modes, self.mean.compliance @ residual.mean)

    def product(self, one: Displacement, other: Displacement) -> float:
        """Work of one on the other, over all cells."""
        pairs = zip(one.modes, other.modes, strict=True)
        modes = [self.grid.mode_sum(self._weight, a, b) for a, b in pairs]
        return sum(modes) + self.grid.cells * float(one.mean @ other.mean)

    def moved(self, at: Displacement, length: float, along: Displacement) -> Displacement:
        """At + length × along."""
        pairs = zip(at.modes, along.modes, strict=True)
        modes = [torch.add(a, b, alpha=length) for a, b in pairs]
        return Displacement(modes, at.mean + length * along.mean)

    @property
    def _rows(self) -> list[int]:
        """Components of strain that displacements make."""
        return [0, 1, 5] if self.plane else list(range(6))

    @property
    def _axes(self) -> list[int]:
        return [0, 1] if self.plane else [0, 1, 2]

    @cached_property
    def _compliance(self) -> Float[Tensor, "3 3 *k"]:
        """(kCk)⁻¹ of every mode."""
        return self.grid.coefficients(Modes(self.grid, self.stiffness).compliance())

    @cached_property
    def _weight(self) -> Float[Tensor, "*k"]:
        return self.grid.multiplicity.expand(self.grid.k2.shape).contiguous()

    @cached_property
    def _k(self) -> list[Float[Tensor, "*k"]]:
        """Components of k at every mode."""
        like = self.grid.k2
        return [self.grid.coefficients(k.expand(like.shape)) for k in self.grid.odd_wave_numbers]
