"""Adsorption of methane predicted for crystals that were left out: networks and baselines.

    python examples/benchmarks/adsorption.py [--directory D] [--models M ...] [--splits S ...]

Needs `examples/adsorption/structures.npz` and `methane.csv` (`adsorption_table.py`). Targets are
the decadic logarithm of the Henry coefficient, mol/(kg Pa), the heat of adsorption in the dilute
limit, kJ/mol, and the uptakes at 5.8 and 65 bar, mol/kg, of grand-canonical Monte Carlo at 298 K.
Tested are the crystals outside of the largest set that is learned: drawn at random, or whole
families of crystals (`grouped`); a seed draws them, the weights and the order. Errors are mean
absolute errors, mean and standard deviation over seeds; the learned sets of a seed are nested.

All networks have the same loss, schedule and number of steps (`TrainingSettings`); the graph
network has its own step length. Each result is a line in `results.jsonl` in the directory as soon
as it is there, and the same command goes on where it was stopped. Results of other labels or
settings are not taken from it, but it does not know of changes of code: begin a new directory.

Prediction is timed by the CPU seconds of one thread, from crystals to targets: surroundings,
knowns (`ours_field` with the field's grid), and the networks, one or five. Seconds per label are
medians of wall-clock times while several threads ran, and a ratio to them can only be taken
roughly. The last line printed is one JSON object.
"""

import argparse
import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import torch
from adsorption_data import FOLDER, WINDOWS, Data, load, split
from adsorption_figure import plot
from adsorption_models import GRAPH_RATE, MODELS, PLAIN
from adsorption_table import TARGETS

from idnn.adsorption.environments import environments
from idnn.adsorption.features import FieldSettings, all_knowns
from idnn.adsorption.network import AttentionNetwork
from idnn.adsorption.training import Samples, TrainingSettings, outputs
from idnn.files import exclusive, write_atomically

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[2]
SPLITS = ("random", "grouped")
TIMED = 64
"""Crystals predicted at a time."""

ABLATIONS = ("no_windows", "no_knowledge", "absolute", "ours_small")
"""Run on random splits alone."""

FEWER_SEEDS = {"cgcnn": 3, "no_windows": 3, "no_knowledge": 3, "absolute": 1, "ours_small": 1}
"""At most so many of these, which take long."""


@dataclass(frozen=True)
class Job:
    """One training and its test."""

    model: str
    split: str
    size: int
    seed: int
    sizes: tuple[int, ...]
    directory: Path
    folder: Path
    settings: TrainingSettings
    digest: str

    @property
    def key(self) -> tuple[Any, ...]:
        """By which its result is found again."""
        return (self.model, self.split, self.size, self.seed, max(self.sizes), self.digest)


@cache
def _data(directory: Path, folder: Path) -> Data:
    return load(directory, folder=folder)[0]


def run(job: Job) -> dict[str, Any]:
    """Mean absolute errors of one model, on the crystals it was not shown."""
    torch.set_num_threads(1)
    data, began = _data(job.directory, job.folder), time.process_time()
    grouped = job.split == "grouped"
    learned, tested = split(data.families, job.sizes, grouped=grouped, seed=job.seed)
    found = MODELS[job.model](data, learned[job.size], tested, job.seed, job.settings)
    error = np.nanmean(np.abs(found - data.targets[tested]), 0)
    return {
        "key": job.key,
        "mae": dict(zip(TARGETS, error.tolist(), strict=True)),
        "tested": int(np.isfinite(found[:, 0]).sum()),
        "cpu_s": round(time.process_time() - began, 1),
    }


def run_all(jobs: Sequence[Job], store: Path, workers: int) -> list[dict[str, Any]]:
    """Results of all jobs, those in the store taken from it."""
    lines = store.read_text().splitlines() if store.exists() else []
    kept = {tuple(row["key"]): row for row in map(json.loads, filter(_whole, lines))}
    missing = [job for job in jobs if job.key not in kept]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} results are there", flush=True)
    # Processes begun anew, as torch's threads do not survive a fork.
    with get_context("spawn").Pool(workers) as pool, store.open("a") as file:
        for row in pool.imap_unordered(run, missing):
            file.write(json.dumps(row) + "\n")
            file.flush()
            kept[tuple(row["key"])] = row
            errors = ", ".join(f"{value:.3g}" for value in row["mae"].values())
            print(*row["key"][:4], f"{errors} ({row['cpu_s']} s)", flush=True)
    return [kept[job.key] for job in jobs]


