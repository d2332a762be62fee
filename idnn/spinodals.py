"""Limits of stability: of the disordered solution to ordering, and of every phase to unmixing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.descent import minimise, minimise_at
from idnn.estimates import Committee, CommitteeEstimate, over_members
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import System
from idnn.wells import Well, wells_of

POINTS = 401
"""Compositions at which a line of states is examined before its limits are refined."""

STEPS = 64
"""Compositions in which a branch is followed over the whole range."""

LARGEST_ERROR = 0.02
"""Of η predicted over a whole step, in proportion over parts of it, beyond which the branch may
have been left."""


@dataclass(frozen=True, eq=False)
class Interval:
    """An interval of composition with an instability.

    Attributes:
        low: its lower end.
        high: its upper end.
        open: whether the range of composition cuts off the lower and the upper end.
    """

    low: float
    high: float
    open: tuple[bool, bool]

    @property
    def numbers(self) -> tuple[float, ...]:
        """Both ends, of which a committee quotes σ."""
        return self.low, self.high


def ordering_spinodal(
    f: FreeEnergy, *, composition: tuple[float, float], dimension: int
) -> float | None:
    """Lowest composition at which the disordered solution is unstable to ordering, if any."""
    unstable = ordering_intervals(f, composition=composition, dimension=dimension)
    return unstable[0].low if unstable else None


def ordering_intervals(
    f: FreeEnergy, *, composition: tuple[float, float], dimension: int
) -> list[Interval]:
    """Where the disordered solution is unstable to ordering.

    There the smallest eigenvalue of ∂²f/∂η₁..² on the line η = (η₀, 0, …) is negative.
    """

    def softest(c: Tensor) -> Tensor:
        eta = torch.zeros(len(c), dimension, dtype=torch.float64)
        eta[:, 0] = c
        return torch.linalg.eigvalsh(hessian(f, eta)[:, 1:, 1:])[:, 0]

    line = torch.linspace(*composition, POINTS, dtype=torch.float64)[1:-1]
    return _negative(softest, line, softest(line))


@dataclass(frozen=True, eq=False)
class Branch:
    """Wells of one phase at fixed composition, η₁.. at a minimum of f.

    Where ∂²f/∂η₁..² is positive definite, ∂²f/∂η² is so exactly where d²f/dη₀² along the branch
    is positive (its Schur complement): the chemical spinodal of the branch is that of the crystal.
    An end that `composition` does not cut off is an instability of the order.

    Attributes:
        phase: name of the nearest prototype where the branch was entered.
        eta: order parameters, in the order of composition.
        f: free energy (eV/site).
        mu: df/dη₀ (eV/site).
        curvature: d²f/dη₀² (eV/site).
        stiffness: smallest eigenvalue of ∂²f/∂η² (eV/site).
        unstable: intervals within the chemical spinodal.
        ends: whether the order becomes unstable at the lower and at the upper end.
    """

    phase: str
    eta: Float[Tensor, "sample d"]
    f: Float[Tensor, " sample"]
    mu: Float[Tensor, " sample"]
    curvature: Float[Tensor, " sample"]
    stiffness: Float[Tensor, " sample"]
    unstable: tuple[Interval, ...]
    ends: tuple[bool, bool]

    @property
    def numbers(self) -> tuple[float, ...]:
        """Both ends of the chemical spinodals, of which a committee quotes σ."""
        return tuple(number for interval in self.unstable for number in interval.numbers)


def branch(
    f: FreeEnergy, system: System, well: Well, *, composition: tuple[float, float]
) -> Branch:
    """The branch of wells at fixed composition through a given one, followed both ways."""
    step = (composition[1] - composition[0]) / STEPS
    down, lost_low = _followed(f, system, well.eta, -step, composition[0] + step / 100)
    up, lost_high = _followed(f, system, well.eta, step, composition[1] - step / 100)
    eta = torch.cat([down.flip(0), well.eta[None], up])
    curvature, _ = _along(f, eta)

    def at(c: Tensor) -> Tensor:
        nearest = (eta[:, 0] - c[:, None]).abs().argmin(1)
        moved, _, _ = minimise_at(f, system, eta[nearest], c)
        return _along(f, moved)[0]

    with torch.no_grad():
        value, slope = f(eta), chemical_potential(f, eta)[:, 0]
    return Branch(
        phase=well.phase,
        eta=eta,
        f=value,
        mu=slope,
        curvature=curvature,
        stiffness=torch.linalg.eigvalsh(hessian(f, eta))[:, 0],
        unstable=tuple(_negative(at, eta[:, 0], curvature)),
        ends=(lost_low, lost_high),
    )


def committee_ordering(
    network: Committee, mean: Interval, *, composition: tuple[float, float]
) -> CommitteeEstimate[Interval]:
    """The interval of instability to ordering in every member that overlaps the mean's most."""

    def find(f: FreeEnergy) -> Interval | None:
        found = ordering_intervals(f, composition=composition, dimension=network.system.dimension)
        best = max(found, key=lambda i: min(i.high, mean.high) - max(i.low, mean.low), default=None)
        return best if best is not None and best.open == mean.open else None

    return over_members(network, mean, find)


