"""Collocation of linear equations dc/dτ = κ(τ) c + q on [0, 1]."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import legendre
from torch import Tensor


class Rule(NamedTuple):
    """Points at which the equations hold for polynomials (Hairer & Wanner 1996, ch. IV.5).

    Attributes:
        points: in (0, 1].
        differentiation: A⁻¹, A the integrals of the Lagrange polynomials from 0 to the points.
        weights: b, their integrals from 0 to 1.
    """

    points: Float[Tensor, " point"]
    differentiation: Float[Tensor, "point point"]
    weights: Float[Tensor, " point"]

    def responses(self, kappa: Float[Tensor, "*batch point"]) -> Float[Tensor, "*batch end point"]:
        """H, with which c = c(0) + H(κ c(0) + q) at the points and, the last row, at 1.

        From c = c(0) + A(κc + q) at the points and c(1) = c(0) + b·(κc + q).
        """
        green = torch.linalg.inv_ex(self.differentiation - torch.diag_embed(kappa))[0]
        last = self.weights + (self.weights * kappa)[..., None, :] @ green
        return torch.cat([green, last], -2)

    def moved(self, other: Rule) -> Float[Tensor, "other point"]:
        """From values of a polynomial at the points to those at the points of another rule."""
        return _interpolation(self.points, other.points)

    def values(self, at: Float[Tensor, " other"]) -> Float[Tensor, "other end"]:
        """From c at 0 and the points, to c at others."""
        return _interpolation(torch.cat([self.points.new_zeros(1), self.points]), at)

    def integrals(self, to: Float[Tensor, " other"]) -> Float[Tensor, "other point"]:
        """From values of a polynomial at the points to its integrals from 0."""
        return torch.from_numpy(_integrals(_shifted(self.points), _shifted(to)))


def two_nodes() -> Rule:
    """Slopes from the means of both ends, as by the implicit midpoint rule: of order 2."""
    return _rule(np.zeros(1))


@cache
def radau(count: int) -> Rule:
    """Radau IIA, of order 2 × count − 1: damps what decays within the first points."""
    return _rule(legendre.legroots(np.eye(count + 1)[count] - np.eye(count + 1)[count - 1]))


def _rule(x: np.ndarray) -> Rule:
    """Of points in (−1, 1]."""
    parts = (0.5 * (x + 1), np.linalg.inv(_integrals(x, x)), _integrals(x, np.ones(1))[0])
    return Rule(*map(torch.from_numpy, parts))


def _integrals(x: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Of the Lagrange polynomials of x from −1, times a half."""
    primitives = [legendre.legint(row, lbnd=-1) for row in np.eye(len(x))]
    whole = np.stack([legendre.legval(to, each) for each in primitives], -1)
    return 0.5 * whole @ np.linalg.inv(legendre.legvander(x, len(x) - 1))


def _interpolation(points: Tensor, to: Tensor) -> Tensor:
    degree = len(points) - 1
    values = legendre.legvander(_shifted(to), degree)
    return torch.from_numpy(values @ np.linalg.inv(legendre.legvander(_shifted(points), degree)))


def _shifted(points: Tensor) -> np.ndarray:
    """From [0, 1] to [−1, 1]."""
    return 2 * points.cpu().numpy() - 1
