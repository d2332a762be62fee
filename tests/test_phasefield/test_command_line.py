"""The command line: a run and its files, bad input, the example script, who imports whom."""

import ast
import json
import re
import runpy
import struct
import sys
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from phasefield.__main__ import main
from phasefield.animation import GIF_LIMIT
from phasefield.files import open_trajectory, read_frame
from phasefield.runs import execute
from phasefield.settings import read_settings

ROOT = Path(__file__).parents[2]
RUN = """
seed = 5
output = "run"
site_volume = 0.01128
[grid]
shape = [40, 36]
spacing = 0.5
[energy]
kind = "bragg_williams"
temperature = 1000.0
composition_interaction = 0.35
order_interaction = -0.35
[composition]
mean = 0.16
noise = 0.01
kappa = 0.2
[order]
noise = 0.01
kappa = 0.2
[nuclei]
count = 4
radius = 2.0
composition = 0.22
order = 0.2
[time]
end = 5.0
frames = 3
[phases]
threshold = 0.1
"""
HEAVY = {
    "zarr": {"files"},
    "numba": {"kernels"},
    "sympy": {
        "barrier",
        "expression",
        "formula",
        "ordered_fcc",
        "phases",
        "piecewise",
        "symbolic",
        "translation",
    },
    "symengine": {"database", "sublattices", "translation"},
    "xarray": {"files", "outputs", "plotting", "runs", "structure_plot"},
    "pydantic": {"settings"},
    "matplotlib": {"animation", "particle_plot", "plotting", "structure_plot"},
    "PIL": {"animation"},
    "scipy": {"flat_interface", "particle_plot", "particles"},
    "tqdm": {"__main__"},
    "pycalphad": {"database", "mobility", "phases", "sublattices"},
}


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def test_a_bad_model_is_named_before_any_progress_is_shown(run, capsys):
    model = run.parent / "model.safetensors"
    model.write_bytes(b"not a model")
    four = 'bragg_williams"\ntemperature = 1000.0\ncomposition_interaction = 0.35\n'
    learned = RUN.replace(four + "order_interaction = -0.35", 'learned"')
    run.write_text(learned)
    assert main([str(run), "--model", str(model)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `model`: ")
    assert error.count("\n") == 1


def test_a_run_leaves_its_summary_figures_and_animation(run, capsys):
    assert main([str(run)]) == 0
    directory = run.parent / "run"
    printed = capsys.readouterr().out.splitlines()
    assert [Path(line) for line in printed[1:]] == [
        directory / name
        for name in (
            "summary.json",
            "microstructure.png",
            "history.png",
            "structure.png",
            "animation.gif",
        )
    ]
    assert json.loads((directory / "summary.json").read_text())["variants"] == 4
    for name in ("microstructure.png", "history.png", "structure.png"):
        with Image.open(directory / name) as picture:
            assert picture.width > 1000
    with Image.open(directory / "animation.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 4
    assert (directory / "animation.gif").stat().st_size < GIF_LIMIT
    assert main(["plot", str(directory)]) == 0


def test_a_video_shows_every_frame_and_the_last_for_two_seconds(run):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    assert main([str(run), "--quiet"]) == 0
    directory = run.parent / "run"
    assert main(["plot", str(directory), "--mp4"]) == 0
    count, seconds = ffmpeg.count_frames_and_secs(str(directory / "animation.mp4"))
    assert count == 4 + 16
    assert seconds == pytest.approx(2.5, abs=0.05)
    assert list(directory.glob("*.tmp")) == []


def test_a_video_without_its_package_is_refused_before_anything_is_drawn(run, capsys, monkeypatch):
    assert main([str(run), "--quiet"]) == 0
    (run.parent / "run" / "history.png").unlink()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert main(["plot", str(run.parent / "run"), "--mp4"]) == 2
    assert "pip install 'scalebridge[video]'" in capsys.readouterr().err
    assert not (run.parent / "run" / "history.png").exists()


def test_the_bar_shows_time_energy_step_and_what_is_left(run, capsys):
    assert main([str(run)]) == 0
    shown = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"t = 5 100%\|.*ETA 00:00, F -\S+, step \S+", shown)


@pytest.mark.parametrize(("shape", "frames"), [("[40]", 1), ("[12, 8, 10]", 2)])
def test_runs_of_every_dimension_are_drawn(shape, frames, run):
    text = RUN.replace("[40, 36]", shape).replace("frames = 3", f"frames = {frames}")
    run.write_text(re.sub(r"(?s)\[nuclei\].*(?=\[time\])", "", text))
    assert main([str(run), "--quiet"]) == 0
    assert (run.parent / "run" / "structure.png").exists()


def test_a_run_that_was_stopped_after_its_first_frame_can_be_drawn(run):
    settings = read_settings(run)
    with pytest.raises(KeyboardInterrupt):
        execute(settings, [interrupt])
    assert main(["plot", str(settings.output)]) == 0


def interrupt(_):
    raise KeyboardInterrupt


def test_an_export_holds_the_fields_with_x_running_fastest(run):
    assert main([str(run), "--quiet"]) == 0
    assert main(["export", str(run.parent / "run")]) == 0
    target = run.parent / "run" / "vtk"
    listed = ElementTree.parse(target / "frames.pvd").getroot().findall(".//DataSet")
    assert [float(entry.get("timestep", "nan")) for entry in listed][-1] == 5.0
    image = ElementTree.parse(target / str(listed[-1].get("file"))).getroot()
    piece = image.find(".//Piece")
    assert piece is not None
    assert piece.get("Extent") == "0 40 0 36 0 1"
    array = image.find(".//DataArray[@Name='eta2']")
    assert array is not None
    assert array.findtext("InformationKey[@name='UNITS_LABEL']") == "1"
    moment = image.findtext(".//FieldData/DataArray[@Name='TimeValue']")
    assert struct.unpack("<Qd", b64decode(str(moment))) == (8, 5.0)
    phase = image.find(".//DataArray[@Name='phase']")
    assert phase is not None
    assert phase.get("type") == "UInt8"
    assert set(b64decode(str(phase.text))[8:]) == {0, 1, 2, 3, 4}
    raw = b64decode(str(array.text))
    assert struct.unpack("<Q", raw[:8]) == (40 * 36 * 4,)
    values = np.frombuffer(raw[8:], "<f4").reshape(36, 40).T
    data = open_trajectory(run.parent / "run")
    np.testing.assert_array_equal(values, read_frame(data, ["eta2"], 3)[0])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mean = 0.16", "mean = 0.01", "`initial` must keep every sublattice fraction in [0, 1]"),
        ("noise = 0.01", "niose = 0.01", "did you mean `noise`?"),
        ("count = 4", "count = 50", "nuclei 6 nm apart do not fit"),
        ('kind = "bragg', 'kind = "learned"\nmodel = "no.safetensors" # ', "there is no file"),
        ("seed = 5", 'seed = 5\ndevice = "cuda"', 'device` is "cuda", but torch sees no GPU'),
    ],
)
def test_bad_input_ends_with_one_message_and_status_2(old, new, message, run, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = RUN.replace(old, new, 1)
    if "learned" in new:
        text = "\n".join(line for line in text.splitlines() if "interaction" not in line)
        text = text.replace("temperature = 1000.0\n", "")
    run.write_text(text)
    assert main([str(run), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    with pytest.raises((ValueError, OSError)):
        main([str(run), "--quiet", "--debug"])


def test_a_folder_that_is_no_run_cannot_be_plotted(tmp_path, capsys):
    assert main(["plot", str(tmp_path)]) == 2
    assert "is not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["plot"], ["export"]])
def test_help_is_complete(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "--debug" in capsys.readouterr().out


def test_the_example_script_runs(tmp_path, monkeypatch, capsys):
    script = ROOT / "examples" / "spinodal.py"
    assert len(script.read_text().splitlines()) <= 25
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert "t = 100 " in capsys.readouterr().out


def test_modules_import_neither_sampling_nor_heavy_packages_they_do_not_need():
    for path in (ROOT / "phasefield").glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        roots = {name.split(".")[0] for name in names}
        assert not roots & {"sampling", "icet", "pymatgen"}, path
        for package, allowed in HEAVY.items():
            assert package not in roots or path.stem in allowed, f"{path} imports {package}"
