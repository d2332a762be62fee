"""How far every point of a crystal is from the nearest atom's surface: on a grid, and exactly."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from idnn.adsorption.pores_kernel import fill_clearance
from idnn.adsorption.structures import Crystal

_DATA = Path(__file__).with_name("radii.csv")


@dataclass(frozen=True, eq=False)
class Clearance:
    """Distances (Å) to the nearest atom's surface; negative inside of atoms.

    Attributes:
        lattice: rows a, b, c of a reduced cell of the same crystal (Å).
        atoms: Cartesian places of the atoms of that cell (Å).
        place: of all atoms and images that can be nearest to one of its points (Å).
        radius: of these (Å).
        atom: which atom of the cell each of these is an image of.
        values: on a grid that divides the cell (Å).
    """

    lattice: Float[np.ndarray, "3 3"]
    atoms: Float[np.ndarray, "atom 3"]
    place: Float[np.ndarray, "image 3"]
    radius: Float[np.ndarray, " image"]
    atom: Int[np.ndarray, " image"]
    values: Float[np.ndarray, "x y z"]

    @cached_property
    def steps(self) -> Float[np.ndarray, "3 3"]:
        """Rows from one grid point to the next (Å)."""
        return self.lattice / np.array(self.values.shape)[:, None]

    @cached_property
    def neighbours(self) -> Int[np.ndarray, "neighbour 3"]:
        """Steps to points whose Voronoi cells share a face: 6 in a rectangular grid, at most 14.

        Each is with its opposite the only shortest vector of its class modulo twice the grid
        (Conway & Sloane 1992, doi:10.1098/rspa.1992.0071).
        """
        return _voronoi_vectors(self.steps)

    @property
    def stride(self) -> float:
        """Distance to the farthest neighbour (Å)."""
        return float(np.linalg.norm(self.neighbours @ self.steps, axis=1).max())

    @property
    def mesh(self) -> float:
        """Largest distance of any place from the nearest grid point (Å), from above."""
        return _covering(self.steps)

    def __call__(self, point: Float[np.ndarray, "3"]) -> float:
        """Exact, at Cartesian coordinates (Å)."""
        inside = point @ np.linalg.inv(self.lattice) % 1.0 % 1.0 @ self.lattice
        return float((np.linalg.norm(self.place - inside, axis=1) - self.radius).min())


def clearance(
    crystal: Crystal, radii: Float[np.ndarray, " atom"], *, spacing: float, reach: float = 0.0
) -> Clearance:
    """Distances to the nearest of all atoms' surfaces.

    Args:
        crystal: with at least one atom.
        radii: of its atoms (Å).
        spacing: largest distance between neighbouring points along a, b and c (Å).
        reach: images are listed at least this far from the cell (Å).
    """
    lattice = _reduced(crystal.lattice)
    fractional = crystal.positions @ np.linalg.inv(lattice) % 1.0 % 1.0
    # No place is farther than the covering radius from every image of one atom. Windows between
    # atoms are looked for some steps beyond the cell.
    far = max(_covering(lattice) + float(np.ptp(radii)) + 8 * spacing, reach)
    margin = far * np.linalg.norm(np.linalg.inv(lattice), axis=0)
    place, atom = [], []
    for image in product(*(range(-n, n + 1) for n in np.ceil(margin).astype(int))):
        shifted = fractional + np.array(image)
        near = ((shifted >= -margin) & (shifted <= 1 + margin)).all(1)
        place.append(shifted[near] @ lattice)
        atom.append(np.flatnonzero(near))
    places, which = np.concatenate(place), np.concatenate(atom)
    x, y, z = (max(3, math.ceil(n / spacing - 1e-9)) for n in np.linalg.norm(lattice, axis=1))
    values = np.empty((x, y, z))
    fill_clearance(places, radii[which], lattice / np.array([[x], [y], [z]]), values)
    return Clearance(lattice, fractional @ lattice, places, radii[which], which, values)


def atomic_radii(
    crystal: Crystal, radii: Mapping[str, float] | None = None
) -> Float[np.ndarray, " atom"]:
    """Radii (Å) of a crystal's atoms: half of UFF's σ, but for the elements given.

    Raises:
        ValueError: a radius that is not positive, or an element without one.
    """
    of, symbols = _table()
    of = dict(of)
    for element, radius in (radii or {}).items():
        if element not in symbols:
            raise ValueError(
                f"`radii` must be by the symbol of an element of the table; there is no "
                f"'{element}' in it: write 'O', not 'oxygen' or 'O1'."
            )
        if not (math.isfinite(radius) and radius > 0):
            raise ValueError(
                f"`radii` must be finite and positive (Å); that of {element} is {radius}."
            )
        of[symbols[element]] = radius
    missing = sorted(set(crystal.numbers.tolist()) - of.keys())
    if missing:
        raise ValueError(
            f"`radii` must hold every element of {crystal.name}; there is none for atomic number "
            f"{missing[0]}, which UFF's table lacks too: no descriptor can be had."
        )
    return np.array([of[int(z)] for z in crystal.numbers])


@cache
def _table() -> tuple[dict[int, float], dict[str, int]]:
    with _DATA.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    radii = {int(row["number"]): float(row["radius_A"]) for row in rows}
    return radii, {row["element"]: int(row["number"]) for row in rows}


def _reduced(lattice: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Minkowski's: no vector is made shorter by adding the other two or their opposites."""
    reduced, changed = lattice.copy(), True
    while changed:
        changed = False
        for axis in range(3):
            one, two = (reduced[n] for n in range(3) if n != axis)
            found = [reduced[axis] + i * one + j * two for i, j in product((0, -1, 1), repeat=2)]
            shortest = min(found, key=lambda v: float(v @ v))
            if shortest @ shortest < (1 - 1e-9) * (reduced[axis] @ reduced[axis]):
                reduced[axis], changed = shortest, True
    return reduced


def _covering(lattice: Float[np.ndarray, "3 3"]) -> float:
    """No place is farther than this (Å) from a lattice point: half a brick's diagonal.

    Every place lies in the brick of the orthogonalised vectors about some lattice point (Babai
    1986, doi:10.1007/BF02579403); the best of the six orders is taken.
    """
    orders = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    return min(0.5 * float(np.linalg.norm(np.diag(np.linalg.qr(lattice[n].T)[1]))) for n in orders)


def _voronoi_vectors(steps: Float[np.ndarray, "3 3"]) -> Int[np.ndarray, "neighbour 3"]:
    vectors = np.array([v for v in product(range(-3, 4), repeat=3) if any(v)])
    length = np.linalg.norm(vectors @ steps, axis=1)
    found = []
    for odd in product((0, 1), repeat=3):
        same = (vectors % 2 == np.array(odd)).all(1)
        if any(odd):
            shortest = vectors[same & (length <= (1 + 1e-9) * length[same].min())]
            found.append(shortest if len(shortest) == 2 else shortest[:0])
    return np.concatenate(found)
