"""Phases and tie-lines of a free energy: wells of f − μη₀ and common tangents between them."""

from __future__ import annotations

import logging
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

logger = logging.getLogger(__name__)

COMPOSITIONS = 8
"""Starting compositions of a search for wells."""


@dataclass(frozen=True, eq=False)
class Well:
    """A local minimum of ω(η) = f(η) − μη₀, one of its symmetry-equivalent copies.

    Attributes:
        phase: name of the nearest prototype.
        eta: order parameters; eta[0] is the composition.
        f: free energy, eV/site.
        mu: exchange chemical potential ∂f/∂η₀, eV/site.
        stiffness: smallest eigenvalue of ∂²f/∂η², eV/site.
    """

    phase: str
    eta: Float[Tensor, " d"]
    f: float
    mu: float
    stiffness: float

    @property
    def omega(self) -> float:
        """Grand potential f − μη₀, eV/site."""
        return self.f - self.mu * float(self.eta[0])


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


def wells(
    f: FreeEnergy,
    system: System,
    mu: float,
    *,
    composition: tuple[float, float] = (0.0, 1.0),
) -> list[Well]:
    """Every well of f − μη₀ with composition in the range, lowest ω first, one per symmetry class.

    Starts from each prototype, half and fully ordered, over the whole range of composition, and
    again on both sides of every saddle that these starts end in: a symmetric start cannot leave
    the symmetry it has.
    """
    return _wells_at_each(f, system, torch.tensor([mu], dtype=torch.float64), composition)[0]


def _wells_at_each(
    f: FreeEnergy, system: System, mu: Tensor, composition: tuple[float, float]
) -> list[list[Well]]:
    """`wells` for many μ, all descents in one batch."""
    start = _starts(system, composition)
    row = torch.arange(len(mu)).repeat_interleave(len(start))
    point = start.repeat(len(mu), 1)
    found: list[list[Well]] = [[] for _ in mu]
    for _ in range(system.dimension):
        point, row = _descend(f, system, point, row, mu)
        stiffness, softest = _softest_mode(f, point)
        stable, saddle = stiffness > 0, stiffness <= 0
        new = _wells_of(f, system, point[stable], mu[row[stable]])
        for well, i in zip(new, row[stable].tolist(), strict=True):
            found[i].append(well)
        if not saddle.any():
            break
        aside = 0.02 * softest[saddle]
        point = torch.cat([point[saddle] + aside, point[saddle] - aside])
        row = row[saddle].repeat(2)
    return [_stable_first(system, each, composition) for each in found]


