"""Attempted flips per second of the block kernel, against box and walkers, on the device there is.

    python examples/benchmarks/gpu_monte_carlo.py

Prints one line of JSON. The model is that of `monte_carlo.py`, with an umbrella on all four order
parameters at 1000 K. Sweeps alone are timed, after a first one that allocates and compiles. Without
a GPU the CPU is timed on smaller boxes, and `gpu_flips_per_s` is null: not measured.
"""

import json
import time

import numpy as np
import torch

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.gpu import Blocks, Board, block_sizes
from sampling.kernels.tables import tables
from sampling.kernels.walkers import Walkers
from sampling.lattice import Supercell

TEMPERATURE = 1000.0
STIFFNESS = 3.0
SECONDS = 3.0


def walkers_on(box: Supercell, count: int) -> Walkers:
    """Random walkers, each with a target of its own."""
    random = np.random.default_rng(0)
    x = random.random((count, 4))
    umbrella = Umbrella(FCC_L12, x @ FCC_L12.q.numpy().T, np.full((count, 4), STIFFNESS))
    stiffness = 4 * umbrella.sublattice_stiffness
    curvature = 2 * stiffness / box.sites_per_sublattice
    return Walkers(
        occupation=(random.random((count, len(box.sites))) < x[:, box.sublattice]).astype(np.uint8),
        state=random.integers(0, 2**32, (count, Blocks.words), dtype=np.uint32),
        order=np.arange(len(box.sites)),
        order_state=np.zeros(4, np.uint32),
        beta=np.full(count, 1 / (BOLTZMANN_EV * TEMPERATURE)),
        slope=curvature,
        offset=-2 * (stiffness @ x[..., None])[..., 0],
        self_term=np.diagonal(curvature, axis1=1, axis2=2) / 2,
    )


def measure(device: str, cells: int, count: int, *, compiled: bool) -> dict[str, float]:
    """One box and number of walkers; energies are counted from zero."""
    box = Supercell(FCC_L12, cells)
    walkers = walkers_on(box, count)
    size = int(block_sizes(walkers, Blocks.acceptance)[0])
    here = tables(ClusterHamiltonian.on(illustrative_expansion(), box), device)
    start = np.zeros(count, np.int64)
    board = Board(here, walkers, start, np.arange(count), size, compiled=compiled)
    board.sweep()
    float(board.energy[0])  # Waits for the device.
    sweeps, begin, seconds = 0, time.perf_counter(), 0.0
    while seconds < SECONDS:
        board.sweep()
        float(board.energy[0])
        sweeps, seconds = sweeps + 1, time.perf_counter() - begin
    return {
        "sites": len(box.sites),
        "walkers": count,
        "compiled": compiled,
        "sweeps": sweeps,
        "sites_per_block": min(size, here.classes[0].sites),
        "block_acceptance": round(float(board.block_acceptance.mean()), 3),
        "flips_per_s": float(f"{len(box.sites) * count * sweeps / seconds:.3g}"),
    }


def main() -> None:
    """Time every size."""
    gpu = torch.cuda.is_available()
    cases = [(10, 1024), (10, 8192), (10, 32768), (20, 8192)] if gpu else [(4, 256), (10, 64)]
    runs = [
        measure("cuda" if gpu else "cpu", cells, count, compiled=compiled)
        for cells, count in cases
        for compiled in ((False, True) if gpu else (False,))
    ]
    report = {
        "device": torch.cuda.get_device_name() if gpu else "CPU: torch sees no GPU here",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu_flips_per_s": max(run["flips_per_s"] for run in runs) if gpu else None,
        "runs": runs,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
