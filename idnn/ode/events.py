"""Ends of an integration that the state decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.ode.methods import Method, Step, interpolated
from idnn.ode.problem import Problem

HALVINGS = 52
"""Of a step, to the last bit of its length."""


@dataclass(frozen=True, eq=False)
class Event:
    """Ends a sample where g(t, y) or, with parameters, g(t, y, p) passes through zero.

    A g that is zero at the start of a step has passed already; two passes within one step are
    missed.

    Attributes:
        g: [*batch], of the same arguments as f.
        direction: 1 rising only, −1 falling only, 0 either.
    """

    g: Callable[..., Tensor]
    direction: int = 0

    def __post_init__(self) -> None:
        if self.direction not in (-1, 0, 1):
            raise ValueError(f"`direction` must be -1, 0 or 1; it is {self.direction!r}.")

    def passed(self, before: Tensor, after: Tensor) -> Tensor:
        """Whether g went through zero."""
        rising, falling = (before < 0) & (after >= 0), (before > 0) & (after <= 0)
        return (rising, rising | falling, falling)[1 - self.direction]


def values(
    events: Sequence[Event], problem: Problem, t: Tensor, y: Tensor
) -> Float[Tensor, "row event"]:
    """All g."""
    if not events:
        return y[:, :0]
    more = () if problem.parameters is None else (problem.parameters,)
    return torch.stack([event.g(t, y, *more) for event in events], -1)


class Taken(NamedTuple):
    """Steps of some rows, and where they begin."""

    t: Float[Tensor, " row"]
    y: Float[Tensor, "row n"]
    h: Float[Tensor, " row"]
    step: Step

    def of(self, rows: Tensor) -> Taken:
        """Some of them."""
        return Taken(self.t[rows], self.y[rows], self.h[rows], self.step.of(rows))

    def at(self, method: Method, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Times and states at shares θ of the steps."""
        return self.t + theta * self.h, interpolated(method, self.y, self.step, theta)


def first(
    events: Sequence[Event],
    method: Method,
    problem: Problem,
    taken: Taken,
    before: Float[Tensor, "row event"],
) -> tuple[Float[Tensor, " row"], Int[Tensor, " row"]]:
    """The share of each step at which its first event occurs, and which; ∞ and −1 without one."""
    after = values(events, problem, taken.t + taken.h, taken.step.y)
    passed = torch.stack([e.passed(before[:, i], after[:, i]) for i, e in enumerate(events)], -1)
    theta = torch.full_like(passed, torch.inf, dtype=before.dtype)
    for number, event in enumerate(events):
        rows = passed[:, number].nonzero()[:, 0]
        if len(rows):
            part, start, here = taken.of(rows), before[rows, number], problem.at(rows)
            low, high = torch.zeros_like(start), torch.ones_like(start)
            for _ in range(HALVINGS):
                middle = (low + high) / 2
                g = values([event], here, *part.at(method, middle))[:, 0]
                beyond = g * start <= 0
                low, high = low.where(beyond, middle), middle.where(beyond, high)
            theta[rows, number] = high
    least, which = theta.min(-1)
    return least, which.where(least.isfinite(), -1)


def refined(
    event: Event, method: Method, problem: Problem, taken: Taken, theta: Float[Tensor, " row"]
) -> tuple[Float[Tensor, " row"], Float[Tensor, "row n"]]:
    """When and in which state, differentiable: θ − g/(∂g/∂θ) has the derivatives of the root."""
    with torch.enable_grad():
        share = theta.detach().clone().requires_grad_()
        constant = Step(*(each.detach() for each in taken.step))
        fixed = Taken(taken.t, taken.y.detach(), taken.h, constant)
        g = values([event], problem, *fixed.at(method, share))[:, 0]
        slope = torch.autograd.grad(g.sum(), share)[0]
    g = values([event], problem, *taken.at(method, theta))[:, 0]
    return taken.at(method, theta - (g - g.detach()) / slope)
