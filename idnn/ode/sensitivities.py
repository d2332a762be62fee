"""Derivatives of what a solver returns by few parameters, carried forward along the steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.autograd.forward_ad as forward_ad
from jaxtyping import Float
from torch import Tensor

from idnn.ode.integration import Outcome, Passed, Rules, retaken
from idnn.ode.problem import Problem


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """By each sample's own parameters; NaN where the solution is.

    Attributes:
        y: ∂y/∂p of states at the times asked for.
        event_t: of the time of the event.
        event_y: of the state then.
    """

    y: Float[Tensor, "*sample time n parameter"]
    event_t: Float[Tensor, "*sample parameter"]
    event_y: Float[Tensor, "*sample n parameter"]


def sensitivities(problem: Problem, rules: Rules, out: Outcome) -> Sensitivities:
    """Of the steps that `integrate` kept, each taken once more with dual numbers."""
    assert problem.parameters is not None
    samples, count = problem.parameters.shape
    y = out.y.new_full((*out.y.shape, count), torch.nan)
    y[:, 0] = 0.0
    found = Sensitivities(
        y, torch.full_like(y[:, 0, 0], torch.nan), torch.full_like(y[:, 0], torch.nan)
    )
    along = out.y.new_zeros(samples, count, out.y.shape[2])
    for passed in out.passed:
        _push(problem.at(passed.rows), rules, passed, along, found)
    return found


def _push(
    problem: Problem, rules: Rules, passed: Passed, along: Tensor, found: Sensitivities
) -> None:
    """Carry ∂y/∂p [sample, parameter, n] over one step, in as many copies as parameters."""
    rows, p = passed.rows, problem.parameters
    assert p is not None
    count = p.shape[1]

    def copied(x: Tensor) -> Tensor:
        return x.repeat_interleave(count, 0)

    def of_copies(numbers: Tensor) -> Tensor:
        return (numbers[:, None] * count + torch.arange(count, device=numbers.device)).flatten()

    def tangent(x: Tensor) -> Tensor:
        """[row, n or nothing, parameter]."""
        change = forward_ad.unpack_dual(x).tangent
        change = torch.zeros_like(x) if change is None else change.detach()
        return change.unflatten(0, (-1, count)).movedim(1, -1)

    with torch.enable_grad(), forward_ad.dual_level():
        one = torch.eye(count, dtype=p.dtype, device=p.device).repeat(len(rows), 1)
        copies = replace(
            passed,
            rows=copied(rows),
            t=copied(passed.t),
            y=forward_ad.make_dual(copied(passed.y), along[rows].flatten(0, 1)),
            h=copied(passed.h),
            local=of_copies(passed.local),
            column=copied(passed.column),
            theta=copied(passed.theta),
            ended=of_copies(passed.ended),
            which=copied(passed.which),
            share=copied(passed.share),
        )
        dual = problem.of(forward_ad.make_dual(copied(p.detach()), one))
        step, inside, ends = retaken(rules, dual, copies)
        along[rows] = tangent(step.y).mT
        found.y[rows[passed.local], passed.column] = tangent(inside)
        for local, t, y in ends:
            here = rows[local[::count] // count]
            found.event_t[here], found.event_y[here] = tangent(t), tangent(y)
