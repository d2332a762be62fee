"""Training data: derivatives of a free energy, values and energies, each with its own error."""

from __future__ import annotations

from collections.abc import Sequence
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
        temperature: K, of each; that of the network if not given.

    Raises:
        ValueError: on a shape that does not match, on a NaN, on σ or temperatures that are not
            positive, or on directions that are not unit vectors.
    """

    eta: Float[Tensor, "sample d"]
    mu: Float[Tensor, "sample d"]
    sigma: Float[Tensor, "sample d"]
    directions: Float[Tensor, "d d"] | None = None
    temperature: Float[Tensor, " sample"] | None = None

    def __post_init__(self) -> None:
        require_shape("mu", self.mu, tuple(self.eta.shape))
        require_shape("sigma", self.sigma, tuple(self.eta.shape))
        require_finite("eta", self.eta)
        require_finite("mu", self.mu)
        require_positive("sigma", self.sigma)
        if self.directions is not None:
            require_in_range("|directions|", self.directions.norm(dim=0), 1 - 1e-12, 1 + 1e-12)
        _require_temperature(self.temperature, len(self))

    def __len__(self) -> int:
        return self.eta.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Derivatives:
        kelvin = None if self.temperature is None else self.temperature[rows]
        return replace(
            self, eta=self.eta[rows], mu=self.mu[rows], sigma=self.sigma[rows], temperature=kelvin
        )

    def with_floor(self, floor: float) -> Derivatives:
        """σ² → σ² + floor²: what the model is not asked to resolve."""
        sigma = torch.hypot(self.sigma, torch.full_like(self.sigma, floor))
        return replace(self, sigma=sigma)

    def along(self, mu: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """vᵀμ for each direction v."""
        return mu if self.directions is None else mu @ self.directions


@dataclass(frozen=True, eq=False)
class Hessians:
    """∂²f/∂η² (eV/site) at η, with the standard error of every component.

    Raises:
        ValueError: as `Derivatives`, and on a matrix that is not symmetric.
    """

    eta: Float[Tensor, "sample d"]
    hessian: Float[Tensor, "sample d d"]
    sigma: Float[Tensor, "sample d d"]
    temperature: Float[Tensor, " sample"] | None = None

    def __post_init__(self) -> None:
        shape = (*self.eta.shape, self.eta.shape[-1])
        require_shape("hessian", self.hessian, shape)
        require_shape("sigma", self.sigma, shape)
        require_finite("eta", self.eta)
        require_finite("hessian", self.hessian)
        require_positive("sigma", self.sigma)
        skew = (self.hessian - self.hessian.mT).abs()
        require_in_range("|hessian - its transpose| / sigma", skew / self.sigma, 0, 1e-6)
        _require_temperature(self.temperature, len(self))

    def __len__(self) -> int:
        return self.eta.shape[0]


@dataclass(frozen=True, eq=False)
class _Scalars:
    """One number at each η, with its standard error; abstract."""

    eta: Float[Tensor, "sample d"]
    value: Float[Tensor, " sample"]
    sigma: Float[Tensor, " sample"]
    temperature: Float[Tensor, " sample"] | None = None

    def __post_init__(self) -> None:
        require_shape("value", self.value, (len(self),))
        require_shape("sigma", self.sigma, (len(self),))
        require_finite("eta", self.eta)
        require_finite("value", self.value)
        require_positive("sigma", self.sigma)
        _require_temperature(self.temperature, len(self))

    def __len__(self) -> int:
        return self.eta.shape[0]


@dataclass(frozen=True, eq=False)
class Values(_Scalars):
    """f itself (eV/site) at η, less f(0) at the same temperature.

    Raises:
        ValueError: as `Derivatives`.
    """


@dataclass(frozen=True, eq=False)
class Energies(_Scalars):
    """⟨E⟩ = ∂(βf)/∂β (eV/site) at η, less that at η = 0; for a network of a range of temperatures.

    Raises:
        ValueError: as `Derivatives`.
    """


Data = Derivatives | Hessians | Values | Energies


def as_sequence(data: Data | Sequence[Data]) -> tuple[Data, ...]:
    """Data of one kind or of several, without the empty ones."""
    each = (data,) if isinstance(data, Data) else data
    return tuple(d for d in each if len(d) > 0)


def _require_temperature(temperature: Tensor | None, count: int) -> None:
    if temperature is not None:
        require_shape("temperature", temperature, (count,))
        require_positive("temperature", temperature)
