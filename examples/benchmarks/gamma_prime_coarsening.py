"""γ′ particles in γ coarsen in three dimensions: the rate against Lifshitz, Slyozov & Wagner's.

    python examples/benchmarks/gamma_prime_coarsening.py [--cells 48] [--device cpu]

Dupin's free energy at 1073 and 1273 K with the constants of `phasefield.ni_al` but an interface of
4 nm in cells of 1 nm; a tenth of γ′ in balls of four variants, no misfit. The same balls, as large
as they are measured at the start, ripen between sharp interfaces beside it (`ostwald.py`).

1. `k_over_sharp_k`: changes of all rᵢ³ since the first output of the phase field over those of the
   sharp interfaces, by least squares; of balls that keep 0.6 of the mean radius.
2. `sharp_k_over_k_lsw`: rate of ⟨r⟩³ of 500 balls between sharp interfaces over that of the dilute
   limit, while from 60 to 20 % of them are left. It holds the effect of a tenth of γ′ and that of a
   start from a matrix at the tie-line and normal radii, which the balls have not forgotten: n, that
   of ⟨r⟩ = r₀(1 + (t − t₀)/τ)ⁿ there, is not yet ⅓.
3. `k_over_k_lsw`: their product, what the phase field would make of many such balls.

Everything goes to `results/gamma_prime_coarsening.json` and .png; the last line is one JSON object.
One process for each temperature. Half an hour on two cores for 48³ cells with six balls.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ostwald import Alloy, ripen
from scipy.optimize import curve_fit

from idnn.files import write_atomically
from idnn.free_energy import FreeEnergy
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.gamma_prime import GammaPrime, box, gamma_prime
from phasefield.implicit import implicit_bdf2
from phasefield.ni_al import NI_AL, fixed
from phasefield.observe import L12Variants
from phasefield.particles import find_particles
from phasefield.precipitates import Precipitate, precipitated
from phasefield.solve import Record, solve
from sampling.style import COLOURS, new_figure

RESULTS = Path(__file__).parent / "results"
WIDTH, SPACING, FRACTION = 4.0, 1.0, 0.1
"""nm, nm, of the volume."""

CELLS_PER_BALL = 18000
"""So that the mean radius is 1.8 widths at the start."""

ORDER_LENGTHS = {1073.0: 0.5, 1273.0: 0.3}
"""nm, by temperature (K): ordering resists a twentieth of what diffusion does."""

SPREAD = 0.25
"""Standard deviation of the radii, of their mean."""

GROWTH = 2.0
"""Of ⟨r⟩³ over the run, about, by the dilute rate times two."""

TOLERANCE = 1e-4
"""Of a step."""


def model(f: FreeEnergy, kelvin: float, cells: int, device: torch.device) -> GammaPrime:
    """The equations."""
    width = fixed("interface width", "m", WIDTH * 1e-9, "chosen")
    constants = replace(NI_AL, interface_width=width)
    grid = box((cells,) * 3, SPACING * 1e-9, device=device)
    order_length = ORDER_LENGTHS[kelvin] * 1e-9
    return gamma_prime(f, constants, kelvin, grid, dealias=1.0, order_length=order_length)


def balls(edge: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Centres and radii (nm) of balls an interface apart, the largest placed first, and variants.

    Each is of that variant of which the nearest ball is farthest, for two of one kind merge.
    """
    random = np.random.default_rng(seed)
    count = round((edge / SPACING) ** 3 / CELLS_PER_BALL)
    radii = np.sort(np.clip(random.normal(1, SPREAD, count), 0.4, 1.6))[::-1]
    radii *= (FRACTION * edge**3 / (4 * np.pi / 3 * (radii**3).sum())) ** (1 / 3)
    centres, variants = np.empty((0, 3)), []
    while len(centres) < count:
        new = random.random(3) * edge
        away = new - centres
        away -= edge * np.round(away / edge)
        gaps = np.linalg.norm(away, axis=1) - radii[len(centres)] - radii[: len(centres)]
        if bool((gaps > WIDTH).all()):
            mine = np.array(variants)
            nearest = [gaps[mine == v].min(initial=np.inf) for v in (1, 2, 3, 4)]
            variants.append(1 + int(np.argmax(nearest)))
            centres = np.vstack([centres, new])
    return centres, radii, variants


