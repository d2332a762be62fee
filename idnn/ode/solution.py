"""What a solver returns, and what it raises."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from jaxtyping import Float, Int
from torch import Tensor

from idnn.ode.problem import Counts


class Status(IntEnum):
    """How the integration of a sample ended."""

    DONE = 0
    EVENT = 1
    NOT_FINITE = 2
    STEP_TOO_SMALL = 3
    TOO_MANY_STEPS = 4


class NotSolved(RuntimeError):
    """A sample did not come to its end.

    Attributes:
        t: where it stopped.
        sample: its number.
    """

    def __init__(self, message: str, t: float, sample: int) -> None:
        super().__init__(message)
        self.t, self.sample = t, sample


class NotFinite(NotSolved):
    """f or its derivatives are not finite however short the step."""


class StepTooSmall(NotSolved):
    """No step of a length that t resolves meets the tolerance."""


class TooManySteps(NotSolved):
    """More steps were tried than `max_steps`."""


@dataclass(frozen=True, eq=False)
class Solution:
    """States at the times asked for, differentiable if anything they depend on is.

    Attributes:
        times: as asked for.
        y: the states there; NaN beyond an event or a failure.
        t: where each sample ended.
        event: the number of the event that ended it, −1 where none did.
        event_t: when; NaN without an event.
        event_y: the state then.
        status: of each sample.
        steps: accepted, of each sample.
        rejected: steps of each sample.
        counts: of all samples together.
    """

    times: Float[Tensor, "*sample time"]
    y: Float[Tensor, "*sample time n"]
    t: Float[Tensor, "*sample"]
    event: Int[Tensor, "*sample"]
    event_t: Float[Tensor, "*sample"]
    event_y: Float[Tensor, "*sample n"]
    status: Int[Tensor, "*sample"]
    steps: Int[Tensor, "*sample"]
    rejected: Int[Tensor, "*sample"]
    counts: Counts


def require_solved(status: Tensor, t: Tensor, max_steps: int, *, stiff: bool) -> None:
    """Raise the error of the first sample that failed."""
    failed = (status > Status.EVENT).nonzero()
    if len(failed) == 0:
        return
    sample = int(failed[0])
    time, kind = float(t[sample]), Status(int(status[sample]))
    more = f" ({len(failed)} of {len(t)} samples failed)" if len(t) > 1 else ""
    where = f"sample {sample} at t = {time:.6g}{more}"
    if kind is Status.NOT_FINITE:
        raise NotFinite(
            f"`f`: not finite at {where}, however short the step. Look for divisions by zero, "
            "roots and logarithms of negative states, and overflow.",
            time,
            sample,
        )
    if kind is Status.STEP_TOO_SMALL:
        raise StepTooSmall(
            f"`rtol`, `atol`: no step that {where} resolves meets them. f may jump there (end the "
            "integration at the jump, by an event) or grow without bound, or the tolerance is "
            "below rounding: raise `atol` to what is small for each component.",
            time,
            sample,
        )
    remedy = "raise it, or loosen `rtol` and `atol`"
    if not stiff:
        remedy = "the problem may be stiff: use RODAS5P, or raise it"
    raise TooManySteps(
        f"`max_steps`: {max_steps} steps were tried by {where}; {remedy}.", time, sample
    )
