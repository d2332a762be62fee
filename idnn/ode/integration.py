"""The loop: every sample by steps of its own until all are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn.ode.control import Control, first_step, norm
from idnn.ode.events import Event, first, refined, values
from idnn.ode.methods import Method, Step, interpolated
from idnn.ode.problem import Problem
from idnn.ode.solution import Status

REFUSALS = 60
"""Steps refused in a row before a sample is given up."""

NEARLY = 1.001
"""Times a step that would reach the end: it is taken to the end."""

LEAST = 1e-4
"""Error of an accepted step that the controller remembers."""


@dataclass(frozen=True, eq=False)
class Passed:
    """Accepted steps of some samples, one of each.

    Attributes:
        rows: numbers of the samples.
        t: at the start.
        y: there.
        h: the length.
        local, column, theta: steps with a time asked for, which, and its share of the step.
        ended, which, share: steps with an event, which, and its share of the step.
    """

    rows: Int[Tensor, " row"]
    t: Float[Tensor, " row"]
    y: Float[Tensor, "row n"]
    h: Float[Tensor, " row"]
    local: Int[Tensor, " out"]
    column: Int[Tensor, " out"]
    theta: Float[Tensor, " out"]
    ended: Int[Tensor, " event"]
    which: Int[Tensor, " event"]
    share: Float[Tensor, " event"]

    def of(self, chosen: Bool[Tensor, " row"]) -> Passed:
        """Some of them."""
        number = chosen.cumsum(0) - 1
        out, event = chosen[self.local], chosen[self.ended]
        return Passed(
            self.rows[chosen],
            self.t[chosen],
            self.y[chosen],
            self.h[chosen],
            number[self.local[out]],
            self.column[out],
            self.theta[out],
            number[self.ended[event]],
            self.which[event],
            self.share[event],
        )


@dataclass(frozen=True, eq=False)
class Rules:
    """What decides the steps."""

    method: Method
    control: Control
    events: Sequence[Event]


@dataclass(eq=False)
class Outcome:
    """Of all samples; filled while the loop runs."""

    y: Float[Tensor, "sample time n"]
    t: Float[Tensor, " sample"]
    event: Int[Tensor, " sample"]
    event_t: Float[Tensor, " sample"]
    event_y: Float[Tensor, "sample n"]
    status: Int[Tensor, " sample"]
    steps: Int[Tensor, " sample"]
    rejected: Int[Tensor, " sample"]
    passed: list[Passed] = field(default_factory=list)

    @staticmethod
    def empty(y0: Float[Tensor, "sample n"], times: Float[Tensor, "sample time"]) -> Outcome:
        """Before the first step."""
        y = y0.new_full((*times.shape, y0.shape[1]), torch.nan)
        y[:, 0] = y0
        nan, none = torch.full_like(y[:, :1], torch.nan)[:, 0], torch.full_like(times[:, 0], -1)
        none = none.long()
        zero = torch.zeros_like(none)
        return Outcome(
            y, times[:, 0].clone(), none, nan[:, 0].clone(), nan, zero, zero.clone(), zero.clone()
        )


class _Samples(NamedTuple):
    """Those not done yet.

    Attributes:
        rows: their numbers.
        t, y: where they are.
        h: the step to be tried.
        times: asked for.
        allowed: error.
        before: error of the last accepted step over that allowed.
        refused: steps in a row.
        steps: accepted so far.
        tried: so far.
        g: of all events.
    """

    rows: Int[Tensor, " row"]
    t: Float[Tensor, " row"]
    y: Float[Tensor, "row n"]
    h: Float[Tensor, " row"]
    times: Float[Tensor, "row time"]
    allowed: Float[Tensor, "row n"]
    before: Float[Tensor, " row"]
    refused: Int[Tensor, " row"]
    steps: Int[Tensor, " row"]
    tried: Int[Tensor, " row"]
    g: Float[Tensor, "row event"]

    def of(self, rows: Tensor) -> _Samples:
        """Some of them."""
        return _Samples(*(each[rows] for each in self))


@torch.no_grad()
def integrate(
    problem: Problem,
    y0: Float[Tensor, "sample n"],
    times: Float[Tensor, "sample time"],
    rules: Rules,
    *,
    keep: bool,
) -> Outcome:
    """Run all samples to their ends; with `keep` the steps are remembered."""
    method, control, events = rules.method, rules.control, rules.events
    out, t = Outcome.empty(y0, times), times[:, 0]
    zero = torch.zeros_like(out.steps)
    h = first_step(control, problem, t, y0, times[:, -1] - t, method.order)
    g, rows = values(events, problem, t, y0), torch.arange(len(y0), device=y0.device)
    now = _Samples(
        rows, t, y0, h, times, control.allowed(y0), torch.ones_like(t), zero, zero, zero, g
    )
    while len(now.rows):
        goal = now.times[:, -1]
        if method.lands:
            goal = torch.where(now.times > now.t[:, None], now.times, torch.inf).amin(1)
        lands = NEARLY * now.h >= goal - now.t
        wanted, now = now.h, now._replace(h=torch.where(lands, goal - now.t, now.h))
        step = method.step(problem, now.t, now.y, now.h, now.allowed)
        allowed = control.allowed(step.y)
        error = norm(step.error / torch.maximum(now.allowed, allowed))
        good = error <= 1
        after = torch.where(lands, goal, now.t + now.h)
        over, share, which = good & (after == now.times[:, -1]), None, None
        if events:
            share, which = first(events, method, problem, now.t, now.y, now.h, step, now.g)
            share = share.where(good, torch.inf)
            over, after = over | share.isfinite(), after.minimum(now.t + share * now.h)
        kept = good.nonzero()[:, 0]
        if len(kept):
            passed = _passed(now, kept, good, after, share, which)
            _fill(out, rules, problem.at(kept), _of(step, kept, len(good)), passed)
            if keep:
                out.passed.append(passed)
        change = control.change(error, now.before, method.order)
        change = change.where(good & (now.refused == 0), change.clamp_max(1.0))
        lost = ~good & ((now.refused >= REFUSALS) | (now.t + change * now.h == now.t))
        now = _Samples(
            now.rows,
            after.where(good, now.t),
            step.y.where(good[:, None], now.y),
            torch.where(good & lands, wanted.maximum(change * now.h), change * now.h),
            now.times,
            allowed.where(good[:, None], now.allowed),
            error.clamp_min(LEAST).where(good, now.before),
            torch.where(good, 0, now.refused + 1),
            now.steps + good,
            now.tried + 1,
            now.g,
        )
        if events:
            now = now._replace(g=values(events, problem, now.t, now.y))
        ends = over | lost | (now.tried >= control.max_steps)
        if ends.any():
            _end(out, now, ends, over, lost, error, share)
            left = (~ends).nonzero()[:, 0]
            now, problem = now.of(left), problem.at(left)
    return out


def _end(
    out: Outcome,
    now: _Samples,
    ends: Tensor,
    over: Tensor,
    lost: Tensor,
    error: Tensor,
    share: Tensor | None,
) -> None:
    """Write down where and why samples ended."""
    reason = torch.where(error.isfinite(), Status.STEP_TOO_SMALL, Status.NOT_FINITE)
    reason = torch.where(lost, reason, Status.TOO_MANY_STEPS)
    done = torch.where(over, Status.DONE, reason)
    if share is not None:
        done = torch.where(over & share.isfinite(), Status.EVENT, done)
    rows = now.rows[ends]
    out.status[rows], out.t[rows] = done[ends], now.t[ends]
    out.steps[rows], out.rejected[rows] = now.steps[ends], (now.tried - now.steps)[ends]


def _passed(
    now: _Samples,
    kept: Tensor,
    good: Tensor,
    after: Tensor,
    share: Tensor | None,
    which: Tensor | None,
) -> Passed:
    """The steps that were accepted."""
    if len(kept) < len(good):
        now, after = now.of(kept), after[kept]
        share, which = (None if x is None else x[kept] for x in (share, which))
    inside = (now.times > now.t[:, None]) & (now.times <= after[:, None])
    local, column = inside.nonzero(as_tuple=True)
    theta = ((now.times[local, column] - now.t[local]) / now.h[local]).clamp_max(1.0)
    ended = local[:0]
    if share is not None and which is not None:
        ended = share.isfinite().nonzero()[:, 0]
        which, share = which[ended], share[ended]
    else:
        which, share = ended, theta[:0]
    return Passed(now.rows, now.t, now.y, now.h, local, column, theta, ended, which, share)


def _of(step: Step, kept: Tensor, count: int) -> Step:
    return (
        step if len(kept) == count else Step(step.y[kept], step.error[kept], step.stages[:, kept])
    )


def evaluated(
    rules: Rules, problem: Problem, passed: Passed, step: Step
) -> tuple[Float[Tensor, "out n"], list[tuple[Tensor, Tensor, Tensor]]]:
    """States at the times asked for within steps, and steps that end by an event, with t and y."""
    at = passed.local
    inside = _of(step, at, -1)
    states = interpolated(rules.method, passed.y[at], inside, passed.theta)
    ends = []
    for number in passed.which.unique().tolist():
        chosen = (passed.which == number).nonzero()[:, 0]
        local = passed.ended[chosen]
        found = refined(
            rules.events[number],
            rules.method,
            problem.at(local),
            passed.t[local],
            passed.y[local],
            passed.h[local],
            _of(step, local, -1),
            passed.share[chosen],
        )
        ends.append((local, *found))
    return states, ends


def retaken(
    rules: Rules, problem: Problem, passed: Passed
) -> tuple[Step, Float[Tensor, "out n"], list[tuple[Tensor, Tensor, Tensor]]]:
    """Accepted steps once more, as they were, and what `evaluated` finds in them."""
    allowed = rules.control.allowed(passed.y.detach())
    step = rules.method.step(problem, passed.t, passed.y, passed.h, allowed)
    return step, *evaluated(rules, problem, passed, step)


def _fill(out: Outcome, rules: Rules, problem: Problem, step: Step, passed: Passed) -> None:
    if len(passed.local) + len(passed.ended) == 0:
        return
    states, ends = evaluated(rules, problem, passed, step)
    out.y[passed.rows[passed.local], passed.column] = states
    for local, t, y in ends:
        rows = passed.rows[local]
        out.event_t[rows], out.event_y[rows] = t, y
    out.event[passed.rows[passed.ended]] = passed.which
