"""The admissible order parameters as linear inequalities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.checks import require_finite, require_shape

SAME = 1e-9
"""Difference of two rows below which they are one."""


@dataclass(frozen=True, eq=False)
class Polytope:
    """A η ≤ b.

    Raises:
        ValueError: an entry is not finite, or A and b have different numbers of rows.
    """

    matrix: Float[Tensor, "face d"]
    bound: Float[Tensor, " face"]

    def __post_init__(self) -> None:
        require_finite("matrix", self.matrix)
        require_finite("bound", self.bound)
        require_shape("bound", self.bound, (len(self.matrix),))

    def contains(self, eta: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Whether η fulfils every inequality; NaN does not."""
        return (eta @ self.matrix.T.to(eta) <= self.bound.to(eta)).all(-1)

    def corners(self, count: int) -> Float[Tensor, "sample d"]:
        """Those that lie farthest along each axis, both ways, and in `count` random directions.

        Raises:
            ValueError: the polytope is empty or unbounded.
        """
        found = []
        from scipy.optimize import linprog  # a solver that loads a model runs without scipy

        axes = np.eye(self.matrix.shape[1])
        others = np.random.default_rng(0).normal(size=(count, len(axes)))
        for direction in np.concatenate([axes, -axes, others]):
            result = linprog(
                -direction, A_ub=self.matrix.numpy(), b_ub=self.bound.numpy(), bounds=(None, None)
            )
            if not result.success:
                raise ValueError(f"`domain` must be bounded and not empty: {result.message}")
            found.append(result.x)
        return torch.from_numpy(np.stack(found))

    def kept_by(self, turns: Float[Tensor, "g d d"]) -> list[bool]:
        """Whether each matrix maps the faces onto each other."""
        faces = self._faces(self.matrix)
        return [same_rows(faces, self._faces(self.matrix @ turn)) for turn in turns]

    def _faces(self, matrix: Tensor) -> Tensor:
        """Unit normals, and the distance from the origin."""
        return torch.cat([matrix, self.bound[:, None]], 1) / matrix.norm(dim=1, keepdim=True)


def same_rows(a: Tensor, b: Tensor) -> bool:
    """Whether b's rows are a's in another order."""
    close = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") < SAME
    return bool(
        (close.sum(0) == close.T.sum(0)).all() and close.any(0).all() and close.any(1).all()
    )
