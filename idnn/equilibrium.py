"""Tie-lines of a free energy: common tangents between its wells, stable and metastable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.branches import Node, candidates, node, same_stable_branch
from idnn.descent import minimise
from idnn.estimates import Committee, CommitteeEstimate, EachItsOwn, estimate
from idnn.free_energy import FreeEnergy, chemical_potential
from idnn.order_parameters import System
from idnn.screen import EDGE, Screen, screen
from idnn.wells import SAME, Well, distance, wells_at_each, wells_of

NARROWEST = 1e-5
"""Interval of μ (eV/site) within which a change of well without a tangent is continuous."""

APART = 0.02
"""Composition between the values of μ at which wells are first sought."""

BEYOND = 0.05
"""Of the slopes of the hull (eV/site), at either end of the values of μ."""

LEVEL = 1e-9
"""Difference of ω (eV/site) below which two wells are equally low."""


@dataclass(frozen=True, eq=False)
class TieLine:
    """Two wells with equal μ and equal ω: a common tangent; `left` is the dilute one.

    Attributes:
        left: well of lower composition.
        right: well of higher composition.
        below: how far the lowest well at this μ lies below the tangent, eV/site.
    """

    left: Well
    right: Well
    below: float = 0.0

    @property
    def mu(self) -> float:
        """Common exchange chemical potential, eV/site."""
        return self.left.mu

    @property
    def stable(self) -> bool:
        """Whether no third well lies below the tangent."""
        return self.below < LEVEL

    @property
    def compositions(self) -> tuple[float, float]:
        """Of both ends."""
        return float(self.left.eta[0]), float(self.right.eta[0])

    @property
    def phases(self) -> tuple[str, str]:
        """Of both ends."""
        return self.left.phase, self.right.phase

    @property
    def numbers(self) -> tuple[float, ...]:
        """The compositions, of which a committee quotes σ."""
        return self.compositions


TieLineEstimate = CommitteeEstimate[TieLine]
"""A tie-line of a committee; its numbers are the compositions of both ends."""


def tie_lines(f: FreeEnergy, system: System, *, composition: tuple[float, float]) -> list[TieLine]:
    """Common tangents between stable phases, in the order of their μ."""
    return [line for line in common_tangents(f, system, composition=composition) if line.stable]


def common_tangents(
    f: FreeEnergy, system: System, *, composition: tuple[float, float]
) -> list[TieLine]:
    """Common tangents between any two wells in the range of composition, in the order of their μ.

    Wells are sought at the slopes of the convex hull of f on a grid, and joined to branches
    η(μ), dη/dμ = H⁻¹e₀. Where the ω of two branches cross, a tangent is refined by Newton,
    dω/dμ = −η₀. Where the lowest wells at two neighbouring μ are on different branches and no
    chain of tangents leads from one to the other, the interval is divided.
    """
    on_grid = screen(f, system, composition)
    nodes: list[Node] = []
    lines: list[TieLine] = []
    done: set[tuple[float, float]] = set()
    mu = _scan(on_grid, _at_ends(f, system, composition))
    while len(mu):
        found = wells_at_each(f, system, mu, composition, on_grid=on_grid)
        nodes = sorted([*nodes, *(node(f, system, w) for w in found if w)], key=lambda n: n.mu)
        intervals = [p for p in pairwise(nodes) if (p[0].mu, p[1].mu) not in done]
        done |= {(low.mu, high.mu) for low, high in intervals}
        pairs = [pair for p in intervals for pair in candidates(system, *p)]
        new = _distinct(system, lines, _refined(f, system, pairs, composition))
        lines += new
        divided = [
            (low.mu + high.mu) / 2
            for low, high in intervals
            if high.mu - low.mu > NARROWEST
            and not same_stable_branch(system, low, high)
            and not any(low.mu < line.mu < high.mu for line in new)
        ]
        mu = torch.tensor([*(line.mu for line in new), *divided], dtype=torch.float64)
    lowest = {n.mu: n.wells[0].omega for n in nodes}
    judged = [
        replace(t, below=max(0.0, t.left.omega - lowest.get(t.mu, t.left.omega))) for t in lines
    ]
    return sorted(judged, key=lambda line: line.mu)


def refine(f: FreeEnergy, system: System, left: Well, right: Well) -> TieLine | None:
    """The common tangent near two wells; None when either well vanishes on the way."""
    (line,) = _tangents(f, system, [(left, right)])
    return line if line is not None and _same_phases(line, left, right) else None


def committee_tie_line(network: Committee, tie_line: TieLine) -> TieLineEstimate:
    """The same tie-line in every member of a committee."""
    every = torch.arange(network.members)
    f = EachItsOwn(network, every.repeat(2))
    pair = (tie_line.left, tie_line.right)
    found = _tangents(f, network.system, [pair] * network.members)
    return estimate(
        tie_line, [t if t is not None and _same_phases(t, *pair) else None for t in found]
    )


def _tangents(
    f: FreeEnergy, system: System, pairs: Sequence[tuple[Well, Well]]
) -> list[TieLine | None]:
    """The common tangents near pairs of wells: Newton in μ for ω_left = ω_right, all at once."""
    eta = torch.stack([a.eta for a, _ in pairs] + [b.eta for _, b in pairs])
    mu = torch.tensor([(a.mu + b.mu) / 2 for a, b in pairs], dtype=torch.float64)
    alive = torch.ones(len(pairs), dtype=torch.bool)
    settled = torch.zeros(len(pairs), dtype=torch.bool)
    for i in range(40):
        # Few steps: at a well ω does not change to first order, so all converge together. More
        # where that does not do: a descent begins no nearer to a wall than 1e-6.
        eta, done = minimise(f, system, eta, mu.repeat(2), iterations=2 + i)
        with torch.no_grad():
            omega = f(eta) - mu.repeat(2) * eta[:, 0]
        gap = eta[len(mu) :, 0] - eta[: len(mu), 0]
        alive &= gap.abs() > SAME
        shift = torch.where(alive, (omega[len(mu) :] - omega[: len(mu)]) / gap, 0)
        settled = (shift.abs() < 1e-10) & done.reshape(2, -1).all(0)
        if (settled | ~alive).all():
            break
        mu = mu + torch.where(settled, 0, shift.clamp(-0.05, 0.05))
    ends = wells_of(f, system, eta, mu.repeat(2))
    stable = [alive[i] and settled[i] for i in range(len(pairs))]
    return [
        _ordered(a, b) if good and min(a.stiffness, b.stiffness) > 0 else None
        for a, b, good in zip(ends[: len(pairs)], ends[len(pairs) :], stable, strict=True)
    ]


def _ordered(a: Well, b: Well) -> TieLine:
    return TieLine(a, b) if float(a.eta[0]) < float(b.eta[0]) else TieLine(b, a)


def _same_phases(line: TieLine, left: Well, right: Well) -> bool:
    return line.phases == (left.phase, right.phase)


def _refined(
    f: FreeEnergy,
    system: System,
    pairs: Sequence[tuple[Well, Well]],
    composition: tuple[float, float],
) -> list[TieLine]:
    """Tangents that the candidates lead to, with both ends in the range of composition."""
    if not pairs:
        return []
    low, high = composition
    found = [line for line in _tangents(f, system, pairs) if line is not None]
    return [t for t in found if low <= t.compositions[0] and t.compositions[1] <= high]


def _distinct(system: System, known: Sequence[TieLine], found: Sequence[TieLine]) -> list[TieLine]:
    """Those found that are not yet known."""
    new: list[TieLine] = []
    for line in found:
        if not any(_same(system, line, other) for other in [*known, *new]):
            new.append(line)
    return new


def _same(system: System, a: TieLine, b: TieLine) -> bool:
    if abs(a.mu - b.mu) > 1e-7:
        return False
    ends = torch.stack([a.left.eta, a.right.eta]), torch.stack([b.left.eta, b.right.eta])
    return bool((distance(system, *ends) < 10 * SAME).all())


def _at_ends(f: FreeEnergy, system: System, composition: tuple[float, float]) -> Tensor:
    """∂f/∂η₀ of the disordered solution next to both ends, beyond the slopes of the hull."""
    eta = torch.zeros(2, system.dimension, dtype=torch.float64)
    eta[:, 0] = torch.tensor([composition[0] + EDGE, composition[1] - EDGE], dtype=torch.float64)
    with torch.no_grad():
        return chemical_potential(f, eta)[:, 0]


def _scan(on_grid: Screen, ends: Tensor) -> Float[Tensor, " chosen"]:
    """Slopes of the convex hull, those between near vertices thinned out, and beyond on both sides.

    Next to a pure end the hull's last slope is nearly that of a tie-line to it: a little beyond,
    however small the solubility, both its wells are seen.
    """
    vertices, slopes = on_grid.envelope()
    chosen = [float(slopes.min()) - BEYOND, float(slopes.max()) + BEYOND, *ends.tolist()]
    last = -torch.inf
    for i, slope in enumerate(slopes.tolist()):
        middle = float(vertices[i] + vertices[i + 1]) / 2
        if i in (0, len(slopes) - 1) or middle - last >= APART:
            chosen.append(slope)
            last = middle
    return torch.tensor(chosen, dtype=torch.float64)
