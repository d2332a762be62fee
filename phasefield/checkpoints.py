"""Checkpoints: the state of a run in one safetensors file, replaced as a whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idnn.files import write_atomically
from phasefield.adaptive import State
from phasefield.handover import Handover
from phasefield.models import Energy

CHECKPOINT = "checkpoint.safetensors"


class DamagedRun(RuntimeError):
    """A file of the run is missing, truncated or altered."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A state and how much of the trajectory belongs to it.

    Attributes:
        state: of the run.
        frames: frames recorded.
        rows: accepted steps recorded.
        wall_s: seconds spent so far.
        arithmetic: what the bits of the results depend on besides the settings.
    """

    state: State
    frames: int
    rows: int
    wall_s: float
    arithmetic: str


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a run; the old one survives a failure."""
    state = checkpoint.state
    kept = {name: getattr(state, name) for name in _TENSORS}
    tensors = {name: _as_real(x).cpu().contiguous() for name, x in kept.items() if x is not None}
    header = {
        "state": plain(state),
        "frames": checkpoint.frames,
        "rows": checkpoint.rows,
        "wall_s": checkpoint.wall_s,
        "arithmetic": checkpoint.arithmetic,
        "tensors": {name: state.u_hat.is_complex() for name in tensors},
        "sha256": _digest(tensors),
    }
    content = save(tensors, metadata={"phasefield": json.dumps(header)})
    write_atomically(directory / CHECKPOINT, content)


def read_checkpoint(directory: Path, device: torch.device) -> Checkpoint | None:
    """The checkpoint of a run, or None if it has none yet.

    Raises:
        DamagedRun: it is truncated or altered.
    """
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["phasefield"])
            tensors = {name: stream.get_tensor(name) for name in header["tensors"]}
        if _digest(tensors) != header["sha256"]:
            raise ValueError("its checksum is wrong")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DamagedRun(
            f"{path} is damaged ({error}); restore it, or delete {directory} to start anew."
        ) from error
    return Checkpoint(
        state=_state(header, tensors, device),
        **{key: header[key] for key in ("frames", "rows", "wall_s", "arithmetic")},
    )


def plain(state: State) -> dict[str, Any]:
    """All of a state but its tensors, as JSON has it."""
    values = {f.name: getattr(state, f.name) for f in fields(State) if f.name not in _TENSORS}
    return values | {"handover": asdict(state.handover)}


def revived(values: dict[str, Any], tensors: Mapping[str, Tensor]) -> State:
    """The state of `plain` values and tensors."""
    rest: dict[str, Any] = {**values, **tensors}
    rest["energy"], rest["stabiliser"] = Energy(*values["energy"]), tuple(values["stabiliser"])
    rest["handover"] = Handover(**values["handover"])
    return State(**rest)


_TENSORS = ("u_hat", "force_hat", "u_old", "force_old")


def _as_real(x: Tensor) -> Tensor:
    return torch.view_as_real(x) if x.is_complex() else x


def _state(header: dict[str, Any], tensors: Mapping[str, Tensor], device: torch.device) -> State:
    found = {
        name: (torch.view_as_complex(x) if header["tensors"][name] else x).to(device)
        for name, x in tensors.items()
    }
    return revived(header["state"], found)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()
