"""Particles in three dimensions, as light falls on them."""

from __future__ import annotations

import io
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt, map_coordinates

from idnn.files import write_atomically
from phasefield.plotting import PHASE_COLOURS

AHEAD = np.array([-0.62, 0.66, -0.42]) / np.linalg.norm([0.62, 0.66, 0.42])
"""Of the view, by which the box is seen without perspective; z is up."""

RIGHT = np.cross(AHEAD, [0, 0, 1]) / np.linalg.norm(np.cross(AHEAD, [0, 0, 1]))
UP = np.cross(RIGHT, AHEAD)
LIGHT = (0.1 * RIGHT + 0.6 * UP - AHEAD) / np.linalg.norm(0.1 * RIGHT + 0.6 * UP - AHEAD)
PIXELS = 700
FAR_BELOW = -1e30
"""What the field is before a ray enters the box."""


class Hits(NamedTuple):
    """Where rays meet the surface.

    Attributes:
        hit: whether they do.
        place: in cells.
        normal: of the surface there, outwards.
    """

    hit: Bool[np.ndarray, " ray"]
    place: Float[np.ndarray, "ray 3"]
    normal: Float[np.ndarray, "ray 3"]


def plot_particles(
    field: Float[np.ndarray, "x y z"],
    level: float,
    phases: Int[np.ndarray, "x y z"],
    spacing: float,
    title: str,
    path: Path,
) -> None:
    """The surfaces where a field crosses a level, and cuts of what lies above it with the box.

    Args:
        field: such as a composition.
        level: at the surface.
        phases: numbers whose colours particles take, 0 for the matrix.
        spacing: nm.
        title: above.
        path: PNG file to write.
    """
    size = np.array(field.shape, dtype=float) - 1
    corners = np.array(list(product(*zip(np.zeros(3), size, strict=True))))
    flat = np.stack([corners @ RIGHT, corners @ UP], 1)
    low, high = flat.min(0), flat.max(0)
    across = np.linspace(low[0], high[0], PIXELS)
    along = np.linspace(low[1], high[1], round(PIXELS * (high - low)[1] / (high - low)[0]))
    x, y = (grid.ravel() for grid in np.meshgrid(across, along))
    found = _cast(field, level, x[:, None] * RIGHT + y[:, None] * UP, size)
    image = np.zeros((len(x), 4))
    image[found.hit] = _shaded(found, phases)[found.hit]
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    axes = figure.add_subplot(title=title, aspect="equal")
    hidden = corners[(corners @ AHEAD).argmax()]
    _edges(axes, corners, hidden, behind=True)
    extent = (low[0], high[0], low[1], high[1])
    axes.imshow(image.reshape(len(along), len(across), 4), extent=extent, origin="lower", zorder=2)
    _edges(axes, corners, hidden, behind=False)
    _scale(axes, size, spacing)
    axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())


def _cast(field: np.ndarray, level: float, origins: np.ndarray, size: np.ndarray) -> Hits:
    """Along `AHEAD` from where rays enter the box to where they leave it."""
    to_faces = (np.stack([np.zeros(3), size])[:, None] - origins) / AHEAD
    enter, leave = to_faces.min(0).max(1), to_faces.max(0).min(1)
    face = to_faces.min(0).argmax(1)
    steps = np.linspace(0, 1, round(float(np.linalg.norm(size))))
    hit = np.zeros(len(origins), dtype=bool)
    depth, before = enter.copy(), np.full(len(origins), FAR_BELOW)
    out = np.flatnonzero(leave > enter)
    for previous, step in zip([0, *steps[:-1]], steps, strict=True):
        at = enter[out] + step * (leave - enter)[out]
        value = _at(field, origins[out] + at[:, None] * AHEAD) - level
        met, inside, outside = out[value > 0], value[value > 0], before[out[value > 0]]
        back = (step - previous) * inside / (inside - outside)
        depth[met] = enter[met] + (step - back) * (leave - enter)[met]
        hit[met] = True
        before[out] = value
        out = out[value <= 0]
    place = origins + depth[:, None] * AHEAD
    normal = -np.stack([_at(slope, place) for slope in np.gradient(field)], 1)
    cut = depth <= enter + 1e-9
    normal[cut] = -np.sign(AHEAD) * np.eye(3)[face[cut]]
    return Hits(hit, place, normal)


def _at(field: np.ndarray, place: np.ndarray) -> np.ndarray:
    return map_coordinates(field, place.T, order=1, mode="nearest")


def _shaded(found: Hits, phases: np.ndarray) -> np.ndarray:
    """Colours of the nearest particle, by Lambert's law over an even light."""
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PHASE_COLOURS])
    length = np.linalg.norm(found.normal, axis=1, keepdims=True)
    normal = found.normal / np.maximum(length, np.finfo(float).tiny)
    _, nearest = distance_transform_edt(phases == 0, return_indices=True)  # pyright: ignore
    filled = phases[tuple(nearest)]
    at = np.clip(np.rint(found.place).astype(int), 0, np.array(phases.shape) - 1)
    phase = filled[tuple(at.T)]
    light = 0.35 + 0.65 * np.clip(normal @ LIGHT, 0, 1)
    rgb = colours[phase] * light[:, None]
    return np.concatenate([rgb, np.ones((len(rgb), 1))], 1)


def _edges(axes: Axes, corners: np.ndarray, hidden: np.ndarray, *, behind: bool) -> None:
    """Of the box: those that meet in the hidden corner, or the others."""
    style = {"color": "0.75", "zorder": 1} if behind else {"color": "0.3", "zorder": 3}
    for ends in (np.stack(pair) for pair in combinations(corners, 2)):
        if (ends[0] != ends[1]).sum() == 1 and (ends == hidden).all(1).any() == behind:
            axes.plot(ends @ RIGHT, ends @ UP, lw=0.8, **style)


def _scale(axes: Axes, size: np.ndarray, spacing: float) -> None:
    """The length of the box, below one of its edges."""
    middle = np.array([size[0] / 2, 0.0, 0.0])
    label = f"{(size[0] + 1) * spacing:.0f} nm"
    below = float(middle @ UP) - 0.04 * size[2]
    axes.text(float(middle @ RIGHT), below, label, ha="right", va="top", zorder=4)
