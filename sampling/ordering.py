"""An arrangement of two species on a parent lattice, as integer tables."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Ordering:
    """Occupations of one supercell of a parent lattice.

    Attributes:
        supercell: rows are the supercell's vectors in primitive lattice vectors.
        sites: three primitive-cell offsets and the basis index of every site, [site, 4].
        occupation: index into the species at every site: 0 the first, 1 the second.

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
        if not np.isin(self.occupation, (0, 1)).all():
            raise ValueError("`occupation` must hold 0 (first species) and 1 (second) only.")

    @property
    def fraction(self) -> float:
        """Site fraction of the second species."""
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
