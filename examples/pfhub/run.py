"""Run benchmarks of PFHub and keep F(t), or the errors of benchmark 7, in `results/`.

    python examples/pfhub/run.py 1a 1b "2a 128" 7
    python examples/pfhub/run.py "2a 200" --until 500

1a with starts sampled at the centres of 128² and 200² cells and at the nodes of 256², 1b between
walls, 2a on 128², 200² and 256² cells, 4a, 4b and 4c in periodic boxes on cells of 1 or 2 nm, each
until it rests or the last of `TIMES`. Minutes each, hours for 2a and 4b; a run that was stopped
goes on from the last of `TIMES`, its fields are in `runs/pfhub/`.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from cases import Wave, precipitate, reach, ripening, spinodal, square

from idnn.files import exclusive, write_atomically
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.files import open_history, open_trajectory
from phasefield.integrators import INTEGRATORS
from phasefield.observe import AboveThreshold
from phasefield.recorder import RunRecorder
from phasefield.solve import solve

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parents[2] / "runs/pfhub"
TIMES = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 1e5, 7.75e5]
CONTROL = StepControl(tolerance=1e-4, steady=1e-8)
ELASTIC = StepControl(tolerance=1e-4, steady=1e-6)

STARTS: dict[str, Callable[[], Any]] = {
    "1a 128": lambda: spinodal(square(128)),
    "1a 200": lambda: spinodal(square(200)),
    "1a 256 nodes": lambda: spinodal(square(256), nodes=True),
    "1b 200": lambda: spinodal(square(200, walls=True)),
    "2a 128": lambda: ripening(square(128)),
    "2a 200": lambda: ripening(square(200)),
    "2a 256": lambda: ripening(square(256)),
    "4a": lambda: precipitate(400),
    "4b": lambda: precipitate(750, radius=75.0, matrix=0.005),
    "4c": lambda: precipitate(400, stiffer=1.1),
}


def curve(name: str, until: float) -> dict[str, Any]:
    """F at the listed times, and what it cost."""
    model, u0 = STARTS[name]()
    directory = RUNS / name.replace(" ", "_")
    fields = [field.name for field in model.fields]
    times = [time for time in TIMES if time <= until]
    with exclusive(directory):
        recorder = RunRecorder(directory, model.grid, fields, AboveThreshold(0.5), {"case": name})
        control = ELASTIC if name.startswith("4") else CONTROL
        solution = solve(model, u0, times, control=control, recorder=recorder)
    history, frames = open_history(directory), open_trajectory(directory)["time"][1:].to_numpy()
    ends = history["time"].to_numpy().searchsorted(frames)
    shape = {"reach": reach(model.grid, solution.u[0])} if name.startswith("4") else {}
    return shape | {
        "time": frames.tolist(), "F": history["free_energy"].to_numpy()[ends].tolist(),
        "elastic": history["elastic"].to_numpy()[[0, *ends]].tolist(),
        "rests": solution.state.speed <= control.steady, "steps": solution.state.steps,
        "evaluations": solution.state.evaluations, "total_s": solution.wall_s,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def error(cells: int, integrator: str, dt: float, end: float, wave: Wave) -> float:
    """L₂ error of benchmark 7 at `end`."""
    model = wave.equation(cells)
    control = StepControl(fixed_step=dt, integrator=INTEGRATORS[integrator])
    end_u = solve(model, wave.solution(model.grid, 0.0), [end], control=control).u
    difference = (end_u - wave.solution(model.grid, end)).square().sum()
    return math.sqrt(float(difference) * model.grid.cell_volume)


def orders(end: float = 8.0) -> Iterator[tuple[str, list[Any]]]:
    """Errors over steps for every integrator, and over cells."""
    for name in INTEGRATORS:
        steps = [2.0**-k for k in (range(2, 6) if name == "etdrk4" else range(4, 9))]
        yield name, [(dt, error(320, name, dt, end, Wave())) for dt in steps]
    cells = (64, 96, 128, 192, 256, 320)
    yield "space", [(n, error(n, "etdrk4", 2.0**-6, end, Wave())) for n in cells]
    yield (
        "7c etdrk4",
        [(2.0**-k, error(320, "etdrk4", 2.0**-k, end, Wave(turning=0.5))) for k in range(3, 7)],
    )


def main() -> None:
    """Run what is asked for; results of other curves stay."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases = ["1a", "1b", "2a", "4", "7", *STARTS]
    parser.add_argument("cases", nargs="+", choices=cases, metavar="CASE", help=", ".join(cases))
    parser.add_argument("--until", type=float, default=TIMES[-1], help="last time of 1 and 2")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    for case in options.cases:
        path = RESULTS / f"{'4' if case[0] == '4' else case.split()[0]}.json"
        curves = ((name, curve(name, options.until)) for name in STARTS if name.startswith(case))
        for name, values in orders() if case == "7" else curves:
            found = json.loads(path.read_text()) if path.exists() else {}
            found[name] = values
            write_atomically(path, json.dumps(found, indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
