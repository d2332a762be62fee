"""Databases without what the ordering fcc phase needs, or with more than it holds, are refused."""

import re

import pytest
import torch
from references import sobol_states

from phasefield.calphad import OrderedFcc, default_database


@pytest.fixture(scope="module")
def fcc():
    return OrderedFcc.from_database(default_database(), ("NI", "AL"))


def edited(tmp_path, pattern, replacement):
    """The database with one passage changed."""
    text = default_database().read_text(encoding="utf-8")
    text, count = re.subn(pattern, replacement, text)
    assert count == 1, pattern
    path = tmp_path / "edited.tdb"
    path.write_text(text, encoding="utf-8")
    return path


ADDED = r"PARAMETER G\(FCC_L12,AL:AL:VA;0\)"
"""Before this passage new ones are added."""


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("DIS_PART FCC_A1 ,,,!", "MAGNETIC  -3.0  .28 !", "a disordered part .* it is none"),
        (r"FCC_L12  %\*\+  3 .75   .25", "FCC_L12  %*+  3 .5   .5", r"ratio \(0.75, 0.25\)"),
        ("FCC_A1 MAGNETIC  -3.0", "FCC_A1 MAGNETIC  0.0", "Inden, Hillert and Jarl"),
        (
            ADDED,
            r"PARAMETER G(FCC_L12,AL,NI:AL,NI:VA;0) 298.15 -9; 6000 N!\n \g<0>",
            r"holds G\(FCC_L12,AL,NI:AL,NI;0\)",
        ),
        (
            ADDED,
            r"PARAMETER TC(FCC_L12,NI:AL:VA;0) 298.15 9; 6000 N!\n \g<0>",
            r"types G; it holds TC\(FCC_L12,NI:AL;0\)",
        ),
        (
            ADDED,
            r"PARAMETER G(FCC_L12,AL:AL:VA;0) 298.15 9; 6000 N!\n \g<0>",
            r"give G\(FCC_L12,AL:AL;0\) once; it does so twice",
        ),
        (
            ADDED,
            r"PARAMETER L(FCC_A1,AL,NI:VA;1) 298.15 9; 6000 N!\n \g<0>",
            r"give G\(FCC_A1,AL,NI;1\) once; it does so twice",
        ),
    ],
)
def test_a_database_it_cannot_hold_is_refused(tmp_path, pattern, replacement, message):
    path = edited(tmp_path, pattern, replacement)
    with pytest.raises(ValueError, match=message):
        OrderedFcc.from_database(path, ("NI", "AL"))


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (
            r"(AL,NI:AL:VA;1\)  2.98150E\+02  \+).5\*ALNI3#",
            r"\g<1>.6*ALNI3#",
            r"four equal sublattices: .* G\(FCC_L12,AL,NI:AL;1\) would be",
        ),
        (
            ADDED,
            r"PARAMETER G(FCC_L12,AL:AL,NI:VA;2) 298.15 9*T; 6000 N!\n \g<0>",
            r"G\(FCC_L12,AL:AL,NI;2\) would be 0 J/mol; it is 9000",
        ),
        (
            r"TC\(FCC_A1,NI:VA;0\)  2.98150E\+02  633",
            "TC(FCC_A1,NI:VA;0)  2.98150E+02  633-.01*T",
            r"TC\(FCC_A1,NI;0\) must not depend on T",
        ),
        ("FUNCTION UNTIER", "FUNCTION TWOTHIRD", "function of UNTIER, which the database does not"),
    ],
)
def test_parameters_it_cannot_hold_are_refused(tmp_path, pattern, replacement, message):
    fcc = OrderedFcc.from_database(edited(tmp_path, pattern, replacement), ("NI", "AL"))
    with pytest.raises(ValueError, match=message):
        fcc.at(1000.0)


def test_parameters_of_other_elements_are_left_aside(fcc, tmp_path):
    more = (
        "PARAMETER G(FCC_L12,CR:AL,NI:VA;0) 298.15 9; 6000 N!\n"
        " PARAMETER G(FCC_L12,NI:AL,NI:CR;0) 298.15 9; 6000 N!"
    )
    path = edited(tmp_path, ADDED, rf"{more}\n \g<0>")
    eta = sobol_states(10, seed=9)
    found = OrderedFcc.from_database(path, ("NI", "AL")).at(1000.0)(eta)
    torch.testing.assert_close(found, fcc.at(1000.0)(eta), rtol=0, atol=0)


@pytest.mark.parametrize("elements", [("NI", "CU"), ("NI", "NI"), ("NI", "VA")])
def test_elements_that_the_phase_lacks_are_refused(elements):
    with pytest.raises(ValueError, match=f"AL, NI; they are {', '.join(elements)}"):
        OrderedFcc.from_database(default_database(), elements)


def test_a_database_without_the_phase_is_refused():
    path = default_database().with_name("alzn_mey.tdb")
    with pytest.raises(ValueError, match=r"phase FCC_L12; alzn_mey\.tdb holds FCC_A1, HCP_A3"):
        OrderedFcc.from_database(path, ("AL", "ZN"))


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.tdb"):
        OrderedFcc.from_database(tmp_path / "none.tdb", ("NI", "AL"))


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (0.0, "`temperature` must be finite and positive"),
        (float("nan"), "`temperature` must be finite and positive"),
        (200.0, r"the database defines G\(FCC_A1,.*at 200 K it does not: .*298.15 <= T"),
        (6000.0, "at 6000 K it does not"),
    ],
)
def test_a_temperature_without_parameters_is_refused(fcc, temperature, message):
    with pytest.raises(ValueError, match=message):
        fcc.at(temperature)
