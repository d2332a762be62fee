"""The free energy of an ordering binary fcc alloy: mixing, interactions and magnetism."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy
from jaxtyping import Float
from numpy.polynomial import Polynomial
from torch import Tensor

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from phasefield.piecewise import at_least, mixing, select
from phasefield.symbolic import SymbolicEnergy, Symbols, evaluated, field_symbols

SUBLATTICES = 4


@dataclass(frozen=True, eq=False)
class Interaction:
    """Σ_{k≥2} cₖ eₖ(y) + Σₛ w(yₛ) + d(x) of four sublattice fractions y and their mean x.

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

    def value(self, x: sympy.Symbol, order: Sequence[sympy.Expr]) -> sympy.Expr:
        """The polynomial of x and of e₂, e₃, e₄ of all yₛ − x, their e₁ being zero."""
        names = sympy.symbols(f"e2:{SUBLATTICES + 1}")
        within = self.within.coef.tolist()
        elementary = _shifted_elementary(x, [sympy.S.One, sympy.S.Zero, *names])
        powers = _shifted_powers(x, _powers(names, len(within)))
        terms = [c * e for c, e in zip(self.symmetric, elementary[2:], strict=False)]
        terms += [c * p for c, p in zip(within, powers, strict=True)]
        terms += [c * x**k for k, c in enumerate(self.mean.coef.tolist())]
        found = sympy.Poly(sympy.Add(*terms), *names)
        return sympy.Add(*(
            sympy.horner(coefficient, wrt=x)
            * sympy.Mul(*(e**n for e, n in zip(order, exponents, strict=True)))
            for exponents, coefficient in found.terms()
        ))  # fmt: skip


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

    def value(self, x: sympy.Symbol) -> sympy.Expr:
        """F of the composition."""
        u = self._folded(self.curie, x) / self.temperature
        return self._amplitude(x) * self._order(u)

    def energy(self, x: sympy.Symbol) -> sympy.Expr:
        """∂(βf)/∂β = −k_BT ln(1 + β) τ g′(τ), τ = T/T_C."""
        u = self._folded(self.curie, x) / self.temperature
        inverse_tau = sympy.Dummy("u", real=True)
        slope = sympy.diff(self._order(inverse_tau), inverse_tau)
        return self._amplitude(x) * u * slope.subs(inverse_tau, u)

    def _amplitude(self, x: sympy.Symbol) -> sympy.Expr:
        return BOLTZMANN_EV * self.temperature * sympy.log(1 + self._folded(self.moment, x))

    def _folded(self, polynomial: Polynomial, x: sympy.Symbol) -> sympy.Expr:
        """The polynomial, divided by the antiferromagnetic factor below zero."""
        powers = [c * x**k for k, c in enumerate(polynomial.coef.tolist()) if c]
        value = sympy.horner(sympy.Add(*powers), wrt=x)
        return select(value, value, value / self.antiferromagnetic_factor)

    def _order(self, u: sympy.Expr) -> sympy.Expr:
        """G at u = 1/τ, which unlike τ is finite where there is no magnetism."""
        p = self.structure_factor
        scale = 518 / 1125 + 11692 / 15975 * (1 / p - 1)
        linear, series = 79 / (140 * p), 474 / 497 * (1 / p - 1)
        disordered, ordered = -at_least(-u, sympy.Integer(-1)), at_least(u, sympy.Integer(1))
        u5, u10 = disordered**5, disordered**10
        high = -u5 * (sympy.Rational(1, 10) + u10 * (1 / sympy.Integer(315) + u10 / 1500)) / scale
        t3, t6 = ordered**-3, ordered**-6
        low = series * t3 * (sympy.Rational(1, 6) + t6 * (1 / sympy.Integer(135) + t6 / 600))
        return select(u - 1, 1 - (linear * ordered + low) / scale, high)


@dataclass(frozen=True, eq=False)
class OrderedFccEnergy(SymbolicEnergy):
    """f(η) of `idnn.order_parameters.FCC_L12` at one temperature, eV/site.

    Zero at the pure fcc elements of the same temperature without magnetism. With `floor` = 0 it is
    defined where every sublattice fraction lies in [0, 1], and NaN elsewhere.

    Attributes:
        temperature: in K.
        free: free energy of interaction.
        heat: its enthalpy, ∂(β·)/∂β.
        magnetism: of the composition alone.
        floor: site fraction below which, and above 1 − which, each y ln y is continued by its
            second-order Taylor polynomial, as in `idnn.free_energy.IdealMixing`.

    Raises:
        ValueError: `floor` is not in [0, 0.5).
    """

    temperature: float
    free: Interaction
    heat: Interaction
    magnetism: Magnetism
    floor: float = 0.0

    def __post_init__(self) -> None:
        _ = self.value

    def expression(self) -> tuple[Symbols, sympy.Expr]:
        """Symbols of c, η₁, η₂, η₃, and f of them."""
        symbols, kt = field_symbols(SUBLATTICES), BOLTZMANN_EV * self.temperature
        fractions = [each for y in _fractions(symbols) for each in (y, 1 - y)]
        ideal = kt / SUBLATTICES * mixing(fractions, self.floor)
        c, order = symbols[0], _order(symbols)
        return symbols, ideal + self.free.value(c, order) + self.magnetism.value(c)

    def energy(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """Enthalpy ∂(βf)/∂β relative to the same elements, eV/site."""
        (energy,) = evaluated((self._energy,), self.symbols, eta)
        return energy

    @cached_property
    def _energy(self) -> sympy.Expr:
        c = self.symbols[0]
        return self.heat.value(c, _order(self.symbols)) + self.magnetism.energy(c)


def _fractions(symbols: Symbols) -> list[sympy.Expr]:
    """Of the four sublattices."""
    rows = FCC_L12.q_inverse.tolist()
    return [sympy.Add(*(int(c) * u for c, u in zip(row, symbols, strict=True))) for row in rows]


def _order(symbols: Symbols) -> list[sympy.Expr]:
    """e₂, e₃, e₄ of the sublattices' fractions less their mean."""
    found = [sympy.S.One] + [sympy.S.Zero] * SUBLATTICES
    for y in _fractions(symbols):
        v = y - symbols[0]
        found = [found[0], *(a + v * b for a, b in zip(found[1:], found[:-1], strict=True))]
    return [sympy.expand(e) for e in found[2:]]


def _shifted_elementary(x: sympy.Symbol, e: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """e₀ … of all x + v, given those of v."""
    n = len(e) - 1
    return [
        sympy.Add(*(math.comb(n - j, k - j) * x ** (k - j) * e[j] for j in range(k + 1)))
        for k in range(n + 1)
    ]


def _powers(e: Sequence[sympy.Expr], count: int) -> list[sympy.Expr]:
    """Σ vᵏ, k < count, of four v whose e₁ = 0 (Newton's identities)."""
    e2, e3, e4 = e
    found = [sympy.Integer(SUBLATTICES), sympy.S.Zero, -2 * e2, 3 * e3]
    for k in range(4, count):
        found.append(-e2 * found[k - 2] + e3 * found[k - 3] - e4 * found[k - 4])
    return found[:count]


def _shifted_powers(x: sympy.Symbol, p: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """Σ (x + v)ᵏ, given Σ vᵏ."""
    return [
        sympy.Add(*(math.comb(k, j) * x ** (k - j) * p[j] for j in range(k + 1)))
        for k in range(len(p))
    ]
