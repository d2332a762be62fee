"""γ′ cuboids in Ni–Al: four variants grow and coarsen under their misfit, from a learned energy.

    python examples/ni_al/gamma_prime.py [--cells 128] [--dimensions 3] [--hours 10]

The network of `demo.py` at 1000 K, constants of `phasefield.ni_al`, an interface of 8 nm in cells
of 2 nm, a third of γ′, plane strain in two dimensions. The run is kept in runs/gamma_prime and goes
on with the same command; gamma_prime.png there shows it.
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
from phasefield.gamma_prime import NAMES, GammaPrime, box, gamma_prime
from phasefield.implicit import implicit_bdf2
from phasefield.ni_al import NI_AL, fixed
from phasefield.observe import L12Variants
from phasefield.plotting import plot_microstructure
from phasefield.precipitates import precipitated, scattered_precipitates
from phasefield.recorder import RunRecorder
from phasefield.solve import solve

KELVIN, WIDTH, FRACTION, RADIUS = 1000.0, 8e-9, 1 / 3, 16e-9
CONTROL = StepControl(tolerance=1e-4, first_step=1e-4, integrator=implicit_bdf2)


def alloy(model: Path, shape: tuple[int, ...], device: str, *, misfit: bool) -> GammaPrime:
    """The equations; without `misfit` no elasticity."""
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", WIDTH, "chosen"))
    grid = box(shape, WIDTH / 4, device=torch.device(device))
    f = load_energy(model).f
    found = gamma_prime(f, constants, KELVIN, grid, dealias=1.0, order_length=WIDTH / 8)
    return coherent(found, constants) if misfit else found


def start(ni_al: GammaPrime, seed: int) -> torch.Tensor:
    """Balls of the four variants in a supersaturated matrix."""
    shape, random = ni_al.model.grid.shape, torch.Generator().manual_seed(seed)
    content = (0.05, 0.03)[len(shape) - 2] * (shape[0] * WIDTH / 4 / RADIUS) ** len(shape)
    balls = scattered_precipitates(ni_al, RADIUS, max(1, round(content)), random)
    return precipitated(ni_al, balls, composition=ni_al.mean_composition(FRACTION))


def main() -> None:
    """Run or continue, draw, print the fraction of γ′ beside the lever rule's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=128, help="along each axis")
    parser.add_argument("--dimensions", type=int, default=3, choices=(2, 3))
    parser.add_argument("--hours", type=float, default=10.0, help="of ageing")
    parser.add_argument("--model", type=Path, default=Path("runs/ni_al_dft/model.safetensors"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-misfit", action="store_true", help="without elasticity")
    o = parser.parse_args()
    if not o.model.is_file():
        parser.error(f"`--model`: there is no file {o.model}; run examples/ni_al/demo.py first")
    keep_freed_memory()
    ni_al = alloy(o.model, (o.cells,) * o.dimensions, o.device, misfit=not o.no_misfit)
    grid, seen = ni_al.model.grid, L12Variants(threshold=ni_al.order / 2)
    kind = "unstrained" if o.no_misfit else "strained"
    directory = Path("runs/gamma_prime") / f"{o.cells}_{o.dimensions}d_{kind}"
    times = [3600 * o.hours * 10.0**x for x in np.linspace(-4, 0, 25)]
    with exclusive(directory), torch.no_grad():
        recorder = RunRecorder(directory, grid, list(NAMES), seen, {"temperature": KELVIN})
        solution = solve(ni_al.model, start(ni_al, 1), times, control=CONTROL, recorder=recorder)
    u, figure = solution.u.cpu(), directory / "gamma_prime.png"
    title = f"{KELVIN:g} K, {solution.time / 3600:.3g} h"
    if o.dimensions == 3:
        plot_cube(seen(u).numpy(), grid.spacing, title, figure)
    else:
        phases = seen(u).numpy()
        plot_microstructure(u.numpy(), phases, NAMES, seen.labels, grid.spacing, title, figure)
    rich = u[0] > sum(ni_al.compositions) / 2
    print(json.dumps({
        "figure": str(figure), "hours": solution.time / 3600, "wall_s": solution.wall_s,
        "fraction": float(rich.double().mean()), "lever_rule_unstrained": FRACTION,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
