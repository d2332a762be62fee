"""Orbits of a binary parent lattice from icet, turned into flat integer tables."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from ase import Atoms
from icet import ClusterSpace

from sampling.expansion import ClusterExpansion, Orbit, Provenance
from sampling.ordering import ParentLattice, fcc


def orbits(lattice: ParentLattice, cutoffs: Sequence[float]) -> tuple[Orbit, ...]:
    """Every orbit whose largest site distance is within the cutoff (Å) of its order.

    Args:
        lattice: the parent lattice, given by its primitive cell.
        cutoffs: one length (Å) for pairs, one for triplets, and so on.

    Raises:
        ValueError: the lattice's cell is not primitive.
    """
    space = cluster_space(lattice, cutoffs)
    listed = [space.orbit_list.get_orbit(i) for i in range(len(space.orbit_list))]
    return tuple(
        Orbit(
            radius=float(orbit.radius),
            clusters=np.array(
                [
                    [[*site.unitcell_offset, site.index] for site in cluster.lattice_sites]
                    for cluster in orbit.clusters
                ],
                dtype=np.int64,
            ),
        )
        for orbit in listed
    )


def cluster_space(lattice: ParentLattice, cutoffs: Sequence[float]) -> ClusterSpace:
    """The lattice's cluster space in icet, whose spin is +1 for the heavier of the two species.

    Raises:
        ValueError: the lattice's cell is not primitive.
    """
    with quiet_spglib():
        space = ClusterSpace(atoms(lattice), list(cutoffs), list(lattice.species))
    kept = space.primitive_structure
    if not (
        np.allclose(kept.cell.array, lattice.primitive_cell)
        and np.allclose(kept.positions, lattice.basis @ lattice.primitive_cell)
    ):
        raise ValueError(
            "`primitive_cell` must be primitive and set as spglib sets it; use "
            f"{kept.cell.array.tolist()} with `basis` {kept.get_scaled_positions().tolist()}."
        )
    return space


def atoms(lattice: ParentLattice) -> Atoms:
    """The primitive cell, filled with the first species."""
    return Atoms(
        [lattice.species[0]] * len(lattice.basis),
        cell=lattice.primitive_cell,
        scaled_positions=lattice.basis,
        pbc=True,
    )


@contextmanager
def quiet_spglib() -> Iterator[None]:
    """Silence the deprecation that spglib ≥ 2.7 raises on behalf of icet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Set OLD_ERROR_HANDLING")
        yield


def illustrative_expansion() -> ClusterExpansion:
    """A made-up fcc Ni–Al model with L1₂ and L1₀ ground states, for trials and benchmarks.

    Pairs to the fourth shell, the nearest-neighbour triangle and tetrahedron (eV per cluster).
    """
    lattice = fcc(("Ni", "Al"), 3.56)
    interactions = np.array([0.0, 0.0, 0.025, -0.010, 0.002, -0.001, 0.004, -0.003])
    return ClusterExpansion(
        species=lattice.species,
        primitive_cell=lattice.primitive_cell,
        basis=lattice.basis,
        orbits=orbits(lattice, [5.1, 2.6, 2.6]),
        eci=interactions,
        covariance=np.zeros((len(interactions),) * 2),
        provenance=Provenance("illustrative", "", {}, None, None, None),
    )
