"""Adaptive steps: an error estimate, a free energy that must fall, a stabiliser that follows f."""

import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from phasefield.control import StepControl
from phasefield.grid import Grid
from phasefield.handover import Handover
from phasefield.implicit import Flow
from phasefield.integrators import (
    Attempt,
    Evaluation,
    Integrator,
    Point,
    Problem,
    Step,
    semi_implicit_euler,
)
from phasefield.models import Energy
from phasefield.replay import Replayed, can_replay
from phasefield.whereabouts import whereabouts

MEASURE_EVERY = 16
"""Accepted steps between two measurements of the curvature of f."""

COEFFICIENTS_KEPT = 3
"""Sets of integrator coefficients kept, each up to three times the size of the fields: of the
present step, of the longer or shorter one tried beside it, of one that ends at an output time."""

SAFETY = 0.7
"""A step is doubled when its error, scaled to twice dt, is below this share of the tolerance."""

LARGEST_CHANGE = 0.1
"""Where `steady` has the speed of the fields measured, a step grows only while they would change
by less in it."""

EQUAL_STEPS = 3
"""Of a formula over two steps, after a measurement or a refusal, before one of twice the length is
tried: what limits implicit steps, the time in which something grows, changes slowly."""

SLIVER = 1e-12
"""Relative slack within which a step ends exactly at the time asked for."""

_log = logging.getLogger(__name__)


class StepTooSmall(RuntimeError):
    """No step above the smallest one met the tolerance, or none lowered the free energy."""


@runtime_checkable
class Model(Problem, Protocol):
    """A problem with a free energy and a stabiliser S, which moves a part of F into L."""

    @property
    def fields(self) -> Sequence[Any]: ...

    @property
    def stabiliser(self) -> tuple[float, ...]: ...

    @property
    def fluctuates(self) -> bool: ...

    def force(self, u: Tensor, time: float, /) -> Tensor: ...

    def energy(self, u_hat: Tensor, at: Evaluation) -> Energy: ...

    def stabilised(self, u: Float[Tensor, "field *space"]) -> "Model": ...

    def with_stabiliser(self, stabiliser: tuple[float, ...]) -> "Model": ...

    def forget(self) -> None: ...


@dataclass(frozen=True, eq=False)
class State:
    """Everything the next step depends on, and what the steps so far have cost.

    Attributes:
        time: reduced time t.
        u_hat: transformed fields.
        force_hat: F(û) of the model with `stabiliser`.
        dt: next step to try; a power of two unless it is fixed.
        stabiliser: S of the model, eV/site.
        energy: free energy at t.
        u_old: transformed fields before the last step, where an integrator is one of two steps.
        force_old: F there.
        elapsed: length of the last step.
        handover: which integrator is at work.
        speed: max |∂u/∂t| when last measured, if `steady` asks for it; else NaN.
        steps: accepted steps.
        rejected_by_error: steps refused because of the error estimate.
        rejected_by_energy: steps refused because the free energy rose.
        evaluations: evaluations of ∂f/∂u on the whole grid, or products with ∂²f/∂u².
        unmeasured: accepted steps since the curvature of f was last measured.
    """

    time: float
    u_hat: Tensor
    force_hat: Tensor
    dt: float
    stabiliser: tuple[float, ...]
    energy: Energy
    u_old: Tensor | None = None
    force_old: Tensor | None = None
    elapsed: float = math.nan
    handover: Handover = field(default_factory=Handover)
    speed: float = math.nan
    steps: int = 0
    rejected_by_error: int = 0
    rejected_by_energy: int = 0
    evaluations: int = 1
    unmeasured: int = 0

    @property
    def point(self) -> Point:
        """Where the next step starts."""
        return Point(
            self.time, self.u_hat, self.force_hat, self.u_old, self.force_old, self.elapsed,
            self.steps,
        )  # fmt: skip


