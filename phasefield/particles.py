"""Particles: connected regions of one phase, joined across periodic boundaries and not at walls."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage, sparse

from phasefield.grid import Grid
from phasefield.interfaces import walls


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of one frame.

    Attributes:
        phase: of each.
        volume: of each, nm³ (per nm or nm² of missing dimensions).
        dimensions: of the box.
    """

    phase: Int[np.ndarray, " particle"]
    volume: Float[np.ndarray, " particle"]
    dimensions: int

    @property
    def radius(self) -> Float[np.ndarray, " particle"]:
        """Of the ball of equal volume, nm: (3V/4π)^⅓, √(A/π) or half the length."""
        return equivalent_radius(self.volume, self.dimensions)

    @property
    def mean_radius(self) -> float:
        """Mean of `radius`, nm; NaN without particles."""
        return float(self.radius.mean()) if len(self.volume) else math.nan


def equivalent_radius(
    volume: Float[np.ndarray, " particle"], dimensions: int
) -> Float[np.ndarray, " particle"]:
    """Radius (nm) of the ball of `volume` (nmᵈ) in one to three dimensions."""
    unit_ball = (2.0, math.pi, 4 * math.pi / 3)[dimensions - 1]
    return (volume / unit_ball) ** (1 / dimensions)


def find_particles(
    grid: Grid,
    phases: Int[np.ndarray, "*space"],
    count: int,
    share: Float[np.ndarray, "*space"] | None = None,
) -> Particles:
    """Regions of each phase but the first of `count`, connected by faces of cells.

    Two phases that touch are two particles; one that reaches through a periodic boundary is one.

    Args:
        grid: the cells.
        phases: of each cell.
        count: of phases.
        share: how much of each cell counts as volume, as (c − c₀)/(c₁ − c₀) does for the volume up
            to Gibbs's equimolar surface; not given: all.
    """
    label, owner = np.zeros(phases.shape, np.int32), [np.zeros(0, np.int64)]
    total = 0
    for phase in range(1, count):
        found, number = cast(tuple[np.ndarray, int], ndimage.label(phases == phase))
        label += np.where(found > 0, found + total, 0)
        owner.append(np.full(number, phase, np.int64))
        total += number
    weights = None if share is None else share.ravel()
    cells = np.bincount(label.ravel(), weights, minlength=total + 1)[1:]
    phase = np.concatenate(owner)
    whole = _joined(grid, label, phase)
    first = np.unique(whole, return_index=True)[1]
    volume = np.bincount(whole, weights=cells) * grid.cell_volume
    return Particles(phase[first], volume, phases.ndim)


def _joined(
    grid: Grid, label: Int[np.ndarray, "*space"], phase: Int[np.ndarray, " part"]
) -> Int[np.ndarray, " part"]:
    """The particle of each labelled part, once those that meet through a boundary are one."""
    ends = [
        (label.take(0, axis).ravel(), label.take(-1, axis).ravel())
        for axis in range(label.ndim)
        if axis not in walls(grid)
    ]
    none = np.zeros(0, np.int64)
    a = np.concatenate([none, *(first for first, _ in ends)]) - 1
    b = np.concatenate([none, *(last for _, last in ends)]) - 1
    meet = np.flatnonzero((a >= 0) & (b >= 0))
    meet = meet[phase[a[meet]] == phase[b[meet]]]
    a, b = a[meet], b[meet]
    graph = sparse.coo_array((np.ones(len(a)), (a, b)), shape=(len(phase), len(phase)))
    return sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
