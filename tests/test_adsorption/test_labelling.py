"""Labels: kept one by one, the same after a stop, in any order and by any number of threads."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hosts import DATA, SHORT, in_another_cell, skewed, sphere

from idnn.adsorption.structures import Crystal
from sampling.adsorption.__main__ import _parser, main
from sampling.adsorption.isotherm import Schedule
from sampling.adsorption.labelling import DILUTE, Conditions, digest, label
from sampling.ledger import BadStore

CONDITIONS = Conditions(
    guest=sphere(),
    force=SHORT,
    temperature=300.0,
    pressures=(1e5, 1e6),
    spacing=0.5,
    schedule=Schedule(burn_in=20, records=40),
)


@pytest.fixture
def crystals():
    other = in_another_cell(skewed(), np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]))
    moved = Crystal("moved", skewed().lattice, 0.9 * skewed().fractional, skewed().numbers)
    return {"one": skewed(), "two": other, "three": moved}


def numbers(labels):
    timed = ("seconds", "grid_seconds")
    return {
        (row.name, row.pressure): {k: v for k, v in row.numbers.items() if k not in timed}
        for row in labels
    }


def test_a_stopped_run_goes_on_to_the_same_labels(crystals, tmp_path):
    whole = numbers(label(crystals, CONDITIONS, tmp_path / "whole.sqlite"))
    assert set(whole) == {(name, p) for name in crystals for p in (DILUTE, 1e5, 1e6)}
    seen = []

    def stop(_stage, done, total):
        seen.append(done)
        if done == 4 and len(seen) < 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(crystals, CONDITIONS, tmp_path / "stopped.sqlite", observe=stop)
    assert seen == [0, 1, 2, 3, 4]
    seen += [0, 0]
    assert numbers(label(crystals, CONDITIONS, tmp_path / "stopped.sqlite", observe=stop)) == whole
    assert seen[7:] == [4, 5, 6, 7, 8, 9]


def test_order_and_threads_change_nothing(crystals, tmp_path):
    first = numbers(label(crystals, CONDITIONS, tmp_path / "a.sqlite"))
    backwards = dict(reversed(crystals.items()))
    second = numbers(label(backwards, CONDITIONS, tmp_path / "b.sqlite", threads=3))
    assert first == second


def test_structures_and_pressures_can_be_added(crystals, tmp_path):
    path = tmp_path / "a.sqlite"
    fewer = replace(CONDITIONS, pressures=(1e5,))
    before = numbers(label({"one": crystals["one"]}, fewer, path))
    after = numbers(label(crystals, CONDITIONS, path))
    assert {key: after[key] for key in before} == before
    assert len(after) == 9


def test_a_file_of_other_conditions_is_refused(crystals, tmp_path):
    path = tmp_path / "a.sqlite"
    label({}, CONDITIONS, path)
    with pytest.raises(BadStore, match=r"`temperature`: the store .* made with 300.0, not 310.0"):
        label(crystals, replace(CONDITIONS, temperature=310.0), path)
    with pytest.raises(BadStore, match=r"`force_field\.cutoff`"):
        label(crystals, replace(CONDITIONS, force=replace(SHORT, cutoff=7.0)), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be finite and positive; it is 0"),
        ({"pressures": (1e5, -1.0)}, "`pressures` must be finite and positive; it is -1"),
    ],
)
def test_bad_conditions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONDITIONS, **change)


def test_a_structure_is_known_by_its_atoms_and_lattice():
    same = Crystal("other name", skewed().lattice, skewed().fractional + 1e-9, skewed().numbers)
    changed = Crystal("x", skewed().lattice, skewed().fractional, np.array([8, 14, 14]))
    charged = replace(skewed(), charges=np.zeros(3))
    assert digest(same) == digest(skewed())
    assert len({digest(c) for c in (skewed(), changed, charged)}) == 3


def test_the_command_labels_a_folder_and_reports_what_it_refuses(tmp_path, capsys):
    folder = tmp_path / "cifs"
    folder.mkdir()
    (folder / "MFI.cif").write_text((DATA / "MFI.cif").read_text())
    (folder / "bad.cif").write_text("hello")
    (folder / "gold.cif").write_text((DATA / "MFI.cif").read_text().replace(" Si ", " Pt "))
    table = tmp_path / "labels.csv"
    words = [str(folder), "--guest", "Kr", "--force-field", "GenericZeolites", "--spacing", "0.4"]
    words += ["--store", str(tmp_path / "x.sqlite"), "--output", str(table)]
    words += ["--pressure", "1e4", "--precision", "0.2", "--cutoff", "9"]
    assert main([*words, "--quiet"]) == 0
    shown = capsys.readouterr()
    assert "refused: `bad` must be a CIF file" in shown.out
    assert "must hold every element of gold; Pt is missing" in shown.out
    assert "1 structures labelled" in shown.out
    with table.open() as file:
        dilute, loaded = csv.DictReader(file)
    assert float(dilute["henry"]) * 1e4 == pytest.approx(float(loaded["loading"]), rel=0.3)
    first = table.read_text()
    assert main(words) == 0
    assert "labels: 100%" in capsys.readouterr().err
    assert table.read_text() == first
    assert main([*words, "--temperature", "300"]) == 2
    assert "error: `temperature`: the store" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for action in _parser()._actions:
        assert action.help
        assert " ".join(action.help.split()) in shown
        for name in action.option_strings or [action.dest]:
            assert name in shown


def test_a_source_that_is_not_there_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none")])
    assert "there is no" in capsys.readouterr().err


def test_the_command_ends_in_error_where_nothing_is_fit(tmp_path, capsys):
    (tmp_path / "bad.cif").write_text("data_x\n")
    outputs = ("--store", str(tmp_path / "s.sqlite"), "--output", str(tmp_path / "l.csv"))
    assert main([str(tmp_path / "bad.cif"), "--quiet", *outputs]) == 2
    shown = capsys.readouterr()
    assert "refused: `bad` must be a CIF file" in shown.out
    assert "`source` must hold a structure that is fit" in shown.err
    assert not (tmp_path / "s.sqlite").exists()


def test_one_crystal_under_two_names_is_labelled_once(crystals, tmp_path):
    seen = []
    found = label(
        {"one": crystals["one"], "twin": crystals["one"]},
        CONDITIONS,
        tmp_path / "twins.sqlite",
        observe=lambda _stage, done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    values = numbers(found)
    assert len(values) == 6
    assert values["one", 1e5] == values["twin", 1e5]
