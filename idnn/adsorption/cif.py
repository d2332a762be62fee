"""Crystals from CIF files, alone, in folders and in archives such as the RASPA2 distribution."""

from __future__ import annotations

import io
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idnn.adsorption.faults import faults
from idnn.adsorption.packed import BadPackage, unpack
from idnn.adsorption.structures import Crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

_CHARGE_COLUMNS = ("_atom_site_charge", "_atom_site_partial_charge", "_atom_type_partial_charge")
_SAME_SITE = 1e-3
"""Symmetry copies closer than this (fractional) are one atom on a special position."""

_TAR = (".tar", ".tar.gz", ".tgz")
_ZIP = (".zip", ".whl")


class BadStructure(ValueError):
    """A file that describes no crystal fit to adsorb in."""


@dataclass(frozen=True)
class Library:
    """What a source of CIF files holds.

    Attributes:
        crystals: those fit for use, by name.
        refused: by name, why the others are not.
    """

    crystals: dict[str, Crystal]
    refused: dict[str, str]


def read_cif(path: Path) -> Crystal:
    """The crystal of a CIF file, its symmetry applied and its charges, where given, read.

    Raises:
        BadStructure: it cannot be read, or overlaps, partial occupancies, missing atoms or loose
            molecules make it unfit; the message names the file, each rule, value and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadStructure(f"`{path}` cannot be read ({error.strerror}): check the path.") from None
    return crystal_of(path.stem, text)


def read_library(source: Path, names: Collection[str] | None = None) -> Library:
    """All CIF files of a folder and its subfolders, of an archive (tar, zip, wheel), or one file.

    The crystals of a file that `idnn.adsorption.packed.pack` wrote (npz) are read, too. With
    `names` only those of these names are read.

    The distribution of RASPA2 (`pip download RASPA2 --no-deps --no-binary :all:`) holds some 150
    zeolites and frameworks in one archive.

    Raises:
        BadStructure: the source does not exist, is truncated or holds no CIF file.
    """
    crystals: dict[str, Crystal] = {}
    refused: dict[str, str] = {}
    met: dict[str, str | Crystal] = {}
    try:
        for name, content in _contents(source):
            if names is not None and name not in names:
                continue
            if content != met.setdefault(name, content):
                crystals.pop(name, None)
                refused[name] = (
                    f"`{name}` must be the name of one structure of {source}; files of this name "
                    "differ: rename them."
                )
            if name in crystals or name in refused:
                continue
            try:
                crystals[name] = _checked(name, content)
            except BadStructure as error:
                refused[name] = str(error)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BadStructure(
            f"`{source}` must be a folder, an archive or a file that can be read; it cannot "
            f"({error}): check that it is complete."
        ) from None
    if not crystals and not refused:
        wanted = "" if names is None else f" of {', '.join(sorted(names)[:5])}"
        raise BadStructure(
            f"`{source}` must hold CIF files{wanted}{' …' if len(names or ()) > 5 else ''}; it "
            "holds none: check the path."
        )
    return Library(crystals, refused)


def crystal_of(name: str, text: str) -> Crystal:
    """The crystal that the text of a CIF file describes.

    Raises:
        BadStructure: as `read_cif`.
    """
    structure, entries = _parse(name, text)
    _accept(name, _disorder(structure))
    crystal = Crystal(
        name,
        np.array(structure.lattice.matrix),
        np.array(structure.frac_coords).reshape(-1, 3),
        np.array([site.specie.Z for site in structure], dtype=int),
        _charges(name, entries, structure),
    )
    _accept(name, faults(crystal) + _missing(entries, crystal.numbers))
    return crystal


def _contents(source: Path) -> Iterable[tuple[str, str | Crystal]]:
    if source.suffix != ".npz":
        return _texts(source)
    try:
        return unpack(source).items()
    except BadPackage as error:
        raise BadStructure(str(error)) from None


def _checked(name: str, content: str | Crystal) -> Crystal:
    if isinstance(content, str):
        return crystal_of(name, content)
    _accept(name, faults(content))
    return content


def _accept(name: str, found: list[str]) -> None:
    if found:
        raise BadStructure(f"`{name}` is unfit as a host: " + "; ".join(found) + ".")


def _parse(name: str, text: str) -> tuple[Structure, Mapping[str, Any]]:
    """All atoms of the cell, and the file's entries."""
    from pymatgen.io.cif import CifFile, CifParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Occupancies above one are of sites that overlap; they are reported below.
            parser = CifParser(
                io.StringIO(text),
                occupancy_tolerance=1e3,
                site_tolerance=_SAME_SITE,
                check_cif=False,
            )
            (structure, *_) = parser.parse_structures(primitive=False, on_error="raise")
            (block, *_) = CifFile.from_str(text).data.values()
        except Exception as error:
            # Pymatgen raises whatever the first bad line leads to.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BadStructure(
                f"`{name}` must be a CIF file with a cell and atoms; it cannot be read ({reason}): "
                "check its cell lengths, symmetry operations and atom-site loop."
            ) from None
    return structure, block.data


