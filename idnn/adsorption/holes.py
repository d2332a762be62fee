"""Spheres caught in a crystal: the largest cavity and the windows between cavities, off the grid."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import maximum_filter
from scipy.optimize import linprog

from idnn.adsorption.clearance import Clearance

_MOST_NEAR = 16
_MOST_STARTS = 64
_MOST_STEPS = 30


def cavity(field: Clearance) -> float:
    """Radius (Å) of the largest sphere that fits between the atoms; negative where none does.

    Climbs to it from all grid points that are higher than their neighbours and could be next to
    it: those within a mesh of the highest, or the 64 highest of them.
    """
    values = field.values
    higher = values >= maximum_filter(values, size=3, mode="wrap") - 1e-9
    index = np.argwhere(higher & (values >= values.max() - field.mesh))
    order = np.argsort(-values[tuple(index.T)], kind="stable")[:_MOST_STARTS]
    return max(_climb(field, n @ field.steps) for n in index[order])


def _climb(field: Clearance, point: Float[np.ndarray, "3"]) -> float:
    """The clearance's maximum next to a point, by a sequence of linear programs.

    The distance from an atom is convex: it is nowhere below its tangent, so no step leads down.
    """
    trust, best = field.mesh, -np.inf
    for _ in range(_MOST_STEPS):
        away = point - field.place
        far = np.linalg.norm(away, axis=1)
        gap = far - field.radius
        if gap.min() <= best + 1e-7:
            break
        best = float(gap.min())
        near = gap < best + 4 * trust
        rows = np.column_stack([-away[near] / far[near, None], np.ones(int(near.sum()))])
        box = [(-trust, trust)] * 3 + [(None, None)]
        step = linprog([0, 0, 0, -1], A_ub=rows, b_ub=gap[near], bounds=box)
        point = point + step.x[:3]
    return best


def window(
    field: Clearance, point: Float[np.ndarray, "3"], *, value: float, within: float
) -> float:
    """Clearance (Å) of the window between three atoms that is nearest to a point.

    A window is where a sphere that touches three atoms is caught between them: the touching points
    surround its centre, in the plane of the atoms.

    Args:
        field: clearance of the crystal.
        point: Cartesian (Å).
        value: clearance there (Å).
        within: the window's may be larger by as much (Å), or smaller by half the stride; its centre
            lies within eight times as much. If there is none, the value is returned.
    """
    gap = np.linalg.norm(field.place - point, axis=1) - field.radius
    near = np.argsort(gap)[:_MOST_NEAR]
    near = near[gap[near] < value + 16 * within]
    best, nearest = value, 8 * within
    for three in combinations(near, 3):
        for clear, centre in _touching(field.place[list(three)], field.radius[list(three)]):
            apart = float(np.linalg.norm(centre - point))
            fits = value - field.stride / 2 - 1e-9 <= clear <= value + within + 1e-9
            if fits and apart < nearest and abs(field(centre) - clear) < 1e-6:
                best, nearest = clear, apart
    return best


def _touching(
    place: Float[np.ndarray, "3 3"], radius: Float[np.ndarray, "3"]
) -> list[tuple[float, Float[np.ndarray, "3"]]]:
    """Radii and centres of spheres that touch three atoms and are surrounded by them.

    |p − cᵢ| = t + Rᵢ in the atoms' plane; differences of two are linear, p = A + B t.
    """
    edges = place[1:] - place[0]
    normal = np.cross(edges[0], edges[1])
    if normal @ normal < 1e-9 * (edges[0] @ edges[0]) * (edges[1] @ edges[1]):
        return []
    rows = np.vstack([edges, normal])
    right = 0.5 * ((edges**2).sum(1) - radius[1:] ** 2 + radius[0] ** 2)
    fixed = np.linalg.solve(rows, np.append(right, 0.0))
    slope = np.linalg.solve(rows, np.append(radius[0] - radius[1:], 0.0))
    half = fixed @ slope - radius[0]
    quadratic = np.array([slope @ slope - 1, 2 * half, fixed @ fixed - radius[0] ** 2])
    found = []
    for root in np.roots(quadratic):
        centre = fixed + slope * root.real
        shares = np.linalg.lstsq(edges.T, centre, rcond=None)[0]
        if abs(root.imag) < 1e-12 and min(*shares, 1 - shares.sum()) > -1e-6:
            found.append((float(root.real), place[0] + centre))
    return found
