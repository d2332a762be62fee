"""Descriptors of many crystals as a CSV file that grows row by row and survives a kill."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from idnn.adsorption.clearance import atomic_radii
from idnn.adsorption.descriptors import describe
from idnn.adsorption.structures import Crystal
from idnn.adsorption.tables import BadTable
from idnn.files import CannotWrite, write_atomically

NUMBERS = (
    *("density", "void_fraction", "helium_fraction", "channel_fraction", "pocket_fraction"),
    *("surface_per_gram", "surface_per_volume", "pocket_surface_per_gram"),
    *("largest_cavity", "pore_limiting", "dimension"),
)
SETTINGS = ("probe_radius", "spacing")
COLUMNS = ("name", *NUMBERS, *SETTINGS)
"""Units are those of `idnn.adsorption.descriptors.Descriptors`."""


def describe_all(
    crystals: Mapping[str, Crystal],
    path: Path,
    *,
    probe_radius: float,
    spacing: float,
    observe: Callable[[int], None] | None = None,
) -> dict[str, str]:
    """Add a row for each crystal that has none in the file; returns why some cannot have one.

    Args:
        crystals: by name.
        path: of the file, which a stopped run left or does not exist yet.
        probe_radius: Å.
        spacing: of the grid (Å).
        observe: told the number of crystals done.

    Raises:
        BadTable: the file holds something else, or rows of another probe or spacing.
        CannotWrite: the disk refuses.
        ValueError: a radius or spacing out of range.
    """
    done = _begun(path, [_text(probe_radius), _text(spacing)])
    refused: dict[str, str] = {}
    for count, (name, crystal) in enumerate(crystals.items(), 1):
        if name not in done:
            try:
                atomic_radii(crystal)
            except ValueError as error:
                refused[name] = str(error)
            else:
                found = describe(crystal, probe_radius=probe_radius, spacing=spacing)
                _append(path, [name, *(_text(getattr(found, c)) for c in COLUMNS[1:])])
        if observe is not None:
            observe(count)
    return refused


def _begun(path: Path, settings: list[str]) -> set[str]:
    """Names in the file, made if there is none, its incomplete last line dropped."""
    header = _line(COLUMNS)
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and header.encode().startswith(content):
        write_atomically(path, header)
        return set()
    rows = list(csv.reader(io.StringIO(whole.decode("utf-8", "replace"), newline="")))
    if not rows or rows[0] != list(COLUMNS):
        raise BadTable(
            f"`{path}` must have the columns {', '.join(COLUMNS)} to be continued; it has others: "
            "choose another file."
        )
    for row in rows[1:]:
        if len(row) != len(COLUMNS) or row[-2:] != settings:
            raise BadTable(
                f"`{path}` must hold rows of {', '.join(SETTINGS)} {', '.join(settings)} alone; "
                f"one is {', '.join(row)}: choose another file, or its settings."
            )
    if whole != content:
        write_atomically(path, whole.decode())
    return {row[0] for row in rows[1:]}


def _append(path: Path, row: list[str]) -> None:
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line(row))
    except OSError as error:
        raise CannotWrite(
            f"Cannot write {path} ({error.strerror}): free some space and run the same command "
            "again."
        ) from error


def _line(fields: tuple[str, ...] | list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()


def _text(number: float) -> str:
    return f"{number:.8g}"
