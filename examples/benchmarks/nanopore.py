"""Nanofiltration by the DSPM-DE: cases a second, and errors against WaterTAP and exact solutions.

    python examples/benchmarks/nanopore.py [--cases 4096] [--threads 1] [--output DIRECTORY]

Cases are of seawater of five ions diluted up to fifty times, 2 to 40 bar and membranes spread about
common ones. WaterTAP averages what happens at both ends of a spiral-wound element and puts two
nodes across the pore, as is done here for the comparison. Seconds are of all threads together.
`rmse` is of `nanopore_learning.py`, whose parts are run first where the folder of results lacks
them, which takes an hour of one core.
"""

import argparse
import csv
import json
import platform
import time
from pathlib import Path

import torch
from nanopore_learning import PARTS, learning, table
from torch import Tensor

from idnn.nanopore import (
    Davies,
    Ions,
    Membrane,
    Transport,
    Water,
    ions,
    neutralised,
    spiral_wound,
    transport,
    two_nodes,
)
from idnn.runtime import keep_freed_memory

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).parents[1] / "nanopore"
D = torch.float64
BAR = 1e5
WATER = Water(viscosity=1e-3, permittivity=80.4)
MEMBRANE = Membrane(*torch.tensor([0.5e-9, 1.33e-6, -27.0, 41.3], dtype=D))
SEAWATER = {"Ca": 382e-6, "SO4": 2136e-6, "Mg": 1394e-6, "Na": 11122e-6, "Cl": 20101.6e-6}
"""Mass fractions."""

MOLAR_MASS = {"Ca": 0.040, "SO4": 0.096, "Mg": 0.024, "Na": 0.023, "Cl": 0.035}
WATER_MOLAR_MASS, WATER_DENSITY = 0.018, 996.8923
WATERTAP_DAVIES = Davies(slope=0.0155484)
"""What WaterTAP computes for A: in m^1.5 mol^-0.5 for decimal logarithms, used with others."""

ELEMENT = {"area": 50.0, "height": 0.5e-3, "porosity": 0.85, "velocity": 0.25}
CASES = {
    "5ion_noCP": (tuple(SEAWATER), 1.0, None),
    "5ion_CP": (tuple(SEAWATER), 1.0, "spiral"),
    "5ion_x2_CP": (tuple(SEAWATER), 2.0, "spiral"),
    "NaCl_CP": (("Na", "Cl"), 1.0, "spiral"),
    "NaCl_noCP": (("Na", "Cl"), 1.0, None),
    "NaCl_CP_Kf1e-5": (("Na", "Cl"), 1.0, "fixed"),
}
"""WaterTAP's cases: ions, times seawater, film."""

MIXED = "5ion_CP"
"""The case whose reference values are of two versions of WaterTAP."""


def rows(name: str) -> list[dict[str, str]]:
    """Of a table of references."""
    with (DATA / name).open() as file:
        return list(csv.DictReader(file))


def with_masses(names: tuple[str, ...]) -> Ions:
    """Of WaterTAP's molar masses."""
    found = ions(names)
    masses = torch.tensor([MOLAR_MASS[name] for name in names], dtype=D)
    return Ions(found.names, found.charge, found.diffusivity, found.stokes_radius, masses)


def element(case: str) -> tuple[Transport, Tensor, Tensor]:
    """At both ends of WaterTAP's element, its molar fluxes and its intrinsic rejections.

    Found by inserting what leaves until it does not change. The feed is 1 kg/s; densities are 1000
    kg/m³.
    """
    names, times, film = CASES[case]
    species = with_masses(names)
    fraction = torch.tensor([SEAWATER[name] * times for name in names], dtype=D)
    entering = neutralised(fraction / species.molar_mass, species, "Cl")
    water_in = (1 - fraction.sum()) / WATER_MOLAR_MASS

    def volume(moles: Tensor, water: Tensor) -> Tensor:
        return (moles @ species.molar_mass + water * WATER_MOLAR_MASS) / 1000

    section = volume(entering, water_in) / ELEMENT["velocity"]
    leaving, water_out = entering, water_in
    for _ in range(100):
        moles, water = torch.stack([entering, leaving]), torch.stack([water_in, water_out])
        flow = volume(moles, water)
        transfer = None
        if film is not None:
            transfer = spiral_wound(
                species, WATER, velocity=flow / section, height=ELEMENT["height"]
            )
        if film == "fixed":
            transfer = torch.full_like(moles, 1e-5)
        found = transport(
            species,
            moles / flow[:, None],
            MEMBRANE,
            pressure=4e5 - 101325.0,
            water=WATER,
            mass_transfer=transfer,
            suction=False,
            activity=WATERTAP_DAVIES,
            mesh=two_nodes(),
        )
        flux = (found.flux[:, None] * found.permeate).mean(0)
        water_flux = found.flux.mean() * WATER_DENSITY / WATER_MOLAR_MASS
        next_one = entering - ELEMENT["area"] * flux
        change = ((next_one - leaving) / entering).abs().max()
        leaving, water_out = next_one, water_in - ELEMENT["area"] * water_flux
        if change < 1e-12:
            permeate = flux / volume(flux, water_flux)
            return found, torch.cat([water_flux[None], flux]), 1 - permeate / found.outside[0]
    raise SystemExit(f"{case}: what leaves the element still changes after 100 rounds")


