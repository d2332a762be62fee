"""Models and predictions as text: the card, short and in full, and the table of predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from idnn.adsorption.model import AdsorptionModel, Predictions

_ERRORS = {
    "mean_absolute_error": "MAE",
    "of_the_mean": "MAE of the mean",
    "r2": "R²",
    "within_one_sigma": "within 1σ",
    "within_two_sigma": "within 2σ",
}
_RANGE = {"lowest": "lowest label", "highest": "highest label"}


class NoCard(ValueError):
    """A model without a card."""


def errors(model: AdsorptionModel) -> str:
    """A line for each target: how far predictions of crystals that were held out are off.

    Raises:
        NoCard: the model has none.
    """
    return _errors(_card(model), _ERRORS)


def full_card(model: AdsorptionModel) -> str:
    """What the model learned from, how it was divided, its errors, settings and versions.

    Raises:
        NoCard: the model has none.
    """
    card = _card(model)
    held = card["held_out"]
    groups = "each crystal is its own" if card["groups"] is None else f"{card['groups']}, whole"
    lines = [
        ("model of", ", ".join(model.targets)),
        ("networks", str(len(model.members))),
        ("labels", f"{card['source'] or 'unnamed'} ({card['data_hash'][:16]})"),
        ("learned", f"{card['learned']} crystals"),
        ("elements", " ".join(_symbols(model.elements))),
        ("groups", groups),
        ("held out", f"{len(held)} crystals: {', '.join(held)}"),
    ]
    versions = [(name, text) for name, text in card["versions"].items()]
    parts = (
        _columns(lines),
        "errors on crystals held out, in units of the labels:\n" + _errors(card, _ERRORS | _RANGE),
        "settings:\n" + _columns(list(_flat(card["settings"]))),
        "versions:\n" + _columns(versions),
    )
    return "\n\n".join(parts)


def predictions_table(predictions: Predictions) -> str:
    """CSV: name; value and error of each target; elements that the model has not seen."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [column for t in predictions.targets for column in (t, f"{t}_stderr")]
    writer.writerow(["name", *pairs, "unseen"])
    for row, name in enumerate(predictions.names):
        both = zip(predictions.values[row], predictions.stderr[row], strict=True)
        numbers = [f"{number:.6g}" for pair in both for number in pair]
        writer.writerow([name, *numbers, " ".join(predictions.unseen[row])])
    return text.getvalue()


def _card(model: AdsorptionModel) -> Mapping[str, Any]:
    if "errors_on_held_out" not in model.card:
        raise NoCard(
            "`model` must have a card with its errors; it has none: train it by "
            "`idnn.adsorption.learning.learn`."
        )
    return model.card


def _errors(card: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    rows = [["target", *columns.values()]]
    for target, found in card["errors_on_held_out"].items():
        rows.append([target, *(f"{found[column]:.4g}" for column in columns)])
    return _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    padded = (
        [*(text.ljust(width) for text, width in zip(row[:-1], widths, strict=True)), row[-1]]
        for row in rows
    )
    return "\n".join("  ".join(row) for row in padded)


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, (list, tuple)):
            yield before + name, ", ".join(map(str, value))
        else:
            yield before + name, "none" if value is None else str(value)


def _symbols(numbers: Sequence[int]) -> list[str]:
    from pymatgen.core.periodic_table import Element

    return [Element.from_Z(z).symbol for z in numbers]
