"""Finite groups: closed from generators, and those that a crystal has on its sublattices."""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int, Integer

LARGEST = 4096
"""Elements above which a group counts as infinite."""

SAME = 1e-6
"""Difference of two matrices, or of two positions in lattice vectors, below which they are one."""

Elements: TypeAlias = Integer[np.ndarray, "_ s"] | Float[np.ndarray, "_ d d"]
"""Permutations as rows of indices, or matrices."""


def closed(generators: Elements) -> Elements:
    """Every product of the generators, each once, in lexicographic order.

    A permutation p takes x to x[p]; a matrix M takes η to M η.

    Raises:
        ValueError: a row is no permutation, a determinant is not ±1, or there are more than
            `LARGEST` products.
    """
    _require_invertible(generators)
    elements = np.stack([*_reached(generators)[0].values()])
    rows = elements.reshape(len(elements), -1)
    rows = rows if rows.dtype.kind in "iu" else (rows / SAME).round()
    return elements[np.lexsort(rows.T[::-1])]


def generating(group: Elements) -> Elements:
    """Elements that are no products of those before them: their products are the whole group."""
    used = _reached(group)[1]
    return used if len(used) else _unit(group)[None]


def _reached(generators: Elements) -> tuple[dict[bytes, np.ndarray], Elements]:
    """Every product of the generators, and those that were needed."""
    found, used = {_key(_unit(generators)): _unit(generators)}, generators[:0]
    for generator in generators:
        if _key(generator) in found:
            continue
        used = np.concatenate([used, generator[None]])
        frontier = list(found.values())
        while frontier:
            images = [image for element in frontier for image in _after(used, element)]
            new = {_key(image): image for image in images}
            frontier = [image for key, image in new.items() if key not in found]
            found |= {_key(image): image for image in frontier}
            if len(found) > LARGEST:
                raise ValueError(
                    f"`group` must be finite: its elements have more than {LARGEST} products."
                )
    return found, used


def sublattice_permutations(
    primitive_cell: Float[np.ndarray, "3 3"],
    basis: Float[np.ndarray, "basis 3"],
    ordered_cell: Int[np.ndarray, "3 3"],
) -> Int[np.ndarray, "g s"]:
    """How the parent's space group permutes the sublattices of an ordered cell.

    All sites of the basis count as alike, and nothing else as present: in a crystal with further
    atoms, the group is the part of this one that leaves them in place. Operations that do not map
    the ordered lattice onto itself are no permutation of its sublattices and left out. Sublattices
    are numbered site by site of the basis and, within one, by the least non-negative lattice
    vector that leads to them, in lexicographic order.

    Args:
        primitive_cell: rows are the parent's primitive lattice vectors.
        basis: positions of the primitive cell's sites in lattice vectors.
        ordered_cell: rows are the ordered cell's vectors in lattice vectors.
    """
    inverse, cosets = np.linalg.inv(ordered_cell), _cosets(ordered_cell)
    permutations = []
    for turn in _point_group(primitive_cell):
        turned = ordered_cell @ turn @ inverse
        if np.abs(turned - turned.round()).max() > SAME:
            continue
        for shift in _shifts(turn, basis):
            home = _landing(basis @ turn + shift, basis)
            for move in cosets:
                image = [
                    b * len(cosets) + _coset_of(offset + cosets @ turn + move, cosets, inverse)
                    for offset, b in home
                ]
                permutations.append(np.concatenate(image))
    return closed(np.unique(np.array(permutations), axis=0))


def _require_invertible(generators: Elements) -> None:
    if generators.ndim == 2:
        wanted = np.arange(generators.shape[1])
        bad = [p.tolist() for p in generators if not np.array_equal(np.sort(p), wanted)]
        if bad:
            raise ValueError(
                f"`group` must hold permutations of 0 … {len(wanted) - 1}; {bad[0]} is none."
            )
    elif (
        not np.isfinite(generators).all() or (abs(abs(np.linalg.det(generators)) - 1) > SAME).any()
    ):
        raise ValueError(
            "`group` must hold matrices of determinant ±1, as those of every finite group are; "
            f"these are not: {generators.tolist()!r:.200}."
        )


def _unit(like: Elements) -> np.ndarray:
    size = like.shape[-1]
    return np.arange(size) if like.ndim == 2 else np.eye(size)


def _after(generators: Elements, element: np.ndarray) -> np.ndarray:
    """Every generator applied after an element."""
    return element[generators] if generators.ndim == 2 else _cleaned(generators @ element)


def _cleaned(matrices: np.ndarray) -> np.ndarray:
    """Without the rounding errors of entries that are whole numbers."""
    whole = matrices.round()
    return np.where(abs(matrices - whole) < 1e-12, whole + 0.0, matrices)


def _key(element: np.ndarray) -> bytes:
    scaled = element if element.ndim == 1 else (element / SAME).round()
    return scaled.astype(np.int64).tobytes()


def _point_group(cell: np.ndarray) -> list[Int[np.ndarray, "3 3"]]:
    """Integer W that turn the lattice onto itself: row vectors n of lattice points become n W."""
    metric = cell @ cell.T
    lengths = np.sqrt(metric.diagonal())
    reach = np.ceil(lengths.max() * np.linalg.norm(np.linalg.inv(cell), axis=0) - SAME)
    points = np.array(list(product(*(range(-int(n), int(n) + 1) for n in reach))))
    norms = np.linalg.norm(points @ cell, axis=1)
    tolerance = SAME * lengths.max()
    rows = [points[abs(norms - length) < tolerance] for length in lengths]
    turns = (np.stack(chosen) for chosen in product(*rows))
    return [w for w in turns if abs(w @ metric @ w.T - metric).max() < tolerance * lengths.max()]


def _shifts(turn: np.ndarray, sites: np.ndarray) -> list[np.ndarray]:
    """Translations after which a turn maps the sites onto themselves, modulo the lattice."""
    candidates = sites - sites[0] @ turn
    return [t for t in candidates if len(_landing(sites @ turn + t, sites)) == len(sites)]


def _landing(positions: np.ndarray, sites: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The lattice vector and the site that each position is, where it is one."""
    found = []
    for position in positions:
        offsets = position - sites
        whole = offsets.round()
        hits = np.flatnonzero(np.abs(offsets - whole).max(1) < SAME)
        found += [(whole[b].astype(np.int64), int(b)) for b in hits]
    return found


def _cosets(ordered: np.ndarray) -> Int[np.ndarray, "coset 3"]:
    """The least non-negative lattice vector of each coset of the ordered lattice."""
    volume = round(abs(np.linalg.det(ordered)))
    inverse = np.linalg.inv(ordered)
    found = np.zeros((0, 3), dtype=np.int64)
    for vector in product(range(volume), repeat=3):
        if not len(found) or not _equal_modulo(np.array(vector), found, inverse).any():
            found = np.concatenate([found, [vector]])
            if len(found) == volume:
                break
    return found


def _coset_of(
    vectors: np.ndarray, cosets: np.ndarray, inverse: np.ndarray
) -> Int[np.ndarray, " coset"]:
    return _equal_modulo(vectors[:, None], cosets, inverse).argmax(1)


def _equal_modulo(a: np.ndarray, b: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    difference = (a - b) @ inverse
    return np.abs(difference - difference.round()).max(-1) < SAME
