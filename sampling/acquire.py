"""What measuring μ at a candidate is worth, and batches that do not repeat themselves.

Criteria of the literature and our own for comparison; a campaign chooses by `sampling.goals`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.data import Derivatives
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import System

REACH = 0.04
"""Distance in η within which one point of a batch makes the next one less worth."""


def nearest(
    system: System, data: Derivatives, eta: Float[Tensor, "sample d"]
) -> Int[Tensor, " sample"]:
    """The row of data nearest to each η, in invariants."""
    return torch.cdist(system.invariants(eta), system.invariants(data.eta)).argmin(1)


def expected_error(
    system: System, data: Derivatives, eta: Float[Tensor, "sample d"]
) -> Float[Tensor, "sample d"]:
    """σ of μ that sampling at η would leave (eV/site): that of the nearest point."""
    sigma = data.sigma[nearest(system, data, eta)]
    return sigma.square().mean(-1, keepdim=True).sqrt().expand_as(eta)


def disagreement(
    network: IntegrableNetwork, eta: Float[Tensor, "sample d"], sigma: Float[Tensor, "sample d"]
) -> Float[Tensor, " sample"]:
    """What measuring μ with error σ would take off the committee's variance of it, (eV/site)².

    var²/(var + σ²), the mean over components: no more than that can be learned where boxes of
    different size disagree.
    """
    with torch.no_grad():
        variance = network.gradients(eta).var(0)
    return (variance.square() / (variance + sigma.square())).mean(-1)


def well_likeness(
    f: FreeEnergy, eta: Float[Tensor, "sample d"], slope: float
) -> Float[Tensor, " sample"]:
    """−|∂(f − slope·η₀)/∂η| (eV/site) where f is convex, −∞ elsewhere: the literature's wells.

    Teichert et al. 2020 (doi:10.1016/j.cma.2020.113281), with the slope of the line from the pure
    solvent to the ordered compound as the level of μ₀.
    """
    with torch.no_grad():
        mu = chemical_potential(f, eta)
    mu[:, 0] -= slope
    convex = torch.linalg.eigvalsh(hessian(f, eta))[:, 0] > 0
    return -mu.norm(dim=-1).where(convex, torch.inf)


def non_convexity(f: FreeEnergy, eta: Float[Tensor, "sample d"]) -> Float[Tensor, " sample"]:
    """Less the smallest eigenvalue of ∂²f/∂η² (eV/site): great where a state is unstable."""
    return -torch.linalg.eigvalsh(hessian(f, eta))[:, 0]


def novelty(
    system: System, data: Derivatives, eta: Float[Tensor, "sample d"]
) -> Float[Tensor, " sample"]:
    """Distance to the nearest point known, in invariants: unlike any seen, or any image of it."""
    return torch.cdist(system.invariants(eta), system.invariants(data.eta)).amin(1)


def choose(
    eta: Float[Tensor, "sample d"], worth: Float[Tensor, " sample"], count: int
) -> Int[Tensor, " chosen"]:
    """The `count` candidates of greatest worth, each lowering that of its neighbours.

    After a choice at η* every worth is multiplied by 1 − exp(−|η − η*|²/2r²), r = `REACH`.

    Raises:
        ValueError: there are fewer candidates than `count`, or a worth is negative.
    """
    if count > len(eta):
        raise ValueError(f"`count` must not exceed the {len(eta)} candidates; it is {count}.")
    if not bool((worth >= 0).all()):
        raise ValueError(f"`worth` must not be negative; its least is {float(worth.min()):.6g}.")
    taken = torch.zeros(len(eta), dtype=torch.bool)
    chosen = []
    for _ in range(count):
        best = int(worth.masked_fill(taken, -torch.inf).argmax())
        taken[best] = True
        chosen.append(best)
        distance = (eta - eta[best]).square().sum(-1)
        worth = worth * -torch.expm1(-distance / (2 * REACH**2))
    return torch.tensor(chosen, dtype=torch.int64)
