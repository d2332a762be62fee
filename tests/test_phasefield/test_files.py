"""Run directories: resumed bit for bit, never half-written, never shared, never mixed up."""

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr.storage._local

from idnn.files import CannotWrite, DirectoryInUse, exclusive
from phasefield import recorder
from phasefield.checkpoints import CHECKPOINT, DamagedRun, read_checkpoint, write_checkpoint
from phasefield.expression import double_well
from phasefield.files import (
    TRAJECTORY,
    cut_trajectory,
    open_history,
    open_trajectory,
    read_frame,
)
from phasefield.grid import Grid
from phasefield.measurement import measure
from phasefield.models import GradientFlow, OrderField
from phasefield.observe import AboveThreshold, L12Variants
from phasefield.outputs import plot_run
from phasefield.quantities import NAMES
from phasefield.recorder import RunRecorder
from phasefield.run_directory import claim
from phasefield.runs import execute
from phasefield.settings import read_settings
from phasefield.solve import solve

RUN = """
seed = 5
output = "run"
site_volume = 0.01128
[grid]
shape = [{cells}, {cells}]
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
[time]
end = {end}
frames = {frames}
[phases]
threshold = 0.1
"""


@pytest.fixture
def settings(tmp_path):
    def make(cells=8, end=2.0, frames=3, **change):
        text = RUN.format(cells=cells, end=end, frames=frames)
        for old, new in change.items():
            text = text.replace(f"{old} = ", f"{old} = {new} # ", 1)
        (tmp_path / "run.toml").write_text(text)
        return read_settings(tmp_path / "run.toml")

    return make


