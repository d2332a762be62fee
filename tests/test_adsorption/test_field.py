"""Energies in the host: sums over images, grids, interpolation, and the cell they are made in."""

from itertools import product

import numpy as np
import pytest
from hosts import SHORT, in_another_cell, rod, skewed, sphere

from idnn.adsorption.field import exact_energy, host_field, interpolation_error
from idnn.adsorption.forcefield import ForceField
from idnn.adsorption.structures import supercell

SITE = sphere().sites[0]


def by_hand(crystal, force, fractional):
    """Over far more images than the cutoff reaches, in the plainest way."""
    symbols = {8: "O", 14: "Si"}
    total = np.zeros(len(fractional))
    for place, number in zip(crystal.fractional, crystal.numbers, strict=True):
        epsilon, sigma = force.mixing((SITE.epsilon, SITE.sigma), force.atoms[symbols[int(number)]])
        for image in product(range(-5, 6), repeat=3):
            r = np.linalg.norm((place + np.array(image) - fractional) @ crystal.lattice, axis=1)
            six, edge = (sigma / r) ** 6, (sigma / force.cutoff) ** 6
            shift = 4 * epsilon * (edge**2 - edge) if force.shifted else 0.0
            total += np.where(r < force.cutoff, 4 * epsilon * (six**2 - six) - shift, 0.0)
    return total


@pytest.fixture(scope="module")
def points():
    found = np.random.default_rng(3).random((400, 3))
    energy = exact_energy(skewed(), SHORT, SITE, found)
    return found[energy < 2000]


@pytest.mark.parametrize("shifted", [True, False])
def test_energies_are_sums_over_all_images_within_the_cutoff(points, shifted):
    force = ForceField("x", SHORT.atoms, cutoff=6.0, shifted=shifted)
    found = exact_energy(skewed(), force, SITE, points)
    np.testing.assert_allclose(found, by_hand(skewed(), force, points), rtol=1e-9, atol=1e-7)


def test_the_tail_is_that_of_the_mean_density():
    force = ForceField("x", SHORT.atoms, cutoff=6.0, shifted=False, tail=True)
    bare = ForceField("x", SHORT.atoms, cutoff=6.0, shifted=False)
    far = ForceField("x", SHORT.atoms, cutoff=30.0, shifted=False)
    at = np.array([[0.7, 0.8, 0.1]])
    short, corrected, long = (
        float(exact_energy(skewed(), f, SITE, at)[0]) for f in (bare, force, far)
    )
    # Beyond 6 Å atoms are not spread evenly: nine tenths of the error go.
    assert abs(corrected - long) < 0.1 * abs(short - long)


def test_the_grid_holds_the_energies_of_its_points():
    field = host_field(skewed(), SHORT, sphere(), spacing=0.4)
    cells = np.indices(field.points).reshape(3, -1).T / np.array(field.points)
    exact = exact_energy(skewed(), SHORT, SITE, cells)
    open_ = exact < 3000
    # Single precision of sums over some hundred atoms.
    np.testing.assert_allclose(field.values[0].ravel()[open_], exact[open_], rtol=1e-4, atol=2e-3)


def test_interpolation_converges_and_its_stated_error_is_its_error(points):
    errors = {}
    for spacing in (0.4, 0.2):
        field = host_field(skewed(), SHORT, sphere(), spacing=spacing)
        (errors[spacing],) = interpolation_error(field, temperature=300.0)
        exact = exact_energy(skewed(), SHORT, SITE, points)
        weight = np.exp(-exact / 300)
        found = field(0, points)
        rms = np.sqrt((weight * (found - exact) ** 2).sum() / weight.sum())
        assert rms == pytest.approx(errors[spacing].rms, rel=0.5)
    # A cubic spline is of fourth order: sixteen times, if all points were smooth.
    assert errors[0.4].rms > 6 * errors[0.2].rms
    assert errors[0.2].rms < 6.0
    assert abs(errors[0.2].bias) < 2e-3


def test_a_crystal_in_another_cell_has_the_same_field(points):
    transform = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])
    other = in_another_cell(skewed(), transform)
    field = host_field(other, SHORT, sphere(), spacing=0.2)
    moved = points @ skewed().lattice @ np.linalg.inv(other.lattice)
    exact = exact_energy(skewed(), SHORT, SITE, points)
    np.testing.assert_allclose(exact_energy(other, SHORT, SITE, moved), exact, rtol=1e-8, atol=1e-6)
    low = exact < 300
    np.testing.assert_allclose(field(0, moved)[low], exact[low], atol=25)


def test_a_supercell_has_the_same_field(points):
    large = host_field(supercell(skewed(), (2, 1, 1)), SHORT, sphere(), spacing=0.3)
    small = host_field(skewed(), SHORT, sphere(), spacing=0.3)
    assert large.points[0] == 2 * small.points[0]
    np.testing.assert_allclose(
        large(0, points / np.array([2, 1, 1])), small(0, points), rtol=1e-4, atol=0.05
    )


def test_kinds_of_sites_have_grids_of_their_own():
    field = host_field(skewed(), SHORT, rod(), spacing=0.5)
    assert field.values.shape[0] == 2
    assert not np.allclose(field.values[0], field.values[1])


def test_threads_do_not_change_the_grid():
    one, two = (host_field(skewed(), SHORT, sphere(), spacing=0.4, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("spacing", [0.0, 1.5, float("nan")])
def test_a_spacing_that_resolves_nothing_is_refused(spacing):
    with pytest.raises(ValueError, match=r"`spacing` must lie in \(0, 1\] Å"):
        host_field(skewed(), SHORT, sphere(), spacing=spacing)
