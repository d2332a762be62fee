"""The phase field against the time of its own transforms, and against other codes.

    python examples/benchmarks/phasefield.py [--peers] [--quick]

1. Milliseconds of a step of `semi_implicit_euler` and `etdrk4` beside those of the transforms that
   it must do (two a field and evaluation), fastest of several, for one and two threads;
   Cahn–Hilliard on the cells and without aliases, and with three Allen–Cahn fields a polynomial
   and a learned energy.
2. PFHub 1a to t = 100 with F within 10⁻⁴ of a fine solution, at 200² and 400² cells, beside the
   times of py-pde and FiPy in `results/phasefield_peers.json` (`phasefield_peers.py` writes it;
   --peers runs it first).
3. PFHub 1a to t = 7.75×10⁵ and rest: wall seconds per unit of time.
4. Bytes per cell: the largest growth of the process in a run, above what it holds before.

Everything goes to `results/phasefield.json`; the last line is one JSON object. About ten minutes.
`gpu` in it is what `gpu_phase_field.py` kept on the cards where it ran; null where it did not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

# ruff: noqa: E402
HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "pfhub"))

import torch
from cases import spinodal, square  # pyright: ignore[reportMissingImports]

from idnn.files import write_atomically
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.integrators import Integrator, Point, etdrk4, sbdf2, semi_implicit_euler
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

RESULTS = HERE / "results" / "phasefield.json"
ON_GPU = HERE / "results" / "gpu_phase_field.json"
PEERS = HERE / "results" / "phasefield_peers.json"
SHAPES = ((256, 256), (512, 512), (1024, 1024), (128, 128, 128))
LANDAU = Expression(
    "a/2*(c - 0.125)**2 + b/6*(0.383 - c)*(x**2 + y**2 + z**2) - d/3*x*y*z"
    " + e/4*(x**4 + y**4 + z**4) + g/4*(x**2 + y**2 + z**2)**2",
    ("c", "x", "y", "z"),
    {"a": 905.387, "b": 211.611, "d": 165.031, "e": 30.0, "g": 5.071},
)
"""Form and coefficients of a Landau polynomial of γ/γ′, in units of its own."""


def best(*functions: Callable[[], object], repeats: int = 15) -> list[float]:
    """Milliseconds, the least of several, of functions that take turns."""
    found = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, found, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    return [1e3 * min(times) for times in found]


def learned() -> IntegrableNetwork:
    """One network of the demo's size."""
    network = IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(widths=(16, 16), floor=2e-3))
    return network.requires_grad_(False)


def models(grid: Grid) -> dict[str, tuple[GradientFlow, torch.Tensor]]:
    """The models with a start near the middle of everything."""
    order = [OrderField(name, False, 1.0, 0.5) for name in "xyz"]
    fields = (OrderField("c", True, 1.0, 0.5), *order)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((4, *grid.shape), generator=generator, dtype=grid.dtype)
    ordered = torch.tensor([0.2, 0.1, 0.1, 0.1], dtype=grid.dtype)
    u = ordered.reshape(4, *[1] * len(grid.shape)) + 0.01 * noise
    one = OrderField("c", True, 5.0, 2.0)
    plain = GradientFlow(grid, double_well(5.0, 0.3, 0.7), (one,))
    return {
        "CH": (plain, 0.5 + 0.01 * noise[:1]),
        "CH dealiased": (replace(plain, dealias="exact"), 0.5 + 0.01 * noise[:1]),
        "CH + 3 AC polynomial": (GradientFlow(grid, LANDAU, fields), u),
        "CH + 3 AC learned": (GradientFlow(grid, learned(), fields), u),
    }


def step_and_transforms(
    model: GradientFlow, u: torch.Tensor, integrator: Integrator, repeats: int
) -> tuple[float, float]:
    """Milliseconds of a step, and of the transforms of one evaluation beside it."""
    model = model.stabilised(u)
    u_hat = model.grid.transform(u)
    step = integrator.prepare(model, 1e-3)
    at = Point(0.0, u_hat, model.evaluate(u_hat).force_hat)
    step(at)
    whole, there, back = best(
        lambda: step(at),
        lambda: model.grid.transform(u),
        lambda: model.grid.inverse(u_hat),
        repeats=repeats,
    )
    return whole, there + back


