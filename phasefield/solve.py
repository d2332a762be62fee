"""The run loop: from an initial state through the output times, recording as it goes."""

import itertools
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite
from idnn.runtime import subnormal_numbers_as_zero
from phasefield.adaptive import Model, State, StepControl, Stepper
from phasefield.grid import Grid
from phasefield.observe import Observation, observe

Observer = Callable[[Observation], None]


@dataclass(frozen=True, eq=False)
class Event:
    """Fields changed by hand at a time after 0, as by a nucleus put in.

    Attributes:
        time: when; it becomes an output time, recorded after the change.
        change: the new fields from those reached.
    """

    time: float
    change: Callable[[Float[Tensor, "field *space"]], Float[Tensor, "field *space"]]


@dataclass(frozen=True, eq=False)
class Record:
    """What is kept at an output time: the state, all steps since the last one, the time spent."""

    state: State
    u: Float[Tensor, "field *space"]
    observations: tuple[Observation, ...]
    wall_s: float


@runtime_checkable
class Recorder(Protocol):
    """Keeps records; `restore` gives the last one kept, or None at the start of a run."""

    def restore(self) -> Record | None: ...

    def append(self, record: Record) -> None: ...


class InMemory:
    """Keeps every record in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def restore(self) -> Record | None:
        """The last record, if any."""
        return self.records[-1] if self.records else None

    def append(self, record: Record) -> None:
        """Keep `record`."""
        self.records.append(record)


@dataclass(frozen=True, eq=False)
class Solution:
    """The end of a run.

    Attributes:
        u: fields at `time`.
        time: reduced time reached.
        state: the last state with its counts of steps and evaluations.
        wall_s: seconds spent, over all resumed parts.
        control: how steps were chosen.
    """

    u: Float[Tensor, "field *space"]
    time: float
    state: State
    wall_s: float
    control: StepControl


def solve(
    model: Model,
    u0: Float[Tensor, "field *space"],
    times: Sequence[float],
    *,
    control: StepControl | None = None,
    recorder: Recorder | None = None,
    observers: Sequence[Observer] = (),
    events: Sequence[Event] = (),
) -> Solution:
    """Integrate `model` from `u0` at t = 0 through the output `times`.

    A recorder that holds records already is continued from the last of them, with the same bits
    as a run without interruption.

    Args:
        model: the equations.
        u0: fields at t = 0.
        times: increasing output times; each is met exactly and recorded, as is t = 0. If the
            fields come to rest before (see `StepControl.steady`), that moment is the last recorded.
        control: how steps are chosen.
        recorder: keeps fields and observations; in memory if None. `measurement.measure` tells
            phases, interfaces and particles of the fields it keeps.
        observers: called with each accepted step.
        events: changes by hand, those of one time in the order given. Rest ends no run before them.

    Raises:
        ValueError: `u0`, `times` or `events` are unusable.
        StepTooSmall: no acceptable step was found.
    """
    control, recorder = control or StepControl(), recorder or InMemory()
    with model.grid.team.together():
        _check(model, u0, times, events)
    began = clock.perf_counter()
    with torch.no_grad(), subnormal_numbers_as_zero():
        stepper = Stepper(model, control)
        record = recorder.restore()
        if record is None:
            state = stepper.start(u0)
            first = (observe(model.grid, state),)
            record = Record(state, u0, first, clock.perf_counter() - began)
            recorder.append(record)
        began -= record.wall_s
        last = max((event.time for event in events), default=0.0)
        for time in sorted({*times, *(event.time for event in events)}):
            at_rest = stepper.is_steady(record.state) and last <= record.state.time
            if time > record.state.time and not at_rest:
                stop = last < time
                state, observations = _advance(
                    stepper, record.state, time, model.grid, observers, stop_at_rest=stop
                )
                u = model.grid.inverse(state.u_hat)
                for event in events:
                    if event.time == time == state.time:
                        u = event.change(u)
                        state = stepper.changed(state, u)
                record = Record(state, u, observations, clock.perf_counter() - began)
                recorder.append(record)
                stepper.forget()
    return Solution(record.u, record.state.time, record.state, record.wall_s, control)


def _advance(
    stepper: Stepper,
    state: State,
    until: float,
    grid: Grid,
    observers: Sequence[Observer],
    *,
    stop_at_rest: bool,
) -> tuple[State, tuple[Observation, ...]]:
    observations = []
    while state.time < until and not (stop_at_rest and stepper.is_steady(state)):
        state = stepper.advance(state, until)
        observations.append(observe(grid, state))
        for observer in observers:
            observer(observations[-1])
    return state, tuple(observations)


def _check(model: Model, u0: Tensor, times: Sequence[float], events: Sequence[Event]) -> None:
    wanted = (len(model.fields), *model.grid.slabs.local_shape)
    if u0.shape != wanted:
        raise ValueError(f"`u0` must have shape {wanted}; it has {tuple(u0.shape)}.")
    require_finite("u0", u0)
    require_finite("times", torch.tensor(times, dtype=torch.float64))
    if not times or any(b <= a for a, b in itertools.pairwise([0.0, *times])):
        raise ValueError(f"`times` must be positive and increase; they are {list(times)[:5]}.")
    for event in events:
        if not 0 < event.time <= times[-1]:
            raise ValueError(
                f"`events` must lie after 0 and not after the last of `times`, {times[-1]:g}; one "
                f"is at {event.time:g}."
            )
