"""Strategies: how the next points are chosen from what is known. The loop is the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.barriers import Barrier, NoSaddle, barrier
from idnn.data import Derivatives
from idnn.equilibrium import TieLineEstimate
from idnn.free_energy import hessian
from idnn.network import IntegrableNetwork
from sampling import acquire, candidates
from sampling.goals import Goals, Scales, most_informative

POOL = 2048
"""Candidates of each kind."""

EVERYWHERE = 128
"""States over the range of composition at which μ is wanted."""

PUBLISHED_POOL = 36_000
"""Candidates for wells in the literature's loop."""

PUBLISHED_STEP = 0.016
"""Largest change of each ηᵢ about a state that the literature's loop samples again."""

Batch = dict[str, Float[Tensor, "sample d"]]
"""States to sample, by why."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What is known when points are chosen.

    Attributes:
        network: the committee.
        data: what it learned, at least one point.
        cost: of every point in data, in any unit.
        estimate: its tie-line, if there is one.
        composition: range of composition.
    """

    network: IntegrableNetwork
    data: Derivatives
    cost: Float[Tensor, " sample"]
    estimate: TieLineEstimate | None
    composition: tuple[float, float]


@runtime_checkable
class Strategy(Protocol):
    """Chooses `count` states."""

    def __call__(self, learned: Learned, count: int, seed: int) -> Batch: ...


@dataclass(frozen=True)
class GoalOriented:
    """Where a measurement takes most off what is not yet known of the goals, per cost."""

    scales: Scales

    def __call__(self, learned: Learned, count: int, seed: int) -> Batch:
        network, data = learned.network, learned.data
        system, span = network.system, learned.composition
        pools = {
            "spread": candidates.spread_over(system, span, POOL, seed),
            "prototypes": candidates.along_prototypes(system, span, POOL, seed),
        }
        if learned.estimate is not None:
            line = learned.estimate.mean
            pools["tie-line"] = candidates.near_tie_line(system, line, POOL, seed)
        eta = torch.cat(list(pools.values()))
        sigma = acquire.expected_error(system, data, eta)
        chosen = most_informative(
            network,
            [data],
            Derivatives(eta, 0 * eta, sigma, data.directions),
            learned.cost[acquire.nearest(system, data, eta)],
            self._goals(learned),
            count,
        )
        kind = chosen // POOL
        return {name: eta[chosen[kind == k]] for k, name in enumerate(pools)}

    def _goals(self, learned: Learned) -> Goals:
        network = learned.network
        everywhere = candidates.spread_over(network.system, learned.composition, EVERYWHERE, 0)
        if learned.estimate is None:
            return Goals(self.scales, everywhere)
        line = learned.estimate.mean
        curvature = hessian(network, torch.stack([line.left.eta, line.right.eta])).detach()
        return Goals(self.scales, everywhere, curvature, line, self._barrier(learned))

    def _barrier(self, learned: Learned) -> Barrier | None:
        if self.scales.barrier is None or learned.estimate is None:
            return None
        line = learned.estimate.mean
        try:
            return barrier(learned.network, learned.network.system, line.left, line.right)
        except NoSaddle:
            return None


def uniform(learned: Learned, count: int, seed: int) -> Batch:
    """Sobol points over the admissible polytope, whatever is known."""
    system = learned.network.system
    return {"spread": candidates.spread_over(system, learned.composition, count, seed)}


def most_uncertain(learned: Learned, count: int, seed: int) -> Batch:
    """Where the members disagree most about μ, spread and near lines to order alike."""
    network, span = learned.network, learned.composition
    ways = (candidates.spread_over, candidates.along_prototypes)
    eta = torch.cat([way(network.system, span, POOL, seed) for way in ways])
    sigma = acquire.expected_error(network.system, learned.data, eta)
    worth = acquire.disagreement(network, eta, sigma)
    return {"disagreement": eta[acquire.choose(eta, worth, count)]}


def published(learned: Learned, count: int, seed: int) -> Batch:
    """The loop of Teichert et al. 2020 (doi:10.1016/j.cma.2020.113281), in its proportions.

    Of 40 points 12 are spread; 12 repeat the states of largest error of μ, the worse half of
    distinct ones four times, the others twice; 16 are the best four wells four times. Repeated
    states are each moved by up to `PUBLISHED_STEP`.
    """
    system = learned.network.system
    generator = torch.Generator().manual_seed(seed)
    wells, errors = 2 * count // 5, 3 * count // 10
    spread = candidates.spread_over(system, learned.composition, count - wells - errors, seed)
    return {
        "spread": spread,
        "error": _moved(_worst(learned, errors), learned, generator),
        "wells": _moved(_wells(learned, wells, seed), learned, generator),
    }


def follow_up(learned: Learned, count: int, seed: int) -> Batch:
    """Equal shares by disagreement, non-convexity, novelty and wells: criteria of later codes.

    Where they rank by a committee's variance they take the least of it; here the most is taken.
    """
    network, system, span = learned.network, learned.network.system, learned.composition
    eta = candidates.spread_over(system, span, 3 * POOL, seed).reshape(3, POOL, -1)
    sigma = acquire.expected_error(system, learned.data, eta[0])
    worth = {
        "disagreement": acquire.disagreement(network, eta[0], sigma),
        "non-convexity": acquire.non_convexity(network, eta[1]).clamp_min(0),
        "novelty": acquire.novelty(system, learned.data, eta[2]),
    }
    share = count // 4
    chosen: Batch = {
        name: own[acquire.choose(own, each, share)]
        for (name, each), own in zip(worth.items(), eta, strict=True)
    }
    wells = _wells(learned, count - 3 * share, seed)
    return chosen | {"wells": _moved(wells, learned, torch.Generator().manual_seed(seed))}


def _worst(learned: Learned, count: int) -> Float[Tensor, "sample d"]:
    """States of the largest pointwise error of μ: a third of the count, most of them repeated."""
    with torch.no_grad():
        error = (learned.network.gradient(learned.data.eta) - learned.data.mu).norm(dim=-1)
    order = error.argsort(descending=True, stable=True)
    half = max(1, count // 6)
    rows = torch.cat(
        [order[:half].repeat_interleave(4), order[half : 2 * half].repeat_interleave(2)]
    )
    return learned.data.eta[rows.repeat(2)[:count]]


def _wells(learned: Learned, count: int, seed: int) -> Float[Tensor, "sample d"]:
    """The best candidates of `well_likeness`, four times each."""
    network, system = learned.network, learned.network.system
    eta = candidates.spread_over(system, learned.composition, PUBLISHED_POOL, seed + 1)
    _, *ordered = system.prototypes.values()
    compound = system.order_parameters(torch.tensor(min(ordered, key=sum), dtype=torch.float64))
    with torch.no_grad():
        slope = float(network(compound) / compound[0])
    worth = acquire.well_likeness(network, eta, slope)
    best = worth.argsort(descending=True, stable=True)[: (count + 3) // 4]
    return eta[best].repeat_interleave(4, 0)[:count]


def _moved(
    eta: Float[Tensor, "sample d"], learned: Learned, generator: torch.Generator
) -> Float[Tensor, "sample d"]:
    """Each η moved at random by up to `PUBLISHED_STEP`, within the polytope."""
    system = learned.network.system
    step = PUBLISHED_STEP * (2 * torch.rand(eta.shape, generator=generator, dtype=eta.dtype) - 1)
    least = candidates.MARGIN
    return system.order_parameters(system.site_fractions(eta + step).clamp(least, 1 - least))
