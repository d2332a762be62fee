"""Steps recorded as a CUDA graph: a GPU outruns a program that launches its work bit by bit."""

from typing import Protocol, runtime_checkable

import torch

from phasefield.grid import Grid
from phasefield.integrators import Attempt, Integrator, Point, Step

CELLS_TO_REPLAY = 2**22
"""Most cells of a grid whose steps are recorded. On larger ones launching takes no time beside the
work, and what a graph holds and copies counts."""

FIRST_USES = 2
"""Uses of a step before it is recorded: kernels are compiled in the first, and steps that end at
an output time have no other."""


@runtime_checkable
class Repeating(Protocol):
    """A problem whose evaluations may be recorded (see `GradientFlow.repeats`)."""

    @property
    def grid(self) -> Grid: ...

    @property
    def repeats(self) -> bool: ...


def can_replay(problem: object, integrator: Integrator) -> bool:
    """Whether a step may be recorded: explicit, on one GPU, the same whenever it is taken."""
    if integrator.two_steps or not isinstance(problem, Repeating):
        return False
    return problem.repeats and problem.grid.cells <= CELLS_TO_REPLAY


class Replayed:
    """A step that is recorded once it was used a few times; its numbers stay the same."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._uses = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, at: Point) -> Attempt:
        self._uses += 1
        if self._uses <= FIRST_USES:
            return self._step(at)
        if self._graph is None:
            self._record(at)
        assert self._graph is not None
        self._start.u_hat.copy_(at.u_hat)
        self._start.force_hat.copy_(at.force_hat)
        self._graph.replay()
        end = self._attempt.end
        return Attempt(
            self._attempt.u_hat.clone(),
            end._replace(force_hat=end.force_hat.clone()),
            self._attempt.error,
            self._attempt.evaluations,
        )

    def _record(self, at: Point) -> None:
        self._start = Point(at.time, at.u_hat.clone(), at.force_hat.clone())
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._attempt = self._step(self._start)
