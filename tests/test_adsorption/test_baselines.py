"""The baselines of the learning benchmark: closed forms, choice of cell and frame, the table."""

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from idnn.adsorption.environments import Windows, environments
from idnn.adsorption.network import AttentionSettings, padded
from idnn.adsorption.packed import pack, unpack
from idnn.adsorption.structures import Crystal, supercell

sys.path.append(str(Path(__file__).parents[2] / "examples/benchmarks"))
import adsorption_baselines as baselines
from adsorption_data import load, split
from adsorption_table import COLUMNS, DESCRIPTORS, family, joined

CRYSTALS = unpack(Path(__file__).parents[2] / "examples/adsorption/structures.npz")


def graph(crystal, symmetry=0.01):
    return baselines.graph(crystal, environments(crystal, Windows(), symmetry=symmetry))


def network(*, batches=3):
    """With statistics of batches that are not those it began with."""
    model = baselines.GraphNetwork(knowns=0, outputs=4, seed=1)
    some = samples([CRYSTALS[name] for name in ("COF_05000N2", "ZEO_CHA", "MOF_IRMOF-1")])
    with torch.no_grad():
        for _ in range(batches):
            model.train()(some.batch(), some.knowns)
    return model


def samples(crystals, symmetry=0.01):
    graphs = tuple(graph(crystal, symmetry) for crystal in crystals)
    empty = torch.zeros(len(graphs), 0)
    return baselines.GraphSamples(graphs, empty, empty)


@pytest.mark.parametrize("name", ["ZEO_CHA", "ZEO_SOD", "MOF_Cu-BTC", "COF_05001N2"])
def test_a_crystal_graph_is_the_same_for_every_cell_and_frame(name):
    crystal = CRYSTALS[name]
    turn = Rotation.from_rotvec([0.3, 0.5, -0.2]).as_matrix()
    moved = (crystal.fractional + np.array([0.1, 0.2, 0.3])) % 1
    turned = Crystal(name, crystal.lattice @ turn, moved, crystal.numbers)
    found = baselines.graph_outputs(
        network(), samples([crystal, supercell(crystal, (1, 2, 1)), turned])
    )
    # Single precision, and sums in another order.
    torch.testing.assert_close(found[1:], found[:1].expand(2, -1), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_graph_of_inequivalent_atoms_is_that_of_all_atoms(training):
    crystals = [CRYSTALS[name] for name in ("ZEO_CHA", "MOF_Cu-BTC")]
    of_some, of_all = samples(crystals), samples(crystals, symmetry=None)
    assert len(of_some.batch().share) < 0.2 * len(of_all.batch().share)
    found = [network().train(training)(s.batch(), s.knowns) for s in (of_some, of_all)]
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-4)


def test_every_atom_of_a_graph_has_twelve_neighbours_in_all():
    one = graph(CRYSTALS["ZEO_CHA"])
    np.testing.assert_allclose(np.bincount(one.centre, one.weight), 12)
    silicon = one.distance[(one.numbers[one.centre] == 14)]
    assert np.sort(silicon)[:4] == pytest.approx(1.6, abs=0.05)


def test_a_normalisation_counts_a_row_as_often_as_its_weight():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([1, 2, 3, 1, 4])
    found = baselines.WeightedBatchNorm(3)(x, times.float()).repeat_interleave(times, 0)
    torch.testing.assert_close(found, torch.nn.BatchNorm1d(3)(x.repeat_interleave(times, 0)))


def test_the_absolute_network_depends_on_where_the_cell_begins_but_not_on_padding():
    crystal = CRYSTALS["ZEO_CHA"]
    settings = AttentionSettings()
    model = baselines.AbsoluteNetwork(settings, knowns=2, outputs=4).eval()

    def output(*several):
        around = [environments(one, settings.windows, symmetry=None) for one in several]
        atoms = padded([baselines.placed(*pair) for pair in zip(several, around, strict=True)])
        return model(atoms, torch.ones(len(several), 2))[0]

    moved = Crystal("moved", crystal.lattice, crystal.fractional + 0.25, crystal.numbers)
    larger = CRYSTALS["MOF_Cu-BTC"]
    torch.testing.assert_close(output(crystal, larger), output(crystal), atol=1e-5, rtol=1e-5)
    assert (output(moved) - output(crystal)).abs().max() > 1e-3


def test_ridge_is_exact_on_linear_data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 4)) * [1, 10, 0.1, 3]
    y = x @ generator.normal(size=(4, 2)) + [1.0, -2.0]
    y[3, 0] = math.nan
    found = baselines.ridge(x[:30], y[:30], x[30:])
    np.testing.assert_allclose(found, y[30:], atol=1e-4)


def test_ridge_is_its_closed_form_at_the_strength_of_least_left_out_error():
    """With equal leverages GCV is the error of each row by the others; here they are nearly so."""
    generator = np.random.default_rng(1)
    x = np.linalg.qr(generator.normal(size=(400, 3)))[0]
    x = (x - x.mean(0)) / x.std(0)
    y = x @ [1.0, 0.5, 0.2] + 3 * generator.normal(size=400)
    penalties = len(y) * np.logspace(-8, 3, 45)

    def solved(penalty):
        inverse = np.linalg.inv(x.T @ x + penalty * np.eye(3))
        hat = x @ inverse @ x.T + 1 / len(y)
        left_out = ((y - hat @ y) / (1 - np.diag(hat))) ** 2
        return left_out.mean(), inverse @ x.T @ (y - y.mean())

    _, slope = min((solved(p) for p in penalties), key=lambda pair: pair[0])
    found = baselines.ridge(x, y[:, None], np.eye(3))[:, 0] - y.mean()
    np.testing.assert_allclose(found, slope, rtol=1e-6)


