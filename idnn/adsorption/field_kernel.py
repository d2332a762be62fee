"""Compiled loops over atoms and grid points: the energy of one site in a rigid host."""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

BLOCK = 8
"""Grid points along each edge of a block that shares one list of near atoms."""

CEILING = 3000.0
"""Energy (K) above which the logarithm is interpolated, so that the walls do not ring."""


class Atoms(NamedTuple):
    """Atoms of the cell and of its images within the cutoff.

    Attributes:
        place: Cartesian (Å), float64 [atom, 3].
        four_epsilon: K, float64 [atom].
        sigma2: Å², float64 [atom].
        shift: K, float64 [atom].
    """

    place: np.ndarray
    four_epsilon: np.ndarray
    sigma2: np.ndarray
    shift: np.ndarray


@njit(inline="always")
@no_type_check
def lennard_jones(r2: float, four_epsilon: float, sigma2: float, shift: float) -> float:
    """4ε[(σ/r)¹² − (σ/r)⁶] − shift."""
    ratio = sigma2 / r2
    cube = ratio * ratio * ratio
    return four_epsilon * (cube * cube - cube) - shift


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def fill_layers(
    atoms: Atoms,
    lattice: np.ndarray,
    cutoff: float,
    layers: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Energies (K) on the grid's points, for a range of layers of blocks along a.

    Args:
        atoms: within the cutoff of any point of the cell.
        lattice: rows a, b, c (Å).
        cutoff: Å.
        layers: first block and the one after the last.
        out: float32 [a, b, c]; changed in place.
    """
    steps = np.empty((3, 3))
    for axis in range(3):
        steps[axis] = lattice[axis] / out.shape[axis]
    offset, radius = _block_points(steps)
    near = np.empty((7, len(atoms.place)), np.float32)
    energy = np.empty(BLOCK**3, np.float32)
    one, c2, floor = np.float32(1), np.float32(cutoff * cutoff), np.float32(0.01)
    for i in range(layers[0], layers[1]):
        for j in range(-(-out.shape[1] // BLOCK)):
            for k in range(-(-out.shape[2] // BLOCK)):
                middle = (BLOCK - 1) / 2
                centre = (
                    (BLOCK * i + middle) * steps[0]
                    + (BLOCK * j + middle) * steps[1]
                    + (BLOCK * k + middle) * steps[2]
                )
                count = _near_atoms(atoms, centre, cutoff + radius, near)
                energy[:] = 0
                for n in range(count):
                    x, y, z = near[0, n], near[1, n], near[2, n]
                    depth, size, shift = near[3, n], near[4, n], near[5, n]
                    for p in range(BLOCK**3):
                        dx, dy, dz = offset[0, p] - x, offset[1, p] - y, offset[2, p] - z
                        r2 = dx * dx + dy * dy + dz * dz
                        ratio = size * (one / max(r2, floor))
                        cube = ratio * ratio * ratio
                        u = depth * (cube * cube - cube) - shift
                        energy[p] += u if r2 < c2 else np.float32(0)
                _store(energy, i, j, k, out)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _block_points(steps: np.ndarray) -> tuple[np.ndarray, float]:
    """Points of a block about its centre, float32 [3, point], and the farthest one's distance."""
    offset = np.empty((3, BLOCK**3), np.float32)
    middle, radius = (BLOCK - 1) / 2, 0.0
    for i in range(BLOCK):
        for j in range(BLOCK):
            for k in range(BLOCK):
                point = (i - middle) * steps[0] + (j - middle) * steps[1] + (k - middle) * steps[2]
                offset[:, (i * BLOCK + j) * BLOCK + k] = point
                radius = max(radius, np.sqrt((point**2).sum()))
    return offset, radius


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _near_atoms(atoms: Atoms, centre: np.ndarray, reach: float, near: np.ndarray) -> int:
    """Atoms within reach of a block's centre, their places counted from it; returns how many."""
    count = 0
    for n in range(len(atoms.place)):
        x, y, z = atoms.place[n] - centre
        if x * x + y * y + z * z < reach * reach:
            near[0, count], near[1, count], near[2, count] = x, y, z
            near[3, count] = atoms.four_epsilon[n]
            near[4, count] = atoms.sigma2[n]
            near[5, count] = atoms.shift[n]
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _store(energy: np.ndarray, i: int, j: int, k: int, out: np.ndarray) -> None:
    for a in range(BLOCK * i, min(BLOCK * (i + 1), out.shape[0])):
        for b in range(BLOCK * j, min(BLOCK * (j + 1), out.shape[1])):
            for c in range(BLOCK * k, min(BLOCK * (k + 1), out.shape[2])):
                row = (a - BLOCK * i) * BLOCK + b - BLOCK * j
                out[a, b, c] = energy[row * BLOCK + c - BLOCK * k]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def exact_energies(atoms: Atoms, points: np.ndarray, cutoff: float) -> np.ndarray:
    """Energies (K) at Cartesian points of the cell (Å) [point, 3], atom by atom."""
    energy = np.zeros(len(points))
    for p in range(len(points)):
        for n in range(len(atoms.place)):
            x, y, z = points[p] - atoms.place[n]
            r2 = x * x + y * y + z * z
            if r2 < cutoff * cutoff:
                energy[p] += lennard_jones(
                    max(r2, 0.01), atoms.four_epsilon[n], atoms.sigma2[n], atoms.shift[n]
                )
    return energy


@njit(inline="always")
@no_type_check
def _weights(x: float) -> tuple[float, float, float, float]:
    """Cubic B-spline at x + 1, x, 1 − x and 2 − x, for 0 ≤ x < 1."""
    y = 1 - x
    return (
        y * y * y / 6,
        (4 - 3 * x * x * (2 - x)) / 6,
        (4 - 3 * y * y * (2 - y)) / 6,
        x * x * x / 6,
    )


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def interpolate(coefficients: np.ndarray, x: float, y: float, z: float) -> float:
    """Energy (K) at fractional coordinates of the cell, in [0, 1], from a padded cubic B-spline."""
    x *= coefficients.shape[0] - 3
    y *= coefficients.shape[1] - 3
    z *= coefficients.shape[2] - 3
    # A coordinate that rounding has carried to 1 belongs to the last cell.
    i = min(np.int64(x), coefficients.shape[0] - 4)
    j = min(np.int64(y), coefficients.shape[1] - 4)
    k = min(np.int64(z), coefficients.shape[2] - 4)
    u, v, w = _weights(x - i), _weights(y - j), _weights(z - k)
    total = 0.0
    for a in range(4):
        plane = 0.0
        for b in range(4):
            row = coefficients[i + a, j + b]
            plane += v[b] * (
                w[0] * row[k] + w[1] * row[k + 1] + w[2] * row[k + 2] + w[3] * row[k + 3]
            )
        total += u[a] * plane
    return total if total <= CEILING else CEILING * np.exp(min(total / CEILING - 1, 50.0))


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def interpolate_all(coefficients: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Energies (K) at fractional coordinates [point, 3]."""
    energy = np.empty(len(points))
    for p in range(len(points)):
        energy[p] = interpolate(coefficients, points[p, 0], points[p, 1], points[p, 2])
    return energy
