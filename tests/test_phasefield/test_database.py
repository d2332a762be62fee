"""Databases without what the ordering fcc phase needs, or with more than it holds, are refused."""

import re
from itertools import permutations

import pytest
import torch
from references import sobol_states

from idnn.order_parameters import FCC_L12
from phasefield.calphad import OrderedFcc, default_database
from phasefield.phases import DatabasePhase


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


def test_four_sublattices_with_missing_permutations_are_refused_by_their_names():
    path = default_database().with_name("alnifcc4sl.tdb")
    with pytest.raises(ValueError, match="permutations") as refusal:
        OrderedFcc.from_database(path, ("NI", "AL"))
    message = str(refusal.value)
    # 2 of the 6 end members of Al₂Ni₂, and 16 of the 32 places of AL,NI with three orders each.
    assert "; 50 are absent or differ: G(FCC_L12,AL:NI:AL:NI:VA;0) is absent; " in message
    assert "PHASE FCC_L12:F" in message


PERMUTED = r"G(FCC_L12,AL:AL:AL:NI:VA;0) 1 0.55316*T + 0.75*GHSERAL# +"


def test_four_sublattices_with_different_permutations_are_refused(tmp_path):
    text = default_database().with_name("alnifcc4sl.tdb").read_text(encoding="utf-8")
    assert PERMUTED in text
    path = tmp_path / "edited.tdb"
    path.write_text(text.replace(PERMUTED, PERMUTED.replace("0.55316", "0.6")), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"; 53 are absent or differ: .*AL:AL:NI:AL.* differs from"
    ):
        OrderedFcc.from_database(path, ("NI", "AL"))


def test_a_whole_set_of_permutations_is_read_as_it_is(tmp_path):
    text = default_database().with_name("alnifcc4sl.tdb").read_text(encoding="utf-8")
    pattern = r"PARAMETER ([GL])\(FCC_L12,([^;]*):VA;(\d)\)([^!]*!)"
    once = {
        (kind, tuple(sorted(sites.split(":"))), order): rest
        for kind, sites, order, rest in re.findall(pattern, text)
    }
    whole = [
        f"PARAMETER {kind}(FCC_L12,{':'.join(moved)}:VA;{order}){rest}"
        for (kind, sites, order), rest in once.items()
        for moved in set(permutations(sites))
    ]
    path = tmp_path / "whole.tdb"
    path.write_text(re.sub(pattern, "", text) + "\n" + "\n".join(whole), encoding="utf-8")
    f = DatabasePhase.from_database(path, "FCC_L12", ("NI", "AL")).at(1000.0)
    y = FCC_L12.site_fractions(sobol_states(20, seed=9))
    permuted = torch.stack([f(y[:, p]) for p in FCC_L12.group])
    torch.testing.assert_close(permuted, f(y).expand_as(permuted), rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="`DatabasePhase` takes any phase"):
        OrderedFcc.from_database(path, ("NI", "AL"))


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.tdb"):
        OrderedFcc.from_database(tmp_path / "none.tdb", ("NI", "AL"))


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "model.tdb"
    for content in (b"no database", bytes(range(128, 256))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"`path` must be .*model\.tdb cannot be read as one"):
            OrderedFcc.from_database(path, ("NI", "AL"))


def test_a_whole_number_of_kelvin_at_which_a_range_begins_is_within_it(fcc):
    """700 K is where one polynomial of aluminium ends and the next begins."""
    eta = sobol_states(5, seed=9)
    torch.testing.assert_close(fcc.at(700)(eta), fcc.at(700.0)(eta), rtol=0, atol=0)


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
