"""How a team cuts the fields of one grid: cells along x, modes along the second axis."""

import itertools
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Shaped
from torch import Tensor

from phasefield.team import Team, shares


@dataclass(frozen=True, eq=False)
class Slabs:
    """Each process holds planes of cells x₀ ≤ x < x₁, and of modes l₀ ≤ l < l₁ of the second axis.

    The transform works along all axes but x, recuts the slabs by one all-to-all, and works along
    x, which each process then holds whole; the inverse goes back the same way. Either moves
    (N − 1)/N of the modes of each field between the N processes: of M modes each process sends
    16 M (N − 1)/N² bytes in float64 (8 where every axis ends in walls), M being close to half the
    number of cells if an axis is periodic.

    Attributes:
        team: who shares the grid.
        shape: number of cells along x[, y[, z]].
        modes: number of stored modes along each axis.
    """

    team: Team
    shape: tuple[int, ...]
    modes: tuple[int, ...]

    def __post_init__(self) -> None:
        size = self.team.size
        if size > 1 and len(self.shape) == 1:
            raise ValueError(
                f"`team` must be one process where the grid has one axis; it has {size}. "
                "Start a single process."
            )
        if size > 1 and size > min(self.shape[0], self.modes[1]):
            raise ValueError(
                f"`team` must not have more processes than the grid has planes, {self.shape[0]} "
                f"of cells along x and {self.modes[1]} of modes along y; it has {size}. "
                f"Start at most {min(self.shape[0], self.modes[1])}."
            )

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Number of cells of this process along each axis."""
        return (self._cell_shares[self.team.rank], *self.shape[1:])

    @property
    def local_modes(self) -> tuple[int, ...]:
        """Number of modes of this process along each axis."""
        if self.team.size == 1:
            return self.modes
        return (self.modes[0], self._mode_shares[self.team.rank], *self.modes[2:])

    @cached_property
    def planes(self) -> slice:
        """The cells of this process along x."""
        return _own(self._cell_shares, self.team.rank)

    @cached_property
    def rows(self) -> slice:
        """The modes of this process along the second axis."""
        return _own(self._mode_shares, self.team.rank)

    def by_mode(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Slabs of modes of slabs of cells; the axes of space are the last."""
        return self.team.recut(x, self._second, self._mode_shares, self._first, self._cell_shares)

    def by_cell(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Slabs of cells of slabs of modes."""
        return self.team.recut(x, self._first, self._cell_shares, self._second, self._mode_shares)

    def gather_cells(self, u: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."] | None:
        """A field whole, on the CPU of process 0; None on the others."""
        return self.team.gather(u, self._first, self._cell_shares)

    def gather_modes(self, u_hat: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."] | None:
        """A transformed field whole, on the CPU of process 0; None on the others."""
        return self.team.gather(u_hat, self._second, self._mode_shares)

    def scatter_modes(
        self, whole: Shaped[Tensor, "..."] | None, like: Shaped[Tensor, "..."]
    ) -> Shaped[Tensor, "..."]:
        """This process's part of what process 0 holds whole, in the shape and type of `like`."""
        return self.team.scatter(whole, self._second, self._mode_shares, like)

    @property
    def _first(self) -> int:
        return -len(self.shape)

    @property
    def _second(self) -> int:
        return 1 - len(self.shape)

    @cached_property
    def _cell_shares(self) -> list[int]:
        return shares(self.shape[0], self.team.size)

    @cached_property
    def _mode_shares(self) -> list[int]:
        return shares(self.modes[1], self.team.size)


def _own(lengths: list[int], rank: int) -> slice:
    return slice(*list(itertools.accumulate(lengths, initial=0))[rank : rank + 2])
