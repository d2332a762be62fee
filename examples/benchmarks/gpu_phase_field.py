"""Steps of the phase field on a GPU, against the memory traffic that they cannot do without.

    python examples/benchmarks/gpu_phase_field.py

1. Whole steps as a run takes them (fields, free energy, decision) of Cahn–Hilliard with a double
   well, semi-implicit Euler and ETDRK4, float64 and float32, launched one by one and replayed.
   `share_of_bound`: time that the necessary bytes take at the rate of a plain copy on this card,
   over the time of the step. Necessary are, in fields read or written: for an evaluation two
   transforms (one pass in and out per axis) and the pointwise pass, for the step the state, forces
   and coefficients once, for the energy the state and weights: 156 bytes per cell for a step of
   semi-implicit Euler in three dimensions and float64, half of it in float32.
2. One step with four fields: a polynomial and a learned energy.
3. PFHub 1a on 1024² cells to t = 100: seconds for a free energy within 10⁻⁴ of a fine solution.

Everything goes to `results/gpu_phase_field.json`, by the name of the card; the last line is one
JSON object. Two minutes.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# ruff: noqa: E402
HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "pfhub"))

import torch
from cases import spinodal  # pyright: ignore[reportMissingImports]
from phase_field import LANDAU, learned  # pyright: ignore[reportMissingImports]

from idnn.files import write_atomically
from phasefield import replay
from phasefield.adaptive import State, StepControl, Stepper
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.integrators import Integrator, etdrk4, semi_implicit_euler
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

RESULTS = HERE / "results" / "gpu_phase_field.json"
SHAPES = ((256, 256), (1024, 1024), (4096, 4096), (128,) * 3, (256,) * 3, (512,) * 3)
GPU = torch.device("cuda")


def seconds(function: Callable[[], object], least: float = 0.4) -> float:
    """Of one call, the least of three rounds; every round waits for the GPU once."""
    function()
    torch.cuda.synchronize()
    began = time.perf_counter()
    function()
    torch.cuda.synchronize()
    count = max(3, int(least / (time.perf_counter() - began)))
    found = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(count):
            function()
        torch.cuda.synchronize()
        found.append((time.perf_counter() - began) / count)
    return min(found)


def copy_rate() -> float:
    """Bytes per second, read and written, of copying a GiB."""
    source = torch.empty(2**27, dtype=torch.float64, device=GPU)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source))


def necessary_bytes(grid: Grid, integrator: Integrator) -> float:
    """Per cell of a step with one field: see above."""
    size = grid.dtype.itemsize
    evaluations = 1 if integrator is semi_implicit_euler else 4
    evaluation = (4 * len(grid.shape) + 2) * size
    # Read and written over all combinations, of fields, and of coefficients, half as large.
    combined, coefficients = (3, 2) if integrator is semi_implicit_euler else (16, 12)
    return evaluations * evaluation + (combined + coefficients / 2) * size + size + 4


def model(grid: Grid) -> tuple[GradientFlow, torch.Tensor]:
    """Cahn–Hilliard and a start with a little noise."""
    generator = torch.Generator(GPU).manual_seed(0)
    noise = torch.randn(grid.shape, generator=generator, dtype=grid.dtype, device=GPU)
    flow = GradientFlow(grid, double_well(5.0, 0.3, 0.7), (OrderField("c", True, 5.0, 2.0),))
    return flow, noise.mul_(0.01).add_(0.5)[None]


def run_of(stepper: Stepper, state: State) -> Callable[[], object]:
    """A function that takes the next step."""
    states = [state]

    def advance() -> None:
        states[0] = stepper.advance(states[0], 1e9)

    return advance


def step(shape: tuple[int, ...], dtype: torch.dtype, integrator: Integrator) -> dict[str, Any]:
    """Seconds of a step, launched and replayed, and memory."""
    grid = Grid(shape, 1.0, device=GPU, dtype=dtype)
    row: dict[str, Any] = {
        "shape": shape, "dtype": str(dtype).removeprefix("torch."), "integrator": integrator.name,
    }  # fmt: skip
    for name, cells in (("launched", 0), ("replayed", replay.CELLS_TO_REPLAY)):
        replay.CELLS_TO_REPLAY = cells
        if cells < grid.cells and name == "replayed":
            continue
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        flow, u0 = model(grid)
        stepper = Stepper(flow, StepControl(fixed_step=2.0**-6, integrator=integrator))
        row[f"{name}_ms"] = 1e3 * seconds(run_of(stepper, stepper.start(u0)))
        row["bytes_per_cell"] = torch.cuda.max_memory_allocated() / grid.cells
        del flow, u0, stepper
    best = min(row[key] for key in ("launched_ms", "replayed_ms") if key in row)
    row["cell_updates_per_s"] = 1e3 * grid.cells / best
    row["necessary_bytes"] = necessary_bytes(grid, integrator)
    return row | {"ms": best}


def four_fields(shape: tuple[int, ...]) -> dict[str, Any]:
    """Milliseconds of a step with a polynomial and with a learned energy."""
    grid = Grid(shape, 1.0, device=GPU)
    fields = (
        OrderField("c", True, 1.0, 0.5),
        *[OrderField(name, False, 1.0, 0.5) for name in "xyz"],
    )
    generator = torch.Generator(GPU).manual_seed(0)
    noise = torch.randn((4, *shape), generator=generator, dtype=grid.dtype, device=GPU)
    start = torch.tensor([0.2, 0.1, 0.1, 0.1], dtype=grid.dtype, device=GPU)
    u0 = start.reshape(4, *[1] * len(shape)) + 0.01 * noise
    row: dict[str, Any] = {"shape": shape}
    control = StepControl(fixed_step=2.0**-10, integrator=semi_implicit_euler)
    for name, f in (("polynomial", LANDAU), ("learned", learned().to(GPU))):
        stepper = Stepper(GradientFlow(grid, f, fields), control)
        row[f"{name}_ms"] = 1e3 * seconds(run_of(stepper, stepper.start(u0)))
    return row


def accurate(cells: int = 1024) -> dict[str, Any]:
    """PFHub 1a to t = 100, and the quickest of a few settings with F within 10⁻⁴."""
    box = Grid((cells, cells), 200.0 / cells, device=GPU)
    flow, u0 = spinodal(box)
    settings = {
        "fine": StepControl(tolerance=1e-7, large_steps=None),
        **{f"etdrk4 {dt}": StepControl(fixed_step=dt) for dt in (0.25, 0.5, 1.0)},
        **{f"adaptive {t:g}": StepControl(tolerance=t) for t in (1e-3, 1e-4)},
    }
    found: dict[str, Any] = {}
    for name, control in settings.items():
        ends = [solve(flow, u0, [100.0], control=control) for _ in range(1 + (name != "fine"))]
        end = min(ends, key=lambda each: each.wall_s)
        found[name] = {
            "wall_s": end.wall_s, "F": end.state.energy.total,
            "evaluations": end.state.evaluations,
            "cell_evaluations_per_s": cells**2 * end.state.evaluations / end.wall_s,
        }  # fmt: skip
        found[name]["error"] = end.state.energy.total / found["fine"]["F"] - 1
        print(name, json.dumps(found[name]), flush=True)
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """The last line."""
    good = [r for n, r in found["accurate"].items() if n != "fine" and abs(r["error"]) < 1e-4]
    return {
        "device": found["device"],
        "share_of_bound_512cubed": {
            f"{row['integrator']} {row['dtype']}": round(row["share_of_bound"], 3)
            for row in found["steps"]
            if list(row["shape"]) == [512] * 3
        },
        "cell_updates_per_s": max(row["cell_updates_per_s"] for row in found["steps"]),
        "s_1a_1024_to_100": min((r["wall_s"] for r in good), default=None),
    }


def main() -> None:
    """Measure, keep, print."""
    rate = copy_rate()
    rows = []
    with torch.no_grad():
        for shape in SHAPES:
            for dtype in (torch.float64, torch.float32):
                for integrator in (semi_implicit_euler, etdrk4):
                    row = step(shape, dtype, integrator)
                    bound = row["necessary_bytes"] * Grid(shape, 1.0).cells / rate
                    rows.append(row | {"share_of_bound": 1e3 * bound / row["ms"]})
                    print(json.dumps(rows[-1]), flush=True)
        four = [four_fields(shape) for shape in ((1024, 1024), (128,) * 3)]
        print(json.dumps(four), flush=True)
        found = {
            "device": torch.cuda.get_device_name(), "torch": torch.__version__,
            "copy_bytes_per_s": rate, "steps": rows, "four_fields": four, "accurate": accurate(),
        }  # fmt: skip
    found["summary"] = summary(found)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[found["device"]] = found
    write_atomically(RESULTS, json.dumps(kept, indent=1) + "\n")
    print(json.dumps(found["summary"]))


if __name__ == "__main__":
    main()