def _descend(
    f: FreeEnergy, system: System, start: Tensor, row: Tensor, mu: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the starts end, one per symmetry class and value of μ."""
    eta, done = minimise(f, system, start, mu[row])
    if not done.all():
        logger.info("%d of %d descents did not converge", int((~done).sum()), len(done))
    eta, row = eta[done], row[done]
    keep = [
        members[_first_of_class(system, eta[members])]
        for i in row.unique()
        for members in [(row == i).nonzero()[:, 0]]
    ]
    chosen = torch.cat(keep) if keep else row[:0]
    return eta[chosen], row[chosen]


def _first_of_class(system: System, eta: Tensor) -> Tensor:
    """Indices of the first point of every class of symmetry-equivalent points."""
    distance = (system.images(eta)[:, :, None] - eta).abs().amax(-1).amin(0)
    first = (distance < 1e-4).to(torch.uint8).argmax(0)
    return (first == torch.arange(len(eta))).nonzero()[:, 0]


def _stable_first(
    system: System, found: list[Well], composition: tuple[float, float]
) -> list[Well]:
    low, high = composition
    inside = [w for w in found if low <= float(w.eta[0]) <= high]
    if not inside:
        return []
    first = _first_of_class(system, torch.stack([w.eta for w in inside]))
    return sorted((inside[i] for i in first.tolist()), key=lambda w: w.omega)


def tie_lines(
    f: FreeEnergy, system: System, *, composition: tuple[float, float], scan: int = 33
) -> list[TieLine]:
    """Common tangents between stable phases, found by scanning μ and refined by Newton.

    Where the well of lowest ω jumps between two values of μ, there is a tie-line between the two
    (Gibbs); dω/dμ = −η₀ gives the Newton step for ω_left = ω_right. A tangent under which a third
    well lies is replaced by those to that well.
    """
    mu = torch.linspace(*_exchange_range(f, system, composition), scan, dtype=torch.float64)
    stable = [found[0] for found in _wells_at_each(f, system, mu, composition) if found]
    return [
        line
        for left, right in _jumps(f, system, stable)
        for line in _between(f, system, left, right, composition)
    ]


def _exchange_range(
    f: FreeEnergy, system: System, composition: tuple[float, float]
) -> tuple[float, float]:
    """Least and greatest ∂f/∂η₀ of the disordered solution."""
    low, high = composition
    eta = torch.zeros(65, system.dimension, dtype=torch.float64)
    eta[:, 0] = torch.linspace(low + 1e-3, high - 1e-3, 65, dtype=torch.float64)
    with torch.no_grad():
        slope = chemical_potential(f, eta)[:, 0]
    return float(slope.min()), float(slope.max())


def _jumps(f: FreeEnergy, system: System, stable: Sequence[Well]) -> list[tuple[Well, Well]]:
    """Neighbours in μ that are not the same well: neither leads continuously to the other."""
    if len(stable) < 2:
        return []
    eta = torch.stack([w.eta for w in stable])
    mu = torch.tensor([w.mu for w in stable], dtype=torch.float64)
    start, target = torch.cat([eta[:-1], eta[1:]]), torch.cat([eta[1:], eta[:-1]])
    followed, _ = minimise(f, system, start, torch.cat([mu[1:], mu[:-1]]))
    apart = (system.images(followed) - target).abs().amax(-1).amin(0) > 1e-4
    forward, backward = apart.chunk(2)
    pairs = zip(pairwise(stable), (forward | backward).tolist(), strict=True)
    return [pair for pair, jumped in pairs if jumped]


def _between(
    f: FreeEnergy, system: System, left: Well, right: Well, composition: tuple[float, float]
) -> list[TieLine]:
    line = refine(f, system, left, right)
    if line is None:
        return []
    found = wells(f, system, line.mu, composition=composition)
    if not found or found[0].omega > line.left.omega - 1e-9:
        return [line]
    lowest = found[0]
    if not line.left.eta[0] < lowest.eta[0] < line.right.eta[0]:
        return []
    return [
        *_between(f, system, left, lowest, composition),
        *_between(f, system, lowest, right, composition),
    ]


def refine(f: FreeEnergy, system: System, left: Well, right: Well) -> TieLine | None:
    """The common tangent near two wells; None when either well vanishes on the way."""
    mu = (left.mu + right.mu) / 2
    phases = (left.phase, right.phase)
    for _ in range(50):
        both = torch.full((2,), mu, dtype=torch.float64)
        eta, done = minimise(f, system, torch.stack([left.eta, right.eta]), both)
        left, right = _wells_of(f, system, eta, both)
        gap = float(right.eta[0] - left.eta[0])
        if not done.all() or (left.phase, right.phase) != phases or abs(gap) < 1e-4:
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


def _starts(system: System, composition: tuple[float, float]) -> Float[Tensor, "sample d"]:
    low, high = composition
    grid = torch.linspace(low, high, COMPOSITIONS + 2, dtype=torch.float64)[1:-1]
    _, *ordered = system.prototypes
    starts = [grid[:, None].expand(-1, system.dimension)]
    for name in ordered:
        direction = torch.tensor(system.prototypes[name], dtype=torch.float64)
        direction = direction - direction.mean()
        room = torch.where(
            direction > 0, (1 - grid[:, None]) / direction, -grid[:, None] / direction
        )
        room = torch.where(direction == 0, torch.inf, room).amin(-1, keepdim=True)
        starts += [grid[:, None] + share * room * direction for share in (0.5, 0.98)]
    return system.order_parameters(torch.cat(starts))


def _wells_of(f: FreeEnergy, system: System, eta: Tensor, mu: Tensor) -> list[Well]:
    stiffness, _ = _softest_mode(f, eta)
    with torch.no_grad():
        value = f(eta)
    rows = zip(eta, value.tolist(), mu.tolist(), stiffness.tolist(), strict=True)
    return [Well(system.phase_name(point), point, *numbers) for point, *numbers in rows]


def _softest_mode(f: FreeEnergy, eta: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest eigenvalue of ∂²f/∂η² and its direction."""
    values, vectors = torch.linalg.eigh(hessian(f, eta))
    return values[:, 0], vectors[:, :, 0]
