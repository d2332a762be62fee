"""Small systems and expansions for the Monte Carlo tests."""

from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from idnn.order_parameters import BCC_B2, FCC_L12, System
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.expansion import ClusterExpansion, Orbit
from sampling.ordering import Ordering, ParentLattice

_HALVES = torch.tensor([[0.5, 0.5], [0.5, -0.5]], dtype=torch.float64)
_SWAP = torch.tensor([[0, 1], [1, 0]])

LAYERS = replace(
    FCC_L12,
    name="fcc-layers",
    q=_HALVES,
    group=_SWAP,
    supplied=None,
    ordered_cell=((1, 0, 0), (0, 1, 0), (0, 0, 2)),
)
"""Two sublattices of fcc; two cells per edge have 16 sites, few enough to list every state."""
B2 = BCC_B2

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


def require_averages_of_all_states(hamiltonian, umbrella, *, temperature, kernel):
    """⟨η⟩ and ⟨E⟩ of a box of 16 sites against the sum over its 2¹⁶ states, within 4σ."""
    states = all_states(16)
    weight, energy, eta = boltzmann(hamiltonian, umbrella[0:1], temperature, states)
    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=4, kernel=kernel,
        schedule=Schedule(walkers=64, sweeps=500, burn_in=50, stride=1),
    )  # fmt: skip
    found = ergodic_mean(samples.eta).mean
    assert (np.abs(found.value[0] - weight @ eta) < 4 * found.stderr[0]).all()
    found = ergodic_mean(samples.energy[..., None]).mean
    assert abs(found.value[0, 0] - weight @ energy / 16) < 4 * found.stderr[0, 0]


def plain_system(name, ordered_cell, primitive_cell, basis):
    """As many orthogonal order parameters as the ordered cell has sites: a power of two."""
    q = np.ones((1, 1))
    while len(q) < abs(round(np.linalg.det(ordered_cell))) * len(basis):
        q = np.kron([[0.5, 0.5], [0.5, -0.5]], q)
    return System(
        name=name,
        q=torch.tensor(q),
        group=torch.arange(len(q))[None],
        ordered_cell=ordered_cell,
        prototypes={},
        primitive_cell=primitive_cell,
        basis=basis,
    )


HCP = ParentLattice(
    ("Ti", "Al"),
    2.9 * np.array([[1.0, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, np.sqrt(8 / 3)]]),
    np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
)
D019 = plain_system(
    "hcp-D019",
    ((2, 0, 0), (0, 2, 0), (0, 0, 1)),
    tuple(map(tuple, HCP.primitive_cell.tolist())),
    tuple(map(tuple, HCP.basis.tolist())),
)
"""Eight sublattices of hcp, four to each of its sites."""


def expansion_on(lattice, orbits, eci):
    """An expansion of given orbits on a lattice."""
    return ClusterExpansion(
        (lattice.species,) * len(lattice.basis), lattice.primitive_cell, lattice.basis,
        tuple(orbits),
        np.array(eci, dtype=float), np.zeros((len(eci),) * 2),
        illustrative_expansion().provenance,
    )  # fmt: skip


def ordering_on(box, row):
    """One occupation of a box as an ordering of its lattice."""
    return Ordering(
        np.diag(box.edges) @ box.ordered_cell,
        np.concatenate([box.sites, box.basis[:, None]], axis=1),
        row.astype(np.int64),
    )


def atoms_on(box, lattice, row):
    """One occupation of a box as atoms."""
    return Atoms(
        [lattice.species[k] for k in row],
        positions=(box.sites + lattice.basis[box.basis]) @ lattice.primitive_cell,
        cell=np.diag(box.edges) @ box.ordered_cell @ lattice.primitive_cell,
        pbc=True,
    )
