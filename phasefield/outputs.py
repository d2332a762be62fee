"""Pictures and exports of a run directory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray

from phasefield.files import open_history, open_trajectory, read_frame
from phasefield.observe import AboveThreshold, L12Variants, PhaseMap
from phasefield.plotting import animate, plot_history, plot_microstructure
from phasefield.run_directory import read_run_settings
from phasefield.vtk import write_collection, write_image

MICROSTRUCTURE = "microstructure.png"
HISTORY = "history.png"
ANIMATION = "animation.gif"


def plot_run(directory: Path) -> list[Path]:
    """Write the figures and the animation of a run; returns their paths.

    Raises:
        FileNotFoundError: `directory` is not a run directory.
        DamagedRun: its trajectory cannot be read.
    """
    settings = read_run_settings(directory)
    data, names, phases = _open(directory)
    spacing = settings["grid"]["spacing"]
    frames = list(_frames(data, names, phases))
    time, fields, phase = frames[-1]
    paths = [directory / name for name in (MICROSTRUCTURE, HISTORY, ANIMATION)]
    title = f"t = {time:.4g} t₀"
    plot_microstructure(fields, phase, phases.labels, spacing, title, paths[0])
    plot_history(open_history(directory), names, phases.labels, paths[1])
    animate(
        [(time, fields[0], phase) for time, fields, phase in frames],
        spacing * fields.shape[1],
        paths[2],
    )
    return paths


def export_run(directory: Path, target: Path) -> Path:
    """Write every frame as VTK image data into `target`; returns the collection file.

    Raises:
        FileNotFoundError: `directory` is not a run directory.
        DamagedRun: its trajectory cannot be read.
    """
    spacing = read_run_settings(directory)["grid"]["spacing"]
    data, names, phases = _open(directory)
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for index, (time, fields, phase) in enumerate(_frames(data, names, phases)):
        name = f"frame_{index:05d}.vti"
        arrays = dict(zip(names, fields, strict=True)) | {"phase": phase}
        write_image(target / name, spacing, arrays)
        files.append((time, name))
    write_collection(target / "frames.pvd", files)
    return target / "frames.pvd"


def _open(directory: Path) -> tuple[xarray.Dataset, list[str], PhaseMap]:
    settings = read_run_settings(directory)
    data = open_trajectory(directory)
    threshold = settings["phases"]["threshold"]
    names = [str(name) for name in data.attrs["fields"]]
    return data, names, L12Variants(threshold) if len(names) == 4 else AboveThreshold(threshold)


def _frames(
    data: xarray.Dataset, names: list[str], phases: PhaseMap
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    for index, time in enumerate(data["time"].to_numpy()):
        fields = read_frame(data, names, index)
        yield float(time), fields, phases(torch.from_numpy(fields)).numpy()
