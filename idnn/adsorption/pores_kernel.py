"""Compiled loops of pore geometry: distances to atoms, percolation, and exposed surface."""

from typing import no_type_check

import numpy as np
from numba import njit

BLOCK = 8
"""Grid points along each edge of a block that shares one list of near atoms."""


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def clearance_at(place: np.ndarray, radius: np.ndarray, point: np.ndarray) -> float:
    """Distance (Å) from a Cartesian point to the surface of the nearest atom."""
    least = np.inf
    for n in range(len(place)):
        x, y, z = place[n, 0] - point[0], place[n, 1] - point[1], place[n, 2] - point[2]
        least = min(least, np.sqrt(x * x + y * y + z * z) - radius[n])
    return least


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def fill_clearance(
    place: np.ndarray, radius: np.ndarray, steps: np.ndarray, out: np.ndarray
) -> None:
    """Distances (Å) from all points of a grid to the nearest atom's surface.

    Args:
        place: atoms and images, Cartesian (Å), float64 [atom, 3].
        radius: Å, float64 [atom].
        steps: rows from one grid point to the next (Å), float64 [3, 3].
        out: float64 [a, b, c]; changed in place.
    """
    half = 0.5 * (BLOCK - 1)
    longest = 0.0
    for signs in range(4):
        corner = steps[0].copy()
        corner += steps[1] if signs & 1 else -steps[1]
        corner += steps[2] if signs & 2 else -steps[2]
        longest = max(longest, half * np.sqrt((corner**2).sum()))
    near = np.empty(len(place), np.int64)
    for i in range(-(-out.shape[0] // BLOCK)):
        for j in range(-(-out.shape[1] // BLOCK)):
            for k in range(-(-out.shape[2] // BLOCK)):
                first = np.array([BLOCK * i, BLOCK * j, BLOCK * k])
                centre = (first + half) @ steps
                count = _near(place, radius, centre, 2 * longest, near)
                _fill_block(place[near[:count]], radius[near[:count]], steps, first, out)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _near(
    place: np.ndarray, radius: np.ndarray, centre: np.ndarray, margin: float, near: np.ndarray
) -> int:
    """Lists the atoms whose surface is within `margin` of the nearest one; returns how many."""
    limit = clearance_at(place, radius, centre) + margin
    count = 0
    for n in range(len(place)):
        x, y, z = place[n, 0] - centre[0], place[n, 1] - centre[1], place[n, 2] - centre[2]
        if x * x + y * y + z * z <= max(limit + radius[n], 0.0) ** 2:
            near[count] = n
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _fill_block(
    place: np.ndarray, radius: np.ndarray, steps: np.ndarray, first: np.ndarray, out: np.ndarray
) -> None:
    point = np.empty(3)
    for a in range(first[0], min(first[0] + BLOCK, out.shape[0])):
        for b in range(first[1], min(first[1] + BLOCK, out.shape[1])):
            for c in range(first[2], min(first[2] + BLOCK, out.shape[2])):
                for axis in range(3):
                    point[axis] = a * steps[0, axis] + b * steps[1, axis] + c * steps[2, axis]
                out[a, b, c] = clearance_at(place, radius, point)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _find(parent: np.ndarray, shift: np.ndarray, node: int) -> int:
    """The root of a node, which becomes its parent; its cell is then counted from the root's."""
    root = node
    x, y, z = np.int32(0), np.int32(0), np.int32(0)
    while parent[root] != root:
        x, y, z = x + shift[root, 0], y + shift[root, 1], z + shift[root, 2]
        root = parent[root]
    while parent[node] != root and node != root:
        following = parent[node]
        p, q, r = x - shift[node, 0], y - shift[node, 1], z - shift[node, 2]
        shift[node, 0], shift[node, 1], shift[node, 2] = x, y, z
        parent[node] = root
        x, y, z = p, q, r
        node = following
    return root


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _add_loop(loops: np.ndarray, rank: int, loop: np.ndarray) -> int:
    """Keeps a lattice vector that is independent of those kept; returns how many there are."""
    x, y, z = np.int64(loop[0]), np.int64(loop[1]), np.int64(loop[2])
    new = x != 0 or y != 0 or z != 0
    if rank == 3:
        new = False
    elif rank > 0:
        u, v, w = np.int64(loops[0, 0]), np.int64(loops[0, 1]), np.int64(loops[0, 2])
        p, q, r = v * z - w * y, w * x - u * z, u * y - v * x
        new = p != 0 or q != 0 or r != 0
        if rank == 2:
            new = p * loops[1, 0] + q * loops[1, 1] + r * loops[1, 2] != 0
    if new:
        loops[rank] = loop
    return rank + 1 if new else rank


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def percolate(
    order: np.ndarray, shape: tuple[int, int, int], neighbours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Joins grid points one by one, and finds along how many lattice vectors each set extends.

    A set of joined points knows the cell of each of its points. Where two of them are joined once
    more through another cell, the difference is a lattice vector along which the set repeats.

    Args:
        order: flat indices of the points, in the order in which they are opened, int64 [point].
        shape: of the grid.
        neighbours: steps to neighbours, int64 [neighbour, 3].

    Returns:
        the place in `order` at which a set first extends along 1, 2 and 3 vectors, −1 if none does;
        and that number for the set of each point, int8 [point], after all were opened.
    """
    count = len(order)
    slot = np.full(shape[0] * shape[1] * shape[2], -1, np.int32)
    parent, size = np.arange(count, dtype=np.int32), np.ones(count, np.int32)
    shift, loops = np.zeros((count, 3), np.int32), np.zeros((count, 3, 3), np.int32)
    rank, first = np.zeros(count, np.int8), np.full(3, -1)
    wrap = np.zeros(3, np.int32)
    at, here = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for n in range(count):
        slot[order[n]] = n
        at[0], rest = divmod(order[n], shape[1] * shape[2])
        at[1], at[2] = divmod(rest, shape[2])
        for m in range(len(neighbours)):
            for axis in range(3):
                wrap[axis], here[axis] = divmod(at[axis] + neighbours[m, axis], shape[axis])
            other = slot[(here[0] * shape[1] + here[1]) * shape[2] + here[2]]
            if other >= 0:
                root = _join(parent, size, shift, loops, rank, n, other, wrap)
                for d in range(rank[root]):
                    if first[d] < 0:
                        first[d] = n
    for n in range(count):
        rank[n] = rank[_find(parent, shift, n)]
    return first, rank


@njit(inline="always")
@no_type_check
def _same_cell(shift: np.ndarray, one: int, other: int, wrap: np.ndarray) -> bool:
    return (
        wrap[0] + shift[one, 0] == shift[other, 0]
        and wrap[1] + shift[one, 1] == shift[other, 1]
        and wrap[2] + shift[one, 2] == shift[other, 2]
    )


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _join(
    parent: np.ndarray,
    size: np.ndarray,
    shift: np.ndarray,
    loops: np.ndarray,
    rank: np.ndarray,
    one: int,
    other: int,
    wrap: np.ndarray,
) -> int:
    """Joins the sets of two points, the other being `wrap` cells away; returns the root."""
    a, b = _find(parent, shift, one), _find(parent, shift, other)
    if a == b and _same_cell(shift, one, other, wrap):
        return a
    apart = wrap + shift[one] - shift[other]
    if a == b:
        rank[a] = _add_loop(loops[a], rank[a], apart)
        return a
    if size[a] < size[b]:
        a, b = b, a
        apart = -apart
    parent[b], shift[b] = a, apart
    size[a] += size[b]
    for n in range(rank[b]):
        rank[a] = _add_loop(loops[a], rank[a], loops[b, n])
    return a


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def exposed_shares(
    place: np.ndarray,
    radius: np.ndarray,
    atoms: tuple[np.ndarray, np.ndarray],
    directions: np.ndarray,
    steps: np.ndarray,
    kind: np.ndarray,
) -> np.ndarray:
    """Shares of each atom's sphere outside all others: by channels, and by pockets.

    Args:
        place: atoms and images, Cartesian (Å), float64 [image, 3].
        radius: with the probe's added (Å), float64 [image].
        atoms: place and radius of those of the cell.
        directions: unit vectors, float64 [direction, 3].
        steps: rows from one grid point to the next (Å).
        kind: 0 where the probe's centre cannot be, 1 in channels, 2 in pockets, int8 [a, b, c].
    """
    shares = np.zeros((len(atoms[1]), 2))
    inverse = np.linalg.inv(steps)
    near = np.empty(len(place), np.int64)
    for n in range(len(shares)):
        count = 0
        for m in range(len(place)):
            r2 = 0.0
            for axis in range(3):
                r2 += (place[m, axis] - atoms[0][n, axis]) ** 2
            if 1e-12 < r2 < (radius[m] + atoms[1][n]) ** 2:
                near[count] = m
                count += 1
        blocker = 0
        for direction in directions:
            point = atoms[0][n] + atoms[1][n] * direction
            blocker = _blocker(place, radius, near[:count], point, blocker)
            if blocker == count:
                found = _kind_near(point @ inverse, steps, kind)
                shares[n, 0 if found == 1 else 1] += 1 / len(directions)
    return shares


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _blocker(
    place: np.ndarray, radius: np.ndarray, near: np.ndarray, point: np.ndarray, last: int
) -> int:
    """Which sphere of a list a point is in, tried from the last one on; their number if none."""
    count = len(near)
    for tried in range(count):
        n = (last + tried) % count
        m = near[n]
        x, y, z = place[m, 0] - point[0], place[m, 1] - point[1], place[m, 2] - point[2]
        if x * x + y * y + z * z < radius[m] ** 2 - 1e-9:
            return n
    return count


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _kind_near(index: np.ndarray, steps: np.ndarray, kind: np.ndarray) -> int:
    """The kind of the nearest open point of the 64 around; 0 if none is open."""
    start = np.floor(index)
    best, found = np.inf, 0
    for i in range(-1, 3):
        for j in range(-1, 3):
            for k in range(-1, 3):
                node = start + np.array([i, j, k])
                a = np.int64(node[0]) % kind.shape[0]
                b = np.int64(node[1]) % kind.shape[1]
                c = np.int64(node[2]) % kind.shape[2]
                if kind[a, b, c]:
                    r2 = (((node - index) @ steps) ** 2).sum()
                    if r2 < best:
                        best, found = r2, kind[a, b, c]
    return found