class Stepper:
    """Advances a `State` of `model`; holds nothing but caches of coefficients."""

    def __init__(self, model: Model, control: StepControl) -> None:
        if model.fluctuates and (control.fixed_step is None or not control.integrator.fluctuates):
            raise ValueError(
                "`noise` needs a `fixed_step` and the integrator exponential_euler: no error "
                f"estimate holds for it; they are {control.fixed_step} and "
                f"{control.integrator.name}."
            )
        self._control = control
        self._model = self._fitted = model
        large = control.large_steps if control.fixed_step is None else None
        self._large = large if isinstance(model, Flow) and model.symmetric else None
        self._rates: tuple[Model, Tensor, Tensor] | None = None
        self._cache: OrderedDict[tuple[str, tuple[float, ...], float], Step] = OrderedDict()

    def start(self, u: Float[Tensor, "field *space"], time: float = 0.0) -> State:
        """The state with fields `u` that begins a run."""
        model = self._model.stabilised(u)
        u_hat = model.grid.transform(u)
        found = model.evaluate(u_hat, time)
        if model.grid.total((~found.force_hat.isfinite()).sum()):
            where = self._whereabouts(u, self._model.force(u, time))
            raise ValueError(
                f"`u0`: at t = {time:g} fields lie outside the domain of the energy, where forces "
                f"are not finite: {where}. Keep them inside: less noise, other means."
            )
        return State(
            time=time,
            u_hat=u_hat,
            force_hat=found.force_hat,
            dt=self._control.begin,
            stabiliser=model.stabiliser,
            energy=model.energy(u_hat, found),
        )

    def changed(self, state: State, u: Float[Tensor, "field *space"]) -> State:
        """The state at the same time with other fields, put in by hand; counts go on."""
        new = self.start(u, state.time)
        return replace(
            new,
            steps=state.steps,
            rejected_by_error=state.rejected_by_error,
            rejected_by_energy=state.rejected_by_energy,
            evaluations=state.evaluations + new.evaluations,
        )

    def forget(self) -> None:
        """Make the next step independent of those before `state`, as of a run that is resumed."""
        self._model.forget()

    def is_steady(self, state: State) -> bool:
        """Whether the fields have come to rest."""
        return state.speed <= self._control.steady

    def advance(self, state: State, until: float) -> State:
        """One accepted step, ending at `until` at the latest.

        Raises:
            StepTooSmall: no step long enough was acceptable, or the fixed one was not.
        """
        grid = self._model.grid
        while True:
            integrator = self._integrator(state)
            longest = min(state.dt, self._control.largest_step)
            if integrator.two_steps and state.u_old is not None and not self._control.fixed_step:
                longest = min(longest, 2 * state.elapsed)
            dt = _towards(until - state.time, longest)
            attempt = self._step(integrator, state.stabiliser, dt)(state.point)
            energy = self._model.energy(attempt.u_hat, attempt.end)
            error = self._error(grid, attempt, energy)
            state = replace(state, evaluations=state.evaluations + attempt.evaluations)
            precise = error <= self._control.tolerance  # false for NaN
            falls = energy.total <= state.energy.total + energy.rounding  # false for NaN
            unknown = math.isnan(state.energy.total) or self._model.fluctuates
            if precise and (falls or unknown):
                time = until if until - state.time <= dt * (1 + SLIVER) else state.time + dt
                easy = error < SAFETY * self._control.tolerance / 2**integrator.error_order
                grows = easy and dt == state.dt and self._control.fixed_step is None
                # Far longer explicit steps than this hover about a state of rest.
                grows = grows and not 2 * dt * state.speed > LARGEST_CHANGE
                # A refusal is followed by a measurement.
                grows = grows and not (integrator.two_steps and state.unmeasured < EQUAL_STEPS)
                taken = self._taken(state, attempt, energy, dt, time)
                return self._accepted(replace(taken, dt=2 * dt if grows else state.dt))
            why = _objection(error, energy.total, precise=precise)
            _log.debug("t = %g: step %g refused, as %s", state.time, dt, why)
            state = self._refused(state, dt, why, precise=precise)

    def _error(self, grid: Grid, attempt: Attempt, energy: Energy) -> float:
        """Zero of a fixed step, if all is finite."""
        if self._control.fixed_step is None:
            return grid.largest(grid.inverse(attempt.error()))
        if math.isfinite(energy.total):  # a sum over all modes and cells
            return 0.0
        wrong = grid.total((~attempt.u_hat.isfinite()).sum())
        return math.nan if wrong else 0.0

    def _taken(
        self, state: State, attempt: Attempt, energy: Energy, dt: float, time: float
    ) -> State:
        two_steps = self._control.integrator.two_steps or self._large is not None
        return replace(
            state,
            time=time,
            u_hat=attempt.u_hat,
            force_hat=attempt.end.force_hat,
            u_old=state.u_hat if two_steps else None,
            force_old=state.force_hat if two_steps else None,
            elapsed=dt,
            energy=energy,
            steps=state.steps + 1,
            unmeasured=state.unmeasured + 1,
        )

    def _accepted(self, state: State) -> State:
        if self._large is not None:
            turn = state.handover.accepted(state.time, state.evaluations, state.dt)
            changed = turn.large != state.handover.large
            state = replace(state, handover=turn, dt=turn.dt if changed else state.dt)
        if self._control.steady > 0:
            state = replace(state, speed=self._speed(state))
        return state if state.unmeasured < MEASURE_EVERY else self._measured(state)

    def _speed(self, state: State) -> float:
        """Max |∂u/∂t|."""
        grid, model = self._model.grid, self._at(state.stabiliser)
        if self._rates is None or self._rates[0] is not model:
            linear, weight = grid.coefficients(model.linear), grid.coefficients(model.weight)
            self._rates = (model, linear, weight)
        _, linear, weight = self._rates
        change = grid.combine((linear, 1.0, state.u_hat), (weight, 1.0, state.force_hat))
        return grid.largest(grid.inverse(change))

    def _refused(self, state: State, dt: float, why: str, *, precise: bool) -> State:
        shorter = 2.0 ** (math.ceil(math.log2(dt)) - 1)
        if self._control.fixed_step is not None:
            raise StepTooSmall(
                f"At t = {state.time:g} the fixed step {dt:g} is not acceptable ({why}; "
                f"{self._trouble(state, dt)}); shorten it, or leave the choice of steps to "
                "the error estimate."
            )
        if shorter < self._control.smallest_step:
            raise StepTooSmall(
                f"At t = {state.time:g} no step down to {self._control.smallest_step:g} is "
                f"acceptable ({why}; {self._trouble(state, dt)}); try a finer grid, a larger "
                "`tolerance` or larger kappa."
            )
        state = replace(
            state,
            dt=shorter,
            rejected_by_error=state.rejected_by_error + (not precise),
            rejected_by_energy=state.rejected_by_energy + precise,
        )
        turn = state.handover.refused(state.time, state.evaluations, shorter)
        if turn.large != state.handover.large:
            state = replace(state, handover=turn, dt=turn.dt)
        return self._measured(state)

    def _trouble(self, state: State, dt: float) -> str:
        """Where the fields of `state` stand, and the worst cell after a step of the simplest kind.

        Of that, unlike of steps in stages, every cell is finite before forces are evaluated.
        """
        grid = self._model.grid
        tried = self._step(semi_implicit_euler, state.stabiliser, dt)(state.point).u_hat
        force = self._model.force(grid.inverse(tried), state.time + dt)
        return self._whereabouts(grid.inverse(state.u_hat), force)

    def _whereabouts(self, u: Tensor, force: Tensor) -> str:
        names = [getattr(field, "name", field) for field in self._model.fields]
        return whereabouts(self._model.grid, names, u, force)

    def _measured(self, state: State) -> State:
        """S fitted to the present state; a new S costs an evaluation for every F kept."""
        grid, model = self._model.grid, self._at(state.stabiliser)
        state = replace(state, unmeasured=0)
        model = model.stabilised(grid.inverse(state.u_hat))
        if model.stabiliser == state.stabiliser:
            return state
        force_hat = model.evaluate(state.u_hat, state.time).force_hat
        force_old, evaluations = None, state.evaluations + 1
        if state.u_old is not None:
            force_old = model.evaluate(state.u_old, state.time - state.elapsed).force_hat
            evaluations += 1
        return replace(
            state,
            force_hat=force_hat,
            force_old=force_old,
            stabiliser=model.stabiliser,
            evaluations=evaluations,
        )

    def _integrator(self, state: State) -> Integrator:
        return self._large if self._large and state.handover.large else self._control.integrator

    def _at(self, stabiliser: tuple[float, ...]) -> Model:
        if self._fitted.stabiliser != stabiliser:
            self._fitted = self._model.with_stabiliser(stabiliser)
        return self._fitted

    def _step(self, integrator: Integrator, stabiliser: tuple[float, ...], dt: float) -> Step:
        key = (integrator.name, stabiliser, dt)
        if key not in self._cache:
            model = self._at(stabiliser)
            step = integrator.prepare(model, dt)
            self._cache[key] = Replayed(step) if can_replay(model, integrator) else step
        self._cache.move_to_end(key)
        if len(self._cache) > COEFFICIENTS_KEPT:
            self._cache.popitem(last=False)
        return self._cache[key]


def _objection(error: float, energy: float, *, precise: bool) -> str:
    """What is wrong with a step."""
    if math.isnan(error) or (precise and math.isnan(energy)):
        return "the fields leave the domain of the energy or are not finite"
    return "the free energy rises" if precise else f"the error estimate is {error:.3g}"


def _towards(left: float, dt: float) -> float:
    """The step that leaves no sliver before the next stop: `dt`, half of what is left, or all."""
    if left <= dt * (1 + SLIVER):
        return left
    return left / 2 if left < 2 * dt else dt
