"""A box of equal cells in one to three dimensions, and the transform that diagonalises its ∇²."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from phasefield import fused
from phasefield.cosine import cosine, inverse_cosine

Boundary = Literal["periodic", "no-flux"]


@dataclass(frozen=True)
class Grid:
    """Cubic cells in a box; space is always the last axes of a tensor.

    Fourier series along periodic axes, cosine series of the cell centres along axes that end in
    walls without flux. A transformed field is complex with its last periodic axis halved, or real
    if every axis ends in walls.

    Attributes:
        shape: number of cells along x[, y[, z]].
        spacing: edge of a cell, nm (or any length, if κ and M are given in the same).
        boundaries: of each axis; not given: all are periodic.
        device: where fields on this grid live.
        dtype: of fields, float64 or float32. Coefficients are made in float64.
        workers: threads that work on parts of a field; the parts, and so the bits of every result,
            do not depend on their number. None: one after the other.
    """

    shape: tuple[int, ...]
    spacing: float
    boundaries: tuple[Boundary, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float64
    workers: Executor | None = None

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

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

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
    def k2(self) -> Float[Tensor, "*k"]:
        """|k|² (1/nm²) of every stored mode."""
        return torch.stack(torch.broadcast_tensors(*[k.square() for k in self.wave_numbers])).sum(0)

    @cached_property
    def multiplicity(self) -> Float[Tensor, "*k"]:
        """w(k) such that Σ_cells u² = Σ_k w |û|² / cells, shaped to broadcast (Parseval)."""
        weight = torch.ones((1,) * len(self.shape), dtype=torch.float64, device=self.device)
        for axis in (*self._walls, *self._rings[-1:]):
            n, stored = self.shape[axis], self.wave_numbers[axis].numel()
            each = torch.full((stored,), 2.0, dtype=torch.float64, device=self.device)
            each[0] = 1.0
            if axis not in self._walls and n % 2 == 0:
                each[-1] = 1.0
            weight = weight * self._along(axis, each)
        return weight

    def transform(self, u: Float[Tensor, "*batch_space"]) -> Tensor:
        """Û over the space axes, unnormalised: û(0) = Σ u."""
        for axis in self._walls:
            u = cosine(u, axis - len(self.shape))
        return torch.fft.rfftn(u, dim=self._ring_axes).contiguous() if self._rings else u

    def inverse(self, u_hat: Tensor) -> Float[Tensor, "*batch_space"]:
        """U of û over the space axes."""
        if self._rings:
            lengths = [self.shape[axis] for axis in self._rings]
            u_hat = torch.fft.irfftn(u_hat, s=lengths, dim=self._ring_axes).contiguous()
        for axis in self._walls:
            u_hat = inverse_cosine(u_hat, axis - len(self.shape))
        return u_hat

    def combine(self, *terms: fused.Term) -> Tensor:
        """Σⱼ cⱼ(k) sⱼ x̂ⱼ(k) in one pass, of terms (c, s, x̂) with real c(k) and s."""
        return fused.combine(terms, self.workers)

    def mode_sum(
        self, weight: Float[Tensor, "field *k"], u_hat: Tensor, v_hat: Tensor | None = None
    ) -> float:
        """Σ_k weight Re(û* v̂) / cells, v = u if not given; with `multiplicity` a sum over cells."""
        other = u_hat if v_hat is None else v_hat
        return float(fused.dot(weight, u_hat, other, self.workers)) / self.cells

    def largest(self, u: Tensor) -> float:
        """max |u|; NaN if any entry is."""
        return float(fused.largest(u, self.workers))

    def coefficients(self, values: Tensor) -> Tensor:
        """Real coefficients of modes in the type of the fields, contiguous."""
        return values.to(self.dtype).contiguous()

    def cell_centres(self) -> tuple[Float[Tensor, "*space"], ...]:
        """Coordinates (nm) of the cell centres, one tensor per dimension."""
        axes = [
            (torch.arange(n, dtype=torch.float64, device=self.device) + 0.5) * self.spacing
            for n in self.shape
        ]
        return tuple(torch.meshgrid(*axes, indexing="ij"))

    def field(self, values: Callable[..., Tensor] | Tensor) -> Float[Tensor, "*space"]:
        """A field from values on the cells, or from a function of the cell centres."""
        value = values if isinstance(values, Tensor) else values(*self.cell_centres())
        return value.to(self.device, self.dtype).expand(self.shape).contiguous()

    def _wave_numbers(self, axis: int, n: int) -> Tensor:
        if axis in self._walls:
            return math.pi / (n * self.spacing) * torch.arange(n, dtype=torch.float64)
        halved = axis == self._rings[-1]
        frequencies = torch.fft.rfftfreq if halved else torch.fft.fftfreq
        return 2 * math.pi * frequencies(n, self.spacing, dtype=torch.float64)

    def _along(self, axis: int, values: Tensor) -> Tensor:
        shape = [-1 if a == axis else 1 for a in range(len(self.shape))]
        return values.to(self.device).reshape(shape)

    @cached_property
    def _walls(self) -> tuple[int, ...]:
        return tuple(axis for axis, kind in enumerate(self.boundaries) if kind == "no-flux")

    @cached_property
    def _rings(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.shape)) if axis not in self._walls)

    @property
    def _ring_axes(self) -> Sequence[int]:
        return [axis - len(self.shape) for axis in self._rings]
