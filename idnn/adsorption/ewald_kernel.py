"""Compiled parts of Ewald's sum: the screened charges of a host, on a grid and at points."""

import math
from typing import no_type_check

import numpy as np
from numba import njit

NEAREST = 0.5
"""Distance (Å) below which charges are taken to be that far apart; no molecules come so near."""


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def fill_screened(
    place: np.ndarray,
    charge: np.ndarray,
    steps: np.ndarray,
    alpha: float,
    cutoff: float,
    layer: int,
    out: np.ndarray,
) -> None:
    """Add Σ q erfc(αr)/r to one layer of a grid.

    Args:
        place: of atoms and images within the cutoff of the cell (Å), float64 [atom, 3].
        charge: of each, float64 [atom].
        steps: from a point to the next along each edge (Å), float64 [3, 3].
        alpha: 1/Å.
        cutoff: Å.
        layer: number along the first edge.
        out: float64 [x, y, z]; changed in place.
    """
    near = np.empty(len(place), np.int64)
    reach = cutoff + 0.5 * np.sqrt((steps[2] ** 2).sum()) * out.shape[2]
    for j in range(out.shape[1]):
        middle = layer * steps[0] + j * steps[1] + 0.5 * out.shape[2] * steps[2]
        count = 0
        for n in range(len(place)):
            if ((place[n] - middle) ** 2).sum() < reach * reach:
                near[count] = n
                count += 1
        start = layer * steps[0] + j * steps[1]
        for m in range(count):
            x, y, z = place[near[m]] - start
            for k in range(out.shape[2]):
                a, b, c = x - k * steps[2, 0], y - k * steps[2, 1], z - k * steps[2, 2]
                r2 = a * a + b * b + c * c
                if r2 < cutoff * cutoff:
                    r = max(math.sqrt(r2), NEAREST)
                    out[layer, j, k] += charge[near[m]] * math.erfc(alpha * r) / r


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def screened_at(
    place: np.ndarray, charge: np.ndarray, alpha: float, cutoff: float, points: np.ndarray
) -> np.ndarray:
    """Σ q erfc(αr)/r at Cartesian points (Å), float64 [point]."""
    total = np.zeros(len(points))
    for p in range(len(points)):
        for n in range(len(place)):
            x, y, z = points[p] - place[n]
            r2 = x * x + y * y + z * z
            if r2 < cutoff * cutoff:
                r = max(math.sqrt(r2), NEAREST)
                total[p] += charge[n] * math.erfc(alpha * r) / r
    return total
