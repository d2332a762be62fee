"""Spheres caught in a crystal: the largest cavity, and windows between cavities, off the grid."""

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
    """Clearance (Å) of the narrowest window between three atoms close to a point.

    A window is where a sphere that touches three atoms is caught between them: the touching points
    surround its centre, in the plane of the atoms. Of several that follow each other in a channel
    the narrowest counts.

    Args:
        field: clearance of the crystal.
        point: Cartesian (Å).
        value: clearance there (Å).
        within: the window's may be larger by as much (Å), and its centre lies within eight times
            as much. If there is none, the value is returned.
    """
    gap = np.linalg.norm(field.place - point, axis=1) - field.radius
    near = np.argsort(gap)[:_MOST_NEAR]
    threes = near[np.array(list(combinations(range(len(near)), 3)), dtype=int).reshape(-1, 3)]
    clear, centre = _touching(field.place[threes], field.radius[threes])
    close = np.linalg.norm(centre - point, axis=1) < 8 * within
    # Points on both sides of a window are wider than it by the second order of their distance.
    least = value - field.stride**2 / (8 * (value + field.radius[near].min())) - 1e-9
    fits = (clear >= least) & (clear <= value + within + 1e-9)
    for n in np.flatnonzero(close & fits)[np.argsort(clear[close & fits])]:
        if abs(field(centre[n]) - clear[n]) < 1e-6:
            return float(clear[n])
    return value


def _touching(
    place: Float[np.ndarray, "three 3 3"], radius: Float[np.ndarray, "three 3"]
) -> tuple[Float[np.ndarray, " sphere"], Float[np.ndarray, "sphere 3"]]:
    """Radii and centres of spheres that touch three atoms and are surrounded by them.

    |p − cᵢ| = t + Rᵢ in the atoms' plane; differences of two are linear, p = A + B t.
    """
    edges = place[:, 1:] - place[:, :1]
    normal = np.cross(edges[:, 0], edges[:, 1])
    square = (edges**2).sum(2)
    plane = (normal**2).sum(1) > 1e-9 * square.prod(1)
    edges, normal, square, corner = edges[plane], normal[plane], square[plane], place[plane, 0]
    first, more = radius[plane, 0], radius[plane, 1:]
    right = np.zeros((len(edges), 3, 2))
    right[:, :2, 0] = 0.5 * (square - more**2 + first[:, None] ** 2)
    right[:, :2, 1] = first[:, None] - more
    rows = np.concatenate([edges, normal[:, None]], axis=1)
    fixed, slope = np.moveaxis(np.linalg.solve(rows, right), 2, 0)
    a, half = (slope**2).sum(1) - 1, (fixed * slope).sum(1) - first
    inside = half**2 - a * ((fixed**2).sum(1) - first**2)
    good = (inside >= 0) & (np.abs(a) > 1e-9)
    turn, a = np.sqrt(inside[good]), a[good]
    found = np.concatenate([(sign * turn - half[good]) / a for sign in (1, -1)])
    rows, slope, fixed, corner = (
        np.tile(x[good], (2,) + (1,) * (x.ndim - 1)) for x in (rows, slope, fixed, corner)
    )
    centre = fixed + slope * found[:, None]
    shares = np.linalg.solve(np.swapaxes(rows, 1, 2), centre[:, :, None])[:, :2, 0]
    surrounded = (shares > -1e-6).all(1) & (shares.sum(1) < 1 + 1e-6)
    return found[surrounded], (corner + centre)[surrounded]
