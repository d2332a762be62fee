"""The free energy of an ordering binary fcc alloy: mixing, interactions and magnetism."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.polynomial import Polynomial
from torch import Tensor

from idnn.free_energy import IdealMixing
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV


@dataclass(frozen=True, eq=False)
class Interaction:
    """Σ_{k≥2} cₖ eₖ(y) + Σₛ w(yₛ) + d(x) of sublattice fractions y and their mean x.

    eₖ is the elementary symmetric polynomial of degree k, so that a function which is linear in
    every yₛ and the same for all sublattices is Σₖ cₖ eₖ.

    Attributes:
        symmetric: c₂, c₃, …, eV/site.
        within: w, eV/site.
        mean: d, eV/site.
    """

    symmetric: tuple[float, ...]
    within: Polynomial
    mean: Polynomial

    def __call__(self, y: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        total = _value(self.within, y).sum(-1) + _value(self.mean, y.mean(-1))
        for c, e in zip(self.symmetric, _elementary(y)[2:], strict=False):
            total = total + c * e
        return total

    def gradient(self, y: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The derivative with respect to y.

        ∂eₖ/∂yₛ is eₖ₋₁ of the other sublattices: eₖ without s = eₖ − yₛ (eₖ₋₁ without s).
        """
        through_mean = _value(self.mean.deriv(), y.mean(-1, keepdim=True)) / y.shape[-1]
        total = _value(self.within.deriv(), y) + through_mean
        without = torch.ones_like(y)
        elementary = _elementary(y)
        for c, e in zip(self.symmetric, elementary[1:], strict=False):
            without = e[..., None] - y * without
            total = total + c * without
        return total


@dataclass(frozen=True, eq=False)
class Magnetism:
    """f = k_BT ln(1 + β) g(T/T_C), the free energy of magnetic order, eV/site.

    g of Inden (1981) in the form of Hillert & Jarl (1978, doi:10.1016/0364-5916(78)90011-1).

    Attributes:
        temperature: T in K.
        curie: T_C in K as a polynomial of the composition; below zero it is
            `antiferromagnetic_factor` times the Néel temperature.
        moment: β in Bohr magnetons, with the same factor below zero.
        structure_factor: p, the share of the ordering enthalpy that is left above T_C; 0.28 in fcc.
        antiferromagnetic_factor: -3 in fcc.
    """

    temperature: float
    curie: Polynomial
    moment: Polynomial
    structure_factor: float
    antiferromagnetic_factor: float

    def __call__(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        beta, _ = self._folded(self.moment, x)
        order, _ = self._order(self._folded(self.curie, x)[0] / self.temperature)
        return self._kt * beta.log1p() * order

    def gradient(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """∂f/∂x."""
        beta, beta_slope = self._folded(self.moment, x)
        curie, curie_slope = self._folded(self.curie, x)
        order, order_slope = self._order(curie / self.temperature)
        from_curie = beta.log1p() * order_slope * curie_slope / self.temperature
        return self._kt * (from_curie + order * beta_slope / (1 + beta))

    def energy(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """∂(βf)/∂β = −k_BT ln(1 + β) τ g′(τ), τ = T/T_C."""
        beta, _ = self._folded(self.moment, x)
        inverse_tau = self._folded(self.curie, x)[0] / self.temperature
        return self._kt * beta.log1p() * inverse_tau * self._order(inverse_tau)[1]

    @property
    def _kt(self) -> float:
        return BOLTZMANN_EV * self.temperature

    def _folded(self, polynomial: Polynomial, x: Tensor) -> tuple[Tensor, Tensor]:
        """The polynomial and its slope, divided by the antiferromagnetic factor below zero."""
        value, slope = _value(polynomial, x), _value(polynomial.deriv(), x)
        factor = self.antiferromagnetic_factor
        positive = value >= 0
        return torch.where(positive, value, value / factor), torch.where(
            positive, slope, slope / factor
        )

    def _order(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """g and ∂g/∂u at u = 1/τ, which unlike τ is finite where there is no magnetism."""
        p = self.structure_factor
        scale = 518 / 1125 + 11692 / 15975 * (1 / p - 1)
        linear, series = 79 / (140 * p), 474 / 497 * (1 / p - 1)

        disordered = u.clamp_max(1)
        u4, u10 = disordered**4, disordered**10
        high = -disordered * u4 * (1 / 10 + u10 * (1 / 315 + u10 / 1500)) / scale
        high_slope = -u4 * (1 / 2 + u10 * (1 / 21 + u10 / 60)) / scale

        ordered = u.clamp_min(1)
        t3, t6 = ordered**-3, ordered**-6
        low = 1 - (linear * ordered + series * t3 * (1 / 6 + t6 * (1 / 135 + t6 / 600))) / scale
        tail = series * t3 / ordered * (1 / 2 + t6 * (1 / 15 + t6 / 40))
        low_slope = -(linear - tail) / scale
        return torch.where(u > 1, low, high), torch.where(u > 1, low_slope, high_slope)


@dataclass(frozen=True, eq=False)
class OrderedFccEnergy:
    """f(η) of `idnn.order_parameters.FCC_L12` at one temperature, eV/site.

    Zero at the pure fcc elements of the same temperature without magnetism. Defined where every
    sublattice fraction lies in [0, 1], NaN elsewhere.

    Attributes:
        ideal: entropy of mixing on the four sublattices.
        free: free energy of interaction.
        heat: its enthalpy, ∂(β·)/∂β.
        magnetism: of the composition alone.
    """

    ideal: IdealMixing
    free: Interaction
    heat: Interaction
    magnetism: Magnetism

    @property
    def temperature(self) -> float:
        """In K."""
        return self.ideal.temperature

    def __call__(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        y = FCC_L12.site_fractions(eta)
        return self.ideal(eta) + self.free(y) + self.magnetism(eta[..., 0])

    def gradient(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """μ = ∂f/∂η, eV/site, in closed form; infinite where a sublattice is pure."""
        by_site = self.free.gradient(FCC_L12.site_fractions(eta))
        by_site = by_site + self.magnetism.gradient(eta[..., :1]) / eta.shape[-1]
        return self.ideal.gradient(eta) + by_site @ torch.linalg.inv(FCC_L12.q).to(eta)

    def hessian(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 4"]:
        """∂²f/∂η², eV/site, by differentiating the closed form of μ."""
        with torch.enable_grad():
            x = eta.detach().requires_grad_()
            mu = self.gradient(x)
            rows = [
                torch.autograd.grad(mu[..., i].sum(), x, retain_graph=True)[0]
                for i in range(x.shape[-1])
            ]
        return torch.stack(rows, dim=-2).detach()

    def energy(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """Enthalpy ∂(βf)/∂β relative to the same elements, eV/site."""
        return self.heat(FCC_L12.site_fractions(eta)) + self.magnetism.energy(eta[..., 0])


def _value(polynomial: Polynomial, x: Tensor) -> Tensor:
    """By Horner's rule."""
    *lower, highest = polynomial.coef.tolist()
    total = torch.full_like(x, highest)
    for coefficient in reversed(lower):
        total = coefficient + x * total
    return total


def _elementary(y: Float[Tensor, "*batch d"]) -> list[Float[Tensor, "*batch"]]:
    """e₀ … e_d: the coefficients of Πₛ (1 + yₛ z)."""
    found = [torch.ones_like(y[..., 0])]
    for one in y.unbind(-1):
        longer = zip(found[1:], found[:-1], strict=True)
        found = [found[0], *(e + one * lower for e, lower in longer), one * found[-1]]
    return found
