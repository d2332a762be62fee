"""Training data: derivatives of a free energy, each with its own standard error."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_in_range, require_positive, require_shape


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Chemical potentials μ = ∂f/∂η (eV/site) at η, with the standard errors of some directions.

    Where one sublattice is nearly empty its share of every μᵢ is uncertain, and the rest of it may
    be known well: the errors of the derivatives along sublattice fractions are independent, those
    of the μᵢ are not.

    Attributes:
        eta: order parameters.
        mu: μ at each.
        sigma: standard error of vᵀμ for each unit vector v of `directions`.
        directions: columns v along which errors are independent; the axes of η if not given.

    Raises:
        ValueError: on a shape that does not match, on a NaN, on σ that is not positive, or on
            directions that are not unit vectors.
    """

    eta: Float[Tensor, "sample d"]
    mu: Float[Tensor, "sample d"]
    sigma: Float[Tensor, "sample d"]
    directions: Float[Tensor, "d d"] | None = None

    def __post_init__(self) -> None:
        require_shape("mu", self.mu, tuple(self.eta.shape))
        require_shape("sigma", self.sigma, tuple(self.eta.shape))
        require_finite("eta", self.eta)
        require_finite("mu", self.mu)
        require_positive("sigma", self.sigma)
        if self.directions is not None:
            require_in_range("|directions|", self.directions.norm(dim=0), 1 - 1e-12, 1 + 1e-12)

    def __len__(self) -> int:
        return self.eta.shape[0]

    def with_floor(self, floor: float) -> Derivatives:
        """σ² → σ² + floor²: what the model is not asked to resolve."""
        sigma = torch.hypot(self.sigma, torch.full_like(self.sigma, floor))
        return replace(self, sigma=sigma)

    def along(self, mu: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """vᵀμ for each direction v."""
        return mu if self.directions is None else mu @ self.directions

    def perturbed(self, noise: Float[Tensor, "sample d"]) -> Derivatives:
        """The same with every vᵀμ moved by so many of its σ."""
        step = self.sigma * noise
        if self.directions is not None:
            step = torch.linalg.solve(self.directions.T, step.T).T
        return replace(self, mu=self.mu + step)
