"""Nested state in one safetensors file, for a stopped training to continue; nothing executes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from idnn.files import write_atomically

FORMAT = "scalebridge-training-1"


class BadCheckpoint(ValueError):
    """A file that is not a complete checkpoint of this training."""


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write dicts, lists, tuples, numbers, texts and tensors atomically.

    Raises:
        CannotWrite: the disk refuses; a former file is untouched.
    """
    from safetensors.torch import save  # training without a checkpoint runs without it

    tensors: dict[str, Tensor] = {}
    tree = {"format": FORMAT, "tree": _encoded(state, tensors)}
    write_atomically(path, save(tensors, metadata={"scalebridge": json.dumps(tree)}))


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote.

    Raises:
        BadCheckpoint: it is truncated or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["scalebridge"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if header["format"] != FORMAT:
            raise KeyError(header["format"])
        return _decoded(header["tree"], tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadCheckpoint(
            f"`checkpoint`: {path} is truncated or not a checkpoint of a training ({error}); "
            "delete it to begin anew."
        ) from error


def _encoded(value: Any, tensors: dict[str, Tensor]) -> list[Any]:  # noqa: ANN401
    """A tag and what belongs to it; tensors go to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone().contiguous()
        return ["tensor", name]
    if isinstance(value, dict):
        pairs = [[_encoded(k, tensors), _encoded(v, tensors)] for k, v in value.items()]
        return ["dict", pairs]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_encoded(v, tensors) for v in value]]
    return ["plain", value]


def _decoded(node: list[Any], tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401
    tag, value = node
    if tag == "tensor":
        return tensors[value]
    if tag == "dict":
        return {_decoded(k, tensors): _decoded(v, tensors) for k, v in value}
    if tag in ("list", "tuple"):
        items = [_decoded(v, tensors) for v in value]
        return items if tag == "list" else tuple(items)
    return value
