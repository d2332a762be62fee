"""The CALPHAD form of an ordering fcc solution: its parameters and what multiplies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

from jaxtyping import Float
from torch import Tensor

from idnn.free_energy import IdealMixing
from idnn.order_parameters import FCC_L12
from idnn.polynomials import Monomial, Polynomials, product

Polynomial = dict[Monomial, float]


@dataclass(frozen=True, kw_only=True)
class OrderedFccForm:
    """How many parameters the form has, each linear in T.

    Attributes:
        solution: terms Lₖ of the Redlich–Kister series of the disordered solution.
        reciprocal: terms Rₖ, k = 1 …, of the interaction on a sublattice; that of k = 0 would
            double the end members.
    """

    solution: int = 4
    reciprocal: int = 1

    def __post_init__(self) -> None:
        for name, least in (("solution", 1), ("reciprocal", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}; it is {getattr(self, name)}.")

    @cached_property
    def functions(self) -> dict[str, Polynomial]:
        """What multiplies each parameter, a polynomial of η.

        G, the energy of the pure second element; Lₖ of x(1 − x)(2x − 1)ᵏ; Eₙ of the probability
        that n of four sublattices hold the second element, and Rₖ of Σₛ yₛ(1 − yₛ)(2yₛ − 1)ᵏ, both
        less their value at yₛ = x (Dupin, Ansara & Sundman 2001,
        doi:10.1016/S0364-5916(01)00049-9).
        """
        x = _linear([1.0, 0.0, 0.0, 0.0])
        y = [_linear(row) for row in FCC_L12.q_inverse.tolist()]
        found = {"G": x} | {f"L{k}": _within(x, k) for k in range(self.solution)}
        for n in range(1, 4):
            found[f"E{n}"] = weighted_sum((_chance(y, n), 1.0), (_chance([x] * 4, n), -1.0))
        for k in range(1, self.reciprocal + 1):
            each = [(_within(one, k), 1.0) for one in y]
            found[f"R{k}"] = weighted_sum(*each, (_within(x, k), -4.0))
        return found


@dataclass(frozen=True, eq=False)
class Solution:
    """f = ideal mixing + a polynomial of η, eV/site.

    Attributes:
        ideal: on the sublattices.
        excess: one polynomial.
    """

    ideal: IdealMixing
    excess: Polynomials

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return self.ideal(eta) + self.excess(eta)[..., 0]

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.ideal.gradient(eta) + self.excess.jacobian(eta)[..., 0, :]

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        return self.ideal.hessian(eta) + self.excess.second(eta)[..., 0, :, :]


def _linear(row: Sequence[float]) -> Polynomial:
    return {tuple(int(i == j) for j in range(len(row))): c for i, c in enumerate(row) if c != 0}


def weighted_sum(*parts: tuple[Mapping[Monomial, float], float]) -> Polynomial:
    """Σ factor × polynomial; what cancels to rounding is left out."""
    total: Polynomial = {}
    for polynomial, factor in parts:
        for e, c in polynomial.items():
            total[e] = total.get(e, 0.0) + factor * c
    return {e: c for e, c in total.items() if abs(c) > 1e-12}


def _product(factors: Sequence[Polynomial]) -> Polynomial:
    return reduce(product, factors, {(0, 0, 0, 0): 1.0})


def _within(y: Polynomial, k: int) -> Polynomial:
    """y(1 − y)(2y − 1)ᵏ."""
    one = {(0, 0, 0, 0): 1.0}
    return _product(
        [y, weighted_sum((one, 1.0), (y, -1.0)), *[weighted_sum((y, 2.0), (one, -1.0))] * k]
    )


def _chance(y: Sequence[Polynomial], n: int) -> Polynomial:
    """The probability that n of the sublattices hold the second element."""
    one = {(0, 0, 0, 0): 1.0}
    terms = [
        _product(
            [y[s] if chosen >> s & 1 else weighted_sum((one, 1.0), (y[s], -1.0)) for s in range(4)]
        )
        for chosen in range(16)
        if chosen.bit_count() == n
    ]
    return weighted_sum(*((term, 1.0) for term in terms))
