"""What data leave open of a network's parameters, and of what is computed from it, to first order.

A member θ̂ of a committee is taken as the mean of a normal law of covariance C = (JᵀJ + diag α)⁻¹, J
the derivatives of the residuals in units of their σ (the Laplace approximation; MacKay 1992,
doi:10.1162/neco.1992.4.3.448). A quantity q(θ) then has the variance sᵀCs, s = ∂q/∂θ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.barriers import Barrier
from idnn.data import Data, Derivatives, Values
from idnn.ensemble import prior_groups
from idnn.equilibrium import TieLine
from idnn.levenberg import STRONGEST, WEAKEST, numbered
from idnn.network import IntegrableNetwork
from idnn.residuals import Block, blocks


def covariance(
    network: IntegrableNetwork, data: Data | Sequence[Data], precision: Float[Tensor, " parameter"]
) -> Float[Tensor, "parameter parameter"]:
    """C of a network of one member. A factor common to all σ and the prior is left out."""
    curvature = torch.diag(precision)
    for block in blocks(network, data):
        jacobian = _linearised(network, block).flatten(0, 1)
        curvature = curvature + jacobian.T @ jacobian
    return torch.cholesky_inverse(torch.linalg.cholesky(curvature))


def precision_of(network: IntegrableNetwork) -> Float[Tensor, " parameter"]:
    """α of the prior of every parameter, from the members as samples: ⟨θ²⟩ = 1/α in each group."""
    parameters = _parameters(network)
    group = numbered({k: p.shape[1:] for k, p in parameters.items()}, prior_groups(parameters))
    squares = torch.cat([p.flatten(1) for p in parameters.values()], 1).square().mean(0)
    empty = squares.new_zeros(int(group.max()) + 1)
    mean = empty.index_add(0, group, squares) / empty.index_add(0, group, torch.ones_like(squares))
    return (1 / mean.clamp_min(1 / STRONGEST)).clamp_min(WEAKEST)[group]


def value_sensitivity(
    network: IntegrableNetwork, eta: Float[Tensor, "sample d"]
) -> Float[Tensor, "sample parameter"]:
    """∂f/∂θ of a network of one member, eV/site."""
    one = torch.ones(len(eta), dtype=eta.dtype)
    (block,) = blocks(network, Values(eta, 0 * one, one))
    return _linearised(network, block)[:, 0]


def gradient_sensitivity(
    network: IntegrableNetwork,
    eta: Float[Tensor, "sample d"],
    directions: Float[Tensor, "d d"] | None = None,
) -> Float[Tensor, "sample d parameter"]:
    """∂(vᵀ∂f/∂η)/∂θ of a network of one member for each direction v, eV/site."""
    (block,) = blocks(network, Derivatives(eta, 0 * eta, torch.ones_like(eta), directions))
    return _linearised(network, block)


def tie_line_sensitivity(
    network: IntegrableNetwork, line: TieLine, curvature: Float[Tensor, "end d d"]
) -> Float[Tensor, "end parameter"]:
    """∂η₀/∂θ of both ends of a tie-line, H = ∂²f/∂η² at them, as θ of one member changes.

    δμ = (δf₂ − δf₁)/(η₀₂ − η₀₁) and δη = H⁻¹(e₀ δμ − δ∂f/∂η), δf and δ∂f/∂η at fixed η.
    """
    ends = torch.stack([line.left.eta, line.right.eta])
    force = -gradient_sensitivity(network, ends)
    force[:, 0] += _slope_sensitivity(network, line)
    return torch.linalg.solve(curvature, force)[:, 0]


def barrier_sensitivity(
    network: IntegrableNetwork, line: TieLine, barrier: Barrier
) -> Float[Tensor, " parameter"]:
    """∂/∂θ (eV/site) of the height of a barrier at the μ of a tie-line."""
    saddle, left = barrier.saddle, barrier.left.eta
    change = value_sensitivity(network, torch.stack([saddle, left]))
    along = float(saddle[0] - left[0])
    return change[0] - change[1] - along * _slope_sensitivity(network, line)


def _slope_sensitivity(network: IntegrableNetwork, line: TieLine) -> Float[Tensor, " parameter"]:
    """∂μ/∂θ of a common tangent."""
    left, right = line.compositions
    change = value_sensitivity(network, torch.stack([line.left.eta, line.right.eta]))
    return (change[1] - change[0]) / (right - left)


def _linearised(
    network: IntegrableNetwork, block: Block
) -> Float[Tensor, "row component parameter"]:
    (found,) = block.linearised(_parameters(network), block.rows)[1]
    return found


def _parameters(network: IntegrableNetwork) -> Mapping[str, Tensor]:
    return {name: p.detach() for name, p in network.named_parameters()}
