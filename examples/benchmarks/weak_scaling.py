"""Weak scaling of the phase field in slabs: time and communicated bytes per step.

    python examples/benchmarks/weak_scaling.py [--processes 1 2 4] [--planes 48] [--edge 96]

One conserved field, a double well, ETDRK4 at a fixed step, in 3-D; every process holds `planes` ×
edge × edge cells on a CPU and talks by gloo. More processes than cores are marked: their times say
nothing about scaling, their bytes do.

On paper, for N GPUs with V cells and F fields each, a step takes

    t(N) = m F V / M + 8 T F V (N − 1)/N / B + T (N − 1) ℓ

and its efficiency is t(1)/t(N), the last two terms being zero for N = 1. T = 9 transforms per step
(four evaluations of two, one for the error estimate); each moves 8 bytes per cell, half as many
complex modes of 16. It is counted here. What is not measured is assumed:

    m  bytes of memory traffic per cell, field and step: 48 T in the FFTs + 220 in the passes and
       sums of ETDRK4 + 320 for f in unfused torch = 972, and 32 T to pack and unpack if N > 1
    M  2 TB/s, six tenths of the 3.35 TB/s of an H100
    B  30 GB/s and GPU, six tenths of a 400 Gb/s port for each, a network without contention;
       within one machine of eight, 150 GB/s, a third of its NVLink
    ℓ  3 µs for each message

Slabs want at least as many planes as GPUs, and evenly: 1,000 GPUs a first axis of 1,000 n cells.
A learned energy costs far more than m says, so that communication weighs less with it. Results:
results/weak_scaling.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from idnn.files import write_atomically
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl, Stepper
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.initial import noisy
from phasefield.models import GradientFlow, OrderField
from phasefield.team import Team, join

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "weak_scaling.json"
DT = 2.0**-6
WARM_UP = 2
TRANSFORMS = 9
MEMORY_BYTES = TRANSFORMS * 48 + 220 + 320
MEMORY, NETWORK, NVLINK, LATENCY = 2e12, 30e9, 150e9, 3e-6


class Counted:
    """All-to-all, with the bytes that leave this process and the seconds spent."""

    def __init__(self) -> None:
        self._original = dist.all_to_all_single
        self.clear()

    def clear(self) -> None:
        """Count from zero."""
        self.calls, self.sent, self.seconds = 0, 0, 0.0

    def __call__(self, output, given, received, sent, group=None):  # noqa: ANN001, ANN204
        """Like `dist.all_to_all_single`."""
        began = time.perf_counter()
        self._original(output, given, received, sent, group=group)
        self.seconds += time.perf_counter() - began
        self.calls += 1
        others = sum(sent) - sent[dist.get_rank()]
        self.sent += others * given.element_size()


def measured(team: Team, planes: int, edge: int, steps: int) -> dict:
    """Seconds, calls and bytes of the fastest step; means over the processes."""
    grid = Grid((planes * team.size, edge, edge), 1.0, team=team)
    model = GradientFlow(grid, double_well(1.0, 0.0, 1.0), (OrderField("c", True, 1.0, 1.0),))
    control = StepControl(tolerance=1e3, first_step=DT, largest_step=DT)
    u = noisy(grid, [0.5], [0.05], torch.Generator().manual_seed(0))
    with torch.no_grad():
        stepper = Stepper(model, control)
        state = stepper.start(u)
        for _ in range(WARM_UP):
            state = stepper.advance(state, 1.0)
        counted = Counted()
        dist.all_to_all_single = counted
        rows = []
        for _ in range(steps):
            counted.clear()
            began = time.perf_counter()
            state = stepper.advance(state, 1.0)
            seconds = time.perf_counter() - began
            rows.append([seconds, counted.seconds, counted.calls, counted.sent])
    means = team.sum(torch.tensor(rows, dtype=torch.float64)) / team.size
    fastest = min(means.tolist())
    return {
        "processes": team.size,
        "shape": list(grid.shape),
        "seconds": fastest[0],
        "all_to_all_seconds": fastest[1],
        "all_to_all_calls": fastest[2],
        "bytes_sent_per_process": fastest[3],
    }


def started(size: int, options: argparse.Namespace) -> dict:
    """What `size` processes measure."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    numbers = [f"--{name}={getattr(options, name)}" for name in ("planes", "edge", "steps")]
    done = subprocess.run(
        [*command, "--nproc-per-node", str(size), __file__, "--worker", *numbers],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{size} processes failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def on_paper(gpus: int, cells: int) -> dict:
    """A step of `gpus` GPUs with `cells` cells of one field each; see the formula above."""
    packing = 0 if gpus == 1 else 32 * TRANSFORMS
    memory, alone = ((MEMORY_BYTES + each) * cells / MEMORY for each in (packing, 0))
    bandwidth = NVLINK if gpus <= 8 else NETWORK
    moved = 8 * TRANSFORMS * cells * (gpus - 1) / gpus / bandwidth
    waited = TRANSFORMS * (gpus - 1) * LATENCY
    return {
        "gpus": gpus,
        "cells_per_gpu": cells,
        "compute_s": memory,
        "all_to_all_s": moved,
        "latency_s": waited,
        "efficiency": alone / (memory + moved + waited),
    }


def main() -> None:
    """Measure, extrapolate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--planes", type=int, default=48, help="cells along x of one process")
    parser.add_argument("--edge", type=int, default=96, help="cells along y and z")
    parser.add_argument("--steps", type=int, default=8, help="steps timed; the fastest counts")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(1)
        keep_freed_memory()
        team = join()
        result = measured(team, options.planes, options.edge, options.steps)
        if team.rank == 0:
            print(json.dumps(result))
        team.leave()
        return
    cores = os.cpu_count() or 1
    rows = [started(size, options) for size in options.processes]
    for row in rows:
        row["oversubscribed"] = row["processes"] > cores
        row["efficiency"] = rows[0]["seconds"] / row["seconds"]
        print(
            f"{row['processes']} processes, {' × '.join(map(str, row['shape']))} cells: "
            f"{row['seconds']:.3f} s per step ({row['all_to_all_seconds']:.3f} s in "
            f"{row['all_to_all_calls']:.0f} all-to-alls), "
            f"{row['bytes_sent_per_process'] / 1e6:.1f} MB sent by each, "
            f"efficiency {row['efficiency']:.2f}"
            + (f" (more processes than the {cores} cores)" if row["oversubscribed"] else "")
        )
    print(str(__doc__).partition("\n\n")[2])
    paper = [on_paper(gpus, n**3) for n in (256, 512) for gpus in (1, 8, 64, 1000)]
    for row in paper:
        print(
            f"{row['gpus']:5d} GPUs of {row['cells_per_gpu']:.2e} cells: compute "
            f"{row['compute_s'] * 1e3:.1f} ms, all-to-all {row['all_to_all_s'] * 1e3:.1f} ms, "
            f"latency {row['latency_s'] * 1e3:.1f} ms, efficiency {row['efficiency']:.2f}"
        )
    found = json.dumps({"measured": rows, "on_paper": paper, "cores": cores}, indent=1)
    write_atomically(RESULTS, found + "\n")
    print(found)


if __name__ == "__main__":
    main()
