"""Coarsening of droplets by diffusion: does their size grow as t^⅓ (Lifshitz & Slyozov 1961)?

    python examples/benchmarks/coarsening.py [--seeds 6] [--processes 2]

Cahn–Hilliard in two dimensions, f = c²(1 − c)², κ = ½, M = 1, so that a flat interface is
½(1 + tanh x) and its energy 1/6; 256² cells of ⅔ with a mean of 0.3 and noise of 0.05. Fixed steps
of ½ by SBDF2: between two discs at rest they give rates of exchange to 10⁻⁵, a cell of ⅔ to ½ %.

Three lengths are followed from t = 500 to 10⁴: box area per length of interface by its gradient
energy (which is half of all), 2π/⟨k⟩ of the structure factor, and the mean radius of the droplets.
To means over the seeds, X(t) = X₀ [1 + (t − 500)/τ]ⁿ is fitted by least squares in ln X, with X₀, τ
and n free, for t^⅓ is to hold from a finite size on (Huse 1986, doi:10.1103/PhysRevB.34.7845); the
error of n is that of the jackknife over seeds. The plain slope of ln X over ln t is given as well:
it is lower as long as X₀ counts. Results: results/coarsening.json and .png.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import curve_fit

from idnn.files import write_atomically
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.initial import noisy
from phasefield.integrators import sbdf2
from phasefield.measurement import measure
from phasefield.models import GradientFlow, OrderField
from phasefield.observe import AboveThreshold
from phasefield.solve import InMemory, solve
from sampling.style import COLOURS, new_figure

RESULTS = Path(__file__).parent / "results"
SIGMA = 1 / 6
MEAN, NOISE, STEP = 0.3, 0.05, 0.5
LENGTHS = {"interface": "area / interface", "structure": "2π/⟨k⟩", "radius": "mean radius"}


def droplets(seed: int, cells: int, times: Sequence[float]) -> dict[str, Any]:
    """The three lengths at `times`, the number of droplets and the last composition."""
    keep_freed_memory()
    torch.set_num_threads(1)
    grid = Grid((cells, cells), 2 / 3)
    model = GradientFlow(grid, double_well(1.0, 0.0, 1.0), (OrderField("c", True, 1.0, 0.5),))
    u0 = noisy(grid, [MEAN], [NOISE], torch.Generator().manual_seed(seed))
    memory, began = InMemory(), time.process_time()
    control = StepControl(fixed_step=STEP, integrator=sbdf2)
    end = solve(model, u0, list(times), control=control, recorder=memory)
    found: dict[str, Any] = {name: [] for name in (*LENGTHS, "droplets")}
    for record in memory.records[1:]:
        measured = measure(grid, record.u, AboveThreshold(0.5))
        area = grid.cells * grid.cell_volume
        found["interface"].append(area * SIGMA / (2 * record.state.energy.gradient))
        found["structure"].append(measured.structure.characteristic_length)
        found["radius"].append(measured.particles.mean_radius)
        found["droplets"].append(len(measured.particles.volume))
    return found | {"cpu_s": time.process_time() - began, "end": end.u[0].numpy()}


def growth(
    times: Sequence[float], lengths: Sequence[Sequence[float]]
) -> tuple[dict[str, float], Callable[[np.ndarray], np.ndarray]]:
    """Exponents of the mean of `lengths` [seed, time] with their errors, and the fitted curve."""
    t, x = np.array(times), np.array(lengths)

    def law(t: np.ndarray, log_x0: float, log_tau: float, n: float) -> np.ndarray:
        return log_x0 + n * np.log1p((t - times[0]) * math.exp(-log_tau))

    def fitted(rows: np.ndarray) -> np.ndarray:
        y = np.log(rows.mean(0))
        start = (y[0], math.log(times[0]), 1 / 3)
        return np.append(curve_fit(law, t, y, start)[0], np.polyfit(np.log(t), y, 1)[0])

    best = fitted(x)
    without = np.array([fitted(np.delete(x, i, axis=0)) for i in range(len(x))])
    errors = np.sqrt((len(x) - 1) * without.var(0))
    numbers = {"n": best[2], "n_error": errors[2], "slope": best[3], "slope_error": errors[3]}
    return {k: float(v) for k, v in numbers.items()}, lambda t: np.exp(law(t, *best[:3]))


def draw(times: Sequence[float], runs: Sequence[dict[str, Any]], path: Path) -> None:
    """The last composition of the first seed, lengths and fits."""
    figure = new_figure(9.5, 4.2)
    left, right = figure.subplots(1, 2)
    edge = len(runs[0]["end"]) * 2 / 3
    image = left.imshow(runs[0]["end"].T, origin="lower", extent=(0, edge, 0, edge), cmap="cividis")
    figure.colorbar(image, ax=left, label="c")
    left.set(title=f"t = {times[-1]:g}", xlabel="x", ylabel="y")
    for (name, label), colour in zip(LENGTHS.items(), COLOURS, strict=False):
        rows = [run[name] for run in runs]
        numbers, curve = growth(times, rows)
        right.loglog(times, np.mean(rows, 0), "o", color=colour, ms=4)
        text = f"{label}: n = {numbers['n']:.3f} ± {numbers['n_error']:.3f}"
        right.loglog(times, curve(np.array(times)), color=colour, label=text)
    guide = np.array([times[0], times[-1]])
    right.loglog(guide, 3.3 * (guide / guide[0]) ** (1 / 3), "k:", label="t^(1/3)")
    right.set(xlabel="time", ylabel="length", ylim=(2.5, 110))
    right.set_yticks(ticks := [5, 10, 20, 40], [str(tick) for tick in ticks])
    right.minorticks_off()
    right.legend(fontsize=8, loc="upper left")
    figure.savefig(path)


def main() -> None:
    """Run the seeds, fit, draw, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    times = [500.0 * 20 ** (i / 12) for i in range(13)]
    job = partial(droplets, cells=256, times=times)
    with ProcessPoolExecutor(options.processes) as pool:
        runs = list(pool.map(job, range(1, options.seeds + 1)))
    summary = {name: growth(times, [run[name] for run in runs])[0] for name in LENGTHS}
    kept = [{k: v for k, v in run.items() if k != "end"} for run in runs]
    draw(times, runs, RESULTS / "coarsening.png")
    report = {"summary": summary, "times": times, "seeds": kept}
    write_atomically(RESULTS / "coarsening.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
