"""Small systems and expansions for the Monte Carlo tests."""

from dataclasses import replace

import numpy as np
import torch

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.expansion import Orbit

_HALVES = torch.tensor([[0.5, 0.5], [0.5, -0.5]], dtype=torch.float64)
_SWAP = torch.tensor([[0, 1], [1, 0]])

LAYERS = replace(
    FCC_L12,
    name="fcc-layers",
    q=_HALVES,
    group=_SWAP,
    ordered_cell=((1, 0, 0), (0, 1, 0), (0, 0, 2)),
)
"""Two sublattices of fcc; two cells per edge have 16 sites, few enough to list every state."""
B2 = replace(
    FCC_L12,
    name="bcc-B2",
    q=_HALVES,
    group=_SWAP,
    ordered_cell=((0, 1, 1), (1, 0, 1), (1, 1, 0)),
)
"""Two simple-cubic sublattices of bcc."""

Q = FCC_L12.q.numpy()


def expansion_from(orbits, eci):
    """An fcc expansion of given clusters [cluster, order, 3 offsets]."""
    with_basis = [np.pad(np.array(c), ((0, 0), (0, 0), (0, 1))) for c in orbits]
    return replace(
        illustrative_expansion(),
        orbits=tuple(Orbit(radius=1.0, clusters=c) for c in with_basis),
        eci=np.array(eci, dtype=float),
        covariance=np.zeros((len(eci),) * 2),
    )


def ideal_gas():
    """No energy at all."""
    return expansion_from([], [0.0])


def short_ranged():
    """The illustrative expansion without its fourth shell, which would not fit 16 sites."""
    whole = illustrative_expansion()
    kept = [i for i in range(len(whole.orbits)) if i != 4]
    return expansion_from(
        [whole.orbits[i].clusters[..., :3] for i in kept], [0.05, 0.03, *whole.eci[1:][kept[1:]]]
    )


def all_states(sites):
    """Every occupation of a box, [state, site]."""
    return ((np.arange(2**sites)[:, None] >> np.arange(sites)) & 1).astype(np.uint8)


def eta_of(box, occupation):
    """η of occupations [..., site]."""
    return box.filled(occupation) / box.sites_per_sublattice @ box.system.q.numpy().T


def bias(box, umbrella, occupation):
    """V of occupations [..., site] (eV)."""
    return len(box.sites) * umbrella.energy(eta_of(box, occupation))


def boltzmann(hamiltonian, umbrella, temperature, states):
    """Exact weight of each state, and the states' energies (eV) and η."""
    energy = hamiltonian.energy(states)
    total = (energy + bias(hamiltonian.supercell, umbrella, states)) / (BOLTZMANN_EV * temperature)
    weight = np.exp(total.min() - total)
    return weight / weight.sum(), energy, eta_of(hamiltonian.supercell, states)
