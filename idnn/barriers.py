"""Barriers: the lowest saddle of the grand potential between two wells."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.descent import climb, minimise
from idnn.equilibrium import TieLine, refine
from idnn.estimates import Committee, CommitteeEstimate, over_members
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import System
from idnn.screen import screen
from idnn.wells import SAME, Well, wells_of

IMAGES = 33
"""States of a path that is relaxed."""

RELAXATION = 100
"""Steps of relaxation of a path."""

RATE = 0.1
"""Of relaxation (1/eV): below 2 over the greatest curvature of ω in arcsin √x, some eV."""

LONGEST = 0.05
"""Step of relaxation in arcsin √x (rad)."""

FOLLOWED = 0.1
"""Distance in η between the saddles of a member and of the mean, beyond which they are two."""

ASIDE = 0.01
"""Step in η off a saddle, to either side."""


class NoSaddle(RuntimeError):
    """The top of the path between two wells does not lead to a saddle of index 1."""


@dataclass(frozen=True, eq=False)
class Barrier:
    """The saddle that the lowest path from `left` to `right` at their μ leads over.

    Attributes:
        left: where the path begins.
        right: where it ends, the image that is reached over the lowest saddle.
        saddle: order parameters of the path's highest state, in which ω is stationary.
        omega: its ω (eV/site).
        joins: the wells (or images of them) to which ω falls on either side of it; where the path
            leads through further wells these need not be its ends.
    """

    left: Well
    right: Well
    saddle: Float[Tensor, " d"]
    omega: float
    joins: tuple[Well, Well]

    @property
    def height(self) -> float:
        """ω at the saddle less that of `left`, eV/site."""
        return self.omega - self.left.omega

    @property
    def numbers(self) -> tuple[float, ...]:
        """The height, of which a committee quotes σ."""
        return (self.height,)


def barrier(f: FreeEnergy, system: System, left: Well, right: Well) -> Barrier:
    """The lowest saddle of f − μη₀ on the way from a well to another, or to any image of it.

    Images of `left` itself do not count: with `right` the same well the way is that from variant
    to variant. On a grid of site fractions the path of lowest maximum is found exhaustively. It is
    relaxed as a string (E, Ren & Vanden-Eijnden 2007, doi:10.1063/1.2720838) in arcsin √x, and its
    highest state climbs to the saddle.

    Raises:
        ValueError: `right` is `left` and has no other image.
        NoSaddle: the highest state does not lead to a saddle of index 1.
    """
    images = system.images(right.eta)
    images = images[(images - left.eta).abs().amax(-1) > SAME]
    images = images[(images - left.eta).norm(dim=-1).argsort()]
    if len(images) == 0:
        raise ValueError(
            f"`right` must differ from `left` or have other images; both are {left.phase} at "
            f"η₀ = {float(left.eta[0]):.6g}, which symmetry leaves unchanged."
        )
    mu = left.mu
    path, end = lowest_path(f, system, left.eta, images, mu)
    string = _relaxed(f, system, torch.cat([left.eta[None], path, end[None]]), mu)
    with torch.no_grad():
        omega = f(string) - mu * string[:, 0]
    top = string[1 + int(omega[1:-1].argmax())]
    saddle, found = climb(f, system, top[None], _at(mu))
    if not bool(found):
        raise NoSaddle(
            f"The highest state of the path from {left.phase} to {right.phase} at μ = {mu:.6g} "
            "eV/site leads to no saddle of index 1: one of them may be no well at this μ."
        )
    return _barrier(f, system, torch.stack([left.eta, end]), saddle[0], mu)


def committee_barrier(
    network: Committee, tie_line: TieLine, mean: Barrier
) -> CommitteeEstimate[Barrier]:
    """The mean's barrier on a tie-line in every member, each at the μ of its own tie-line.

    Wells and saddle are followed from those of the mean: a member in which one of them vanishes
    lacks the barrier.
    """
    system = network.system

    def follow(f: FreeEnergy) -> Barrier | None:
        line = refine(f, system, tie_line.left, tie_line.right)
        if line is None:
            return None
        ends = torch.stack([mean.left.eta, mean.right.eta])
        moved, done = minimise(f, system, ends, _at(line.mu).repeat(2))
        saddle, found = climb(f, system, mean.saddle[None], _at(line.mu))
        if not (bool(done.all()) and bool(found)):
            return None
        barrier = _barrier(f, system, moved, saddle[0], line.mu)
        same = (barrier.left.phase, barrier.right.phase) == (mean.left.phase, mean.right.phase)
        near = float((saddle[0] - mean.saddle).abs().max()) < FOLLOWED
        return barrier if same and near else None

    return over_members(network, mean, follow)


def lowest_path(
    f: FreeEnergy, system: System, start: Tensor, ends: Float[Tensor, "image d"], mu: float
) -> tuple[Float[Tensor, "sample d"], Float[Tensor, " d"]]:
    """The shortest of the paths on the grid whose highest ω is lowest, and the end it leads to.

    Of ends behind the same highest state the first.
    """
    on_grid = screen(f, system, (0.0, 1.0))
    grid = on_grid.grid
    omega = (on_grid.value - mu * grid.eta[:, 0])[grid.point]
    first = grid.site(system, start)
    last = [grid.site(system, end) for end in ends]
    level = _bottleneck(omega, first)
    heights = torch.stack([level[site] for site in last])
    chosen = int(heights.argmin())
    sites = _shortest(omega <= heights[chosen], first, last[chosen])
    x = grid.axis[torch.tensor(sites)]
    return system.order_parameters(x), ends[chosen]


def _bottleneck(omega: Tensor, first: tuple[int, ...]) -> Tensor:
    """For every site the lowest maximum of ω on a path from the first: sweeps along each axis."""
    level = torch.full_like(omega, torch.inf)
    level[first] = omega[first]
    while True:
        before = level.clone()
        for axis in range(omega.dim()):
            steps = list(range(omega.shape[axis]))
            for a, b in [*pairwise(steps), *pairwise(steps[::-1])]:
                reached = torch.maximum(level.select(axis, a), omega.select(axis, b))
                torch.minimum(level.select(axis, b), reached, out=level.select(axis, b))
        if torch.equal(level, before):
            return level


def _shortest(
    allowed: Tensor, first: tuple[int, ...], last: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """The shortest path of allowed sites, by waves from the first."""
    hops = torch.full(allowed.shape, -1)
    front = torch.zeros_like(allowed)
    front[first] = True
    count = 0
    while hops[last] < 0:
        hops[front] = count
        count += 1
        wave = torch.zeros_like(front)
        for axis in range(front.dim()):
            n = front.shape[axis]
            wave.narrow(axis, 0, n - 1).logical_or_(front.narrow(axis, 1, n - 1))
            wave.narrow(axis, 1, n - 1).logical_or_(front.narrow(axis, 0, n - 1))
        front = wave & allowed & (hops < 0)
    path = [last]
    while path[-1] != first:
        here = path[-1]
        path.append(next(s for s in _beside(here, hops.shape) if hops[s] == hops[here] - 1))
    return path[::-1]


def _beside(site: tuple[int, ...], shape: torch.Size) -> list[tuple[int, ...]]:
    moved = [
        (*site[:axis], site[axis] + step, *site[axis + 1 :])
        for axis in range(len(site))
        for step in (-1, 1)
    ]
    return [s for s in moved if all(0 <= i < n for i, n in zip(s, shape, strict=True))]


def _relaxed(f: FreeEnergy, system: System, path: Tensor, mu: float) -> Tensor:
    """Steepest descent of ω in arcsin √x, the states kept at equal distances."""
    q = system.q.to(path)
    angle = _spaced(system.site_fractions(path).clamp(0, 1).sqrt().asin())
    with torch.no_grad():
        for _ in range(RELAXATION):
            eta = angle.sin().square() @ q.T
            slope = chemical_potential(f, eta)
            slope = torch.cat([slope[:, :1] - mu, slope[:, 1:]], 1) @ q
            step = (-RATE * slope * (2 * angle).sin()).clamp(-LONGEST, LONGEST)
            angle[1:-1] = (angle + step)[1:-1].clamp(1e-6, torch.pi / 2 - 1e-6)
            angle = _spaced(angle)
    return angle.sin().square() @ q.T


def _spaced(path: Tensor) -> Tensor:
    """The same path by `IMAGES` states at equal distances."""
    length = torch.cat([path.new_zeros(1), path.diff(dim=0).norm(dim=1).cumsum(0)])
    wanted = torch.linspace(0, 1, IMAGES).to(path) * length[-1]
    after = torch.searchsorted(length, wanted).clamp(1, len(path) - 1)
    span = (length[after] - length[after - 1]).clamp_min(1e-15)
    share = ((wanted - length[after - 1]) / span)[:, None]
    return path[after - 1] + share * (path[after] - path[after - 1])


def _barrier(f: FreeEnergy, system: System, ends: Tensor, saddle: Tensor, mu: float) -> Barrier:
    """Wells, saddle and what lies on its sides."""
    _, vectors = torch.linalg.eigh(hessian(f, saddle[None]))
    aside = ASIDE * vectors[0, :, 0]
    sides, _ = minimise(f, system, torch.stack([saddle - aside, saddle + aside]), _at(mu).repeat(2))
    left, right, one, other = wells_of(f, system, torch.cat([ends, sides]), _at(mu).repeat(4))
    with torch.no_grad():
        omega = float(f(saddle[None])[0]) - mu * float(saddle[0])
    return Barrier(left, right, saddle, omega, (one, other))


def _at(mu: float) -> Tensor:
    return torch.tensor([mu], dtype=torch.float64)
