"""Reading energies: the formats, the mapping onto the lattice, and one bad input per check."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from sampling.clusters import illustrative_expansion
from sampling.energies import read_energies, to_structure
from sampling.expansion import cluster_sums
from sampling.literature import compare
from sampling.mapping import Crystal, NotOnLattice, map_to_lattice
from sampling.ordering import fcc
from sampling.prototypes import PROTOTYPES, build, formula, names

EXAMPLES = Path(__file__).parents[2] / "examples/ni_al"
LATTICE = fcc(("Ni", "Al"), 3.57)
CUBE = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def cubic(identifier, species, energy, a=3.6):
    return {
        "id": identifier,
        "cell": (a * np.eye(3)).tolist(),
        "species": species,
        "positions": (a * np.array(CUBE)).tolist(),
        "energy": energy,
    }


def good_set():
    return [
        {"method": "PBE"},
        cubic("ni", ["Ni"] * 4, -28.0),
        cubic("al", ["Al"] * 4, -16.0),
        cubic("ni3al", ["Al", "Ni", "Ni", "Ni"], -26.6),
    ]


def write(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_formation_energies_are_against_the_end_members(tmp_path):
    energies = read_energies(write(tmp_path / "e.jsonl", good_set()), LATTICE)
    assert energies.ids == ("ni", "al", "ni3al")
    assert energies.fractions.tolist() == [0, 1, 0.25]
    assert energies.energies.tolist() == [-7, -4, -6.65]
    assert energies.formation_energies == pytest.approx([0, 0, -0.4], abs=1e-14)
    assert energies.method == "PBE"
    assert len(energies.source_hash) == 64


def test_every_format_gives_the_same_set(tmp_path):
    header, *rows = good_set()
    expected = read_energies(write(tmp_path / "e.jsonl", good_set()), LATTICE)
    structures = [
        Structure(r["cell"], r["species"], r["positions"], coords_are_cartesian=True) for r in rows
    ]
    one = tmp_path / "e.json"
    one.write_text(json.dumps({**header, "structures": rows}))
    as_dict = write(
        tmp_path / "p.jsonl",
        [
            {"id": r["id"], "energy": r["energy"], "method": "PBE", "structure": s.as_dict()}
            for r, s in zip(rows, structures, strict=True)
        ],
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = ["file,energy,method"]
    for row, structure, ending in zip(rows, structures, ("vasp", "cif", "vasp"), strict=True):
        name = f"{row['id']}.POSCAR.{ending}" if ending == "vasp" else f"{row['id']}.{ending}"
        structure.to(str(folder / name), fmt="poscar" if ending == "vasp" else "cif")
        lines.append(f"{name},{row['energy']},PBE")
    (folder / "energies.csv").write_text("\n".join(lines))
    orbits = illustrative_expansion().orbits
    for path in (one, as_dict, folder):
        energies = read_energies(path, LATTICE)
        assert energies.formation_energies == pytest.approx(expected.formation_energies, abs=1e-12)
        assert cluster_sums(orbits, energies.orderings) == pytest.approx(
            cluster_sums(orbits, expected.orderings), abs=1e-12
        )


def test_the_dft_set_is_read_and_its_crystals_named():
    energies = read_energies(EXAMPLES / "dft/results.jsonl", LATTICE, kind="volume")
    found = dict(zip(energies.ids, names(LATTICE, energies.orderings), strict=True))
    assert found["4_017"] == "L1_2 Ni3Al"
    assert found["2_001"] == "L1_0 NiAl"
    assert found["4_012"] == "D0_22 Ni3Al"
    value = energies.formation_energies[energies.ids.index("4_017")]
    assert value == pytest.approx(-0.434, abs=5e-4)  # README.md of the set
    assert "PBE" in energies.method


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
def test_the_enumeration_script_still_gives_the_structures_calculated():
    script = EXAMPLES / "dft/enumerate_structures.py"
    spec = importlib.util.spec_from_file_location("enumerate_structures", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shipped = json.loads((EXAMPLES / "dft/structures.json").read_text())
    assert len(shipped) == 137
    for again, structure in zip(module.orderings(4), shipped[10:29], strict=True):
        assert again.keys() == structure.keys()
        for key in ("id", "n", "x_Al", "name", "species"):
            assert again[key] == structure[key]
        assert np.allclose(again["cell"], structure["cell"], atol=1e-9)
        assert np.allclose(again["scaled"], structure["scaled"], atol=1e-9)


def test_literature_differs_from_dft_by_less_than_dft_values_differ_among_themselves():
    energies = read_energies(EXAMPLES / "dft/results.jsonl", LATTICE, kind="volume")
    rows = compare(energies, EXAMPLES / "literature.csv")
    dft = [row for row in rows if row.kind == "DFT"]
    assert len(dft) == 8
    assert max(abs(row.difference) for row in dft) < 0.010
    assert {row.ordering for row in rows} == {"L1_2 Ni3Al", "L1_0 NiAl", "L1_2 NiAl3"}


def test_a_literature_table_with_a_bad_value_or_column_is_refused(tmp_path):
    energies = read_energies(write(tmp_path / "e.jsonl", good_set()), LATTICE)
    table = tmp_path / "l.csv"
    table.write_text(
        "ordering,formation_energy_eV_per_atom,kind,source,note\nL1_2 Ni3Al,nan,DFT,x,\n"
    )
    with pytest.raises(ValueError, match=r"line 2 has 'nan'"):
        compare(energies, table)
    table.write_text("ordering,kind\n")
    with pytest.raises(ValueError, match="must have the columns"):
        compare(energies, table)


def change(entries, index, **values):
    entries[index] = {**entries[index], **values}
    return entries


def without(entries, index, key):
    entries[index] = {k: v for k, v in entries[index].items() if k != key}
    return entries


SHIFTED = np.array(CUBE) * 3.6 + np.array([[1.0, 0, 0]] + [[0, 0, 0]] * 3)
NOT_A_NUMBER = [[float("nan"), 0, 0], *CUBE[1:]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda e: change(e, 3, energy=float("nan")), "`energy` must be finite.*ni3al"),
        (lambda e: without(e, 3, "energy"), "ni3al` lacks `energy`"),
        (lambda e: without(e, 3, "cell"), "ni3al` lacks 'cell'"),
        (lambda e: without(e, 0, "method"), "lacks `"),
        (lambda e: change(e, 3, method="PBEsol"), "mixes 'PBE', 'PBEsol'"),
        (lambda e: change(e, 3, kind="full"), "`kind` must be the same"),
        (lambda e: e[:2] + e[3:], "end member pure Al is missing"),
        (lambda e: [*e, {**e[3], "id": "again"}], "`ni3al` and `again` are the same ordering"),
        (lambda e: [*e, e[3]], "`id` must differ between structures; repeated: .'ni3al'"),
        (lambda e: change(e, 3, positions=SHIFTED.tolist()), r"`ni3al`.*site 0 \(Al\) is 0\.\d+ Å"),
        (lambda e: change(e, 3, positions=NOT_A_NUMBER), "`positions` must be finite"),
        (lambda e: change(e, 3, species=["Ti", "Ni", "Ni", "Ni"]), "site 0 holds Ti"),
        (lambda e: change(e, 3, cell=np.diag([3.6, 3.6, 2.55]).tolist()), "strain|away from"),
        (lambda e: change(e, 3, species=["Ni"]), "cannot be read"),
        (lambda e: e[:1], "holds no structures"),
    ],
)
def test_bad_sets_are_refused_by_name(tmp_path, damage, message):
    path = write(tmp_path / "e.jsonl", damage(good_set()))
    with pytest.raises(ValueError, match=message):
        read_energies(path, LATTICE)


def test_a_truncated_line_is_refused_with_its_number(tmp_path):
    path = write(tmp_path / "e.jsonl", good_set())
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match="line 4 is not a JSON object"):
        read_energies(path, LATTICE)


def test_kinds_are_chosen_by_name(tmp_path):
    entries = [{**e, "kind": "volume"} if "id" in e else e for e in good_set()]
    entries += [{**entries[3], "kind": "full", "energy": -26.8}]
    path = write(tmp_path / "e.jsonl", entries)
    energies = read_energies(path, LATTICE, kind="volume")
    assert energies.ids == ("ni", "al", "ni3al")
    with pytest.raises(ValueError, match="no structure of `kind` 'none'"):
        read_energies(path, LATTICE, kind="none")


@pytest.mark.parametrize("text", ["[1, 2]", "3"])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(ValueError, match="line 1 is not a JSON object"):
        read_energies(tmp_path / "e.json", LATTICE)


def test_a_folder_without_a_table_or_with_a_gap_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold `energies.csv`"):
        read_energies(tmp_path, LATTICE)
    (tmp_path / "energies.csv").write_text("file,energy,method\nx.cif,-1,\n")
    with pytest.raises(ValueError, match="lacks method"):
        read_energies(tmp_path, LATTICE)
    (tmp_path / "energies.csv").write_text("file,energy,method\nx.cif,-1,PBE\n")
    with pytest.raises(ValueError, match="cannot be read"):
        read_energies(tmp_path, LATTICE)


def rotation(rng):
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


@pytest.mark.parametrize("prototype", PROTOTYPES, ids=lambda p: p.name)
def test_a_rotated_strained_shaken_crystal_maps_onto_the_ordering_it_came_from(prototype):
    rng = np.random.default_rng(5)
    orbits = illustrative_expansion().orbits
    ordering = build(prototype, invert=False)
    ideal = to_structure(LATTICE, ordering)
    strain = np.eye(3) + 0.01 * rng.standard_normal((3, 3))
    cell = 1.07 * ideal.lattice.matrix @ strain @ rotation(rng)
    shaken = ideal.frac_coords + 0.03 * rng.standard_normal((len(ideal), 3)) / np.linalg.norm(
        cell, axis=1
    )
    shuffle = rng.permutation(len(ideal))
    species = np.array([site.species_string for site in ideal])
    crystal = Crystal(
        cell, (shaken + np.array([0.3, 0.1, 0.7]))[shuffle], tuple(species[shuffle].tolist())
    )
    mapped = map_to_lattice(crystal, LATTICE)
    assert cluster_sums(orbits, [mapped]) == pytest.approx(
        cluster_sums(orbits, [ordering]), abs=1e-12
    )


def test_the_origin_is_not_where_the_first_atom_happens_to_sit():
    ordering = build(PROTOTYPES[2], invert=False)
    ideal = to_structure(LATTICE, ordering)
    apart = np.array([[0.45, 0, 0], [-0.45, 0, 0], [0, 0, 0], [0, 0, 0]])
    moved = ideal.cart_coords + apart
    species = tuple(site.species_string for site in ideal)
    cell = ideal.lattice.matrix
    mapped = map_to_lattice(Crystal(cell, moved @ np.linalg.inv(cell), species), LATTICE)
    assert names(LATTICE, [mapped]) == ("L1_2 Ni3Al",)


def test_bcc_is_not_taken_for_fcc():
    b2 = Crystal(2.88 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), ("Ni", "Al"))
    with pytest.raises(NotOnLattice, match="no supercell of the lattice"):
        map_to_lattice(b2, LATTICE)


def test_formulae_and_names_of_the_prototypes():
    built = [build(prototype, invert=False) for prototype in PROTOTYPES]
    assert [formula(LATTICE, ordering) for ordering in built] == [
        "NiAl", "NiAl", "Ni3Al", "Ni3Al", "Ni3Al", "Ni2Al", "Ni4Al"
    ]  # fmt: skip
    assert names(LATTICE, built)[3] == "D0_22 Ni3Al"


def test_a_structure_cannot_name_code_to_import(tmp_path, monkeypatch):
    """pymatgen's decoder would import the module that a site property names."""
    (tmp_path / "intruder.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    rows = [{"method": "PBE"}]
    for row in good_set()[1:]:
        structure = Structure(
            row["cell"], row["species"], row["positions"], coords_are_cartesian=True
        ).as_dict()
        structure["sites"][0]["properties"] = {"a": {"@module": "intruder", "@class": "X"}}
        rows.append({"id": row["id"], "energy": row["energy"], "structure": structure})
    path = tmp_path / "energies.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_energies(path, LATTICE).ids == ("ni", "al", "ni3al")


def test_a_record_without_atoms_is_refused_by_name(tmp_path):
    path = tmp_path / "energies.jsonl"
    rows = [*good_set(), cubic("void", [], 0.0) | {"positions": []}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match=r"void"):
        read_energies(path, LATTICE)
