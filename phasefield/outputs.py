"""Pictures and exports of a run directory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray

from phasefield.animation import animate, require_video, write_video
from phasefield.files import open_history, open_trajectory, read_frame, require_measured
from phasefield.observe import AboveThreshold, L12Variants, PhaseMap
from phasefield.plotting import plot_history, plot_microstructure
from phasefield.run_directory import read_run_settings
from phasefield.structure_plot import plot_structure
from phasefield.vtk import CellArray, write_collection, write_image

MICROSTRUCTURE = "microstructure.png"
HISTORY = "history.png"
STRUCTURE = "structure.png"
ANIMATION = "animation.gif"
VIDEO = "animation.mp4"


def plot_run(directory: Path, *, video: bool = False) -> list[Path]:
    """Write the figures and the animation of a run; returns their paths.

    Args:
        directory: of the run.
        video: write an MP4 besides.

    Raises:
        FileNotFoundError: `directory` is not a run directory.
        DamagedRun: its trajectory cannot be read.
        MissingPackage: a video is wanted, and imageio-ffmpeg is not installed.
    """
    if video:
        require_video()
    settings = read_run_settings(directory)
    data, names, phases = _open(directory)
    require_measured(data)
    spacing = settings["grid"]["spacing"]
    frames = list(_frames(data, names, phases))
    time, fields, phase = frames[-1]
    title = f"t = {time:.4g} t₀"
    written = [directory / name for name in (MICROSTRUCTURE, HISTORY, STRUCTURE, ANIMATION)]
    plot_microstructure(fields, phase, names, phases.labels, spacing, title, written[0])
    plot_history(open_history(directory), data, written[1])
    plot_structure(data, names, written[2])
    pictures = [(time, fields[0], phase) for time, fields, phase in frames]
    length = spacing * fields.shape[1]
    animate(pictures, names[0], length, written[3])
    if video:
        written.append(directory / VIDEO)
        write_video(pictures, names[0], length, written[4])
    return written


def export_run(directory: Path, target: Path) -> Path:
    """Write every frame as VTK image data into `target`; returns the collection file.

    Raises:
        FileNotFoundError: `directory` is not a run directory.
        DamagedRun: its trajectory cannot be read.
    """
    spacing = read_run_settings(directory)["grid"]["spacing"]
    data, names, phases = _open(directory)
    meaning = ", ".join(f"{i}: {label}" for i, label in enumerate(phases.labels))
    about = f"lengths in nm, time in {data['time'].attrs['units']}"
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for index, (time, fields, phase) in enumerate(_frames(data, names, phases)):
        name = f"frame_{index:05d}.vti"
        arrays = [
            CellArray(field, values.astype(np.float32), str(data[field].attrs["units"]))
            for field, values in zip(names, fields, strict=True)
        ]
        arrays.append(CellArray("phase", phase.astype(np.uint8), meaning=meaning))
        write_image(target / name, spacing, arrays, time=time, about=about)
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