def steps(threads: int, shapes: tuple[tuple[int, ...], ...]) -> list[dict[str, Any]]:
    """Milliseconds of steps and of their transforms."""
    torch.set_num_threads(threads)
    found = []
    for shape in shapes:
        workers = ThreadPoolExecutor(threads) if threads > 1 else None
        for name, (model, u) in models(Grid(shape, 1.0, workers=workers)).items():
            for integrator, evaluations in ((semi_implicit_euler, 1), (etdrk4, 4)):
                repeats = max(5, min(40, 10**7 // u.numel()))
                ms, once = step_and_transforms(model, u, integrator, repeats)
                found.append({
                    "shape": shape, "threads": threads, "model": name, "ms": ms,
                    "ffts_ms": evaluations * once, "integrator": integrator.name,
                    "ratio": ms / (evaluations * once),
                })  # fmt: skip
                print(json.dumps(found[-1]), flush=True)
    return found


def to_100(cells: int, control: StepControl) -> dict[str, Any]:
    """PFHub 1a, node-sampled as in the peers, to t = 100, on one thread."""
    torch.set_num_threads(1)
    model, u0 = spinodal(square(cells), nodes=True)
    began, cpu = time.perf_counter(), time.process_time()
    end = solve(model, u0, [100.0], control=control)
    return {
        "cells": cells, "wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu,
        "F": end.state.energy.total, "steps": end.state.steps,
    }  # fmt: skip


def against_peers() -> dict[str, Any]:
    """Our quickest of a few settings that is within 10⁻⁴ of a fine solution."""
    settings = {
        "sbdf2 0.25": StepControl(fixed_step=0.25, integrator=sbdf2),
        "sbdf2 0.125": StepControl(fixed_step=0.125, integrator=sbdf2),
        "etdrk4 0.5": StepControl(fixed_step=0.5),
        "etdrk4 0.25": StepControl(fixed_step=0.25),
        "etdrk4 1.0": StepControl(fixed_step=1.0),
        "adaptive 1e-4": StepControl(tolerance=1e-4),
    }
    found: dict[str, Any] = {}
    for cells in (200, 400):
        fine = to_100(cells, StepControl(tolerance=1e-7, large_steps=None))["F"]
        for name, control in settings.items():
            runs = [to_100(cells, control) for _ in range(3 if cells == 200 else 1)]
            run = min(runs, key=lambda r: r["wall_s"])
            run["error"] = run["F"] / fine - 1
            found[f"{cells} {name}"] = run
            print(cells, name, json.dumps(run), flush=True)
    return found


def to_rest() -> dict[str, Any]:
    """PFHub 1a to its rest at t = 7.75×10⁵."""
    torch.set_num_threads(1)
    model, u0 = spinodal(square(200))
    began = time.perf_counter()
    control = StepControl(tolerance=1e-4, steady=1e-12)
    end = solve(model, u0, [1e5, 7.75e5], control=control)
    wall = time.perf_counter() - began
    return {
        "t": end.time,
        "F": end.state.energy.total,
        "wall_s": wall,
        "s_per_unit": wall / end.time,
    }


def bytes_per_cell() -> dict[str, float]:
    """Of runs in processes of their own."""
    found = {}
    for name in ("semi_implicit_euler", "sbdf2", "etdrk4", "etdrk4 and implicit_bdf2"):
        code = [sys.executable, __file__, "--memory", name]
        found[name] = float(subprocess.run(code, capture_output=True, text=True, check=True).stdout)
    return found


def memory(name: str) -> float:
    """Growth of this process by a Cahn–Hilliard run of 1024² cells, per cell."""
    integrators = {"semi_implicit_euler": semi_implicit_euler, "sbdf2": sbdf2}
    control = StepControl(integrator=integrators.get(name, etdrk4), first_step=0.01)
    if "implicit" not in name:
        control = replace(control, large_steps=None)
    torch.set_num_threads(1)
    for cells in (32, 1024):  # the first loads and compiles what there is to load and compile
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now
        before = _resident("VmRSS")
        model, u0 = spinodal(square(cells))
        solve(model, u0, [0.05], control=control)
    return (_resident("VmHWM") - before) / 1024**2


def _resident(name: str) -> float:
    """Bytes of this process in memory, now or at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """The last line."""
    one = [
        s for s in found["steps"] if s["threads"] == 1 and s["integrator"] == "semi_implicit_euler"
    ]

    def of(model: str, shape: tuple[int, ...], key: str) -> float:
        return next(s[key] for s in one if s["model"] == model and tuple(s["shape"]) == shape)

    line: dict[str, Any] = {
        f"fft_ratio_{name}": of("CH", shape, "ratio")
        for name, shape in (("512", (512,) * 2), ("1024", (1024,) * 2), ("128cubed", (128,) * 3))
        if shape in {tuple(s["shape"]) for s in one}
    }
    ratios = {
        "x".join(map(str, shape)): of("CH + 3 AC learned", shape, "ms")
        / of("CH + 3 AC polynomial", shape, "ms")
        for shape in sorted({tuple(s["shape"]) for s in one})
    }
    line |= {"learned_over_polynomial": max(ratios.values()), "learned_by_shape": ratios}
    peers = json.loads(PEERS.read_text()) if PEERS.exists() else {}
    for cells in (200, 400):
        good = [
            r for r in found["to_100"].values() if r["cells"] == cells and abs(r["error"]) < 1e-4
        ]
        ours = min(r["wall_s"] for r in good)
        for peer in ("pypde", "fipy"):
            theirs = peers.get(f"{peer} {cells}")
            line[f"{peer}_ratio_{cells}"] = theirs["wall_s"] / ours if theirs else None
    line["s_per_unit_1a"] = found["to_rest"]["s_per_unit"]
    line["bytes_per_cell"] = found["bytes_per_cell"]
    kept = json.loads(ON_GPU.read_text()) if ON_GPU.exists() else {}
    return line | {"gpu": [card["summary"] for card in kept.values()] or None}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="time the peers in this environment")
    parser.add_argument("--quick", action="store_true", help="256² cells alone in part 1")
    parser.add_argument("--memory", metavar="INTEGRATOR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(memory(options.memory))
        return
    keep_freed_memory()
    if options.peers:
        subprocess.run([sys.executable, HERE / "phasefield_peers.py"], check=True)
    shapes = SHAPES[:1] if options.quick else SHAPES
    with torch.no_grad():
        found = {
            "steps": [row for threads in (1, 2) for row in steps(threads, shapes)],
            "to_100": against_peers(), "to_rest": to_rest(), "bytes_per_cell": bytes_per_cell(),
            "cpu_count": os.cpu_count(), "load": os.getloadavg(), "torch": torch.__version__,
        }  # fmt: skip
    write_atomically(RESULTS, json.dumps(found, indent=1) + "\n")
    print(json.dumps(summary(found)))


if __name__ == "__main__":
    main()
