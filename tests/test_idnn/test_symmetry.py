"""Groups from generators and from crystals."""

from itertools import permutations

import numpy as np
import pytest
from boxes import D019

from idnn.order_parameters import BCC_D03, FCC_L12, SYSTEMS
from idnn.symmetry import closed, generating, sublattice_permutations
from sampling.lattice import Supercell

FCC = np.array(FCC_L12.primitive_cell)
CUBIC = np.array(FCC_L12.ordered_cell)
ORIGIN = np.zeros((1, 3))


def of_crystal(system):
    return sublattice_permutations(
        np.array(system.primitive_cell), np.array(system.basis), np.array(system.ordered_cell)
    )


def turn(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_group_of_every_ready_system_is_that_of_its_crystal(name):
    np.testing.assert_array_equal(SYSTEMS[name].group.numpy(), of_crystal(SYSTEMS[name]))


def test_the_group_of_fcc_is_all_24_permutations():
    assert of_crystal(FCC_L12).tolist() == [list(p) for p in permutations(range(4))]


def test_a_sheared_choice_of_primitive_vectors_has_the_same_group():
    """Also where primitive vectors are long, and the cell is not near a cube."""
    change = np.array([[1, 0, 0], [3, 1, 0], [0, -2, 1]])
    ordered = (CUBIC @ np.linalg.inv(change)).round().astype(int)
    assert len(sublattice_permutations(change @ FCC, ORIGIN, ordered)) == 24


def test_stretching_the_crystal_leaves_the_symmetry_that_it_keeps():
    """Along one axis fcc keeps L1₀'s: which pairs share a layer stays. Along all three, fewer."""
    tetragonal = FCC * [1.0, 1.0, 1.1]
    group = sublattice_permutations(tetragonal, ORIGIN, CUBIC)
    assert len(group) == 8
    rhombic = FCC * [1.0, 1.2, 1.1]
    assert len(sublattice_permutations(rhombic, ORIGIN, CUBIC)) == 4


def test_operations_that_mix_sublattices_are_left_out():
    """Four layers of a simple cubic crystal in turn: those of a square, whatever cubes allow."""
    group = sublattice_permutations(np.eye(3), ORIGIN, np.diag([1, 1, 4]))
    assert group.tolist() == BCC_D03.group.tolist()


def test_the_group_does_not_depend_on_where_the_origin_is():
    cell, basis = np.array(D019.primitive_cell), np.array(D019.basis)
    moved = sublattice_permutations(
        cell, np.add(basis, [0.1, 0.27, 0.4]), np.array(D019.ordered_cell)
    )
    np.testing.assert_array_equal(moved, of_crystal(D019))


def test_the_basis_of_hcp_counts():
    """P6₃/mmc modulo the doubled lattice: twelve rotations at a site's height, four shifts."""
    group = of_crystal(D019)
    assert len(group) == 48
    assert (np.sort(group % 8 // 4, axis=1) == [0] * 4 + [1] * 4).all()
    exchanged = (group[:, :4] >= 4).all(1)
    assert exchanged.sum() == 24
    assert (exchanged | (group[:, :4] < 4).all(1)).all()


@pytest.mark.parametrize("system", [*SYSTEMS.values(), D019], ids=lambda s: s.name)
def test_permutations_are_those_of_the_sublattices_of_a_box(system):
    """Every pair distance between sublattices is kept, in the numbering of a periodic box."""
    box = Supercell(system, 2)
    cell = np.array(system.primitive_cell)
    period = np.array(system.ordered_cell) @ cell
    position = (box.sites + np.array(system.basis)[box.basis]) @ cell
    first = [np.flatnonzero(box.sublattice == s)[0] for s in range(system.dimension)]
    images = np.stack(np.meshgrid(*[range(-2, 3)] * 3), -1).reshape(-1, 3) @ period
    gap = position[first][:, None] - position[first]
    nearest = np.linalg.norm(gap[:, :, None] + images, axis=-1).min(-1)
    for p in of_crystal(system):
        np.testing.assert_allclose(nearest[np.ix_(p, p)], nearest, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3, 6, 7])
def test_a_rotation_and_a_mirror_generate_twice_as_many_elements_as_the_rotation(order):
    group = closed(np.array([turn(2 * np.pi / order), np.diag([1.0, -1.0])]))
    assert len(group) == 2 * order
    assert len(generating(group)) <= 3
    np.testing.assert_allclose(closed(generating(group)), group, atol=1e-12)


def test_a_closed_group_is_itself_and_sorted():
    group = BCC_D03.group.numpy()
    np.testing.assert_array_equal(closed(group[::-1].copy()), group)
    assert len(generating(group)) == 2
    trivial = closed(np.array([[0, 1, 2]]))
    assert trivial.tolist() == generating(trivial).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        (turn(1.0)[None], "`group` must be finite"),
        (np.array([[0, 0, 1]]), r"permutations of 0 … 2; \[0, 0, 1\] is none"),
        (np.zeros((1, 2, 2)), "determinant ±1"),
        (np.full((1, 2, 2), np.nan), "determinant ±1"),
    ],
)
def test_what_is_no_finite_group_is_refused(generators, message):
    with pytest.raises(ValueError, match=message):
        closed(generators)
