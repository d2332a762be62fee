"""Symmetry: atoms known to be alike are found so, and the smallest cell whatever cell is given."""

import numpy as np
import pytest
from hosts import fluorite, in_another_cell, other_descriptions, silicalite, turned

from idnn.adsorption.structures import Crystal, distances, supercell
from idnn.adsorption.symmetry import equivalent, primitive


def test_equal_atoms_are_found_in_any_cell():
    assert len(set(equivalent(fluorite()).tolist())) == 2
    for crystal in other_descriptions(fluorite()).values():
        labels = equivalent(crystal)
        assert len(set(labels.tolist())) == 2
        assert (crystal.numbers[labels] == crystal.numbers).all()
    assert len(set(equivalent(silicalite()).tolist())) == 38  # 12 silicon and 26 oxygen atoms


def test_atoms_that_miss_their_place_by_more_than_the_tolerance_differ():
    moved = fluorite()
    places = moved.fractional.copy()
    places[0, 0] += 0.05 / 5.46
    moved = Crystal("moved", moved.lattice, places, moved.numbers)
    assert len(set(equivalent(moved).tolist())) > 2
    assert len(set(equivalent(moved, tolerance=0.1).tolist())) == 2


def test_the_smallest_cell_is_the_same_crystal():
    small = primitive(fluorite())
    assert len(small.numbers) == 3
    assert small.volume == pytest.approx(fluorite().volume / 4)
    shortest = distances(small)[small.numbers == 20][:, small.numbers == 9]
    assert shortest == pytest.approx(5.46 * 3**0.5 / 4)
    # Edges of the face-centred lattice are half diagonals of faces.
    assert np.linalg.norm(small.lattice, axis=1) == pytest.approx(5.46 / 2**0.5)


@pytest.mark.parametrize("crystal", other_descriptions(silicalite()).values(), ids=str)
def test_every_cell_has_the_same_smallest_cell(crystal):
    one, other = primitive(silicalite()), primitive(crystal)
    assert len(other.numbers) == len(one.numbers)
    lengths = [np.sort(np.linalg.norm(c.lattice, axis=1)) for c in (one, other)]
    np.testing.assert_allclose(*lengths, atol=1e-6)
    nearest = [np.sort(np.sort(distances(c), axis=1)[:, 1]) for c in (one, other)]
    np.testing.assert_allclose(*nearest, atol=1e-6)


def test_a_crystal_without_symmetry_is_itself():
    places = np.random.default_rng(1).random((5, 3))
    crystal = Crystal("none", np.diag([7.0, 8.0, 9.0]), places, np.array([1, 6, 7, 8, 9]))
    assert equivalent(crystal).tolist() == list(range(5))
    assert primitive(crystal).volume == pytest.approx(crystal.volume)
    assert len(primitive(supercell(crystal, (1, 2, 1))).numbers) == 5
    assert len(primitive(turned(in_another_cell(crystal, np.eye(3)))).numbers) == 5


def test_where_atoms_coincide_nothing_is_said():
    twice = Crystal("twice", 5 * np.eye(3), np.zeros((2, 3)), np.array([6, 6]))
    assert equivalent(twice).tolist() == [0, 1]
    assert primitive(twice) is twice
