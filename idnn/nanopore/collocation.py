"""Collocation of linear equations dc/dτ = κ(τ) c + q on [0, 1], element by element."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
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
        matrix = self.differentiation.to(kappa) - torch.diag_embed(kappa)
        green, weights = torch.linalg.inv_ex(matrix)[0], self.weights.to(kappa)
        last = weights + (weights * kappa)[..., None, :] @ green
        return torch.cat([green, last], -2)


class Mesh(NamedTuple):
    """Elements with points of a rule each.

    Attributes:
        rule: of every element.
        edges: of the elements, from 0 to 1.
    """

    rule: Rule
    edges: Float[Tensor, " edge"]

    @property
    def size(self) -> int:
        """Points of all elements."""
        return len(self.rule.points) * len(self.lengths)

    @property
    def lengths(self) -> Float[Tensor, " element"]:
        """Of the elements."""
        return self.edges.diff()

    @property
    def points(self) -> Float[Tensor, " point"]:
        """Of all elements."""
        return (self.edges[:-1, None] + self.lengths[:, None] * self.rule.points).flatten()

    def interpolation(self, at: Float[Tensor, " other"]) -> Float[Tensor, "other point"]:
        """From a polynomial in each element, given at its points, to values elsewhere."""
        out = at.new_zeros(len(at), self.size)
        for rows, columns, x in self._elements(at):
            out[rows, columns] = _interpolation(self.rule.points, x)
        return out

    def continuous(self, at: Float[Tensor, " other"]) -> Float[Tensor, "other end"]:
        """The same for one that is given at 0, too, and begins in an element where it ended."""
        out = at.new_zeros(len(at), self.size + 1)
        ends = torch.cat([at.new_zeros(1), self.rule.points])
        for rows, columns, x in self._elements(at):
            out[rows, columns.start : columns.stop + 1] = _interpolation(ends, x)
        return out

    def integrals(self, to: Float[Tensor, " other"]) -> Float[Tensor, "other point"]:
        """From a polynomial in each element, given at its points, to integrals from 0."""
        out = to.new_zeros(len(to), self.size)
        whole = (self.lengths[:, None] * self.rule.weights).flatten()
        for (rows, columns, x), length in zip(self._elements(to), self.lengths, strict=True):
            out[rows, : columns.start] = whole[: columns.start]
            out[rows, columns] = length * _integrals(self.rule.points, x)
        return out

    def _elements(self, at: Tensor) -> Iterator[tuple[Bool[Tensor, " other"], slice, Tensor]]:
        """Which of some places are in each element, its points, and where in it they are."""
        count = len(self.rule.points)
        owner = torch.searchsorted(self.edges[1:-1].contiguous(), at.contiguous())
        for e, (low, length) in enumerate(zip(self.edges, self.lengths, strict=False)):
            rows = owner == e
            yield rows, slice(e * count, (e + 1) * count), (at[rows] - low) / length


def two_nodes() -> Mesh:
    """Slopes from the means of both ends, as by the implicit midpoint rule: of order 2."""
    return Mesh(_rule(torch.tensor([0.5], dtype=torch.float64)), _edges(1))


@cache
def radau(count: int, elements: int) -> Mesh:
    """Radau IIA of `count` points, of order 2 × count − 1: damps what decays in a short way.

    Elements are short at both ends, as the distances of Chebyshev's points.
    """
    roots = legendre.legroots(np.eye(count + 1)[count] - np.eye(count + 1)[count - 1])
    return Mesh(_rule(torch.from_numpy(0.5 * (roots + 1))), _edges(elements))


def _edges(elements: int) -> Float[Tensor, " edge"]:
    angles = torch.linspace(0, torch.pi, elements + 1, dtype=torch.float64)
    return (1 - angles.cos()) / 2


def _rule(points: Float[Tensor, " point"]) -> Rule:
    weights = _integrals(points, points.new_ones(1))[0]
    return Rule(points, torch.linalg.inv(_integrals(points, points)), weights)


def _integrals(points: Tensor, to: Tensor) -> Float[Tensor, "other point"]:
    """Of the Lagrange polynomials, from 0."""
    primitives = [legendre.legint(row, lbnd=-1) for row in np.eye(len(points))]
    whole = 0.5 * np.stack([legendre.legval(2 * to.numpy() - 1, each) for each in primitives], -1)
    return torch.from_numpy(whole @ np.linalg.inv(_legendre(points, len(points))))


def _interpolation(points: Tensor, to: Tensor) -> Float[Tensor, "other point"]:
    """Values of the Lagrange polynomials."""
    inverse = np.linalg.inv(_legendre(points, len(points)))
    return torch.from_numpy(_legendre(to, len(points)) @ inverse)


def _legendre(points: Tensor, count: int) -> np.ndarray:
    return legendre.legvander(2 * points.numpy() - 1, count - 1)
