"""The γ/γ′ interface of a Ni–Al expansion at 1000 K: implied by f and K, and sampled directly.

    python examples/benchmarks/interface.py runs/ni_al_dft --name dft

K comes from the structure factor in both wells, f from the run's network, the direct σ from boxes
that hold a slab of each phase. Coexistence is read from NAME.json, which `phase_boundaries.py`
wrote. Minutes on one core; results go to NAME_interface.json and .png beside it, part by part: the
same command goes on with a stopped run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idnn.checkpoint import load
from idnn.equilibrium import tie_lines
from idnn.files import existing
from idnn.interface import MILLIJOULE_PER_SQUARE_METRE, interface
from idnn.order_parameters import FCC_L12
from sampling.ensemble import Schedule
from sampling.estimate import Estimate
from sampling.expansion import ClusterExpansion
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.interface import interface_energy, two_phase_path
from sampling.lattice import Supercell
from sampling.structure_factor import gradient_energy, structure_factor
from sampling.style import new_figure

# Published σ: 14.5–19 mJ/m² from coarsening of Ni–Al–Cr (Ardell 2013); 20 to 10 between 550 and
# 1200 K in an embedded-atom simulation (Mishin 2013, arXiv:1308.4472).
REFERENCE = Path(__file__).parents[1] / "ni_al" / "reference"
KELVIN, UNIT = 1000.0, MILLIJOULE_PER_SQUARE_METRE
SPREAD = Schedule(walkers=64, sweeps=1200, burn_in=200)
BOXES = ((8, 8, 24), (12, 12, 24))
SLABS = Schedule(walkers=16, sweeps=800, burn_in=400)


def numbers(estimate: Estimate, unit: float = 1.0) -> list[Any]:
    """Value and standard error for JSON."""
    return [np.round(unit * part, 5).tolist() for part in (estimate.value, estimate.stderr)]


def wells(expansion: ClusterExpansion, mu: float) -> dict[str, Any]:
    """K (eV Å² per site) in γ and γ′: of η in γ, of q = t·η along the tie-line in both."""
    box = Supercell(FCC_L12, 12)
    umbrella = Umbrella.semi_grand(FCC_L12, np.array([[mu, 0.0, 0.0, 0.0]]))
    gamma, prime = (
        structure_factor(
            ClusterHamiltonian.on(expansion, box), umbrella,
            primitive_cell=expansion.primitive_cell, longest=0.5, temperature=KELVIN,
            schedule=SPREAD, seed=1, start=np.where(box.sublattice == 0, ordered, 0).astype("u1"),
        )
        for ordered in (0, 1)
    )  # fmt: skip
    left, right = (factor.samples.eta.mean((0, 1, 2)) for factor in (gamma, prime))
    along = ((right - left) / np.linalg.norm(right - left))[None]
    reduced = [gradient_energy(factor, along) for factor in (gamma, prime)]
    return {
        "eta": [left.tolist(), right.tolist()],
        "K_gamma": numbers(gradient_energy(gamma).isotropic),
        "K_gamma_100": numbers(gradient_energy(gamma).along(np.array([1.0, 0, 0]))),
        "kappa": [numbers(k.isotropic) for k in reduced],
        "kappa_100": [numbers(k.along(np.array([1.0, 0, 0]))) for k in reduced],
        "misfit": [k.misfit for k in reduced],
    }


def implied(model: Path, found: dict[str, Any], site_volume: float) -> dict[str, float]:
    """σ (mJ/m²) of the learned f with K of γ, and with κ of either well along the tie-line."""
    f = load(model)
    line = tie_lines(f, f.system, composition=(0.0, 0.32))[0]
    t = (line.right.eta - line.left.eta) / (line.right.eta - line.left.eta).norm()
    k = {
        f"kappa_{name}": kappa[0][0][0] * torch.outer(t, t)
        for name, kappa in zip(("gamma", "gamma_prime"), found["kappa"], strict=True)
    }
    k["K_gamma"] = torch.tensor(np.diag(np.diag(found["K_gamma"][0])))
    ends = (line.left.eta, line.right.eta, line.mu)
    return {
        name: UNIT * interface(f, f.system, *ends, gradient=g, site_volume=site_volume).energy
        for name, g in k.items()
    }


def direct(
    expansion: ClusterExpansion, mu: float, eta: list[list[float]], edges: tuple[int, int, int]
) -> dict[str, Any]:
    """σ (mJ/m²) from a box of two slabs normal to its long edge."""
    edge = expansion.primitive_cell.max() * 2
    left, right = np.array(eta)
    path = two_phase_path(
        ClusterHamiltonian.on(expansion, Supercell(FCC_L12, edges)), left, right, mu=mu,
        stiffness=np.array([3.0, 0, 0, 0]), share=np.linspace(0, 1, 33), temperature=KELVIN,
        schedule=SLABS, seed=1,
    )  # fmt: skip
    found = interface_energy(path, area=float(edges[0] * edges[1] * edge**2))
    return {
        "cells": edges,
        "share": found.share.tolist(),
        "excess": numbers(found.excess, UNIT),
        "rule_error": (UNIT * found.rule_error).round(4).tolist(),
        "sigma": numbers(found.sigma, UNIT),
    }


def main() -> None:
    """Run, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=existing, help="with expansion.json and model.safetensors")
    parser.add_argument("--name", required=True, help="of the phase boundaries and the results")
    options = parser.parse_args()
    expansion = ClusterExpansion.from_json(options.run / "expansion.json")
    mu = json.loads((REFERENCE / f"{options.name}.json").read_text())["boundaries"]["1000"][
        "where"
    ][0]
    store = REFERENCE / f"{options.name}_interface.json"
    results: dict[str, Any] = {"direct": []}
    if store.exists():
        results = json.loads(store.read_text())

    def keep(**part: object) -> None:
        results.update(part, temperature=KELVIN, mu=mu)
        store.write_text(json.dumps(results, indent=1) + "\n")

    if "wells" not in results:
        keep(wells=wells(expansion, mu))
    if "implied" not in results:
        volume = abs(float(np.linalg.det(expansion.primitive_cell)))
        keep(implied=implied(options.run / "model.safetensors", results["wells"], volume))
    for edges in BOXES[len(results["direct"]) :]:
        found = direct(expansion, mu, results["wells"]["eta"], edges)
        keep(direct=[*results["direct"], found])
    keep(sigma=of_large_areas(results["direct"]))
    draw(results, store.with_suffix(".png"))


