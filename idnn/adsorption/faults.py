"""What is wrong with a crystal structure: overlaps, holes, solvent; each with a remedy."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from idnn.adsorption.structures import Crystal

OVERLAP = 0.6
"""Atoms closer than this times the sum of their covalent radii overlap."""

BOND_EXCESS = 0.45
"""Atoms up to this (Å) beyond the sum of their covalent radii are bonded."""

_STRAIGHT = 150.0
_LONGEST_RADIUS = 2.7
_CARBON, _HYDROGEN = 6, 1


@dataclass(frozen=True, eq=False)
class Pairs:
    """Atoms near each other, every pair both ways.

    Attributes:
        first: number of an atom.
        second: number of another, or of an image of the same.
        image: cells by which the second is shifted.
        distance: Å.
        reach: distance over the sum of the two covalent radii.
        bonded: whether the two are within a bond's length.
    """

    first: Int[np.ndarray, " pair"]
    second: Int[np.ndarray, " pair"]
    image: Int[np.ndarray, "pair 3"]
    distance: Float[np.ndarray, " pair"]
    reach: Float[np.ndarray, " pair"]
    bonded: np.ndarray


def faults(crystal: Crystal) -> list[str]:
    """What makes the structure unfit to be a rigid host: rule, value and remedy of each finding."""
    if not len(crystal.numbers):
        return ["it must hold atoms; it has none: check the atom-site loop of the file"]
    pairs = near_pairs(crystal)
    found = _overlaps(crystal, pairs)
    # In a structure with overlaps bonds mean nothing.
    return found or _loose_parts(crystal, pairs) + _bare_carbons(crystal, pairs)


def near_pairs(crystal: Crystal) -> Pairs:
    """All pairs of atoms and images within a bond's length of each other."""
    from pymatgen.core import Lattice, Structure

    radius = _covalent_radii(crystal.numbers)
    cell = Structure(Lattice(crystal.lattice), crystal.numbers.tolist(), crystal.fractional)
    longest = 2 * float(radius.max()) + BOND_EXCESS
    found = cell.get_neighbor_list(longest, exclude_self=True)
    # Of the C compiler's own integers, whatever they are called.
    first, second, image = (np.asarray(part).astype(np.int64) for part in found[:3])
    distance = np.asarray(found[3])
    total = radius[first] + radius[second]
    bonded = distance < total + BOND_EXCESS
    hydrogen = (crystal.numbers[first] == _HYDROGEN) & (crystal.numbers[second] == _HYDROGEN)
    return Pairs(first, second, image, distance, distance / total, bonded & ~hydrogen)


def components(crystal: Crystal, pairs: Pairs) -> list[tuple[list[int], int]]:
    """Bonded parts: their atoms, and in how many directions they go on without end."""
    bonds: list[list[tuple[int, np.ndarray]]] = [[] for _ in crystal.numbers]
    for i in np.flatnonzero(pairs.bonded):
        bonds[pairs.first[i]].append((int(pairs.second[i]), pairs.image[i]))
    cell: dict[int, np.ndarray] = {}
    parts = []
    for start in range(len(bonds)):
        if start in cell:
            continue
        cell[start], queue, members = np.zeros(3, int), deque([start]), []
        loops = {(0, 0, 0)}
        while queue:
            here = queue.popleft()
            members.append(here)
            for there, image in bonds[here]:
                if there not in cell:
                    cell[there] = cell[here] + image
                    queue.append(there)
                loops.add(tuple((cell[here] + image - cell[there]).tolist()))
        parts.append((members, int(np.linalg.matrix_rank(np.array(list(loops))))))
    return parts


def _overlaps(crystal: Crystal, pairs: Pairs) -> list[str]:
    close = np.flatnonzero(pairs.reach < OVERLAP)
    if not len(close):
        return []
    worst = close[pairs.reach[close].argmin()]
    one, two = (_atom(crystal, int(n[worst])) for n in (pairs.first, pairs.second))
    return [
        f"atoms must be at least {OVERLAP:g} times the sum of their covalent radii apart; "
        f"{len(close) // 2} pairs are not, the closest {pairs.distance[worst]:.2f} Å: {one} and "
        f"{two}: keep one of the alternatives of disordered atoms"
    ]


def _loose_parts(crystal: Crystal, pairs: Pairs) -> list[str]:
    parts = components(crystal, pairs)
    loose = [members for members, endless in parts if not endless]
    if not loose:
        return []
    names = Counter(_formula(crystal, members) for members in loose)
    listed = ", ".join(f"{count} {name}" for name, count in names.most_common())
    if len(loose) == len(parts):
        return [
            f"its atoms must be bonded into a framework; it holds molecules alone ({listed}): "
            "give a framework, or check the cell's edges and angles"
        ]
    return [
        f"a host must be free of solvent and other loose molecules; it holds {listed}: "
        "delete those atoms"
    ]


def _bare_carbons(crystal: Crystal, pairs: Pairs) -> list[str]:
    """Carbons that cannot be whole: one neighbour, or two at an angle far from straight."""
    bare = []
    for atom in np.flatnonzero(crystal.numbers == _CARBON):
        own = np.flatnonzero(pairs.bonded & (pairs.first == atom))
        arms = (
            crystal.fractional[pairs.second[own]] + pairs.image[own] - crystal.fractional[atom]
        ) @ crystal.lattice
        if len(own) == 2 and _angle(*arms) < _STRAIGHT:
            bare.append(int(atom))
    if not bare:
        return []
    return [
        f"every carbon with two neighbours must hold them in a line; {len(bare)} do not, the first "
        f"{_atom(crystal, bare[0])}: hydrogen atoms are missing, add them"
    ]


def _angle(one: np.ndarray, two: np.ndarray) -> float:
    cosine = one @ two / (np.linalg.norm(one) * np.linalg.norm(two))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _covalent_radii(numbers: Int[np.ndarray, " atom"]) -> Float[np.ndarray, " atom"]:
    """Å; of elements without a known one, the largest known."""
    from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
    from pymatgen.core.periodic_table import Element

    known = {
        int(z): CovalentRadius.radius.get(Element.from_Z(int(z)).symbol, _LONGEST_RADIUS)
        for z in np.unique(numbers)
    }
    return np.array([known[int(z)] for z in numbers])


def _symbol(number: int) -> str:
    from pymatgen.core.periodic_table import Element

    return Element.from_Z(number).symbol


def _atom(crystal: Crystal, index: int) -> str:
    place = ", ".join(f"{x:.4f}" for x in crystal.fractional[index])
    return f"{_symbol(int(crystal.numbers[index]))} at ({place})"


def _formula(crystal: Crystal, members: list[int]) -> str:
    counts = Counter(int(crystal.numbers[i]) for i in members)
    return "".join(f"{_symbol(z)}{n if n > 1 else ''}" for z, n in sorted(counts.items()))
