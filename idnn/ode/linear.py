"""A linear solve whose factors are given, so that one factorisation serves many right sides."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Factors(NamedTuple):
    """PLU = A of every row, as LAPACK keeps it."""

    lu: Float[Tensor, "row n n"]
    pivots: Int[Tensor, "row n"]


def factored(matrix: Float[Tensor, "row n n"]) -> Factors:
    """The factors of square matrices, as numbers without derivatives; singular ones give NaN."""
    lu, pivots, _ = torch.linalg.lu_factor_ex(matrix.detach())
    return Factors(lu, pivots)


def solved(
    matrix: Float[Tensor, "row n n"], factors: Factors, right: Float[Tensor, "row n"]
) -> Float[Tensor, "row n"]:
    """A⁻¹r. Its derivatives, A⁻ᵀr̄ and −(A⁻ᵀr̄)(A⁻¹r)ᵀ, use the same factors."""
    if not torch.is_grad_enabled():
        return _back(*factors, right)
    return _Solved.apply(matrix, right, *factors)


def _back(lu: Tensor, pivots: Tensor, right: Tensor, *, adjoint: bool = False) -> Tensor:
    return torch.linalg.lu_solve(lu, pivots, right[..., None], adjoint=adjoint)[..., 0]


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, right: Tensor, lu: Tensor, pivots: Tensor) -> Tensor:  # noqa: ANN401
        del matrix  # known by its factors
        u = _back(lu, pivots, right)
        ctx.save_for_backward(u, lu, pivots)
        ctx.save_for_forward(u, lu, pivots)
        return u

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, out: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        u, lu, pivots = ctx.saved_tensors
        right = _back(lu, pivots, out, adjoint=True)
        wanted = ctx.needs_input_grad[0]
        return -right[:, :, None] * u[:, None] if wanted else None, right, None, None

    @staticmethod
    def jvp(ctx: Any, matrix: Tensor | None, right: Tensor | None, *_: None) -> Tensor:  # noqa: ANN401
        u, lu, pivots = ctx.saved_tensors
        change = torch.zeros_like(u) if right is None else right
        if matrix is not None:
            change = change - (matrix @ u[..., None])[..., 0]
        return _back(lu, pivots, change)
