"""Charges: Ewald's sum against Madelung's constant and itself, and molecules that carry them."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hosts import box, skewed

from idnn.adsorption.ewald import potential_at, potential_grid
from idnn.adsorption.field import exact_energy, host_field
from idnn.adsorption.forcefield import ForceField
from idnn.adsorption.guests import Guest, Site
from idnn.adsorption.structures import Crystal, minimum_image, supercell
from idnn.units import COULOMB_K_A
from sampling.adsorption.box import box_of, empty_chain, places_of
from sampling.adsorption.chain_kernel import FIELDS, run, total_energy
from sampling.adsorption.henry import dilute
from sampling.adsorption.isotherm import Schedule, uptake

T = 300.0
FORCE = ForceField("short", {"O": (120.0, 3.0), "Si": (20.0, 2.5)}, cutoff=6.0)
CHARGED = replace(skewed(), charges=np.array([-0.4, 0.8, -0.4]))


def dumbbell(charge=0.3):
    sites = (
        Site("c", 60.0, 2.6, charge=2 * charge),
        Site("o", 70.0, 2.7, charge=-charge, place=(0.0, 0.0, 1.1)),
        Site("o", 70.0, 2.7, charge=-charge, place=(0.0, 0.0, -1.1)),
    )
    return Guest("dumbbell", sites, 304.0, 7.4e6, 0.22, "made up")


def rock_salt(edge=5.6):
    corners = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    places = np.concatenate([corners, (corners + 0.5) % 1.0])
    charges = np.array([1.0] * 4 + [-1.0] * 4)
    return Crystal("NaCl", edge * np.eye(3), places, np.array([11] * 4 + [17] * 4), charges)


def sphere_points(radius):
    """Lebedev's 26 points and weights on a sphere: exact means up to the seventh degree."""
    signs = np.array(list(product((-1, 0, 1), repeat=3)))
    size = np.abs(signs).sum(1)
    kept = size > 0
    weight = np.select([size == 1, size == 2, size == 3], [1 / 21, 4 / 105, 9 / 280])[kept]
    return radius * signs[kept] / np.sqrt(size[kept])[:, None], weight


def mean_about(crystal, place, radius=0.6):
    """Mean potential (e/Å) over a sphere; of distant charges that in its middle."""
    around, weight = sphere_points(radius)
    points = place + around @ np.linalg.inv(crystal.lattice)
    return float(weight @ potential_at(crystal, points)) / COULOMB_K_A


def test_the_potential_has_madelung_s_constant():
    """−1.747564594633/r at an ion of rock salt, of all others."""
    rest = mean_about(rock_salt(), np.zeros(3)) - 1 / 0.6
    assert rest == pytest.approx(-1.747564594633 / 2.8, rel=1e-5)


ROUNDED = replace(CHARGED, charges=np.array([-0.4, 0.8, -0.395]))
"""Charges that cancel but for what rounding leaves, so that an even background must."""


@pytest.mark.parametrize(
    "crystal", [CHARGED, rock_salt(), ROUNDED], ids=["skewed", "NaCl", "rounded"]
)
@pytest.mark.parametrize("shape", [(40, 40, 40), (12, 14, 16)])
def test_the_grid_holds_the_potential(crystal, shape):
    grid = potential_grid(crystal, shape)
    cells = np.indices(shape).reshape(3, -1).T / np.array(shape)
    away = minimum_image(crystal.lattice, cells[:, None] - crystal.fractional)
    outside = np.flatnonzero(np.linalg.norm(away, axis=-1).min(1) > 0.5)
    chosen = np.random.default_rng(0).choice(outside, 200, replace=False)
    found, exact = grid.ravel()[chosen], potential_at(crystal, cells[chosen])
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-5 * COULOMB_K_A)


def test_a_supercell_has_the_same_potential():
    points = np.random.default_rng(1).random((50, 3))
    large = potential_at(supercell(CHARGED, (1, 2, 1)), points / np.array([1, 2, 1]))
    np.testing.assert_allclose(large, potential_at(CHARGED, points), rtol=1e-6, atol=1.0)


def filled(guest, crystal, seed=0):
    field = host_field(crystal, FORCE, guest, spacing=0.4)
    frame = box_of(field)
    chain = empty_chain(field, frame, (seed,))
    assert run(frame, places_of(field, frame, T), chain, 30.0, 1 / T, 3000, np.empty((1, FIELDS)))
    return field, frame, chain


def test_energies_of_charged_molecules_are_kept_up_to_date():
    _, frame, chain = filled(dumbbell(), CHARGED)
    assert chain.molecules[0] > 5
    assert (chain.tally[:, 1] > 0).all()
    kept, amplitude = chain.energy.copy(), chain.amplitude.copy()
    np.testing.assert_allclose(total_energy(frame, chain), kept, rtol=1e-8)
    np.testing.assert_allclose(chain.amplitude, amplitude, atol=1e-6)


