"""Which crystals a model can take, which rows of a table have one, and why the others have not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from idnn.adsorption.cif import Library
from idnn.adsorption.elements import require_known
from idnn.adsorption.features import FieldSettings, parameters
from idnn.adsorption.forcefield import require_atoms
from idnn.adsorption.learning import ModelSettings, Table
from idnn.adsorption.structures import Crystal
from idnn.adsorption.symmetry import equivalent


@dataclass(frozen=True, eq=False)
class Matched:
    """Rows of a table that have a crystal and a target.

    Attributes:
        crystals: by name, those of the rows.
        table: the rows.
        left_out: by name, why the other rows are not among them.
    """

    crystals: dict[str, Crystal]
    table: Table
    left_out: dict[str, str]


def suited(library: Library, field: FieldSettings | None) -> Library:
    """The crystals whose elements a network knows and, if there is a field, its force field."""
    crystals: dict[str, Crystal] = {}
    refused = dict(library.refused)
    for name, crystal in library.crystals.items():
        try:
            _require_elements(crystal, field)
        except ValueError as error:
            refused[name] = str(error)
        else:
            crystals[name] = crystal
    return Library(crystals, refused)


def small(library: Library, most: int) -> Library:
    """The crystals that have so many atoms that symmetry does not make equal, or fewer."""
    crystals: dict[str, Crystal] = {}
    refused = dict(library.refused)
    for name, crystal in library.crystals.items():
        count = len(np.unique(equivalent(crystal)))
        if count > most:
            refused[name] = f"`{name}` has {count} inequivalent atoms, more than {most}."
        else:
            crystals[name] = crystal
    return Library(crystals, refused)


def matched(table: Table, library: Library) -> Matched:
    """The rows that can be learned from."""
    left_out: dict[str, str] = {}
    for name, values in zip(table.names, table.values, strict=True):
        if name not in library.crystals:
            left_out[name] = library.refused.get(name, f"`{name}` is not among the structures.")
        elif np.isnan(values).all():
            left_out[name] = f"`{name}` has no value of {', '.join(table.targets)}."
    kept = [row for row, name in enumerate(table.names) if name not in left_out]
    groups = None if table.groups is None else tuple(table.groups[row] for row in kept)
    rows = replace(
        table,
        names=tuple(table.names[row] for row in kept),
        values=table.values[kept],
        descriptors=table.descriptors[kept],
        groups=groups,
    )
    return Matched({name: library.crystals[name] for name in rows.names}, rows, left_out)


def fingerprint(crystals: Mapping[str, Crystal], table: Table, settings: ModelSettings) -> str:
    """A short name of all that a training depends on: what it learns from, and how."""
    entries = asdict(table) | {"settings": asdict(settings)}
    content = hashlib.sha256(json.dumps(entries, default=np.ndarray.tolist).encode())
    for name in table.names:
        crystal = crystals[name]
        for part in (crystal.lattice, crystal.fractional, crystal.numbers.astype(float)):
            content.update(part.tobytes())
    return content.hexdigest()[:16]


def _require_elements(crystal: Crystal, field: FieldSettings | None) -> None:
    require_known(crystal)
    if field is not None:
        require_atoms(parameters(field.guest, field.force_field)[1], crystal)
