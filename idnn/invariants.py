"""Fundamental invariants of a finite matrix group, and whether given polynomials are such."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, Int

from idnn.polynomials import Monomial, Polynomials, monomials, product
from idnn.symmetry import closed

DEPENDENT = 1e-8
"""Share of a polynomial, in the norm of `_vector`, outside the span of others below which it lies
in it; rounding leaves 1e-13."""

LARGEST_TABLE = 4_000_000
"""Numbers in a table of the monomials of one degree by themselves, or by the elements of the group,
beyond which no invariants are sought."""

LARGEST_DENOMINATOR = 5040
"""Coefficients within 1e-9 of a fraction of at most this denominator are that fraction."""

Polynomial = Mapping[Monomial, float]


class Incomplete(ValueError):
    """Polynomials that do not generate every invariant of the group."""


def molien_series(group: Float[np.ndarray, "g d d"], highest: int) -> Int[np.ndarray, " degree"]:
    """How many linearly independent invariants there are of degree 0, 1 … `highest`.

    The coefficients of ⟨1/det(1 − tM)⟩ over the group (Molien 1897), each the mean of the complete
    symmetric polynomial h_k of the eigenvalues, from k h_k = Σ_j tr(Mʲ) h_{k−j}.
    """
    power, complete, traces = np.eye(group.shape[1]), np.ones((1, len(group))), []
    for degree in range(1, highest + 1):
        power = power @ group
        traces.append(np.trace(power, axis1=-2, axis2=-1))
        following = (np.stack(traces) * complete[::-1]).sum(0) / degree
        complete = np.concatenate([complete, following[None]])
    return complete.mean(1).round().astype(np.int64)


def highest_degree(group: Float[np.ndarray, "g d d"], permuted: int | None = None) -> int:
    """A degree up to which some generators of the ring of invariants certainly lie.

    The order of the group (Noether 1915, doi:10.1007/BF01456821); where it permutes n variables,
    max(n, n(n−1)/2) (Göbel 1995, doi:10.1006/jsco.1995.1017); where its r reflections generate it,
    r + 1, because d generators then have degrees with Σ(degree − 1) = r (Chevalley 1955,
    doi:10.2307/2372597): the least of them.
    """
    bounds = [len(group)]
    if permuted is not None:
        bounds.append(max(permuted, permuted * (permuted - 1) // 2))
    unit = np.eye(group.shape[1])
    rank = np.linalg.matrix_rank(group - unit, tol=1e-6)
    reflections = group[rank == 1]
    if len(closed(np.concatenate([unit[None], reflections]))) == len(group):
        bounds.append(len(reflections) + 1)
    return min(bounds)


def fundamental_invariants(group: Float[np.ndarray, "g d d"], highest: int) -> Polynomials:
    """Polynomials that generate every invariant of the group up to degree `highest`.

    Degree by degree the Reynolds operator p ↦ ⟨p ∘ M⟩ is applied to each monomial, those of fewest
    terms and lowest powers first, and a result kept if it lies outside the span of the products of
    earlier ones, until there are as many as Molien's series says (Sturmfels 2008,
    doi:10.1007/978-3-211-77417-5, algorithm 2.2.5).

    Raises:
        ValueError: the group has too many elements or order parameters for `highest`.
    """
    variables = group.shape[1]
    size = math.comb(variables + highest - 1, highest)
    if size * max(size, len(group)) > LARGEST_TABLE:
        raise ValueError(
            f"`highest` is {highest}, where {len(group)} elements act on {size} monomials: too "
            "many. Choose a lower degree, or supply the invariants."
        )
    expected = molien_series(group, highest)
    found: list[Polynomial] = []
    reynolds = _reynolds_operators(group)
    for degree in range(1, highest + 1):
        basis = monomials(variables, degree)
        operator = next(reynolds)
        span = _Span(_vectors(_products(found, degree), basis))
        for candidate in _by_simplicity(operator, basis):
            if span.rank == expected[degree]:
                break
            if span.extend(_vectors([candidate], basis)[0]):
                found.append(candidate)
        if span.rank != expected[degree]:
            raise RuntimeError(
                f"{span.rank} independent invariants of degree {degree} were found where Molien's "
                f"series says {expected[degree]}; are the matrices of `group` exact?"
            )
    return Polynomials.of(found)


def scaled(invariants: Polynomials, states: Float[np.ndarray, "sample d"]) -> Polynomials:
    """Each invariant times the power of two that makes its largest size over the states about one.

    Those of degree one are shifted as well, so that their range is about [−1, 1].
    """
    values = invariants(torch.from_numpy(states)).numpy()
    low, high = values.min(0), values.max(0)
    rows = []
    for polynomial, least, most in zip(invariants.terms(), low, high, strict=True):
        degree = max(map(sum, polynomial))
        middle = float((least + most) / 2) if degree == 1 else 0.0
        size = max(abs(most - middle), abs(least - middle))
        factor = 2.0 ** -round(np.log2(size)) if size > 0 else 1.0
        row = {e: factor * c for e, c in polynomial.items()}
        constant = (0,) * invariants.variables
        rows.append(row | {constant: _clean(-factor * middle)} if middle else row)
    return Polynomials.of(rows)


def independent(invariants: Polynomials) -> bool:
    """Whether their gradients span all d directions at a generic point.

    Otherwise a continuum of states shares the same invariants.
    """
    eta = torch.rand(
        invariants.variables, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    jacobian = invariants.jacobian(eta)
    size = jacobian.norm(dim=1, keepdim=True)
    rows = (jacobian / size)[size[:, 0] > 0]
    return int(torch.linalg.matrix_rank(rows, rtol=DEPENDENT)) == invariants.variables


def require_invariant(invariants: Polynomials, generators: Float[np.ndarray, "g d d"]) -> None:
    """Check h(Mη) = h(η) at random η, relative to the terms that cancel.

    Raises:
        ValueError: naming every polynomial that an element changes.
    """
    eta = torch.rand(
        32, invariants.variables, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ) * 2 - 1  # fmt: skip
    images = torch.einsum("gij,nj->gni", torch.from_numpy(generators), eta)
    size = Polynomials.of([{e: abs(c) for e, c in p.items()} for p in invariants.terms()])
    change = (invariants(images) - invariants(eta)).abs()
    allowed = 1e-9 * (size(images.abs()) + size(eta.abs()))
    bad = (~(change <= allowed)).flatten(0, 1).any(0).nonzero()[:, 0].tolist()
    if bad:
        raise ValueError(
            f"`invariants` must not change under the group; numbers {bad} (from 0) do. Correct "
            "them, or leave the invariants out to have them found."
        )


def require_complete(
    invariants: Polynomials, group: Float[np.ndarray, "g d d"], highest: int
) -> None:
    """Check that products of the invariants span all invariants of every degree up to `highest`.

    Raises:
        ValueError: one is not homogeneous up to a constant.
        Incomplete: naming the first degree where some are missing, and how many.
    """
    homogeneous = [_without_constant(p) for p in invariants.terms()]
    for k, polynomial in enumerate(homogeneous):
        if len(set(map(sum, polynomial))) != 1:
            raise ValueError(
                f"`invariants` must each have terms of one degree, and a constant; number {k} "
                f"(from 0) has degrees {sorted(set(map(sum, polynomial)))}."
            )
    expected = molien_series(group, highest)
    for degree in range(1, highest + 1):
        basis = monomials(invariants.variables, degree)
        found = _Span(_vectors(_products(homogeneous, degree), basis)).rank
        if found < expected[degree]:
            raise Incomplete(
                f"`invariants` must generate all {expected[degree]} of degree {degree}; they "
                f"generate {found}. Add those missing, or leave the invariants out to have them "
                "found."
            )


class _Span:
    """Orthonormal rows that span what was added."""

    def __init__(self, rows: np.ndarray) -> None:
        self._basis = np.zeros((0, rows.shape[1]))
        for row in rows:
            self.extend(row)

    @property
    def rank(self) -> int:
        return len(self._basis)

    def extend(self, row: np.ndarray) -> bool:
        """Whether the row was outside the span."""
        row = row / np.linalg.norm(row)
        for _ in range(2):  # once more, for what rounding left
            row = row - (self._basis @ row) @ self._basis
        size = np.linalg.norm(row)
        if size < DEPENDENT:
            return False
        self._basis = np.concatenate([self._basis, row[None] / size])
        return True


def _reynolds_operators(group: np.ndarray) -> Iterator[np.ndarray]:
    """The matrix of the Reynolds operator on polynomials of degree 1, 2, …, column by monomial.

    (η^e) ∘ M is the product of (η^(e − uᵢ)) ∘ M and the linear form (Mη)ᵢ.
    """
    from scipy import sparse  # a solver that loads a model runs without scipy

    elements, variables = group.shape[:2]
    lower, images = [(0,) * variables], sparse.csc_matrix(np.ones((1, elements)))
    degree = 0
    while True:
        degree += 1
        basis = monomials(variables, degree)
        row = {e: i for i, e in enumerate(basis)}
        column = {e: i for i, e in enumerate(lower)}
        first = np.array([next(i for i, n in enumerate(e) if n) for e in basis])
        source = np.array(
            [column[_shifted(e, int(i), -1)] for e, i in zip(basis, first, strict=True)]
        )
        columns = (np.arange(elements)[:, None] * len(lower) + source).ravel()
        known = images[:, columns]
        images = sparse.csc_matrix((len(basis), elements * len(basis)))
        for j in range(variables):
            raised = np.array([row[_shifted(e, j, 1)] for e in lower])
            shift = sparse.csc_matrix(
                (np.ones(len(lower)), (raised, np.arange(len(lower)))), (len(basis), len(lower))
            )
            images = images + shift @ known @ sparse.diags(group[:, first, j].ravel())
        mean = sparse.vstack([sparse.identity(len(basis))] * elements) / elements
        yield (images @ mean).toarray()
        lower = basis


def _shifted(e: Monomial, i: int, by: int) -> Monomial:
    return (*e[:i], e[i] + by, *e[i + 1 :])


def _by_simplicity(operator: np.ndarray, basis: list[Monomial]) -> list[Polynomial]:
    """Every image of a monomial, those of fewest terms and lowest powers first."""
    found = []
    for column in operator.T:
        column = np.where(abs(column) < 1e-12, 0.0, column)
        chosen = np.flatnonzero(column)
        if len(chosen):
            leading = column[chosen[0]]
            found.append({basis[i]: _clean(column[i] / leading) for i in chosen})
    return sorted(found, key=lambda p: (len(p), max(max(e) for e in p)))


def _clean(value: float) -> float:
    near = Fraction(float(value)).limit_denominator(LARGEST_DENOMINATOR)
    return float(near) if abs(near - value) < 1e-9 else float(value)


def _products(factors: Sequence[Polynomial], degree: int) -> list[Polynomial]:
    """Every product of the factors of a degree."""
    degrees = [max(map(sum, p)) for p in factors]

    def extend(start: int, partial: Polynomial, left: int) -> Iterator[Polynomial]:
        if left == 0:
            yield partial
        for i in range(start, len(factors)):
            if degrees[i] <= left:
                yield from extend(i, product(partial, factors[i]), left - degrees[i])

    if not factors:
        return []
    variables = len(next(iter(factors[0])))
    return list(extend(0, {(0,) * variables: 1.0}, degree))


def _vectors(polynomials: Sequence[Polynomial], basis: list[Monomial]) -> np.ndarray:
    """Coefficients by monomial, in the norm that orthogonal transformations leave unchanged.

    Each is divided by the square root of its multinomial coefficient.
    """
    row = {e: i for i, e in enumerate(basis)}
    weight = np.array([math.prod(map(math.factorial, e)) for e in basis]) ** 0.5
    vectors = np.zeros((len(polynomials), len(basis)))
    for vector, polynomial in zip(vectors, polynomials, strict=True):
        for e, c in polynomial.items():
            vector[row[e]] = c
    return vectors * weight


def _without_constant(polynomial: Polynomial) -> Polynomial:
    return {e: c for e, c in polynomial.items() if sum(e)}
