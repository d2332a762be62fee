"""What a Dask cluster costs: a campaign of many very short points, beside the process pool.

    python examples/benchmarks/cluster.py [--points 10000] [--workers 1 2]

One round of a dilute Ni–Al campaign, its chains so short that handing points out and storing them
weighs as much as it can. The overhead of a point is wall × workers − Σ (time its chains took), over
all points after the first task of each worker, which loads the kernels. It holds what any executor
pays (building each task's Hamiltonian, pickling) and, where workers take every core, what the
campaign's own process needs. All must store the same labels. Results: results/cluster.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from idnn.runtime import versions
from sampling.campaign import STORE, run_campaign
from sampling.settings import read_settings
from sampling.store import Store

ENERGIES = Path(__file__).parents[1] / "ni_al" / "eam" / "energies.jsonl"
CHUNK = 8
"""Points per task at 16 walkers."""

SETTINGS = """
title = "scheduler overhead"
seed = 1
directory = "run"
workers = {workers}
[energies]
file = "{energies}"
[expansion]
species = ["Ni", "Al"]
lattice_parameter = 3.56
cutoffs = [[3.7, 2.7, 2.7]]
enumerate_up_to = 4
[ensemble]
temperature = 1000.0
composition = [0.01, 0.12]
cells = [3]
stiffness = [3.0, 3.0, 3.0, 3.0]
[monte_carlo]
walkers = 16
sweeps = 40
burn_in = 10
[network]
members = 2
widths = [4]
iterations = 2
[active_learning]
first = {points}
rounds = 1
least_rounds = 1
{cluster}
"""


@dataclass
class Watch:
    """Clock and processor time of this process at each report of the sampling."""

    reports: list[tuple[int, float, float]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """The campaign's observer."""
        del total
        if stage.endswith("sampling"):
            self.reports.append((done, time.perf_counter(), time.process_time()))


def measure(folder: Path, cluster: str, points: int, workers: int) -> tuple[dict[str, Any], Any]:
    """One campaign: its figures, and its labels but for their times."""
    folder.mkdir()
    path = folder / "campaign.toml"
    path.write_text(
        SETTINGS.format(workers=workers, energies=ENERGIES, points=points, cluster=cluster)
    )
    watch, load = Watch(), os.getloadavg()[0]
    run_campaign(read_settings(path), watch)
    store = Store(folder / "run" / STORE)
    labels, wall = store.labels(), store.seconds()["sampling"]
    store.close()
    tasks = [
        sum(labels[point]["wall_s"] for point in range(first, min(first + CHUNK, points)))
        for first in range(0, points, CHUNK)
    ]
    chains = sum(sorted(tasks)[:-workers])  # without those that loaded the kernels
    submitted, begun, last = watch.reports[0], watch.reports[workers], watch.reports[-1]
    rest, seconds = points - begun[0], last[1] - begun[1]
    figures = {
        "wall_s": wall,
        "submitting_s": wall - (last[1] - submitted[1]),
        "kernels_loaded_after_s": begun[1] - submitted[1],
        "wall_per_point_ms": 1e3 * seconds / rest,
        "chains_per_point_ms": 1e3 * chains / rest,
        "overhead_per_point_ms": 1e3 * (seconds * workers - chains) / rest,
        "campaign_process_cpu_per_point_ms": 1e3 * (last[2] - begun[2]) / rest,
        "store_per_point_ms": 1e3 * storing(folder / "again.sqlite", labels) / points,
        "load_before": load,
    }
    return figures, {p: dict(label, wall_s=None) for p, label in labels.items()}


def storing(path: Path, labels: dict[int, dict[str, Any]]) -> float:
    """Seconds it takes to store the labels again, task by task, each with its stage's time."""
    store = Store(path, {"again": True})
    store._connection.execute("PRAGMA foreign_keys = OFF")  # labels without proposals
    start = time.perf_counter()
    for first in range(0, len(labels), CHUNK):
        store.add_labels(
            {point: labels[point] for point in range(first, min(first + CHUNK, len(labels)))}
        )
        store.add_seconds("sampling", 1.0)
    seconds = time.perf_counter() - start
    store.close()
    return seconds


def main() -> None:
    """Measure both executors, compare their labels, store and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    executors = {"process pool": "", "dask": '[cluster]\nexecutor = "dask"'}
    found: dict[str, Any] = {
        "points": options.points,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "versions": versions(("scalebridge", "numpy", "numba", "dask", "distributed")),
    }
    labels = []
    with tempfile.TemporaryDirectory() as folder:
        for workers, (name, table) in product(options.workers, executors.items()):
            key = f"{name}, {workers} workers"
            figures, stored = measure(Path(folder) / key, table, options.points, workers)
            found[key] = {k: round(value, 4) for k, value in figures.items()}
            labels.append(stored)
            print(key, json.dumps(found[key], indent=1), flush=True)
    found["same_labels"] = all(other == labels[0] for other in labels)
    path = Path(__file__).parent / "results" / "cluster.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print("labels are", "the same" if found["same_labels"] else "NOT the same")


if __name__ == "__main__":
    main()
