"""Trajectories as Zarr groups that xarray opens: frames along `time`, history along `step`."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray
import zarr
from jaxtyping import Float
from torch import Tensor
from zarr.codecs import ZstdCodec

from phasefield.checkpoints import DamagedRun
from phasefield.grid import Grid

TRAJECTORY = "fields.zarr"
HISTORY = "history"
TIME_UNIT = "t0 (the unit of time of the mobilities)"
FRAME_TYPE = "float32"
"""Frames are for looking at; the checkpoint holds the last state in full precision."""

LARGEST_CHUNK = 2**24
"""Cells in one compressed piece of a frame."""

HISTORY_CHUNK = 1024
"""Steps in one compressed piece of the history."""


def create_trajectory(
    directory: Path,
    grid: Grid,
    names: Sequence[str],
    columns: Sequence[str],
    attributes: Mapping[str, Any],
) -> None:
    """An empty trajectory, in place of any other in `directory`."""
    path = directory / TRAJECTORY
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(store=str(path), attributes=dict(attributes))
    axes = ("x", "y", "z")[: len(grid.shape)]
    for axis, n in zip(axes, grid.shape, strict=True):
        about = {"units": "nm", "long_name": f"{axis} of the cell centre"}
        centres = (np.arange(n) + 0.5) * grid.spacing
        _create(group, axis, (n,), (n,), [axis], about)[:] = centres
    _create(group, "time", (0,), (HISTORY_CHUNK,), ["time"], {"units": TIME_UNIT})
    slab = min(grid.shape[0], max(1, LARGEST_CHUNK * grid.shape[0] // grid.cells))
    for name in names:
        chunks, about = (1, slab, *grid.shape[1:]), {"units": "1", "long_name": name}
        _create(group, name, (0, *grid.shape), chunks, ["time", *axes], about, FRAME_TYPE)
    units = [_unit(column, len(grid.shape)) for column in columns]
    about = {"quantities": list(columns), "units": units}
    shape, chunks = (0, len(columns)), (HISTORY_CHUNK, len(columns))
    _create(group, HISTORY, shape, chunks, ["step", "quantity"], about)


def append_frame(
    directory: Path, index: int, time: float, names: Sequence[str], u: Float[Tensor, "field *space"]
) -> None:
    """Write frame `index`, the next one."""
    group = zarr.open_group(str(directory / TRAJECTORY), mode="r+")
    for name, values in zip(names, u, strict=True):
        _extend(group, name, index, values.cpu().numpy()[None])
    _extend(group, "time", index, np.array([time]))


def append_history(directory: Path, start: int, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `rows` as the steps from `start` on."""
    if rows:
        group = zarr.open_group(str(directory / TRAJECTORY), mode="r+")
        _extend(group, HISTORY, start, np.array([list(row.values()) for row in rows], float))


def cut_trajectory(directory: Path, frames: int, rows: int) -> None:
    """Remove what lies beyond `frames` and `rows`, and half-written files.

    Raises:
        DamagedRun: there is less than that.
    """
    path = directory / TRAJECTORY
    for leftover in path.rglob("*.partial"):
        leftover.unlink()
    try:
        for name, array in zarr.open_group(str(path), mode="r+").arrays():
            if name not in ("x", "y", "z"):
                _shorten(name, array, rows if name == HISTORY else frames)
    except (OSError, KeyError, ValueError) as error:
        raise DamagedRun(
            f"{path} is damaged ({error}); restore it, or delete {directory} to start anew."
        ) from error


def open_trajectory(directory: Path) -> xarray.Dataset:
    """The frames of a run, opened lazily: dimensions time, x[, y[, z]].

    Raises:
        DamagedRun: there are none, or they cannot be read.
    """
    path = directory / TRAJECTORY
    try:
        return xarray.open_zarr(path, consolidated=False, chunks=None)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedRun(f"{path} is missing or damaged ({error}).") from error


def open_history(directory: Path) -> xarray.Dataset:
    """What was observed at every accepted step of a run, along `step`.

    Raises:
        DamagedRun: there is none, or it cannot be read.
    """
    history = open_trajectory(directory)[HISTORY]
    try:
        columns = history.to_numpy().T
    except (OSError, ValueError, RuntimeError) as error:
        raise DamagedRun(f"The history in {TRAJECTORY} is damaged ({error}).") from error
    about = zip(history.attrs["quantities"], history.attrs["units"], columns, strict=True)
    return xarray.Dataset({name: ("step", column, {"units": unit}) for name, unit, column in about})


def read_frame(
    data: xarray.Dataset, names: Sequence[str], index: int
) -> Float[np.ndarray, "field *space"]:
    """Frame `index` of a trajectory.

    Raises:
        DamagedRun: a piece of it is missing or altered.
    """
    try:
        frame = np.stack([data[name][index].to_numpy() for name in names])
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedRun(f"Frame {index} of {TRAJECTORY} is damaged ({error}).") from error
    if not np.isfinite(frame).all():
        raise DamagedRun(f"Frame {index} of {TRAJECTORY} is damaged (values are missing).")
    return frame.astype(np.float64)


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    axes: Sequence[str],
    attributes: dict[str, Any],
    dtype: str = "float64",
) -> zarr.Array:
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=axes,
        compressors=ZstdCodec(level=1, checksum=True),
        fill_value=float("nan"),
        attributes=attributes,
    )


def _extend(group: zarr.Group, name: str, start: int, values: np.ndarray) -> None:
    array: Any = group[name]
    array.resize((start + len(values), *array.shape[1:]))
    array[start:] = values


def _shorten(name: str, array: zarr.Array, length: int) -> None:
    if array.shape[0] < length:
        raise ValueError(f"`{name}` has {array.shape[0]} of {length} entries")
    array.resize((length, *array.shape[1:]))


def _unit(column: str, dimensions: int) -> str:
    if column in ("time", "dt"):
        return TIME_UNIT
    if column in ("bulk", "gradient", "free_energy"):
        return ("eV/nm2", "eV/nm", "eV")[dimensions - 1]
    return "1"
