"""Grand-canonical Monte Carlo against RASPA2: its printed values, and the program side by side.

    python examples/benchmarks/adsorption_gcmc.py ARCHIVE [--simulate PATH --cycles N] [--output D]
    python examples/benchmarks/adsorption_gcmc.py ARCHIVE --only carbon_dioxide

The archive is what `pip download RASPA2==2.0.4 --no-deps --no-binary :all:` brings; its CIF files
are read in place. With the path of a compiled `simulate` (and RASPA_DIR set) RASPA2 runs the same
cases, without its tabulated grids as in its own examples. Seconds are of CPU, ours with the energy
grid and the burn-in, without compilation. RASPA2 prints 95 % intervals of five blocks: 2.776
standard errors. With `--only` the file's other results stay as they are.

RASPA2 records once per cycle, and a cycle has as many moves as there are molecules, but at least
twenty. Where N exceeds twenty, as for methane in silicalite at 1 bar at times and for CO2 in Cu-BTC
always, that weighs low N more. The printed values are therefore compared with records taken in the
same way; side by side, RASPA2 runs with `MinimumInnerCycles` 60 or 200, above any N.
"""

import argparse
import json
import math
import os
import re
import resource
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from idnn.adsorption.cif import read_library
from idnn.adsorption.field import HostField, host_field, interpolation_error
from idnn.adsorption.forcefield import force_field
from idnn.adsorption.guests import guest
from idnn.adsorption.structures import Crystal
from idnn.runtime import in_threads
from idnn.units import BOLTZMANN_PA_A3
from sampling.adsorption.box import box_of, empty_chain, places_of
from sampling.adsorption.chain_kernel import FIELDS, run
from sampling.adsorption.fugacity import fugacity_coefficient
from sampling.adsorption.henry import dilute
from sampling.adsorption.isotherm import Schedule, Uptake, uptake

RESULTS = Path(__file__).parent / "results"
CHAINS = 8
"""Independent ones, where records are counted as RASPA2 does."""

INTERVAL = 2.776
"""Student's t of four degrees of freedom, 95 %."""

T = 300.0
PRINTED = {1e4: (0.0603578969, 0.0017793626), 1e5: (0.5023401474, 0.0056625176)}
"""CH4 in MFI_SI at 300 K, by pressure (Pa): mol/kg and half the interval (example Basic/7)."""

HELIUM = (5.46589e-07, 7.05185e-11)
"""Henry coefficient of He in IRMOF-1 at 298 K, mol/(kg Pa) (example Auxiliary/3)."""

CARBON_DIOXIDE = (323.0, 1e6, 11.7467584695, 0.0346969275)
"""CO2 in Cu-BTC: K, Pa (which is the fugacity, too), mol/kg, half its interval (Basic/8).

ExampleMOFsForceField of RASPA2 2.0.45 has GenericMOFs' numbers for what meets here.
"""

INPUT = """SimulationType MonteCarlo
NumberOfCycles {cycles}
NumberOfInitializationCycles {first}
PrintEvery {cycles}
Framework 0
"""
METHANE_INPUT = """MinimumInnerCycles 60
Forcefield GenericZeolites
RemoveAtomNumberCodeFromLabel yes
FrameworkName MFI_SI
UnitCells 2 2 2
ExternalTemperature {temperature}
ExternalPressure {pressure:.8g}
Component 0 MoleculeName methane
            MoleculeDefinition TraPPE
            TranslationProbability 0.5
            ReinsertionProbability 0.5
            SwapProbability 1.0
            CreateNumberOfMolecules 0
"""
CARBON_DIOXIDE_INPUT = """MinimumInnerCycles 200
Forcefield GenericMOFs
UseChargesFromCIFFile yes
FrameworkName Cu-BTC
UnitCells 1 1 1
ExternalTemperature {temperature}
ExternalPressure {pressure:.8g}
Component 0 MoleculeName CO2
            MoleculeDefinition Generic
            FugacityCoefficient 1.0
            TranslationProbability 0.5
            RotationProbability 0.5
            ReinsertionProbability 0.5
            SwapProbability 1.0
            CreateNumberOfMolecules 0
"""


