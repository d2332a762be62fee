"""Mobilities in fcc Ni–Al against a published table's numbers, closed forms and refusals."""

import math
import re

import pytest
import torch

from idnn.free_energy import hessian
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.calphad import OrderedFcc, default_database
from phasefield.mobility import BinaryMobilities, nickel_aluminium_mobilities
from phasefield.phases import DatabasePhase

R = 8.3145
"""As pycalphad has it, in J/(mol K)."""

TABLE = [
    (823.0, 0.1065, 4.8e-21),
    (873.0, 0.1115, 4.8e-20),
    (973.0, 0.1218, 2.4e-18),
    (1023.0, 0.1271, 1.3e-17),
    (1073.0, 0.1325, 5.7e-17),
    (1173.0, 0.1438, 8.0e-16),
    (1273.0, 0.1560, 7.4e-15),
]
"""T (K), x_Al of γ beside γ′, D̃ (m²/s): kawin's evaluation of the same parameters with Dupin's
thermodynamics."""


@pytest.fixture(scope="module")
def kinetics():
    return BinaryMobilities.from_database(nickel_aluminium_mobilities(), "FCC_A1", ("NI", "AL"))


def at(c):
    return torch.tensor([c, 0.0, 0.0, 0.0], dtype=torch.float64)


def edited(tmp_path, pattern, replacement):
    text = nickel_aluminium_mobilities().read_text(encoding="utf-8")
    text, count = re.subn(pattern, replacement, text)
    assert count == 1, pattern
    path = tmp_path / "edited.tdb"
    path.write_text(text, encoding="utf-8")
    return path


def read(path):
    return BinaryMobilities.from_database(path, "FCC_A1", ("NI", "AL"))


@pytest.mark.parametrize(("temperature", "c", "published"), TABLE)
def test_interdiffusion_in_gamma_is_that_of_the_table(kinetics, temperature, c, published):
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(temperature)
    found = float(kinetics.at(temperature).interdiffusion(f, at(c)))
    # Half of the last of two digits.
    digit = 10.0 ** (math.floor(math.log10(published)) - 1)
    assert found == pytest.approx(published, abs=0.52 * digit)


def test_tracers_in_pure_nickel_move_as_measured(kinetics):
    """M⁰ exp(−Q/RT): 7.5e-4 m²/s and 284 kJ/mol for Al; exp(−69.8/R) m²/s and 287 kJ/mol for Ni."""
    pure = torch.zeros(1, dtype=torch.float64)
    (nickel, aluminium), rt = kinetics.at(1200.0).atomic(pure)[0] * R * 1200.0, R * 1200.0
    assert float(aluminium) == pytest.approx(7.5e-4 * math.exp(-284000 / rt), rel=1e-9)
    assert float(nickel) == pytest.approx(math.exp(-69.8 / R - 287000 / rt), rel=1e-9)


def test_between_the_elements_the_logarithm_follows_its_series(kinetics):
    c, t = torch.tensor([0.3], dtype=torch.float64), 1100.0
    aluminium = 0.7 * (-284000 + R * t * math.log(7.5e-4)) + 0.21 * (-41300 - 91.2 * t)
    aluminium += 0.3 * (-142000 + R * t * math.log(1.71e-4))
    found = kinetics.at(t).atomic(c)[0, 1]
    assert float(found) == pytest.approx(math.exp(aluminium / (R * t)) / (R * t), rel=1e-9)


def test_chemical_mobility_is_darkens(kinetics):
    c = torch.linspace(0, 1, 11, dtype=torch.float64)
    solution = kinetics.at(1200.0)
    nickel, aluminium = solution.atomic(c).T
    found = solution.chemical(c)
    torch.testing.assert_close(found, c * (1 - c) * (c * nickel + (1 - c) * aluminium))
    # In a dilute solution D̃ is the solute's tracer diffusivity: c M̃ → c M_Al.
    dilute = torch.tensor([1e-9], dtype=torch.float64)
    expected = dilute * solution.atomic(dilute)[:, 1]
    torch.testing.assert_close(solution.chemical(dilute), expected, rtol=1e-8, atol=0)


def test_interdiffusion_takes_any_free_energy_of_the_composition(kinetics):
    f = DatabasePhase.from_database(default_database(), "FCC_A1", ("NI", "AL")).at(1200.0)
    c = torch.tensor([[0.1], [0.2]], dtype=torch.float64)
    solution = kinetics.at(1200.0)
    curvature = hessian(f, c)[:, 0, 0] * EV_PER_SITE_IN_J_PER_MOL
    torch.testing.assert_close(
        solution.interdiffusion(f, c), solution.chemical(c[:, 0]) * curvature, rtol=1e-14, atol=0
    )


