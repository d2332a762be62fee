"""Tie-lines and spinodals of a free energy: common tangents between its wells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.descent import minimise
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import System
from idnn.wells import SAME, Well, distance, wells, wells_at_each, wells_of

FAR = 0.1
"""Difference of η between stable wells at neighbouring μ above which the scan is too coarse."""

NARROWEST = 1e-4
"""Interval of μ (eV/site) within which a change of well without a tangent is continuous."""


@dataclass(frozen=True, eq=False)
class TieLine:
    """Two wells with equal μ and equal ω: a common tangent; `left` is the dilute one."""

    left: Well
    right: Well

    @property
    def mu(self) -> float:
        """Common exchange chemical potential, eV/site."""
        return self.left.mu


@dataclass(frozen=True, eq=False)
class TieLineEstimate:
    """A tie-line of a committee: that of the mean, and those of the members that have it.

    Attributes:
        mean: tie-line of the committee's mean free energy.
        members: tie-lines of the members.
        missing: members in which one of the wells does not exist.
    """

    mean: TieLine
    members: tuple[TieLine, ...]
    missing: int

    def compositions(self) -> Float[Tensor, "member 2"]:
        """Compositions of both ends, per member."""
        return torch.tensor(
            [[float(t.left.eta[0]), float(t.right.eta[0])] for t in self.members],
            dtype=torch.float64,
        ).reshape(-1, 2)

    def sigma(self) -> tuple[float, float]:
        """Standard deviation of both ends over the members; infinite while a member lacks it."""
        if self.missing or len(self.members) < 2:
            return float("inf"), float("inf")
        left, right = self.compositions().std(0).tolist()
        return left, right


def tie_lines(
    f: FreeEnergy, system: System, *, composition: tuple[float, float], scan: int = 33
) -> list[TieLine]:
    """Common tangents between stable phases, found by scanning μ and refined by Newton.

    Where the well of lowest ω jumps between two values of μ, there is a tie-line between the two
    (Gibbs); dω/dμ = −η₀ gives the Newton step for ω_left = ω_right. Where that step finds no
    tangent, or one under which a third well lies, the interval is divided.
    """
    mu = torch.linspace(*_exchange_range(f, system, composition), scan, dtype=torch.float64)
    stable = [found[0] for found in wells_at_each(f, system, mu, composition) if found]
    return _tangents(f, system, stable, composition)


def _tangents(
    f: FreeEnergy, system: System, stable: Sequence[Well], composition: tuple[float, float]
) -> list[TieLine]:
    """Tie-lines between neighbours of a sequence of stable wells in the order of their μ."""
    lines: list[TieLine] = []
    for left, right in _jumps(f, system, stable):
        line = refine(f, system, left, right)
        inside = line is not None and left.mu < line.mu < right.mu
        mu = line.mu if line is not None and inside else (left.mu + right.mu) / 2
        found = wells(f, system, mu, composition=composition)
        if not found:
            continue
        if line is not None and inside and found[0].omega > line.left.omega - 1e-9:
            lines.append(line)
        elif right.mu - left.mu > NARROWEST:
            lines += _tangents(f, system, [left, found[0], right], composition)
    return lines


def _exchange_range(
    f: FreeEnergy, system: System, composition: tuple[float, float]
) -> tuple[float, float]:
    """Least and greatest ∂f/∂η₀ of the disordered solution, down to a solubility of 1e-6."""
    low, high = composition
    eta = torch.zeros(65, system.dimension, dtype=torch.float64)
    eta[:, 0] = torch.linspace(low + 1e-6, high - 1e-6, 65, dtype=torch.float64)
    with torch.no_grad():
        slope = chemical_potential(f, eta)[:, 0]
    return float(slope.min()), float(slope.max())


def _jumps(f: FreeEnergy, system: System, stable: Sequence[Well]) -> list[tuple[Well, Well]]:
    """Neighbours in μ that are not the same well: far apart, or one does not lead to the other."""
    if len(stable) < 2:
        return []
    eta = torch.stack([w.eta for w in stable])
    mu = torch.tensor([w.mu for w in stable], dtype=torch.float64)
    start, target = torch.cat([eta[:-1], eta[1:]]), torch.cat([eta[1:], eta[:-1]])
    followed, _ = minimise(f, system, start, torch.cat([mu[1:], mu[:-1]]))
    lost = distance(system, followed, target) > SAME
    forward, backward = (lost | (distance(system, start, target) > FAR)).chunk(2)
    pairs = zip(pairwise(stable), (forward | backward).tolist(), strict=True)
    return [pair for pair, jumped in pairs if jumped]


def refine(f: FreeEnergy, system: System, left: Well, right: Well) -> TieLine | None:
    """The common tangent near two wells; None when either well vanishes on the way."""
    mu = (left.mu + right.mu) / 2
    phases = (left.phase, right.phase)
    for _ in range(50):
        both = torch.full((2,), mu, dtype=torch.float64)
        eta, done = minimise(f, system, torch.stack([left.eta, right.eta]), both)
        left, right = wells_of(f, system, eta, both)
        gap = float(right.eta[0] - left.eta[0])
        if not done.all() or (left.phase, right.phase) != phases or abs(gap) < SAME:
            return None
        shift = (right.omega - left.omega) / gap
        if abs(shift) < 1e-10:
            ordered = (left, right) if gap > 0 else (right, left)
            return TieLine(*ordered)
        mu += max(-0.05, min(0.05, shift))
    return None


def committee_tie_line(network: IntegrableNetwork, tie_line: TieLine) -> TieLineEstimate:
    """The same tie-line in every member of a committee."""
    each = [
        refine(network.member(i), network.system, tie_line.left, tie_line.right)
        for i in range(network.members)
    ]
    present = tuple(t for t in each if t is not None)
    return TieLineEstimate(tie_line, present, len(each) - len(present))


def ordering_spinodal(
    f: FreeEnergy, *, composition: tuple[float, float], dimension: int
) -> float | None:
    """Lowest composition at which the disordered solution is unstable to ordering.

    There the smallest eigenvalue of ∂²f/∂η₁..² on the line η = (η₀, 0, …) passes zero; None when
    it stays positive.
    """
    line = torch.linspace(*composition, 401, dtype=torch.float64)[1:-1]
    eta = torch.zeros(len(line), dimension, dtype=torch.float64)
    eta[:, 0] = line
    lowest = torch.linalg.eigvalsh(hessian(f, eta)[:, 1:, 1:])[:, 0]
    below = (lowest < 0).nonzero()
    if len(below) == 0:
        return None
    i = int(below[0])
    if i == 0:
        return float(line[0])
    fraction = float(lowest[i - 1] / (lowest[i - 1] - lowest[i]))
    return float(line[i - 1] + fraction * (line[i] - line[i - 1]))
