"""Boxes: numbering, sublattices, periodic images."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import B2, LAYERS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from idnn.order_parameters import FCC_L12
from sampling.lattice import Supercell, hermite_normal_form

vectors = npst.arrays(np.int64, (5, 3), elements=st.integers(-50, 50))


@pytest.mark.parametrize("system", [FCC_L12, LAYERS, B2])
@pytest.mark.parametrize("cells", [1, 2, 3, (2, 1, 4)])
def test_every_site_is_numbered_once(system, cells):
    box = Supercell(system, cells)
    assert (box.index(box.sites) == np.arange(system.dimension * np.prod(box.edges))).all()
    assert (np.bincount(box.sublattice) == box.sites_per_sublattice).all()
    assert (box.sites[0] == 0).all()


@given(vectors, vectors)
@pytest.mark.parametrize("cells", [3, (2, 3, 5)])
def test_images_and_sublattices_repeat_with_their_cells(cells, position, shift):
    box = Supercell(FCC_L12, cells)
    image = position + shift * box.edges @ box.ordered_cell
    assert (box.index(image) == box.index(position)).all()
    same_sublattice = position + shift @ box.ordered_cell
    assert (box.sublattice[box.index(same_sublattice)] == box.sublattice[box.index(position)]).all()


@pytest.mark.parametrize(("system", "same"), [(FCC_L12, 0), (B2, 0)])
def test_nearest_neighbours_lie_on_other_sublattices(system, same):
    near = {
        "fcc-L12": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1)],
        "bcc-B2": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)],
    }[system.name]
    box = Supercell(system, 2)
    neighbours = box.sublattice[box.index(box.sites[:, None] + np.array(near))]
    assert (neighbours == box.sublattice[:, None]).sum() == same


def test_filled_counts_each_sublattice():
    box = Supercell(FCC_L12, 2)
    occupation = np.random.default_rng(0).integers(0, 2, (5, 32))
    expected = [[row[box.sublattice == s].sum() for s in range(4)] for row in occupation]
    assert (box.filled(occupation) == expected).all()


@pytest.mark.parametrize(
    ("vector", "cells"), [((-1, 1, 1), 2), ((-2, 2, 2), 3), ((1, 0, 0), 1), ((0, 0, 2), 2)]
)
def test_smallest_box_keeps_a_vector_from_being_a_period(vector, cells):
    assert Supercell(FCC_L12, 1).smallest_cells(np.array([vector])) == cells


@pytest.mark.parametrize("cells", [4, 5, (4, 4, 5)])
def test_a_vector_is_a_period_only_of_boxes_that_it_crosses_in_whole_turns(cells):
    """Six ordered cells along one edge: a period of a box of three, not of one of four or five."""
    six = np.array([[-6, 6, 6]])
    assert not Supercell(FCC_L12, cells).has_period(six)
    assert Supercell(FCC_L12, 6).has_period(six)
    assert Supercell(FCC_L12, (3, 4, 4)).has_period(six)


@given(npst.arrays(np.int64, (3, 3), elements=st.integers(-4, 4)))
def test_hermite_normal_form_spans_the_same_lattice(matrix):
    determinant = round(np.linalg.det(matrix))
    if determinant == 0:
        with pytest.raises(ValueError, match="`ordered_cell` must have independent rows"):
            hermite_normal_form(matrix)
        return
    form = hermite_normal_form(matrix)
    assert (np.tril(form, -1) == 0).all()
    assert (form.diagonal() > 0).all()
    change = form @ np.linalg.inv(matrix)
    assert np.allclose(change, np.rint(change), atol=1e-9)
    assert abs(np.linalg.det(change)) == pytest.approx(1)


def test_a_box_of_no_cells_is_refused():
    with pytest.raises(ValueError, match="`cells` must be at least 1; it is 0"):
        Supercell(FCC_L12, 0)


def test_a_system_with_other_than_one_sublattice_per_order_parameter_is_refused():
    wrong = replace(FCC_L12, ordered_cell=LAYERS.ordered_cell)
    with pytest.raises(ValueError, match="4 order parameters but its `ordered_cell` holds 2 sites"):
        Supercell(wrong, 2)
