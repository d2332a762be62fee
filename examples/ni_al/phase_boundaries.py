"""γ/γ′ boundaries of Ni–Al: first principles, learned, assessed, measured, in one figure.

    python examples/ni_al/phase_boundaries.py [--model runs/ni_al_dft/model.safetensors]

First principles are the atomistic free energies of `reference/dft.json` (configurations on a rigid
lattice, no vibrations); learned is the demo's network, or the model given; assessed is Dupin et al.
(2001); measured are the points of `tie_lines.csv` with their source. Draws phase_boundaries.png and
prints by how much each boundary lies from the measured one, the mean over the temperatures.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from idnn.checkpoint import load
from idnn.equilibrium import tie_lines
from idnn.order_parameters import FCC_L12
from phasefield.calphad import OrderedFcc, default_database

HERE = Path(__file__).parent
DEMO = HERE.parent / "benchmarks" / "demo.json"


def assessed(temperatures: np.ndarray) -> np.ndarray:
    """x of γ and γ′ after Dupin et al. (2001)."""
    database = OrderedFcc.from_database(default_database(), ("NI", "AL"))
    lines = [tie_lines(database.at(t), FCC_L12, composition=(0.0, 0.32))[0] for t in temperatures]
    return np.array([line.compositions for line in lines])


def learned(model: Path | None) -> tuple[float, np.ndarray, np.ndarray]:
    """Temperature, x and its σ."""
    if model is None:
        demo = json.loads(DEMO.read_text())
        x, sigma = (
            np.array([demo[f"x_gamma{s}"], demo[f"x_gamma_prime{s}"]]) for s in ("", "_sigma")
        )
        return demo["temperature_K"], x, sigma
    f = load(model)
    line = tie_lines(f, f.system, composition=(0.0, 0.32))[0]
    return f.temperature, np.array(line.compositions), np.zeros(2)


def main() -> None:
    """Collect, draw, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="a network of one temperature")
    options = parser.parse_args()
    columns = np.loadtxt(HERE / "tie_lines.csv", delimiter=",", skiprows=1, usecols=(0, 1, 2))
    measured_t, measured = columns[:, 0], columns[:, 1:]
    found = json.loads((HERE / "reference" / "dft.json").read_text())["boundaries"]
    first_t = np.array([float(t) for t in found])
    first = np.array([[b["x_gamma"][0], b["x_gamma_prime"][0]] for b in found.values()])
    calphad = assessed(grid := np.linspace(600, 1600, 21))
    kelvin, x, sigma = learned(options.model)
    axes = (figure := Figure(figsize=(6.4, 4.4), layout="constrained")).subplots()
    axes.plot(calphad, grid, color="#0072b2", label=["Dupin et al. 2001", None])
    axes.plot(first, first_t, "s-", color="#d55e00", ms=4, label=["DFT, Monte Carlo", None])
    axes.errorbar(x, [kelvin] * 2, xerr=sigma, fmt="*", ms=11, color="k", label="learned (demo)")
    axes.plot(measured, measured_t, "o", color="#009e73", label=["measured (Jia 1990)", None])
    axes.set(xlabel="x (Al)", ylabel="temperature (K)", xlim=(0, 0.3), ylim=(550, 1650))
    for place, name in (((0.03, 1100), "γ"), ((0.16, 900), "γ + γ′"), ((0.26, 1500), "γ′")):
        axes.text(*place, name)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(HERE / "phase_boundaries.png", dpi=150)
    print(json.dumps({
        name: np.round([
            np.mean(np.interp(measured_t[inside], t, b[:, i]) - measured[inside, i])
            for i in (0, 1)], 4).tolist()
        for name, t, b in (("calphad", grid, calphad), ("dft", first_t, first))
        for inside in [(measured_t >= t.min()) & (measured_t <= t.max())]
    }))  # fmt: skip


if __name__ == "__main__":
    main()
