"""How steps are chosen."""

import math
from dataclasses import dataclass

from idnn.checks import require_positive
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import Integrator, etdrk4


@dataclass(frozen=True, kw_only=True)
class StepControl:
    """How steps are chosen.

    Attributes:
        tolerance: largest error estimate of any field in any cell, per step.
        first_step: first step tried; rounded down to a power of two, as all steps are.
        largest_step: no step is longer.
        smallest_step: `StepTooSmall` is raised below it.
        fixed_step: every step is as long, except before output times; nothing is refused but what
            is not finite or raises the free energy, and then with an error. None: adaptive.
        integrator: the time step.
        large_steps: the integrator tried once steps do not grow any more (see `Handover`); None:
            none, nor where the model has no symmetric second derivative.
        steady: the run has come to rest when max |∂u/∂t| is below this (1/time); 0: never.
    """

    tolerance: float = 1e-3
    first_step: float = 2.0**-10
    largest_step: float = math.inf
    smallest_step: float = 2.0**-40
    fixed_step: float | None = None
    integrator: Integrator = etdrk4
    large_steps: Integrator | None = implicit_bdf2
    steady: float = 0.0

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance)
        require_positive("first_step", self.first_step)
        require_positive("smallest_step", self.smallest_step)
        if self.fixed_step is not None:
            require_positive("fixed_step", self.fixed_step)
        if not self.largest_step >= self.smallest_step:
            raise ValueError(
                f"`largest_step` must not be below `smallest_step` = {self.smallest_step:g}; "
                f"it is {self.largest_step:g}."
            )
        if not self.steady >= 0:
            raise ValueError(f"`steady` must not be negative; it is {self.steady:g}.")

    @property
    def begin(self) -> float:
        """The first step to try."""
        if self.fixed_step is not None:
            return self.fixed_step
        return 2.0 ** math.floor(math.log2(self.first_step))
