"""One table of methane in crystals: labels of grand-canonical Monte Carlo beside descriptors.

    python examples/benchmarks/adsorption_table.py LABELS.csv DESCRIPTORS.csv [--output methane.csv]

Labels are the table of `python -m sampling.adsorption`, with a row for each crystal and pressure;
descriptors that of `python -m idnn.adsorption describe`. Of each crystal are kept the decadic
logarithm of the Henry coefficient in mol/(kg Pa), the heat of adsorption in the dilute limit in
kJ/mol, loadings at 5.8 and 65 bar in mol/kg, and their standard errors. What is not finite is left
empty; so is a loading below zero, and so are logarithm and heat of a crystal that methane does not
enter: where Henry's coefficient is below 10⁻⁸ mol/(kg Pa), less than 0.07 mol/kg at 65 bar, they
say no more than how much atoms overlap.

`family` is for splits that hold out what is alike: a zeolite's topology, a COF's paper (year and
number of the paper begin the names of CURATED COFs, Ongari et al. 2019,
doi:10.1021/acscentsci.9b00619), and frameworks of one net and linker chemistry among MOFs.
"""

import argparse
import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from idnn.files import existing, write_atomically

PRESSURES = {"uptake_5.8bar": 5.8e5, "uptake_65bar": 6.5e6}
"""Pa."""

CLOSED = 1e-8
"""mol/(kg Pa)."""

TARGETS = ("log10_henry", "heat", *PRESSURES)
DESCRIPTORS = (
    *("density", "void_fraction", "helium_fraction", "channel_fraction", "pocket_fraction"),
    *("surface_per_gram", "surface_per_volume", "pocket_surface_per_gram"),
    *("largest_cavity", "pore_limiting", "dimension"),
)
COLUMNS = (
    *("name", "family"),
    *(column for target in TARGETS for column in (target, f"{target}_stderr")),
    *DESCRIPTORS,
)

MOFS = {
    "IRMOF": ("IRMOF",),
    "MOF-74": ("Co-DOBDC", "Mg-DOBDC", "Ni-DOBDC", "Zn-DOBDC", "MgMOF-74", "ZnMOF-74", "CPO-27"),
    "MIL-53": ("MIL-53", "MIL-47"),
    "MIL-88": ("MIL-88",),
    "MIL-140": ("MIL-140",),
    "CoBDP": ("CoBDP",),
    "DMOF": ("ZnBDC", "ZnHBDC", "MOF-1-Dybtsev"),
    "MOF-205": ("MOF-205", "UMCM-1"),
    "MOF-69": ("MOF-69", "MOF-72"),
    "ZIF-GME": ("ZIF-68", "ZIF-69", "ZIF-80"),
    "ZIF-SOD": ("ZIF-7", "ZIF-8", "ZIF-9", "ZIF-90"),
    "ZIF-BCT": ("ZIF-1", "ZIF-2"),
}
"""How the names of a family begin; a digit that follows makes it another name."""

SAME = {
    "COF_1509": "COF_1508",
    "COF_1513": "COF_1511",
    "COF_1645": "COF_1103",
    "COF_1816": "COF_1610",
    "COF_2148": "COF_2046",
    "COF_2233": "COF_2032",
}
"""Papers with a framework of another paper: of its composition, a density within 1 %, and methane's
Henry coefficient within 5 % and heat within 0.2 kJ/mol."""

Numbers = Mapping[float, Mapping[str, str]]
"""Rows of a crystal's labels by pressure (Pa)."""


def family(name: str) -> str:
    """Crystals that are alike have the same."""
    kind, _, rest = name.partition("_")
    if kind == "COF":
        paper = f"{kind}_{rest[:4]}"
        return SAME.get(paper, paper)
    if kind == "MOF":
        for one, starts in MOFS.items():
            for start in starts:
                after = rest.removeprefix(start)
                if after != rest and (one == "IRMOF" or not after[:1].isdigit()):
                    return f"{kind}_{one}"
    return name


def joined(labels: Path, descriptors: Path) -> list[dict[str, str]]:
    """Rows of the table, by name.

    Raises:
        ValueError: a crystal has labels but no descriptors, or a label is given twice.
    """
    described = {row["name"]: row for row in _rows(descriptors)}
    by_name: dict[str, dict[float, Mapping[str, str]]] = {}
    for row in _rows(labels):
        of_name = by_name.setdefault(row["name"], {})
        if float(row["pressure"]) in of_name:
            raise ValueError(
                f"{labels} must label once; {row['name']} has {row['pressure']} twice."
            )
        of_name[float(row["pressure"])] = row
    missing = sorted(by_name.keys() - described.keys())
    if missing:
        raise ValueError(
            f"{descriptors} must describe all crystals with labels; {len(missing)} are missing, "
            f"the first {missing[0]}: describe them."
        )
    return [
        {"name": name, "family": family(name)}
        | _targets(by_name[name])
        | {column: described[name][column] for column in DESCRIPTORS}
        for name in sorted(by_name)
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _targets(labels: Numbers) -> dict[str, str]:
    dilute = labels.get(0.0, {})
    henry, error = _number(dilute, "henry"), _number(dilute, "henry_stderr")
    none = (math.nan, math.nan)
    entered = henry >= CLOSED
    found = {
        "log10_henry": (math.log10(henry), error / (henry * math.log(10))) if entered else none,
        "heat": (_number(dilute, "heat"), _number(dilute, "heat_stderr")) if entered else none,
    }
    for target, pressure in PRESSURES.items():
        row = labels.get(pressure, {})
        loading, error = _number(row, "loading"), _number(row, "loading_stderr")
        found[target] = (loading, error) if loading >= 0 else none
    columns = {}
    for target, (value, error) in found.items():
        columns[target] = f"{value:.6g}" if math.isfinite(value) else ""
        known = math.isfinite(value) and math.isfinite(error)
        columns[f"{target}_stderr"] = f"{error:.2g}" if known else ""
    return columns


def _number(row: Mapping[str, str], column: str) -> float:
    return float(row.get(column) or "nan")


def main() -> None:
    """Join the two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=existing, metavar="LABELS.csv")
    parser.add_argument("descriptors", type=existing, metavar="DESCRIPTORS.csv")
    output = Path(__file__).parents[1] / "adsorption/methane.csv"
    parser.add_argument("--output", type=Path, default=output, help="table to write")
    options = parser.parse_args()
    rows = joined(options.labels, options.descriptors)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(options.output, text.getvalue())
    known = {target: sum(row[target] != "" for row in rows) for target in TARGETS}
    print(f"{len(rows)} crystals of {len({row['family'] for row in rows})} families: {known}")


if __name__ == "__main__":
    main()
