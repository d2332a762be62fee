"""Orbits and expansions from icet, turned into flat integer tables."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from icet import ClusterExpansion as IcetExpansion
from icet import ClusterSpace
from icet.core.orbit import Orbit as IcetOrbit
from jaxtyping import Int

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
    return tuple(Orbit(float(orbit.radius), _clusters(orbit)) for orbit in listed)


def _clusters(orbit: IcetOrbit) -> Int[np.ndarray, "cluster order 4"]:
    return np.array(
        [
            [[*site.unitcell_offset, site.index] for site in cluster.lattice_sites]
            for cluster in orbit.clusters
        ],
        dtype=np.int64,
    )


def from_icet(expansion: IcetExpansion, *, method: str = "unknown") -> ClusterExpansion:
    """An icet cluster expansion of the energy per atom (eV), of any lattice and any species.

    Sites where icet allows one species alone are left out; energies then are per site that has a
    choice, the whole crystal's the same. The heaviest species of a site comes first, which makes
    our point functions icet's. Merged and pruned orbits stay so. What icet fitted by way of
    constraints is in its parameters. Uncertainties are not part of an icet expansion: the
    covariance is zero.

    Files are read by icet's `ClusterExpansion.read`, which executes what it finds there: trust the
    source.

    Args:
        expansion: as icet holds it.
        method: where the energies come from, for the record.

    Raises:
        ValueError: no site has a choice of species.
    """
    space = expansion.get_cluster_space_copy()
    allowed = [sorted(names, key=lambda n: -atomic_numbers[n]) for names in space.chemical_symbols]
    active = [site for site, names in enumerate(allowed) if len(names) > 1]
    if not active:
        raise ValueError("`expansion` must have a site that two species share; it has none.")
    primitive = space.primitive_structure
    per_site = len(allowed) / len(active)
    found = [
        term
        for index in range(len(space.orbit_list))
        for term in _terms(space.orbit_list.get_orbit(index), active)
    ]
    multiplicity = np.array([1, *(orbit.multiplicity / len(active) for orbit in found)])
    return ClusterExpansion(
        species=tuple(tuple(allowed[site]) for site in active),
        primitive_cell=primitive.cell.array,
        basis=primitive.get_scaled_positions(wrap=False)[active],
        orbits=tuple(found),
        eci=per_site * np.asarray(expansion.parameters, dtype=np.float64) / multiplicity,
        covariance=np.zeros((len(expansion.parameters),) * 2),
        provenance=Provenance(method, "", {"imported": "icet"}, None, None, None),
    )


def _terms(orbit: IcetOrbit, active: list[int]) -> Iterator[Orbit]:
    """One orbit for each way, up to symmetry, that its members can carry point functions."""
    clusters = _clusters(orbit)
    clusters[..., 3] = np.searchsorted(active, clusters[..., 3])
    for element in orbit.cluster_vector_elements:
        functions = np.array(element["multicomponent_vector"])[element["site_permutations"]]
        yield Orbit(
            radius=float(orbit.radius),
            clusters=np.repeat(clusters, len(functions), axis=0),
            functions=np.tile(functions, (len(clusters), 1)) if functions.any() else None,
        )


def cluster_space(lattice: ParentLattice, cutoffs: Sequence[float]) -> ClusterSpace:
    """The lattice's cluster space in icet, whose spin is +1 for the heavier of the two species.

    Raises:
        ValueError: the lattice's cell is not primitive, or a species is no chemical element.
    """
    unknown = [name for name in lattice.species if name not in chemical_symbols[1:]]
    if unknown:
        raise ValueError(f"`species` must be symbols of elements, such as Ni; {unknown} are not.")
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
        species=(lattice.species,),
        primitive_cell=lattice.primitive_cell,
        basis=lattice.basis,
        orbits=orbits(lattice, [5.1, 2.6, 2.6]),
        eci=interactions,
        covariance=np.zeros((len(interactions),) * 2),
        provenance=Provenance("illustrative", "", {}, None, None, None),
    )
