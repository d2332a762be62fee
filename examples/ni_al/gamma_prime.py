"""γ′ cuboids in Ni–Al: four variants grow and coarsen under their misfit, from a learned energy.

    python examples/ni_al/gamma_prime.py [--cells 128] [--dimensions 3] [--width 4] [--hours 10]

The network of `demo.py` at 1000 K, a third of γ′, plane strain in two dimensions. Interfaces of any
width take four cells. Kept and drawn under runs/gamma_prime; the same command goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from idnn.files import exclusive
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.coherency import coherent
from phasefield.free_energies import load_energy
from phasefield.gamma_prime import NAMES, GammaPrime, box, gamma_prime
from phasefield.implicit import implicit_bdf2
from phasefield.ni_al import NI_AL, fixed
from phasefield.observe import L12Variants
from phasefield.particle_plot import plot_particles
from phasefield.plotting import plot_microstructure
from phasefield.precipitates import precipitated, scattered_precipitates
from phasefield.recorder import RunRecorder
from phasefield.solve import solve

MODEL, KELVIN, FRACTION = Path("runs/ni_al_dft/model.safetensors"), 1000.0, 1 / 3
CONTROL = StepControl(tolerance=2e-3, first_step=1e-4, integrator=implicit_bdf2, large_steps=None)


def alloy(shape: tuple[int, ...], width: float, device: str, *, misfit: bool) -> GammaPrime:
    """The equations, with an interface of `width` (m); without `misfit` no elasticity."""
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", width, "chosen"))
    grid, f = box(shape, width / 4, device=torch.device(device)), load_energy(MODEL).f
    found = gamma_prime(f, constants, KELVIN, grid, dealias=1.0, order_length=width / 8)
    return coherent(found, constants) if misfit else found


def main() -> None:
    """Run or continue, draw, print the fraction of γ′ beside the lever rule's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=128, help="along each axis")
    parser.add_argument("--dimensions", type=int, default=3, choices=(2, 3))
    parser.add_argument("--width", type=float, default=4.0, help="of interfaces, in nm")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--tolerance", type=float, default=2e-3, help="of a step, in every cell")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-misfit", action="store_true", help="without elasticity")
    o = parser.parse_args()
    if not MODEL.is_file():
        parser.error(f"there is no {MODEL}; run examples/ni_al/demo.py first")
    keep_freed_memory()
    ni_al = alloy((o.cells,) * o.dimensions, 1e-9 * o.width, o.device, misfit=not o.no_misfit)
    grid, seen = ni_al.model.grid, L12Variants(threshold=ni_al.order / 2)
    count = max(1, round((0.05, 0.03)[o.dimensions - 2] * (o.cells / 10) ** o.dimensions))
    balls = scattered_precipitates(ni_al, 2.5e-9 * o.width, count, torch.Generator().manual_seed(1))
    u0 = precipitated(ni_al, balls, composition=ni_al.mean_composition(FRACTION))
    runs = Path("runs/gamma_prime" + "_unstrained" * o.no_misfit)
    directory = runs / f"{o.cells}_{o.dimensions}d_{o.width:g}nm"
    times = [*[t for t in np.logspace(0, 6, 61) if t < 3600 * o.hours], 3600 * o.hours]
    with exclusive(directory), torch.no_grad():
        recorder = RunRecorder(directory, grid, list(NAMES), seen, {"temperature": KELVIN})
        control = replace(CONTROL, tolerance=o.tolerance)
        solution = solve(ni_al.model, u0, times, control=control, recorder=recorder)
    u, png = solution.u.cpu(), directory / "gamma_prime.png"
    title, phases = f"{KELVIN:g} K, {solution.time / 3600:.3g} h", seen(u).numpy()
    if o.dimensions == 3:
        plot_particles(u[0].numpy(), ni_al.mean_composition(0.5), phases, grid.spacing, title, png)
    else:
        plot_microstructure(u.numpy(), phases, NAMES, seen.labels, grid.spacing, title, png)
    share = float((u[0] > ni_al.mean_composition(0.5)).double().mean())
    print(f"{png}: {solution.wall_s:.0f} s, γ′ {share:.4f}, lever rule {FRACTION:.4f}")


if __name__ == "__main__":
    main()
