"""Random draws of the chains: numbers, places, shifts and turns, by their exact means."""

import math

import numpy as np
from hosts import SHORT, rod, skewed

from idnn.adsorption.field import host_field
from sampling.adsorption.box import box_of, places_of, seeded
from sampling.adsorption.draws import (
    aliases,
    draw_place,
    shift_slightly,
    trial_density,
    turn_freely,
    turn_slightly,
    uniform,
)

DRAWS = 10_000
PLACE = np.array([0.2, 0.3, 0.4])
AXES = np.concatenate([np.zeros((1, 3)), np.eye(3)])


def frame():
    """The box of a molecule with an arm of 1 Å along each axis, in a skewed cell."""
    found = box_of(host_field(skewed(), SHORT, rod(), spacing=0.9))
    return found._replace(kind=np.zeros(4, dtype=np.int64), arm=AXES)


def repeated(draw):
    """Cartesian places of the molecule after each of many draws, [draw, site, axis]."""
    box, state = frame(), seeded(7)
    found = np.empty((DRAWS, 4, 3))
    for n in range(DRAWS):
        trial = PLACE + AXES @ box.inverse
        draw(box, state, trial)
        found[n] = trial @ box.lattice
    return found


def rotations(draw):
    """Rows are the images of the axes; checked to be proper rotations about the first site."""
    found = repeated(draw) - PLACE @ frame().lattice
    assert np.abs(found[:, 0]).max() < 1e-9
    turned = found[:, 1:]
    product = turned @ np.swapaxes(turned, 1, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turned), 1, rtol=1e-9)
    return turned


def close(values, wanted):
    """Means over draws within five standard errors, as up to a hundred are compared."""
    error = values.std(0, ddof=1) / math.sqrt(len(values))
    assert (np.abs(values.mean(0) - wanted) < 5 * error + 1e-12).all()


def test_numbers_are_those_of_the_published_generator():
    """The first words of xoshiro256++ from the state 1, 2, 3, 4, as its own C code has them."""
    words = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205]
    state = np.arange(1, 5, dtype=np.uint64)
    assert [int(uniform(state) * 2**53) for _ in words] == [word >> 11 for word in words]


def test_aliases_share_out_the_weights_exactly():
    weight = np.random.default_rng(0).exponential(size=500)
    weight[::7] = 0
    weight /= weight.mean()
    chance, alias = aliases(weight)
    got = chance.copy()
    np.add.at(got, alias, 1 - chance)
    np.testing.assert_allclose(got, weight, rtol=1e-9, atol=1e-12)


def test_places_are_drawn_as_densely_as_is_divided_out():
    """Of any function the mean over draws, each over its density, is that over the box."""
    field = host_field(skewed(), SHORT, rod(), spacing=0.9)
    box = box_of(field)
    assert (box.copies > 1).any()
    places, state = places_of(field, box, 300.0), seeded(5)
    trial, rows = np.empty((3, 3)), []
    for _ in range(4 * DRAWS):
        draw_place(box, places, state, trial)
        assert ((trial[0] >= 0) & (trial[0] < 1)).all()
        # Waves as long as the box, a cell of the host, and a cell of the grid.
        long, short = trial[0], trial[0] * box.copies
        angles = 2 * math.pi * np.concatenate([long, short, short * places.shape])
        terms = np.concatenate([[1.0], np.cos(angles), np.sin(angles)])
        rows.append(terms / trial_density(box, places, trial))
    close(np.array(rows), [1.0] + [0.0] * 18)


def test_free_turns_are_uniform_over_all_rotations():
    """⟨R⟩ = 0 and ⟨RᵢⱼRₖₗ⟩ = δᵢₖδⱼₗ/3 over the rotation group; so is ⟨(tr R)³⟩ = 1."""
    turned = rotations(turn_freely).reshape(DRAWS, 9)
    close(turned, 0.0)
    close((turned[:, :, None] * turned[:, None, :]).reshape(DRAWS, 81), np.eye(9).ravel() / 3)
    close(turned[:, [0, 4, 8]].sum(1) ** 3, 1.0)


def test_slight_turns_have_no_preferred_axis_and_are_as_likely_as_their_opposites():
    """⟨R⟩ = (1 + 2 sin θ/θ)/3 of the largest angle θ; R and its transpose are alike."""
    largest = 0.9

    def turn(box, state, trial):
        turn_slightly(box, state, largest, trial)

    turned = rotations(turn)
    mean = (1 + 2 * math.sin(largest) / largest) / 3
    close(turned.reshape(DRAWS, 9), mean * np.eye(3).ravel())
    angle = np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.max() <= largest + 1e-6
    close(angle, largest / 2)
    odd = turned - np.swapaxes(turned, 1, 2)
    close((odd**3).reshape(DRAWS, 9), 0.0)


def test_shifts_move_all_sites_alike_within_a_cube_about_where_they_were():
    box = frame()

    def shift(box, state, trial):
        shift_slightly(box, state, 0.6, trial)

    moved = repeated(shift) - PLACE @ box.lattice - AXES
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape), atol=1e-9)
    step = moved[:, 0] @ box.inverse
    step = (step - np.rint(step)) @ box.lattice
    assert np.abs(step).max() <= 0.6 + 1e-9
    close(step, 0.0)
    close((step[:, :, None] * step[:, None, :]).reshape(DRAWS, 9), 0.12 * np.eye(3).ravel())
