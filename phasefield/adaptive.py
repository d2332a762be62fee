"""Adaptive steps: an error estimate, a free energy that must fall, a stabiliser that follows f."""

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from phasefield.integrators import Evaluation, Integrator, Point, Step, etdrk4
from phasefield.models import Energy, GradientFlow

MEASURE_EVERY = 16
"""Accepted steps between two measurements of the curvature of f."""

COEFFICIENTS_KEPT = 6
"""Sets of integrator coefficients kept; each is a few times the size of the fields."""

SAFETY = 0.7
"""A step is doubled when its error, scaled to twice dt, is below this share of the tolerance."""

SLIVER = 1e-12
"""Relative slack within which a step ends exactly at the time asked for."""

_log = logging.getLogger(__name__)


class StepTooSmall(RuntimeError):
    """No step above the smallest one met the tolerance, or none lowered the free energy."""


@dataclass(frozen=True, kw_only=True)
class StepControl:
    """How steps are chosen.

    Attributes:
        tolerance: largest error estimate of any field in any cell, per step.
        first_step: first step tried; rounded down to a power of two, as all steps are.
        largest_step: no step is longer.
        smallest_step: `StepTooSmall` is raised below it.
        integrator: the time step.
    """

    tolerance: float = 1e-3
    first_step: float = 2.0**-10
    largest_step: float = math.inf
    smallest_step: float = 2.0**-40
    integrator: Integrator = etdrk4

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance)
        require_positive("first_step", self.first_step)
        require_positive("smallest_step", self.smallest_step)
        if not self.largest_step >= self.smallest_step:
            raise ValueError(
                f"`largest_step` must not be below `smallest_step` = {self.smallest_step:g}; "
                f"it is {self.largest_step:g}."
            )


@dataclass(frozen=True, eq=False)
class State:
    """Everything the next step depends on, and what the steps so far have cost.

    Attributes:
        time: reduced time t.
        u_hat: transformed fields.
        force_hat: F(û) of the model with `stabiliser`.
        dt: next step to try, a power of two.
        stabiliser: S of the model, eV/site.
        energy: F at t.
        u_old: transformed fields before the last step, where the integrator is one of two steps.
        force_old: F there.
        elapsed: length of the last step.
        steps: accepted steps.
        rejected_by_error: steps refused because of the error estimate.
        rejected_by_energy: steps refused because F rose.
        evaluations: evaluations of ∂f/∂u on the whole grid.
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
    steps: int = 0
    rejected_by_error: int = 0
    rejected_by_energy: int = 0
    evaluations: int = 1
    unmeasured: int = 0

    @property
    def point(self) -> Point:
        """Where the next step starts."""
        return Point(
            self.time, self.u_hat, self.force_hat, self.u_old, self.force_old, self.elapsed
        )


class Stepper:
    """Advances a `State` of `model`; holds nothing but caches of coefficients."""

    def __init__(self, model: GradientFlow, control: StepControl) -> None:
        self._control = control
        self._model = self._fitted = model
        self._cache: OrderedDict[tuple[tuple[float, ...], float], Step] = OrderedDict()

    def start(self, u: Float[Tensor, "field *space"]) -> State:
        """The state at t = 0."""
        model = self._model.stabilised(u)
        u_hat = model.grid.transform(u)
        found = model.evaluate(u_hat, 0.0)
        return State(
            time=0.0,
            u_hat=u_hat,
            force_hat=found.force_hat,
            dt=2.0 ** math.floor(math.log2(self._control.first_step)),
            stabiliser=model.stabiliser,
            energy=model.energy(u_hat, found),
        )

    def advance(self, state: State, until: float) -> State:
        """One accepted step, ending at `until` at the latest.

        Raises:
            StepTooSmall: no step long enough was acceptable.
        """
        grid = self._model.grid
        while True:
            dt = _towards(until - state.time, min(state.dt, self._control.largest_step))
            attempt = self._step(state.stabiliser, dt)(state.point)
            state = replace(state, evaluations=state.evaluations + attempt.evaluations)
            error = grid.largest(grid.inverse(attempt.error()))
            precise = error <= self._control.tolerance  # false for NaN
            energy = self._model.energy(attempt.u_hat, attempt.end)
            rises = energy.total > state.energy.total + energy.rounding
            if precise and not rises:
                time = until if until - state.time <= dt * (1 + SLIVER) else state.time + dt
                return self._accept(state, attempt.u_hat, attempt.end, energy, error, dt, time)
            state = self._reject(state, dt, error, precise)

    def _accept(
        self, state: State, u_hat: Tensor, end: Evaluation, energy: Energy, error: float,
        dt: float, time: float,
    ) -> State:  # fmt: skip
        integrator = self._control.integrator
        easy = error < SAFETY * self._control.tolerance / 2**integrator.error_order
        state = replace(
            state,
            time=time,
            u_hat=u_hat,
            force_hat=end.force_hat,
            u_old=state.u_hat if integrator.two_steps else None,
            force_old=state.force_hat if integrator.two_steps else None,
            elapsed=dt,
            energy=energy,
            dt=2 * dt if easy and dt == state.dt else state.dt,
            steps=state.steps + 1,
            unmeasured=state.unmeasured + 1,
        )
        return state if state.unmeasured < MEASURE_EVERY else self._measure(state)

    def _reject(self, state: State, dt: float, error: float, precise: bool) -> State:
        shorter = 2.0 ** (math.ceil(math.log2(dt)) - 1)
        if shorter < self._control.smallest_step:
            why = "the free energy rises" if precise else f"the error estimate is {error:.3g}"
            raise StepTooSmall(
                f"At t = {state.time:g} no step down to {self._control.smallest_step:g} is "
                f"acceptable ({why}); try a finer grid, a larger `tolerance` or larger kappa."
            )
        _log.debug("t = %g: step %g refused, error %g", state.time, dt, error)
        return self._measure(
            replace(
                state,
                dt=shorter,
                rejected_by_error=state.rejected_by_error + (not precise),
                rejected_by_energy=state.rejected_by_energy + precise,
            )
        )

    def _measure(self, state: State) -> State:
        """S fitted to the present state; a new S costs an evaluation for every F kept."""
        state = replace(state, unmeasured=0)
        model = self._at(state.stabiliser).stabilised(self._model.grid.inverse(state.u_hat))
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

    def _at(self, stabiliser: tuple[float, ...]) -> GradientFlow:
        if self._fitted.stabiliser != stabiliser:
            self._fitted = replace(self._model, stabiliser=stabiliser)
        return self._fitted

    def _step(self, stabiliser: tuple[float, ...], dt: float) -> Step:
        key = (stabiliser, dt)
        if key not in self._cache:
            self._cache[key] = self._control.integrator.prepare(self._at(stabiliser), dt)
        self._cache.move_to_end(key)
        if len(self._cache) > COEFFICIENTS_KEPT:
            self._cache.popitem(last=False)
        return self._cache[key]


def _towards(left: float, dt: float) -> float:
    """The step that leaves no sliver before the next stop: `dt`, half of what is left, or all."""
    if left <= dt * (1 + SLIVER):
        return left
    return left / 2 if left < 2 * dt else dt