class Sizes:
    """Radii of the particles at every output time; nothing else is kept."""

    def __init__(self, alloy: GammaPrime) -> None:
        self._grid, self._compositions = alloy.model.grid, alloy.compositions
        self._variants = L12Variants(threshold=0.05 * alloy.order)
        self.rows: list[dict[str, Any]] = []

    def restore(self) -> None:
        """There is nothing to go on from."""

    def append(self, record: Record) -> None:
        """Measure volumes up to the equimolar surface of every ordered region."""
        low, high = self._compositions
        share = ((record.u[0] - low) / (high - low)).cpu().numpy()
        phases = self._variants(record.u).cpu().numpy()
        particles = find_particles(self._grid, phases, 5, share)
        state = record.state
        self.rows.append({
            "time": state.time, "radii": np.sort(particles.radius).tolist(), "steps": state.steps,
            "evaluations": state.evaluations, "wall_s": record.wall_s,
            "energy": state.energy.total,
        })  # fmt: skip
        brief = {k: v for k, v in self.rows[-1].items() if k != "radii"}
        print(json.dumps(brief | {"particles": len(particles.radius)}), flush=True)


def coarsen(f: FreeEnergy, kelvin: float, cells: int, device: torch.device) -> dict[str, Any]:
    """Phase field and referee from the same balls."""
    alloy = model(f, kelvin, cells, device)
    edge = cells * SPACING
    centres, radii, variants = balls(edge)
    placed = [
        Precipitate(tuple(x * 1e-9), float(r) * 1e-9, variant)
        for x, r, variant in zip(centres, radii, variants, strict=True)
    ]
    u0 = precipitated(alloy, placed, composition=alloy.mean_composition(FRACTION))
    lsw = alloy.lsw_rate * 1e27
    end = (GROWTH - 1) * radii.mean() ** 3 / (2 * lsw)
    times = (end * np.linspace(0, 1, 25)[1:]).tolist()
    sizes, unit = Sizes(alloy), WIDTH**2 * 1e-18 / alloy.diffusivity
    control = StepControl(
        tolerance=TOLERANCE, first_step=1e-4 * unit, smallest_step=1e-12 * unit,
        integrator=implicit_bdf2, large_steps=None,
    )  # fmt: skip
    began = time.perf_counter()
    solve(alloy.model, u0, times, control=control, recorder=sizes)
    low, high = alloy.compositions
    sharp = Alloy(alloy.diffusivity * 1e18, alloy.gibbs_thomson(1e-9), high - low)
    assert math.isclose(sharp.lsw_rate, lsw, rel_tol=1e-9)
    measured = np.array(sizes.rows[0]["radii"])[::-1]  # a little larger, for profiles are smooth
    if len(measured) != len(radii):
        raise RuntimeError("two balls of one variant are so close that they count as one")
    referee = [measured, *ripen(sharp, centres, measured, edge, times)]
    return {
        "kelvin": kelvin, "cells": cells, "device": str(device), "lsw_rate": lsw,
        "many": many(sharp), "drag": alloy.drag(float(radii.mean()) * 1e-9),
        "wall_s": time.perf_counter() - began, "times": [0.0, *times],
        "phase_field": sizes.rows, "referee": [np.sort(r).tolist() for r in referee],
    }  # fmt: skip


def slope(run: dict[str, Any]) -> float:
    """Of changes of r³ of the phase field over those between sharp interfaces."""
    least = 0.6 * float(np.mean(run["referee"][0]))
    field = [np.array(row["radii"])[::-1] for row in run["phase_field"]]
    sharp = [np.array(r)[::-1] for r in run["referee"]]  # the largest first, as they stay
    x, y = [], []
    for one, other in zip(sharp[2:], field[2:], strict=True):
        count = min((one > least).sum(), (other > least).sum())
        x.append(one[:count] ** 3 - sharp[1][:count] ** 3)
        y.append(other[:count] ** 3 - field[1][:count] ** 3)
    changes, others = np.concatenate(x), np.concatenate(y)
    return float(changes @ others / (changes @ changes))


