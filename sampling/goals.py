"""Points chosen for what is to be known: the tie-line, a barrier, μ, each on its own scale.

With C the covariance of a network's parameters and L = ∂q/∂θ of the quantities q wanted, each in
units of an error that counts as one, what is not yet known is tr(L C Lᵀ). A measurement of μ at η,
G = ∂μ/∂θ in units of its error, takes tr[L C Gᵀ (1 + G C Gᵀ)⁻¹ G C Lᵀ] off it (linear-Gaussian
update; for one quantity this is c-optimal design, Chaloner & Verdinelli 1995,
doi:10.1214/ss/1177009939). Points are taken one by one, each after the update by those before it:
they do not repeat themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn import posterior
from idnn.barriers import Barrier
from idnn.data import Data, Derivatives
from idnn.equilibrium import TieLine
from idnn.network import IntegrableNetwork
from sampling.candidates import about_ends

PRESELECTED = 1024
"""Candidates, best at first, that are followed through the updates."""

BESIDE = 64
"""States about each end of a tie-line at which μ is wanted."""


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Standard errors that are equally bad.

    Attributes:
        composition: of both ends of the tie-line.
        mu: of μ over the range of composition, root mean square, eV/site.
        mu_ends: of μ about the ends of the tie-line, eV/site; not wanted if None.
        barrier: of the height of the barrier between the phases, eV/site; not wanted if None.
    """

    composition: float
    mu: float
    mu_ends: float | None = None
    barrier: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive; it is {value:g}.")


@dataclass(frozen=True, eq=False)
class Goals:
    """What is wanted of a free energy.

    Attributes:
        scales: how much each counts.
        everywhere: states over the range of composition.
        curvature: ∂²f/∂η² at both ends of the tie-line.
        line: the tie-line, if there is one yet.
        barrier: the barrier between its ends, if it is wanted and there.
    """

    scales: Scales
    everywhere: Float[Tensor, "sample d"]
    curvature: Float[Tensor, "end d d"] | None = None
    line: TieLine | None = None
    barrier: Barrier | None = None

    def sensitivity(self, network: IntegrableNetwork) -> Float[Tensor, "goal parameter"]:
        """L of a network of one member: rows of the same LᵀL, in units of the scales."""
        wanted = self.scales
        rows = [_mean_square(network, self.everywhere) / wanted.mu]
        if self.line is not None and self.curvature is not None:
            ends = posterior.tie_line_sensitivity(network, self.line, self.curvature)
            rows.append(ends / wanted.composition)
            if wanted.mu_ends is not None:
                about = about_ends(network.system, self.line, BESIDE, seed=0)
                rows += [_mean_square(network, eta) / wanted.mu_ends for eta in about]
            if wanted.barrier is not None and self.barrier is not None:
                height = posterior.barrier_sensitivity(network, self.line, self.barrier)
                rows.append(height[None] / wanted.barrier)
        return torch.linalg.qr(torch.cat(rows), mode="r").R


def most_informative(
    network: IntegrableNetwork,
    known: Sequence[Data],
    candidates: Derivatives,
    cost: Float[Tensor, " sample"],
    goals: Goals,
    count: int,
) -> Int[Tensor, " chosen"]:
    """The candidates that take most off what is not yet known of the goals, per cost.

    Each member of the committee chooses its share with its own derivatives, knowing what those
    before it have chosen.

    Args:
        network: a committee.
        known: what it was trained on, and what is chosen already.
        candidates: where μ could be measured and with what σ; their μ does not matter.
        cost: of each, in any unit.
        goals: what is wanted.
        count: how many to choose.

    Raises:
        ValueError: there are fewer candidates than `count`, or a cost is not positive.
    """
    if count > len(candidates):
        raise ValueError(
            f"`count` must not exceed the {len(candidates)} candidates; it is {count}."
        )
    if not bool((cost > 0).all()):
        raise ValueError(f"`cost` must be positive; its least is {float(cost.min()):.6g}.")
    precision = posterior.precision_of(network)
    chosen: list[int] = []
    for m in range(network.members):
        share = count * (m + 1) // network.members - len(chosen)
        if share == 0:
            continue
        member, so_far = network.member(m), torch.tensor(chosen, dtype=torch.int64)
        spread = posterior.covariance(member, [*known, candidates[so_far]], precision)
        root = torch.linalg.cholesky(spread)
        found = posterior.gradient_sensitivity(member, candidates.eta, candidates.directions)
        g = found / candidates.sigma[..., None] @ root
        left = torch.ones(len(candidates), dtype=torch.bool)
        left[so_far] = False
        chosen += _greedy(g, goals.sensitivity(member) @ root, cost, left, share)
    return torch.tensor(chosen, dtype=torch.int64)


def _greedy(
    g: Float[Tensor, "sample d parameter"],
    goal: Float[Tensor, "goal parameter"],
    cost: Float[Tensor, " sample"],
    left: Bool[Tensor, " sample"],
    count: int,
) -> list[int]:
    """In parameters scaled so that C is the unit matrix before the first choice."""
    row = left.nonzero()[:, 0]
    g, cost = g[row], cost[row]
    own, towards = g @ g.mT, g @ goal.mT  # G C Gᵀ and G C Lᵀ of each candidate
    first = _worth(own, towards, cost)
    kept = first.argsort(descending=True, stable=True)[: max(PRESELECTED, count)]
    row, g, cost, own, towards = (each[kept] for each in (row, g, cost, own, towards))
    taken = torch.zeros(len(row), dtype=torch.bool)
    learned = g.new_zeros(0, g.shape[2])  # C = 1 − (its transpose) @ (itself)
    chosen = []
    for _ in range(count):
        best = int(_worth(own, towards, cost).masked_fill(taken, -torch.inf).argmax())
        taken[best] = True
        chosen.append(int(row[best]))
        seen = g[best] - (g[best] @ learned.T) @ learned
        factor = torch.linalg.cholesky(own[best] + torch.eye(len(seen), dtype=g.dtype))
        new = torch.linalg.solve_triangular(factor, seen, upper=False)
        learned = torch.cat([learned, new])
        shared = g @ new.T
        own = own - shared @ shared.mT
        towards = towards - shared @ (new @ goal.T)
    return chosen


def _worth(own: Tensor, towards: Tensor, cost: Tensor) -> Float[Tensor, " sample"]:
    """tr[L C Gᵀ (1 + G C Gᵀ)⁻¹ G C Lᵀ] per cost."""
    one = torch.eye(own.shape[1], dtype=own.dtype)
    removed = (towards * torch.linalg.solve(own + one, towards)).sum((1, 2))
    return removed / cost


def _mean_square(
    network: IntegrableNetwork, eta: Float[Tensor, "sample d"]
) -> Float[Tensor, "goal parameter"]:
    """Rows whose squares, added, are the mean square of ∂μ/∂θ over states and components."""
    rows = posterior.gradient_sensitivity(network, eta).flatten(0, 1)
    return torch.linalg.qr(rows, mode="r").R / len(rows) ** 0.5