def _whole(line: str) -> bool:
    """Not the torn last line of a run that was stopped."""
    return line.startswith("{") and line.endswith("}")


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Model → target → split → size → mean and deviation over seeds."""
    found: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        model, kind, size = row["key"][:3]
        for target, error in row["mae"].items():
            found.setdefault((model, target, kind, str(size)), []).append(error)
    table: dict[str, Any] = {}
    for (model, target, kind, size), errors in found.items():
        spread = stdev(errors) if len(errors) > 1 else None
        of_kind = table.setdefault(model, {}).setdefault(target, {}).setdefault(kind, {})
        of_kind[size] = [mean(errors), spread]
    return table


def ratios(
    rows: Sequence[dict[str, Any]], model: str, other: str, size: str
) -> dict[str, dict[str, float]]:
    """Of errors at one size, over the seeds that both have: target → split → model over other."""
    errors: dict[str, dict[tuple[str, int], dict[str, float]]] = {model: {}, other: {}}
    for row in rows:
        name, kind, learned, seed = row["key"][:4]
        if name in errors and str(learned) == size:
            errors[name][kind, seed] = row["mae"]
    both = errors[model].keys() & errors[other].keys()
    found: dict[str, dict[str, float]] = {}
    for target in TARGETS:
        for kind in sorted({kind for kind, _ in both}):
            of_kind = [key for key in both if key[0] == kind]
            sums = [sum(errors[m][key][target] for key in of_kind) for m in (model, other)]
            found.setdefault(target, {})[kind] = sums[0] / sums[1]
    return found


def knowledge_gain(rows: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """1 − error with co-learned descriptors over that without: target → size, random split."""
    by_size = {str(n): ratios(rows, "ours", "no_knowledge", str(n)) for n in sizes}
    return {t: {n: 1 - r[t]["random"] for n, r in by_size.items() if t in r} for t in TARGETS}


def prediction_rates(data: Data, settings: TrainingSettings) -> dict[str, dict[str, float]]:
    """Crystals per CPU second of one thread, from crystals to targets, by model and networks."""
    torch.set_num_threads(1)
    rows = np.random.default_rng(0).permutation(len(data))[:TIMED]
    crystals = [data.crystals[row] for row in rows]
    rates: dict[str, dict[str, float]] = {}
    for name, field in {"ours": None, "ours_field": FieldSettings()}.items():
        knowns = PLAIN if field is None else data.knowns.shape[1]
        make = dict(knowns=knowns, outputs=len(TARGETS))
        networks = [AttentionNetwork(settings.network, **make, seed=n).eval() for n in range(5)]
        _predict(crystals[:2], networks, field)  # compiles
        rates[name] = {}
        for count in (1, 5):
            began = time.process_time()
            _predict(crystals, networks[:count], field)
            rates[name][str(count)] = len(crystals) / (time.process_time() - began)
    return rates


@torch.no_grad()
def _predict(crystals: list, networks: list, field: FieldSettings | None) -> None:
    around = tuple(environments(crystal, WINDOWS) for crystal in crystals)
    known = torch.tensor(all_knowns(crystals, field), dtype=torch.float32)
    samples = Samples(around, known, known.new_empty(len(crystals), 0))
    for network in networks:
        outputs(network, samples)


def seconds_per_structure(store: Path | None) -> float | None:
    """Median over structures of what their labels took together, if there is a store of them."""
    if store is None or not store.exists():
        return None
    took: dict[str, list[float]] = {}
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as base:
        for name, content in base.execute("SELECT name, content FROM label"):
            label = json.loads(content)
            spent = label.get("seconds", 0.0) + label.get("grid_seconds", 0.0)
            took.setdefault(name, []).append(spent)
    most = max(map(len, took.values()), default=0)
    return median(sum(each) for each in took.values() if len(each) == most) if took else None


def training_seconds(rows: Sequence[dict[str, Any]], size: int) -> dict[str, float]:
    """Mean CPU seconds of training and test at one size, by model."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["key"][2] == size:
            found.setdefault(row["key"][0], []).append(row["cpu_s"])
    return {model: mean(each) for model, each in found.items()}


