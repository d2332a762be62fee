"""What is measured of the fields of a frame: extremes, phases, interfaces, structure, particles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from phasefield.grid import Grid
from phasefield.interfaces import boundary_areas
from phasefield.observe import PhaseMap
from phasefield.particles import Particles, find_particles
from phasefield.structure_factor import StructureFactor, structure_factor


@dataclass(frozen=True, eq=False)
class Measurement:
    """One frame.

    Attributes:
        minima: smallest value of every field.
        maxima: largest value of every field.
        shares: fraction of the cells in every phase.
        boundary_areas: area between every two phases, nm² (per nm or nm² of missing dimensions).
        structure: structure factor of the first field.
        particles: connected regions of every phase but the first.
    """

    minima: tuple[float, ...]
    maxima: tuple[float, ...]
    shares: tuple[float, ...]
    boundary_areas: Float[np.ndarray, "phase neighbour"]
    structure: StructureFactor
    particles: Particles

    @property
    def interface_area(self) -> float:
        """Area of all interfaces, nm² (per nm or nm² of missing dimensions)."""
        return float(np.triu(self.boundary_areas).sum())


def measure(grid: Grid, u: Float[Tensor, "field *space"], phases: PhaseMap) -> Measurement:
    """Measure fields on `grid`.

    Raises:
        ValueError: `u` is not on the cells of `grid`.
    """
    if u.shape[1:] != grid.shape:
        raise ValueError(
            f"`u` must hold fields on {grid.shape} cells; its shape is {tuple(u.shape)}."
        )
    count = len(phases.labels)
    phase = phases(u).cpu().numpy()
    cells = u.flatten(1)
    return Measurement(
        minima=tuple(cells.amin(1).tolist()),
        maxima=tuple(cells.amax(1).tolist()),
        shares=tuple((np.bincount(phase.ravel(), minlength=count) / grid.cells).tolist()),
        boundary_areas=boundary_areas(grid, phase, count),
        structure=structure_factor(grid, u[0]),
        particles=find_particles(grid, phase, count),
    )
