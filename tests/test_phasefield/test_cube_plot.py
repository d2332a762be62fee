"""The picture of a three-dimensional microstructure shows what its faces hold."""

import numpy as np
from PIL import Image

from phasefield.cube_plot import plot_cube
from phasefield.plotting import PHASE_COLOURS


def test_the_faces_seen_have_the_colours_of_their_phases(tmp_path):
    phases = np.zeros((6, 5, 4), dtype=int)
    phases[-1], phases[:, 0], phases[..., -1] = 1, 2, 3
    phases[0, 1:, :-1] = 4  # behind
    path = tmp_path / "cube.png"
    plot_cube(phases, 1.0, "t", path)
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    for phase, colour in enumerate(PHASE_COLOURS):
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        seen = int((np.abs(pixels - rgb).max(1) <= 1).sum())
        assert (seen > 1000) == (phase in (1, 2, 3))
