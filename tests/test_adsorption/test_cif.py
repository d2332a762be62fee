"""CIF files: symmetry, charges, archives, and a report for each way in which they are broken."""

import tarfile
import zipfile

import numpy as np
import pytest
from hosts import DATA, silicalite

from idnn.adsorption.cif import BadStructure, crystal_of, read_cif, read_library

CELL = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
{more}loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""
CHAINS = ["O1 O 0 0 0 1", "Si1 Si 0.5 0 0 1"]
"""Of silicon and oxygen, bonded across the cell of 3.3 Å."""


def cif(atoms, edge=3.3, more=""):
    return CELL.format(a=edge, more=more) + "\n".join(atoms) + "\n"


def test_symmetry_is_applied_and_charges_are_read():
    crystal = silicalite()
    assert len(crystal.numbers) == 288
    assert (crystal.numbers == 14).sum() == 96
    assert crystal.charges is not None
    np.testing.assert_array_equal(crystal.charges, np.where(crystal.numbers == 14, 2.05, -1.025))


def test_a_sound_structure_without_charges_has_none():
    crystal = crystal_of("chain", cif(CHAINS))
    assert crystal.charges is None
    assert sorted(crystal.numbers) == [8, 14]


@pytest.mark.parametrize(
    ("atoms", "edge", "more", "message"),
    [
        ([*CHAINS, "O2 O 0.1 0 0 1"], 3.3, "", r"apart; 1 pairs are not, the closest 0.33 Å: O at"),
        ([*CHAINS, "O2 O 0 0.5 0 0.5"], 3.3, "", "one whole atom; 1 of 3 are not, the first O:0.5"),
        (
            ["O1 O 0 0 0 1", "Si1 Si 0.15 0 0 1"],
            11.0,
            "",
            r"must be bonded into a framework; it holds molecules alone \(1 OSi\)",
        ),
        (
            [*(f"Si{i} Si {i / 4} 0 0 1" for i in range(4)), "O1 O 0.5 0.5 0.5 1"],
            9.0,
            "",
            "free of solvent and other loose molecules; it holds 1 O: delete",
        ),
        (CHAINS, 3.3, "_chemical_formula_sum 'Si1 O2'\n", "ratios of its own formula, Si1 O2"),
        (
            ["C1 C 0 0 0 1", "C2 C 0.5 0.3 0 1"],
            2.4,
            "",
            "every carbon with two neighbours must hold them in a line; 2 do not",
        ),
    ],
)
def test_a_broken_structure_is_refused_with_rule_value_and_remedy(atoms, edge, more, message):
    with pytest.raises(BadStructure, match="`broken` is unfit as a host: .*" + message):
        crystal_of("broken", cif(atoms, edge, more))


@pytest.mark.parametrize("text", ["", "hello", CELL.format(a=5, more=""), cif(["O1 O ? 0 0 1"])])
def test_what_is_no_cif_is_refused(text):
    with pytest.raises(BadStructure, match="`x` must be a CIF file with a cell and atoms"):
        crystal_of("x", text)


def test_a_charge_that_is_no_number_is_refused():
    text = (DATA / "MFI.cif").read_text().replace("0.0565 -0.33598 2.05", "0.0565 -0.33598 ?")
    with pytest.raises(BadStructure, match="`_atom_site_charge` of x must hold numbers; one is"):
        crystal_of("x", text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadStructure, match="cannot be read"):
        read_cif(tmp_path / "none.cif")


def test_a_library_keeps_the_sound_and_reports_the_others(tmp_path):
    good, bad = tmp_path / "good.cif", tmp_path / "bad.cif"
    good.write_text(cif(CHAINS))
    bad.write_text("hello")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(good, "x/good.cif")
        archive.add(bad, "x/bad.cif")
    with zipfile.ZipFile(tmp_path / "all.whl", "w") as archive:
        archive.write(good, "x/good.cif")
        archive.write(bad, "x/bad.cif")
    for source in (tmp_path, tmp_path / "all.tar.gz", tmp_path / "all.whl"):
        library = read_library(source)
        assert set(library.crystals) == {"good"}
        assert "`bad` must be a CIF file" in library.refused["bad"]


def test_a_library_can_be_asked_for_some_names(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.cif").write_text(cif(CHAINS))
    assert set(read_library(tmp_path, names=("two", "three")).crystals) == {"two"}
    with pytest.raises(BadStructure, match="must hold CIF files of four; it holds none"):
        read_library(tmp_path, names=("four",))


def test_a_source_without_cif_files_is_refused(tmp_path):
    with pytest.raises(BadStructure, match="must hold CIF files; it holds none"):
        read_library(tmp_path)


def test_two_files_of_one_name_are_not_mistaken_for_each_other(tmp_path):
    for folder, text in (("one", cif(CHAINS)), ("two", cif(CHAINS)), ("three", cif(CHAINS) + "#")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.cif").write_text(text)
        (tmp_path / folder / f"{folder}.cif").write_text(text)
    library = read_library(tmp_path)
    assert set(library.crystals) == {"one", "two", "three"}
    assert "files of this name differ" in library.refused["good"]
    (tmp_path / "three/good.cif").unlink()
    assert set(read_library(tmp_path).crystals) == {"good", "one", "two", "three"}
