"""The picture of particles in three dimensions: what is seen, where, and in which light."""

import numpy as np
import pytest
from PIL import Image

from phasefield.particle_plot import AHEAD, _cast, plot_particles
from phasefield.plotting import PHASE_COLOURS


def ball(centre, radius, n=24):
    """Signed distance inwards."""
    place = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1)
    return radius - np.linalg.norm(place - np.array(centre), axis=-1)


@pytest.mark.parametrize("radius", [5.7, 6.0, 6.4])
def test_rays_meet_a_ball_at_its_near_side(radius):
    """To a twentieth of a cell: distances are interpolated between cells."""
    centre = np.array([12.0, 11.0, 10.0])
    found = _cast(ball(centre, radius), 0.0, centre[None], np.full(3, 23.0))
    assert found.hit.all()
    assert np.allclose(found.place[0], centre - radius * AHEAD, atol=0.05)
    normal = found.normal[0] / np.linalg.norm(found.normal[0])
    assert np.allclose(normal, -AHEAD, atol=0.02)


def test_rays_beside_a_ball_miss_it_and_those_into_a_cut_end_on_the_face():
    aside = np.array([12.0, 11.0, 10.0]) + 7 * np.cross(AHEAD, [0, 0, 1])
    assert not _cast(ball((12, 11, 10), 5.0), 0.0, aside[None], np.full(3, 23.0)).hit.any()
    on_top = np.array([12.0, 12.0, 23.0])
    found = _cast(ball(on_top, 6.0), 0.0, on_top[None], np.full(3, 23.0))
    assert found.hit.all()
    assert np.allclose(found.place[0], on_top, atol=1e-9)
    assert found.normal[0].tolist() == [0, 0, 1]


def test_particles_are_drawn_in_the_colours_of_their_phases(tmp_path):
    one, other = ball((7, 12, 12), 4.0), ball((17, 12, 12), 4.0)
    phases = np.where(one > 0, 1, np.where(other > 0, 3, 0))
    path = tmp_path / "particles.png"
    plot_particles(np.maximum(one, other), 0.0, phases, 1.0, "t", path)
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3) / 255
    for phase, colour in enumerate(PHASE_COLOURS):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        size = np.linalg.norm(pixels, axis=1) * np.linalg.norm(rgb)
        alike = pixels @ rgb > 0.9998 * size
        coloured = np.ptp(pixels, axis=1) > 0.1
        assert (int((alike & coloured).sum()) > 1000) == (phase in (1, 3))
