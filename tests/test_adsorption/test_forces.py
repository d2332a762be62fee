"""Parameters, mixing rules, the cutoff's conventions and the equation of state."""

import math

import numpy as np
import pytest
from hosts import box, silicalite, skewed, sphere
from scipy.integrate import quad

from idnn.adsorption.forcefield import (
    ForceField,
    force_field,
    geometric,
    guest_pairs,
    host_pairs,
    known_atoms,
)
from idnn.adsorption.guests import Guest, Site, guest, known_guests
from sampling.adsorption.fugacity import fugacity_coefficient


def test_mixed_and_shifted_parameters_are_those_that_raspa_prints():
    """CH4-O and CH4-Si of its example Basic/7, and CH4-Zn and CH4-C of Auxiliary/3."""
    zeolite = host_pairs(force_field("GenericZeolites"), silicalite(), methane())
    printed = {8: (91.65424, 3.51, -0.22945404), 14: (59.05083, 3.01, -0.05881516)}
    for number, wanted in printed.items():
        one = int((silicalite().numbers == number).argmax())
        found = (zeolite.epsilon[one], zeolite.sigma[one], zeolite.shift[one])
        assert found == pytest.approx(wanted, rel=1e-6)
    frameworks = known_atoms()["GenericMOFs"]
    mixed = ForceField("x", frameworks).mixing((158.5, 3.72), frameworks["Zn"])
    assert mixed == pytest.approx((99.44985, 3.09077), rel=2e-6)


def methane():
    return guest("CH4-Dubbeldam").sites[0]


def test_the_universal_force_field_agrees_with_dreiding_s_neighbours_for_metals():
    """RASPA2's GenericMOFs takes its metals from UFF, rounded otherwise."""
    known = known_atoms()
    for metal in ("Zn", "Cu", "Zr", "Mg", "Fe", "Cd", "Ni", "Co"):
        assert known["UFF"][metal] == pytest.approx(known["GenericMOFs"][metal], rel=2e-3)


def test_the_tail_is_the_integral_beyond_the_cutoff():
    force = ForceField("x", {}, cutoff=9.0, shifted=False, tail=True)
    pairs = guest_pairs(force, (Site("s", 130.0, 3.4),))

    def shell(r):
        return 4 * math.pi * r**2 * 4 * 130.0 * ((3.4 / r) ** 12 - (3.4 / r) ** 6)

    assert pairs.tail[0, 0] == pytest.approx(quad(shell, 9.0, np.inf)[0], rel=1e-9)
    assert pairs.shift[0, 0] == 0


def test_mixing_rules():
    one, other = (100.0, 3.0), (25.0, 4.0)
    assert ForceField("x", {}).mixing(one, other) == pytest.approx((50.0, 3.5))
    assert geometric(one, other) == pytest.approx((50.0, math.sqrt(12.0)))


@pytest.mark.parametrize(
    ("pressure", "coefficient"), [(1e4, 0.9997824925), (1e-3, 1.0)], ids=["raspa", "ideal"]
)
def test_the_fugacity_of_methane_at_300_k(pressure, coefficient):
    """The first value is of RASPA2's example Basic/7; its own gas constant is older."""
    found = fugacity_coefficient(guest("CH4"), temperature=300.0, pressure=pressure)
    assert found == pytest.approx(coefficient, abs=1e-8)


def test_fugacities_of_coexisting_phases_meet_at_the_vapour_pressure():
    """Xenon boils at 165.1 K at one atmosphere; the equation is a few per cent off there."""
    xenon = guest("Xe")

    def gap(pressure):
        return fugacity_coefficient(xenon, temperature=165.1, pressure=pressure)

    # The slope of φ changes where the liquid takes over.
    pressures = np.linspace(0.9e5, 1.2e5, 301)
    slope = np.diff([gap(p) * p for p in pressures])
    assert pressures[(slope < 0.5 * slope[0]).argmax()] == pytest.approx(101325, rel=0.05)


def test_every_row_of_the_data_is_used_as_it_stands():
    assert set(known_atoms()) == {"UFF", "GenericMOFs", "GenericZeolites"}
    assert all(eps > 0 and sigma > 0 for f in known_atoms().values() for eps, sigma in f.values())
    assert all(g.source for g in known_guests().values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: guest("CH5"), "`guest` must be one of CH4, .*; it is 'CH5'"),
        (lambda: force_field("none"), "`force_field` must be one of UFF, .*; it is 'none'"),
        (lambda: Site("s", -1.0, 3.0), "`epsilon` of site s must be finite and not negative"),
        (lambda: Site("s", 1.0, math.nan), "`sigma` of site s must be finite and positive"),
        (lambda: ForceField("x", {}, cutoff=0.0), "`cutoff` must be finite and positive"),
        (lambda: ForceField("x", {}, tail=True), "`tail` must be False where `shifted` is True"),
        (
            lambda: host_pairs(ForceField("x", {"O": (1.0, 3.0)}), skewed(), sphere().sites[0]),
            "`atoms` of the force field x must hold every element of skewed; Si is missing",
        ),
        (
            lambda: Guest("g", (Site("s", 1.0, 3.0, place=(0.0, 0.0, 1.0)),), 1.0, 1.0, 0.0, ""),
            "`sites` of g must begin with one at the centre",
        ),
        (
            lambda: Guest("g", (Site("s", 1.0, 3.0, charge=0.5),), 1.0, 1.0, 0.0, ""),
            "`sites` of g must be neutral together; their charges add up to 0.5",
        ),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_empty_host_needs_no_parameters():
    assert host_pairs(ForceField("x", {}), box(9.0), sphere().sites[0]).epsilon.shape == (0,)
