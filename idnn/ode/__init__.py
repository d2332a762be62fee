"""Batched, differentiable solvers of ordinary differential equations, stiff ones first."""

from idnn.ode.control import Control
from idnn.ode.events import Event
from idnn.ode.methods import KVAERNO5, RODAS4, RODAS5P, ROSENBROCK23, TSIT5, Method
from idnn.ode.sensitivities import Sensitivities
from idnn.ode.solution import (
    NotFinite,
    NotSolved,
    Solution,
    Status,
    StepTooSmall,
    TooManySteps,
)
from idnn.ode.solve import solve, solve_with_sensitivities

__all__ = [
    "KVAERNO5",
    "RODAS4",
    "RODAS5P",
    "ROSENBROCK23",
    "TSIT5",
    "Control",
    "Event",
    "Method",
    "NotFinite",
    "NotSolved",
    "Sensitivities",
    "Solution",
    "Status",
    "StepTooSmall",
    "TooManySteps",
    "solve",
    "solve_with_sensitivities",
]
