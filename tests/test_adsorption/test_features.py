"""What is known of a crystal as a whole: closed forms, and the same for every cell."""

import math

import numpy as np
import pytest
from hosts import SKEWED, box, in_another_cell, silicalite, skewed

from idnn.adsorption.elements import HEAVIEST, PROPERTIES, element_properties
from idnn.adsorption.features import FieldSettings, all_knowns, knowns
from idnn.adsorption.field import host_field, site_energies
from idnn.adsorption.forcefield import force_field
from idnn.adsorption.guests import guest
from idnn.adsorption.structures import Crystal, supercell
from idnn.units import BOLTZMANN_PA_A3
from sampling.adsorption.henry import dilute

FIELD = FieldSettings(spacing=0.5)


def test_without_a_field_there_are_volume_per_atom_and_density():
    volume, density = knowns(skewed(), None)
    assert volume == pytest.approx(math.log(abs(np.linalg.det(SKEWED)) / 3))
    grams = (15.9994 * 2 + 28.0855) / 6.02214076e23
    assert density == pytest.approx(math.log(grams / (abs(np.linalg.det(SKEWED)) * 1e-24)), 1e-4)


def test_the_field_gives_henrys_coefficient_and_heat_of_the_same_grid():
    crystal = silicalite()
    field = host_field(crystal, force_field("UFF"), guest("CH4"), spacing=0.5)
    found = dilute(field, temperature=298.0)
    *_, strength, mean = knowns(crystal, FIELD)
    per_kelvin = crystal.mol_per_kg * crystal.volume / (BOLTZMANN_PA_A3 * 298.0)
    assert per_kelvin * math.exp(strength) == pytest.approx(float(found.henry.value), 1e-6)
    assert 8.31446e-3 * 298.0 * (1 - mean) == pytest.approx(float(found.heat.value), 1e-4)


def test_shares_of_the_volume_add_up_to_one():
    shares = knowns(silicalite(), FIELD)[2:-2] ** 2
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()


def test_a_supercell_and_another_cell_are_known_alike():
    crystal = silicalite()
    expected = knowns(crystal, FIELD)
    twice = supercell(crystal, (1, 1, 2))
    np.testing.assert_allclose(knowns(twice, FIELD), expected, atol=1e-5)
    turned = in_another_cell(crystal, np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(knowns(turned, FIELD), expected, atol=1e-5)


def test_where_nothing_fits_numbers_stay_finite():
    dense = Crystal("dense", 1.5 * np.eye(3), np.zeros((1, 3)), np.array([92]))
    found = knowns(dense, FIELD)
    assert np.isfinite(found).all()
    assert found[-2:].tolist() == [-15, 5]


def test_several_crystals_are_rows():
    rows = all_knowns([skewed(), silicalite()], None)
    np.testing.assert_array_equal(rows, [knowns(skewed(), None), knowns(silicalite(), None)])


def test_energies_are_those_of_the_field_and_of_nothing_zero():
    force, molecule = force_field("UFF"), guest("CH4")
    field = host_field(skewed(), force, molecule, spacing=0.5)
    found = site_energies(skewed(), force, molecule.sites[0], spacing=0.5)
    np.testing.assert_array_equal(found, field.values[0])
    assert not site_energies(box(10.0), force, molecule.sites[0], spacing=1.0).any()
    with pytest.raises(ValueError, match=r"`spacing` must lie in \(0, 1\] Å; it is 2.0"):
        site_energies(skewed(), force, molecule.sites[0], spacing=2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be positive"),
        ({"temperature": math.nan}, "`temperature` must be positive"),
        ({"guest": "phlogiston"}, "phlogiston"),
        ({"force_field": "none"}, "`force_field` must be one of"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FieldSettings(**change)


def test_elements_are_told_apart_by_known_properties():
    table = element_properties()
    assert table.shape == (HEAVIEST + 1, len(PROPERTIES))
    assert np.isfinite(table).all()
    assert not table[0].any()
    assert len(np.unique(table[1:].round(6), axis=0)) == HEAVIEST
    column = {name: table[:, n] for n, name in enumerate(PROPERTIES)}
    np.testing.assert_allclose(table[1:].mean(0)[:3], 0, atol=1e-12)
    assert column["electronegativity"].argmax() == 9
    assert column["group"][6] == column["group"][14] == column["group"][32]
    assert column["row"][3] == column["row"][10] < column["row"][11]
    assert column["f"][57:71].max() == column["f"].max() > column["f"][30]
    # UFF: ε and σ of oxygen are 0.060 kcal/mol and 3.118 Å, of carbon 0.105 and 3.431 Å.
    assert column["size"][8] < column["size"][6]
    assert column["depth"][8] < column["depth"][6]