def many(alloy: Alloy, count: int = 500) -> dict[str, float]:
    """Rate over that of the dilute limit, and n, of many balls between sharp interfaces."""
    edge = (count * CELLS_PER_BALL) ** (1 / 3) * SPACING
    centres, radii, _ = balls(edge)
    end = 6 * float(radii.mean()) ** 3 / (1.5 * alloy.lsw_rate)
    times = np.linspace(0, end, 49)[1:]
    found = ripen(alloy, centres, radii, edge, times.tolist())
    share = np.array([len(r) for r in found]) / count
    chosen = (share < 0.6) & (share > 0.2)
    t, r = times[chosen], np.array([x.mean() for x in found])[chosen]
    rate = float(np.polyfit(t, r**3, 1)[0])

    def law(t: np.ndarray, log_r: float, log_tau: float, n: float) -> np.ndarray:
        return log_r + n * np.log1p((t - t[0]) * np.exp(-log_tau))

    start = (math.log(r[0]), math.log(r[0] ** 3 / rate), 1 / 3)
    best = curve_fit(law, t, np.log(r), start)[0]
    return {"rate": rate / alloy.lsw_rate, "n": float(best[2])}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last line."""
    line: dict[str, Any] = {}
    for run in runs:
        ratio, sharp = slope(run), run["many"]
        line[f"{run['kelvin']:g} K"] = {
            "k_over_sharp_k": ratio, "sharp_k_over_k_lsw": sharp["rate"],
            "k_over_k_lsw": ratio * sharp["rate"], "sharp_n": sharp["n"], "drag": run["drag"],
            "balls_left": len(run["phase_field"][-1]["radii"]),
            "sharp_balls_left": len(run["referee"][-1]),
        }  # fmt: skip
    return line


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """R³ of every ball against time."""
    figure = new_figure(5.2 * len(runs), 4.0)
    for axes, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        t = run["times"]
        for k in range(len(run["referee"][0])):
            of = [
                [r[-1 - k] ** 3 if k < len(r) else math.nan for r in radii]
                for radii in (run["referee"], [row["radii"] for row in run["phase_field"]])
            ]
            labels = ("sharp interfaces", "phase field") if k == 0 else (None, None)
            axes.plot(t, of[0], color=COLOURS[1], label=labels[0])
            axes.plot(t, of[1], "o", color=COLOURS[0], ms=3, label=labels[1])
        axes.set(title=f"{run['kelvin']:g} K", xlabel="t (s)", ylabel="r³ of each ball (nm³)")
        axes.legend()
    figure.savefig(path)


def keep(runs: Sequence[dict[str, Any]]) -> None:
    """Write results, draw, print."""
    report = {"summary": summary(runs), "runs": list(runs)}
    write_atomically(RESULTS / "gamma_prime_coarsening.json", json.dumps(report, indent=1) + "\n")
    draw(runs, RESULTS / "gamma_prime_coarsening.png")
    print(json.dumps(report["summary"]))


def at(kelvin: float, cells: int, device: str) -> dict[str, Any]:
    """Both at one temperature."""
    from phasefield.calphad import OrderedFcc, default_database

    keep_freed_memory()
    torch.set_num_threads(1)
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin, floor=1e-3)
    return coarsen(f, kelvin, cells, torch.device(device))


def main() -> None:
    """Run both temperatures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=48, help="along each axis")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    job = partial(at, cells=options.cells, device=options.device)
    with ProcessPoolExecutor(len(ORDER_LENGTHS), mp_context=get_context("spawn")) as pool:
        keep(list(pool.map(job, ORDER_LENGTHS)))


if __name__ == "__main__":
    main()
