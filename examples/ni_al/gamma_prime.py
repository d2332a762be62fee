"""γ′ cuboids in Ni–Al: four variants grow and coarsen under their misfit, from a learned energy.

    python examples/ni_al/gamma_prime.py [--cells 128] [--dimensions 3] [--hours 10]

The network of `demo.py` at 1000 K, constants of `phasefield.ni_al`, an interface of 4 nm in cells
of 1.33 nm, a third of γ′. The run is kept in runs/gamma_prime and goes on with the same command;
gamma_prime.png there shows it. An hour for 256² cells, a day for 128³ on two cores.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from idnn.files import exclusive
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.coherency import coherent
from phasefield.cube_plot import plot_cube
from phasefield.free_energies import load_energy
from phasefield.gamma_prime import NAMES, box, gamma_prime
from phasefield.ni_al import NI_AL, fixed
from phasefield.observe import L12Variants
from phasefield.plotting import plot_microstructure
from phasefield.precipitates import precipitated, scattered_precipitates
from phasefield.recorder import RunRecorder
from phasefield.solve import solve

KELVIN, WIDTH, FRACTION, RADIUS = 1000.0, 4e-9, 1 / 3, 6e-9


def main() -> None:
    """Run or continue, draw, print the fraction of γ′ beside the lever rule's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=128, help="along each axis")
    parser.add_argument("--dimensions", type=int, default=3, choices=(2, 3))
    parser.add_argument("--hours", type=float, default=10.0, help="of ageing")
    parser.add_argument("--model", type=Path, default=Path("runs/ni_al_dft/model.safetensors"))
    options = parser.parse_args()
    if not options.model.is_file():
        parser.error(
            f"`--model`: there is no file {options.model}; run examples/ni_al/demo.py first"
        )
    keep_freed_memory()
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", WIDTH, "chosen"))
    grid = box((options.cells,) * options.dimensions, WIDTH / 3)
    f = load_energy(options.model).f
    alloy = gamma_prime(f, constants, KELVIN, grid, dealias=1.0, order_length=WIDTH)
    alloy = coherent(alloy, constants)
    size = options.cells * WIDTH / 3
    count = max(1, round(0.03 * (size / RADIUS) ** options.dimensions))
    balls = scattered_precipitates(alloy, RADIUS, count, torch.Generator().manual_seed(1))
    u0 = precipitated(alloy, balls, composition=alloy.mean_composition(FRACTION))
    times = [3600 * options.hours * 10.0**x for x in np.linspace(-4, 0, 25)]
    directory = Path("runs/gamma_prime") / f"{options.cells}_{options.dimensions}d"
    seen = L12Variants(threshold=alloy.order / 2)
    with exclusive(directory), torch.no_grad():
        recorder = RunRecorder(directory, grid, list(NAMES), seen, {"temperature": KELVIN})
        control = StepControl(tolerance=1e-5, first_step=1e-3)
        solution = solve(alloy.model, u0, times, control=control, recorder=recorder)
    phases, figure = seen(solution.u).numpy(), directory / "gamma_prime.png"
    title = f"{KELVIN:g} K, {solution.time / 3600:.3g} h"
    if options.dimensions == 3:
        plot_cube(phases, grid.spacing, title, figure)
    else:
        fields = solution.u.numpy()
        plot_microstructure(fields, phases, NAMES, seen.labels, grid.spacing, title, figure)
    rich = solution.u[0] > sum(alloy.compositions) / 2
    print(json.dumps({
        "figure": str(figure), "hours": solution.time / 3600, "wall_s": solution.wall_s,
        "fraction": float(rich.double().mean()), "lever_rule_unstrained": FRACTION,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
