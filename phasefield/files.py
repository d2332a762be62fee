"""Trajectories as Zarr groups that xarray opens: along `time`, `step` (history) and `particle`."""

import shutil
from collections.abc import Container, Mapping, Sequence
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
from phasefield.measurement import Measurement
from phasefield.quantities import (
    NAMES,
    PARTICLE_FRAME,
    PARTICLES,
    PER_FRAME,
    PER_PARTICLE,
    PER_SHELL,
    Quantity,
)

TRAJECTORY = "fields.zarr"
HISTORY = "history"
TIME_UNIT = "t0 (the unit of time of the mobilities)"
FRAME_TYPE = "float32"
"""Frames are for looking at; the checkpoint holds the last state in full precision."""

LARGEST_CHUNK = 2**24
"""Cells in one compressed piece of a frame."""

HISTORY_CHUNK = 1024
"""Steps in one compressed piece of the history."""

FRAME_CHUNK = 64
"""Frames in one compressed piece of a measured quantity."""

PARTICLE_CHUNK = 4096
"""Particles in one compressed piece of their list."""

FIXED = ("x", "y", "z", *(q.name for q in PER_SHELL))
"""Arrays that do not grow."""

RESERVED = frozenset(("x", "y", "z", "time", HISTORY, *NAMES))
"""Names no field can have."""


def create_trajectory(
    directory: Path,
    grid: Grid,
    names: Sequence[str],
    columns: Sequence[str],
    first: Measurement,
    attributes: Mapping[str, Any],
) -> None:
    """An empty trajectory, in place of any other in `directory`; `first` tells shapes."""
    path = directory / TRAJECTORY
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(store=str(path), attributes=dict(attributes))
    dimensions = len(grid.shape)
    axes = ("x", "y", "z")[:dimensions]
    for axis, n in zip(axes, grid.shape, strict=True):
        about = {"units": "nm", "long_name": f"{axis} of the cell centre"}
        centres = (np.arange(n) + 0.5) * grid.spacing
        _create(group, axis, (n,), (n,), [axis], about)[:] = centres
    _create(group, "time", (0,), (HISTORY_CHUNK,), ["time"], {"units": TIME_UNIT})
    slab = min(grid.shape[0], max(1, LARGEST_CHUNK * grid.shape[0] // grid.cells))
    for name in names:
        chunks, about = (1, slab, *grid.shape[1:]), {"units": "1", "long_name": name}
        _create(group, name, (0, *grid.shape), chunks, ["time", *axes], about, FRAME_TYPE)
    _create_measured(group, first, dimensions)
    units = [_unit(column, dimensions) for column in columns]
    about = {"quantities": list(columns), "units": units}
    shape, chunks = (0, len(columns)), (HISTORY_CHUNK, len(columns))
    _create(group, HISTORY, shape, chunks, ["step", "quantity"], about)


def append_frame(
    directory: Path,
    index: int,
    time: float,
    names: Sequence[str],
    u: Float[Tensor, "field *space"],
    measured: Measurement,
) -> None:
    """Write frame `index`, the next one, and what is measured of it."""
    group = zarr.open_group(str(directory / TRAJECTORY), mode="r+")
    for name, values in zip(names, u, strict=True):
        _extend(group, name, index, values.cpu().numpy()[None])
    for quantity in PER_FRAME:
        _extend(group, quantity.name, index, quantity.values(measured)[None])
    start = _particles_before(group, index)
    for quantity in PER_PARTICLE:
        _extend(group, quantity.name, start, quantity.values(measured))
    _extend(group, PARTICLE_FRAME, start, np.full(len(measured.particles.volume), index))
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
        group = zarr.open_group(str(path), mode="r+")
        require_measured(group)
        particles = _particles_before(group, frames)
        lengths = {HISTORY: rows, PARTICLE_FRAME: particles}
        lengths |= {quantity.name: particles for quantity in PER_PARTICLE}
        for name, array in group.arrays():
            if name not in FIXED:
                _shorten(name, array, lengths.get(name, frames))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise DamagedRun(
            f"{path} is damaged ({error}); restore it, or delete {directory} to start anew."
        ) from error


def open_trajectory(directory: Path) -> xarray.Dataset:
    """The frames of a run and what was measured of them, opened lazily.

    Dimensions are time, x[, y[, z]], field, phase, shell (of wave numbers) and particle.

    Raises:
        DamagedRun: there are none, or they cannot be read.
    """
    path = directory / TRAJECTORY
    try:
        data = xarray.open_zarr(path, consolidated=False, chunks=None)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedRun(f"{path} is missing or damaged ({error}).") from error
    labels = {"field": data.attrs.get("fields"), "phase": data.attrs.get("phases")}
    return data.assign_coords({axis: (axis, names) for axis, names in labels.items() if names})


def require_measured(arrays: Container[str]) -> None:
    """Check that a trajectory holds every measured quantity.

    Raises:
        DamagedRun: it does not.
    """
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        raise DamagedRun(
            f"{TRAJECTORY} lacks `{missing[0]}`: it was recorded by another version; "
            "start the run anew in another --output."
        )


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


def _create_measured(group: zarr.Group, first: Measurement, dimensions: int) -> None:
    for q in PER_FRAME:
        shape, about = q.values(first).shape, _about(q, dimensions)
        axes, chunks = ["time", *q.axes], (FRAME_CHUNK, *shape)
        _create(group, q.name, (0, *shape), chunks, axes, about, q.dtype)
    for q in PER_SHELL:
        values, about = q.values(first), _about(q, dimensions)
        _create(group, q.name, values.shape, values.shape, q.axes, about)[:] = values
    for q in PER_PARTICLE:
        about = _about(q, dimensions)
        _create(group, q.name, (0,), (PARTICLE_CHUNK,), ["particle"], about, q.dtype)
    about = {"units": "1", "long_name": "index of the frame it is in"}
    _create(group, PARTICLE_FRAME, (0,), (PARTICLE_CHUNK,), ["particle"], about, "int64")


def _about(quantity: Quantity, dimensions: int) -> dict[str, Any]:
    return {"units": quantity.unit(dimensions), "long_name": quantity.meaning}


def _particles_before(group: zarr.Group, frame: int) -> int:
    counts: Any = group[PARTICLES]
    return int(counts[:frame].sum())


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
        fill_value=float("nan") if dtype.startswith("float") else -1,
        attributes=attributes,
    )


def _extend(group: zarr.Group, name: str, start: int, values: np.ndarray) -> None:
    if not len(values):
        return
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
    if column in ("bulk", "gradient", "elastic", "free_energy"):
        return ("eV/nm2", "eV/nm", "eV")[dimensions - 1]
    return "1"