def _disorder(structure: Structure) -> list[str]:
    partial = [site for site in structure if not site.is_ordered]
    if not partial:
        return []
    return [
        f"every site must be occupied by one whole atom; {len(partial)} of {len(structure)} are "
        f"not, the first {partial[0].species_string}: choose one of the alternatives"
    ]


def _charges(name: str, entries: Mapping[str, Any], structure: Structure) -> np.ndarray | None:
    """Charges by the sites' labels, None where no column holds any."""
    labels = entries.get("_atom_site_label")
    for column in _CHARGE_COLUMNS:
        values = entries.get(column)
        if labels is not None and values is not None and len(values) == len(labels):
            known = {key: _number(name, column, v) for key, v in zip(labels, values, strict=True)}
            return np.array([known[site.label] for site in structure])
    return None


def _missing(entries: Mapping[str, Any], numbers: np.ndarray) -> list[str]:
    """Whether the atoms' ratios contradict the formula that the file states, if it can be read."""
    from pymatgen.core import Composition, Element

    stated = str(entries.get("_chemical_formula_sum", "")).split()
    terms = [re.fullmatch(r"([A-Z][a-z]?)(\d*\.?\d*)", word) for word in stated]
    if not terms or not all(terms):
        return []
    wanted = Composition({t[1]: float(t[2] or 1) for t in terms if t}).fractional_composition
    kinds, counts = np.unique(numbers, return_counts=True)
    names = {Element.from_Z(int(z)).symbol: int(n) for z, n in zip(kinds, counts, strict=True)}
    held = Composition(names)
    if wanted.almost_equals(held.fractional_composition, rtol=0.02, atol=1e-3):
        return []
    return [
        f"its atoms must be in the ratios of its own formula, {' '.join(stated)}; they are "
        f"{held.reduced_formula}: add the missing atoms, or correct _chemical_formula_sum"
    ]


def _number(name: str, column: str, value: object) -> float:
    number = re.match(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", str(value))
    if number is None:
        raise BadStructure(
            f"`{column}` of {name} must hold numbers; one is {value!r}: correct or drop the column."
        )
    return float(number[0])


def _texts(source: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each CIF file, in order of names."""
    if source.is_dir():
        for path in sorted(source.rglob("*.cif")):
            yield path.stem, path.read_text(encoding="utf-8", errors="replace")
    elif source.name.endswith(_TAR):
        with tarfile.open(source) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                content = archive.extractfile(member) if member.name.endswith(".cif") else None
                if content is not None:
                    yield Path(member.name).stem, content.read().decode("utf-8", "replace")
    elif source.name.endswith(_ZIP):
        with zipfile.ZipFile(source) as archive:
            for entry in sorted(n for n in archive.namelist() if n.endswith(".cif")):
                yield Path(entry).stem, archive.read(entry).decode("utf-8", "replace")
    elif source.is_file():
        yield source.stem, source.read_text(encoding="utf-8", errors="replace")