def test_trees_and_mean_leave_unknown_targets_out():
    x = np.linspace(0, 1, 200)[:, None]
    y = np.hstack([x > 0.5, x]).astype(float)
    y[::7, 0] = math.nan
    found = baselines.trees(x, y, np.array([[0.2], [0.8]]))
    np.testing.assert_allclose(found, [[0, 0.2], [1, 0.8]], atol=0.02)
    assert baselines.mean(x, y, x[:3])[:, 1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("COF_15071N2", "COF_1507"),
        ("COF_2016aN2", "COF_2016"),
        ("COF_21481N2", "COF_2046"),
        ("ZEO_CHA", "ZEO_CHA"),
        ("MOF_IRMOF-15", "MOF_IRMOF"),
        ("MOF_MIL-47", "MOF_MIL-53"),
        ("MOF_Mg-DOBDC", "MOF_MOF-74"),
        ("MOF_ZnMOF-74-VASP", "MOF_MOF-74"),
        ("MOF_ZIF-7", "MOF_ZIF-SOD"),
        ("MOF_ZIF-77", "MOF_ZIF-77"),
        ("MOF_ZIF-10", "MOF_ZIF-10"),
        ("MOF_ZIF-69-crystal", "MOF_ZIF-GME"),
        ("MOF_UIO-66", "MOF_UIO-66"),
    ],
)
def test_crystals_that_are_alike_are_of_one_family(name, expected):
    assert family(name) == expected


def tables(folder, rows):
    labels, described = folder / "labels.csv", folder / "descriptors.csv"
    columns = ("name", "pressure", "henry", "henry_stderr", "loading", "loading_stderr", "heat")
    with labels.open("w") as file:
        csv.writer(file).writerows([columns, *rows])
    with described.open("w") as file:
        csv.writer(file).writerows([("name", *DESCRIPTORS), ("ZEO_CHA", *range(len(DESCRIPTORS)))])
    return labels, described


def test_labels_and_descriptors_join_in_one_row_per_crystal(tmp_path):
    rows = [
        ("ZEO_CHA", "0.0", "1e-5", "1e-7", "", "", "17.5"),
        ("ZEO_CHA", "580000.0", "", "", "1.25", "0.02", "18"),
        ("ZEO_CHA", "6500000.0", "", "", "-0.1", "0.2", ""),
    ]
    (row,) = joined(*tables(tmp_path, rows))
    assert (row["family"], row["log10_henry"], row["heat"]) == ("ZEO_CHA", "-5", "17.5")
    assert float(row["log10_henry_stderr"]) == pytest.approx(0.01 / math.log(10), rel=0.02)
    assert (row["uptake_5.8bar"], row["uptake_65bar"], row["uptake_65bar_stderr"]) == (
        *("1.25", "", ""),
    )
    assert row["dimension"] == "10"


def test_what_nothing_enters_has_no_logarithm(tmp_path):
    (row,) = joined(*tables(tmp_path, [("ZEO_CHA", "0", "0.0", "0.0", "", "", "nan")]))
    assert row["log10_henry"] == row["log10_henry_stderr"] == row["heat"] == ""


def test_a_crystal_without_descriptors_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the first ZEO_LTA"):
        joined(*tables(tmp_path, [("ZEO_LTA", "0", "1e-5", "0.0", "", "", "")]))


FAMILIES = [f"family {n}" for n in range(40) for _ in range(1 + n % 5)]


@pytest.mark.parametrize("grouped", [False, True])
def test_learned_sets_are_nested_and_share_nothing_with_what_is_tested(grouped):
    learned, tested = split(FAMILIES, (10, 30, 90), grouped=grouped, seed=1)
    assert [len(rows) for rows in learned.values()] == [10, 30, 90]
    assert set(learned[10]) < set(learned[30]) < set(learned[90])
    assert not set(learned[90]) & set(tested)
    assert len(FAMILIES) - 95 <= len(tested) <= len(FAMILIES) - 90
    again, _ = split(FAMILIES, (10, 30, 90), grouped=grouped, seed=1)
    np.testing.assert_array_equal(again[30], learned[30])


def test_a_family_is_never_divided_between_what_is_learned_and_tested():
    learned, tested = split(FAMILIES, (90,), grouped=True, seed=3)
    names = np.array(FAMILIES)
    assert not set(names[learned[90]]) & set(names[tested])


def test_more_crystals_than_there_are_cannot_be_learned():
    with pytest.raises(ValueError, match="below the 120"):
        split(FAMILIES, (120,), grouped=False, seed=0)


def test_surroundings_kept_in_a_file_are_those_that_were_found(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    names = ("ZEO_CHA", "ZEO_SOD", "MOF_Cu-BTC")
    pack({name: CRYSTALS[name] for name in names}, folder / "structures.npz")
    with (folder / "methane.csv").open("w") as file:
        rows = [dict.fromkeys(COLUMNS, "1") | {"name": name, "log10_henry": "-5"} for name in names]
        rows[1]["log10_henry"] = ""
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    first, said = load(tmp_path, folder=folder)
    second, _ = load(tmp_path, folder=folder)
    assert said.startswith("2 crystals of 3 with labels")
    assert [crystal.name for crystal in second.crystals] == ["ZEO_CHA", "MOF_Cu-BTC"]
    for one, other in zip(first.around + first.graphs, second.around + second.graphs, strict=True):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name))
    np.testing.assert_array_equal(first.knowns, second.knowns)
