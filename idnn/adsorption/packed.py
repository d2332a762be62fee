"""Many crystals in one small file: NumPy's npz, coordinates in 16 bits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from idnn.adsorption.structures import Crystal
from idnn.files import write_atomically

_STEPS = 2**16
_KEYS = ("names", "cell", "offsets", "frac", "Z")


class BadPackage(ValueError):
    """A file that does not hold packed crystals."""


def pack(crystals: Mapping[str, Crystal], path: Path) -> None:
    """Write crystals: `names`, `cell` [crystal, 3, 3] (Å), `frac` [atom, 3], `Z` [atom].

    Atoms of crystal i are rows `offsets[i]` to `offsets[i + 1]`. Fractional coordinates are
    rounded to 2⁻¹⁶, 4·10⁻⁴ Å in an edge of 25 Å. Charges are not kept.
    """
    counts = [len(crystal.numbers) for crystal in crystals.values()]
    places = np.concatenate([crystal.fractional for crystal in crystals.values()])
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        names=np.array(list(crystals)),
        cell=np.stack([crystal.lattice for crystal in crystals.values()]),
        offsets=np.cumsum([0, *counts]),
        frac=(np.rint(places * _STEPS) % _STEPS).astype(np.uint16),
        Z=np.concatenate([crystal.numbers for crystal in crystals.values()]).astype(np.uint8),
    )
    write_atomically(path, stream.getvalue())


def unpack(path: Path) -> dict[str, Crystal]:
    """The crystals that `pack` wrote, by name; `frac` may also be of floating point.

    Raises:
        BadPackage: the file is truncated or something else.
    """
    try:
        with np.load(path) as file:
            names, cell, offsets, places, numbers = (file[key] for key in _KEYS)
        if places.dtype == np.uint16:
            places = places / _STEPS
        starts = [slice(*pair) for pair in pairwise(offsets)]
        return {
            str(name): Crystal(
                str(name), lattice.astype(float), places[s].astype(float), numbers[s].astype(int)
            )
            for name, lattice, s in zip(names, cell, starts, strict=True)
        }
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BadPackage(
            f"`{path}` must hold packed crystals ({', '.join(_KEYS)}); it cannot be read "
            f"({error}): write it by `idnn.adsorption.packed.pack`."
        ) from None
