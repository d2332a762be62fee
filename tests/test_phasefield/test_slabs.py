"""Grids in slabs: two and four processes against one, on one machine by gloo."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slabs
import torch

from phasefield.__main__ import main
from phasefield.checkpoints import read_checkpoint
from phasefield.files import open_history, open_trajectory, read_frame
from phasefield.team import ALONE, shares

ROOT = Path(__file__).parents[2]
RUN = """
seed = 5
output = "run"
device = "cpu"
site_volume = 0.01128
[grid]
shape = [15, 14]
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
[[nucleus]]
centre = [5.5, 3.0]
radius = 1.5
values = [0.22, 0.2, 0.2, 0.2]
[time]
end = 2.0
frames = 4
[phases]
threshold = 0.1
"""
ROUNDING = dict(rtol=1e-13, atol=1e-12)
"""Fields are of order one; other orders of summation change their last bits."""


def torchrun(size, *arguments):
    """The finished `torchrun`; a free port is its own choice."""
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback(),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", *command, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def loopback():
    return "lo" if sys.platform == "linux" else "lo0"


def run_file(directory):
    directory.mkdir()
    path = directory / "run.toml"
    path.write_text(RUN)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("slabs")


@pytest.fixture(scope="module")
def alone():
    return slabs.everything(ALONE)


@pytest.fixture(scope="module")
def once(place):
    """The run directory of one process."""
    path = run_file(place / "once")
    assert main([str(path), "--quiet"]) == 0
    return path.parent / "run"


@pytest.fixture(scope="module")
def teams(place):
    """What two and four processes find; two begin a run, four continue a copy of it."""
    found = {}
    for size in (2, 4):
        if size == 2:
            path = run_file(place / "2")
        else:
            shutil.copytree(place / "2", place / "4")
            path = place / "4" / "run.toml"
        out = place / f"{size}.npz"
        done = torchrun(size, "tests/slabs.py", str(out), str(path))
        assert out.exists(), done.stderr
        found[size] = dict(np.load(out)) | {"end": (done.returncode, done.stderr)}
        if size == 2:
            shutil.copytree(place / "2", place / "1")
    return found


def compare(team, alone, names):
    assert names
    for name in names:
        np.testing.assert_allclose(team[name], alone[name], **ROUNDING, err_msg=name)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("case", range(len(slabs.GRIDS)))
def test_a_team_transforms_and_sums_as_one_process_does(size, case, teams, alone):
    team = teams[size]
    compare(team, alone, [name for name in alone if name.startswith(f"grid{case}.")])
    assert team[f"grid{case}.squares"] == pytest.approx(
        np.square(team[f"grid{case}.u"]).sum(), rel=1e-14
    )


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ["wells", "coupled", "fine", "strained"])
def test_a_team_starts_and_ends_a_run_as_one_process_does(size, name, teams, alone):
    compare(teams[size], alone, [f"{name}.start", f"{name}.end", f"{name}.row"])
    assert np.ptp(alone[f"{name}.end"]) > 0.1


@pytest.mark.parametrize("size", [1, 4])
def test_a_run_that_two_processes_began_is_continued_by_any_number(
    size, teams, once, place, caplog
):
    directory = place / str(size) / "run"
    if size == 1:
        assert open_trajectory(directory).sizes["time"] < 5
        assert main([str(place / "1" / "run.toml"), "--quiet"]) == 0
        assert "in 2 processes" in caplog.text
    assert [int(teams[n]["stopped"]) for n in (2, 4)] == [2, 0]
    same_run(directory, once)


def same_run(directory, other):
    states = [read_checkpoint(each, torch.device("cpu")) for each in (directory, other)]
    ours, theirs = (checkpoint.state for checkpoint in states if checkpoint)
    assert (ours.time, ours.steps, ours.dt) == (theirs.time, theirs.steps, theirs.dt)
    torch.testing.assert_close(ours.u_hat, theirs.u_hat, rtol=0, atol=1e-11)
    names = ["c", "eta1", "eta2", "eta3"]
    frames = [read_frame(open_trajectory(each), names, 4) for each in (directory, other)]
    np.testing.assert_allclose(*frames, rtol=0, atol=1e-7)  # frames are float32
    for name, column in open_history(other).items():
        np.testing.assert_allclose(open_history(directory)[name], column, rtol=1e-11, atol=1e-12)


def test_torchrun_starts_the_command_line(place, once):
    path = run_file(place / "command")
    done = torchrun(2, "-m", "phasefield", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("t = 2 after") == 1
    directory = path.parent / "run"
    same_run(directory, once)
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["energy_never_rose"]
    assert summary["mass_drift"] < 1e-14
    assert (directory / "animation.gif").exists()


def test_a_process_that_fails_ends_all_with_one_message(teams):
    status, error = teams[2]["end"]
    assert status != 0
    assert error.count("error: ") == 1
    assert "error: lost on the second\n" in error
    assert teams[4]["end"][0] == 0, teams[4]["end"][1]


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("line", "ValueError: `team` must be one process where the grid has one axis; it has {}"),
        ("planes", "64 of cells along x and 3 of modes along y; it has 9. Start at most 3."),
        ("last", "ValueError: the last one has no file"),
        ("outside", "ValueError: `initial` must keep every sublattice fraction in [0, 1]: "),
        ("domain", "not finite: c from -0.3 to 0.5; worst, cell (6, 3) holds (-0.2). Keep"),
        ("shape", "`u0` must have shape (1, {}, 8); it has (1, 8, 8)."),
        ("nan", "[nan, inf]"),
    ],
)
def test_every_process_says_the_same_where_one_refuses(size, case, message, teams):
    number = 8 // size if case == "shape" else size
    assert message.format(number) in str(teams[size][case])


def test_the_number_of_bad_cells_is_that_of_the_whole_grid(teams):
    said = {str(teams[size]["outside"]) for size in (2, 4)}
    assert len(said) == 1
    assert "of 210 cells" in said.pop()


@pytest.mark.parametrize(("n", "size", "dealt"), [(9, 4, [3, 2, 2, 2]), (4, 4, [1] * 4)])
def test_planes_are_dealt_out_evenly(n, size, dealt):
    assert shares(n, size) == dealt