def coulomb(chain, crystal, cutoff):
    """Energy (K) of the molecules' charges, screened as the cutoff has it."""
    force = replace(FORCE, cutoff=cutoff)
    frame = box_of(host_field(crystal, force, dumbbell(), spacing=1.0))
    bare = frame._replace(charge=0 * frame.charge, wave=frame.wave[:0], alone=0.0)
    none = np.zeros(len(frame.wave), dtype=complex)
    phase = np.zeros((3, 2 * int(np.abs(frame.wave).max()) + 1), dtype=complex)
    own = chain._replace(amplitude=none, change=none.copy(), phase=phase)
    return total_energy(frame, own)[1] - total_energy(bare, own)[1]


def test_the_energy_between_charged_molecules_does_not_depend_on_the_screening():
    """Real space, waves and what a molecule is to itself all change; their sum must not."""
    empty = replace(box(13.0), charges=np.zeros(0))
    _, _, chain = filled(dumbbell(), empty)
    assert chain.molecules[0] > 3
    sums = [coulomb(chain, empty, cutoff) for cutoff in (6.5, 5.0, 4.0)]
    assert abs(sums[0]) > 1000
    np.testing.assert_allclose(sums, sums[0], rtol=1e-3)


def test_the_energy_of_two_molecules_is_that_of_their_bare_charges():
    """Quadrupoles in a wide box: their images, 26 Å away, add less than a thousandth."""
    empty = replace(box(26.0), charges=np.zeros(0))
    field = host_field(empty, replace(FORCE, cutoff=12.0), dumbbell(), spacing=1.0)
    frame = box_of(field)
    chain = empty_chain(field, frame, (0,))
    charge = np.array([site.charge for site in dumbbell().sites])
    along, across = np.array([[0, 0, 0], [0, 0, 1.1], [0, 0, -1.1]]), np.array([4.0, 0.0, 0.3])
    other = across + along @ np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, 0.8, -0.6]])
    chain.place[:, :, 0], chain.place[:, :, 1] = along / 26.0, other / 26.0
    chain.molecules[0] = 2
    distance = np.linalg.norm(along[:, None] - other, axis=-1)
    wanted = COULOMB_K_A * float((charge[:, None] * charge / distance).sum())
    bare = frame._replace(charge=0 * frame.charge, wave=frame.wave[:0], alone=0.0)
    found = total_energy(frame, chain)[1] - total_energy(bare, chain)[1]
    assert abs(wanted) > 50
    assert found == pytest.approx(wanted, rel=5e-3)


def test_a_charge_has_its_potential_s_energy_with_its_own_sign():
    points = np.random.default_rng(4).random((40, 3))
    site = dumbbell().sites[1]
    neutral = exact_energy(CHARGED, FORCE, replace(site, charge=0.0), points)
    found = exact_energy(CHARGED, FORCE, site, points) - neutral
    wanted = -0.3 * potential_at(CHARGED, points)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-6 * np.abs(neutral).max())


def test_charges_change_the_dilute_limit_as_plain_insertion_says():
    guest = dumbbell()
    field = host_field(CHARGED, FORCE, guest, spacing=0.2)
    found = dilute(field, temperature=T, insertions=60_000)
    neutral = dilute(
        host_field(replace(CHARGED, charges=np.zeros(3)), FORCE, guest, spacing=0.2),
        temperature=T,
        insertions=60_000,
    )
    random = np.random.default_rng(2)
    axis = random.normal(size=(8000, 3))
    axis /= np.linalg.norm(axis, axis=1)[:, None]
    centre = random.random((8000, 3)) @ CHARGED.lattice
    energy = np.zeros(8000)
    for site in guest.sites:
        at = (centre + site.place[2] * axis) @ np.linalg.inv(CHARGED.lattice)
        energy += exact_energy(CHARGED, FORCE, site, at)
    factor = np.exp(-energy / T)
    error = math.hypot(factor.std() / math.sqrt(8000), float(found.boltzmann.stderr))
    assert abs(float(found.boltzmann.value) - factor.mean()) < 4 * error
    assert float(found.boltzmann.value) > 1.2 * float(neutral.boltzmann.value)


def test_a_charged_guest_has_the_same_loading_in_a_larger_box():
    schedule = Schedule(burn_in=40, records=600)
    weak = replace(CHARGED, charges=0.25 * np.array([-0.4, 0.8, -0.4]))
    field = host_field(weak, FORCE, dumbbell(0.15), spacing=0.4)
    one, two = (
        uptake(field, temperature=T, pressure=1e6, schedule=schedule, seed=n, copies=copies)
        for n, copies in enumerate([None, (3, 3, 2)])
    )
    joint = math.hypot(float(one.loading.stderr), float(two.loading.stderr))
    assert abs(float(one.loading.value - two.loading.value)) < 4 * joint


@pytest.mark.parametrize(
    ("charges", "message"),
    [
        (None, "`charges` of skewed must be given, as dumbbell has charges; there are none"),
        (np.array([0.5, 0.0, 0.0]), "`charges` of skewed must cancel .*; they add up to 0.5 e"),
    ],
)
def test_charges_are_never_guessed(charges, message):
    with pytest.raises(ValueError, match=message):
        host_field(replace(skewed(), charges=charges), FORCE, dumbbell())
