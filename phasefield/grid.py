"""A box of equal cells in one to three dimensions, and the transform that diagonalises its ∇²."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Num
from torch import Tensor

from idnn.checks import require_positive
from phasefield import fused
from phasefield.cosine import cosine, inverse_cosine, of_parts
from phasefield.slabs import Slabs
from phasefield.team import ALONE, Team

Boundary = Literal["periodic", "no-flux"]


@dataclass(frozen=True)
class Grid:
    """Cubic cells in a box; space is always the last axes of a tensor.

    Fourier series along periodic axes, cosine series of the cell centres along axes that end in
    walls without flux. A transformed field is complex with its last periodic axis halved, or real
    if every axis ends in walls. Where a team shares the grid, tensors hold the part of one process
    (see `Slabs`) and numbers are of the whole.

    Attributes:
        shape: number of cells along x[, y[, z]].
        spacing: edge of a cell, nm (or any length, if κ and M are given in the same).
        boundaries: of each axis; not given: all are periodic.
        device: where fields on this grid live.
        dtype: of fields, float64 or float32. Coefficients are made in float64.
        workers: threads that work on parts of a field; the parts, and so the bits of every result,
            do not depend on their number. None: one after the other.
        team: the processes that share the grid, each with a slab of its fields.
    """

    shape: tuple[int, ...]
    spacing: float
    boundaries: tuple[Boundary, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float64
    workers: Executor | None = None
    team: Team = ALONE

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 3 or any(n < 4 for n in self.shape):
            raise ValueError(
                f"`shape` must hold one to three lengths of at least 4 cells; it is {self.shape}."
            )
        require_positive("spacing", self.spacing)
        known = all(kind in ("periodic", "no-flux") for kind in self.boundaries)
        if not known or len(self.boundaries) not in (0, len(self.shape)):
            raise ValueError(
                '`boundaries` must hold "periodic" or "no-flux" for each of the '
                f"{len(self.shape)} axes; it is {self.boundaries}."
            )
        if self.dtype not in (torch.float64, torch.float32):
            raise ValueError(f"`dtype` must be float64 or float32; it is {self.dtype}.")
        _ = self.slabs  # checks the size of the team

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def turns(self) -> int:
        """Number of cells along all periodic axes together, by which their inverse divides."""
        return math.prod(self.shape[axis] for axis in self.rings)

    @cached_property
    def walls(self) -> tuple[int, ...]:
        """Axes that end in walls."""
        return tuple(axis for axis, kind in enumerate(self.boundaries) if kind == "no-flux")

    @cached_property
    def rings(self) -> tuple[int, ...]:
        """Periodic axes."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.walls)

    @cached_property
    def slabs(self) -> Slabs:
        """What of the fields this process holds."""
        modes = [self._stored(axis) for axis in range(len(self.shape))]
        return Slabs(self.team, self.shape, tuple(modes))

    @property
    def whole(self) -> "Grid":
        """The same cells in one piece: itself, or the grid of a process alone on its CPU."""
        if self.team.size == 1:
            return self
        return replace(self, team=ALONE, device=torch.device("cpu"))

    @property
    def cell_volume(self) -> float:
        """hᵈ, in nmᵈ: per nm of thickness in two dimensions, per nm² of area in one."""
        return self.spacing ** len(self.shape)

    @property
    def epsilon(self) -> float:
        """Rounding error of a field's entries."""
        return torch.finfo(self.dtype).eps

    @cached_property
    def wave_numbers(self) -> tuple[Float[Tensor, "..."], ...]:
        """Components of k (1/nm), each shaped to broadcast over a transformed field."""
        return tuple(
            self._along(axis, self._wave_numbers(axis, n)) for axis, n in enumerate(self.shape)
        )

    @cached_property
    def odd_wave_numbers(self) -> tuple[Float[Tensor, "..."], ...]:
        """The same for odd derivatives, which see no highest mode of an even number of cells."""
        found = []
        for axis, (k, n) in enumerate(zip(self.wave_numbers, self.shape, strict=True)):
            highest = math.pi / self.spacing if axis in self.rings and n % 2 == 0 else math.inf
            found.append(torch.where(k.abs() > (1 - 1e-9) * highest, 0.0, k))
        return tuple(found)

    @cached_property
    def k2(self) -> Float[Tensor, "*k"]:
        """|k|² (1/nm²) of every stored mode."""
        return torch.stack(torch.broadcast_tensors(*[k.square() for k in self.wave_numbers])).sum(0)

    @cached_property
    def multiplicity(self) -> Float[Tensor, "*k"]:
        """w(k) such that Σ_cells u² = Σ_k w |û|² / cells, shaped to broadcast (Parseval)."""
        weight = torch.ones((1,) * len(self.shape), dtype=torch.float64, device=self.device)
        for axis in (*self.walls, *self.rings[-1:]):
            each = torch.full((self._stored(axis),), 2.0, dtype=torch.float64)
            each[0] = 1.0
            if axis not in self.walls and self.shape[axis] % 2 == 0:
                each[-1] = 1.0
            weight = weight * self._along(axis, each)
        return weight

    def transform(self, u: Float[Tensor, "*batch_space"]) -> Tensor:
        """Û over the space axes, unnormalised: û(0) = Σ u."""
        axes = range(len(self.shape))
        if self.team.size == 1:
            return self._transform(u, axes)
        return self._transform(self.slabs.by_mode(self._transform(u, axes[1:])), axes[:1])

    def inverse(self, u_hat: Tensor, *, scaled: bool = True) -> Float[Tensor, "*batch_space"]:
        """U of û over the space axes; not `scaled`, it is `turns` times as large.

        On a GPU the scale is a pass of its own, which one that follows can do as well.
        """
        axes, norm = range(len(self.shape)), "backward" if scaled else "forward"
        if self.team.size == 1:
            return self._inverse(u_hat, axes, norm)
        parts = self.slabs.by_cell(self._inverse(u_hat, axes[:1], norm))
        return self._inverse(parts, axes[1:], norm)

    def combine(self, *terms: fused.Term) -> Tensor:
        """Σⱼ cⱼ(k) sⱼ x̂ⱼ(k) in one pass, of terms (c, s, x̂) with real c(k) and s."""
        return fused.combine(terms, self.workers)

    def mode_sum(
        self, weight: Float[Tensor, "field *k"], u_hat: Tensor, v_hat: Tensor | None = None
    ) -> float:
        """Σ_k weight Re(û* v̂) / cells, v = u if not given; with `multiplicity` a sum over cells."""
        other = u_hat if v_hat is None else v_hat
        product = fused.dot(weight, u_hat, other, self.workers)
        return float(self.total(product)) / self.cells

    def largest(self, u: Tensor) -> float:
        """max |u|; NaN if any entry is."""
        return float(self.team.max(fused.largest(u, self.workers)))

    def total(self, sums: Num[Tensor, "*any"]) -> Num[Tensor, "*any"]:
        """Sums over the whole grid of sums over the cells or modes at hand."""
        return self.team.sum(sums)

    def mean(self, u: Float[Tensor, "*batch_space"]) -> Float[Tensor, "*batch"]:
        """Mean of each field over all cells."""
        return self.total(u.flatten(-len(self.shape)).sum(-1)) / self.cells

    def sample(self, u: Float[Tensor, "field *space"], most: int) -> Float[Tensor, "field cell"]:
        """Those at hand, perhaps none, of at most `most` cells at equal distances in the grid."""
        cells, stride = u.flatten(1), -(-self.cells // most)
        passed = self.slabs.planes.start * math.prod(self.shape[1:])
        return cells[:, -passed % stride :: stride]

    def coefficients(self, values: Tensor) -> Tensor:
        """Real coefficients of modes in the type of the fields, contiguous."""
        return values.to(self.dtype).contiguous()

    def cell_centres(self) -> tuple[Float[Tensor, "*space"], ...]:
        """Coordinates (nm) of the cell centres, one tensor per dimension."""
        axes = [
            (torch.arange(n, dtype=torch.float64, device=self.device) + 0.5) * self.spacing
            for n in self.shape
        ]
        axes[0] = axes[0][self.slabs.planes]
        return tuple(torch.meshgrid(*axes, indexing="ij"))

    def field(self, values: Callable[..., Tensor] | Tensor) -> Float[Tensor, "*space"]:
        """A field from values on the cells, or from a function of the cell centres."""
        value = values if isinstance(values, Tensor) else values(*self.cell_centres())
        return value.to(self.device, self.dtype).expand(self.slabs.local_shape).contiguous()

    def _transform(self, u: Tensor, axes: Sequence[int]) -> Tensor:
        """Along some axes, of which those done before hold modes."""
        for axis in self._along_walls(axes):
            u = of_parts(cosine, u, axis)
        rings = self._along_rings(axes)
        if not rings:
            return u
        forwards = torch.fft.fftn if u.is_complex() else torch.fft.rfftn
        return forwards(u, dim=rings).contiguous()

    def _inverse(self, u_hat: Tensor, axes: Sequence[int], norm: str) -> Tensor:
        rings = self._along_rings(axes)
        if rings and self.rings[-1] in axes:
            lengths = [self.shape[axis] for axis in rings]
            u_hat = torch.fft.irfftn(u_hat, s=lengths, dim=rings, norm=norm).contiguous()
        elif rings:
            u_hat = torch.fft.ifftn(u_hat, dim=rings, norm=norm).contiguous()
        for axis in self._along_walls(axes):
            u_hat = of_parts(inverse_cosine, u_hat, axis)
        return u_hat

    def _stored(self, axis: int) -> int:
        n = self.shape[axis]
        return n // 2 + 1 if axis in self.rings[-1:] else n

    def _wave_numbers(self, axis: int, n: int) -> Tensor:
        if axis in self.walls:
            return math.pi / (n * self.spacing) * torch.arange(n, dtype=torch.float64)
        halved = axis == self.rings[-1]
        frequencies = torch.fft.rfftfreq if halved else torch.fft.fftfreq
        return 2 * math.pi * frequencies(n, self.spacing, dtype=torch.float64)

    def _along(self, axis: int, values: Tensor) -> Tensor:
        if axis == 1:
            values = values[self.slabs.rows]
        shape = [-1 if a == axis else 1 for a in range(len(self.shape))]
        return values.to(self.device).reshape(shape)

    def _along_walls(self, axes: Sequence[int]) -> list[int]:
        return [axis - len(self.shape) for axis in axes if axis in self.walls]

    def _along_rings(self, axes: Sequence[int]) -> list[int]:
        return [axis - len(self.shape) for axis in axes if axis in self.rings]