def of_large_areas(boxes: list[dict[str, Any]]) -> list[float]:
    """σ (mJ/m²) without what does not grow with the area, from two areas, and its error."""
    (small, s, ds), (large, b, db) = (
        (n[0] * n[1], value, np.hypot(stderr, max(box["rule_error"])))
        for box in boxes
        for n, (value, stderr) in [(box["cells"], box["sigma"])]
    )
    error = np.hypot(large * db, small * ds) / (large - small)
    return [(large * b - small * s) / (large - small), float(error)]


def draw(results: dict[str, Any], path: Path) -> None:
    """The excess along the path, beside what f and K imply."""
    figure = new_figure(5, 3.6)
    axes = figure.subplots()
    for box in results["direct"]:
        label = "direct, {} × {} × {} cells".format(*box["cells"])
        axes.errorbar(box["share"], *box["excess"], label=label, fmt=".-")
    axes.axhline(results["sigma"][0], lw=0.8, color="black", label="direct, large areas")
    names = {"kappa_gamma": "κ of γ", "kappa_gamma_prime": "κ of γ′", "K_gamma": "matrix K of γ"}
    for name, sigma in results["implied"].items():
        axes.axhline(sigma, ls="--", lw=0.8, color="grey")
        axes.annotate(f"f and {names[name]}", (0, sigma + 0.5), fontsize=7)
    axes.axhspan(10, 20, alpha=0.15, label="published values")
    axes.set(xlabel="share of γ′ in the box", ylabel="excess free energy / 2A (mJ/m²)")
    axes.legend(fontsize=7)
    figure.savefig(path)


if __name__ == "__main__":
    main()
