"""Solve dy/dt = f(t, y, p) for many samples at once, differentiably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite
from idnn.ode.backsolve import Backsolved
from idnn.ode.control import Control
from idnn.ode.events import Event
from idnn.ode.gradient import Integrated, Run
from idnn.ode.integration import Outcome, Rules, integrate
from idnn.ode.methods import RODAS5P, Method
from idnn.ode.problem import Field, Problem, leaves
from idnn.ode.sensitivities import Sensitivities, sensitivities
from idnn.ode.solution import Solution, require_solved


def solve(
    f: Field,
    y0: Float[Tensor, "*#sample n"],
    times: Float[Tensor, "*#sample time"],
    parameters: Float[Tensor, "*#sample parameter"] | None = None,
    *,
    jacobian: Field | None = None,
    method: Method = RODAS5P,
    control: Control | None = None,
    events: Sequence[Event] = (),
    strict: bool = True,
    gradient: str = "discrete",
) -> Solution:
    """States at `times` of dy/dt = f(t, y) or f(t, y, p), from y₀ at the first of them.

    Samples take steps of their own and cost nothing once done. Gradients reach y₀, p and every
    tensor that f uses. They are those of the steps that were taken, whose lengths count as given
    (discrete sensitivities): exact for the numbers that are returned. Only the states at the start
    of steps are kept; a step is taken again when its gradient is.

    Args:
        f: the right-hand side; see `idnn.ode.problem.Field`.
        y0: one start, or one for each sample.
        times: increasing, the same for all samples or for each.
        parameters: p, the same for all samples or for each.
        jacobian: ∂f/∂y [*batch, n, n] of the same arguments, else by automatic differentiation.
        method: RODAS5P, RODAS4, KVAERNO5 and, for loose tolerances, ROSENBROCK23 are for
            stiff f, TSIT5 is not.
        control: tolerances and steps.
        events: the first to occur ends a sample.
        strict: raise when a sample fails; otherwise its `status` says so and its states are NaN.
        gradient: "discrete", as above, or "backsolve", which integrates y and its adjoint back in
            time instead of keeping steps: right to the tolerance only, by y₀ and p only, without
            events, and for explicit methods only. A stiff solution cannot be integrated back: what
            decayed forward grows, and an L-stable method damps it instead and returns a wrong
            gradient without any sign of it.

    Raises:
        ValueError: shapes do not fit, times do not increase, y₀ is not finite, f returns another
            shape than y's, or "backsolve" is asked for what it cannot do.
        NotSolved: of the first sample that failed, as `NotFinite`, `StepTooSmall`,
            `TooManySteps`.
    """
    if gradient not in ("discrete", "backsolve"):
        raise ValueError(f"`gradient` must be 'discrete' or 'backsolve'; it is {gradient!r}.")
    ready = _prepared(f, y0, times, parameters, jacobian, method, control, events)
    run = ready.run
    if gradient == "backsolve":
        _require_reversible(run)
        y = Backsolved.apply(run, ready.y0, run.problem.parameters)
        return _solution(run, replace(run.taken(), y=y), single=ready.single, strict=strict)
    y, event_t, event_y = Integrated.apply(run, ready.y0, run.problem.parameters, *run.used)
    out = replace(run.taken(), y=y, event_t=event_t, event_y=event_y)
    return _solution(run, out, single=ready.single, strict=strict)


def solve_with_sensitivities(
    f: Field,
    y0: Float[Tensor, "*#sample n"],
    times: Float[Tensor, "*#sample time"],
    parameters: Float[Tensor, "*#sample parameter"],
    *,
    jacobian: Field | None = None,
    method: Method = RODAS5P,
    control: Control | None = None,
    events: Sequence[Event] = (),
    strict: bool = True,
) -> tuple[Solution, Sensitivities]:
    """`solve`, and all derivatives by p at once, carried forward along the steps.

    For few parameters and many results, as in least squares; not differentiable again. The steps
    are those of `solve`, and so are the derivatives.

    Raises:
        ValueError, NotSolved: as `solve`.
    """
    ready = _prepared(f, y0, times, parameters, jacobian, method, control, events)
    run, single = ready.run, ready.single
    out = integrate(run.problem, ready.y0, run.times, run.rules, keep=True)
    solution = _solution(run, out, single=single, strict=strict)
    found = sensitivities(run.problem, run.rules, out)
    if single:
        found = Sensitivities(found.y[0], found.event_t[0], found.event_y[0])
    return solution, found


class _Ready(NamedTuple):
    run: Run
    y0: Float[Tensor, "sample n"]
    single: bool


def _prepared(
    f: Field,
    y0: Tensor,
    times: Tensor,
    parameters: Tensor | None,
    jacobian: Field | None,
    method: Method,
    control: Control | None,
    events: Sequence[Event],
) -> _Ready:
    """What was asked for, checked."""
    single = y0.ndim == 1 and times.ndim == 1 and (parameters is None or parameters.ndim == 1)
    y0, times, parameters = _batched(y0, times, parameters)
    _require_good(y0, times)
    rules = Rules(method, Control() if control is None else control, tuple(events))
    if isinstance(rules.control.atol, Tensor) and rules.control.atol.shape not in (
        (),
        y0.shape[1:],
    ):
        raise ValueError(
            f"`atol` must be one number or one for each of the {y0.shape[1]} components of y; its "
            f"shape is {tuple(rules.control.atol.shape)}."
        )
    problem = Problem(f, parameters, jacobian, autonomous=False)
    used, autonomous = _examined(problem, times[:, 0], y0)
    problem = Problem(f, parameters, jacobian, autonomous=autonomous)
    return _Ready(Run(problem, times, rules, used), y0, single)


def _solution(run: Run, out: Outcome, *, single: bool, strict: bool) -> Solution:
    control, stiff = run.rules.control, run.rules.method.stiff
    if strict:
        require_solved(out.status, out.t, control.max_steps, stiff=stiff)
    found = {
        field.name: getattr(out, field.name) for field in fields(out) if field.name != "passed"
    }
    found["times"] = run.times
    if single:
        found = {name: x[0] for name, x in found.items()}
    return Solution(**found, counts=run.problem.counts)


def _batched(
    y0: Tensor, times: Tensor, parameters: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All with an axis of samples."""
    given = {"y0": y0, "times": times, "parameters": parameters}
    counts = {name: len(x) for name, x in given.items() if x is not None and x.ndim > 1}
    samples = max(counts.values(), default=1)
    for name, x in given.items():
        if x is None:
            continue
        if x.ndim not in (1, 2) or x.shape[-1] == 0:
            raise ValueError(
                f"`{name}` must have one axis, or one of samples and another; its shape is "
                f"{tuple(x.shape)}."
            )
        if counts.get(name, samples) != samples:
            raise ValueError(
                f"`{name}` must be the same for all {samples} samples or given for each; it has "
                f"{len(x)} rows."
            )
    like = y0 if parameters is None else parameters
    if not y0.is_floating_point() or like.dtype != y0.dtype or like.device != y0.device:
        raise ValueError(
            "`y0` and `parameters` must be of one floating type on one device; they are "
            f"{y0.dtype} on {y0.device} and {like.dtype} on {like.device}."
        )
    times = times.to(y0).expand(samples, -1)
    p = None if parameters is None else parameters.expand(samples, -1)
    return y0.expand(samples, -1), times, p


