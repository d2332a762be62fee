"""The figure of a prediction taken apart: which atoms it comes from, and which are attended to."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from idnn.adsorption.clearance import atomic_radii
from idnn.adsorption.model import AtomContributions
from idnn.adsorption.structures import Crystal
from idnn.files import write_atomically

_PANEL = 4.6
"""Inches."""

_SHOWN = 0.35
"""Of an atom's radius, so that those behind are seen."""

_FILLED = 0.8
"""What the longer side of the cell, as it is seen, must be for it to fill a panel."""

_FLATTEST = 0.05
"""Of the largest attention, the smallest range of its colours."""

_VIEW = {"elev": 14.0, "azim": -67.0}


def plot_contributions(crystal: Crystal, found: AtomContributions, target: str, path: Path) -> None:
    """Draw the cell twice: atoms coloured by what they add, and by the attention they are paid.

    Attention is that of the readout in the last layer, averaged over heads, all of which see the
    whole crystal there, and over members.

    Args:
        crystal: that was predicted.
        found: its prediction, taken apart.
        target: of which column.
        path: file to write, in the format of its suffix.

    Raises:
        ValueError: there is no such target, or no such format.
    """
    if target not in found.targets:
        raise ValueError(f"`target` must be one of {', '.join(found.targets)}; it is {target!r}.")
    column = found.targets.index(target)
    adds, rest = found.sites[:, column], float(found.rest[column])
    paid = 100 * found.attention[:, -1].mean((0, 1))
    lowest = min(paid.min(), (1 - _FLATTEST) * paid.max())
    largest = float(np.abs(adds).max()) or 1.0
    figure = Figure(figsize=(2 * _PANEL, 1.1 * _PANEL), layout="constrained", dpi=160)
    left, right = figure.subplots(1, 2, subplot_kw={"projection": "3d", "proj_type": "ortho"})
    whole = adds.sum() + rest
    figure.suptitle(f"{crystal.name}: {target} {whole:.4g}", fontsize=11)
    _draw(left, crystal, adds, "RdBu_r", Normalize(-largest, largest), f"adds to {target}")
    left.set_title(f"atoms {adds.sum():+.4g}, crystal as a whole {rest:+.4g}", fontsize=9)
    _draw(right, crystal, paid, "viridis", Normalize(lowest, paid.max()), "attention (%)")
    right.set_title(
        f"atoms {paid.sum():.3g} %, readout itself {100 - paid.sum():.3g} %", fontsize=9
    )
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.removeprefix(".") or "png")
    write_atomically(path, content.getvalue())


def _draw(
    axes: Any,  # noqa: ANN401  # three-dimensional ones, whose types matplotlib does not state
    crystal: Crystal,
    values: Float[np.ndarray, " site"],
    colours: str,
    scale: Normalize,
    label: str,
) -> None:
    corners = np.array(list(product((0.0, 1.0), repeat=3)))
    _draw_edges(axes, crystal, corners)
    place, site = _in_and_on(crystal)
    low, high = (corners @ crystal.lattice).min(0), (corners @ crystal.lattice).max(0)
    seen = float(np.ptp(corners @ crystal.lattice @ _screen(), axis=0).max())
    points = 72 * _PANEL * _FILLED / seen
    sizes = (2 * _SHOWN * points * atomic_radii(crystal)) ** 2
    axes.scatter(
        *place.T,
        s=sizes[site],
        c=values[site],
        cmap=colours,
        norm=scale,
        depthshade=False,
        edgecolors="#333333",
        linewidths=0.4,
    )
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(high - low, zoom=_FILLED * np.linalg.norm(high - low) / seen)
    axes.view_init(**_VIEW)
    axes.set_axis_off()
    bar = axes.figure.colorbar(
        ScalarMappable(scale, colours), ax=axes, orientation="horizontal", shrink=0.7, pad=0.0
    )
    bar.locator = MaxNLocator(5)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _screen() -> Float[np.ndarray, "3 2"]:
    """Directions to the right and upwards, as the cell is looked at."""
    up, turn = np.radians(_VIEW["elev"]), np.radians(_VIEW["azim"])
    right = [-np.sin(turn), np.cos(turn), 0.0]
    return np.array([right, [-np.sin(up) * np.cos(turn), -np.sin(up) * np.sin(turn), np.cos(up)]]).T


def _draw_edges(
    axes: Any,  # noqa: ANN401
    crystal: Crystal,
    corners: Float[np.ndarray, "corner 3"],
) -> None:
    for start, end in product(corners, corners):
        if (end - start).sum() == 1 and (end >= start).all():
            line = np.stack([start, end]) @ crystal.lattice
            axes.plot(*line.T, color="#999999", linewidth=0.8)


def _in_and_on(
    crystal: Crystal,
) -> tuple[Float[np.ndarray, "shown 3"], Int[np.ndarray, " shown"]]:
    """Places (Å) of the atoms of the cell, those on a face, edge or corner on all of them."""
    place, site = [], []
    for shift in product((-1, 0, 1), repeat=3):
        shifted = crystal.fractional + np.array(shift)
        inside = ((shifted > -1e-3) & (shifted < 1 + 1e-3)).all(1)
        place.append(shifted[inside] @ crystal.lattice)
        site.append(np.flatnonzero(inside))
    return np.concatenate(place), np.concatenate(site)
