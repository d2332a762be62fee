"""The quantities measured of every frame: their names, axes and units in a trajectory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from phasefield.measurement import Measurement

Unit = Callable[[int], str]
"""Unit of a quantity in a box of one to three dimensions."""


@dataclass(frozen=True)
class Quantity:
    """An array of a trajectory.

    Attributes:
        name: of the array.
        meaning: in words.
        unit: in a box of so many dimensions.
        of: its values in a measurement.
        axes: of these values.
        dtype: on disk.
    """

    name: str
    meaning: str
    unit: Unit
    of: Callable[[Measurement], Any]
    axes: tuple[str, ...] = ()
    dtype: str = "float64"

    def values(self, measured: Measurement) -> np.ndarray:
        """As they are written."""
        return np.asarray(self.of(measured), self.dtype)


def length_to(fixed: int, per_dimension: int = 0) -> Unit:
    """nm to the power `fixed` + `per_dimension` × dimensions."""

    def unit(dimensions: int) -> str:
        power = fixed + per_dimension * dimensions
        return {0: "1", 1: "nm"}.get(power, f"nm{power}")

    return unit


number, length, inverse_length = length_to(0), length_to(1), length_to(-1)
area, volume, inverse_volume = length_to(-1, 1), length_to(0, 1), length_to(0, -1)

PARTICLES = "particles"

PER_FRAME = (
    Quantity("minimum", "smallest value", number, lambda m: m.minima, ("field",)),
    Quantity("maximum", "largest value", number, lambda m: m.maxima, ("field",)),
    Quantity("share", "fraction of the cells", number, lambda m: m.shares, ("phase",)),
    Quantity("interface_area", "area of all interfaces", area, lambda m: m.interface_area),
    Quantity(
        "boundary_area",
        "area between two phases",
        area,
        lambda m: m.boundary_areas,
        ("phase", "neighbour"),
    ),
    Quantity(
        "structure_factor",
        "S(k) of the first field",
        volume,
        lambda m: m.structure.value,
        ("shell",),
    ),
    Quantity(
        "mean_wave_number", "⟨k⟩ of S(k)", inverse_length, lambda m: m.structure.mean_wave_number
    ),
    Quantity(
        "characteristic_length", "2π/⟨k⟩", length, lambda m: m.structure.characteristic_length
    ),
    Quantity("mean_radius", "mean radius of particles", length, lambda m: m.particles.mean_radius),
    Quantity(
        PARTICLES, "number of particles", number, lambda m: len(m.particles.volume), dtype="int64"
    ),
)
"""One entry a frame."""

PER_SHELL = (
    Quantity(
        "wave_number", "mean |k|", inverse_length, lambda m: m.structure.wave_number, ("shell",)
    ),
    Quantity(
        "mode_density",
        "modes per volume; Σ S·mode_density is the variance",
        inverse_volume,
        lambda m: m.structure.mode_density,
        ("shell",),
    ),
)
"""The same for all frames."""

PARTICLE_FRAME = "particle_frame"
PER_PARTICLE = (
    Quantity(
        "particle_phase", "index of its phase", number, lambda m: m.particles.phase, dtype="int64"
    ),
    Quantity("particle_volume", "volume of a particle", volume, lambda m: m.particles.volume),
)
"""All particles of all frames one after the other; `PARTICLE_FRAME` tells the frame of each."""

NAMES = (PARTICLE_FRAME, *(q.name for q in (*PER_FRAME, *PER_SHELL, *PER_PARTICLE)))