def _require_good(y0: Tensor, times: Tensor) -> None:
    require_finite("y0", y0.detach())
    require_finite("times", times)
    if times.requires_grad:
        raise ValueError("`times` must not require a gradient: dy/dt there is f(t, y).")
    if times.shape[1] < 2 or not bool((times.diff(dim=1) > 0).all()):
        raise ValueError(
            "`times` must hold two or more, increasing; for times that decrease, solve for −t "
            f"with −f. They begin {times[0, :4].tolist()}."
        )


def _require_reversible(run: Run) -> None:
    """What can be integrated back in time."""
    if run.rules.method.stiff:
        raise ValueError(
            "`gradient` must be 'discrete' with a method for stiff problems; it is 'backsolve'. "
            "Back in time what decayed grows: on Robertson's problem an L-stable method integrates "
            "back from t = 1 to a state that is not the start, and so to a wrong gradient, without "
            "any sign of it. Use 'discrete', which is exact, or TSIT5 if the problem is not stiff."
        )
    if run.rules.events or run.used:
        what = "events" if run.rules.events else "tensors beside y and p in f, such as weights"
        raise ValueError(
            f"`gradient` must be 'discrete' with {what}; it is 'backsolve', whose gradients are by "
            "y₀ and p alone. Use 'discrete', or hand all in p and end at given times."
        )


def _examined(problem: Problem, t: Tensor, y: Tensor) -> tuple[list[Tensor], bool]:
    """Tensors that f uses and whose gradient is kept, and whether f is the same at all times."""
    p = problem.parameters
    problem = problem.of(None if p is None else p.detach())
    with torch.enable_grad():
        times = t.clone().requires_grad_()
        out = problem(times, y.detach())
        if out.shape != y.shape or out.dtype != y.dtype:
            raise ValueError(
                f"`f` must return dy/dt like y, {tuple(y.shape)} of {y.dtype}; it returned "
                f"{tuple(out.shape)} of {out.dtype}."
            )
    found = leaves(out)
    used = [leaf for leaf in found if leaf is not times]
    return used, len(used) == len(found)
