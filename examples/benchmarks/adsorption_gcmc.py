"""Grand-canonical Monte Carlo against RASPA2: its printed values, and the program side by side.

    python examples/benchmarks/adsorption_gcmc.py ARCHIVE [--simulate PATH --cycles N] [--output D]

The archive is what `pip download RASPA2==2.0.4 --no-deps --no-binary :all:` brings; its CIF files
are read in place. With the path of a compiled `simulate` (and RASPA_DIR set) RASPA2 runs the same
cases, without its tabulated grids as in its own examples. Seconds are of CPU, ours with the energy
grid and the burn-in, without compilation. RASPA2 prints 95 % intervals of five blocks: 2.776
standard errors.

RASPA2 records once per cycle, and a cycle has as many moves as there are molecules, but at least
twenty. Where N crosses twenty, as methane in silicalite at 1 bar does, that weighs low N more. The
printed values are therefore compared with records taken in the same way; side by side, RASPA2 runs
with `MinimumInnerCycles` 60, which is never exceeded.
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
from idnn.units import BOLTZMANN_PA_A3
from sampling.adsorption.box import box_of, empty_chain, places_of
from sampling.adsorption.chain_kernel import FIELDS, run
from sampling.adsorption.fugacity import fugacity_coefficient
from sampling.adsorption.henry import dilute
from sampling.adsorption.isotherm import Schedule, Uptake, uptake

RESULTS = Path(__file__).parent / "results"
INTERVAL = 2.776
"""Student's t of four degrees of freedom, 95 %."""

T = 300.0
PRINTED = {1e4: (0.0603578969, 0.0017793626), 1e5: (0.5023401474, 0.0056625176)}
"""CH4 in MFI_SI at 300 K, by pressure (Pa): mol/kg and half the interval (example Basic/7)."""

HELIUM = (5.46589e-07, 7.05185e-11)
"""Henry coefficient of He in IRMOF-1 at 298 K, mol/(kg Pa) (example Auxiliary/3)."""

INPUT = """SimulationType MonteCarlo
NumberOfCycles {cycles}
NumberOfInitializationCycles {first}
MinimumInnerCycles 60
PrintEvery {cycles}
Forcefield GenericZeolites
RemoveAtomNumberCodeFromLabel yes
Framework 0
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


def as_raspa_counts(field: HostField, pressure: float, records: int) -> tuple[float, float]:
    """Loading (mol/kg) and its error where every record ends max(20, N) moves."""
    box = box_of(field)
    places = places_of(field, box, T)
    fugacity = pressure * fugacity_coefficient(field.guest, temperature=T, pressure=pressure)
    activity = fugacity * abs(np.linalg.det(box.lattice)) / (BOLTZMANN_PA_A3 * T)
    means, out = [], np.empty((1, FIELDS))
    for seed in range(8):
        chain = empty_chain(field, box, (seed, 99))
        run(box, places, chain, activity, 1 / T, 20_000, out)
        number = 0
        for _ in range(records):
            run(box, places, chain, activity, 1 / T, max(20, int(chain.molecules[0])), out)
            number += int(chain.molecules[0])
        means.append(number / records / np.prod(box.copies) * field.crystal.mol_per_kg)
    return float(np.mean(means)), float(np.std(means, ddof=1) / math.sqrt(len(means)))


def timed(crystal: Crystal, pressure: float, spacing: float) -> tuple[Uptake, HostField, float]:
    """Of one label from nothing: the grid and the chains."""
    began = time.process_time()
    force = force_field("GenericZeolites")
    field = host_field(crystal, force, guest("CH4-Dubbeldam"), spacing=spacing)
    found = uptake(field, temperature=T, pressure=pressure, schedule=Schedule(records=4000), seed=1)
    return found, field, time.process_time() - began


def raspa(simulate: Path, pressure: float, cycles: int) -> dict[str, float]:
    """Loading (mol/kg), its standard error and CPU seconds of RASPA2."""
    text = INPUT.format(cycles=cycles, first=cycles // 5, temperature=T, pressure=pressure)
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
        alike = as_raspa_counts(field, pressure, options.records)
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
            theirs = raspa(options.simulate, pressure, options.cycles)
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


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("structures", type=Path, help="RASPA2's archive, or a folder of its CIFs")
    parser.add_argument("--simulate", type=Path, help="RASPA2's compiled program")
    parser.add_argument("--cycles", type=int, default=10_000, help="of RASPA2, of 60 moves")
    parser.add_argument("--records", type=int, default=15_000, help="counted as RASPA2 does")
    parser.add_argument("--spacing", type=float, default=0.2, help="of our grids (Å)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the result")
    options = parser.parse_args()
    names = ("MFI_SI", "IRMOF-1")
    crystals = read_library(options.structures, names=names).crystals
    rows = methane(options, crystals["MFI_SI"])
    gas = helium(crystals["IRMOF-1"], options.spacing)
    summary = {
        "gcmc_vs_raspa_sigma": max([gas["sigma"], *(row["sigma_alike"] for row in rows)]),
        "gcmc_unbiased_vs_raspa_sigma": max(row["sigma_unbiased"] for row in rows),
        "gcmc_side_by_side_sigma": max(r.get("sigma_side_by_side", math.nan) for r in rows),
        "gcmc_speedup_over_raspa": min(row.get("speedup", math.nan) for row in rows),
        "gcmc_seconds_per_label": [row["seconds"] for row in rows],
    }
    plain = {k: None if v != v else v for k, v in summary.items()}
    content = {"methane_mfi": rows, "helium_irmof1": gas, **plain}
    (options.output / "adsorption_gcmc.json").write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(plain))


if __name__ == "__main__":
    main()
