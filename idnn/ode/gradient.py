"""Gradients of what a solver returns: its steps once more, last to first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.ode.integration import Outcome, Passed, Rules, integrate, retaken
from idnn.ode.problem import Problem


@dataclass(eq=False)
class Run:
    """An integration to be done, what f uses beside p, and what came of it."""

    problem: Problem
    times: Float[Tensor, "sample time"]
    rules: Rules
    used: list[Tensor]
    outcome: Outcome | None = None

    def taken(self) -> Outcome:
        """The outcome, forgotten here: by their graph its states lead back to it, in a cycle."""
        out, self.outcome = self.outcome, None
        assert out is not None
        return out


class Integrated(torch.autograd.Function):
    """(run, y₀, p, what f uses) → states at the times, times of events, states then."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        run: Run,
        y0: Tensor,
        parameters: Tensor | None,
        *used: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        problem = run.problem.of(parameters)
        out = integrate(problem, y0, run.times, run.rules, keep=any(ctx.needs_input_grad))
        ctx.save_for_backward(*used)
        ctx.run, ctx.problem, ctx.passed = run, problem, out.passed
        run.outcome = replace(out, passed=[])
        return out.y, out.event_t, out.event_y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, y: Tensor, event_t: Tensor, event_y: Tensor) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        assert len(ctx.saved_tensors) == len(ctx.run.used)  # raises if one was changed since
        p = ctx.problem.parameters if ctx.needs_input_grad[2] else None
        along = torch.zeros_like(y[:, 0])
        own = None if p is None else torch.zeros_like(p)
        shared = [torch.zeros_like(each) for each in ctx.run.used]
        for passed in reversed(ctx.passed):
            passed = passed.of(_asked_for(passed, along, y, event_t, event_y))
            rows = passed.rows
            if len(rows) == 0:
                continue
            parts = (along[rows], y[rows[passed.local], passed.column], event_t, event_y)
            here, *found = _pulled(ctx.run, ctx.problem.at(rows), passed, parts, by_p=p is not None)
            along[rows] = here
            if own is not None:
                own[rows] += found.pop(0)
            for total, each in zip(shared, found, strict=True):
                total += each
        return None, along + y[:, 0], own, *shared


def _asked_for(
    passed: Passed, along: Tensor, y: Tensor, event_t: Tensor, event_y: Tensor
) -> Bool[Tensor, " row"]:
    """Steps that a gradient comes to; others, as before a failure, may have none that is finite."""
    rows = passed.rows
    wanted = along[rows].any(1)
    wanted[passed.local[y[rows[passed.local], passed.column].any(1)]] = True
    ended = rows[passed.ended]
    wanted[passed.ended[event_y[ended].any(1) | (event_t[ended] != 0)]] = True
    return wanted


def _pulled(
    run: Run, problem: Problem, passed: Passed, parts: tuple[Tensor, ...], *, by_p: bool
) -> tuple[Tensor, ...]:
    """Gradients by the states at the start of steps, by p if wanted, and by all that f uses."""
    along, inside, event_t, event_y = parts
    with torch.enable_grad():
        start = passed.y.detach().requires_grad_()
        inputs = [start]
        if by_p:
            assert problem.parameters is not None
            inputs.append(problem.parameters.detach().requires_grad_())
            problem = problem.of(inputs[1])
        step, states, ends = retaken(run.rules, problem, replace(passed, y=start))
        found = [(step.y, along), (states, inside)]
        for local, t, y in ends:
            rows = passed.rows[local]
            found += [(t, event_t[rows]), (y, event_y[rows])]
        found = [pair for pair in found if pair[0].requires_grad]  # a time may depend on nothing
        return torch.autograd.grad(
            [output for output, _ in found],
            [*inputs, *run.used],
            [weight for _, weight in found],
            retain_graph=True,  # what f uses may have been computed before, once for all steps
            allow_unused=True,
            materialize_grads=True,
        )
