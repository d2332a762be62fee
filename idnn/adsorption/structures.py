"""Porous crystals: lattice, atoms, supercells and distances in cells of any shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from idnn.units import AVOGADRO

_HEAVIEST = 118


@dataclass(frozen=True, eq=False)
class Crystal:
    """A periodic crystal with all atoms of its cell listed (space group P1).

    Attributes:
        name: what it is called in tables and messages.
        lattice: rows a, b, c (Å).
        fractional: coordinates of the atoms along a, b, c; those outside [0, 1) are wrapped.
        numbers: atomic number of each atom.
        charges: of each atom (e), None where none are known.
    """

    name: str
    lattice: Float[np.ndarray, "3 3"]
    fractional: Float[np.ndarray, "atom 3"]
    numbers: Int[np.ndarray, " atom"]
    charges: Float[np.ndarray, " atom"] | None = None

    def __post_init__(self) -> None:
        """Check, and wrap the coordinates.

        Raises:
            ValueError: a number is not finite, the cell has no volume, an element does not exist.
        """
        for name in ("lattice", "fractional", "charges"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"`{name}` of {self.name} must be finite; it is {values}.")
        longest = np.linalg.norm(self.lattice, axis=1).max()
        if not abs(np.linalg.det(self.lattice)) > 1e-6 * longest**3:
            raise ValueError(
                f"`lattice` of {self.name} must span a volume; its rows are "
                f"{self.lattice.tolist()} Å: give three vectors that do not share a plane."
            )
        bad = (self.numbers < 1) | (self.numbers > _HEAVIEST)
        if bad.any():
            raise ValueError(
                f"`numbers` of {self.name} must lie in [1, {_HEAVIEST}]; one is "
                f"{self.numbers[bad][0]}: give atomic numbers."
            )
        # Twice, as 1 − 1e-17 rounds to 1.
        object.__setattr__(self, "fractional", self.fractional % 1.0 % 1.0)

    @property
    def volume(self) -> float:
        """Of the cell (Å³)."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def widths(self) -> Float[np.ndarray, "3"]:
        """Distance (Å) between opposite faces of the cell: (b, c), (c, a), (a, b)."""
        return 1 / np.linalg.norm(np.linalg.inv(self.lattice), axis=0)

    @property
    def positions(self) -> Float[np.ndarray, "atom 3"]:
        """Cartesian coordinates (Å)."""
        return self.fractional @ self.lattice

    @cached_property
    def mass(self) -> float:
        """Of the cell (kg)."""
        from pymatgen.core.periodic_table import Element

        kinds, counts = np.unique(self.numbers, return_counts=True)
        grams = sum(
            float(Element.from_Z(int(z)).atomic_mass) * int(n)
            for z, n in zip(kinds, counts, strict=True)
        )
        return 1e-3 * grams / AVOGADRO

    @property
    def density(self) -> float:
        """In kg/m³."""
        return self.mass / (1e-30 * self.volume)

    @property
    def mol_per_kg(self) -> float:
        """Loading (mol/kg) of one molecule per cell; NaN for a box without atoms."""
        return 1 / (AVOGADRO * self.mass) if len(self.numbers) else math.nan


def supercell(crystal: Crystal, copies: tuple[int, int, int]) -> Crystal:
    """The same crystal in a cell of `copies` cells along a, b and c.

    Raises:
        ValueError: a number of copies below one.
    """
    if min(copies) < 1:
        raise ValueError(f"`copies` must be at least one along each edge; they are {copies}.")
    corners = np.array(list(product(*(range(n) for n in copies))))
    fractional = (crystal.fractional[None] + corners[:, None]) / np.array(copies)
    charges = None if crystal.charges is None else np.tile(crystal.charges, len(corners))
    return Crystal(
        crystal.name,
        np.array(copies)[:, None] * crystal.lattice,
        fractional.reshape(-1, 3),
        np.tile(crystal.numbers, len(corners)),
        charges,
    )


def copies_for(crystal: Crystal, width: float) -> tuple[int, int, int]:
    """Cells along each edge after which opposite faces are at least `width` (Å) apart."""
    a, b, c = (math.ceil(width / w - 1e-9) for w in crystal.widths)
    return max(a, 1), max(b, 1), max(c, 1)


def minimum_image(
    lattice: Float[np.ndarray, "3 3"], difference: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3"]:
    """The shortest Cartesian vector (Å) among all periodic images of a fractional difference.

    Rounding finds it in cells that are nearly rectangular. In a skewed cell the shortest has
    fractional components of at most d/w, d being the rounded one's length and w the widths of the
    cell, so all images within that range are compared.
    """
    nearest = difference - np.rint(difference)
    widths = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    longest = np.linalg.norm(nearest @ lattice, axis=-1).max(initial=0.0)
    reach = np.floor(0.5 + longest / widths).astype(int)
    best = nearest @ lattice
    length = (best**2).sum(-1)
    for image in product(*(range(-n, n + 1) for n in reach)):
        other = (nearest + np.array(image)) @ lattice
        square = (other**2).sum(-1)
        closer = square < length
        best = np.where(closer[..., None], other, best)
        length = np.where(closer, square, length)
    return best


def distances(crystal: Crystal) -> Float[np.ndarray, "atom atom"]:
    """Shortest distance (Å) between every two atoms, over all periodic images."""
    difference = crystal.fractional[:, None] - crystal.fractional[None]
    return np.linalg.norm(minimum_image(crystal.lattice, difference), axis=-1)
