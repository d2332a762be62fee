"""Area of the interfaces between phases, counted on their map along lattice directions."""

import itertools

import numpy as np
from jaxtyping import Float, Int

from phasefield.grid import Grid

WEIGHTS: dict[int, dict[tuple[int, ...], float]] = {
    1: {(1,): 1.0},
    2: {(1, 0): 0.23267766, (1, 1): 0.11307577, (2, 1): 0.08783436},
    3: {
        (1, 0, 0): 0.04746832,
        (1, 1, 0): 0.01336520,
        (1, 1, 1): 0.01796267,
        (2, 1, 0): 0.02626677,
        (2, 1, 1): 0.03112645,
    },
}
"""Dimensions → steps d (one per class of equal ones) → weight w. Σ w |n·d| over all ±d is 1 on
average over the normals n, and off by no more than 1.5 % for any of them (a linear program)."""

REACH = 2
"""Longest component of a step, cells."""


def boundary_areas(
    grid: Grid, phases: Int[np.ndarray, "*space"], count: int
) -> Float[np.ndarray, "phase neighbour"]:
    """Area between every two of `count` phases, nm² (per nm or nm² of missing dimensions).

    Cauchy–Crofton: a plane of unit area and normal n parts |n·d| of the pairs of cells a step d
    apart, so that Σ_d w_d N_d with Σ w_d |n·d| = 1 is the area if N_d pairs are of two phases
    (cf. Boykov & Kolmogorov 2003, doi:10.1109/ICCV.2003.1238310). Off by at most 1.5 % for a plane
    of any tilt; a sphere of R cells loses a share 0.4/R² besides, a circle 0.1/R². Layers thinner
    than two cells count in part only, as steps leap over them. Walls are mirrors.
    """
    wide = phases.astype(np.uint8)
    for axis in range(wide.ndim):
        margin = [(REACH, REACH) if a == axis else (0, 0) for a in range(wide.ndim)]
        wide = np.pad(wide, margin, mode="symmetric" if axis in walls(grid) else "wrap")
    here, pairs = _shifted(wide, (0,) * wide.ndim), np.zeros(count * count)
    for step, weight in _steps(grid):
        there = _shifted(wide, step)
        differ = here != there
        code = here[differ].astype(np.intp) * count + there[differ]
        pairs += weight * np.bincount(code, minlength=count * count)
    table = pairs.reshape(count, count)
    return (table + table.T) * grid.spacing ** (wide.ndim - 1)


def walls(grid: Grid) -> tuple[int, ...]:
    """The axes that end in walls without flux."""
    return tuple(axis for axis, kind in enumerate(grid.boundaries) if kind == "no-flux")


def _steps(grid: Grid) -> list[tuple[tuple[int, ...], float]]:
    """Steps d with their weights; −d counts the same pairs again, except at walls."""
    dimensions = len(grid.shape)
    found = {
        tuple(sign * length for sign, length in zip(signs, order, strict=True)): weight
        for step, weight in WEIGHTS[dimensions].items()
        for order in itertools.permutations(step)
        for signs in itertools.product((1, -1), repeat=dimensions)
    }
    if walls(grid):
        return sorted((step, weight / 2) for step, weight in found.items())
    return sorted((step, weight) for step, weight in found.items() if step > (0,) * dimensions)


def _shifted(wide: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    inner = [slice(REACH + s, n - REACH + s) for s, n in zip(step, wide.shape, strict=True)]
    return wide[tuple(inner)]
