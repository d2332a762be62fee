"""γ′ balls in γ exchange solute in three dimensions: the rate against Lifshitz, Slyozov & Wagner's.

    python examples/benchmarks/gamma_prime_coarsening.py [--sizes 2 3 4] [--device cpu]

Dupin's free energy at 1073 and 1273 K with the constants of `phasefield.ni_al` but an interface of
4 nm in cells of 1 nm; a tenth of γ′, no misfit. A large and a small ball of two variants at
opposite corners of a box with walls, which mirror them into a crystal of the caesium chloride type.
The same balls, as large as they are measured once matrix and profiles have settled, exchange solute
between sharp interfaces beside it (`ostwald.py`).

1. `k_over_sharp_k`: changes of R₁³ − R₂³ of the phase field over those of sharp interfaces, by
   least squares, for balls of `sizes` interface widths. A straight line in width/r through the
   three largest leads to `k_over_sharp_k_thin`, that of a thin interface.
2. `sharp_rate`: rate of ⟨r⟩³ of 600 balls between sharp interfaces over that of the dilute
   limit, mean of four boxes with standard error, while from 60 to 15 % of them are left, and n
   of ⟨r⟩ = r₀(1 + (t − t₀)/τ)ⁿ there: the effect of a tenth of γ′.
3. `k_over_k_lsw`: the product of both for the largest balls, of which R³ changes with Rᵖ;
   `coarsening_exponent`: 1/(3 − p) between the two largest, ⅓ if rates of R³ do not depend on size.

Everything goes to `results/gamma_prime_coarsening.json` and .png; the last line is one JSON object.
One process for each temperature, a quarter of an hour on two cores; work goes with the fourth power
of size.
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
from coarsening import growth
from ostwald import Alloy, balanced, ripen

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

SMALLER = 0.8
"""Radius of the small ball over that of the large one."""

ORDER_LENGTHS = {1073.0: 0.5, 1273.0: 0.3}
"""nm, by temperature (K): ordering resists a twentieth of what diffusion does."""

TIMES = np.linspace(0, 0.15, 13)[1:]
"""Of outputs, in units of r³/K_LSW."""

SETTLED = 2
"""Outputs, the start among them, before which nothing is compared."""

TOLERANCE = 1e-3
"""Of a step."""

BALLS, SPREAD, SEEDS = 600, 0.25, (1, 2, 3, 4)
"""Many balls: how many, standard deviation of their radii by their mean, random boxes."""


class Radii:
    """Of the large and the small ball, of which an eighth each is seen, at every output time."""

    def __init__(self, alloy: GammaPrime) -> None:
        self._grid, self._compositions = alloy.model.grid, alloy.compositions
        self._variants = L12Variants(threshold=0.05 * alloy.order)
        self.rows: list[list[float]] = []

    def restore(self) -> None:
        """There is nothing to go on from."""

    def append(self, record: Record) -> None:
        """Measure volumes up to the equimolar surface of both."""
        low, high = self._compositions
        share = ((record.u[0] - low) / (high - low)).cpu().numpy()
        phases = self._variants(record.u).cpu().numpy()
        radii = 2 * find_particles(self._grid, phases, 5, share).radius
        if len(radii) != 2:
            raise RuntimeError(f"there are {len(radii)} particles; two were put in")
        self.rows.append(sorted(radii.tolist(), reverse=True))


def pair(f: FreeEnergy, kelvin: float, widths: float, device: torch.device) -> dict[str, Any]:
    """Two balls of so many widths in the mean, by phase field and between sharp interfaces."""
    mean = widths * WIDTH
    large = 2 * mean / (1 + SMALLER)
    eighths = 4 * math.pi / 3 * large**3 * (1 + SMALLER**3) / 8
    cells = round((eighths / FRACTION) ** (1 / 3) / SPACING)
    edge = cells * SPACING
    width = fixed("interface width", "m", WIDTH * 1e-9, "chosen")
    grid = box((cells,) * 3, SPACING * 1e-9, boundaries=("no-flux",) * 3, device=device)
    alloy = gamma_prime(
        f, replace(NI_AL, interface_width=width), kelvin, grid, dealias=1.0,
        order_length=ORDER_LENGTHS[kelvin] * 1e-9,
    )  # fmt: skip
    corner = edge * 1e-9
    placed = [
        Precipitate((0.0,) * 3, large * 1e-9, 1),
        Precipitate((corner,) * 3, SMALLER * large * 1e-9, 2),
    ]
    u0 = precipitated(alloy, placed, composition=alloy.mean_composition(FRACTION))
    lsw, low, high = alloy.lsw_rate * 1e27, *alloy.compositions
    times = (TIMES * mean**3 / lsw).tolist()
    radii, unit = Radii(alloy), WIDTH**2 * 1e-18 / alloy.diffusivity
    control = StepControl(
        tolerance=TOLERANCE, first_step=1e-4 * unit, smallest_step=1e-12 * unit,
        integrator=implicit_bdf2, large_steps=None,
    )  # fmt: skip
    began = time.perf_counter()
    state = solve(alloy.model, u0, times, control=control, recorder=radii).state
    sharp = Alloy(alloy.diffusivity * 1e18, alloy.gibbs_thomson(1e-9), high - low)
    assert math.isclose(sharp.lsw_rate, lsw, rel_tol=1e-9)
    centres, start = np.array([[0.0] * 3, [edge] * 3]), np.array(radii.rows[SETTLED])
    after = [t - times[SETTLED - 1] for t in times[SETTLED:]]
    w = balanced(sharp, centres, start, 2 * edge)
    found = [start, *ripen(sharp, centres, start, 2 * edge, after, supersaturation=w)]
    return {
        "widths": widths, "cells": cells, "drag": alloy.drag(mean * 1e-9), "lsw_rate": lsw,
        "steps": state.steps, "evaluations": state.evaluations,
        "wall_s": time.perf_counter() - began, "times": [0.0, *times],
        "phase_field": radii.rows, "referee": [r.tolist() for r in found],
    }  # fmt: skip


def slope(run: dict[str, Any]) -> float:
    """Of changes of R₁³ − R₂³ of the phase field over those between sharp interfaces."""
    rows = (run["referee"], run["phase_field"][SETTLED:])
    x, y = (np.array([a**3 - b**3 for a, b in each]) for each in rows)
    x, y = x - x[0], y - y[0]
    return float(x @ y / (x @ x))


def balls(edge: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres and radii (nm) of balls at random places, the largest placed first."""
    random = np.random.default_rng(seed)
    radii = np.sort(np.clip(random.normal(1, SPREAD, BALLS), 0.4, 1.6))[::-1]
    radii *= (FRACTION * edge**3 / (4 * np.pi / 3 * (radii**3).sum())) ** (1 / 3)
    centres = np.empty((0, 3))
    while len(centres) < BALLS:
        new = random.random(3) * edge
        away = new - centres
        away -= edge * np.round(away / edge)
        gaps = np.linalg.norm(away, axis=1) - radii[len(centres)] - radii[: len(centres)]
        if bool((gaps > 0.3 * radii.mean()).all()):
            centres = np.vstack([centres, new])
    return centres, radii


