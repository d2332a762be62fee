"""Branches η(μ) of wells between neighbouring values of μ: which wells are one, which cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System
from idnn.wells import Well, curvature

ERROR = (0.005, 0.2)
"""Error of the trapezoidal rule for Δη along one branch: at most this, plus this share of Δη."""

SMALLEST = 1e-12
"""Site fraction, or its distance from one, below which it is not told from zero."""

LEVEL = 1e-8
"""Difference of ω (eV/site) below which two wells are equally low, or a crossing is known."""


@dataclass(frozen=True, eq=False)
class Node:
    """All wells at one μ, lowest first, and how they respond to it.

    Attributes:
        mu: eV/site.
        wells: at least one.
        response: dη/dμ = H⁻¹e₀ of each (1/eV).
    """

    mu: float
    wells: Sequence[Well]
    response: Float[Tensor, "well d"]

    @property
    def eta(self) -> Float[Tensor, "well d"]:
        """Order parameters of the wells."""
        return torch.stack([w.eta for w in self.wells])

    def omega(self, mu: float) -> Float[Tensor, " well"]:
        """ω of each well at another μ, to second order."""
        step = mu - self.mu
        omega = torch.tensor([w.omega for w in self.wells], dtype=torch.float64)
        return omega - self.eta[:, 0] * step - self.response[:, 0] * step**2 / 2


def node(f: FreeEnergy, system: System, wells: Sequence[Well]) -> Node:
    """The node of all wells at one μ."""
    eta = torch.stack([w.eta for w in wells])
    mu = torch.full((len(eta),), wells[0].mu, dtype=torch.float64)
    unit = torch.zeros_like(eta)
    unit[:, 0] = 1
    return Node(wells[0].mu, wells, torch.linalg.solve(curvature(f, system, eta, mu), unit))


def same_stable_branch(system: System, low: Node, high: Node) -> bool:
    """Whether one of the lowest wells at either μ becomes one of the lowest at the other."""
    return bool(_one_branch(system, low, high)[_lowest(low)][:, _lowest(high)].any())


def candidates(system: System, low: Node, high: Node) -> list[tuple[Well, Well]]:
    """Pairs of wells whose branches seem to cross in ω between two values of μ.

    A well that has none to become at the other μ is extrapolated there.
    """
    joined = _one_branch(system, low, high)
    partner = torch.where(joined.any(1), joined.to(torch.uint8).argmax(1), -1)
    alone = (~joined.any(0)).nonzero()[:, 0]
    beyond = low.omega(high.mu)
    known = high.omega(high.mu)
    at_high = torch.where(partner >= 0, known[partner], beyond)
    first = torch.cat([low.omega(low.mu), high.omega(low.mu)[alone]])
    last = torch.cat([at_high, known[alone]])
    wells = [*low.wells, *(high.wells[i] for i in alone.tolist())]
    before, after = first[:, None] - first, last[:, None] - last
    crossing = (before * after < 0) | (before.abs() < LEVEL) | (after.abs() < LEVEL)
    return [(wells[i], wells[j]) for i, j in crossing.triu(1).nonzero().tolist()]


def _lowest(at: Node) -> Tensor:
    omega = at.omega(at.mu)
    return (omega < omega.min() + LEVEL).nonzero()[:, 0]


def _one_branch(system: System, low: Node, high: Node) -> Bool[Tensor, "low high"]:
    """Whether Δ between two wells, or an image, is Δμ times their mean d/dμ (trapezoidal).

    Of η, or of logit x: in a dilute solution and for dilute defects of an ordered phase the latter
    is linear in μ.
    """
    images = system.images(high.eta)[:, None]
    moving = system.images(high.response)[:, None]
    in_eta = _trapezoidal(low.eta[:, None], images, low.response[:, None], moving, high.mu - low.mu)
    x, rate = (system.site_fractions(v) for v in (low.eta, low.response))
    y, moved = (system.site_fractions(v) for v in (images, moving))
    in_logit = _trapezoidal(
        _logit(x)[:, None], _logit(y), (rate / _width(x))[:, None], moved / _width(y),
        high.mu - low.mu,
    )  # fmt: skip
    return (in_eta | in_logit).any(0)


def _trapezoidal(a: Tensor, b: Tensor, rate_a: Tensor, rate_b: Tensor, step: float) -> Tensor:
    change = b - a
    error = (change - (rate_a + rate_b) / 2 * step).abs().amax(-1)
    floor, share = ERROR
    return error <= floor + share * change.abs().amax(-1)


def _logit(x: Tensor) -> Tensor:
    return x.clamp(SMALLEST, 1 - SMALLEST).logit()


def _width(x: Tensor) -> Tensor:
    return (x * (1 - x)).clamp_min(SMALLEST)