ODD = r"(PARAMETER MQ\(FCC_A1&AL,AL,NI:VA;)0\) 298.15 -41300-91.2\*T"
"""Gives place to a term of first order."""


def test_the_solute_may_be_either_element(tmp_path):
    path = edited(tmp_path, ODD, r"\g<1>1) 298.15 5000")
    swapped, given = (
        BinaryMobilities.from_database(path, "FCC_A1", elements).at(1200.0)
        for elements in (("AL", "NI"), ("NI", "AL"))
    )
    c = torch.linspace(0, 1, 11, dtype=torch.float64)
    for one in ("chemical", "atomic"):
        expected = getattr(given, one)(c)
        found = getattr(swapped, one)(1 - c)
        found = found.flip(-1) if one == "atomic" else found
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_an_odd_term_of_the_series_has_the_sign_of_the_databases_order(tmp_path):
    odd = read(edited(tmp_path, ODD, r"\g<1>1) 298.15 5000")).at(1000.0)
    none = read(edited(tmp_path, ODD, r"\g<1>0) 298.15 0")).at(1000.0)
    c = torch.tensor([0.2], dtype=torch.float64)
    ratio = odd.atomic(c)[0, 1] / none.atomic(c)[0, 1]
    # 0.2·0.8·(x_Al − x_Ni)·5000 J/mol.
    assert float(ratio) == pytest.approx(math.exp(0.16 * -0.6 * 5000 / (R * 1000)), rel=1e-12)


@pytest.mark.parametrize("kind", ["MF", "DQ", "DF"])
def test_prefactors_and_tracer_diffusivities_count_like_activation(tmp_path, kinetics, kind):
    line = r"(PARAMETER )MQ(\(FCC_A1&AL,NI:VA;0\) )"
    more = rf"\1{kind}\2 298.15 1000; 6000 N !\n\1MQ\2"
    changed = read(edited(tmp_path, line, more)).at(1000.0)
    pure = torch.zeros(1, dtype=torch.float64)
    ratio = changed.atomic(pure)[0] / kinetics.at(1000.0).atomic(pure)[0]
    assert ratio.tolist() == pytest.approx([1.0, math.exp(1000 / (R * 1000))], rel=1e-12)


def test_kinetic_parameters_beside_those_of_the_energy_are_left_aside(tmp_path):
    path = tmp_path / "both.tdb"
    lines = nickel_aluminium_mobilities().read_text(encoding="utf-8").splitlines()
    kinetic = "\n".join(line for line in lines if line.startswith("PARAMETER"))
    path.write_text(default_database().read_text(encoding="utf-8") + "\n" + kinetic)
    together, apart = (
        OrderedFcc.from_database(each, ("NI", "AL")).at(1000.0)
        for each in (path, default_database())
    )
    assert float(together(at(0.2))) == float(apart(at(0.2)))
    assert DatabasePhase.from_database(path, "FCC_A1", ("NI", "AL")).at(1000.0)
    read(path)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"PARAMETER MQ\(FCC_A1&NI,AL:VA;0\).*", "", r"it lacks MQ\(FCC_A1&NI,AL;0\)"),
        (r"AL,NI:VA;0\) 298.15 -113000.*", "AL,NI:VA;0) 298.15 VX; 6000 N !", "function of VX"),
    ],
)
def test_a_database_without_what_is_needed_is_refused(tmp_path, pattern, replacement, message):
    path = edited(tmp_path, pattern, replacement)
    with pytest.raises(ValueError, match=message):
        read(path).at(1000.0)


def test_a_database_without_the_phase_or_its_kinetics_is_refused():
    with pytest.raises(ValueError, match="must hold the phase HCP_A3"):
        BinaryMobilities.from_database(nickel_aluminium_mobilities(), "HCP_A3", ("NI", "AL"))
    with pytest.raises(ValueError, match=r"it lacks MQ\(FCC_A1&NI,NI;0\)"):
        read(default_database())


@pytest.mark.parametrize(
    ("temperature", "message"),
    [(0.0, "`temperature` must be finite"), (200.0, r"defines MQ\(FCC_A1&NI,.* at 200 K")],
)
def test_a_temperature_without_parameters_is_refused(kinetics, temperature, message):
    with pytest.raises(ValueError, match=message):
        kinetics.at(temperature)


@pytest.mark.parametrize("c", [-1e-9, 1.1, float("nan")])
def test_a_composition_that_is_none_is_refused(kinetics, c):
    with pytest.raises(ValueError, match=r"`c` must lie in \[0, 1\]"):
        kinetics.at(1000.0).chemical(torch.tensor(c, dtype=torch.float64))
