"""Expansions from CASM's files, against energies that libcasm found (tests/data/casm/make.py)."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from idnn.order_parameters import FCC_L12
from sampling.casm import from_casm
from sampling.expansion import ClusterExpansion
from sampling.hamiltonian import ClusterHamiltonian
from sampling.lattice import Supercell
from sampling.ordering import Ordering

DATA = Path(__file__).parents[1] / "data" / "casm"
NAMES = ["fcc-chebychev", "fcc-occupation", "bcc-occupation", "hcp-chebychev"]


def written(folder, content):
    """The two files of a basis set."""
    eci, clusters = folder / "eci.json", folder / "cluster_functions.json.gz"
    eci.write_text(json.dumps(content["eci"]))
    clusters.write_bytes(gzip.compress(json.dumps(content["clusters"]).encode()))
    return eci, clusters


@pytest.mark.parametrize("name", NAMES)
def test_energies_equal_those_of_casm(tmp_path, name):
    content = json.loads((DATA / f"{name}.json").read_text())
    expansion = from_casm(*written(tmp_path, content))
    expansion.to_json(tmp_path / "ours.json")
    for one in (expansion, ClusterExpansion.from_json(tmp_path / "ours.json")):
        for state in content["states"]:
            sites = np.array(state["sites"])[:, [1, 2, 3, 0]]  # CASM writes the basis index first
            supercell = np.array(content["transformation"]).T  # and vectors as columns.
            ordering = Ordering(supercell, sites, np.array(state["occupation"]))
            per_site = state["energy_per_cell"] / len(one.basis)
            assert one.predict([ordering])[0] == pytest.approx(per_site, abs=1e-10)


def test_occupation_functions_become_the_orbits_of_the_lattice(tmp_path):
    """Parts of fcc triangles and tetrahedra are nearest pairs and points: no new orbits."""
    content = json.loads((DATA / "fcc-occupation.json").read_text())
    expansion = from_casm(*written(tmp_path, content))
    assert [(o.order, o.multiplicity) for o in expansion.orbits] == [
        (1, 1), (2, 6), (2, 3), (3, 8), (4, 2)
    ]  # fmt: skip
    assert ClusterHamiltonian.on(expansion, Supercell(FCC_L12, 3)).orbits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["eci"].pop("site_functions"), "must be CASM's `eci.json`, with `prim`"),
        (lambda d: d["clusters"]["clusters"].pop(), "of the same basis set"),
        (lambda d: d["clusters"]["clusters"][2].pop(), r"`orbits\[2\].mult` must be the number"),
        (
            lambda d: d["eci"]["prim"]["basis"][0]["occupants"].append("Ti"),
            r"`prim.basis\[0\].occupants` must be at most two",
        ),
        (
            lambda d: d["eci"]["orbits"][2]["cluster_functions"][0].update({"\\Phi_{2}": "e_1"}),
            r"`orbits\[2\].cluster_functions` must be one product",
        ),
    ],
)
def test_files_that_say_more_or_less_are_refused(tmp_path, change, message):
    content = json.loads((DATA / "fcc-chebychev.json").read_text())
    change(content)
    with pytest.raises(ValueError, match=message):
        from_casm(*written(tmp_path, content))


def test_a_truncated_file_is_refused(tmp_path):
    eci, clusters = written(tmp_path, json.loads((DATA / "fcc-chebychev.json").read_text()))
    clusters.write_bytes(clusters.read_bytes()[:-50])
    with pytest.raises(ValueError, match="truncated or corrupt"):
        from_casm(eci, clusters)


def test_a_file_of_casm_is_named_where_one_of_ours_is_expected(tmp_path):
    eci, _ = written(tmp_path, json.loads((DATA / "fcc-chebychev.json").read_text()))
    with pytest.raises(ValueError, match=r"read those with `sampling.casm.from_casm`"):
        ClusterExpansion.from_json(eci)
