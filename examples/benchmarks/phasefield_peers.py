"""PFHub 1a to t = 100 by py-pde and FiPy, where they are installed.

    python examples/benchmarks/phasefield_peers.py

adds the wall seconds of the codes in this environment to `results/phasefield_peers.json`: py-pde
without what it takes to compile (told apart by a first short run), at the largest explicit step
that is stable; FiPy for a few steps of the fourth-order form, and from them extrapolated.
"""

import json
import os
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "phasefield_peers.json"
END, LARGEST = 100.0, 0.0025
"""Time, and the step of py-pde's Euler at 200² cells; it goes as the fourth power of a cell."""


def start(cells: int, shift: float) -> np.ndarray:
    """C at the nodes, or `shift` cells further."""
    x, y = np.meshgrid(*[(np.arange(cells) + shift) * 200 / cells] * 2, indexing="ij")
    waves = np.cos(0.105 * x) * np.cos(0.11 * y) + (np.cos(0.13 * x) * np.cos(0.087 * y)) ** 2
    waves += np.cos(0.025 * x - 0.15 * y) * np.cos(0.07 * x - 0.02 * y)
    return 0.5 + 0.01 * waves


def pypde(cells: int) -> dict[str, float | str]:
    """Explicit Euler, compiled by numba for one thread, as far as a minute or two goes."""
    import pde  # pyright: ignore[reportMissingImports]

    grid = pde.CartesianGrid([[0, 200], [0, 200]], cells, periodic=True)
    field = pde.ScalarField(grid, start(cells, 0.0))
    equation = pde.PDE({"c": "5*laplace(10*(c-0.3)*(0.7-c)*(1-2*c) - 2*laplace(c))"})
    dt = LARGEST * (200 / cells) ** 4
    stretch = END if cells <= 200 else 1.0
    options = {"dt": dt, "solver": "euler", "backend": "numba", "tracker": None}
    seconds = []
    for end in (10 * dt, 10 * dt, stretch):  # each solve compiles anew, the first more than that
        began = time.perf_counter()
        equation.solve(field, t_range=end, **options)
        seconds.append(time.perf_counter() - began)
    compiled, wall = seconds[1:]
    return {
        "code": f"py-pde {pde.__version__}", "wall_s": (wall - compiled) * END / stretch,
        "compile_s": compiled, "first_compile_s": seconds[0], "dt": dt,
        "run_to": stretch, "extrapolated": str(stretch < END),
    }  # fmt: skip


def fipy(cells: int) -> dict[str, float | str]:
    """Four sweeps of a few steps of 0.5, extrapolated."""
    os.environ.setdefault("FIPY_SOLVERS", "scipy")
    import fipy as fp  # pyright: ignore[reportMissingImports]

    mesh = fp.PeriodicGrid2D(nx=cells, ny=cells, dx=200 / cells, dy=200 / cells)
    c = fp.CellVariable(mesh=mesh, value=start(cells, 0.5).T.ravel(), hasOld=True)
    curvature = 10 * (1 - 2 * c) ** 2 - 20 * (c - 0.3) * (0.7 - c)
    equation = fp.TransientTerm() == fp.DiffusionTerm(coeff=5 * curvature) - fp.DiffusionTerm(
        coeff=(5.0, 2.0)
    )
    dt, count = 0.5, 3
    began = time.perf_counter()
    for _ in range(count):
        c.updateOld()
        for _ in range(4):
            equation.sweep(var=c, dt=dt)
    wall = time.perf_counter() - began
    return {
        "code": f"FiPy {fp.__version__}", "wall_s": wall * END / (dt * count), "dt": dt,
        "run_to": dt * count, "extrapolated": "True",
    }  # fmt: skip


def main() -> None:
    """Time what is installed and keep the rest."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, module, measure, sizes in (
        ("pypde", "pde", pypde, (200, 400)), ("fipy", "fipy", fipy, (200,)),
    ):  # fmt: skip
        if find_spec(module) is None:
            print(f"{module} is not installed; kept from before.")
            continue
        for cells in sizes:
            kept[f"{name} {cells}"] = measure(cells)
            print(name, cells, json.dumps(kept[f"{name} {cells}"]), flush=True)
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
