"""The commands as a new user gives them: from an empty folder, stopped, and with bad input."""

import csv
import os
import tarfile

import numpy as np
import pytest
from hosts import body_centred, densities, learned_densities, small_crystals

from idnn import train
from idnn.adsorption import __main__, descriptions, options
from idnn.adsorption.__main__ import main
from idnn.adsorption.descriptions import COLUMNS, describe_all
from idnn.adsorption.files import load_model, save_model
from idnn.adsorption.packed import pack
from idnn.adsorption.structures import Crystal

QUICK = [*("--members", "2", "--width", "8", "--layers", "1", "--window", "4")]
QUICK += ["--epochs", "1", "--steps", "4", "--quiet"]
CIF = """data_x
_cell_length_a 2.3
_cell_length_b {b}
_cell_length_c 2.5
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Si1 Si 0 0 0
O1 {other} 0.5 0.5 0.5
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A new user's: some CIF files, two of them bad, packed crystals, labels and a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # seconds, on a disk that others write to
    (tmp_path / "cifs").mkdir()
    (tmp_path / "cifs/good.cif").write_text(CIF.format(b=2.4, other="O"))
    (tmp_path / "cifs/odd.cif").write_text(CIF.format(b=2.4, other="S"))
    (tmp_path / "cifs/loose.cif").write_text(CIF.format(b=24.0, other="O").replace("2.", "22."))
    (tmp_path / "cifs/broken.cif").write_text("hello")
    crystals = small_crystals()
    pack(crystals, tmp_path / "all.npz")
    pack({name: crystals[name] for name in list(crystals)[:5]}, tmp_path / "five.npz")
    table = densities(crystals)
    rows = [
        f"{name},{value},{volume},{n % 7}"
        for n, (name, (value,), (volume,)) in enumerate(
            zip(table.names, table.values, table.descriptors, strict=True)
        )
    ]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["name,density,volume,kind", *rows, "ghost,1,1,0"])
    )
    return tmp_path


@pytest.fixture
def model(folder):
    save_model(learned_densities(), folder / "given.safetensors")
    return "given.safetensors"


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_describe_writes_a_row_for_each_crystal_and_lists_the_others(folder, capsys):
    assert main(["describe", "cifs", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert "refused: `broken` must be a CIF file" in shown.out
    assert "refused: `loose` is unfit as a host" in shown.out
    assert "2 structures described: descriptors.csv" in shown.out
    assert shown.err == ""
    good, odd = table(folder / "descriptors.csv")
    assert (good["name"], odd["name"]) == ("good", "odd")
    assert float(good["density"]) == pytest.approx(1e-3 * body_centred().density)
    assert (good["dimension"], good["spacing"]) == ("0", "0.4")


def test_describe_goes_on_after_a_kill_to_the_same_table(folder, monkeypatch, capsys):
    words = ["describe", "five.npz", "--spacing", "0.8", "--probe", "0.5"]
    assert main([*words, "--output", "whole.csv"]) == 0
    assert "crystals: 100%" in capsys.readouterr().err
    whole = (folder / "whole.csv").read_text()
    found, left = descriptions.describe, [4]

    def stop(*given, **more):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return found(*given, **more)

    monkeypatch.setattr(descriptions, "describe", stop)
    assert main([*words, "--output", "part.csv"]) == 130
    assert "the same command continues" in capsys.readouterr().err
    part = folder / "part.csv"
    assert len(part.read_text().splitlines()) == 4
    part.write_text(part.read_text() + "small3,1.5,0.")
    left[0] = 1000
    assert main([*words, "--output", "part.csv"]) == 0
    assert part.read_text() == whole
    assert left[0] == 1000 - 2
    assert main([*words, "--output", "part.csv"]) == 0
    assert part.read_text() == whole
    assert left[0] == 1000 - 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,density\nx,1\n", "must have the columns name, density, void_fraction"),
        ("some text without an end", "must have the columns"),
        (",".join(COLUMNS) + "\n" + ",".join(["x"] + ["1"] * 13) + "\n", "must hold rows of"),
        (",".join(COLUMNS) + "\nx,1\n", "must hold rows of"),
    ],
)
def test_describe_refuses_a_table_of_something_else_and_leaves_it(folder, content, message, capsys):
    (folder / "descriptors.csv").write_text(content)
    assert main(["describe", "five.npz", "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert (folder / "descriptors.csv").read_text() == content


def test_describe_begins_anew_where_not_even_the_header_is_whole(folder):
    (folder / "t.csv").write_text("name,dens")
    assert describe_all({}, folder / "t.csv", probe_radius=1.0, spacing=0.8) == {}
    assert (folder / "t.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_crystal_without_descriptors_is_listed_and_the_others_described(folder):
    strange = Crystal("strange", 2.5 * np.eye(3), np.zeros((1, 3)), np.array([118]))
    crystals = {"strange": strange, "good": body_centred()}
    refused = describe_all(crystals, folder / "t.csv", probe_radius=1.0, spacing=0.8)
    assert "none for atomic number 118" in refused["strange"]
    assert [row["name"] for row in table(folder / "t.csv")] == ["good"]


def test_train_writes_a_model_and_says_how_good_it_is(folder, capsys):
    words = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    assert main([*words, "--beside", "volume", "--group", "kind", "--knowledge", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "left out: `ghost` is not among the structures." in shown
    assert "learned from 15 crystals; errors on 6 that were held out:" in shown
    found = load_model(folder / "model.safetensors")
    settings = found.card["settings"]
    assert settings["training"]["knowledge"] == 0.1
    assert found.card["groups"] == 7
    assert found.settings.windows.reaches == (4.0,)
    said = found.card["errors_on_held_out"]["density"]["mean_absolute_error"]
    header, row = (line.split() for line in shown.splitlines()[-3:-1])
    assert header[:2] == ["target", "MAE"]
    assert row[:2] == ["density", f"{said:.4g}"]


def test_a_killed_training_goes_on_to_the_same_file(folder, monkeypatch, capsys):
    words = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    assert main([*words, "--model", "whole.safetensors", "--directory", "elsewhere"]) == 0
    write, left = train.write_state, [5]

    def stop(path, state):
        write(path, state)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(train, "write_state", stop)
    assert main(words) == 130
    assert not (folder / "model.safetensors").exists()
    left[0] = 1000
    assert main(words) == 0
    whole = (folder / "whole.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == whole
    written = 1000 - left[0]
    capsys.readouterr()
    # All is in the directory: the same command takes it from there, another one does not.
    assert main(words) == 0
    assert 1000 - left[0] == written
    assert (folder / "model.safetensors").read_bytes() == whole
    assert main([*words, "--seed", "3"]) == 0
    assert 1000 - left[0] > written
    assert (folder / "model.safetensors").read_bytes() != whole


def test_other_labels_are_not_taken_for_those_of_a_former_training(folder):
    words = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    assert main(words) == 0
    first = load_model(folder / "model.safetensors")
    text = (folder / "labels.csv").read_text().splitlines()
    changed = [line.replace(",", ",1", 1) if n else line for n, line in enumerate(text)]
    (folder / "labels.csv").write_text("\n".join(changed))
    assert main(words) == 0
    second = load_model(folder / "model.safetensors")
    assert first.predict(small_crystals()).values.max() < 9
    assert second.predict(small_crystals()).values.min() > 9


def test_a_field_is_taken_from_the_options(folder):
    words = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    words += ["--field", "Kr", "--spacing", "1.0", "--temperature", "200"]
    assert main(words) == 0
    field = load_model(folder / "model.safetensors").field
    assert field is not None
    assert (field.guest, field.force_field) == ("Kr", "UFF")
    assert (field.spacing, field.temperature) == (1.0, 200.0)
    assert main(["predict", "cifs", "--model", "model.safetensors", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "loading"], "loading is missing"),
        (["--knowledge", "0.3"], "`--knowledge` must come with `--beside`"),
        (["--temperature", "300"], "`--temperature` must come with `--field`"),
        (["--force-field", "UFF"], "`--force-field` must come with `--field`"),
        (["--width", "7"], "`width` must be a multiple"),
        (["--members", "1"], "`members` must be at least 2"),
        (["--held-out", "nan"], "`held_out` must lie"),
        (["--model", "no/such/folder"], "must be a file in a folder that exists"),
        (["--model", "cifs"], "must be a file in a folder that exists"),
        (["--labels", "all.npz"], "cannot be read"),
        (["--labels", "short.csv"], "`table` must hold at least 20 crystals; it holds 1"),
        (["--field", "CH4", "--force-field", "none"], "none"),
    ],
)
def test_train_refuses_bad_input_by_one_message(folder, more, message, capsys):
    (folder / "short.csv").write_text("name,density\nsmall1,3\nsmall2,\n")
    words = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    assert main([*words, *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "model.safetensors").exists()


def test_predict_gives_numbers_of_the_fit_and_reasons_for_the_others(folder, model, capsys):
    assert main(["predict", "cifs", "all.npz", "--model", model, "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "refused: `broken` must be a CIF file" in shown
    assert "refused: `loose` is unfit as a host: its atoms must be bonded" in shown
    assert "1 hold elements that the model never saw" in shown
    rows = {row["name"]: row for row in table(folder / "predictions.csv")}
    assert set(rows) == {"good", "odd", *small_crystals()}
    assert list(rows["good"]) == ["name", "density", "density_stderr", "unseen"]
    assert (rows["good"]["unseen"], rows["odd"]["unseen"]) == ("", "S")
    found = learned_densities().predict({"good": body_centred()})
    assert float(rows["good"]["density"]) == pytest.approx(found.values[0, 0], rel=1e-4)
    assert float(rows["good"]["density_stderr"]) == pytest.approx(found.stderr[0, 0], rel=1e-2)


def test_predict_without_a_fit_structure_writes_no_table(folder, model, capsys):
    assert main(["predict", "cifs/broken.cif", "cifs/loose.cif", "--model", model]) == 2
    shown = capsys.readouterr()
    assert shown.out.count("refused: ") == 2
    assert "`source` must hold a structure that is fit; cifs/broken.cif, cifs/loose" in shown.err
    assert not (folder / "predictions.csv").exists()


def test_elements_beyond_the_table_are_refused_and_not_predicted(folder, model, capsys):
    pack({"heavy": body_centred((3.6, 3.6, 3.6), (14, 110))}, folder / "heavy.npz")
    assert main(["predict", "heavy.npz", "--model", model, "--quiet"]) == 2
    shown = capsys.readouterr().out
    assert "refused: `heavy` must hold elements up to atomic number 103; it holds 110" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "cifs", "--model", "none"], "there is no file none"),
        (["predict", "cifs", "--model", "labels.csv"], "truncated or not a model of adsorption"),
        (["predict", "empty", "--model", "{}"], "must hold CIF files; it holds none"),
        (["predict", "short.tar.gz", "--model", "{}"], "check that it is complete"),
        (["predict", "cifs", "cifs/good.cif", "--model", "{}"], "must hold each name once; good"),
        (["predict", "cifs", "--model", "{}", "--output", "x/y"], "in a folder that exists"),
        (["card", "none"], "there is no file none"),
        (["card", "all.npz"], "truncated or not a model of adsorption"),
        (["draw", "cifs", "--model", "{}"], "must hold one structure that is fit; cifs has 2"),
        (["draw", "cifs/good.cif", "--model", "{}", "--target", "x"], "must be one of density"),
        (["draw", "cifs/good.cif", "--model", "{}", "--output", "a.xyz"], "xyz"),
        (["describe", "empty"], "must hold CIF files; it holds none"),
        (["describe", "cifs/loose.cif"], "must hold a structure that is fit"),
        (["describe", "five.npz", "--spacing", "0"], "`spacing` must lie in"),
        (["describe", "five.npz", "--probe", "-1"], "`probe_radius` must lie in"),
        (["describe", "five.npz", "--output", "x/y"], "in a folder that exists"),
    ],
)
def test_bad_input_ends_with_one_message(folder, model, words, message, capsys):
    (folder / "empty").mkdir()
    with tarfile.open(folder / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder / "all.npz")
    (folder / "short.tar.gz").write_bytes((folder / "whole.tar.gz").read_bytes()[:200])
    before = sorted(folder.iterdir())
    assert main([word.format(model) for word in words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    left = [path for path in folder.iterdir() if path not in before]
    assert [path.name for path in left] in ([], ["descriptors.csv"])


def test_card_says_all_that_is_known_of_a_model(model, capsys):
    assert main(["card", model]) == 0
    shown = capsys.readouterr().out
    known = learned_densities()
    held = ", ".join(known.card["held_out"])
    for text in (
        "density",
        "made up",
        known.card["data_hash"][:16],
        "16 crystals",
        f"5 crystals: {held}",
        "O Mg Si Ti",
        "MAE of the mean",
        "training.network.windows.reaches    4.0\n",
        "scalebridge",
    ):
        assert text in shown, text


def test_a_model_without_a_card_has_none_to_show(folder, model, capsys):
    found = load_model(model)
    save_model(type(found)(**{**vars(found), "card": {}}), folder / "bare")
    assert main(["card", "bare"]) == 2
    assert "`model` must have a card" in capsys.readouterr().err


def test_draw_writes_a_figure_that_states_the_parts(folder, model, capsys):
    assert main(["draw", "cifs/good.cif", "--model", model, "--output", "a.svg"]) == 0
    assert capsys.readouterr().out == "a.svg\n"
    found = learned_densities().contributions(body_centred())
    text = (folder / "a.svg").read_text()
    whole = float((found.sites.sum(0) + found.rest)[0])
    assert f"good: density {whole:.4g}" in text
    assert f"crystal as a whole {found.rest[0]:+.4g}" in text
    assert f"atoms {found.sites.sum():+.4g}" in text
    assert "adds to density" in text


def test_a_column_must_be_chosen_where_a_model_has_several(folder, capsys):
    words = ["train", "all.npz", "--labels", "labels.csv", *QUICK]
    assert main([*words, "--target", "density", "--target", "volume"]) == 0
    assert main(["draw", "cifs/good.cif", "--model", "model.safetensors"]) == 2
    assert "`--target` must be given, one of density, volume" in capsys.readouterr().err
    assert main(["predict", "cifs", "--model", "model.safetensors", "--quiet"]) == 0
    (first, _) = table(folder / "predictions.csv")
    assert list(first)[1:5] == ["density", "density_stderr", "volume", "volume_stderr"]


def test_a_source_that_is_not_there_is_refused(capsys):
    for words in (["describe", "none"], ["predict", "none", "--model", "m"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert "there is no none" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(__main__.COMMANDS))
def test_help_names_every_option(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    (commands,) = options.parser()._subparsers._group_actions
    for action in commands.choices[command]._actions:
        assert action.help
        assert " ".join(action.help.split()) in shown
        for name in action.option_strings or [action.dest]:
            assert name in shown


def test_crystals_with_too_many_different_atoms_are_left_out(folder, capsys):
    command = ["train", "all.npz", "--labels", "labels.csv", "--target", "density", *QUICK]
    assert main([*command, "--most-atoms", "1"]) == 2
    shown = capsys.readouterr()
    assert "`small0` has 2 inequivalent atoms, more than 1" in shown.out
    assert main([*command, "--most-atoms", "2"]) == 0
    assert "inequivalent" not in capsys.readouterr().out
