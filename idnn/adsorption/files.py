"""Models of adsorption on disk: one safetensors file, its card as JSON in the header."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from idnn.adsorption.environments import Windows
from idnn.adsorption.features import FieldSettings
from idnn.adsorption.model import AdsorptionModel, Scale
from idnn.adsorption.network import AttentionNetwork, AttentionSettings
from idnn.checkpoint import BadModelFile
from idnn.checks import require_finite
from idnn.files import write_atomically

FORMAT = "scalebridge-adsorption-model-1"


def save_model(model: AdsorptionModel, path: Path) -> None:
    """Write a model to a file, atomically.

    Raises:
        CannotWrite: the disk refuses.
    """
    header = {
        "format": FORMAT,
        "targets": model.targets,
        "settings": asdict(model.settings),
        "field": None if model.field is None else model.field.entries(),
        "elements": model.elements,
        "members": len(model.members),
        "card": model.card,
    }
    tensors = {f"{kind}.{name}": value for kind, name, value in _scales(model)}
    tensors["spread"] = torch.from_numpy(model.spread)
    for n, member in enumerate(model.members):
        tensors |= {f"members.{n}.{name}": value for name, value in member.state_dict().items()}
    plain = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(plain, metadata={"scalebridge": json.dumps(header)}))


def load_model(path: Path | str) -> AdsorptionModel:
    """The model written by `save_model`; nothing in it is executed.

    Raises:
        FileNotFoundError: there is no file.
        BadModelFile: it is truncated, of another format, or its numbers are not finite or of the
            wrong shape.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`model`: there is no file {path}; `python -m idnn.adsorption train` makes one."
        )
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["scalebridge"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if header["format"] != FORMAT:
            raise ValueError(f"format is {header['format']!r}, and not {FORMAT!r}")
        for name, value in tensors.items():
            require_finite(name, value)
        return _model(header, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadModelFile(
            f"`model`: {path} is truncated or not a model of adsorption ({error}); "
            "`python -m idnn.adsorption train` makes one."
        ) from error


def _scales(model: AdsorptionModel) -> list[tuple[str, str, torch.Tensor]]:
    return [
        (kind, name, getattr(scale, name))
        for kind, scale in (("knowns", model.knowns), ("wanted", model.wanted))
        for name in ("mean", "deviation")
    ]


def _model(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> AdsorptionModel:
    windows = header["settings"]["windows"]
    settings = AttentionSettings(
        **header["settings"]
        | {"windows": Windows(**windows | {"reaches": tuple(windows["reaches"])})}
    )
    knowns, wanted = (
        Scale(tensors[f"{kind}.mean"], tensors[f"{kind}.deviation"])
        for kind in ("knowns", "wanted")
    )
    members = []
    for n in range(header["members"]):
        network = AttentionNetwork(settings, knowns=len(knowns.mean), outputs=len(wanted.mean))
        first = f"members.{n}."
        network.load_state_dict(
            {k.removeprefix(first): v for k, v in tensors.items() if k.startswith(first)}
        )
        members.append(network.eval().requires_grad_(requires_grad=False))
    targets, spread = tuple(header["targets"]), tensors["spread"].numpy().astype(np.float64)
    if spread.shape != (len(targets),):
        raise ValueError(f"there are {len(targets)} targets and spreads of {spread.shape}")
    return AdsorptionModel(
        targets=targets,
        members=tuple(members),
        settings=settings,
        field=None if header["field"] is None else FieldSettings(**header["field"]),
        knowns=knowns,
        wanted=wanted,
        spread=spread,
        elements=tuple(header["elements"]),
        card=header["card"],
    )
