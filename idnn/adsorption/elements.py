"""Elements as numbers: the physical properties from which an embedding is learned."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float

from idnn.adsorption.forcefield import known_atoms
from idnn.adsorption.structures import Crystal

HEAVIEST = 103

PROPERTIES = (
    *("group", "row", "mass", "electronegativity", "radius", "ionisation", "affinity"),
    *("s", "p", "d", "f", "depth", "size"),
)
"""Group and row of the periodic table, log of the mass, Pauling's electronegativity, atomic radius
(Å), first ionisation energy and electron affinity (eV), electrons in the outermost shell of each
kind, log of the depth and size (Å) of UFF's Lennard-Jones potential."""


@cache
def element_properties() -> Float[np.ndarray, "element property"]:
    """Properties by atomic number, row 0 being zero; of all elements of mean 0 and deviation 1.

    Those not known of an element are of the mean. From pymatgen's table of elements, and UFF
    (Rappé et al. 1992, doi:10.1021/ja00051a040).
    """
    from pymatgen.core.periodic_table import Element

    rows = np.array([_properties(Element.from_Z(z)) for z in range(1, HEAVIEST + 1)])
    scaled = (rows - np.nanmean(rows, 0)) / np.nanstd(rows, 0)
    return np.concatenate([np.zeros((1, rows.shape[1])), np.nan_to_num(scaled)])


def require_known(crystal: Crystal) -> None:
    """Check that the elements of all atoms have properties.

    Raises:
        ValueError: one has none.
    """
    heaviest = int(crystal.numbers.max(initial=0))
    if heaviest > HEAVIEST:
        raise ValueError(
            f"`{crystal.name}` must hold elements up to atomic number {HEAVIEST}; it holds "
            f"{heaviest}."
        )


def _properties(element) -> list[float]:  # noqa: ANN001
    known, ionisation = element.data, element.ionization_energies
    # In order of their filling, so that the outermost of a kind is the last.
    shells = dict.fromkeys("spdf", 0) | {k: n for _, k, n in element.full_electronic_structure}
    depth, size = known_atoms()["UFF"].get(element.symbol, (np.nan, np.nan))
    return [
        float(element.group),
        float(element.row),
        float(np.log(element.atomic_mass)),
        _number(known.get("X")),
        _number(known.get("Atomic radius")),
        _number(ionisation[0] if ionisation else None),
        _number(known.get("Electron affinity")),
        *(float(shells[kind]) for kind in "spdf"),
        float(np.log(depth)),
        size,
    ]


def _number(value: object) -> float:
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return float("nan")
