"""Options of the command line, and the settings that they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idnn.adsorption.descriptors import NITROGEN_RADIUS
from idnn.adsorption.environments import Windows
from idnn.adsorption.features import FieldSettings
from idnn.adsorption.guests import known_guests
from idnn.adsorption.learning import ModelSettings, best_device
from idnn.adsorption.network import AttentionSettings
from idnn.adsorption.training import TrainingSettings
from idnn.files import existing

DESCRIPTION = """\
Describe porous crystals, learn what they adsorb, predict it of others:

  python -m idnn.adsorption describe CIFS --output descriptors.csv
  python -m idnn.adsorption train CIFS --labels labels.csv --target loading
  python -m idnn.adsorption card model.safetensors
  python -m idnn.adsorption predict NEW.cif --model model.safetensors
  python -m idnn.adsorption draw NEW.cif --model model.safetensors

A stopped `describe` or `train` is continued by the same command. Structures that are unfit are
listed with the reason. Bad input ends with one message on stderr and exit status 2.
"""
_SOURCE = "a CIF file, a folder, an archive (tar, zip, wheel), or packed crystals (npz)"
_MODEL = "file that `train` wrote"

Add = Callable[..., Any]


def parser() -> argparse.ArgumentParser:
    """Of all commands; the one chosen is `command`."""
    whole = argparse.ArgumentParser(
        prog="python -m idnn.adsorption",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what, fill in (
        ("describe", "densities, pores and surfaces of crystals", _describe),
        ("train", "a model from labelled crystals", _train),
        ("predict", "what a model says of crystals", _predict),
        ("card", "what a model learned from, and its errors", _card),
        ("draw", "which atoms of a crystal a prediction comes from", _draw),
    ):
        fill(
            commands.add_parser(name, help=what, description=f"Print or write {what}.").add_argument
        )
    return whole


def settings(options: argparse.Namespace) -> ModelSettings:
    """Of a model to be trained.

    Raises:
        ValueError: a number out of range, or an option that would do nothing.
    """
    training = {} if options.knowledge is None else {"knowledge": options.knowledge}
    if training and not options.beside:
        raise ValueError("`--knowledge` must come with `--beside`, of which it is the weight.")
    windows = Windows() if options.window is None else Windows(reaches=tuple(options.window))
    network = AttentionSettings(width=options.width, layers=options.layers, windows=windows)
    return ModelSettings(
        training=TrainingSettings(
            network=network,
            epochs=options.epochs,
            steps=options.steps,
            rate=options.rate,
            **training,
        ),
        members=options.members,
        held_out=options.held_out,
        field=_field(options),
        seed=options.seed,
    )


def _field(options: argparse.Namespace) -> FieldSettings | None:
    names = ("force_field", "temperature", "spacing")
    given = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
    if options.field is not None:
        return FieldSettings(guest=options.field, **given)
    if given:
        words = ", ".join(f"`--{name.replace('_', '-')}`" for name in given)
        raise ValueError(f"{words} must come with `--field`, the guest whose energies they are of.")
    return None


def _describe(add: Add) -> None:
    add("source", type=existing, help=_SOURCE)
    add("--output", type=Path, default=Path("descriptors.csv"), help="table that rows are added to")
    _with_default(add, "--spacing", 0.4, "largest distance between points of the grid (Å)")
    _with_default(add, "--probe", NITROGEN_RADIUS, "radius of the probe (Å)")
    _quiet(add)


def _train(add: Add) -> None:
    model, training, network = ModelSettings(), TrainingSettings(), AttentionSettings()
    reaches = ", ".join(f"{reach:g}" for reach in network.windows.reaches)
    add("source", type=existing, help=_SOURCE)
    add("--labels", type=existing, required=True, help="CSV file; its column `name` says of what")
    add("--target", action="append", required=True, help="column to predict; may be given often")
    add("--beside", action="append", default=[], help="column to learn beside; may be given often")
    add("--group", help="column; crystals of one value are learned or held out together")
    add("--most-atoms", type=int, help="leave out crystals with more inequivalent atoms than this")
    add("--model", type=Path, default=Path("model.safetensors"), help="file to write")
    _with_default(add, "--members", model.members, "networks")
    _with_default(add, "--held-out", model.held_out, "share of the crystals to judge it by")
    _with_default(add, "--width", network.width, "numbers that each atom carries")
    _with_default(add, "--layers", network.layers, "of attention")
    add(
        "--window",
        type=float,
        action="append",
        help=f"radius of a sphere about atoms (Å); may be given often (default {reaches})",
    )
    _with_default(add, "--epochs", training.epochs, "over all crystals, at least")
    _with_default(add, "--steps", training.steps, "of the optimiser, at least")
    _with_default(add, "--rate", training.rate, "largest step of the optimiser")
    weight = f"weight of what is learned beside the targets (default {training.knowledge})"
    add("--knowledge", type=float, help=weight)
    _add_field(add)
    _with_default(add, "--seed", model.seed, "of everything random")
    _with_default(add, "--device", best_device(), "that trains")
    add("--directory", type=Path, help="where a stopped run goes on (default: MODEL.training)")
    _quiet(add)


def _add_field(add: Add) -> None:
    field = FieldSettings()
    add("--field", choices=known_guests(), help="let the model know this guest's energies, too")
    add("--force-field", help=f"of the hosts in this field (default {field.force_field})")
    add("--temperature", type=float, help=f"of this field (K; default {field.temperature:g})")
    add("--spacing", type=float, help=f"of this field's grid (Å; default {field.spacing:g})")


def _predict(add: Add) -> None:
    add("source", type=existing, nargs="+", help=_SOURCE)
    add("--model", type=Path, required=True, help=_MODEL)
    add("--output", type=Path, default=Path("predictions.csv"), help="table to write")
    _quiet(add)


def _card(add: Add) -> None:
    add("model", type=Path, help=_MODEL)


def _draw(add: Add) -> None:
    add("source", type=existing, help="a CIF file")
    add("--model", type=Path, required=True, help=_MODEL)
    add("--target", help="column to draw; needed where the model has several")
    add("--output", type=Path, default=Path("contributions.png"), help="figure to write")


def _with_default(add: Add, name: str, default: float | str, what: str) -> None:
    add(name, type=type(default), default=default, help=f"{what} (default {default})")


def _quiet(add: Add) -> None:
    add("--quiet", action="store_true", help="no progress bar")
