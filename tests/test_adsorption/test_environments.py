"""Surroundings of atoms: closed forms, smooth windows, and the same for every cell."""

from itertools import product

import numpy as np
import pytest
from hosts import box, fluorite, other_descriptions, rock_salt, silicalite, skewed

from idnn.adsorption.environments import Windows, environments
from idnn.adsorption.structures import Crystal, supercell

WINDOWS = Windows(reaches=(3.0, 6.5), functions=5)
FLOAT = 2e-5
"""Of sums of some hundred numbers of order one in single precision."""


def diamond(edge=3.57):
    face = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    return Crystal("diamond", edge * np.eye(3), np.vstack([face, face + 0.25]), np.full(8, 6))


def caesium_chloride(edge=4.1):
    return Crystal("CsCl", edge * np.eye(3), np.array([[0, 0, 0], [0.5] * 3]), np.array([55, 17]))


@pytest.mark.parametrize("crystal", [skewed(), rock_salt(), diamond()], ids=lambda c: c.name)
@pytest.mark.parametrize("how", ["supercell", "cell", "turned"])
def test_every_description_of_a_crystal_has_the_same_surroundings(crystal, how):
    one = environments(crystal, WINDOWS)
    two = environments(other_descriptions(crystal)[how], WINDOWS)
    np.testing.assert_array_equal(two.numbers, one.numbers)
    np.testing.assert_allclose(two.share, one.share, rtol=1e-12)
    np.testing.assert_allclose(two.shells, one.shells, atol=FLOAT)


def test_the_order_of_atoms_is_that_of_the_surroundings():
    order = np.array([2, 0, 1])
    crystal = skewed()
    one = environments(crystal, WINDOWS)
    shuffled = Crystal("s", crystal.lattice, crystal.fractional[order], crystal.numbers[order])
    two = environments(shuffled, WINDOWS)
    np.testing.assert_array_equal(two.numbers, one.numbers[order])
    np.testing.assert_allclose(two.shells, one.shells[np.ix_(order, order)], atol=FLOAT)


@pytest.mark.parametrize(
    ("crystal", "kinds"),
    [
        (diamond(), 1),
        (rock_salt(), 2),
        (fluorite(), 2),
        (caesium_chloride(), 2),
        (supercell(caesium_chloride(), (2, 1, 1)), 2),
        (skewed(), 3),
    ],
)
def test_one_atom_stands_for_all_that_symmetry_makes_its_equals(crystal, kinds):
    few = environments(crystal, WINDOWS)
    every = environments(crystal, WINDOWS, symmetry=None)
    count = len(crystal.numbers)
    assert len(few.numbers) == kinds
    assert len(every.numbers) == count
    assert few.share.sum() == pytest.approx(1)
    np.testing.assert_array_equal(few.numbers[few.member], crystal.numbers)
    belongs = np.eye(kinds)[few.member]
    np.testing.assert_allclose(few.share, belongs.mean(0))
    for atom in range(count):
        summed = np.einsum("js,jk->ks", every.shells[atom], belongs)
        np.testing.assert_allclose(few.shells[few.member[atom]], summed, atol=FLOAT)


def test_atoms_of_silicalite_are_its_published_38_kinds():
    """12 of silicon and 26 of oxygen in Pnma (International Zeolite Association, MFI)."""
    found = environments(silicalite(), WINDOWS)
    assert sorted(found.numbers) == [8] * 26 + [14] * 12


def test_shells_of_a_simple_cubic_crystal_are_counts_times_splines():
    edge = 3.0
    crystal = Crystal("cube", edge * np.eye(3), np.zeros((1, 3)), np.array([84]))
    vectors = np.array([v for v in product(range(-3, 4), repeat=3) if any(v)])
    lengths = edge * np.sqrt((vectors**2).sum(1).astype(float))
    counts = {3.0: 6, 3.0 * 2**0.5: 12, 3.0 * 3**0.5: 8, 6.0: 6}
    expected = sum(n * WINDOWS(np.array([r]))[0] for r, n in counts.items())
    assert (lengths < 6.5).sum() == sum(counts.values())
    np.testing.assert_allclose(environments(crystal, WINDOWS).shells[0, 0], expected, rtol=1e-5)


def test_splines_add_up_to_one_inside_and_are_flat_to_second_order_at_the_ends():
    windows = Windows(reaches=(6.0,), functions=8)
    step = 5.5 / 11
    inside = np.linspace(0.5 + 3 * step, 6.0 - 3 * step, 20)
    np.testing.assert_allclose(windows(inside).sum(1), 1, rtol=1e-12)
    away = np.array([0.02, 0.2, 0.4])
    cubes = (away / step) ** 3 / 6
    np.testing.assert_allclose(windows(6.0 - away)[:, -1], cubes, rtol=1e-9)
    np.testing.assert_allclose(windows(0.5 + away)[:, 0], cubes, rtol=1e-9)
    assert not windows(np.array([0.0, 0.4999, 6.0001, 60.0])).any()


def test_each_window_ends_at_its_own_reach():
    values = WINDOWS(np.array([2.9, 3.1, 6.4, 6.6])) > 0
    assert values[:, :5].any(1).tolist() == [True, False, False, False]
    assert values[:, 5:].any(1).tolist() == [True, True, True, False]


def test_a_crystal_without_atoms_is_refused():
    with pytest.raises(ValueError, match="`crystal` must hold atoms; empty has none"):
        environments(box(5.0), WINDOWS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reaches": ()}, r"`reaches` must lie in \(0.5, 20\] Å; they are \[\]"),
        ({"reaches": (3.0, 0.5)}, "`reaches` must lie"),
        ({"reaches": (21.0,)}, "`reaches` must lie"),
        ({"reaches": (float("nan"),)}, "`reaches` must lie"),
        ({"functions": 0}, "`functions` must be at least 1; it is 0"),
    ],
)
def test_bad_windows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Windows(**change)
