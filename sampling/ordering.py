"""A parent lattice shared by two species, and their arrangements on it as integer tables."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class ParentLattice:
    """A crystal whose sites are all shared by the same two species.

    Attributes:
        species: the two species; occupation 0 is the first.
        primitive_cell: rows are the primitive lattice vectors (Å).
        basis: fractional positions of the primitive cell's sites.

    Raises:
        ValueError: the species are the same, or the cell is flat or not finite.
    """

    species: tuple[str, str]
    primitive_cell: Float[np.ndarray, "3 3"]
    basis: Float[np.ndarray, "basis 3"]

    def __post_init__(self) -> None:
        if self.species[0] == self.species[1]:
            raise ValueError(f"`species` must be two different ones; they are {self.species}.")
        finite = np.isfinite(self.primitive_cell).all()
        if not (finite and abs(np.linalg.det(self.primitive_cell)) > 0):
            raise ValueError(
                "`primitive_cell` must have finite, independent rows; it is "
                f"{self.primitive_cell.tolist()}."
            )

    def shortest_distance(self, primitive_cell: Float[np.ndarray, "3 3"]) -> float:
        """Distance (Å) of nearest sites when the primitive cell is `primitive_cell`."""
        offsets = np.array(list(product((-1, 0, 1), repeat=3)))
        gaps = (self.basis[:, None, None] - self.basis[:, None] - offsets) @ primitive_cell
        distances = np.linalg.norm(gaps, axis=-1)
        return float(distances[distances > 1e-6].min())


def fcc(species: tuple[str, str], lattice_parameter: float) -> ParentLattice:
    """The face-centred cubic lattice with cubic parameter a (Å)."""
    cell = lattice_parameter / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return ParentLattice(species, cell, np.zeros((1, 3)))


@dataclass(frozen=True, eq=False)
class Ordering:
    """Occupations of one supercell of a parent lattice.

    Attributes:
        supercell: rows are the supercell's vectors in primitive lattice vectors.
        sites: three primitive-cell offsets and the basis index of every site, [site, 4].
        occupation: index into the species at every site: 0 the first, 1 the second, and so on.

    Raises:
        ValueError: the supercell is singular, or `sites` does not list each of its sites once.
    """

    supercell: Int[np.ndarray, "3 3"]
    sites: Int[np.ndarray, "site 4"]
    occupation: Int[np.ndarray, " site"]

    def __post_init__(self) -> None:
        volume = abs(_integer_determinant(self.supercell))
        if volume == 0:
            raise ValueError(f"`supercell` must not be singular; it is {self.supercell.tolist()}.")
        bases = len(np.unique(self.sites[:, 3]))
        distinct = len(np.unique(self.keys(self.sites)))
        if not len(self.sites) == distinct == volume * bases:
            raise ValueError(
                f"`sites` must list every site of the supercell once: {volume} primitive cells of "
                f"{bases} sites, but {len(self.sites)} sites of which {distinct} are distinct."
            )
        if not (self.occupation >= 0).all():
            raise ValueError(
                "`occupation` must hold numbers of species, from 0 on; it holds "
                f"{self.occupation.min()}."
            )

    @property
    def fraction(self) -> float:
        """Site fraction of the second species of two."""
        return float(self.occupation.mean())

    def keys(self, sites: Int[np.ndarray, "*batch 4"]) -> Int[np.ndarray, "*batch"]:
        """One integer per site, equal for periodic images: offset · adj(S) mod det(S), packed."""
        determinant = abs(_integer_determinant(self.supercell))
        adjugate = np.rint(np.linalg.inv(self.supercell) * determinant).astype(np.int64)
        reduced = (sites[..., :3] @ adjugate) % determinant
        packed = (reduced[..., 0] * determinant + reduced[..., 1]) * determinant + reduced[..., 2]
        return packed * (int(self.sites[:, 3].max()) + 1) + sites[..., 3]

    def index(self, sites: Int[np.ndarray, "*batch 4"]) -> Int[np.ndarray, "*batch"]:
        """Row of `self.sites` that each site of the infinite lattice is an image of."""
        own = self.keys(self.sites)
        order = np.argsort(own)
        return order[np.searchsorted(own[order], self.keys(sites))]


def _integer_determinant(matrix: Int[np.ndarray, "3 3"]) -> int:
    return int(np.dot(matrix[0], np.cross(matrix[1], matrix[2])))
