"""CALPHAD energies against pycalphad's own, their γ/γ′ boundary, and what an evaluation costs.

    python examples/benchmarks/calphad.py

1. Largest relative error of G, gradient and Hessian of phases of the Al–Ni database that pycalphad
   ships, at random site fractions, against pycalphad's expressions.
2. Largest difference of x_Al at the ends of γ/γ′ tie-lines, 973 to 1473 K, of the four-sublattice
   energy and of pycalphad's own `equilibrium` with two sublattices.
3. Seconds for f and ∂f/∂η of 10⁶ states on one thread, beside a learned energy of two layers of
   16: by the compiled pass that a phase field takes, and by `evaluate`.

The last line is one JSON object.
"""

import json
import time
import warnings
from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pycalphad
import torch
from phase_field import learned
from pycalphad import variables as v

from idnn.equilibrium import tie_lines
from idnn.order_parameters import FCC_L12
from idnn.runtime import keep_freed_memory
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.calphad import OrderedFcc, default_database
from phasefield.phases import DatabasePhase

PHASES = {"LIQUID": 1900.0, "FCC_A1": 400.0, "BCC_B2": 1000.0, "FCC_L12": 1000.0}
"""At which temperature, K."""

TEMPERATURES = (973.0, 1073.0, 1173.0, 1273.0, 1373.0, 1473.0)
COMPONENTS = ["AL", "NI", "VA"]
STATES, PART = 10**6, 2**16


def largest_error(name: str, temperature: float, states: int = 3) -> float:
    """Of G, ∂G/∂y and ∂²G/∂y² of a phase, relative."""
    phase = DatabasePhase.from_database(default_database(), name, ("NI", "AL"))
    f = phase.at(temperature)
    count = len(phase.fields)
    rows = np.random.default_rng(0).uniform(0.05, 0.45, (states, count))
    eta = torch.from_numpy(rows)
    symbols = [v.SiteFraction(name, *each) for each in phase.fields]
    known = {v.T: temperature, v.P: 101325.0}
    for s, (dependent, *others) in enumerate(phase.sublattices):
        rest = 1 - sum(v.SiteFraction(name, s, one) for one in others)
        known[v.SiteFraction(name, s, dependent)] = rest
    g = pycalphad.Model(pycalphad.Database(str(default_database())), COMPONENTS, name).GM
    g = g.xreplace(known)
    pairs = list(combinations_with_replacement(range(count), 2))
    theirs = [g, *map(g.diff, symbols), *(g.diff(symbols[i]).diff(symbols[j]) for i, j in pairs)]
    hessian = f.hessian(eta)
    ours = [f(eta), *f.gradient(eta).T, *(hessian[:, i, j] for i, j in pairs)]
    worst = 0.0
    for expression, found in zip(theirs, ours, strict=True):
        values = [expression.xreplace(dict(zip(symbols, row, strict=True))).n() for row in rows]
        expected = np.array(values, float) / EV_PER_SITE_IN_J_PER_MOL
        worst = max(worst, float(np.abs(found.numpy() / expected - 1).max()))
    return worst


def boundary_error(temperature: float) -> float:
    """Largest difference in x_Al of γ and γ′."""
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(temperature)
    (line,) = tie_lines(f, FCC_L12, composition=(0.05, 0.3))
    conditions = {v.X("AL"): 0.2, v.T: temperature, v.P: 101325, v.N: 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = pycalphad.equilibrium(
            pycalphad.Database(str(default_database())), COMPONENTS, ["FCC_L12"], conditions
        )
    theirs = sorted(found.X.sel(component="AL").values.ravel()[:2].tolist())
    ours = [float(end.eta[0]) for end in (line.left, line.right)]
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def seconds() -> dict[str, float]:
    """Fastest of several, the two energies taking turns."""
    fcc = OrderedFcc.from_database(default_database(), ("NI", "AL"))
    energies = {"calphad": fcc.at(1000.0, floor=2e-3), "learned": learned()}
    y = torch.rand(STATES, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    eta = FCC_L12.order_parameters(y)
    fields, none = eta.T.contiguous().numpy(), np.zeros(4)

    def swept(kernel: Callable) -> float:
        u = fields.copy()
        began = time.perf_counter()
        for start in range(0, STATES, PART):
            kernel(u, none, start, min(start + PART, STATES))
        return time.perf_counter() - began

    def evaluated(evaluate: Callable) -> float:
        began = time.perf_counter()
        evaluate(eta)
        return time.perf_counter() - began

    rounds = [
        {f"{name}_pass_s": swept(f.kernel) for name, f in energies.items()}
        | {f"{name}_evaluate_s": evaluated(f.evaluate) for name, f in energies.items()}
        for _ in range(10)
    ]
    return {key: min(each[key] for each in rounds) for key in rounds[0]}


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    keep_freed_memory()
    errors = {name: largest_error(name, kelvin) for name, kelvin in PHASES.items()}
    boundaries = {f"{kelvin:g}": boundary_error(kelvin) for kelvin in TEMPERATURES}
    print(json.dumps({"errors": errors, "boundaries": boundaries}), flush=True)
    with torch.no_grad():
        cost = seconds()
    print(json.dumps({
        "calphad_max_rel_error": max(errors.values()),
        "boundary_max_error": max(boundaries.values()),
        "calphad_over_learned_pass": cost["calphad_pass_s"] / cost["learned_pass_s"],
        "calphad_over_learned_evaluate": cost["calphad_evaluate_s"] / cost["learned_evaluate_s"],
        **cost,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
