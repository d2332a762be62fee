"""A free energy on a grid of site fractions: where its wells may lie, for every μ at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System

MOST_POINTS = 200_000
"""Points of the grid before symmetry: 21 levels of four sublattices."""

MOST_LEVELS = 65
"""On one sublattice: finer than wells are wide."""

ON_LINE = 129
"""Points of the line of disordered states."""

EDGE = 1e-6
"""Lowest and, from 1, highest level: ideal mixing has nothing finer to show there."""

ASYMMETRY = 0.01
"""Of a start, in arcsin √x (rad): an eighth of the grid's spacing."""

MARGIN = 0.02
"""Of composition beyond the range that is asked for: a well at its end has neighbours."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Site fractions of all sublattices on the same levels, one point per symmetry class.

    Followed by a finer line of disordered states: there a well may be shallow.

    Attributes:
        levels: on every sublattice; sin² of equal angles, in which an ideal solution fluctuates
            equally everywhere.
        eta: order parameters of the points.
        neighbours: the point one level down and up on each sublattice, or on the line; one that
            does not exist is the number of points.
        point: of which class each site of the full grid is, [level, level, ..].
    """

    levels: int
    eta: Float[Tensor, "sample d"]
    neighbours: Int[Tensor, "sample d 2"]
    point: Int[Tensor, "..."]

    @property
    def axis(self) -> Float[Tensor, " level"]:
        """Site fractions of the levels."""
        return _axis(self.levels)

    def site(self, system: System, eta: Float[Tensor, " d"]) -> tuple[int, ...]:
        """Levels nearest to a state, in arcsin √x."""
        x = system.site_fractions(eta).clamp(0, 1)
        angle = x.sqrt().asin() * (self.levels - 1) / (torch.pi / 2)
        return tuple(int(level) for level in angle.round().tolist())


@dataclass(frozen=True, eq=False)
class Screen:
    """f on a grid.

    Along each axis a point is lower than its neighbours for μ between two slopes: one evaluation
    of f gives the local minima of f − μη₀ for every μ.

    Attributes:
        grid: where.
        value: f (eV/site); infinite outside the range of composition.
        lowest: μ from which the point is no higher than its lower neighbours.
        highest: μ up to which it is no higher than its upper ones.
        inside: whether it lies in the range of composition and f is finite there.
    """

    grid: Grid
    value: Float[Tensor, " sample"]
    lowest: Float[Tensor, " sample"]
    highest: Float[Tensor, " sample"]
    inside: Bool[Tensor, " sample"]

    def starts(self, system: System) -> Float[Tensor, "sample d"]:
        """The points, moved a little off every symmetry, which no descent could leave."""
        x = system.site_fractions(self.grid.eta).clamp(0, 1)
        aside = ASYMMETRY * torch.linspace(-1, 1, system.dimension).to(x)
        angle = (x.sqrt().asin() + aside).clamp(EDGE**0.5, torch.pi / 2 - EDGE**0.5)
        return system.order_parameters(angle.sin().square())

    def minima(self, mu: Float[Tensor, " time"]) -> Bool[Tensor, "time sample"]:
        """Which points are local minima of f − μη₀ at each μ."""
        return (self.lowest <= mu[:, None]) & (mu[:, None] <= self.highest)

    def envelope(self) -> tuple[Float[Tensor, " vertex"], Float[Tensor, " edge"]]:
        """Compositions of the lower convex hull of f over η₀, and the slopes between them."""
        inside = self.inside
        c, f = self.grid.eta[inside, 0], self.value[inside]
        order = c.argsort()
        hull: list[tuple[float, float]] = []
        for point in zip(c[order].tolist(), f[order].tolist(), strict=True):
            while hull and hull[-1][0] > point[0] - 1e-9:
                if hull[-1][1] <= point[1]:
                    break
                hull.pop()
            else:
                while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
                    hull.pop()
                hull.append(point)
        vertices = torch.tensor(hull, dtype=torch.float64).reshape(-1, 2)
        step = vertices.diff(dim=0)
        return vertices[:, 0], step[:, 1] / step[:, 0]


def screen(f: FreeEnergy, system: System, composition: tuple[float, float]) -> Screen:
    """Evaluate f on the grid, in the range of composition and a little beyond."""
    grid = grid_of(system)
    c = grid.eta[:, 0]
    near = (c >= composition[0] - MARGIN) & (c <= composition[1] + MARGIN)
    value = torch.full_like(c, torch.inf)
    with torch.no_grad():
        value[near] = f(grid.eta[near]).nan_to_num(torch.inf)
    beyond = torch.cat([value, value.new_tensor([torch.inf])])
    known = torch.cat([near, near.new_tensor([True])])[grid.neighbours].flatten(1).all(-1)
    inside = near & (c >= composition[0]) & (c <= composition[1])
    # A point beyond the range is of use as a neighbour, and as a start if it is a true minimum.
    candidate = near & known | inside
    place = torch.cat([c, c.new_tensor([torch.nan])])
    rise = beyond[grid.neighbours] - value[:, None, None]
    slope = rise / (place[grid.neighbours] - c[:, None, None])
    lowest = slope[..., 0].nan_to_num(-torch.inf).amax(-1)
    highest = slope[..., 1].nan_to_num(torch.inf).amin(-1)
    return Screen(
        grid,
        value,
        torch.where(candidate, lowest, torch.inf),
        torch.where(candidate, highest, -torch.inf),
        inside & value.isfinite(),
    )


@lru_cache(maxsize=8)
def grid_of(system: System) -> Grid:
    """The grid of a crystal, as fine as `MOST_POINTS` allows."""
    d = system.dimension
    count = min(MOST_LEVELS, int(MOST_POINTS ** (1 / d) + 1e-9))
    axis = _axis(count)
    level = torch.cartesian_prod(*[torch.arange(count)] * d).reshape(-1, d)
    weight = count ** torch.arange(d - 1, -1, -1)
    images = torch.stack([level[:, p] @ weight for p in system.group])
    first, point = images.amin(0).unique(return_inverse=True)
    level = level[first]
    moved = level[:, None, None, :] + torch.stack([-torch.eye(d), torch.eye(d)], 1).long()
    exists = ((moved >= 0) & (moved < count)).all(-1)
    neighbours = point[(moved.clamp(0, count - 1) @ weight)]
    neighbours = neighbours.masked_fill(~exists, len(level) + ON_LINE)
    return Grid(
        levels=count,
        eta=torch.cat([system.order_parameters(axis[level]), _line(system)]),
        neighbours=torch.cat([neighbours, _along_line(len(level), d)]),
        point=point.reshape([count] * d),
    )


def _axis(count: int) -> Float[Tensor, " level"]:
    angle = torch.linspace(0, torch.pi / 2, count, dtype=torch.float64)
    return angle.sin().square().clamp(EDGE, 1 - EDGE)


def _line(system: System) -> Float[Tensor, "sample d"]:
    """The line of disordered states."""
    return system.order_parameters(_axis(ON_LINE)[:, None].expand(-1, system.dimension))


def _along_line(first: int, d: int) -> Int[Tensor, "sample d 2"]:
    """Neighbours of the points on the line, of which there are none before and after."""
    index = torch.arange(first, first + ON_LINE)
    down, up = index - 1, index + 1
    down[0] = first + ON_LINE
    return torch.stack([down, up], -1)[:, None].expand(-1, d, -1)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Positive where a, b, c turn to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
