"""What a free energy is, its derivatives, and closed forms to learn from and to test against."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.units import BOLTZMANN_EV


@runtime_checkable
class FreeEnergy(Protocol):
    """A twice-differentiable free energy f(η) in eV per site, η[..., 0] being the composition."""

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]: ...


@runtime_checkable
class WithGradient(Protocol):
    """A free energy that knows its own ∂f/∂η in closed form."""

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]: ...


@runtime_checkable
class WithHessian(Protocol):
    """A free energy that knows its own ∂²f/∂η² in closed form."""

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]: ...


@runtime_checkable
class WithEvaluate(Protocol):
    """A free energy that gives f and ∂f/∂η for less than the price of both, without a graph."""

    def evaluate(
        self, eta: Float[Tensor, "sample d"]
    ) -> tuple[Float[Tensor, " sample"], Float[Tensor, "sample d"]]: ...


def value_and_potential(
    f: FreeEnergy, eta: Float[Tensor, "sample d"]
) -> tuple[Float[Tensor, " sample"], Float[Tensor, "sample d"]]:
    """f (eV/site) and ∂f/∂η, no graph kept."""
    with torch.no_grad():
        return (
            f.evaluate(eta) if isinstance(f, WithEvaluate) else (f(eta), chemical_potential(f, eta))
        )


def chemical_potential(f: FreeEnergy, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """μ = ∂f/∂η (eV/site). Differentiable again, unless called under `torch.no_grad`."""
    if isinstance(f, WithGradient):
        return f.gradient(eta)
    keep_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        x = eta if eta.requires_grad else eta.detach().requires_grad_()
        return torch.autograd.grad(f(x).sum(), x, create_graph=keep_graph)[0]


def hessian(f: FreeEnergy, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
    """H = ∂²f/∂η² (eV/site): f's own, or μ differentiated once per component."""
    if isinstance(f, WithHessian):
        with torch.no_grad():
            return f.hessian(eta)
    with torch.enable_grad():
        x = eta.detach().requires_grad_()
        mu = chemical_potential(f, x)
        rows = [
            torch.autograd.grad(mu[..., i].sum(), x, retain_graph=True)[0]
            for i in range(x.shape[-1])
        ]
    return torch.stack(rows, dim=-2).detach()


@dataclass(frozen=True, eq=False)
class IdealMixing:
    """Ideal mixing on sublattices, f = (k_BT/S) Σ_s [x_s ln x_s + (1−x_s) ln(1−x_s)], x = Q⁻¹η.

    The Bragg–Williams entropy. Below `floor` and above 1 − `floor` each x ln x is continued by
    its second-order Taylor polynomial, as Copetti & Elliott (1992, doi:10.1007/BF01385847) do for
    the logarithmic free energy: f stays C² and finite where a phase field overshoots. With
    `floor=0` the function is exact and NaN outside [0, 1].

    Args:
        q: Q of η = Q x; with fewer rows than columns, x = Q⁺η where the others vanish.
        temperature: in K.
        floor: site fraction below which the continuation begins.
    """

    q: Float[Tensor, "d s"]
    temperature: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature)
        if not 0 <= self.floor < 0.5:
            raise ValueError(f"`floor` must lie in [0, 0.5); it is {self.floor:g}.")

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        x = self.site_fractions(eta)
        return self._kt * (_xlogx(x, self.floor) + _xlogx(1 - x, self.floor)).mean(-1)

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        x = self.site_fractions(eta)
        by_site = _xlogx_and_slope(x, self.floor)[1] - _xlogx_and_slope(1 - x, self.floor)[1]
        return (self._kt / x.shape[-1]) * by_site @ self._q_inverse(eta)

    def evaluate(
        self, eta: Float[Tensor, "sample d"]
    ) -> tuple[Float[Tensor, " sample"], Float[Tensor, "sample d"]]:
        """f and ∂f/∂η; they share their logarithms."""
        inverse = self._q_inverse(eta)
        x = (inverse @ eta.mT).mT
        (value, slope), (others, other_slope) = (
            _xlogx_and_slope(part, self.floor) for part in (x, 1 - x)
        )
        scale = self._kt / x.shape[-1]
        gradient = (scale * inverse.T) @ (slope - other_slope).mT
        return scale * (value + others).sum(-1), gradient.mT

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        x, inverse = self.site_fractions(eta), self._q_inverse(eta)
        by_site = _xlogx_curvature(x, self.floor) + _xlogx_curvature(1 - x, self.floor)
        return (self._kt / x.shape[-1]) * inverse.T @ (by_site[..., None] * inverse)

    def site_fractions(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch s"]:
        """x = Q⁺η."""
        return eta @ self._q_inverse(eta).T

    @property
    def _kt(self) -> float:
        return BOLTZMANN_EV * self.temperature

    def _q_inverse(self, like: Tensor) -> Tensor:
        """Q⁺ as `like`, kept: a copy to a GPU at every call would wait for it."""
        key = like.device, like.dtype
        if key not in self._inverses:
            invert = torch.linalg.inv if self.q.shape[0] == self.q.shape[1] else torch.linalg.pinv
            self._inverses[key] = invert(self.q.double()).to(like)
        return self._inverses[key]

    @cached_property
    def _inverses(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class BraggWilliams:
    """Mean-field ordering alloy f = f_ideal(η) + Σᵢ vᵢ ηᵢ² (eV/site).

    With v₁ = v₂ = v₃ below v₀ the solution orders; on fcc sublattices the ideal entropy alone
    supplies the cubic term that makes L1₂ appear by a first-order transition (Bragg & Williams
    1934, doi:10.1098/rspa.1934.0132; Shockley 1938, doi:10.1063/1.1750214).
    """

    ideal: IdealMixing
    interaction: Float[Tensor, " d"]

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return self.ideal(eta) + (self.interaction.to(eta) * eta.square()).sum(-1)

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.ideal.gradient(eta) + 2 * self.interaction.to(eta) * eta

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        return self.ideal.hessian(eta) + 2 * torch.diag(self.interaction.to(eta))


def _xlogx(x: Tensor, floor: float) -> Tensor:
    return torch.xlogy(x, x) if floor == 0 else _xlogx_and_slope(x, floor)[0]


def _xlogx_and_slope(x: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """x ln x and its derivative less 1."""
    if floor == 0:
        return _xlogx(x, floor), x.log()
    inside = x.clamp_min(floor)
    below = x - inside  # At x = floor, where both are, only `inside` has a derivative.
    log, bent = inside.log(), below * (0.5 / floor)
    return torch.addcmul(torch.addcmul(below, x, log), below, bent), log.add(bent, alpha=2)


def _xlogx_curvature(x: Tensor, floor: float) -> Tensor:
    return 1 / (x if floor == 0 else x.clamp_min(floor))
