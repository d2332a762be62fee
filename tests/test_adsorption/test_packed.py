"""Packed crystals: what is read is what was written, to the stated digit."""

import numpy as np
import pytest
from hosts import silicalite, skewed

from idnn.adsorption.cif import BadStructure, read_library
from idnn.adsorption.packed import BadPackage, pack, unpack
from idnn.adsorption.structures import Crystal


def test_crystals_come_back_to_sixteen_bits(tmp_path):
    given = {"skewed": skewed(), "silicalite": silicalite()}
    pack(given, tmp_path / "all.npz")
    found = unpack(tmp_path / "all.npz")
    assert list(found) == list(given)
    for name, crystal in given.items():
        other = found[name]
        assert (other.lattice == crystal.lattice).all()
        assert (other.numbers == crystal.numbers).all()
        away = (other.fractional - crystal.fractional + 0.5) % 1 - 0.5
        assert np.abs(away).max() <= 2.0**-17


def test_a_coordinate_that_rounds_to_one_is_wrapped(tmp_path):
    edge = Crystal("edge", 5 * np.eye(3), np.array([[1 - 1e-7, 0.0, 0.5]]), np.array([6]))
    pack({"edge": edge}, tmp_path / "edge.npz")
    assert unpack(tmp_path / "edge.npz")["edge"].fractional.tolist() == [[0.0, 0.0, 0.5]]


def test_a_library_of_packed_crystals_is_checked_like_files(tmp_path):
    twice = Crystal("twice", 9 * np.eye(3), np.zeros((2, 3)), np.array([6, 6]))
    pack({"silicalite": silicalite(), "twice": twice}, tmp_path / "all.npz")
    library = read_library(tmp_path / "all.npz")
    assert list(library.crystals) == ["silicalite"]
    assert "twice" in library.refused["twice"]
    assert list(read_library(tmp_path / "all.npz", ["twice"]).refused) == ["twice"]


def test_another_file_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "other.npz", names=np.array(["a"]))
    (tmp_path / "text.npz").write_text("nothing of the kind")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(BadPackage, match=f"{name}.* must hold packed crystals"):
            unpack(tmp_path / name)
        with pytest.raises(BadStructure, match="must hold packed crystals"):
            read_library(tmp_path / name)
