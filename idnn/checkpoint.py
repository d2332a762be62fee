"""Models on disk: one safetensors file, its settings as JSON in the header; nothing executes."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idnn.checks import require_shape
from idnn.files import write_atomically
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import system_from
from idnn.thermal import ThermalNetwork

FORMAT = "scalebridge-free-energy-2"

HEADER_KEYS = {"format", "system", "temperature_K", "settings", "members", "data_hash"}
"""What every header must have."""


class BadModelFile(ValueError):
    """A file that is not a complete model of this project."""


def save_network(
    network: IntegrableNetwork | ThermalNetwork,
    path: Path,
    *,
    data_hash: str,
    notes: dict[str, Any] | None = None,
) -> None:
    """Write `network` to `path` atomically, with its settings, units, data hash and versions.

    The header's `temperature_K` says which it is: a number, or the two ends of a range.
    """
    kelvin = network.temperatures if isinstance(network, ThermalNetwork) else network.temperature
    header = {
        "format": FORMAT,
        "system": network.system.entries(),
        "temperature_K": kelvin,
        "units": "eV/site",
        "settings": asdict(network.settings),
        "members": network.members,
        "data_hash": data_hash,
        "versions": {name: version(name) for name in ("scalebridge", "torch")},
        "notes": notes or {},
    }
    tensors = {name: p.detach().contiguous() for name, p in network.named_parameters()}
    write_atomically(path, save(tensors, metadata={"scalebridge": json.dumps(header)}))


def read_header(path: Path) -> dict[str, Any]:
    """Settings, units, data hash and versions of the model at `path`.

    Raises:
        FileNotFoundError: when there is no file.
        BadModelFile: when it is truncated or not a model of this project.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"`model`: there is no file {path}; run the campaign that makes it."
        )
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["scalebridge"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadModelFile(
            f"`model`: {path} is truncated or not a scalebridge model ({error}); "
            "run the campaign again, which writes it anew."
        ) from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        raise BadModelFile(
            f"`model`: {path} has format {found!r}; this version reads {FORMAT!r}. "
            "Run the campaign again, which writes it anew."
        )
    missing = sorted(HEADER_KEYS - header.keys())
    if missing:
        raise BadModelFile(f"`model`: the header of {path} lacks {missing}.")
    return header


def load(path: Path | str) -> IntegrableNetwork:
    """The network of one temperature written by `save_network`; a `FreeEnergy` in eV/site.

    Raises:
        FileNotFoundError: when there is no file.
        BadModelFile: as `load_network`, and when it is a network of a range of temperatures.
    """
    network = load_network(path)
    if isinstance(network, ThermalNetwork):
        low, high = network.temperatures
        raise BadModelFile(
            f"`model`: {path} holds all temperatures from {low:g} to {high:g} K; one is wanted. "
            "Take `load_network(path).at(temperature)`."
        )
    return network


def load_network(path: Path | str) -> IntegrableNetwork | ThermalNetwork:
    """The network written by `save_network`, of one temperature or of a range.

    Raises:
        FileNotFoundError: when there is no file.
        BadModelFile: when it is truncated, of another format, its system is refused, or its
            weights are not finite or not those that its header describes.
    """
    path = Path(path)
    header = read_header(path)
    with safe_open(path, framework="pt") as stream:
        state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    bad = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise BadModelFile(f"`model`: {path} holds weights that are not finite: {bad}.")
    try:
        network = _described_by(header, state)
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadModelFile(f"`model`: {path} does not match its own header: {error}") from error
    return network.requires_grad_(False)


def _described_by(
    header: dict[str, Any], state: dict[str, Tensor]
) -> IntegrableNetwork | ThermalNetwork:
    """An untrained network of the header's shape, built only once the weights have that shape."""
    system = system_from(header["system"])
    settings = NetworkSettings(**header["settings"] | {"widths": (*header["settings"]["widths"],)})
    kelvin = header["temperature_K"]
    thermal = isinstance(kelvin, list)
    sizes = [system.invariants.count + thermal, *settings.widths, 1]
    for i, shape in enumerate(pairwise(sizes)):
        require_shape(f"weights.{i}", state[f"weights.{i}"], (header["members"], *shape))
    seeds = range(header["members"])
    if thermal:
        low, high = kelvin
        return ThermalNetwork(system, (low, high), settings, seeds=seeds)
    return IntegrableNetwork(system, kelvin, settings, seeds=seeds)
