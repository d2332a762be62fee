"""Redlich–Kister series of two elements as polynomials of the composition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import Polynomial

if TYPE_CHECKING:
    from phasefield.database import Numbers


def series(numbers: Numbers, kind: str, sites: str, elements: tuple[str, str]) -> np.ndarray:
    """Coefficients of (2y − 1)ᵏ, y being the fraction of the second element.

    A database has (difference of its two constituents, in the order of the alphabet)ᵏ.
    """
    orders = 2 + max((order for _, _, order in numbers), default=0)
    sign = 1 if elements[1] < elements[0] else -1
    return np.array([sign**k * numbers.get((kind, sites, k), 0.0) for k in range(orders)])


def redlich_kister(coefficients: np.ndarray) -> Polynomial:
    """x(1 − x) Σ Lₖ (2x − 1)ᵏ in powers of x."""
    return Polynomial([0, 1, -1]) * Polynomial(coefficients)(Polynomial([-1, 2]))


def of_composition(numbers: Numbers, kind: str, elements: tuple[str, str]) -> Polynomial:
    """A property of a solution as a polynomial of the fraction of the second element."""
    first, second = (numbers.get((kind, element, 0), 0.0) for element in elements)
    pair = ",".join(sorted(elements))
    ends = Polynomial([first, second - first])
    return ends + redlich_kister(series(numbers, kind, pair, elements))