def many(run: dict[str, Any], kelvin: float) -> dict[str, float]:
    """Rate over that of the dilute limit, and n, of many balls between sharp interfaces."""
    from phasefield.calphad import OrderedFcc, default_database

    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin, floor=1e-3)
    alloy = gamma_prime(f, NI_AL, kelvin, box((8,), 2e-10))
    low, high = alloy.compositions
    sharp = Alloy(alloy.diffusivity * 1e18, alloy.gibbs_thomson(1e-9), high - low)
    edge = 2 * run["cells"] * SPACING * (BALLS / 2) ** (1 / 3)
    found, unit = [], FRACTION * edge**3 / (4 * np.pi / 3 * BALLS) / sharp.lsw_rate
    times = np.linspace(0, 4, 65)[1:] * unit
    for seed in SEEDS:
        centres, radii = balls(edge, seed)
        w = balanced(sharp, centres, radii, edge)
        found.append(ripen(sharp, centres, radii, edge, times.tolist(), supersaturation=w))
    left = np.array([[len(r) for r in each] for each in found]).mean(0) / BALLS
    chosen = (left < 0.6) & (left > 0.15)
    t, r = times[chosen], np.array([[x.mean() for x in each] for each in found])[:, chosen]
    rates = np.array([np.polyfit(t, row**3, 1)[0] for row in r]) / sharp.lsw_rate
    n, _ = growth(t.tolist(), r.tolist())
    return {
        "rate": float(rates.mean()), "rate_error": float(rates.std(ddof=1) / len(SEEDS) ** 0.5),
        "n": n["n"], "n_error": n["n_error"],
    }  # fmt: skip


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last line."""
    line: dict[str, Any] = {}
    for run in runs:
        widths, ratios = run["widths"], [slope(each) for each in run["pairs"]]
        thin = float(np.polyfit(1 / np.array(widths[-3:]), ratios[-3:], 1)[1])
        p = math.log(ratios[-1] / ratios[-2]) / math.log(widths[-1] / widths[-2])
        line[f"{run['kelvin']:g} K"] = {
            "k_over_sharp_k": dict(zip(map(str, widths), ratios, strict=True)),
            "k_over_sharp_k_thin": thin,
            **{f"sharp_{key}": value for key, value in run["many"].items()},
            "k_over_k_lsw": ratios[-1] * run["many"]["rate"],
            "coarsening_exponent": 1 / (3 - p), "drag": [each["drag"] for each in run["pairs"]],
        }  # fmt: skip
    return line


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Radii against time, and the ratio of rates against width/r."""
    figure = new_figure(10.4, 4.0)
    left, right = figure.subplots(1, 2)
    for colour, run in zip(COLOURS, runs, strict=False):
        name = f"{run['kelvin']:g} K"
        last, mean = run["pairs"][-1], run["widths"][-1] * WIDTH
        t = np.array(last["times"]) * last["lsw_rate"] / mean**3
        for ball in (0, 1):
            sharp = [r[ball] / mean for r in last["referee"]]
            field = [r[ball] / mean for r in last["phase_field"]]
            left.plot(t[SETTLED:], sharp, color=colour)
            left.plot(t, field, "o", color=colour, ms=3, label=name if ball == 0 else None)
        ratios = [slope(each) for each in run["pairs"]]
        right.plot(1 / np.array(run["widths"]), ratios, "o-", color=colour, label=name)
    left.set(
        title=f"balls of {runs[0]['widths'][-1]:g} widths; lines: sharp interfaces",
        xlabel="t K_LSW / r³", ylabel="R / r",
    )  # fmt: skip
    right.axhline(1, color="black", lw=0.8)
    right.set(
        xlabel="interface width / r", ylabel="rate / that of sharp interfaces", xlim=(0, None)
    )
    for axes in (left, right):
        axes.legend()
    figure.savefig(path)


