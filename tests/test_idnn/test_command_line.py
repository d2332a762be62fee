"""`python -m idnn export`: what it writes, what it says, and what it refuses."""

import numpy as np
import pytest
import torch
from references import sobol_states

from idnn.__main__ import main
from idnn.checkpoint import save_network
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_B2, FCC_L12
from idnn.thermal import ThermalNetwork

SHAPE = NetworkSettings(widths=(5, 3))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_network(IntegrableNetwork(FCC_L12, 973.0, SHAPE, seeds=(1, 2)), path, data_hash="a")
    return str(path)


@pytest.fixture
def thermal(tmp_path):
    path = tmp_path / "thermal.safetensors"
    save_network(ThermalNetwork(FCC_L12, (900.0, 1300.0), SHAPE), path, data_hash="a")
    return str(path)


def export(*arguments):
    return main(["export", *map(str, arguments)])


@pytest.mark.parametrize(
    ("form", "name"), [("numpy", "model.py"), ("torch", "model.pt2"), ("table", "model.csv")]
)
def test_every_form_is_written_and_named(model, form, name, tmp_path, capsys):
    path = tmp_path / name
    assert export(model, "--as", form, "--to", path) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.stat().st_size > 1000


def test_a_table_is_a_line_or_a_grid(model, tmp_path):
    rows = {}
    for option, count in (("--compositions", 7), ("--grid", 3)):
        assert export(model, "--as", "table", "--to", tmp_path / "t.csv", option, count) == 0
        text = (tmp_path / "t.csv").read_text().splitlines()
        rows[option] = len([line for line in text if not line.startswith("#")]) - 1
    assert rows == {"--compositions": 7 * (1 + 3 * 11), "--grid": 81}


def test_a_model_of_all_temperatures_is_exported_at_one(thermal, tmp_path, capsys):
    path = tmp_path / "warm.csv"
    assert export(thermal, "--as", "table", "--to", path, "--temperature", 1000) == 0
    assert "at 1000.0 K" in path.read_text()
    assert export(thermal, "--as", "table", "--to", path) == 2
    assert "`--temperature` must be given" in capsys.readouterr().err


def test_single_precision_is_said_so(model, tmp_path):
    assert export(model, "--as", "torch", "--to", tmp_path / "m.pt2", "--single") == 0
    program = torch.export.load(tmp_path / "m.pt2").module()
    f, _ = program(sobol_states(2, seed=1).float())
    assert f.dtype == torch.float32


def test_a_database_states_its_misfit(thermal, tmp_path, capsys):
    path = tmp_path / "fit.tdb"
    arguments = ("--temperature", 900, 1300, "--elements", "Ni", "Al", "--solution", 2)
    assert export(thermal, "--as", "tdb", "--to", path, *arguments) == 0
    assert capsys.readouterr().out.startswith("misfit of f ")
    assert "fitted at 900, 1300 K" in path.read_text()
    assert "G(FCC_A1,AL,NI:VA;1)" in path.read_text()
    assert "G(FCC_A1,AL,NI:VA;2)" not in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("numpy", "a-b.py"), "must be a module's name"),
        (("torch", "m.pt"), r"must end in .pt2"),
        (("tdb", "x.tdb"), "`--elements` must be given"),
        (("table", "t.csv", "--temperature", 973, 1000), "must be left out"),
        (("table", "t.csv", "--grid", 1), "`levels` must be at least 2"),
        (("tdb", "x.tdb", "--elements", "Ni", "Al", "--range", 0.5, 0.1), "must rise"),
    ],
)
def test_bad_input_ends_with_one_message(model, arguments, message, tmp_path, capsys):
    form, name, *others = arguments
    assert export(model, "--as", form, "--to", tmp_path / name, *others) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / name).exists()


def test_models_that_do_not_go_together_are_refused(model, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    save_network(IntegrableNetwork(BCC_B2, 1000.0, SHAPE), other, data_hash="a")
    elements = ("--elements", "Ni", "Al")
    for models, message in (((model, model), "each temperature once"), ((model, other), "one cr")):
        assert export(*models, "--as", "tdb", "--to", tmp_path / "x.tdb", *elements) == 2
        assert message in capsys.readouterr().err
    assert export(model, other, "--as", "numpy", "--to", tmp_path / "x.py") == 2
    assert "takes one model at one temperature; there are 2" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["export"], ["export", "nowhere", "--as", "numpy"]])
def test_a_command_that_is_none_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_help_names_every_form_and_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["export", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("numpy", "torch", "table", "tdb", "--temperature", "--grid", "--elements"):
        assert word in text
    assert np.char.str_len(text.splitlines()).max() <= 100
