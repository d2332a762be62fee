"""Write structures.json: the distinct fcc Ni–Al orderings of up to 6 atoms, cubic parameter 1.

Run it with the project's Python: `python enumerate_structures.py`. The ids number icet's order.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.geometry import minkowski_reduce
from icet.tools import enumerate_structures

from sampling.clusters import quiet_spglib
from sampling.mapping import Crystal, map_to_lattice
from sampling.ordering import fcc
from sampling.prototypes import names

LARGEST = 6
LATTICE = fcc(("Ni", "Al"), 1.0)


def main() -> None:
    """Enumerate and write."""
    structures = [s for n in range(1, LARGEST + 1) for s in orderings(n)]
    target = Path(__file__).with_name("structures.json")
    temporary = target.with_suffix(".tmp")
    temporary.write_text("[" + ",\n".join(json.dumps(s) for s in structures) + "]\n")
    temporary.replace(target)
    print(f"{len(structures)} structures in {target}")


def orderings(size: int) -> list[dict[str, Any]]:
    """The distinct orderings with `size` atoms per primitive cell."""
    primitive = bulk("Ni", "fcc", a=1.0)
    with quiet_spglib():
        found = cast("Iterable[Atoms]", enumerate_structures(primitive, [size], ["Ni", "Al"]))
        return [describe(f"{size}_{i:03d}", reduced(atoms)) for i, atoms in enumerate(found)]


def reduced(atoms: Atoms) -> Atoms:
    """The same crystal with short, right-handed cell vectors."""
    cell = np.asarray(minkowski_reduce(atoms.cell.array)[0])
    atoms.set_cell(cell if np.linalg.det(cell) > 0 else -cell, scale_atoms=False)
    atoms.wrap()
    return atoms


def describe(identifier: str, atoms: Atoms) -> dict[str, Any]:
    """One entry of structures.json."""
    species = atoms.get_chemical_symbols()
    crystal = Crystal(atoms.cell.array, atoms.get_scaled_positions(), tuple(species))
    (name,) = names(LATTICE, [map_to_lattice(crystal, LATTICE)])
    return {
        "id": identifier,
        "n": len(atoms),
        "x_Al": species.count("Al") / len(atoms),
        "name": "fcc" if len(atoms) == 1 else name.rpartition(" ")[0],
        "species": species,
        "cell": atoms.cell.array.tolist(),
        "scaled": atoms.get_scaled_positions().tolist(),
    }


if __name__ == "__main__":
    main()
