"""Whether a box is homogeneous: order parameters of its octants against a homogeneous state's."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, UInt8

from idnn.units import BOLTZMANN_EV
from sampling.lattice import Supercell

LARGEST_EXCESS = 3.0
"""Times a homogeneous state's variance beyond which octants differ as phases do."""


@dataclass(frozen=True, eq=False)
class BlockVariance:
    """How η differs between the octants of a box, all in η squared.

    Attributes:
        observed: covariance of the octants' η about the box's, over octants and states.
        predicted: the same of a homogeneous state, NaN where the Hessian is not that of one.
        excess: largest ratio of observed to predicted variance over all directions of η.
        domains: whether the box has parted into domains: the excess is above 3, or there is no
            homogeneous state to compare with.
    """

    observed: Float[np.ndarray, "batch d d"]
    predicted: Float[np.ndarray, "batch d d"]
    excess: Float[np.ndarray, " batch"]
    domains: Bool[np.ndarray, " batch"]


def block_variance(
    supercell: Supercell,
    occupation: UInt8[np.ndarray, "batch state site"],
    hessian: Float[np.ndarray, "batch d d"],
    *,
    temperature: Float[np.ndarray, " batch"],
) -> BlockVariance:
    """Covariance of η between octants, against (1 − 1/8)(k_BT/N_b) H⁻¹ of a homogeneous state.

    An octant of N_b sites that is larger than the correlation length fluctuates with its own
    susceptibility; the umbrella holds the whole box and not its parts, so that H enters without it,
    and 1/8 of the variance is the box's own. Shorter octants fluctuate less. Domains differ by
    what the phases differ, however large the box.

    Args:
        supercell: the box, an even number of cells per edge.
        occupation: states of each point.
        hessian: ∂²f/∂η² (eV per site) at each point's ⟨η⟩, as `sampling.estimate.hessian` finds it.
        temperature: K, of each point.

    Raises:
        ValueError: an odd number of cells per edge, which octants cannot share.
    """
    if any(n % 2 for n in supercell.edges):
        raise ValueError(
            f"`cells` must be even for a box to have octants; it is {supercell.cells}."
        )
    q = supercell.system.q.numpy()
    eta = _octants(supercell, occupation) @ q.T
    deviation = eta - eta.mean(2, keepdims=True)
    observed = np.einsum("bsoi,bsoj->bij", deviation, deviation) / np.prod(eta.shape[1:3])
    softest = np.linalg.eigvalsh(np.where(np.isfinite(hessian), hessian, -1.0)).min(-1)
    homogeneous = softest > 0
    sites = len(supercell.sites) / 8
    predicted = np.full_like(observed, np.nan)
    thermal = BOLTZMANN_EV * temperature[homogeneous] / sites
    inverse = np.linalg.inv(hessian[homogeneous])
    predicted[homogeneous] = 7 / 8 * thermal[:, None, None] * inverse
    excess = np.full(len(observed), np.inf)
    ratio = np.linalg.solve(predicted[homogeneous], observed[homogeneous])
    excess[homogeneous] = np.linalg.eigvals(ratio).real.max(-1)
    return BlockVariance(observed, predicted, excess, excess > LARGEST_EXCESS)


def _octants(
    supercell: Supercell, occupation: UInt8[np.ndarray, "batch state site"]
) -> Float[np.ndarray, "batch state 8 d"]:
    """Sublattice fractions of each octant; sites are numbered by sublattice, then cell."""
    halves = [part for n in supercell.edges for part in (2, n // 2)]
    grid = occupation.reshape(*occupation.shape[:2], supercell.system.dimension, *halves)
    fractions = grid.mean((4, 6, 8))
    corners = [fractions[..., x, y, z] for x, y, z in product(range(2), repeat=3)]
    return np.stack(corners, 2)
