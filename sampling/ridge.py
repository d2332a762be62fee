"""Weighted Bayesian ridge regression with closed-form leave-one-out predictions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Posterior of y = X J + ε, ε_i ~ N(0, σ²/w_i), J_α ~ N(0, σ² d_α²/λ).

    Attributes:
        mean: posterior mean of J.
        covariance: posterior covariance σ² A⁻¹, A = Xᵀ W X + λ D⁻².
        noise: σ, with σ² = Σ w r²/(n − tr H) over the n structures of weight above zero
            (MacKay 1992, doi:10.1162/neco.1992.4.3.415).
        predictions: of each y from all the others, ŷ_i − h_i (y_i − ŷ_i)/(1 − h_i), with h the
            diagonal of H = X A⁻¹ Xᵀ W.
    """

    mean: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    noise: float
    predictions: Float[np.ndarray, " sample"]


def bayesian_ridge(
    design: Float[np.ndarray, "sample parameter"],
    target: Float[np.ndarray, " sample"],
    *,
    weights: Float[np.ndarray, " sample"],
    widths: Float[np.ndarray, " parameter"],
    ridge: float,
) -> LinearFit:
    """Fit `target` = `design` · J with prior widths d = `widths` and λ = `ridge` > 0.

    Solved by QR of [W^½ X D; λ^½ 1], which keeps the condition number of X itself.
    """
    root = np.sqrt(weights)
    count = len(widths)
    stacked = np.vstack([root[:, None] * design * widths, np.sqrt(ridge) * np.eye(count)])
    q, r = np.linalg.qr(stacked)
    top = q[: len(target)]
    mean = widths * np.linalg.solve(r, top.T @ (root * target))
    factor = widths[:, None] * np.linalg.inv(r)
    leverage = (top**2).sum(1)
    residual = target - design @ mean
    freedom = (weights > 0).sum() - leverage.sum()
    noise = np.sqrt((weights * residual**2).sum() / freedom)
    return LinearFit(
        mean=mean,
        covariance=noise**2 * factor @ factor.T,
        noise=float(noise),
        predictions=target - residual / (1 - leverage),
    )
