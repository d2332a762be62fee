"""From atoms in space to sites of a parent lattice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.ordering import Ordering, ParentLattice

STRAIN = 0.1
"""Largest principal stretch, beside the volume's, at which a cell still counts as the parent's.
The Bain path from fcc (c/a = 1) to bcc (c/a = 1/√2) reaches 0.21: halfway belongs to neither."""

SMALL_STRAIN = 0.02
"""Stretch of most relaxed orderings: searched first."""

ALIGNED = 1e-3
"""Strain below which a cell is taken as oriented like the lattice, and no rotation is sought."""

DISPLACEMENT = 0.25
"""Largest distance of an atom from its site, in units of the shortest site distance. Half of it
would be equally far from the next site."""


class NotOnLattice(ValueError):
    """A structure that is not an ordering of the parent lattice."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms of one periodic cell.

    Attributes:
        cell: rows are the cell vectors (Å).
        positions: fractional positions of the atoms.
        species: one name per atom.
    """

    cell: Float[np.ndarray, "3 3"]
    positions: Float[np.ndarray, "site 3"]
    species: tuple[str, ...]


def map_to_lattice(crystal: Crystal, lattice: ParentLattice) -> Ordering:
    """The ordering that `crystal` is, whatever its volume, rotation and (small) relaxation.

    Raises:
        NotOnLattice: a species is not the lattice's, the cell is not a cell of the lattice, or an
            atom is far from every site; the message names the atom and its distance.
    """
    occupation = _occupation(crystal, lattice)
    misfit: NotOnLattice | None = None
    for supercell in _supercells(crystal, lattice):
        try:
            return Ordering(supercell, _sites(crystal, lattice, supercell), occupation)
        except NotOnLattice as error:
            misfit = misfit or error
    raise misfit or NotOnLattice(
        f"its cell is no supercell of the lattice within a strain of {STRAIN:g}"
    )


def _occupation(crystal: Crystal, lattice: ParentLattice) -> Int[np.ndarray, " site"]:
    for site, name in enumerate(crystal.species):
        if name not in lattice.species:
            raise NotOnLattice(
                f"site {site} holds {name}, but the lattice is for {' and '.join(lattice.species)}"
            )
    return np.array([lattice.species.index(name) for name in crystal.species])


def _supercells(crystal: Crystal, lattice: ParentLattice) -> Iterator[Int[np.ndarray, "3 3"]]:
    """Integers S with cell = S P F: first F = 1, then rotations by growing strain.

    A cell may also fit the lattice in a wrong orientation (a coincidence lattice), so that only
    its atoms can tell; hence several. Small strains are tried first because they are quick.
    """
    primitive = _scaled_primitive(crystal, lattice)
    as_given = np.rint(crystal.cell @ np.linalg.inv(primitive)).astype(np.int64)
    if _strain(crystal.cell, as_given, primitive) < ALIGNED:
        yield as_given
    for tolerance in (SMALL_STRAIN, STRAIN):
        candidates = _turned(crystal.cell, primitive, tolerance)
        strains = np.array([_strain(crystal.cell, s, primitive) for s in candidates])
        for i in np.argsort(strains):
            if strains[i] <= tolerance:
                yield candidates[i]


def _scaled_primitive(crystal: Crystal, lattice: ParentLattice) -> Float[np.ndarray, "3 3"]:
    """The primitive cell at the crystal's volume per atom, so that vacancies show as misfit."""
    per_cell = abs(np.linalg.det(crystal.cell)) / len(crystal.species) * len(lattice.basis)
    return lattice.primitive_cell * np.cbrt(per_cell / abs(np.linalg.det(lattice.primitive_cell)))


def _turned(
    cell: Float[np.ndarray, "3 3"], primitive: Float[np.ndarray, "3 3"], tolerance: float
) -> list[Int[np.ndarray, "3 3"]]:
    """Supercells whose vectors have the lengths and angles of `cell` within the tolerance."""
    order = np.argsort(np.linalg.norm(cell, axis=1))  # short vectors first: fewest candidates
    a, b, c = (_similar(vector, primitive, tolerance) for vector in cell[order])
    dots = cell[order] @ cell[order].T
    found: list[Int[np.ndarray, "3 3"]] = []
    for first in a:
        fitting_c = c[_fits(c, first, primitive, dots[2, 0], tolerance)]
        for second in b[_fits(b, first, primitive, dots[1, 0], tolerance)]:
            thirds = fitting_c[_fits(fitting_c, second, primitive, dots[2, 1], tolerance)]
            found += [np.array([first, second, third])[np.argsort(order)] for third in thirds]
    return found


