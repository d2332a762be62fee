"""Fits on disk: one safetensors file, its ions as JSON in the header; nothing executes.

Needs the package safetensors, and is therefore not imported with the rest.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from idnn.checkpoint import BadModelFile
from idnn.checks import require_finite, require_shape
from idnn.files import write_atomically
from idnn.nanopore.closures import (
    FEATURES,
    Corrections,
    Learned,
    LearnedClosure,
    LearnedLocalClosure,
)
from idnn.nanopore.fitting import Fit
from idnn.nanopore.ions import Ions

FORMAT = "scalebridge-nanopore-1"

CLOSURES = {kind.__name__: kind for kind in (LearnedClosure, LearnedLocalClosure)}
FIRST = LearnedClosure.__name__
"""Of closures that can be fitted, the one whose files do not tell."""

OF_IONS = ("charge", "diffusivity", "stokes_radius", "molar_mass")


def save_fit(fit: Fit, path: Path) -> None:
    """Write a fit to a file, atomically, with its ions, units and versions."""
    header = {
        "format": FORMAT,
        "ions": fit.ions.names,
        "units": {"diffusivity": "m2/s", "stokes_radius": "m", "molar_mass": "kg/mol"},
        "versions": {name: version(name) for name in ("scalebridge", "torch")},
    }
    tensors = {"pores": fit.pores, "noise": fit.noise}
    tensors |= {f"ions.{name}": getattr(fit.ions, name) for name in OF_IONS}
    if fit.closure is not None:
        header["closure"] = type(fit.closure).__name__
        tensors |= {f"closure.{name}": w for name, w in fit.closure._asdict().items()}
    plain = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(plain, metadata={"scalebridge": json.dumps(header)}))


def load_fit(path: Path) -> Fit:
    """The fit written by `save_fit`.

    Raises:
        FileNotFoundError: there is no file.
        BadModelFile: it is truncated, of another format, or its numbers are not finite or of the
            wrong shape.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`path`: there is no file {path}; write it by `save_fit`.")
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads((stream.metadata() or {})["scalebridge"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if header["format"] != FORMAT:
            raise ValueError(f"format is {header['format']!r}, and not {FORMAT!r}")
        return _fit(tuple(header["ions"]), tensors, CLOSURES[header.get("closure", FIRST)])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadModelFile(
            f"`path`: {path} is truncated or not the file of a fit ({error}); write it anew by "
            "`save_fit`."
        ) from error


def _fit(names: tuple[str, ...], tensors: dict[str, torch.Tensor], kind: type[Learned]) -> Fit:
    for name, value in tensors.items():
        require_finite(name, value)
    pores, noise = tensors["pores"], tensors["noise"]
    require_shape("pores", pores, (None, None, 4))
    require_shape("noise", noise, (len(pores),))
    closure = None
    if "closure.first" in tensors:
        closure = kind(*(tensors[f"closure.{name}"] for name in kind._fields))
        hidden = closure.bias.shape[-1]
        require_shape("closure.first", closure.first, (len(pores), FEATURES, hidden))
        require_shape("closure.bias", closure.bias, (len(pores), hidden))
        require_shape("closure.last", closure.last, (len(pores), hidden, len(Corrections._fields)))
    return Fit(Ions(names, *(tensors[f"ions.{name}"] for name in OF_IONS)), pores, closure, noise)