def keep(runs: Sequence[dict[str, Any]]) -> None:
    """Write results, draw, print."""
    report = {"summary": summary(runs), "runs": list(runs)}
    write_atomically(RESULTS / "gamma_prime_coarsening.json", json.dumps(report, indent=1) + "\n")
    draw(runs, RESULTS / "gamma_prime_coarsening.png")
    print(json.dumps(report["summary"]))


def at(kelvin: float, widths: Sequence[float], device: str) -> dict[str, Any]:
    """All at one temperature."""
    from phasefield.calphad import OrderedFcc, default_database

    keep_freed_memory()
    torch.set_num_threads(1)
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin, floor=1e-3)
    pairs = []
    for size in widths:
        pairs.append(pair(f, kelvin, size, torch.device(device)))
        brief = {key: pairs[-1][key] for key in ("widths", "cells", "steps", "evaluations")}
        seconds = round(pairs[-1]["wall_s"])
        print(json.dumps({"kelvin": kelvin, "ratio": slope(pairs[-1]), "s": seconds} | brief))
    found = {"kelvin": kelvin, "device": device, "widths": list(widths), "pairs": pairs}
    return found | {"many": many(pairs[0], kelvin)}


def main() -> None:
    """Run both temperatures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[2.0, 3.0, 4.0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if len(options.sizes) < 3 or sorted(options.sizes) != options.sizes:
        parser.error("--sizes must be three or more, in order")
    job = partial(at, widths=options.sizes, device=options.device)
    with ProcessPoolExecutor(len(ORDER_LENGTHS), mp_context=get_context("spawn")) as pool:
        keep(list(pool.map(job, ORDER_LENGTHS)))


if __name__ == "__main__":
    main()
