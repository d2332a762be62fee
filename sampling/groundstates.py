"""Ground states of an expansion by exhaustive enumeration, and distances from the convex hull."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
from ase import Atoms
from icet.tools import enumerate_structures
from jaxtyping import Float, Int

from idnn.checks import require_in_range
from sampling.clusters import atoms, quiet_spglib
from sampling.expansion import ClusterExpansion
from sampling.hull import energy_above_hull, lower_hull
from sampling.mapping import Crystal, map_to_lattice
from sampling.ordering import Ordering, ParentLattice
from sampling.prototypes import names

ON_HULL = 1e-9
"""Energies (eV/site) closer to the hull than this lie on it; sums of ECIs are exact to 1e-14."""


@dataclass(frozen=True, eq=False)
class GroundStates:
    """Every distinct ordering up to some cell size, with predicted energies.

    Attributes:
        orderings: one of each class of symmetry-equivalent orderings.
        names: prototype and formula of each, as in `L1_2 Ni3Al`.
        fractions: site fraction of the second species.
        energies: predicted (eV/site), against the same reference as the expansion.
        above_hull: distance above the convex hull of them all (eV/site).
    """

    orderings: tuple[Ordering, ...]
    names: tuple[str, ...]
    fractions: Float[np.ndarray, " sample"]
    energies: Float[np.ndarray, " sample"]
    above_hull: Float[np.ndarray, " sample"]

    @property
    def vertices(self) -> Int[np.ndarray, " vertex"]:
        """The ground states, by composition."""
        return lower_hull(self.fractions, self.energies)

    def distance(self, name: str) -> float:
        """Distance above the hull (eV/site) of the ordering called `name`.

        Raises:
            ValueError: no ordering has that name.
        """
        if name not in self.names:
            known = sorted({n for n in self.names if "_" in n})
            raise ValueError(f"`name` must be one of {known}; it is {name!r}.")
        return float(self.above_hull[self.names.index(name)])

    def is_on_hull(self, name: str) -> bool:
        """Whether the ordering called `name` is a ground state."""
        return self.distance(name) <= ON_HULL


def enumerate_orderings(lattice: ParentLattice, largest: int) -> tuple[Ordering, ...]:
    """Every distinct ordering of up to `largest` sites: 631 for a binary on fcc up to 8.

    Hart & Forcade (2008), doi:10.1103/PhysRevB.77.224115, as icet implements it.

    Raises:
        ValueError: `largest` is outside [1, 12]; beyond, there are too many to list.
    """
    require_in_range("largest", largest, 1, 12)
    cells = range(1, largest // len(lattice.basis) + 1)
    with quiet_spglib():
        # icet annotates one structure but yields many.
        listed = cast(
            "Iterable[Atoms]",
            enumerate_structures(atoms(lattice), cells, list(lattice.species)),
        )
        crystals = [
            Crystal(a.cell.array, a.get_scaled_positions(), tuple(a.get_chemical_symbols()))
            for a in listed
        ]
    return tuple(map_to_lattice(crystal, lattice) for crystal in crystals)


def find_ground_states(expansion: ClusterExpansion, *, largest: int = 8) -> GroundStates:
    """Predict every ordering of up to `largest` sites and find the convex hull.

    Raises:
        ValueError: the sites of the expansion do not all share the same two species.
    """
    if len(set(expansion.species)) > 1 or len(expansion.species[0]) != 2:
        raise ValueError(
            f"`expansion.species` must be the same two on every site; they are {expansion.species}."
        )
    first, second = expansion.species[0]
    lattice = ParentLattice((first, second), expansion.primitive_cell, expansion.basis)
    orderings = enumerate_orderings(lattice, largest)
    fractions = np.array([ordering.fraction for ordering in orderings])
    energies = expansion.predict(orderings)
    return GroundStates(
        orderings=orderings,
        names=names(lattice, orderings),
        fractions=fractions,
        energies=energies,
        above_hull=energy_above_hull(fractions, energies),
    )
