"""The lower convex hull of energies over composition."""

import numpy as np
from jaxtyping import Float, Int


def lower_hull(
    x: Float[np.ndarray, " sample"], energy: Float[np.ndarray, " sample"]
) -> Int[np.ndarray, " vertex"]:
    """Indices of the vertices of the lower convex hull, by composition (Andrew's chain).

    Of points on one straight edge only the ends are vertices, of equal points only the first.
    """
    hull: list[int] = []
    for i in np.lexsort((energy, x)).tolist():
        if hull and x[i] == x[hull[-1]]:
            continue
        while len(hull) > 1 and _is_above(x, energy, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.array(hull)


def energy_above_hull(
    x: Float[np.ndarray, " sample"], energy: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, " sample"]:
    """Distance of each energy above the lower convex hull of them all, in their unit."""
    vertices = lower_hull(x, energy)
    return energy - np.interp(x, x[vertices], energy[vertices])


def _is_above(
    x: Float[np.ndarray, " sample"], e: Float[np.ndarray, " sample"], a: int, b: int, c: int
) -> bool:
    """Whether b lies on or above the line from a to c."""
    return bool((e[b] - e[a]) * (x[c] - x[a]) >= (e[c] - e[a]) * (x[b] - x[a]))