def watertap_error(case: str) -> float:
    """The largest difference of a rejection from WaterTAP's, or from the independent solver's."""
    column = "own_R_N2" if case == MIXED else "watertap_R_intrinsic"
    table = {row["species"]: row[column] for row in rows("watertap.csv") if row["case"] == case}
    _, _, rejection = element(case)
    reference = torch.tensor([float(table[name]) for name in CASES[case][0]], dtype=D)
    return float((rejection - reference).abs().max())


def exact_error() -> float:
    """The largest difference from the exact solutions, of rejections or of fluxes, relative."""
    species, table = ions(tuple(SEAWATER)), rows("exact.csv")
    dilution, pressure, flux = (
        torch.tensor([float(row[name]) for row in table], dtype=D)
        for name in ("feed_dilution", "dP_bar", "Jv_m_per_s")
    )
    rejection = [[float(row[f"R_{name}"]) for name in species.names] for row in table]
    found = transport(
        species, dilution[:, None] * seawater(), MEMBRANE, pressure=pressure * BAR, water=WATER
    )
    by_rejection = (found.rejection - torch.tensor(rejection, dtype=D)).abs().max()
    return float(torch.maximum(by_rejection, (found.flux / flux - 1).abs().max()))


def seawater() -> Tensor:
    """Concentrations in mol/m³, of WaterTAP's seawater."""
    table = {row["species"]: row for row in rows("watertap.csv") if row["case"] == "5ion_noCP"}
    feed = [float(table[name]["feed_mol_per_m3"]) for name in SEAWATER]
    return neutralised(torch.tensor(feed, dtype=D), ions(tuple(SEAWATER)), "Cl")


def spread(count: int) -> tuple[Tensor, Membrane, Tensor]:
    """Feeds, membranes and pressures."""
    generator = torch.Generator().manual_seed(0)

    def between(low: float, high: float) -> Tensor:
        return low * (high / low) ** torch.rand(count, dtype=D, generator=generator)

    membrane = Membrane(
        between(0.4e-9, 0.8e-9), between(0.5e-6, 3e-6), -between(1, 200), between(30, 70)
    )
    return between(0.02, 1)[:, None] * seawater(), membrane, between(2, 40) * BAR


def speed(count: int, *, gradient: bool) -> float:
    """Cases per second of a CPU, the best of three runs, with the gradient of all rejections."""
    species = ions(tuple(SEAWATER))
    feed, membrane, pressure = spread(count)
    if gradient:
        for name in ("pore_radius", "thickness", "charge", "permittivity"):
            getattr(membrane, name).requires_grad_()
    seconds = []
    for _ in range(4):
        start = time.process_time()
        found = transport(species, feed, membrane, pressure=pressure)
        if gradient:
            found.rejection.sum().backward()
        seconds.append(time.process_time() - start)
    return count / min(seconds[1:])


def learned(output: Path) -> dict[str, dict[str, str]]:
    """RMSE of rejections left out, in points, by part and variant."""
    kept = output / "nanopore_learning.json"
    report = json.loads(kept.read_text()) if kept.exists() else {}
    return table(learning([part for part in PARTS if part not in report], output))


def main() -> None:
    """Measure, and print a line with the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    keep_freed_memory()
    o.output.mkdir(parents=True, exist_ok=True)
    errors = {case: watertap_error(case) for case in CASES}
    for case, error in errors.items():
        print(case, f"{error:.2e}", flush=True)
    result = {
        "cases_per_s": round(speed(o.cases, gradient=False)),
        "cases_per_s_with_gradient": round(speed(o.cases, gradient=True)),
        "watertap_max_error": max(errors.values()),
        "exact_max_error": exact_error(),
        "rmse": learned(o.output),
    }
    machine = {"cpu": platform.processor(), "torch": torch.__version__, "threads": o.threads}
    kept = {"machine": machine, "cases": o.cases, "watertap": errors, "result": result}
    (o.output / "nanopore.json").write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