def committee_branch(
    network: Committee, mean: Branch, well: Well, *, composition: tuple[float, float]
) -> CommitteeEstimate[Branch]:
    """The branch through the same well in every member.

    A member lacks it where the well has become another phase, or where the branch has not the same
    chemical spinodals.
    """

    def find(f: FreeEnergy) -> Branch | None:
        mu = torch.tensor([well.mu], dtype=torch.float64)
        eta, done = minimise(f, network.system, well.eta[None], mu)
        (own,) = wells_of(f, network.system, eta, mu)
        if not bool(done.all()) or own.phase != well.phase:
            return None
        found = branch(f, network.system, own, composition=composition)
        alike = [i.open for i in found.unstable] == [i.open for i in mean.unstable]
        return found if alike else None

    return over_members(network, mean, find)


def _followed(
    f: FreeEnergy, system: System, start: Tensor, step: float, last: float
) -> tuple[Tensor, bool]:
    """States from the start in steps of composition, and whether the order was lost on the way.

    Predicted along dη₁../dη₀ = −(∂²f/∂η₁..²)⁻¹ ∂²f/∂η₁..∂η₀, corrected by descent; where that fails
    the step is divided.
    """
    states, eta, h, smallest = [], start, step, abs(step) / 64
    while abs(last - float(eta[0])) > 1e-12:
        rate = _along(f, eta[None])[1][0]
        while True:
            c = float(eta[0]) + h
            c = min(c, last) if step > 0 else max(c, last)
            guess = _inside(system, eta + rate * (c - float(eta[0])), eta)
            at = torch.tensor([c], dtype=torch.float64)
            moved, _, done = minimise_at(f, system, guess[None], at)
            soft = torch.linalg.eigvalsh(hessian(f, moved)[:, 1:, 1:])[0, 0]
            expected = float((moved[0] - guess).abs().max()) < LARGEST_ERROR * abs(h / step)
            if bool(done) and float(soft) > 0 and expected:
                break
            h /= 2
            if abs(h) < smallest:
                return _stacked(states, start), True
        eta = moved[0]
        states.append(eta)
        h = 2 * h if abs(2 * h) <= abs(step) else h
    return _stacked(states, start), False


def _stacked(states: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(states) if states else like.new_empty(0, len(like))


def _inside(system: System, eta: Tensor, otherwise: Tensor) -> Tensor:
    return eta if bool(system.admissible(eta)) else otherwise


def _along(f: FreeEnergy, eta: Tensor) -> tuple[Tensor, Tensor]:
    """d²f/dη₀² and dη/dη₀ along states that minimise f at fixed η₀."""
    h = hessian(f, eta)
    rate = -torch.linalg.solve(h[:, 1:, 1:], h[:, 1:, 0])
    curvature = h[:, 0, 0] + (h[:, 0, 1:] * rate).sum(-1)
    return curvature, torch.cat([torch.ones_like(rate[:, :1]), rate], 1)


def _negative(function: Callable[[Tensor], Tensor], at: Tensor, value: Tensor) -> list[Interval]:
    """Intervals in which a function with given values is negative, their ends by bisection."""
    negative = value < 0
    change = (negative[1:] != negative[:-1]).nonzero()[:, 0]
    low, high = at[change], at[change + 1]
    rising = negative[change]
    for _ in range(40 if len(change) else 0):
        middle = (low + high) / 2
        before = (function(middle) < 0) == rising
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    ends = ((low + high) / 2).tolist()
    cut = (bool(negative[0]), bool(negative[-1]))
    ends = [float(at[0])] * cut[0] + ends + [float(at[-1])] * cut[1]
    pairs = list(zip(ends[::2], ends[1::2], strict=True))
    return [
        Interval(a, b, (cut[0] and i == 0, cut[1] and i == len(pairs) - 1))
        for i, (a, b) in enumerate(pairs)
    ]
