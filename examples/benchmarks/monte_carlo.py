"""Attempted flips per CPU-second of the biased Monte Carlo on one thread, as JSON.

Run as `python examples/benchmarks/monte_carlo.py`; half a minute. The model has pairs to the fourth
shell, the nearest-neighbour triangle and tetrahedron, and four umbrella biases per walker. Counted
is everything that `sample` does: seeding, sampling, recording, and checking the energies.
"""

import json
import time

import numpy as np
from llvmlite.binding import get_host_cpu_name

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu
from sampling.lattice import Supercell

TEMPERATURE = 1000.0
STIFFNESS = (5.0, 3.0, 3.0, 3.0)
FLIPS = 1.5e8


def rate(cells: int, walkers: int, repeats: int = 3) -> dict[str, float | int]:
    """Best of a few timings of one box; walkers go 64 to a point, with targets of their own."""
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, cells))
    points = walkers // cpu.LANES
    x = np.random.default_rng(0).random((points, FCC_L12.dimension))
    centre = x @ FCC_L12.q.numpy().T
    umbrella = Umbrella(FCC_L12, centre, np.tile(STIFFNESS, (points, 1)))
    sites = len(hamiltonian.supercell.sites)
    sweeps = int(FLIPS / (sites * walkers))
    schedule = Schedule(walkers=cpu.LANES, sweeps=sweeps, burn_in=0, stride=2)
    seconds, acceptance = [], 0.0
    for _ in range(repeats):
        start = time.process_time()
        samples = sample(hamiltonian, umbrella, temperature=TEMPERATURE, schedule=schedule, seed=1)
        seconds.append(time.process_time() - start)
        acceptance = float(samples.acceptance.mean())
    return {
        "sites": sites,
        "walkers": walkers,
        "sweeps": sweeps,
        "acceptance": round(acceptance, 4),
        "flips_per_cpu_s": float(f"{sites * walkers * sweeps / min(seconds):.3g}"),
    }


def main() -> None:
    """Warm the compiler up, then time every box."""
    rate(2, cpu.LANES, repeats=1)
    report = {
        "kernel": cpu.NAME,
        "threads": 1,
        "temperature_K": TEMPERATURE,
        "processor": get_host_cpu_name(),
        "runs": [rate(cells, walkers) for cells in (3, 4, 6, 10) for walkers in (64, 256)],
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
