"""Labels and descriptors of crystals as CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from idnn.adsorption.learning import Table


class BadTable(ValueError):
    """A table that cannot be learned from."""


def read_labels(
    path: Path,
    *,
    targets: Sequence[str],
    beside: Sequence[str] = (),
    group: str | None = None,
    name: str = "name",
) -> Table:
    """The columns of a CSV file with a row per crystal; an empty field is an unknown value.

    Args:
        path: of the file.
        targets: columns to predict.
        beside: columns to learn beside them.
        group: a column whose equal rows are kept together; one that is empty is alone.
        name: the column of names.

    Raises:
        BadTable: the file cannot be read, a column is missing or given twice, a name is empty or
            given twice, or a field is no number.
    """
    try:
        # Spreadsheets begin files with a mark of their encoding.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"`{path}` cannot be read ({error}): give a CSV file.") from None
    if not rows:
        raise BadTable(f"`{path}` must have a row for each crystal; it has none.")
    wanted = [name, *targets, *beside, *([] if group is None else [group])]
    _require_columns(path, wanted, rows[0])
    names = tuple((row[name] or "").strip() for row in rows)
    if not all(names):
        raise BadTable(
            f"`{path}` must name every crystal; row {names.index('') + 1} has an empty `{name}`."
        )
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise BadTable(f"`{path}` must name each crystal once; it has {twice[0]} more often.")
    return Table(
        names=names,
        targets=tuple(targets),
        values=_numbers(path, rows, targets, names),
        beside=tuple(beside),
        descriptors=_numbers(path, rows, beside, names),
        groups=None if group is None else tuple(row[group] or row[name] for row in rows),
        source=path.name,
    )


def _require_columns(path: Path, wanted: Sequence[str], row: Collection[str]) -> None:
    missing = [column for column in wanted if column not in row]
    if missing:
        raise BadTable(
            f"`{path}` must have the columns {', '.join(wanted)}; {', '.join(missing)} is missing "
            f"of {', '.join(map(str, row))}."
        )
    twice = sorted({column for column in wanted if list(wanted).count(column) > 1})
    if twice:
        raise BadTable(f"Columns must be given once each; {twice[0]} is given more often.")


def _numbers(
    path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    values = np.full((len(rows), len(columns)), math.nan)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            text = (row[column] or "").strip()
            if not text:
                continue
            try:
                values[i, j] = float(text)
            except ValueError:
                raise BadTable(
                    f"`{column}` of {names[i]} in {path} must be a number or empty; it is {text!r}."
                ) from None
            if not math.isfinite(values[i, j]):
                raise BadTable(
                    f"`{column}` of {names[i]} in {path} must be finite; it is {text}: leave the "
                    "field empty where nothing is known."
                )
    return values
