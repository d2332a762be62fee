"""The loop: every sample by steps of its own until all are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn.ode.control import Control, first_step, logarithm, norm
from idnn.ode.events import Event, Taken, first, refined, values
from idnn.ode.methods import Method, Step, interpolated
from idnn.ode.problem import Problem
from idnn.ode.solution import Status

REFUSALS = 60
"""Steps refused in a row before a sample is given up."""

NEARLY = 1.001
"""Times a step that would reach the end: it is taken to the end."""


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


class Hit(NamedTuple):
    """First events within steps: the share of each at which, ∞ for none, and which."""

    share: Float[Tensor, " row"]
    which: Int[Tensor, " row"]


class _Samples(NamedTuple):
    """Those not done yet.

    Attributes:
        rows: their numbers.
        t, y: where they are.
        h: the step to be tried.
        times: asked for.
        due: the next of them.
        allowed: error.
        before: logarithm of the error of the last accepted step over that allowed.
        refused: steps in a row.
        steps: accepted so far.
        g: of all events.
    """

    rows: Int[Tensor, " row"]
    t: Float[Tensor, " row"]
    y: Float[Tensor, "row n"]
    h: Float[Tensor, " row"]
    times: Float[Tensor, "row time"]
    due: Float[Tensor, " row"]
    allowed: Float[Tensor, "row n"]
    before: Float[Tensor, " row"]
    refused: Int[Tensor, " row"]
    steps: Int[Tensor, " row"]
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
    allowed, logged = control.allowed(y0), torch.zeros_like(t)
    now = _Samples(rows, t, y0, h, times, times[:, 1], allowed, logged, zero, zero, g)
    tried, clean = 0, True  # clean while no step is being retried
    while len(now.rows):
        end = now.times[:, -1]
        goal = now.due if method.lands else end
        left = goal - now.t
        lands = NEARLY * now.h >= left
        wanted, now = now.h, now._replace(h=torch.where(lands, left, now.h))
        step = method.step(problem, now.t, now.y, now.h, now.allowed)
        tried += 1
        allowed = control.allowed(step.y)
        error = norm(step.error / torch.maximum(now.allowed, allowed))
        good = error <= 1
        fine = bool(good.all())
        plain, clean = fine and clean, fine
        after = torch.where(lands, goal, now.t + now.h)
        after = after if fine else after.where(good, now.t)
        over, asked, due, hit = after == end, now.due <= after, now.due, None
        if events:
            taken = Taken(now.t, now.y, now.h, step)
            share, which = first(events, method, problem, taken, now.g)
            hit = Hit(share.where(good, torch.inf), which)
            ended, after = hit.share.isfinite(), after.minimum(now.t + hit.share * now.h)
            over, asked = over | ended, asked | ended
        kept = good if keep else asked
        if kept.any():
            _keep(out, rules, problem, now, step, kept, after, hit, keep=keep)
            due = torch.where(now.times > after[:, None], now.times, torch.inf).amin(1)
        logged = logarithm(error)
        change = control.change(logged, now.before, method.order)
        if not plain:
            change = change.where(good & (now.refused == 0), change.clamp_max(1.0))
        h, y, refused, lost = change * now.h, step.y, now.refused, None
        longer = torch.where(lands, wanted.maximum(h), h)
        if not plain:
            y, allowed = (
                x.where(good[:, None], old) for x, old in ((y, now.y), (allowed, now.allowed))
            )
            longer, logged = longer.where(good, h), logged.where(good, now.before)
            refused = (refused + 1).where(~good, 0)
            lost = ~good & ((now.refused >= REFUSALS) | (now.t + h == now.t))
        rows, times, steps = now.rows, now.times, now.steps + good
        now = _Samples(rows, after, y, longer, times, due, allowed, logged, refused, steps, now.g)
        if events:
            now = now._replace(g=values(events, problem, now.t, now.y))
        ends = over if lost is None else over | lost
        if tried >= control.max_steps:
            ends = torch.ones_like(over)
        if ends.any():
            finite = step.y.isfinite().all(1) & ~error.isnan()
            _end(out, now, tried, ends, over, lost, finite, hit)
            rest = (~ends).nonzero()[:, 0]
            now, problem = now.of(rest), problem.at(rest)
    return out


def _end(
    out: Outcome,
    now: _Samples,
    tried: int,
    ends: Tensor,
    over: Tensor,
    lost: Tensor | None,
    finite: Tensor,
    hit: Hit | None,
) -> None:
    """Write down where and why samples ended."""
    reason = torch.where(finite, Status.STEP_TOO_SMALL, Status.NOT_FINITE)
    if lost is None:
        lost = torch.zeros_like(over)
    reason = torch.where(lost, reason, Status.TOO_MANY_STEPS)
    done = torch.where(over, Status.DONE, reason)
    if hit is not None:
        done = torch.where(over & hit.share.isfinite(), Status.EVENT, done)
    rows = now.rows[ends]
    out.status[rows], out.t[rows] = done[ends], now.t[ends]
    out.steps[rows], out.rejected[rows] = now.steps[ends], tried - now.steps[ends]


def _keep(
    out: Outcome,
    rules: Rules,
    problem: Problem,
    now: _Samples,
    step: Step,
    kept: Tensor,
    after: Tensor,
    hit: Hit | None,
    *,
    keep: bool,
) -> None:
    """Write down what was asked for within some of the steps, and the steps if wanted."""
    if keep and not kept.all():
        rows = kept.nonzero()[:, 0]
        now, after, problem, step = now.of(rows), after[rows], problem.at(rows), step.of(rows)
        hit = None if hit is None else Hit(hit.share[rows], hit.which[rows])
    inside = (now.times > now.t[:, None]) & (now.times <= after[:, None])
    local, column = inside.nonzero(as_tuple=True)
    theta = ((now.times[local, column] - now.t[local]) / now.h[local]).clamp_max(1.0)
    ended, which, share = local[:0], local[:0], theta[:0]
    if hit is not None:
        ended = hit.share.isfinite().nonzero()[:, 0]
        which, share = hit.which[ended], hit.share[ended]
    passed = Passed(now.rows, now.t, now.y, now.h, local, column, theta, ended, which, share)
    _fill(out, rules, problem, step, passed)
    if keep:
        out.passed.append(passed)


def evaluated(
    rules: Rules, problem: Problem, passed: Passed, step: Step
) -> tuple[Float[Tensor, "out n"], list[tuple[Tensor, Tensor, Tensor]]]:
    """States at the times asked for within steps, and steps that end by an event, with t and y."""
    at = passed.local
    inside = step.of(at)
    states = interpolated(rules.method, passed.y[at], inside, passed.theta)
    ends = []
    for number in passed.which.unique().tolist():
        chosen = (passed.which == number).nonzero()[:, 0]
        local = passed.ended[chosen]
        taken = Taken(passed.t, passed.y, passed.h, step).of(local)
        share, here = passed.share[chosen], problem.at(local)
        found = refined(rules.events[number], rules.method, here, taken, share)
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
    states, ends = evaluated(rules, problem, passed, step)
    out.y[passed.rows[passed.local], passed.column] = states
    for local, t, y in ends:
        rows = passed.rows[local]
        out.event_t[rows], out.event_y[rows] = t, y
    out.event[passed.rows[passed.ended]] = passed.which
