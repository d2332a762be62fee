"""Tables of coefficients, and what follows from them: nodes, weights, dense output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Numbers = Sequence[float]


@dataclass(frozen=True, eq=False)
class RosenbrockTable:
    """(I/γ − hJ)uᵢ = h f(t + cᵢh, y + Σ aᵢⱼuⱼ) + Σ eᵢⱼuⱼ + dᵢh² ∂f/∂t.

    The form without products by J (Hairer & Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.7).

    Attributes:
        gamma: γ.
        inner: a, strictly lower triangular.
        coupling: e, strictly lower triangular.
        nodes: c.
        in_time: d.
        weights: of u in y₁ − y₀.
        error: of u in the estimated error.
        bends: of u in K of the dense output, one row for each power of θ.
    """

    gamma: float
    inner: Float[Tensor, "s s"]
    coupling: Float[Tensor, "s s"]
    nodes: Float[Tensor, " s"]
    in_time: Float[Tensor, " s"]
    weights: Float[Tensor, " s"]
    error: Float[Tensor, " s"]
    bends: Float[Tensor, "power s"]

    @cached_property
    def sums(self) -> Float[Tensor, "s 2 all"]:
        """Of the state and all stages: the state at a stage, and what couples it to others."""
        return torch.stack([_of_state(self.inner, 1.0), _of_state(self.coupling, 0.0)], 1)

    @cached_property
    def result(self) -> Float[Tensor, "2 all"]:
        """Of the state and all stages: the state after the step, and its error."""
        return torch.stack([_of_state(self.weights, 1.0), _of_state(self.error, 0.0)])

    @staticmethod
    def of(
        alpha: Sequence[Numbers],
        gamma: Sequence[Numbers],
        weights: Numbers,
        error: Numbers,
        bends: Sequence[Numbers],
    ) -> RosenbrockTable:
        """From kᵢ = f(y + hΣαᵢⱼkⱼ) + hJΣγᵢⱼkⱼ, with u = hΓk."""
        a, g = lower(alpha), lower(gamma)
        own, inverse = float(g[0, 0]), torch.linalg.inv(lower(gamma))
        return RosenbrockTable(
            own,
            a @ inverse,
            torch.eye(len(g)).to(g) / own - inverse,
            a.sum(1),
            g.sum(1),
            vector(weights) @ inverse,
            vector(error) @ inverse,
            matrix(bends) @ inverse,
        )


@dataclass(frozen=True, eq=False)
class RungeKuttaTable:
    """kᵢ = f(t + cᵢh, y + hΣ aᵢⱼkⱼ): explicit, or with γ on the diagonal from the second stage on.

    Attributes:
        inner: a.
        weights: of hk in y₁ − y₀.
        error: of hk in the estimated error.
        gamma: the diagonal; 0 of explicit methods.
        order: to which the dense output is right.
    """

    inner: Float[Tensor, "s s"]
    weights: Float[Tensor, " s"]
    error: Float[Tensor, " s"]
    gamma: float
    order: int

    @cached_property
    def nodes(self) -> Float[Tensor, " s"]:
        """c = Σ a."""
        return self.inner.sum(1)

    @cached_property
    def sums(self) -> Float[Tensor, "s 1 all"]:
        """Of the state and all stages: the state at a stage."""
        return _of_state(self.inner, 1.0)[:, None]

    @cached_property
    def result(self) -> Float[Tensor, "2 all"]:
        """Of the state and all stages: the state after the step, and its error."""
        return torch.stack([_of_state(self.weights, 1.0), _of_state(self.error, 0.0)])

    @cached_property
    def bends(self) -> Float[Tensor, "power s"]:
        """Of hk in K of the dense output y₀ + θ(y₁ − y₀) + θ(1 − θ)(K₀ + θK₁ + θ²K₂).

        The shortest coefficients that meet the conditions of every rooted tree of up to `order`
        nodes. Of implicit methods the states of the stages are combined instead of their slopes,
        for slopes hold the errors of states times the stiffest eigenvalue; and what these states
        are when f is stiff, those of the slow motion at the nodes, is met to its fourth power.
        """
        each = self.inner if self.gamma else torch.eye(len(self.inner), dtype=self.inner.dtype)
        rows, wanted = [], []
        for tree in (tree for size in range(1, self.order + 1) for tree in _trees(size)):
            rows.append(each @ _weights_of(tree, self.inner))
            wanted.append(_bend(_size(tree), 1 / _density(tree)))
        for power in (3, 4) if self.gamma else ():
            rows.append(self.nodes**power)
            wanted.append(_bend(power, 1.0))
        found = torch.linalg.lstsq(torch.stack(rows), torch.stack(wanted), driver="gelsd").solution
        return found.T @ each


def _of_state(stages: Float[Tensor, "*row s"], weight: float) -> Float[Tensor, "*row all"]:
    """With the weight of the state before those of the stages."""
    return torch.nn.functional.pad(stages, (1, 0), value=weight)


def _bend(power: int, value: float) -> Float[Tensor, " power"]:
    """Coefficients b of (θᵖ − θ)v = θ(1 − θ)(b₀ + b₁θ + b₂θ²)."""
    out = torch.zeros(3, dtype=torch.float64)
    out[: power - 1] = -value
    return out


Tree = tuple[Any, ...]
"""A root, as its branches: trees."""


@cache
def _trees(size: int) -> tuple[Tree, ...]:
    """All rooted trees with so many nodes."""

    def forests(nodes: int, largest: int) -> list[Tree]:
        if nodes == 0:
            return [()]
        return [
            (first, *rest)
            for n in range(min(nodes, largest), 0, -1)
            for first in _trees(n)
            for rest in forests(nodes - n, n)
        ]

    return tuple({tuple(sorted(branches)) for branches in forests(size - 1, size - 1)})


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    """γ(τ) (Butcher; Hairer, Nørsett & Wanner 1993, doi:10.1007/978-3-540-78862-1, II.2)."""
    return _size(tree) * math.prod(map(_density, tree))


def _weights_of(tree: Tree, inner: Tensor) -> Tensor:
    """Φᵢ(τ): the product over branches of Σⱼ aᵢⱼΦⱼ."""
    out = torch.ones(len(inner), dtype=inner.dtype)
    for branch in tree:
        out = out * (inner @ _weights_of(branch, inner))
    return out


def vector(values: Numbers) -> Tensor:
    """Numbers as a row."""
    return torch.tensor(values, dtype=torch.float64)


def matrix(rows: Sequence[Numbers]) -> Tensor:
    """Rows of equal length."""
    return torch.tensor([list(row) for row in rows], dtype=torch.float64)


def lower(rows: Sequence[Numbers]) -> Tensor:
    """Rows of a lower triangle, filled up with zeros."""
    return matrix([[*row, *[0.0] * (len(rows) - len(row))] for row in rows])
