"""The model of methane against published uptakes of other crystals, which it never saw.

    python examples/benchmarks/adsorption_transfer.py [MODEL]

290 hypothetical metal-organic frameworks (`examples/adsorption/SOURCES.md`), labelled by others
with a grand-canonical Monte Carlo code and parameters of their own, at 298 K and up to 4.5 bar. The
model says K, the Henry coefficient, and the uptake q₁ at p₁ = 5.8 bar. Between them the isotherm is
taken as Langmuir's through both, q = Kp/(1 + (Kp₁/q₁ − 1) p/p₁). Beside it stands K itself, by our
own field of energies on a grid of 0.5 Å: what it misses at 0.05 bar are differences of force fields
and of statistics, not of learning. The last line printed is one JSON object.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from idnn.adsorption.features import FieldSettings, knowns
from idnn.adsorption.files import load_model
from idnn.adsorption.packed import unpack
from idnn.units import BOLTZMANN_PA_A3

FOLDER = Path(__file__).parents[1] / "adsorption"
RESULTS = Path(__file__).parent / "results"
FIRST = 5.8
"""bar."""

TEMPERATURE = 298.0


def langmuir(henry: np.ndarray, uptake: np.ndarray, pressure: float) -> np.ndarray:
    """Uptake (mol/kg) at a pressure (bar) between zero and that of a known uptake.

    Args:
        henry: mol/(kg Pa).
        uptake: mol/kg at 5.8 bar.
        pressure: bar.
    """
    linear = 1e5 * henry
    return linear * pressure / (1 + (linear * FIRST / uptake - 1) * pressure / FIRST)


def compared(found: np.ndarray, published: np.ndarray) -> dict[str, float]:
    """How far apart two columns are."""
    error = np.abs(found - published)
    return {
        "mae": float(error.mean()),
        "mae_of_the_mean": float(np.abs(published - published.mean()).mean()),
        "median_relative_error": float(np.median(error / np.maximum(published, 1e-3))),
        "rank_correlation": float(spearmanr(found, published)[0]),  # pyright: ignore
    }


def main() -> None:
    """Predict, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, default=FOLDER / "methane.safetensors")
    options = parser.parse_args()
    crystals = unpack(FOLDER / "hmofs.npz")
    with (FOLDER / "hmofs.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] in crystals]
    model = load_model(options.model)
    chosen = {row["name"]: crystals[row["name"]] for row in rows}
    found = model.predict(chosen)
    column = {name: found.values[:, n] for n, name in enumerate(found.targets)}
    henry, uptake = 10 ** column["log10_henry"], np.maximum(column["uptake_5.8bar"], 1e-3)
    report: dict[str, Any] = {"crystals": len(rows), "unseen": sum(map(bool, found.unseen))}
    for name in [key for key in rows[0] if key != "name"]:
        published = np.array([float(row[name]) for row in rows])
        pressure = float(name.removeprefix("uptake_").removesuffix("bar"))
        report[name] = compared(langmuir(henry, uptake, pressure), published)
    field = FieldSettings(temperature=TEMPERATURE)
    strength = np.array([knowns(crystal, field)[-2] for crystal in chosen.values()])
    scale = [c.mol_per_kg * c.volume / (BOLTZMANN_PA_A3 * TEMPERATURE) for c in chosen.values()]
    exact = np.exp(strength) * np.array(scale)
    lowest = np.array([float(row["uptake_0.05bar"]) for row in rows])
    report["our_field_at_0.05bar"] = compared(0.05e5 * exact, lowest)
    report["log10_henry_mae_to_our_field"] = float(
        np.abs(column["log10_henry"] - np.log10(exact)).mean()
    )
    for name, value in report.items():
        print(name, value)
    (RESULTS / "adsorption_transfer.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
