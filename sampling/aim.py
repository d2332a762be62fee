"""The bias that brings the order parameters to where a point is wanted."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.free_energy import FreeEnergy, chemical_potential
from idnn.order_parameters import FCC_L12, System
from sampling.cvm import ClusterVariation, NoHomogeneousState
from sampling.expansion import ClusterExpansion
from sampling.mean_field import MeanField


def bias_centre(
    f: FreeEnergy, eta: Float[Tensor, "sample d"], stiffness: Float[Tensor, " d"]
) -> Float[Tensor, "sample d"]:
    """κ = η + μ(η)/2φ: the centre of the bias that brings ⟨η⟩ to η, as far as f is right."""
    with torch.no_grad():
        return eta + chemical_potential(f, eta) / (2 * stiffness)


def first_bias_centre(
    expansion: ClusterExpansion,
    system: System,
    temperature: float,
    eta: Float[Tensor, "sample d"],
    stiffness: Float[Tensor, " d"],
) -> Float[Tensor, "sample d"]:
    """κ before anything is sampled, from the expansion's energies.

    On the sublattices of fcc by the cluster variation method; elsewhere, and where that has no
    homogeneous state, by mean field.
    """
    kappa = bias_centre(MeanField(expansion, system, temperature), eta, stiffness)
    if system.name != FCC_L12.name:
        return kappa
    f = ClusterVariation(expansion, temperature)
    found = torch.ones(len(eta), dtype=torch.bool)
    try:
        f(eta)
    except NoHomogeneousState as error:
        found = ~error.missing
    kappa[found] = bias_centre(f, eta[found], stiffness)
    return kappa
