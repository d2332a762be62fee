"""A three-dimensional microstructure seen from outside."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from idnn.files import write_atomically
from phasefield.plotting import PHASE_COLOURS


def plot_cube(phases: np.ndarray, spacing: float, title: str, path: Path) -> None:
    """The phases on three faces of the box.

    Args:
        phases: [x, y, z], 0 for the matrix, then up to four.
        spacing: nm.
        title: above.
        path: PNG file to write.
    """
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PHASE_COLOURS])
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.add_subplot(projection="3d", title=title)
    edges = [np.arange(n + 1) * spacing for n in phases.shape]
    sizes = [edge[-1] for edge in edges]
    for axis, side in ((0, -1), (1, 0), (2, -1)):
        others = [a for a in range(3) if a != axis]
        grid = dict(
            zip(others, np.meshgrid(*[edges[a] for a in others], indexing="ij"), strict=True)
        )
        grid[axis] = np.full_like(grid[others[0]], sizes[axis] if side else 0.0)
        face = colours[np.take(phases, side, axis=axis)]
        axes.plot_surface(
            grid[0], grid[1], grid[2], facecolors=face, rstride=1, cstride=1, shade=False,
            antialiased=False,
        )  # fmt: skip
    axes.view_init(elev=25, azim=-50)
    axes.set(xlabel="x (nm)", ylabel="y (nm)", zlabel="z (nm)", box_aspect=sizes)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    write_atomically(path, image.getvalue())
