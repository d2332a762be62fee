"""Polynomials of the order parameters as data, with their first and second derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite

Monomial = tuple[int, ...]
"""The exponent of each variable."""


@dataclass(frozen=True)
class Polynomials:
    """h_k(η) = Σ_t c_kt Πᵢ ηᵢ^e_ti.

    Evaluated one product of two known monomials at a time, so that powers are shared; equal
    coefficients are factored out of their terms. Works on any dtype and device, and autograd
    passes through.

    Attributes:
        exponents: e, one row per term, one column per variable.
        coefficients: c, one row per polynomial, one column per term.

    Raises:
        ValueError: the tables do not fit each other, an exponent is not a whole number from zero
            on, two terms are the same, or a coefficient is not finite.
    """

    exponents: tuple[Monomial, ...]
    coefficients: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.exponents or not self.coefficients:
            raise ValueError("`exponents` and `coefficients` must hold at least one row each.")
        widths = {len(row) for row in self.exponents}
        if len(widths) != 1 or any(e < 0 for row in self.exponents for e in row):
            raise ValueError(
                "`exponents` must have one whole number from zero on per variable in every row; "
                f"they are {self.exponents}."
            )
        if len(set(self.exponents)) != len(self.exponents):
            raise ValueError("`exponents` must be different in every row; two terms are the same.")
        for k, row in enumerate(self.coefficients):
            if len(row) != len(self.exponents):
                raise ValueError(
                    f"`coefficients` must hold one number per term, {len(self.exponents)}; row {k} "
                    f"holds {len(row)}."
                )
        require_finite("coefficients", torch.tensor(self.coefficients, dtype=torch.float64))

    @staticmethod
    def of(polynomials: Sequence[Mapping[Monomial, float]]) -> Polynomials:
        """From the coefficient of each monomial of each polynomial."""
        terms = tuple(dict.fromkeys(e for polynomial in polynomials for e in polynomial))
        rows = tuple(tuple(float(p.get(e, 0.0)) for e in terms) for p in polynomials)
        return Polynomials(terms, rows)

    def terms(self) -> Iterator[dict[Monomial, float]]:
        """The non-zero coefficients of each polynomial by monomial."""
        for row in self.coefficients:
            yield {e: c for e, c in zip(self.exponents, row, strict=True) if c != 0}

    @property
    def count(self) -> int:
        """How many polynomials there are."""
        return len(self.coefficients)

    @property
    def variables(self) -> int:
        """How many variables they have."""
        return len(self.exponents[0])

    @property
    def degree(self) -> int:
        """The highest degree of a term."""
        return max(map(sum, self.exponents))

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch invariant"]:
        """h(η)."""
        return self._values.evaluate(eta)

    def jacobian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch invariant d"]:
        """∂h_k/∂ηᵢ, in closed form."""
        return self._slopes.evaluate(eta).unflatten(-1, (self.count, self.variables))

    def pulled(
        self, slope: Float[Tensor, "*member_batch invariant"], eta: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*member_batch d"]:
        """Σ_k slope_k ∂h_k/∂ηᵢ, without the derivatives that are zero."""
        by_invariant, known = slope.unbind(-1), self._slopes.distinct(eta)
        columns = []
        for i in range(self.variables):
            column = torch.zeros_like(by_invariant[0])
            chosen = self._slopes.order[i :: self.variables]
            for each, index in zip(by_invariant, chosen, strict=True):
                if self._slopes.sums[index] != ZERO:
                    column = torch.addcmul(column, each, known[index])
            columns.append(column)
        return _stacked(columns)

    def second(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch invariant d d"]:
        """∂²h_k/∂ηᵢ∂ηⱼ, in closed form."""
        d = self.variables
        return self._curvatures.evaluate(eta).unflatten(-1, (self.count, d, d))

    @cached_property
    def _values(self) -> Plan:
        return Plan.of(list(self.terms()), self.variables)

    @cached_property
    def _slopes(self) -> Plan:
        return Plan.of(self._derivatives(), self.variables)

    @cached_property
    def values_and_slopes(self) -> Plan:
        """How to make h₀, h₁ …, then ∂h₀/∂η₀, ∂h₀/∂η₁ …."""
        return Plan.of([*self.terms(), *self._derivatives()], self.variables)

    def _derivatives(self) -> list[dict[Monomial, float]]:
        """∂h₀/∂η₀, ∂h₀/∂η₁ …, ∂h₁/∂η₀ …."""
        return [derivative(p, i) for p in self.terms() for i in range(self.variables)]

    @cached_property
    def _curvatures(self) -> Plan:
        d = range(self.variables)
        slopes = [[derivative(p, i) for i in d] for p in self.terms()]
        return Plan.of(
            [derivative(row[min(i, j)], max(i, j)) for row in slopes for i in d for j in d],
            self.variables,
        )


@dataclass(frozen=True)
class Sum:
    """Constant + Σ coefficient × Σ values."""

    constant: float
    groups: tuple[tuple[float, tuple[int, ...]], ...]

    def evaluate(self, values: Sequence[Tensor]) -> Tensor:
        total: Tensor | None = None
        for coefficient, indices in self.groups:
            part = values[indices[0]]
            for i in indices[1:]:
                part = part + values[i]
            part = part if coefficient == 1 else coefficient * part
            total = part if total is None else total + part
        if total is None:
            return values[0].new_full((), self.constant).expand_as(values[0])
        return total + self.constant if self.constant else total


ZERO = Sum(0.0, ())


@dataclass(frozen=True)
class Plan:
    """In which order to multiply and to add.

    Attributes:
        products: pairs of known values; the variables come first, then each product.
        sums: of these, each once.
        order: which sum is each of the polynomials.
    """

    products: tuple[tuple[int, int], ...]
    sums: tuple[Sum, ...]
    order: tuple[int, ...]

    def evaluate(self, eta: Tensor) -> Tensor:
        known = self.distinct(eta)
        return _stacked([known[i] for i in self.order])

    def distinct(self, eta: Tensor) -> list[Tensor]:
        """The sums, each once."""
        values = list(eta.unbind(-1))
        for left, right in self.products:
            values.append(values[left] * values[right])
        return [each.evaluate(values) for each in self.sums]

    @staticmethod
    def of(polynomials: Sequence[Mapping[Monomial, float]], variables: int) -> Plan:
        known = {_power_of_one(i, variables): i for i in range(variables)}
        products: list[tuple[int, int]] = []
        needed = dict.fromkeys(e for p in polynomials for e in p)
        for e in sorted(needed, key=sum):
            _learn(e, known, products)
        distinct: dict[Sum, int] = {}
        order = [distinct.setdefault(_summed(p, known), len(distinct)) for p in polynomials]
        return Plan(tuple(products), tuple(distinct), tuple(order))


def _stacked(columns: Sequence[Tensor]) -> Tensor:
    """In a last axis that varies slowest in memory: each column stays in one piece."""
    return torch.stack(list(columns)).movedim(0, -1)


def _power_of_one(i: int, variables: int) -> Monomial:
    return tuple(int(j == i) for j in range(variables))


def _learn(e: Monomial, known: dict[Monomial, int], products: list[tuple[int, int]]) -> None:
    """Make a monomial from two known ones, of which the lesser is made first where need be."""
    if e in known or sum(e) == 0:
        return
    pairs = ((a, _without(e, a)) for a in known)
    pair = next(((a, b) for a, b in pairs if b in known), None)
    if pair is None:
        half = tuple(n // 2 for n in e)
        odd = [i for i, n in enumerate(e) if n % 2]
        last = _power_of_one(odd[-1], len(e)) if odd else half
        pair = _without(e, last), last
        for part in pair:
            _learn(part, known, products)
    products.append((known[pair[0]], known[pair[1]]))
    known[e] = len(e) + len(products) - 1


def _without(e: Monomial, a: Monomial) -> Monomial:
    return tuple(n - m for n, m in zip(e, a, strict=True))


def _summed(polynomial: Mapping[Monomial, float], known: Mapping[Monomial, int]) -> Sum:
    constant, groups = 0.0, dict[float, list[int]]()
    for e, c in polynomial.items():
        if sum(e) == 0:
            constant = c
        elif c != 0:
            groups.setdefault(c, []).append(known[e])
    return Sum(constant, tuple((c, tuple(i)) for c, i in groups.items()))


def derivative(polynomial: Mapping[Monomial, float], i: int) -> dict[Monomial, float]:
    """∂/∂ηᵢ."""
    return {
        (*e[:i], e[i] - 1, *e[i + 1 :]): c * e[i] for e, c in polynomial.items() if e[i] and c != 0
    }


def product(a: Mapping[Monomial, float], b: Mapping[Monomial, float]) -> dict[Monomial, float]:
    """The product of two polynomials."""
    result: dict[Monomial, float] = {}
    for e, c in a.items():
        for f, d in b.items():
            both = tuple(map(sum, zip(e, f, strict=True)))
            result[both] = result.get(both, 0.0) + c * d
    return result


def monomials(variables: int, degree: int) -> list[Monomial]:
    """Every monomial of a degree, powers of the first variable first."""
    chosen = combinations_with_replacement(range(variables), degree)
    return [tuple(c.count(i) for i in range(variables)) for c in chosen]
