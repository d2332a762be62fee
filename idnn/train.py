"""The training core: the only optimiser loop of `idnn`, and the loss for derivative data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.data import Derivatives
from idnn.network import IntegrableNetwork

Loss = Callable[[Any, Any], Tensor]
"""loss(model, batch) → scalar."""


class NotTrained(RuntimeError):
    """The loss stopped being finite."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """L-BFGS with strong Wolfe line search over the full batch.

    Attributes:
        iterations: at most so many.
        history: curvature pairs kept.
        weight_decay: w of the penalty w Σθ² added to the loss.
        tolerance: stop when the loss fell by less than this fraction over 50 iterations.
    """

    iterations: int = 600
    history: int = 50
    weight_decay: float = 1e-6
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.history < 1:
            raise ValueError(
                f"`iterations` and `history` must be at least 1; "
                f"they are {self.iterations} and {self.history}."
            )
        if not (self.weight_decay >= 0 and self.tolerance >= 0):
            raise ValueError(
                f"`weight_decay` and `tolerance` must not be negative; "
                f"they are {self.weight_decay:g} and {self.tolerance:g}."
            )


@dataclass(frozen=True)
class FitResult:
    """The loss after every chunk of iterations, and how often it was evaluated."""

    settings: FitSettings
    losses: list[float] = field(default_factory=list)
    evaluations: int = 0


def fit(model: nn.Module, loss: Loss, batch: object, settings: FitSettings) -> FitResult:
    """Minimise loss(model, batch) + w Σθ² over the parameters θ; trains `model` in place.

    Limited-memory BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116): these networks are small
    and the data smooth, so second-order steps on the whole batch are the short way.

    Raises:
        NotTrained: when the loss is not finite.
    """
    chunk = 50
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=chunk,
        history_size=settings.history,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimiser.zero_grad()
        decay = torch.stack([p.square().sum() for p in parameters]).sum()
        value = loss(model, batch) + settings.weight_decay * decay
        value.backward()
        return value

    losses: list[float] = []
    for done in range(0, settings.iterations, chunk):
        optimiser.param_groups[0]["max_iter"] = min(chunk, settings.iterations - done)
        optimiser.step(closure)
        losses.append(float(closure().detach()))
        if not torch.isfinite(torch.tensor(losses[-1])):
            raise NotTrained(
                f"The loss is {losses[-1]} after {len(losses) * chunk} iterations; "
                "look for outliers in the data or raise `weight_decay`."
            )
        if len(losses) > 1 and losses[-2] - losses[-1] < settings.tolerance * losses[-2]:
            break
    return FitResult(settings, losses, evaluations)


@dataclass(frozen=True, eq=False)
class DerivativeBatch:
    """Derivatives along the data's directions, all that does not depend on the weights done."""

    h: Float[Tensor, "sample invariant"]
    jacobian: Float[Tensor, "sample invariant d"]
    residual: Float[Tensor, "sample d"]
    weight: Float[Tensor, "sample d"]


def prepare(model: IntegrableNetwork, data: Derivatives) -> DerivativeBatch:
    """Invariants, ∂h/∂η, and μ less the reference's share, both along the data's directions."""
    eta = data.eta.detach().requires_grad_()
    h = model.system.invariants(eta)
    columns = [
        torch.autograd.grad(h[:, k].sum(), eta, retain_graph=True)[0] for k in range(h.shape[1])
    ]
    residual = data.along(data.mu - model.reference.gradient(data.eta))
    jacobian = data.along(torch.stack(columns, 1))
    return DerivativeBatch(h.detach(), jacobian, residual.detach(), 1 / data.sigma)


OUTLIER = 3.0
"""Residuals beyond so many σ count linearly (Huber 1964, doi:10.1214/aoms/1177703732)."""


def derivative_loss(model: IntegrableNetwork, batch: DerivativeBatch) -> Float[Tensor, ""]:
    """⟨ρ((∂f/∂η − μ)/σ)⟩ over samples and components, summed over members.

    ρ is Huber's function, ½r² up to |r| = `OUTLIER` and linear beyond: where a box separates into
    domains its μ has kinks, which must not bend a smooth f elsewhere.
    """
    error = (model.excess_gradients(batch.h, batch.jacobian) - batch.residual) * batch.weight
    inside = error.abs().clamp_max(OUTLIER)
    return (inside * (error.abs() - 0.5 * inside)).mean((-1, -2)).sum()
