"""When to hand over from accurate explicit steps to long implicit ones, and back."""

from dataclasses import dataclass, replace

WINDOW = 32
"""Accepted explicit steps over which their pace is taken."""

TRIAL = 8
"""Accepted implicit steps over which theirs is."""

LONGEST_WAIT = 8
"""Most windows between two trials that failed."""

HOPELESS = 8.0
"""A trial ends at once if an implicit step must be shorter than the explicit one by this factor."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """Which integrator is at work, and how far it gets for an evaluation.

    Explicit steps are kept as long as they grow. Once they do not, implicit ones are tried; the
    integrator that advances further per evaluation goes on. A trial that fails is repeated after
    twice as many windows as the last. Counts decide, not clocks: a run repeats itself to the bit.

    Attributes:
        large: whether implicit steps are at work.
        steps: accepted ones of the present window.
        time: when the window began.
        work: evaluations up to then.
        dt: next step then.
        other_dt: next step of the other integrator.
        other_pace: time per evaluation of the other when it was last at work.
        wait: windows until the next trial.
        patience: windows to wait if that fails.
    """

    large: bool = False
    steps: int = 0
    time: float = 0.0
    work: int = 0
    dt: float = 0.0
    other_dt: float = 0.0
    other_pace: float = 0.0
    wait: int = 0
    patience: int = 1

    def accepted(self, time: float, work: int, dt: float) -> "Handover":
        """After an accepted step: perhaps the other integrator's turn."""
        now = replace(self, steps=self.steps + 1)
        pace = (time - self.time) / max(work - self.work, 1)
        if now.steps < (TRIAL if self.large else WINDOW):
            slow = self.large and now.steps >= TRIAL // 2 and pace < self.other_pace / 4
            return now.back(time, work) if slow else now
        window = replace(now, steps=0, time=time, work=work, dt=dt)
        if self.large:
            return window if pace >= self.other_pace else window.back(time, work)
        if dt > self.dt:
            return window
        if self.wait > 0:
            return replace(window, wait=self.wait - 1)
        return replace(window, large=True, dt=2 * dt, other_dt=dt, other_pace=pace)

    def refused(self, time: float, work: int, dt: float) -> "Handover":
        """After a step that must be repeated with dt."""
        return self.back(time, work) if self.large and dt * HOPELESS < self.other_dt else self

    def back(self, time: float, work: int) -> "Handover":
        """To explicit steps, for at least `patience` windows."""
        return replace(
            self, large=False, steps=0, time=time, work=work, dt=self.other_dt, wait=self.patience,
            patience=min(2 * self.patience, LONGEST_WAIT),
        )  # fmt: skip
