"""Attempted flips per CPU-second of one core, against walkers, temperature, box and bias.

    python examples/benchmarks/monte_carlo.py [--peers] [--output DIRECTORY]

A few minutes on one core; the last line printed is one JSON object. The model has pairs to the
fourth shell, the nearest-neighbour triangle and tetrahedron; the bias is an umbrella on all four
order parameters with targets of their own for every walker. A rate is the cost of more sweeps;
setting up and checking a call costs as much as a few sweeps once. `--peers` times other codes that
are installed on the same model without bias at 1200 K (it installs nothing); rates of the others
are those of the last run that had them.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import peers
from llvmlite.binding import get_host_cpu_name

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import chemical_potential, ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.cpu import LANES, Lanes
from sampling.kernels.flips import Flips
from sampling.kernels.walkers import Kernel
from sampling.lattice import Supercell

STIFFNESS = 4.0
FLIPS = 1e7
PRECISION = 3e-4
QUIET = 1.3
"""Load average of this script alone."""

KERNELS: dict[Kernel, tuple[int, ...]] = {Flips(): (1, 16), Lanes(): (16, 256)}
"""Walkers to time each kernel with."""


@dataclass(frozen=True)
class Run:
    """One timing."""

    kernel: str
    sites: int
    walkers: int
    temperature: float
    biased: bool
    acceptance: float
    flips_per_cpu_s: float
    flips_per_s: float


def umbrella(points: int, stiffness: float) -> Umbrella:
    """Targets drawn uniformly from all sublattice fractions."""
    centre = np.random.default_rng(0).random((points, 4)) @ FCC_L12.q.numpy().T
    return Umbrella(FCC_L12, centre, np.full((points, 4), stiffness))


def rate(
    hamiltonian: ClusterHamiltonian,
    kernel: Kernel,
    walkers: int,
    temperature: float,
    *,
    biased: bool,
    threads: int = 1,
    flips: float = FLIPS,
) -> Run:
    """What more sweeps cost, past setting up and checking: a long run less a short one."""
    sites = len(hamiltonian.supercell.sites)
    bias = umbrella(walkers, STIFFNESS if biased else 0.0)
    chains, acceptance, cpu, wall = None, 0.0, [], []
    short, long = 4, 4 + max(8, int(flips / (sites * max(walkers, least_full(kernel)))) // 2 * 2)
    for sweeps in (short, long, short, long, short, long):
        schedule = Schedule(walkers=1, sweeps=sweeps, burn_in=0, stride=2)
        began, began_wall = time.process_time(), time.perf_counter()
        samples = sample(
            hamiltonian,
            bias,
            temperature=temperature,
            schedule=schedule,
            seed=1,
            start=chains,
            kernel=kernel,
            threads=threads,
        )
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - began_wall)
        chains, acceptance = samples.chains, float(samples.acceptance.mean())
    attempts = sites * walkers * (long - short)
    return Run(
        kernel=kernel.name,
        sites=sites,
        walkers=walkers,
        temperature=temperature,
        biased=biased,
        acceptance=round(acceptance, 4),
        flips_per_cpu_s=per_second(attempts, cpu),
        flips_per_s=per_second(attempts, wall),
    )


def per_second(attempts: int, seconds: list[float]) -> float:
    """Attempts over the best long time less the best short one, the first pair left out."""
    return float(f"{attempts / (min(seconds[3::2]) - min(seconds[2::2])):.3g}")


def least_full(kernel: Kernel) -> int:
    """Walkers below which time is lost on idle lanes."""
    return LANES if isinstance(kernel, Lanes) else 1


def cpu_seconds_per_point(
    hamiltonian: ClusterHamiltonian, temperature: float
) -> tuple[float, float]:
    """What four μ to 0.3 meV cost with burn-in, and the share of points that it speaks of.

    The median over those of 64 points whose four walkers agree: the others part into domains, where
    no length of run makes an error bar.
    """
    burn_in, sweeps, points = 250, 1000, 64
    began = time.process_time()
    samples = sample(
        hamiltonian,
        umbrella(points, STIFFNESS),
        temperature=temperature,
        schedule=Schedule(walkers=4, sweeps=sweeps, burn_in=burn_in, stride=1),
        seed=3,
    )
    per_sweep = (time.process_time() - began) / points / (burn_in + sweeps)
    stderr = chemical_potential(samples).stderr.max(-1)
    agreed = ergodic_mean(samples.eta).ergodic.all(-1) & np.isfinite(stderr)
    needed = burn_in + sweeps * (stderr[agreed] / PRECISION) ** 2
    return float(f"{per_sweep * np.median(needed):.3g}"), float(f"{agreed.mean():.2g}")


def bias_cost(hamiltonian: ClusterHamiltonian) -> float:
    """Share of the unbiased rate that the bias costs 256 walkers: median of five pairs, in turn."""
    kernel = Lanes()
    pairs = [
        [rate(hamiltonian, kernel, 256, 1200.0, biased=b).flips_per_cpu_s for b in (True, False)]
        for _ in range(5)
    ]
    return round(1 - float(np.median([with_bias / without for with_bias, without in pairs])), 3)


def two_threads(hamiltonian: ClusterHamiltonian) -> float | None:
    """Speed-up of two threads by the clock; null where others use the machine."""
    if os.getloadavg()[0] > QUIET or (os.cpu_count() or 1) < 2:
        return None
    one, two = (
        rate(hamiltonian, Lanes(), 256, 1200.0, biased=True, threads=threads, flips=2e8).flips_per_s
        for threads in (1, 2)
    )
    return round(two / one, 2)


def summary(runs: list[Run], others: dict, boxes: dict[int, ClusterHamiltonian]) -> dict:
    """The figures of merit at 1200 K; null where something was not measured."""

    def best(walkers: int, sites: int = 4000) -> float:
        return max(
            run.flips_per_cpu_s
            for run in runs
            if (run.walkers, run.sites, run.temperature) == (walkers, sites, 1200.0) and run.biased
        )

    def ratio(walkers: int, peer: str) -> float | None:
        measured = others.get(peer)
        return round(best(walkers) / measured["flips_per_cpu_s"], 1) if measured else None

    points = {f"{t:g} K": cpu_seconds_per_point(boxes[4000], t) for t in (600.0, 1000.0)}
    return {
        "casm_ratio_1": ratio(1, "casm"),
        "casm_ratio_256": ratio(256, "casm"),
        "icet_ratio_256": ratio(256, "icet"),
        "smol_ratio_256": ratio(256, "smol"),
        "flips_per_s_core_1": best(1),
        "flips_per_s_core_256": best(256),
        "bias_cost": bias_cost(boxes[4000]),
        "threads_2": two_threads(boxes[4000]),
        "ratio_32000_to_4000": round(best(256, 32_000) / best(256), 3),
        "cpu_s_per_point": {kelvin: seconds for kelvin, (seconds, _) in points.items()},
        "points_that_agree": {kelvin: share for kelvin, (_, share) in points.items()},
        "gpu_flips_per_s": None,
        "load_average": round(os.getloadavg()[0], 1),
    }


def plot(runs: list[Run], path: Path) -> None:
    """Rate against walkers, both kernels, with the bias."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, sites in zip(panels, (4000, 32_000), strict=True):
        for kernel, marker in zip(KERNELS, "os", strict=True):
            for colour, kelvin in enumerate((600.0, 1200.0, 3000.0)):
                chosen = sorted(
                    (run.walkers, run.flips_per_cpu_s)
                    for run in runs
                    if (run.kernel, run.sites, run.temperature) == (kernel.name, sites, kelvin)
                    and run.biased
                )
                panel.loglog(
                    *zip(*chosen, strict=True),
                    marker=marker,
                    color=f"C{colour}",
                    ls="-" if marker == "o" else "--",
                    label=f"{type(kernel).__name__}, {kelvin:g} K",
                )
        panel.set(xlabel="walkers", title=f"{sites:,} sites, four biases")
    panels[0].set_ylabel("attempted flips per CPU-second")
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Time everything; write `monte_carlo.json` and `monte_carlo.png`; print the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="time other codes as well")
    results = Path(__file__).parent / "results"
    parser.add_argument("--output", type=Path, default=results, help="where results go")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path, rates = options.output / "monte_carlo.json", options.output / "peers.json"
    if options.peers:
        peers.update(rates)
    others = json.loads(rates.read_text()) if rates.exists() else {}

    boxes = {
        4 * cells**3: ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, cells))
        for cells in (4, 10, 20)
    }
    for kernel in KERNELS:
        rate(boxes[256], kernel, 1, 1200.0, biased=True, flips=1e4)
    runs = []
    for sites, kernel, walkers, kelvin, biased in (
        (sites, kernel, walkers, kelvin, biased)
        for sites in boxes
        for kernel, counts in KERNELS.items()
        for walkers in counts
        for kelvin in (600.0, 1200.0, 3000.0)
        for biased in (True, False)
    ):
        runs.append(rate(boxes[sites], kernel, walkers, kelvin, biased=biased))
        print(runs[-1], flush=True)
    line = summary(runs, others, boxes)
    report = {
        "processor": get_host_cpu_name(),
        "summary": line,
        "peers": others,
        "runs": [vars(run) for run in runs],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    plot(runs, path.with_suffix(".png"))
    print(json.dumps(line))


if __name__ == "__main__":
    main()