def contents(directory: Path):
    """Every byte of the trajectory, and the tensors of the checkpoint."""
    root = directory / TRAJECTORY
    files = {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    checkpoint = read_checkpoint(directory, torch.device("cpu"))
    assert checkpoint is not None
    return files, torch.view_as_real(checkpoint.state.u_hat).numpy().tobytes()


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(settings, tmp_path):
    reference = settings(cells=32, end=110.0, frames=40).model_copy(
        update={"output": tmp_path / "reference"}
    )
    execute(reference)
    command = [sys.executable, "-m", "phasefield", str(tmp_path / "run.toml"), "--quiet"]
    generator, killed = random.Random(1), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(2):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment)
        wait_for_progress(tmp_path / "run" / CHECKPOINT, process)
        time.sleep(generator.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed == 2
    settings_again = settings(cells=32, end=110.0, frames=40)
    execute(settings_again)
    assert contents(tmp_path / "run") == contents(tmp_path / "reference")


def wait_for_progress(checkpoint, process):
    """Until the process has written a checkpoint of its own, or has ended."""
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            return
        time.sleep(0.005)


def test_a_disk_that_fills_at_any_write_loses_nothing(settings, tmp_path, monkeypatch):
    """The n-th file write fails; the same command then ends with the same bits."""
    whole = settings()
    writes = count_writes(monkeypatch, fail_at=None)
    execute(whole)
    reference, total = contents(whole.output), writes()
    assert total > 40
    for n in range(1, total, total // 9):
        monkeypatch.undo()
        count_writes(monkeypatch, fail_at=n)
        run = whole.model_copy(update={"output": tmp_path / f"full{n}"})
        with pytest.raises(CannotWrite, match="No space left on device"):
            execute(run)
        monkeypatch.undo()
        execute(run)
    assert contents(run.output) == reference


def count_writes(monkeypatch, fail_at):
    """Count the files Zarr and `write_atomically` write; let one of the writes find a full disk."""
    count = 0
    put, replace = zarr.storage._local._put, Path.replace

    def refuse_once():
        nonlocal count
        count += 1
        if count == fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def counted_put(*arguments, **options):
        refuse_once()
        return put(*arguments, **options)

    def counted_replace(self, target):
        if self.name.endswith(".tmp"):
            refuse_once()
        return replace(self, target)

    monkeypatch.setattr(zarr.storage._local, "_put", counted_put)
    monkeypatch.setattr(Path, "replace", counted_replace)
    return lambda: count


def test_a_finished_run_is_not_computed_again(settings):
    run = settings()
    first, before = execute(run), contents(run.output)
    again = execute(run)
    assert first == again
    assert contents(run.output) == before


def test_the_trajectory_opens_with_named_axes_units_and_settings(settings):
    run = settings()
    summary = execute(run)
    data = open_trajectory(run.output)
    assert data["c"].dims == ("time", "x", "y")
    assert data["x"].attrs["units"] == "nm"
    np.testing.assert_allclose(data["x"], (np.arange(8) + 0.5) * 0.5)
    np.testing.assert_allclose(data["time"], [0, 2 / 3, 4 / 3, 2])
    assert data.attrs["settings"] == summary["settings"]
    assert data.attrs["settings"]["composition"]["kappa"] == 0.2
    assert data.attrs["versions"]["scalebridge"]
    frame = read_frame(data, data.attrs["fields"], 3)
    assert frame.shape == (4, 8, 8)
    history = open_history(run.output)
    assert history["free_energy"].attrs["units"] == "eV/nm"
    assert history.sizes["step"] == summary["steps"] + 1
    assert float(data["maximum"].sel(field="c")[-1]) == pytest.approx(frame[0].max(), rel=1e-6)


def test_what_is_measured_of_a_frame_stands_beside_it(settings):
    run = settings(cells=32, end=150.0)
    summary = execute(run)
    data = open_trajectory(run.output)
    assert data["share"].dims == ("time", "phase")
    assert data["share"].sel(phase="γ′ 1").sizes == {"time": 4}
    assert data["structure_factor"].dims == ("time", "shell")
    units = {name: data[name].attrs["units"] for name in NAMES}
    assert units["interface_area"] == units["mean_radius"] == "nm"
    assert units["structure_factor"] == units["particle_volume"] == "nm2"
    assert units["wave_number"] == "nm-1"
    assert units["mode_density"] == "nm-2"
    assert units["share"] == units["particles"] == units["maximum"] == "1"
    grid = Grid((32, 32), 0.5)
    for index in range(4):
        u = torch.from_numpy(read_frame(data, data.attrs["fields"], index))
        check_frame(data.isel(time=index), index, measure(grid, u, L12Variants(0.1)))
    assert data.sizes["particle"] == int(data["particles"].sum())
    assert summary["particles"] == int(data["particles"][-1]) > 0
    for name in ("interface_area", "mean_radius", "characteristic_length"):
        assert summary[name] == float(data[name][-1])


def check_frame(frame, index, expected):
    """Frames are kept in float32, so that a cell at the threshold may change its phase."""
    np.testing.assert_allclose(frame["minimum"], expected.minima, rtol=1e-6)
    np.testing.assert_allclose(frame["maximum"], expected.maxima, rtol=1e-6)
    np.testing.assert_allclose(frame["share"], expected.shares, atol=2 / 1024)
    np.testing.assert_allclose(frame["boundary_area"], expected.boundary_areas, atol=2)
    assert float(frame["interface_area"]) == pytest.approx(expected.interface_area, abs=2)
    structure = expected.structure
    np.testing.assert_allclose(frame["wave_number"], structure.wave_number)
    np.testing.assert_allclose(frame["mode_density"], structure.mode_density)
    largest = structure.value.max()
    np.testing.assert_allclose(frame["structure_factor"], structure.value, atol=1e-4 * largest)
    ours = frame["particle_frame"] == index
    assert int(frame["particles"]) == int(ours.sum()) == len(expected.particles.volume)
    assert frame["particle_phase"][ours].values.tolist() == expected.particles.phase.tolist()
    cells = frame["particle_volume"].to_numpy()[ours] / 0.25
    np.testing.assert_allclose(cells, expected.particles.volume / 0.25, atol=2)


def test_the_history_holds_what_needs_no_transform(settings):
    run = settings()
    execute(run)
    history = open_history(run.output)
    assert list(history) == [
        "time", "dt", "bulk", "gradient", "elastic", "free_energy", "steps", "rejected",
        "evaluations", "mean_c", "mean_eta1", "mean_eta2", "mean_eta3",
    ]  # fmt: skip
    frame = read_frame(open_trajectory(run.output), ["c", "eta2"], 3)
    assert float(history["mean_c"][-1]) == pytest.approx(frame[0].mean(), rel=1e-6)
    assert float(history["mean_eta2"][-1]) == pytest.approx(frame[1].mean(), abs=1e-9)


def test_particles_beyond_the_checkpoint_are_cut_with_their_frames(settings):
    run = settings(cells=32, end=150.0, frames=6)
    execute(run)
    before = open_trajectory(run.output).load()
    cut_trajectory(run.output, 6, 5)
    after = open_trajectory(run.output).load()
    assert after.sizes["time"] == 6
    kept = (before["particle_frame"] < 6).to_numpy()
    assert 0 < kept.sum() < len(kept)
    for name in ("particle_frame", "particle_phase", "particle_volume"):
        np.testing.assert_array_equal(after[name], before[name][kept])


def test_particles_written_before_a_crash_are_written_once(settings, tmp_path, monkeypatch):
    """The last checkpoint fails, after the frame and its particles were written."""
    whole = settings(cells=32, end=150.0, frames=6)
    execute(whole)
    run = whole.model_copy(update={"output": tmp_path / "crashed"})

    def refuse_the_last(directory, checkpoint):
        if checkpoint.frames == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_checkpoint(directory, checkpoint)

    monkeypatch.setattr(recorder, "write_checkpoint", refuse_the_last)
    with pytest.raises(CannotWrite):
        execute(run)
    ahead = open_trajectory(run.output).load()
    assert (ahead["particle_frame"] == 6).any()
    monkeypatch.undo()
    execute(run)
    assert contents(run.output) == contents(whole.output)


def test_a_trajectory_without_measurements_is_refused(settings):
    run = settings()
    execute(run)
    shutil.rmtree(run.output / TRAJECTORY / "mean_radius")
    for use in (execute, lambda run: plot_run(run.output)):
        with pytest.raises(DamagedRun, match="lacks `mean_radius`: it was recorded by another"):
            use(run)


def test_a_field_named_as_a_measured_quantity_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`names` must not hold 'share', which is another array"):
        RunRecorder(tmp_path, Grid((8,), 1.0), ["share"], AboveThreshold(0.5), {})


def test_a_run_between_walls_is_recorded_and_continued(tmp_path):
    """tanh((x − 10)/2) between walls: one interface, and one particle that ends at a wall."""
    grid = Grid((20, 6), 1.0, ("no-flux", "periodic"))
    model = GradientFlow(grid, double_well(5.0, 0.3, 0.7), (OrderField("c", True, 5.0, 2.0),))
    u0 = grid.field(lambda x, y: 0.5 + 0.2 * torch.tanh((x - 10) / 2) + 0 * y)[None]

    def keep():
        return RunRecorder(tmp_path, grid, ["c"], AboveThreshold(0.5), {})

    solve(model, u0, [0.5], recorder=keep())
    solution = solve(model, u0, [0.5, 1.0], recorder=keep())
    assert solution.time == 1.0
    data = open_trajectory(tmp_path)
    np.testing.assert_allclose(data["interface_area"], [6.0] * 3, rtol=0.015)
    np.testing.assert_array_equal(data["particle_volume"], [60.0] * 3)
    np.testing.assert_array_equal(data["particle_frame"], [0, 1, 2])


def test_without_particles_or_structure_the_summary_says_none_and_figures_are_drawn(settings):
    run = settings(noise=0.0)
    run = run.model_copy(update={"order": run.order.model_copy(update={"noise": 0.0})})
    summary = execute(run)
    assert summary["characteristic_length"] is None
    assert run.output / "structure.png" in plot_run(run.output)
    assert summary["particles"] == 0
    assert summary["mean_radius"] is None
    assert summary["interface_area"] == 0


def test_the_summary_reports_conservation_decay_and_phases(settings):
    run = settings(cells=32, end=150.0)
    summary = execute(run)
    assert summary == json.loads((run.output / "summary.json").read_text())
    assert summary["mass_drift"] < 1e-15
    assert summary["energy_never_rose"] is True
    assert summary["free_energy_end"] < summary["free_energy_start"]
    assert sum(summary["phase_shares"].values()) == pytest.approx(1)
    assert 0.3 < summary["fraction_ordered"] < 0.8
    assert 1 <= summary["variants"] <= 4
    assert summary["time"] == 150.0


def test_other_settings_are_refused_naming_the_first_that_differs(settings):
    run = settings()
    execute(run)
    for name, value, key in (("seed", 6, "seed"), ("mean", 0.15, "composition.mean")):
        with pytest.raises(ValueError, match=rf"`{key}` is {value}, but the run in .* was begun"):
            execute(settings(**{name: value}))


def test_a_directory_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    (tmp_path / "notes.tmp").write_text("mine")
    with pytest.raises(ValueError, match=r"is not a run directory, and not empty"):
        claim(tmp_path, {})
    assert (tmp_path / "notes.tmp").read_text() == "mine"


def test_a_second_process_in_the_same_directory_is_refused(tmp_path):
    with (tmp_path / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with (
            pytest.raises(DirectoryInUse, match="is in use by another process"),
            exclusive(tmp_path),
        ):
            pass
    with exclusive(tmp_path):
        pass


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_checkpoint_is_refused(damage, settings):
    run = settings()
    execute(run)
    path = run.output / CHECKPOINT
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    size = {"truncate": len(content) // 2, "flip": len(content), "empty": 0}[damage]
    path.write_bytes(content[:size])
    with pytest.raises(DamagedRun, match=r"checkpoint\.safetensors is damaged"):
        execute(run)


def test_a_damaged_or_missing_frame_is_refused(settings):
    run = settings()
    execute(run)
    chunks = sorted(p for p in (run.output / TRAJECTORY / "c" / "c").rglob("*") if p.is_file())
    content = bytearray(chunks[1].read_bytes())
    content[len(content) // 2] ^= 255
    chunks[1].write_bytes(content)
    chunks[2].unlink()
    data = open_trajectory(run.output)
    read_frame(data, ["c"], 0)
    for index in (1, 2):
        with pytest.raises(DamagedRun, match=rf"Frame {index} of fields\.zarr is damaged"):
            read_frame(data, ["c"], index)


def test_a_trajectory_shorter_than_its_checkpoint_is_refused(settings):
    run = settings()
    execute(run)
    zarr.open_group(str(run.output / TRAJECTORY))["eta2"].resize((2, 8, 8))
    with pytest.raises(DamagedRun, match="`eta2` has 2 of 4 entries"):
        execute(run)
