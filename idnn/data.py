"""Training data: derivatives of a free energy, each with its own standard error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_positive, require_shape


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Chemical potentials μ = ∂f/∂η (eV/site) at η with standard errors σ.

    Raises:
        ValueError: on a shape that does not match, on a NaN, or on σ that is not positive.
    """

    eta: Float[Tensor, "sample d"]
    mu: Float[Tensor, "sample d"]
    sigma: Float[Tensor, "sample d"]

    def __post_init__(self) -> None:
        require_shape("mu", self.mu, tuple(self.eta.shape))
        require_shape("sigma", self.sigma, tuple(self.eta.shape))
        require_finite("eta", self.eta)
        require_finite("mu", self.mu)
        require_positive("sigma", self.sigma)

    def __len__(self) -> int:
        return self.eta.shape[0]

    def with_floor(self, floor: float) -> Derivatives:
        """σ² → σ² + floor²: what the model is not asked to resolve."""
        return Derivatives(
            self.eta, self.mu, torch.hypot(self.sigma, torch.full_like(self.sigma, floor))
        )