def report(
    rows: list[dict[str, Any]], data: Data, sizes: Sequence[int], options: argparse.Namespace
) -> dict[str, Any]:
    """All numbers."""
    mae, gcmc = summary(rows), json.loads((RESULTS / "adsorption_gcmc.json").read_text())
    rates = prediction_rates(data, options.settings)
    label = seconds_per_structure(options.labels)
    models, last = ("ours", "ours_field"), str(max(sizes))
    return {
        "gcmc_vs_raspa_sigma": gcmc["gcmc_vs_raspa_sigma"],
        "gcmc_speedup_over_raspa": gcmc["gcmc_speedup_over_raspa"],
        "crystals": len(data),
        "families": len(set(data.families)),
        "tested": {f"{row['key'][0]}, {row['key'][1]}": row["tested"] for row in rows},
        "training": asdict(options.settings) | {"graph_rate": GRAPH_RATE},
        "training_cpu_s": training_seconds(rows, max(sizes)),
        "mae": mae,
        "mae_over_cgcnn": {m: ratios(rows, m, "cgcnn", last) for m in models},
        "mae_over_cgcnn_density": {m: ratios(rows, m, "cgcnn_density", last) for m in models},
        "absolute_over_ours_small": ratios(rows, "absolute", "ours_small", last),
        "no_windows_over_ours": ratios(rows, "no_windows", "ours", last),
        "kcl_gain": knowledge_gain(rows, sizes),
        "structures_per_s": rates,
        "gcmc_s_per_structure": label,
        "prediction_speedup_over_gcmc": label and {m: label * rates[m]["5"] for m in models},
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, defaults = parser.add_argument, TrainingSettings()
    add("--directory", type=Path, default=ROOT / "runs/adsorption_learning", help="of results")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="M", help="to run")
    add("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="to run")
    add("--sizes", nargs="+", type=int, default=[100, 300, 700], help="crystals learned")
    add("--seeds", type=int, default=5, help="number of them")
    add("--workers", type=int, default=2, help="processes")
    add("--steps", type=int, default=defaults.steps, help="of training, at least")
    add("--epochs", type=int, default=defaults.epochs, help="of training")
    add("--data", type=Path, default=FOLDER, help="folder of structures.npz and methane.csv")
    labels = ROOT / "runs/adsorption/labels.sqlite"
    add("--labels", type=Path, default=labels, help="store of the labels, for their seconds")
    add("--output", type=Path, default=RESULTS, help="folder of adsorption.json and .png")
    options = parser.parse_args()
    options.settings = replace(defaults, steps=options.steps, epochs=options.epochs)
    return options


def _is_run(order: tuple[str, str, int, int]) -> bool:
    model, kind, _, seed = order
    return (kind == "random" or model not in ABLATIONS) and seed < FEWER_SEEDS.get(model, seed + 1)


def main() -> None:
    """Run what is missing; draw and print the errors."""
    options = _options()
    options.directory.mkdir(parents=True, exist_ok=True)
    options.output.mkdir(parents=True, exist_ok=True)
    sizes = tuple(sorted(options.sizes))
    with exclusive(options.directory):
        data, said = load(options.directory, workers=options.workers, folder=options.data)
        print(said, flush=True)
        table = (options.data / "methane.csv").read_bytes() + repr(options.settings).encode()
        digest = hashlib.sha256(table).hexdigest()[:16]
        common = (sizes, options.directory, options.data, options.settings, digest)
        orders = product(options.models, options.splits, sizes, range(options.seeds))
        # Seed by seed, so that a run that is stopped has all models.
        chosen = sorted(filter(_is_run, orders), key=lambda order: order[3])
        jobs = [Job(*order, *common) for order in chosen]
        rows = run_all(jobs, options.directory / "results.jsonl", options.workers)
    found = report(rows, data, sizes, options)
    write_atomically(options.output / "adsorption.json", json.dumps(found, indent=1) + "\n")
    plot(found["mae"], options.output / "adsorption.png")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
