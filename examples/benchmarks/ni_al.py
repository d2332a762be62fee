"""γ′ in γ against independent numbers: elasticity, thermodynamics, interfaces, cost.

    python examples/benchmarks/ni_al.py

1. PFHub 4a and 4c: elastic energy of the start with η = 0 in the matrix, 400² cells (aJ).
2. CALPHAD energies against pycalphad's, and the γ/γ′ boundary (see `calphad.py`).
3. A bar of both phases at 1073 and 1273 K, at rest: σ against that asked for, and the fraction of
   γ′ against the lever rule's.
4. A step of semi-implicit Euler of four fields with elasticity ÷ without: one stiffness, and γ and
   γ′ of Ni–Al (fastest of several steps that take turns, one thread, 128³ and 512² cells).
5. Coarsening as `gamma_prime_coarsening.py` has kept it.

Everything goes to `results/ni_al.json`; the last line is one JSON object. Ten minutes.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# ruff: noqa: E402
HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "pfhub"))

import calphad
import torch
from cases import precipitate  # pyright: ignore[reportMissingImports]
from phase_field import models  # pyright: ignore[reportMissingImports]

from idnn.files import write_atomically
from idnn.runtime import keep_freed_memory
from phasefield.adaptive import StepControl
from phasefield.calphad import OrderedFcc, default_database
from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression
from phasefield.gamma_prime import GammaPrime, box, gamma_prime
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.integrators import Point, semi_implicit_euler
from phasefield.ni_al import NI_AL
from phasefield.precipitates import Precipitate, in_matrix
from phasefield.solve import solve
from phasefield.stiffness import GIGAPASCAL, PLANE_STRAIN, cubic

RESULTS, COARSENING = (
    HERE / "results" / f"{name}.json" for name in ("ni_al", "gamma_prime_coarsening")
)


def start_of_pfhub(stiffer: float) -> float:
    """Elastic energy (aJ) of the start of benchmark 4."""
    flow, u0 = precipitate(400, matrix=0.0, stiffer=stiffer)
    assert flow.elastic is not None
    return float(flow.elastic.respond(u0).energy) * flow.grid.cell_volume


def bar(kelvin: float) -> GammaPrime:
    """Half of γ, half of γ′ between walls, ten cells across the interface."""
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin, floor=1e-3)
    grid = box((64,), 0.15e-9, boundaries=("no-flux",))
    return gamma_prime(f, NI_AL, kelvin, grid)


def at_rest(kelvin: float) -> dict[str, float]:
    """Errors of σ and of the fraction of γ′, relative."""
    ni_al = bar(kelvin)
    grid = ni_al.model.grid
    u = in_matrix(ni_al, [Precipitate((0.0,), 32 * 0.15e-9)])
    unit = ni_al.interface.width**2 / ni_al.diffusivity
    control = StepControl(
        tolerance=1e-4, steady=1e-4 / unit, first_step=1e-4 * unit, smallest_step=1e-12 * unit
    )
    u = solve(ni_al.model, u, [1e3 * unit], control=control).u
    low, high = ni_al.compositions
    share = ((u[0] - low) / (high - low) - 0.5).tolist()
    inside = next(k for k, value in enumerate(share) if value < 0)
    position = inside - 0.5 + share[inside - 1] / (share[inside - 1] - share[inside])
    wanted = ni_al.fraction(float(grid.mean(u[0])))
    return {
        "sigma": ni_al.excess_energy(u) / NI_AL.interface_energy.at(kelvin) - 1,
        "fraction": position / grid.cells / wanted - 1,
    }


def step_ratios(shape: tuple[int, ...]) -> dict[str, float]:
    """Of a step with elasticity and one without."""
    torch.set_num_threads(1)
    grid = Grid(shape, 1.0)
    plain, u = models(grid)["CH + 3 AC polynomial"]
    held = PLANE_STRAIN if len(shape) == 2 else {}
    share = Expression("(c - 0.125) / 0.115", ("c", "x", "y", "z"))
    misfits = (Misfit(share, 0.004 * torch.eye(3, dtype=torch.float64)),)
    gamma = GIGAPASCAL * cubic(206.6, 148.5, 93.5)
    change = GIGAPASCAL * cubic(201.4, 142.9, 100.2) - gamma
    uneven = InhomogeneousElasticity(grid, gamma, misfits, (Contrast(share, change),), held)
    energies = {
        "plain": None,
        "homogeneous": HomogeneousElasticity(grid, gamma, misfits, held),
        "inhomogeneous": uneven,
    }
    steps, points, times = {}, {}, {name: [] for name in energies}
    u_hat = grid.transform(u)
    for name, elastic in energies.items():
        model = replace(plain, elastic=elastic, site_volume=0.011).stabilised(u)
        steps[name] = semi_implicit_euler.prepare(model, 1e-3)
        points[name] = Point(0.0, u_hat, model.evaluate(u_hat).force_hat)
    for _ in range(8):
        for name, step in steps.items():
            began = time.perf_counter()
            attempt = step(points[name])
            times[name].append(time.perf_counter() - began)
            points[name] = Point(0.0, attempt.u_hat, attempt.end.force_hat)
    best = {name: min(each) for name, each in times.items()}
    ratios = {name: best[name] / best["plain"] for name in energies if name != "plain"}
    return ratios | {"iterations": float(uneven.iterations)}


def main() -> None:
    """Measure, keep, print."""
    keep_freed_memory()
    starts = {case: start_of_pfhub(stiffer) for case, stiffer in (("4a", 1.0), ("4c", 1.1))}
    found: dict[str, Any] = {
        "calphad": {name: calphad.largest_error(name, t) for name, t in calphad.PHASES.items()},
        "boundary": {t: calphad.boundary_error(t) for t in calphad.TEMPERATURES},
    }
    with torch.no_grad():
        found["rest"] = {kelvin: at_rest(kelvin) for kelvin in (1073.0, 1273.0)}
        found["steps"] = {
            "x".join(map(str, s)): step_ratios(s) for s in ((512, 512), (128, 128, 128))
        }
    kept = json.loads(COARSENING.read_text())
    line = {
        "pfhub_4a_start_aJ": starts["4a"],
        "pfhub_4c_start_aJ": starts["4c"],
        "calphad_max_rel_error": max(found["calphad"].values()),
        "boundary_max_error": max(found["boundary"].values()),
        "lever_rule_error": max(abs(each["fraction"]) for each in found["rest"].values()),
        "sigma_error": max(abs(each["sigma"]) for each in found["rest"].values()),
        **{
            name: {kelvin: row[name] for kelvin, row in kept["summary"].items()}
            for name in ("coarsening_exponent", "k_over_k_lsw", "k_over_sharp_k")
        },
        "elastic_step_over_plain_step": found["steps"],
    }
    write_atomically(RESULTS, json.dumps(found | line, indent=1) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
