"""First-principles energies as users have them: structures and total energies from files."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure import StructureError

from sampling.mapping import Crystal, NotOnLattice, map_to_lattice
from sampling.ordering import Ordering, ParentLattice
from sampling.prototypes import fingerprint


@dataclass(frozen=True, eq=False)
class EnergySet:
    """Energies of orderings of one parent lattice, all from one method.

    Attributes:
        lattice: the parent lattice.
        ids: name of each structure.
        orderings: the structures on ideal lattice sites.
        energies: total energies (eV/atom) as given.
        formation_energies: energies against the two pure crystals of the set (eV/atom).
        method: the method of the energies, as the file states it.
        source_hash: SHA-256 of the files read.
    """

    lattice: ParentLattice
    ids: tuple[str, ...]
    orderings: tuple[Ordering, ...]
    energies: Float[np.ndarray, " sample"]
    formation_energies: Float[np.ndarray, " sample"]
    method: str
    source_hash: str

    @property
    def fractions(self) -> Float[np.ndarray, " sample"]:
        """Site fraction of the second species."""
        return np.array([ordering.fraction for ordering in self.orderings])


@dataclass(frozen=True, eq=False)
class _Record:
    """One calculation: `where` names it in errors."""

    where: str
    id: str
    structure: Structure
    energy: float
    method: str


def read_energies(
    path: str | os.PathLike[str], lattice: ParentLattice, *, kind: str | None = None
) -> EnergySet:
    """Read structures and energies, and put them on the parent lattice.

    `path` is one of
    - a JSON-lines file: first `{"method": ...}`, then one structure per line,
    - a JSON file `{"method": ..., "structures": [...]}`,
    - a folder of POSCAR or CIF files with `energies.csv` (columns `file,energy,method`).

    A structure has `id`, `energy` (eV per cell) and either `cell` (Å), `species` and `positions`
    (Å), or `structure`, a pymatgen `Structure.as_dict()`. It may have `method` and `kind`; a file
    with several kinds (say, fixed shape and fully relaxed) needs `kind` to choose one.

    Raises:
        ValueError: a field is missing or not finite, methods or kinds are mixed, an end member is
            missing, a structure appears twice or is not an ordering of the lattice.
    """
    source = Path(path)
    files = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    records = list(_folder(source) if source.is_dir() else _json_records(source, kind))
    method = _single("method", [r.method for r in records], source)
    orderings = tuple(_mapped(record, lattice) for record in records)
    ids = tuple(record.id for record in records)
    energies = np.array([r.energy / len(r.structure) for r in records])
    _refuse_duplicates(lattice, ids, orderings)
    return EnergySet(
        lattice=lattice,
        ids=ids,
        orderings=orderings,
        energies=energies,
        formation_energies=_formation(lattice, orderings, energies),
        method=method,
        source_hash=digest,
    )


def _json_records(path: Path, kind: str | None) -> Iterator[_Record]:
    header, entries = _json_entries(path)
    kinds = [str(entry.get("kind", "")) for _, entry in entries]
    chosen = kind if kind is not None else _single("kind", kinds, path)
    if chosen not in kinds:
        raise ValueError(f"`{path}` holds no structure of `kind` {chosen!r}; it has {set(kinds)}.")
    for (where, entry), its_kind in zip(entries, kinds, strict=True):
        if its_kind == chosen:
            yield _record(where, {**header, **entry})


def _json_entries(path: Path) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """The common header, and each structure with the place it was found."""
    text = path.read_text()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("structures"), list):
        header = {key: value for key, value in whole.items() if key != "structures"}
        rows = [(f"{path}, structure {i}", row) for i, row in enumerate(whole["structures"])]
    else:
        header, rows = _json_lines(path, text)
    if not rows:
        raise ValueError(f"`{path}` holds no structures.")
    return header, rows


def _json_lines(path: Path, text: str) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    rows: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append((f"{path}, line {number}", dict(json.loads(line))))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"`{path}`, line {number} is not a JSON object ({error}): truncated? "
                "Delete the line or calculate it again."
            ) from error
    has_header = bool(rows) and "energy" not in rows[0][1] and "method" in rows[0][1]
    return (rows[0][1], rows[1:]) if has_header else ({}, rows)


def _record(where: str, entry: dict[str, Any]) -> _Record:
    where = f"{where}, id {entry.get('id', '(none)')}"
    for key in ("id", "energy", "method"):
        if key not in entry:
            raise ValueError(f"`{where}` lacks `{key}`.")
    try:
        structure = _structure(entry)
        energy = float(entry["energy"])
    except KeyError as error:
        raise ValueError(f"`{where}` lacks {error} (or `structure`).") from error
    except (TypeError, ValueError, StructureError) as error:
        raise ValueError(f"`{where}`: the structure cannot be read: {error}") from error
    return _checked(_Record(where, str(entry["id"]), structure, energy, str(entry["method"])))


def _structure(entry: dict[str, Any]) -> Structure:
    if "structure" in entry:
        return _plain(entry["structure"])
    return Structure(
        Lattice(entry["cell"]), entry["species"], entry["positions"], coords_are_cartesian=True
    )


def _plain(content: dict[str, Any]) -> Structure:
    """Lattice, species and positions of a `Structure.as_dict()`, and nothing else.

    pymatgen's own reader decodes site properties, which may name any class to import.
    """
    species = [site["species"][0]["element"] for site in content["sites"]]
    if any(len(site["species"]) != 1 for site in content["sites"]):
        raise ValueError("a site is shared by several species")
    positions = [site["abc"] for site in content["sites"]]
    return Structure(Lattice(content["lattice"]["matrix"]), species, positions)


def _folder(path: Path) -> Iterator[_Record]:
    table = path / "energies.csv"
    if not table.is_file():
        raise ValueError(f"`{path}` must hold `energies.csv` with columns file,energy,method.")
    with table.open(newline="") as handle:
        for row in csv.DictReader(handle):
            where = f"{table}, {row.get('file')}"
            missing = {"file", "energy", "method"} - {k for k, v in row.items() if v}
            if missing:
                raise ValueError(f"`{where}` lacks {', '.join(sorted(missing))}.")
            try:
                structure = Structure.from_file(path / row["file"])
                energy = float(row["energy"])
            except (ValueError, OSError, LookupError, TypeError) as error:
                raise ValueError(f"`{where}` cannot be read: {error}") from error
            yield _checked(_Record(where, row["file"], structure, energy, row["method"]))


def _checked(record: _Record) -> _Record:
    if not np.isfinite(record.energy):
        raise ValueError(
            f"`energy` must be finite; {record.where} has {record.energy}. Leave it out."
        )
    if len(record.structure) == 0:
        raise ValueError(f"`species` must name at least one atom; {record.where} has none.")
    if not np.isfinite(record.structure.cart_coords).all():
        raise ValueError(f"`positions` must be finite; those of {record.where} are not.")
    return record


def _single(name: str, values: Sequence[str], path: Path) -> str:
    distinct = sorted(set(values))
    if len(distinct) != 1:
        raise ValueError(
            f"`{name}` must be the same for all energies of one fit; `{path}` mixes "
            f"{', '.join(repr(v) for v in distinct)}. Choose one of them."
        )
    return distinct[0]


def _mapped(record: _Record, lattice: ParentLattice) -> Ordering:
    crystal = Crystal(
        cell=record.structure.lattice.matrix.astype(np.float64),
        positions=record.structure.frac_coords.astype(np.float64),
        species=tuple(site.species_string for site in record.structure),
    )
    try:
        return map_to_lattice(crystal, lattice)
    except NotOnLattice as error:
        raise ValueError(
            f"Structure `{record.id}` ({record.where}) is not an ordering of the parent lattice: "
            f"{error}. Leave it out, or use the energy at ideal sites."
        ) from error


def _formation(
    lattice: ParentLattice, orderings: Sequence[Ordering], energies: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, " sample"]:
    """E − (1 − x) E(first) − x E(second)."""
    x = np.array([ordering.fraction for ordering in orderings])
    pure = []
    for fraction, name in zip((0.0, 1.0), lattice.species, strict=True):
        if not (x == fraction).any():
            raise ValueError(
                f"The end member pure {name} is missing; add its energy on the parent lattice "
                "from the same method."
            )
        pure.append(energies[x == fraction][0])
    return energies - (1 - x) * pure[0] - x * pure[1]


def _refuse_duplicates(
    lattice: ParentLattice, ids: Sequence[str], orderings: Sequence[Ordering]
) -> None:
    """Fingerprints find candidates; a comparison of the crystals decides."""
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"`id` must differ between structures; repeated: {repeated}.")
    seen: dict[bytes, list[int]] = {}
    for i, row in enumerate(fingerprint(lattice, orderings)):
        alike = seen.setdefault(row.tobytes(), [])
        for j in alike:
            if _same(lattice, orderings[i], orderings[j]):
                raise ValueError(
                    f"Structures `{ids[j]}` and `{ids[i]}` are the same ordering; keep one of them."
                )
        alike.append(i)


def _same(lattice: ParentLattice, first: Ordering, second: Ordering) -> bool:
    one, other = to_structure(lattice, first), to_structure(lattice, second)
    return bool(StructureMatcher(scale=False).fit(one, other))


def to_structure(lattice: ParentLattice, ordering: Ordering) -> Structure:
    """The ordering as a pymatgen structure on ideal sites (Å)."""
    fractional = ordering.sites[:, :3] + lattice.basis[ordering.sites[:, 3]]
    return Structure(
        Lattice(ordering.supercell @ lattice.primitive_cell),
        [lattice.species[k] for k in ordering.occupation],
        fractional @ lattice.primitive_cell,
        coords_are_cartesian=True,
    )
