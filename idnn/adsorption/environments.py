"""Crystals as a network sees them: atoms that differ, and all images about each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.interpolate import BSpline
from scipy.spatial import KDTree

from idnn.adsorption.ewald import images_within
from idnn.adsorption.structures import Crystal
from idnn.adsorption.symmetry import SYMMETRY, equivalent

_NEAREST = 0.5
_DEGREE = 3


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Spheres about an atom, and how distances in each are told apart.

    Attributes:
        reaches: radii of the spheres (Å).
        functions: cubic B-splines of the distance in each, on even knots from 0.5 Å to its radius,
            where all of them and two derivatives are zero.
    """

    reaches: tuple[float, ...] = (3.0, 5.0, 8.0)
    functions: int = 8

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: no sphere, one too small or too large, or no functions.
        """
        if not self.reaches or not all(_NEAREST < reach <= 20 for reach in self.reaches):
            raise ValueError(
                f"`reaches` must lie in ({_NEAREST}, 20] Å; they are {list(self.reaches)}."
            )
        if self.functions < 1:
            raise ValueError(f"`functions` must be at least 1; it is {self.functions}.")

    def __call__(self, distance: Float[np.ndarray, " pair"]) -> Float[np.ndarray, "pair shell"]:
        """Values of all functions of all windows."""
        found = []
        for reach in self.reaches:
            step = (reach - _NEAREST) / (self.functions + _DEGREE)
            one = BSpline.basis_element(np.arange(_DEGREE + 2.0), extrapolate=False)
            place = (distance[:, None] - _NEAREST) / step - np.arange(self.functions)
            found.append(np.nan_to_num(one(place)))
        return np.concatenate(found, axis=1)


@dataclass(frozen=True, eq=False)
class Environments:
    """Atoms of a crystal up to its symmetry, and what is around them.

    Attributes:
        name: of the crystal.
        numbers: atomic number of each atom that differs from the others.
        share: of all atoms of the crystal that are equivalent to it. They add up to 1.
        member: which of these each atom of the crystal is.
        shells: sum over all periodic images of atoms equivalent to j of each function of their
            distance from i.
    """

    name: str
    numbers: Int[np.ndarray, " atom"]
    share: Float[np.ndarray, " atom"]
    member: Int[np.ndarray, " site"]
    shells: Float32[np.ndarray, "atom atom shell"]


def environments(
    crystal: Crystal, windows: Windows, *, symmetry: float | None = SYMMETRY
) -> Environments:
    """What is around each atom, the same for every cell that describes the crystal.

    Atoms that symmetry makes equivalent have the same surroundings; one of them stands for all.

    Args:
        crystal: with at least one atom.
        windows: how distances are told apart.
        symmetry: Å by which atoms may miss the place that symmetry gives them; None: every atom
            of the cell stands for itself.

    Raises:
        ValueError: it has no atoms.
    """
    count = len(crystal.numbers)
    if not count:
        raise ValueError(f"`crystal` must hold atoms; {crystal.name} has none.")
    first, member = _orbits(crystal, symmetry)
    reach = max(windows.reaches)
    place, which = images_within(crystal, reach)
    near = KDTree(crystal.positions[first]).sparse_distance_matrix(
        KDTree(place), reach, output_type="coo_matrix"
    )
    pairs = near.row * len(first) + member[which[near.col]]
    shells = np.zeros((len(first) ** 2, len(windows.reaches) * windows.functions), np.float32)
    np.add.at(shells, pairs, windows(near.data).astype(np.float32))
    return Environments(
        name=crystal.name,
        numbers=crystal.numbers[first],
        share=np.bincount(member, minlength=len(first)) / count,
        member=member,
        shells=shells.reshape(len(first), len(first), -1),
    )


def _orbits(
    crystal: Crystal, symmetry: float | None
) -> tuple[Int[np.ndarray, " atom"], Int[np.ndarray, " site"]]:
    """One atom of each kind that symmetry leaves, and the kind of every atom."""
    labels: np.ndarray = np.arange(len(crystal.numbers))
    if symmetry is not None:
        labels = equivalent(crystal, tolerance=symmetry)
    _, first, member = np.unique(labels, return_index=True, return_inverse=True)
    return first, member
