"""Periodic boxes of an ordering crystal: sites, sublattices, and where a displacement leads."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Float, Int, Integer

from idnn.order_parameters import System


@dataclass(frozen=True, eq=False)
class Supercell:
    """`cells` ordered cells of `system` along each of its vectors, periodic.

    One number stands for all three edges; three make an elongated box.

    The sublattices are the sites of the ordered cell: for each site of the primitive cell in turn,
    the cosets of the primitive lattice modulo the ordered cell, in the lexicographic order of their
    representatives in the Hermite normal form; the first holds the origin. Sites are numbered
    sublattice by sublattice.

    Raises:
        ValueError: `cells` is not one or three whole numbers from one on, or the system has not one
            order parameter per sublattice.
    """

    system: System
    cells: int | tuple[int, ...]

    def __post_init__(self) -> None:
        edges = self.cells if isinstance(self.cells, tuple) else (self.cells,)
        if len(edges) not in (1, 3) or not all(isinstance(n, int | np.integer) for n in edges):
            raise ValueError(
                f"`cells` must be one whole number or three, one per edge; it is {self.cells}."
            )
        if min(edges) < 1:
            raise ValueError(f"`cells` must be at least 1; it is {self.cells}.")
        sublattices = len(self.system.basis) * len(self.representatives)
        if sublattices != self.system.dimension:
            raise ValueError(
                f"`system` {self.system.name!r} has {self.system.dimension} order parameters but "
                f"its `ordered_cell` holds {sublattices} sites: they must be equal."
            )

    @cached_property
    def edges(self) -> tuple[int, int, int]:
        """Ordered cells along each edge."""
        a, b, c = self.cells if isinstance(self.cells, tuple) else (self.cells,) * 3
        return a, b, c

    @cached_property
    def ordered_cell(self) -> Int[np.ndarray, "3 3"]:
        """Rows: the ordered cell's vectors in primitive vectors."""
        return np.array(self.system.ordered_cell, dtype=np.int64)

    @cached_property
    def representatives(self) -> Int[np.ndarray, "coset 3"]:
        """The primitive-lattice vectors of the ordered cell."""
        diagonal = hermite_normal_form(self.ordered_cell).diagonal()
        return np.array(list(product(*map(range, diagonal))), dtype=np.int64)

    @cached_property
    def sites(self) -> Int[np.ndarray, "site 3"]:
        """The primitive cell of each site, as a primitive-lattice vector."""
        cells = np.array(list(product(*map(range, self.edges)))) @ self.ordered_cell
        vectors = (self.representatives[:, None] + cells).reshape(-1, 3)
        return np.tile(vectors, (len(self.system.basis), 1))

    @cached_property
    def basis(self) -> Int[np.ndarray, " site"]:
        """Which of the primitive cell's sites each site is."""
        return self.sublattice // len(self.representatives)

    @cached_property
    def sublattice(self) -> Int[np.ndarray, " site"]:
        """Sublattice of each site."""
        return np.repeat(np.arange(self.system.dimension), self.sites_per_sublattice)

    @property
    def sites_per_sublattice(self) -> int:
        """N_s."""
        return math.prod(self.edges)

    def filled(self, occupation: Integer[np.ndarray, "*batch site"]) -> Int[np.ndarray, "*batch d"]:
        """Occupied sites of each sublattice."""
        by_sublattice = occupation.reshape(*occupation.shape[:-1], -1, self.sites_per_sublattice)
        return by_sublattice.sum(-1, dtype=np.int64)

    def index(
        self,
        vectors: Int[np.ndarray, "*batch 3"],
        basis: int | Int[np.ndarray, "*#batch"] = 0,
    ) -> Int[np.ndarray, "*batch"]:
        """Number of site `basis` of each primitive cell, periodic images included."""
        adjugate, volume = _adjugate(self.ordered_cell)
        coset = self._coset_of_residue[tuple(np.moveaxis(vectors @ adjugate % volume, -1, 0))]
        whole = (vectors - self.representatives[coset]) @ adjugate // volume
        x, y, z = np.moveaxis(whole % self.edges, -1, 0)
        a, b, c = self.edges
        sublattice = basis * len(self.representatives) + coset
        return ((sublattice * a + x) * b + y) * c + z

    def has_period(self, vectors: Int[np.ndarray, "vector 3"]) -> bool:
        """Whether any of these vectors leads from a site to its own image."""
        adjugate, volume = _adjugate(self.ordered_cell)
        return bool((vectors @ adjugate % (volume * np.array(self.edges)) == 0).all(-1).any())

    def smallest_cells(self, vectors: Int[np.ndarray, "vector 3"]) -> int:
        """Fewest cells per edge from which on none of these non-zero vectors is a period."""
        adjugate, volume = _adjugate(self.ordered_cell)
        scaled = vectors @ adjugate
        inside = scaled[(scaled % volume == 0).all(-1)] // volume
        return 1 + int(np.gcd.reduce(inside, axis=-1).max(initial=0))

    @cached_property
    def _coset_of_residue(self) -> Int[np.ndarray, "x y z"]:
        adjugate, volume = _adjugate(self.ordered_cell)
        table = np.full((volume,) * 3, -1, dtype=np.int64)
        residues = self.representatives @ adjugate % volume
        table[tuple(residues.T)] = np.arange(len(self.representatives))
        return table


def hermite_normal_form(matrix: Int[np.ndarray, "3 3"]) -> Int[np.ndarray, "3 3"]:
    """Upper-triangular H with a positive diagonal whose rows span the same lattice as `matrix`'s.

    Raises:
        ValueError: the rows are linearly dependent.
    """
    rows = np.array(matrix, dtype=np.int64)
    for column in range(3):
        while np.count_nonzero(rows[column:, column]) > 1:
            below = rows[column:]
            nonzero = np.flatnonzero(below[:, column])
            pivot = nonzero[np.argmin(np.abs(below[nonzero, column]))]
            for i in nonzero[nonzero != pivot]:
                below[i] -= below[i, column] // below[pivot, column] * below[pivot]
        nonzero = np.flatnonzero(rows[column:, column])
        if len(nonzero) == 0:
            raise ValueError(f"`ordered_cell` must have independent rows; it is {matrix.tolist()}.")
        pivot = column + int(nonzero[0])
        rows[[column, pivot]] = rows[[pivot, column]]
        rows[column] *= np.sign(rows[column, column])
    return rows


def shear(cell: Float[np.ndarray, "3 3"], reference: Float[np.ndarray, "3 3"]) -> float:
    """Largest |stretch − 1| of the map from the reference to the cell at equal volume."""
    scaled = [rows / np.cbrt(abs(np.linalg.det(rows))) for rows in (reference, cell)]
    return float(np.abs(np.linalg.svd(np.linalg.solve(*scaled))[1] - 1).max())


def _adjugate(matrix: Int[np.ndarray, "3 3"]) -> tuple[Int[np.ndarray, "3 3"], int]:
    """Integer A and volume v > 0 with `matrix` A = v 1."""
    a, b, c = matrix
    columns = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    determinant = int(a @ np.cross(b, c))
    return columns * np.sign(determinant), abs(determinant)
