"""Invariants found by the Reynolds operator: as many as Molien says, and one value per orbit."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idnn.invariants import (
    Incomplete,
    fundamental_invariants,
    highest_degree,
    independent,
    molien_series,
    require_complete,
    require_invariant,
    scaled,
)
from idnn.order_parameters import BCC_B2, BCC_D03, FCC_L12, SYSTEMS
from idnn.polynomials import Polynomials
from idnn.symmetry import closed

TETRAHEDRAL = FCC_L12.matrices.numpy()[:, 1:, 1:].copy()


def cyclic(order):
    angle = 2 * np.pi / order
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return closed(np.array([turn]))


def dihedral(order):
    return closed(np.concatenate([cyclic(order), np.diag([1.0, -1.0])[None]]))


GROUPS = {
    "fcc": FCC_L12.matrices.numpy(),
    "B2": BCC_B2.matrices.numpy(),
    "D03": BCC_D03.matrices.numpy(),
    "quarter turns": cyclic(4),
    "quarter turns and inversion of a third": closed(
        np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, -1]]])
    ),
    "cyclic permutations of three": closed(np.array([[[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]])),
    "a third of a turn in oblique axes": closed(np.array([[[0.0, -1], [1, -1]]])),
    "nothing": np.eye(3)[None],
}


def series(degrees, highest, numerator=(0,)):
    """Coefficients of Σ t^n / Π(1 − t^d)."""
    coefficients = np.zeros(highest + 1, dtype=int)
    for n in numerator:
        coefficients[n] += 1
    for d in degrees:
        for k in range(d, highest + 1):
            coefficients[k] += coefficients[k - d]
    return coefficients


@pytest.mark.parametrize(
    ("group", "degrees", "numerator"),
    [
        (TETRAHEDRAL, (2, 3, 4), (0,)),
        (FCC_L12.matrices.numpy(), (1, 2, 3, 4), (0,)),
        (dihedral(6), (2, 6), (0,)),
        (cyclic(4), (2, 4), (0, 4)),
        (BCC_D03.matrices.numpy(), (1, 2, 2, 4), (0, 3)),
    ],
)
def test_molien_series_are_those_in_closed_form(group, degrees, numerator):
    np.testing.assert_array_equal(molien_series(group, 20), series(degrees, 20, numerator))


def test_the_invariants_of_the_tetrahedron_are_the_three_known_ones():
    found = fundamental_invariants(TETRAHEDRAL, 12)
    assert list(found.terms()) == [
        {(2, 0, 0): 1, (0, 2, 0): 1, (0, 0, 2): 1},
        {(1, 1, 1): 1},
        {(2, 2, 0): 1, (2, 0, 2): 1, (0, 2, 2): 1},
    ]


def test_the_triangle_has_its_radius_and_its_cubic():
    """Matrices with cos 60° and √3/2: coefficients come out as the whole numbers they are."""
    found = fundamental_invariants(dihedral(3), 6)
    assert list(found.terms()) == [{(2, 0): 1, (0, 2): 1}, {(3, 0): 1, (1, 2): -3}]


@pytest.mark.parametrize("order", [3, 5])
def test_without_mirrors_real_and_imaginary_part_of_the_power_are_both_found(order):
    found = fundamental_invariants(cyclic(order), order)
    degrees = [max(map(sum, p)) for p in found.terms()]
    assert degrees == [2, order, order]
    require_complete(found, cyclic(order), 3 * order)


@pytest.mark.parametrize("name", GROUPS)
def test_what_is_found_is_invariant_and_complete_to_three_times_its_degree(name):
    group = GROUPS[name]
    found = fundamental_invariants(group, highest_degree(group))
    require_invariant(found, group)
    require_complete(found, group, 3 * found.degree)
    assert independent(found)


@pytest.mark.parametrize("name", GROUPS)
def test_points_have_equal_invariants_if_and_only_if_one_is_an_image_of_the_other(name):
    """Every point of a grid of whole numbers, on which all arithmetic is exact."""
    group = GROUPS[name]
    found = fundamental_invariants(group, highest_degree(group))
    grid = np.array(list(product(range(-3, 4), repeat=group.shape[1])), dtype=float)
    if group.shape[1] == 4:
        grid = grid[grid[:, 0] == 1]
    h = found(torch.from_numpy(grid)).numpy().round(9)
    images = np.sort(_codes(np.einsum("gij,nj->ngi", group, grid)), axis=1)
    orbit = np.unique(images[:, 0], return_inverse=True)[1]
    value = np.unique(h, axis=0, return_inverse=True)[1].ravel()
    pairs = set(zip(orbit.tolist(), value.tolist(), strict=True))
    assert len(pairs) == len({o for o, _ in pairs}) == len({v for _, v in pairs})


def _codes(points):
    return (points.round().astype(int) + 50) @ 100 ** np.arange(points.shape[-1])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SYSTEMS)), st.data())
def test_states_of_a_system_have_equal_invariants_if_and_only_if_they_are_images(name, data):
    system = SYSTEMS[name]
    level = st.integers(0, 4)
    x, y = (
        torch.tensor([data.draw(level) / 4 for _ in range(system.dimension)], dtype=torch.float64)
        for _ in range(2)
    )
    if data.draw(st.booleans()):
        y = x[system.group[data.draw(st.integers(0, len(system.group) - 1))]]
    one, other = (system.order_parameters(each) for each in (x, y))
    image = bool((system.images(one) == other).all(-1).any())  # quarters: exact
    assert bool((system.invariants(one) == system.invariants(other)).all()) == image


def test_the_table_of_fcc_and_what_is_found_generate_the_same_ring():
    """Each spans every invariant, to three times the highest degree of a generator."""
    group = FCC_L12.matrices.numpy()
    for each in (FCC_L12.invariants, fundamental_invariants(group, 6)):
        require_invariant(each, group)
        require_complete(each, group, 12)


@pytest.mark.parametrize("dropped", range(5))
def test_a_set_without_one_of_its_members_is_incomplete(dropped):
    kept = [p for k, p in enumerate(BCC_D03.invariants.terms()) if k != dropped]
    degree = [1, 2, 2, 3, 4][dropped]
    with pytest.raises(Incomplete, match=f"of degree {degree}; they"):
        require_complete(Polynomials.of(kept), BCC_D03.matrices.numpy(), 4)


def test_polynomials_that_change_are_named():
    terms = [
        *FCC_L12.invariants.terms(),
        {(0, 1, 1, 0): 1.0},
        {(0, 2, 0, 0): 1 + 1e-6, (0, 0, 2, 0): 1, (0, 0, 0, 2): 1},
    ]
    with pytest.raises(ValueError, match=r"numbers \[4, 5\] \(from 0\) do"):
        require_invariant(Polynomials.of(terms), FCC_L12.matrices.numpy())


def test_terms_of_several_degrees_are_refused():
    mixed = Polynomials.of([{(1, 0): 1.0}, {(0, 2): 1.0, (1, 0): 1.0}])
    with pytest.raises(ValueError, match=r"number 1 \(from 0\) has degrees \[1, 2\]"):
        require_complete(mixed, BCC_B2.matrices.numpy(), 2)


def test_functions_of_fewer_variables_are_not_independent():
    assert not independent(Polynomials.of([{(1, 0): 1.0}, {(2, 0): 1.0}]))
    assert independent(Polynomials.of([{(1, 0): 1.0}, {(0, 2): 1e-3}]))


def test_invariants_are_scaled_to_one_over_the_states():
    raw = Polynomials.of([{(1, 0): 1.0}, {(0, 2): 1.0}, {(0, 4): -1.0}])
    states = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.3]])
    h = scaled(raw, states)(torch.from_numpy(states))
    assert h[:, 0].tolist() == [-1, 1, 0]
    assert ((h[:, 1:].abs().amax(0) > 0.5**0.5) & (h[:, 1:].abs().amax(0) < 2**0.5)).all()


def test_a_search_that_would_not_end_is_refused():
    with pytest.raises(ValueError, match="`highest` is 2, where 2 elements"):
        fundamental_invariants(np.stack([np.eye(64), -np.eye(64)]), 2)


def test_bounds_are_noethers_and_goebels():
    assert highest_degree(TETRAHEDRAL) == 7  # six mirrors
    assert highest_degree(cyclic(5)) == 5
    assert highest_degree(TETRAHEDRAL, permuted=4) == 6
    assert highest_degree(BCC_B2.matrices.numpy(), permuted=2) == 2
    assert highest_degree(np.eye(3)[None]) == 1
