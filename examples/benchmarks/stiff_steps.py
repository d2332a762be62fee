"""Implicit steps of γ/γ′ near pure sublattices: two ways to precondition, and explicit steps.

    python examples/benchmarks/stiff_steps.py

Dupin's free energy at 973 and 1273 K, whose curvature in γ′ is hundreds and tens of times that in γ
(kT/x of the few aluminium atoms on nickel's sites); an interface of 4 nm in cells of 1 nm, 96², a
third of γ′ growing from balls. Evaluations of the force, or products with its derivative, and
seconds on one thread for thirty times the time in which solute crosses an interface, by

- implicit two-step differentiation, systems preconditioned as is estimated to be better: by numbers
  on the modes or by the free energy's matrices on the cells,
- the same, always by numbers on the modes,
- ETDRK4 with its error estimate, for a tenth of that time, in proportion.

All have the same tolerance. Everything goes to `results/stiff_steps.json`; the last line is one
JSON object. Ten minutes.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from idnn.files import write_atomically
from idnn.runtime import keep_freed_memory
from phasefield import implicit
from phasefield.adaptive import StepControl
from phasefield.calphad import OrderedFcc, default_database
from phasefield.gamma_prime import GammaPrime, box, gamma_prime
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import Integrator, etdrk4
from phasefield.ni_al import NI_AL, fixed
from phasefield.precipitates import precipitated, scattered_precipitates
from phasefield.solve import solve

RESULTS = Path(__file__).parent / "results" / "stiff_steps.json"
WIDTH, CELLS, CROSSINGS, CROSSINGS_OF_EXPLICIT = 4e-9, 96, 30.0, 0.1


def start(kelvin: float) -> tuple[GammaPrime, torch.Tensor]:
    """The equations and balls in a supersaturated matrix."""
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin, floor=1e-4)
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", WIDTH, "chosen"))
    grid = box((CELLS, CELLS), WIDTH / 4)
    alloy = gamma_prime(f, constants, kelvin, grid, dealias=1.0, order_length=WIDTH / 8)
    balls = scattered_precipitates(alloy, 2 * WIDTH, 7, torch.Generator().manual_seed(1))
    return alloy, precipitated(alloy, balls, composition=alloy.mean_composition(1 / 3))


def cost(
    alloy: GammaPrime, u0: torch.Tensor, integrator: Integrator, crossings: float
) -> dict[str, float]:
    """Of a run over this many times to cross an interface, for each."""
    unit = alloy.interface.width**2 / alloy.diffusivity
    control = StepControl(
        tolerance=1e-4, first_step=1e-4 * unit, smallest_step=1e-14 * unit,
        integrator=integrator, large_steps=None,
    )  # fmt: skip
    end = solve(alloy.model, u0, [crossings * unit], control=control)
    return {
        "evaluations": end.state.evaluations / crossings,
        "seconds": end.wall_s / crossings,
        "steps": end.state.steps / crossings,
        "energy": end.state.energy.total,
    }


def main() -> None:
    """Measure, keep, print."""
    keep_freed_memory()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for kelvin in (973.0, 1273.0):
        alloy, u0 = start(kelvin)
        cost(alloy, u0, etdrk4, 1e-4)  # compiled
        rows = {
            "explicit": cost(alloy, u0, etdrk4, CROSSINGS_OF_EXPLICIT),
            "implicit": cost(alloy, u0, implicit_bdf2, CROSSINGS),
        }
        with patch.object(implicit._Spread, "is_less_than_of", lambda *_: False):
            rows["modes"] = cost(alloy, u0, implicit_bdf2, CROSSINGS)
        found[f"{kelvin:g} K"] = rows
        print(json.dumps({f"{kelvin:g} K": rows}), flush=True)
    line = {
        name: {
            f"{other}_over_implicit": {
                key: round(rows[other][key] / rows["implicit"][key], 2)
                for key in ("evaluations", "seconds")
            }
            for other in ("explicit", "modes")
        }
        for name, rows in found.items()
    }
    write_atomically(RESULTS, json.dumps(found | {"ratios": line}, indent=1) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
