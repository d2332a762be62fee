"""Compare the kept results of `run.py` with other codes, closed forms and theory.

    python examples/pfhub/compare.py

Figures of other codes are their uploads to PFHub (usnistgov/pfhub, public domain), those of them
that report the specified problem; half do not. Draws `results/pfhub.png`; the last line is one JSON
object with the largest relative deviation of every case.
"""

import itertools
import json
import math
from pathlib import Path

from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
SIGMA = math.sqrt(20) * 0.4**3 / 6
"""Interface energy of benchmark 1 in closed form."""

MEUMAPPS: dict[float, float] = {
    100: 136.52, 500: 98.61, 1000: 85.31, 2000: 60.64, 5000: 43.84, 1e4: 33.42, 2e4: 27.90,
}  # fmt: skip
MOOSE: dict[float, float] = {1: 3485.6, 5: 2787.0, 10: 2067.6, 20: 1302.6, 200: 873.2, 500: 758.6}
MOOSE_END = 327.8
FENICS: dict[float, float] = {1: 3479.0, 5: 2665.0, 10: 2069.0, 20: 1348.0}


def read(case: str) -> dict:
    """The kept results of a case."""
    path = RESULTS / f"{case}.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: python examples/pfhub/run.py {case}")
    return json.loads(path.read_text())


def at(curve: dict, time: float) -> float:
    """F of a curve at a listed time; after it has come to rest, its last."""
    later = [f for t, f in zip(curve["time"], curve["F"], strict=True) if t >= time]
    return later[0] if later else curve["F"][-1]


def largest(curve: dict, reference: dict[float, float], times: tuple[float, float]) -> float:
    """Largest relative deviation from `reference` within `times`."""
    chosen = [t for t in reference if times[0] <= t <= times[1]]
    return max(abs(at(curve, t) / reference[t] - 1) for t in chosen)


def order(errors: list[list[float]]) -> float:
    """Of convergence, over the last halving above twice what walls in place of values leave."""
    pairs = [(a, b) for (_, a), (_, b) in itertools.pairwise(errors) if b > 4e-7]
    return math.log2(pairs[-1][0] / pairs[-1][1])


def main() -> None:
    """Print, draw, and print the summary."""
    one, walls, two, four, seven = (read(case) for case in ("1a", "1b", "2a", "4", "7"))
    fine = dict(zip(two["2a 256"]["time"], two["2a 256"]["F"], strict=True))
    coarse = dict(zip(two["2a 128"]["time"], two["2a 128"]["F"], strict=True))
    own = dict(zip(one["1a 200"]["time"], one["1a 200"]["F"], strict=True))
    summary = {
        "1a_two_grids": largest(one["1a 128"], own, (1, 2e4)),
        "1a_lamella": abs(one["1a 200"]["F"][-1] / (400 * SIGMA) - 1),
        "1a_nodes_meumapps": largest(one["1a 256 nodes"], MEUMAPPS, (100, 2e4)),
        "1b_interface": abs(walls["1b 200"]["F"][-1] / (200 * SIGMA) - 1),
        "2a_early": max(largest(c, r, (1, 20)) for c in two.values() for r in (MOOSE, FENICS)),
        "2a_late": max(largest(c, MOOSE, (200, 500)) for c in two.values()),
        "2a_late_128": largest(two["2a 128"], MOOSE, (200, 500)),
        "2a_two_grids_to_100": largest(two["2a 200"], coarse, (1, 100)),
        "2a_two_grids": largest(two["2a 200"], coarse, (1, 500)),
        "2a_two_finer_grids": largest(two["2a 200"], fine, (1, 500)),
        "2a_rests": any(c["rests"] for c in two.values()),
        "2a_end": abs(two["2a 128"]["F"][-1] / MOOSE_END - 1),
        **{f"{name}_reach": c["reach"] for name, c in four.items()},
        **{f"7_order_{name}": order(e) for name, e in seven.items() if name not in ("space",)},
    }
    for name, curve in (one | walls | two | four).items():
        print(name)
        for t, f in zip(curve["time"], curve["F"], strict=True):
            print(f"  t = {t:<8g} F = {f:.4f}")
    draw(one | walls, two, seven)
    print(json.dumps(summary))


def draw(one: dict, two: dict, seven: dict) -> None:
    """F(t) of benchmarks 1 and 2, errors of benchmark 7."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, curves in ((left, one), (middle, two)):
        for name, curve in curves.items():
            axes.loglog(curve["time"], curve["F"], label=name)
        axes.set(xlabel="time", ylabel="free energy")
    left.plot(*zip(*MEUMAPPS.items(), strict=True), "k.", label="MEUMAPPS (nodes)")
    for name, reference, mark in (("MOOSE", MOOSE, "k."), ("FEniCS", FENICS, "kx")):
        middle.plot(*zip(*reference.items(), strict=True), mark, label=name)
    for name, errors in seven.items():
        if name != "space":
            right.loglog(*zip(*errors, strict=True), "o-", label=name)
    right.set(xlabel="step", ylabel="L₂ error of benchmark 7a at t = 8", ylim=(1e-7, 0.2))
    places = ((left, "lower left", 1), (middle, "upper right", 1), (right, "upper left", 2))
    for axes, place, columns in places:
        axes.legend(frameon=False, fontsize=8, loc=place, ncols=columns)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "pfhub.png", dpi=150)


if __name__ == "__main__":
    main()
