#!/usr/bin/python3
"""Energies of fcc Ni–Al orderings by density-functional theory (GPAW, PBE, plane waves).

Resumable: one JSON line per finished calculation is appended to results.jsonl; kill the script at
any moment and start it again, what is finished is skipped. Several processes may run on disjoint
ids. README.md says what is converged and how long it takes. Needs Debian's GPAW:

    apt-get install -y --no-install-recommends gpaw gpaw-data python3-ase
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 nice -n 10 /usr/bin/python3 calculate.py energies
"""

import argparse
import json
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from calculations import Record, append, compress, relax_fully, relax_volume, single_point
from settings import METHOD

HERE = Path(__file__).resolve().parent
FIRST = {"fcc": 0, "L1_2": 1, "L1_0": 2, "D0_22": 3, "L1_1": 4}
NI_RICH = 0.4
"""Al fraction up to which the campaigns' expansions are fitted."""


def main() -> None:
    """Read the command line and calculate."""
    arguments = command_line()
    folder: Path = arguments.folder
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    cut_partial_line(folder / "results.jsonl")
    if arguments.command == "kmesh":
        converge(folder, arguments.id, "mesh", arguments.meshes, single_point)
    elif arguments.command == "eos":
        converge(folder, arguments.id, "cutoff", arguments.cutoffs, compress)
    else:
        calculate(folder, arguments.ids, arguments.kind)


def command_line() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, default=HERE, help="where results go (default: beside the script)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    energies = commands.add_parser("energies", help="calculate orderings, appending results.jsonl")
    energies.add_argument("ids", nargs="*", help="ids of structures.json (default: all, in order)")
    energies.add_argument(
        "--kind",
        choices=("volume", "full"),
        help="only relax the volume, or only shape, volume and positions (default: both)",
    )
    kmesh = commands.add_parser(
        "kmesh", help="single points at a finished volume, appending convergence.jsonl"
    )
    kmesh.add_argument("id", help="a structure with a finished volume in results.jsonl")
    kmesh.add_argument("meshes", nargs="+", type=int, help="n of the n×n×n meshes")
    eos = commands.add_parser("eos", help="5-point equations of state, appending convergence.jsonl")
    eos.add_argument("id", help="a structure with a finished volume in results.jsonl")
    eos.add_argument("cutoffs", nargs="+", type=float, help="plane-wave cutoffs, eV")
    return parser.parse_args()


def calculate(folder: Path, ids: list[str], kind: str | None) -> None:
    """Work through the plan; a failure goes to failed.jsonl and does not stop the rest."""
    structures = json.loads((HERE / "structures.json").read_text())
    unknown = set(ids) - {structure["id"] for structure in structures}
    if unknown:
        raise SystemExit(f"`ids` must be in structures.json; {sorted(unknown)} are not.")
    for structure, task in plan(structures):
        if (not ids or structure["id"] in ids) and task == (kind or task):
            try:
                calculate_one(folder, structure, task)
            except Exception as error:
                traceback.print_exc()
                failure = {"id": structure["id"], "kind": task, "err": repr(error)}
                append(folder / "failed.jsonl", failure)


def calculate_one(folder: Path, structure: Record, kind: str) -> None:
    """Calculate unless finished; a full relaxation starts from a finished volume."""
    results = folder / "results.jsonl"
    done = finished(results)
    volume = done.get((structure["id"], "volume"))
    if (structure["id"], kind) in done or (kind == "full" and volume is None):
        return
    log = folder / "scratch" / f"gpaw{os.getpid()}.txt"
    if kind == "volume":
        points = folder / "points.jsonl"
        cut_partial_line(points)
        record = relax_volume(structure, log, points)
    else:
        record = relax_fully(structure, done[structure["id"], "volume"], log)
    if not results.exists():
        append(results, {"method": METHOD})
    append(results, record)
    print(
        time.strftime("%H:%M:%S"), structure["id"], structure["name"], kind,
        f"E = {record['energy_per_atom']:.5f} eV/atom, {record['cpu_s']} CPU-s", flush=True,
    )  # fmt: skip


def plan(structures: list[Record]) -> Iterator[tuple[Record, str]]:
    """Small and simple cells first, Ni-rich ones before others: the campaign lives on that side."""
    by_size = {n: [s for s in structures if s["n"] == n] for n in range(1, 7)}
    random.Random(1).shuffle(by_size[6])  # so that any number of them helps
    named = [s for s in by_size[4] if s["name"] in FIRST]
    simple = sorted(by_size[1] + by_size[2] + named, key=lambda s: FIRST[s["name"]])
    rest = [s for s in by_size[3] + by_size[4] if s not in simple]
    small = simple + sorted(rest, key=lambda s: (s["x_Al"] > NI_RICH, s["n"]))
    five = sorted(by_size[5], key=lambda s: s["x_Al"])
    for kind, group in (
        ("volume", small + five),
        ("full", [s for s in small if s["n"] > 1]),
        ("volume", by_size[6]),
        ("full", five + by_size[6]),
    ):
        for structure in group:
            yield structure, kind


def converge(
    folder: Path,
    identifier: str,
    varied: str,
    values: list[Any],
    calculation: Callable[[Record, Any, Path], Record],
) -> None:
    """Repeat a calculation of one structure, at its relaxed volume, with other settings."""
    volume = finished(folder / "results.jsonl").get((identifier, "volume"))
    if volume is None:
        raise SystemExit(f"`id` {identifier!r} has no finished volume; run `energies` first.")
    output = folder / "convergence.jsonl"
    cut_partial_line(output)
    known = {(r["id"], r.get(varied)) for r in read_lines(output)}
    for value in values:
        if (identifier, value) not in known:
            log = folder / "scratch" / f"gpaw{os.getpid()}.txt"
            record = calculation(volume, value, log)
            append(output, record)
            print(value, f"{record['energy_per_atom']:.6f} eV/atom", flush=True)


def finished(results: Path) -> dict[tuple[str, str], Record]:
    """Records by id and kind."""
    return {(r["id"], r["kind"]): r for r in read_lines(results) if "id" in r}


def read_lines(path: Path) -> list[Record]:
    """Every line of a JSON-lines file; none if it does not exist."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def cut_partial_line(path: Path) -> None:
    """Drop what a killed process left of its last line."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


if __name__ == "__main__":
    main()
