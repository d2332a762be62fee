"""A finer grid for the free energy, on which products of fields keep clear of each other's aliases.

On n cells along an axis a product of p waves looks like a longer one once its wave number exceeds
that of the cells. With m ≥ pn/2 points none of these aliases reaches the modes of the fields: the
sum over the points of a polynomial f(u) of degree p is then its integral, and ∂F/∂û that of
Galerkin's method (Orszag 1971, doi:10.1175/1520-0469(1971)028<1074:OTEOAI>2.0.CO;2; Canuto et al.
2006, doi:10.1007/978-3-540-30726-6, sec. 3.3). That is two points per cell for a quartic energy
(whose force is cubic), and the well-known three for two cells for a cubic energy alone.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.free_energy import FreeEnergy
from phasefield.cosine import cosine, inverse_cosine, of_parts
from phasefield.grid import Grid
from phasefield.slabs import Slabs

Dealias = float | Literal["exact"]
"""Points per cell and axis; "exact": half the degree of f, which must be a polynomial."""


@runtime_checkable
class Polynomial(Protocol):
    """A free energy that knows its degree in all fields together; None: it is no polynomial."""

    @property
    def degree(self) -> int | None: ...


def points_per_cell(dealias: Dealias, f: FreeEnergy) -> float:
    """How many points f is evaluated at along each axis, per cell; 1: on the cells.

    Raises:
        ValueError: `dealias` is below 1 or not finite, or "exact" and f no polynomial.
    """
    if dealias == "exact":
        degree = f.degree if isinstance(f, Polynomial) else None
        if degree is None:
            raise ValueError(
                '`dealias` may be "exact" where f is a formula of sums, products and whole powers; '
                f"this {type(f).__name__} is not. Give a number of points per cell, 1.5 or 2."
            )
        return max(1.0, degree / 2)
    if isinstance(dealias, str) or not 1 <= dealias < math.inf:
        raise ValueError(
            '`dealias` must be a number of at least 1, points per cell, or "exact"; '
            f"it is {dealias!r}."
        )
    return float(dealias)


@dataclass(frozen=True, eq=False)
class FineGrid:
    """Finer cells in the box of a grid; fields are those of its modes, u(x) = Σ û e^{ikx}/cells.

    `inverse` is E, from modes to values at the centres of the finer cells, and `transform` its
    transpose, so that ∂f/∂u, transformed, is the derivative of Σ f(E û). The highest mode of an
    even number of cells has a cosine and no sine: f does not see it, and it decays by its gradient
    energy alone. The grid's slabs hold modes; the processes cut the points along x, too.

    Attributes:
        grid: the cells.
        factor: points per cell along each axis, rounded up to a whole number of them.
    """

    grid: Grid
    factor: float

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return tuple(math.ceil(self.factor * n) for n in self.grid.shape)

    @property
    def cells(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    @cached_property
    def slabs(self) -> Slabs:
        """What of the points this process holds; its modes are those of the grid."""
        return Slabs(self.grid.team, self.shape, self.grid.slabs.modes)

    @cached_property
    def seen(self) -> Bool[Tensor, "*k"]:
        """The modes of the grid that there are on the points."""
        highest = (1 - 1e-9) * math.pi / self.grid.spacing
        each = [k.abs() < highest for k in self.grid.wave_numbers]
        return torch.stack(torch.broadcast_tensors(*each)).all(0)

    def inverse(self, u_hat: Tensor) -> Float[Tensor, "*batch_space"]:
        """U on the points, of û over the space axes."""
        u = self._inverse(u_hat, 0)
        if self.grid.team.size > 1:
            u = self.slabs.by_cell(u)
        for axis in self._beyond_x:
            u = self._inverse(u, axis)
        return u.contiguous()

    def transform(self, u: Float[Tensor, "*batch_space"]) -> Tensor:
        """The grid's modes of what has the values u on the points; those not `seen` are zero."""
        for axis in reversed(self._beyond_x):
            u = self._transform(u, axis)
        if self.grid.team.size > 1:
            u = self.slabs.by_mode(u)
        return self._transform(u, 0).contiguous()

    def _inverse(self, u_hat: Tensor, axis: int) -> Tensor:
        points, along = self.shape[axis], axis - len(self.shape)
        halved = axis in self.grid.rings[-1:]
        u_hat = self._moved(u_hat, self._turns[axis], axis, points // 2 + 1 if halved else points)
        if axis in self.grid.walls:
            return of_parts(inverse_cosine, u_hat, along)
        if halved:
            return torch.fft.irfft(u_hat, n=points, dim=along)
        return torch.fft.ifft(u_hat, dim=along)

    def _transform(self, u: Tensor, axis: int) -> Tensor:
        along = axis - len(self.shape)
        if axis in self.grid.walls:
            u_hat = of_parts(cosine, u, along)
        elif axis in self.grid.rings[-1:]:
            u_hat = torch.fft.rfft(u, dim=along)
        else:
            u_hat = torch.fft.fft(u, dim=along)
        return self._moved(u_hat, self._turns_back[axis], axis, self.grid.slabs.modes[axis])

    def _moved(self, u_hat: Tensor, turn: Tensor, axis: int, length: int) -> Tensor:
        """The modes of both grids along an axis, turned, in a series of another length."""
        along, n = axis - len(self.shape), self.grid.shape[axis]
        low, high = (n + 1) // 2, (n - 1) // 2
        if axis in self.grid.walls:
            low, high = n, 0
        elif axis in self.grid.rings[-1:]:
            high = 0
        moved = u_hat.new_empty([*u_hat.shape[:along], length, *u_hat.shape[along:][1:]])
        moved.narrow(along, low, length - low - high).zero_()
        for start, count in ((0, low), (-high, high)):
            one, other = u_hat.narrow(along, start, count), turn.narrow(along, start, count)
            torch.mul(one, other, out=moved.narrow(along, start, count))
        return moved

    @cached_property
    def _beyond_x(self) -> list[int]:
        """The other axes in the order of the inverse: the last ring makes fields real for walls."""
        return sorted(range(1, len(self.shape)), key=lambda axis: axis in self.grid.walls)

    @cached_property
    def _turns(self) -> list[Tensor]:
        """(m/n) e^{ikδ} of every mode along each axis; δ: from the first cell to the first point.

        Between walls, whose series begin at the wall, δ = 0.
        """
        turns = []
        for axis, (n, m) in enumerate(zip(self.grid.shape, self.shape, strict=True)):
            scale = torch.full((self.grid.slabs.modes[axis],), m / n, dtype=torch.float64)
            if axis in self.grid.rings:
                halved = axis == self.grid.rings[-1]
                frequencies = torch.fft.rfftfreq if halved else torch.fft.fftfreq
                numbers = frequencies(n, 1 / n, dtype=torch.float64)
                scale = torch.polar(scale, math.pi * (1 / m - 1 / n) * numbers)
            dtype = self.grid.dtype.to_complex() if scale.is_complex() else self.grid.dtype
            shape = [-1 if a == axis else 1 for a in range(len(self.shape))]
            turns.append(scale.to(self.grid.device, dtype).reshape(shape))
        return turns

    @cached_property
    def _turns_back(self) -> list[Tensor]:
        return [1 / turn for turn in self._turns]
