"""How long steps are: tolerances, the controller, and the first step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range, require_positive
from idnn.ode.problem import Problem

LOG_AIM = math.log(0.6)
"""Logarithm of the error over that allowed which the controller aims at."""

LOG_CHANGES = (math.log(0.2), math.log(8.0))
"""Logarithms of the least and greatest change of a step at once."""

LEAST, GREATEST = 1e-5, 1e8
"""Errors over those allowed between which the controller tells one from another."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """Steps whose estimated error has a root mean square of 1 over atol + rtol|y|.

    hₙ₊₁ = 0.9 hₙ eₙ^(−a/q) eₙ₋₁^(b/q), of each sample by itself (proportional and integral control:
    Gustafsson 1991, doi:10.1145/210232.210242; Hairer & Wanner 1996, IV.2).

    Attributes:
        rtol: relative error of every component in a step.
        atol: absolute error of all components, or of each.
        first_step: of every sample; estimated if None.
        integral: a.
        proportional: b.
        max_steps: tried, of every sample.
    """

    rtol: float = 1e-6
    atol: float | Float[Tensor, " n"] = 1e-9
    first_step: float | None = None
    integral: float = 1.1
    proportional: float = 0.2
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        require_in_range("rtol", self.rtol, 1e-14, 0.1)
        require_positive("atol", self.atol)
        if self.first_step is not None:
            require_positive("first_step", self.first_step)
        if self.max_steps < 1:
            raise ValueError(f"`max_steps` must be at least 1; it is {self.max_steps}.")

    def allowed(self, y: Float[Tensor, "row n"]) -> Float[Tensor, "row n"]:
        """Atol + rtol|y|."""
        if isinstance(self.atol, Tensor):
            return torch.add(self.atol.to(y), y.abs(), alpha=self.rtol)
        return (self.rtol * y.abs()).add_(self.atol)

    def change(
        self, logged: Float[Tensor, " row"], before: Float[Tensor, " row"], order: int
    ) -> Float[Tensor, " row"]:
        """Of the step, by `logarithm` of the error in this one and in that accepted before."""
        a, b = self.integral / order, self.proportional / order
        wanted = torch.add((a - b) * LOG_AIM - a * logged, before, alpha=b)
        return wanted.clamp(*LOG_CHANGES).exp()


def logarithm(error: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    """Of the error over that allowed, within bounds; one that is NaN counts as the greatest."""
    return error.nan_to_num(GREATEST).clamp(LEAST, GREATEST).log()


def first_step(
    control: Control, problem: Problem, t: Tensor, y: Tensor, span: Tensor, order: int
) -> Float[Tensor, " row"]:
    """By the sizes of y, f and the change of f along an explicit step of a hundredth of y/f.

    Hairer, Nørsett & Wanner (1993, doi:10.1007/978-3-540-78862-1, II.4).
    """
    if control.first_step is not None:
        return torch.full_like(t, control.first_step).minimum(span)
    allowed = control.allowed(y)
    slope = problem(t, y)
    size, speed = norm(y / allowed), norm(slope / allowed)
    small = (size < 1e-5) | (speed < 1e-5)
    h = torch.where(small, 1e-6 * span, 0.01 * size / speed).minimum(span)
    bend = norm((problem(t + h, y + h[:, None] * slope) - slope) / allowed) / h
    steepest = torch.maximum(speed, bend)
    by_bend = (0.01 / steepest) ** (1 / order)
    by_bend = torch.where(steepest <= 1e-15, (1e-3 * h).clamp_min(1e-6 * span), by_bend)
    found = torch.minimum(100 * h, by_bend).minimum(span)
    return torch.where(found > 0, found, 1e-6 * span)


def norm(x: Float[Tensor, "row n"]) -> Float[Tensor, " row"]:
    """√(mean of squares)."""
    return torch.linalg.vector_norm(x, dim=1) * x.shape[1] ** -0.5
