"""Crystals: cells of any shape, copies, and the shortest vector between atoms."""

from itertools import product

import numpy as np
import pytest
from hosts import SKEWED, box, in_another_cell, silicalite, skewed

from idnn.adsorption.structures import (
    Crystal,
    copies_for,
    distances,
    minimum_image,
    supercell,
)

VERY_SKEWED = np.array([[5.0, 0.0, 0.0], [9.0, 4.0, 0.0], [-11.0, 7.0, 6.0]])


@pytest.mark.parametrize("lattice", [4.0 * np.eye(3), SKEWED, VERY_SKEWED])
def test_the_minimum_image_is_the_shortest_of_many(lattice):
    random = np.random.default_rng(0)
    difference = random.uniform(-2, 2, (200, 3))
    images = np.array(list(product(range(-8, 9), repeat=3)))
    all_vectors = (difference[:, None] + images) @ lattice
    shortest = np.linalg.norm(all_vectors, axis=-1).min(1)
    found = minimum_image(lattice, difference)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), shortest, rtol=1e-12)
    whole = (found @ np.linalg.inv(lattice) - difference) % 1.0
    np.testing.assert_allclose(np.minimum(whole, 1 - whole), 0, atol=1e-9)


def test_distances_do_not_depend_on_the_choice_of_the_cell():
    transform = np.array([[1, 2, 0], [0, 1, -1], [0, 0, 1]])
    other = in_another_cell(skewed(), transform)
    np.testing.assert_allclose(distances(other), distances(skewed()), atol=1e-9)


def test_widths_are_the_distances_between_faces():
    a, b, c = SKEWED
    normal = np.cross(b, c) / np.linalg.norm(np.cross(b, c))
    assert skewed().widths[0] == pytest.approx(abs(a @ normal))
    np.testing.assert_allclose(box(5.0).widths, 5.0)


def test_copies_make_a_box_as_wide_as_wanted():
    copies = copies_for(skewed(), 20.0)
    assert (supercell(skewed(), copies).widths >= 20.0).all()
    for axis in range(3):
        a, b, c = (n - (k == axis) for k, n in enumerate(copies))
        assert supercell(skewed(), (a, b, c)).widths.min() < 20.0


def test_a_supercell_is_the_same_crystal():
    large = supercell(skewed(), (2, 1, 3))
    assert large.density == pytest.approx(skewed().density)
    nearest = np.sort(distances(large), axis=1)[:, 1]
    small = np.sort(distances(supercell(skewed(), (3, 3, 3))), axis=1)[:, 1]
    np.testing.assert_allclose(np.unique(nearest.round(9)), np.unique(small.round(9)))


def test_silicalite_has_the_density_that_raspa_prints():
    """0.17336750 mol/kg for a molecule per cell, in the output of RASPA2's example Basic/7."""
    assert silicalite().mol_per_kg == pytest.approx(0.1733675050, rel=2e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lattice": np.ones((3, 3))}, "`lattice` of x must span a volume"),
        ({"lattice": np.full((3, 3), np.nan)}, "`lattice` of x must be finite"),
        ({"fractional": np.full((1, 3), np.inf)}, "`fractional` of x must be finite"),
        ({"numbers": np.array([0])}, r"`numbers` of x must lie in \[1, 118\]; one is 0"),
        ({"charges": np.array([np.nan])}, "`charges` of x must be finite"),
    ],
)
def test_numbers_that_are_no_crystal_are_refused(change, message):
    good = {"lattice": np.eye(3), "fractional": np.zeros((1, 3)), "numbers": np.array([8])}
    with pytest.raises(ValueError, match=message):
        Crystal("x", **{**good, **change})


def test_a_supercell_of_no_cells_is_refused():
    with pytest.raises(ValueError, match="`copies` must be at least one"):
        supercell(skewed(), (1, 0, 1))
