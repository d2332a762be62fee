"""Formation energies against quoted values."""

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path

from sampling.energies import EnergySet
from sampling.prototypes import names

COLUMNS = ("ordering", "formation_energy_eV_per_atom", "kind", "source", "note")


@dataclass(frozen=True)
class Comparison:
    """One quoted formation energy beside ours (eV/atom).

    Attributes:
        ordering: name, as in `L1_2 Ni3Al`.
        kind: how the quoted value was obtained: DFT, calorimetry, CALPHAD.
        source: who quotes it.
        note: a caveat, or empty.
        quoted: the quoted value.
        computed: the value of the set of energies.
    """

    ordering: str
    kind: str
    source: str
    note: str
    quoted: float
    computed: float

    @property
    def difference(self) -> float:
        """Computed − quoted."""
        return self.computed - self.quoted


def compare(energies: EnergySet, path: str | os.PathLike[str]) -> tuple[Comparison, ...]:
    """Set each row of a CSV table of quoted values beside the ordering of that name, if present.

    Raises:
        ValueError: the table lacks a column, or a value is not a finite number.
    """
    ours = dict(
        zip(
            names(energies.lattice, energies.orderings),
            map(float, energies.formation_energies),
            strict=True,
        )
    )
    with Path(path).open(newline="") as handle:
        table = csv.DictReader(handle)
        missing = set(COLUMNS) - set(table.fieldnames or ())
        if missing:
            raise ValueError(f"`{path}` must have the columns {COLUMNS}; it lacks {missing}.")
        rows = list(enumerate(table, start=2))
    return tuple(
        Comparison(
            ordering=row["ordering"],
            kind=row["kind"],
            source=row["source"],
            note=row["note"],
            quoted=_number(row["formation_energy_eV_per_atom"], f"{path}, line {line}"),
            computed=ours[row["ordering"]],
        )
        for line, row in rows
        if row["ordering"] in ours
    )


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"`formation_energy_eV_per_atom` must be finite; {where} has {text!r}.")
    return value