def as_raspa_counts(
    field: HostField, temperature: float, fugacity: float, records: int, burn_in: int = 20_000
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Loadings (mol/kg) and errors: of records after max(20, N) moves each, and over all moves."""
    box = box_of(field)
    places = places_of(field, box, temperature)
    activity = fugacity * abs(np.linalg.det(box.lattice)) / (BOLTZMANN_PA_A3 * temperature)

    def chain_means(seed: int) -> tuple[float, float]:
        chain, out = empty_chain(field, box, (seed, 99)), np.empty((1, FIELDS))
        run(box, places, chain, activity, 1 / temperature, burn_in, out)
        recorded, summed, moves = 0, 0.0, 0
        for _ in range(records):
            some = max(20, int(chain.molecules[0]))
            run(box, places, chain, activity, 1 / temperature, some, out)
            recorded += int(chain.molecules[0])
            summed += some * float(out[0, 0])
            moves += some
        return recorded / records, summed / moves

    scale = field.crystal.mol_per_kg / np.prod(box.copies)
    found = scale * np.array(in_threads(chain_means, range(CHAINS), os.cpu_count() or 1))
    errors = found.std(0, ddof=1) / math.sqrt(CHAINS)
    alike, even = zip(found.mean(0).tolist(), errors.tolist(), strict=True)
    return alike, even


def timed(crystal: Crystal, pressure: float, spacing: float) -> tuple[Uptake, HostField, float]:
    """Of one label from nothing: the grid and the chains."""
    began = time.process_time()
    force = force_field("GenericZeolites")
    field = host_field(crystal, force, guest("CH4-Dubbeldam"), spacing=spacing)
    found = uptake(field, temperature=T, pressure=pressure, schedule=Schedule(records=4000), seed=1)
    return found, field, time.process_time() - began


def raspa(
    simulate: Path, case: str, temperature: float, pressure: float, cycles: int
) -> dict[str, float]:
    """Loading (mol/kg), its standard error and CPU seconds of RASPA2."""
    text = (INPUT + case).format(
        cycles=cycles, first=cycles // 5, temperature=temperature, pressure=pressure
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "simulation.input").write_text(text)
        command = [str(simulate.resolve()), "simulation.input"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ)
        (output,) = Path(folder, "Output/System_0").iterdir()
        line = re.search(
            r"Average loading absolute \[mol/kg.*?([\d.]+) \+/- +([\d.]+)", output.read_text()
        )
    if line is None:
        raise RuntimeError(f"{simulate} printed no loading; is RASPA_DIR set?")
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return {"loading": float(line[1]), "stderr": float(line[2]) / INTERVAL, "seconds": seconds}


def sigma(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Difference of two numbers over their joint error."""
    return abs(one[0] - other[0]) / math.hypot(one[1], other[1])


def methane(options: argparse.Namespace, crystal: Crystal) -> list[dict[str, Any]]:
    """All that is measured of methane in silicalite, by pressure."""
    rows = []
    for pressure, (value, interval) in PRINTED.items():
        timed(crystal, pressure, 1.0)
        found, field, seconds = timed(crystal, pressure, options.spacing)
        ours = (float(found.loading.value), float(found.loading.stderr))
        fugacity = pressure * fugacity_coefficient(field.guest, temperature=T, pressure=pressure)
        alike, _ = as_raspa_counts(field, T, fugacity, options.records)
        row: dict[str, Any] = {
            "pressure": pressure,
            "loading": ours,
            "heat": (float(found.heat.value), float(found.heat.stderr)),
            "seconds": seconds,
            "counted_as_raspa": alike,
            "printed": (value, interval / INTERVAL),
            "sigma_alike": sigma(alike, (value, interval / INTERVAL)),
            "sigma_unbiased": sigma(ours, (value, interval / INTERVAL)),
            "interpolation": vars(interpolation_error(field, temperature=T)[0]),
        }
        if options.simulate:
            theirs = raspa(options.simulate, METHANE_INPUT, T, pressure, options.cycles)
            error, cost = theirs["stderr"], theirs["seconds"]
            row["raspa"] = theirs
            row["sigma_side_by_side"] = sigma(ours, (theirs["loading"], error))
            row["speedup"] = error**2 * cost / (ours[1] ** 2 * seconds)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def helium(crystal: Crystal, spacing: float) -> dict[str, Any]:
    """The Henry coefficient in IRMOF-1, without the file's charges."""
    bare = replace(crystal, charges=None)
    field = host_field(bare, force_field("GenericMOFs"), guest("He"), spacing=spacing)
    found = dilute(field, temperature=298.0)
    ours = (float(found.henry.value), float(found.henry.stderr))
    row = {"henry": ours, "printed": HELIUM, "sigma": sigma(ours, HELIUM)}
    print(json.dumps(row), flush=True)
    return row


def carbon_dioxide(options: argparse.Namespace, crystal: Crystal) -> dict[str, Any]:
    """The loading of Cu-BTC, with the file's charges."""
    temperature, pressure, value, interval = CARBON_DIOXIDE
    began = time.process_time()
    force, molecule = force_field("GenericMOFs"), guest("CO2-Garcia-Sanchez")
    field = host_field(crystal, force, molecule, spacing=options.spacing)
    alike, even = as_raspa_counts(
        field, temperature, pressure, options.charged_records, burn_in=150_000
    )
    printed = (value, interval / INTERVAL)
    row: dict[str, Any] = {
        "pressure": pressure,
        "loading": even,
        "seconds": time.process_time() - began,
        "counted_as_raspa": alike,
        "printed": printed,
        "sigma_alike": sigma(alike, printed),
        "sigma_unbiased": sigma(even, printed),
        "interpolation": [vars(e) for e in interpolation_error(field, temperature=temperature)],
    }
    print(json.dumps(row), flush=True)
    if options.simulate:
        theirs = raspa(
            options.simulate, CARBON_DIOXIDE_INPUT, temperature, pressure, options.cycles // 5
        )
        row["raspa"] = theirs
        row["sigma_side_by_side"] = sigma(even, (theirs["loading"], theirs["stderr"]))
        print(json.dumps(row["raspa"]), flush=True)
    return row


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """What is quoted, of all that was measured; None where RASPA2 did not run."""
    rows, gas, charged = found["methane_mfi"], found["helium_irmof1"], found["carbon_dioxide_cubtc"]
    quoted = {
        "gcmc_vs_raspa_sigma": max([gas["sigma"], *(row["sigma_alike"] for row in rows)]),
        "gcmc_unbiased_vs_raspa_sigma": max(row["sigma_unbiased"] for row in rows),
        "gcmc_side_by_side_sigma": max(r.get("sigma_side_by_side", math.nan) for r in rows),
        "gcmc_speedup_over_raspa": min(row.get("speedup", math.nan) for row in rows),
        "gcmc_seconds_per_label": [row["seconds"] for row in rows],
        "gcmc_co2_vs_raspa_sigma": charged["sigma_alike"],
        "gcmc_co2_side_by_side_sigma": charged.get("sigma_side_by_side", math.nan),
    }
    return {k: None if v != v else v for k, v in quoted.items()}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structures", type=Path, help="RASPA2's archive, or a folder of its CIFs")
    parser.add_argument("--simulate", type=Path, help="RASPA2's compiled program")
    parser.add_argument(
        "--cycles", type=int, default=10_000, help="of RASPA2, of 60 moves; a fifth as many of 200"
    )
    parser.add_argument("--records", type=int, default=15_000, help="counted as RASPA2 does")
    parser.add_argument("--charged-records", type=int, default=6_000, help="of carbon dioxide")
    parser.add_argument("--spacing", type=float, default=0.2, help="of our grids (Å)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the result")
    parser.add_argument("--only", choices=("methane", "helium", "carbon_dioxide"), help="a case")
    options = parser.parse_args()
    names = ("MFI_SI", "IRMOF-1", "Cu-BTC")
    crystals = read_library(options.structures, names=names).crystals
    file = options.output / "adsorption_gcmc.json"
    found = json.loads(file.read_text()) if options.only else {}
    if options.only in (None, "methane"):
        found["methane_mfi"] = methane(options, crystals["MFI_SI"])
    if options.only in (None, "helium"):
        found["helium_irmof1"] = helium(crystals["IRMOF-1"], options.spacing)
    if options.only in (None, "carbon_dioxide"):
        found["carbon_dioxide_cubtc"] = carbon_dioxide(options, crystals["Cu-BTC"])
    quoted = summary(found)
    file.write_text(json.dumps(found | quoted, indent=2) + "\n")
    print(json.dumps(quoted))


if __name__ == "__main__":
    main()
