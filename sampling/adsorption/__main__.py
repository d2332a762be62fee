"""Command line: label the structures of a folder or archive by grand-canonical Monte Carlo."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from idnn.adsorption.cif import read_library
from idnn.adsorption.forcefield import (
    ForceField,
    force_field,
    geometric,
    known_atoms,
    lorentz_berthelot,
    require_atoms,
)
from idnn.adsorption.guests import guest, known_guests
from idnn.adsorption.structures import Crystal
from idnn.files import CannotWrite, DirectoryInUse, existing, write_atomically
from sampling.adsorption.isotherm import Schedule, TooDense
from sampling.adsorption.labelling import Conditions, Label, label

EXPECTED = (ValueError, OSError, CannotWrite, DirectoryInUse, TooDense)
"""Errors the user can mend: one message, exit code 2."""

MIXING = {"lorentz-berthelot": lorentz_berthelot, "geometric": geometric}
COLUMNS = (
    *("name", "pressure", "henry", "henry_stderr", "loading", "loading_stderr"),
    *("heat", "heat_stderr", "molecules", "molecules_stderr", "fugacity", "ergodic", "tau"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sampling.adsorption",
        description="Label porous crystals: Henry coefficient and heat of adsorption in the dilute "
        "limit, loadings and heats at given pressures, each with its error. A stopped run is "
        "continued by the same command; structures and pressures may be added to it.",
        epilog="The table is in mol/(kg Pa), mol/kg, kJ/mol and Pa; pressure 0 is the dilute "
        "limit. Structures that are unfit, or hold elements without parameters, are listed.",
    )
    add = parser.add_argument
    add(
        "source",
        type=existing,
        help="a CIF file, a folder, an archive (tar, zip, wheel), or packed crystals (npz)",
    )
    add("--guest", default="CH4", choices=known_guests(), help="the molecule")
    add("--force-field", default="UFF", choices=known_atoms(), help="of the hosts' atoms")
    add("--mixing", default="lorentz-berthelot", choices=MIXING, help="rule for unlike atoms")
    add("--cutoff", type=float, default=12.0, help="of the interactions (Å)")
    add("--tail", action="store_true", help="cut, and add the mean beyond the cutoff; else shift")
    add("--temperature", type=float, default=298.0, help="K")
    add("--pressure", type=float, action="append", default=[], help="Pa; may be given often")
    add("--precision", type=float, default=0.02, help="wanted relative error of the loadings")
    add("--burn-in", type=int, default=500, help="records of each chain that are thrown away")
    add("--records", type=int, default=2000, help="of each chain, at first")
    add("--most", type=int, default=64_000, help="records of a chain beyond which it ends")
    add("--spacing", type=float, default=0.2, help="of the energy grid (Å)")
    add("--seed", type=int, default=0, help="of everything random")
    add("--store", type=Path, default=Path("labels.sqlite"), help="file of finished labels")
    add("--output", type=Path, default=Path("labels.csv"), help="table to write at the end")
    add("--threads", type=int, default=1, help="labels worked on at a time; changes no result")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def _run(options: argparse.Namespace) -> None:
    force = _force(options)
    conditions = Conditions(
        guest=guest(options.guest),
        force=force,
        temperature=options.temperature,
        pressures=tuple(options.pressure),
        spacing=options.spacing,
        schedule=Schedule(precision=options.precision, records=options.records, most=options.most),
        seed=options.seed,
    )
    library = read_library(options.source)
    crystals, refused = _fit(library.crystals, force)
    for message in (*library.refused.values(), *refused):
        print(f"refused: {message}")
    if not crystals:
        raise ValueError(f"`source` must hold a structure that is fit; {options.source} has none.")
    with ExitStack() as stack:
        observe = None if options.quiet else _bar(stack)
        labels = label(
            crystals, conditions, options.store, threads=options.threads, observe=observe
        )
    write_atomically(options.output, _table(labels))
    print(f"{len(crystals)} structures labelled: {options.output}")


def _force(options: argparse.Namespace) -> ForceField:
    known = force_field(options.force_field)
    return replace(
        known,
        mixing=MIXING[options.mixing],
        cutoff=options.cutoff,
        shifted=not options.tail,
        tail=options.tail,
    )


def _fit(crystals: dict[str, Crystal], force: ForceField) -> tuple[dict[str, Crystal], list[str]]:
    """Those whose elements all have parameters, and why the others are not among them."""
    fit, refused = {}, []
    for name, crystal in crystals.items():
        try:
            require_atoms(force, crystal)
        except ValueError as error:
            refused.append(str(error))
        else:
            fit[name] = crystal
    return fit, refused


def _table(labels: list[Label]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", restval="")
    writer.writeheader()
    for row in labels:
        writer.writerow({"name": row.name, "pressure": row.pressure, **row.numbers})
    return text.getvalue()


def _bar(stack: ExitStack) -> Callable[[str, int, int], None]:
    bars: list[tqdm] = []

    def observe(stage: str, done: int, total: int) -> None:
        if not bars:
            bars.append(stack.enter_context(tqdm(desc=stage, total=total, initial=done)))
        bars[0].update(done - bars[0].n)

    return observe


if __name__ == "__main__":
    sys.exit(main())