def _similar(
    vector: Float[np.ndarray, "3"], primitive: Float[np.ndarray, "3 3"], tolerance: float
) -> Int[np.ndarray, "k 3"]:
    """Lattice vectors as long as `vector` within the tolerance."""
    longest = np.linalg.norm(vector) * (1 + tolerance)
    reach = np.floor(longest * np.linalg.norm(np.linalg.inv(primitive), axis=0)).astype(int)
    vectors = np.array(list(product(*(range(-r, r + 1) for r in reach))))
    lengths = np.linalg.norm(vectors @ primitive, axis=1)
    return vectors[np.abs(lengths / np.linalg.norm(vector) - 1) <= tolerance]


def _fits(
    vectors: Int[np.ndarray, "k 3"],
    other: Int[np.ndarray, "3"],
    primitive: Float[np.ndarray, "3 3"],
    dot: float,
    tolerance: float,
) -> Bool[np.ndarray, " k"]:
    """Whether each vector's scalar product with `other` is `dot` within the tolerance."""
    have = vectors @ primitive
    there = other @ primitive
    lengths = np.linalg.norm(have, axis=1) * np.linalg.norm(there)
    return np.abs(have @ there - dot) <= 2 * tolerance * lengths


def _strain(
    cell: Float[np.ndarray, "3 3"],
    supercell: Int[np.ndarray, "3 3"],
    primitive: Float[np.ndarray, "3 3"],
) -> float:
    """Largest |stretch − 1| of the map from the ideal supercell to `cell`; inf if singular."""
    ideal = supercell @ primitive
    if abs(np.linalg.det(ideal)) < 0.5 * abs(np.linalg.det(primitive)):
        return np.inf
    return float(np.abs(np.linalg.svd(np.linalg.solve(ideal, cell))[1] - 1).max())


def _sites(
    crystal: Crystal, lattice: ParentLattice, supercell: Int[np.ndarray, "3 3"]
) -> Int[np.ndarray, "site 4"]:
    """Nearest site of each atom, for the choice of origin that leaves the atoms closest to them."""
    primitive = _scaled_primitive(crystal, lattice)
    inside = crystal.positions @ supercell
    fits = [_nearest(inside - inside[0] + b, lattice, primitive) for b in lattice.basis]
    sites, gaps = min(fits, key=lambda fit: fit[1].max())
    worst = int(gaps.argmax())
    limit = DISPLACEMENT * lattice.shortest_distance(primitive)
    if not gaps[worst] <= limit:
        raise NotOnLattice(
            f"site {worst} ({crystal.species[worst]}) is {gaps[worst]:.3f} Å away from the nearest "
            f"lattice site, allowed are {limit:.3f} Å"
        )
    return sites


def _nearest(
    positions: Float[np.ndarray, "site 3"],
    lattice: ParentLattice,
    primitive: Float[np.ndarray, "3 3"],
) -> tuple[Int[np.ndarray, "site 4"], Float[np.ndarray, " site"]]:
    """Lattice site nearest to each position (in primitive vectors), and its distance (Å).

    A common shift of all atoms is taken out first: the origin of a relaxed cell is arbitrary.
    """
    offsets, basis, gap = _assign(positions, lattice.basis, primitive)
    shift = (positions - offsets - lattice.basis[basis]).mean(0)
    offsets, basis, gap = _assign(positions - shift, lattice.basis, primitive)
    return np.concatenate([offsets, basis[:, None]], axis=1), gap


def _assign(
    positions: Float[np.ndarray, "site 3"],
    bases: Float[np.ndarray, "basis 3"],
    primitive: Float[np.ndarray, "3 3"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners = np.array(list(product((-1, 0, 1), repeat=3)))
    start = np.rint(positions[:, None] - bases)
    offsets = start[:, :, None] + corners
    gaps = np.linalg.norm(
        (positions[:, None, None] - bases[:, None] - offsets) @ primitive, axis=-1
    )
    flat = gaps.reshape(len(positions), -1).argmin(1)
    basis, corner = np.divmod(flat, len(corners))
    rows: Sequence[int] = range(len(positions))
    return offsets[rows, basis, corner].astype(np.int64), basis, gaps[rows, basis, corner]
