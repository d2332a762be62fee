"""Named orderings of fcc, recognised by their correlations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from jaxtyping import Float, Int

from sampling.clusters import orbits
from sampling.expansion import cluster_sums
from sampling.ordering import Ordering, ParentLattice, fcc

FINGERPRINT_REACH = 3.5
"""Pairs up to this many nearest-neighbour distances tell orderings apart (almost always)."""

_CUBIC = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
"""The conventional cubic cell in primitive lattice vectors."""


@dataclass(frozen=True)
class Prototype:
    """An ordering by the rule for its minority sites.

    Attributes:
        name: Strukturbericht symbol or compound.
        cubes: period along x, y, z in cubic cells.
        minority: whether the site at r, in units of half the cubic parameter, is minority.
    """

    name: str
    cubes: tuple[int, int, int]
    minority: Callable[[Sequence[int]], bool]


def _shifted_cubes(r: Sequence[int], halves: int) -> bool:
    """L1₂ whose minority corner jumps to a face centre and back every `halves` half parameters."""
    return r[2] % 2 == 0 and r[0] % 2 == r[1] % 2 == r[2] // halves % 2


PROTOTYPES = (
    Prototype("L1_0", (1, 1, 1), lambda r: r[2] % 2 == 0),
    Prototype("L1_1", (2, 2, 2), lambda r: sum(r) % 4 == 0),
    Prototype("L1_2", (1, 1, 1), lambda r: r[0] % 2 == r[1] % 2 == 0),
    Prototype("D0_22", (1, 1, 2), lambda r: _shifted_cubes(r, 2)),
    Prototype("D0_23", (1, 1, 4), lambda r: _shifted_cubes(r, 4)),
    Prototype("MoPt2", (3, 3, 1), lambda r: (r[0] + r[1]) % 3 == 0),
    Prototype("D1_a", (5, 5, 1), lambda r: (2 * r[0] + r[1]) % 5 == 0),
)
"""Orderings of fcc met in alloys (Ducastelle 1991, Order and Phase Stability in Alloys)."""


def fingerprint(
    lattice: ParentLattice, orderings: Sequence[Ordering]
) -> Float[np.ndarray, "sample parameter"]:
    """Composition and pair sums out to a few shells: equal for equivalent orderings."""
    reach = FINGERPRINT_REACH * lattice.shortest_distance(lattice.primitive_cell)
    return cluster_sums(orbits(lattice, [reach]), orderings).round(8) + 0.0


def formula(lattice: ParentLattice, ordering: Ordering) -> str:
    """Chemical formula, as in Ni3Al."""
    second = int(ordering.occupation.sum())
    counts = (len(ordering.occupation) - second, second)
    divisor = gcd(*counts)
    parts = zip(lattice.species, (n // divisor for n in counts), strict=True)
    return "".join(name + (str(n) if n > 1 else "") for name, n in parts if n)


def names(lattice: ParentLattice, orderings: Sequence[Ordering]) -> tuple[str, ...]:
    """Name of each ordering, as in `L1_2 Ni3Al`: prototype where known, and formula."""
    known: dict[bytes, str] = {}
    if _is_fcc(lattice):
        built = [(p.name, build(p, invert)) for p in PROTOTYPES for invert in (False, True)]
        rows = fingerprint(lattice, [ordering for _, ordering in built])
        known = {row.tobytes(): name for row, (name, _) in zip(rows, built, strict=True)}
    symbols = (known.get(row.tobytes(), "") for row in fingerprint(lattice, orderings))
    return tuple(
        f"{symbol} {formula(lattice, ordering)}".strip()
        for symbol, ordering in zip(symbols, orderings, strict=True)
    )


def build(prototype: Prototype, invert: bool) -> Ordering:
    """The prototype, its minority being the second species, or the first if `invert`."""
    supercell = np.array(prototype.cubes)[:, None] * _CUBIC
    corners = np.array(list(product(*(range(2 * n) for n in prototype.cubes))))
    halves = corners[corners.sum(1) % 2 == 0]
    minority = np.array([prototype.minority(site) for site in halves.tolist()])
    return Ordering(supercell, _from_halves(halves), (minority != invert).astype(np.int64))


def _from_halves(halves: Int[np.ndarray, "site 3"]) -> Int[np.ndarray, "site 4"]:
    """Sites from coordinates in half cubic parameters: r = Σ nᵢ aᵢ, a₁ = (0 1 1) and so on."""
    offsets = (halves.sum(1, keepdims=True) - 2 * halves) // 2
    return np.concatenate([offsets, np.zeros((len(halves), 1), np.int64)], axis=1)


def _is_fcc(lattice: ParentLattice) -> bool:
    if len(lattice.basis) != 1:
        return False
    volume = abs(np.linalg.det(lattice.primitive_cell))
    reference = fcc(lattice.species, np.cbrt(4 * volume)).primitive_cell
    return bool(np.allclose(lattice.primitive_cell, reference))
