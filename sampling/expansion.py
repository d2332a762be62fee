"""A cluster expansion: orbits as flat integer tables, its energies, and its JSON file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from idnn.files import write_atomically
from sampling.ordering import Ordering

FORMAT = "scalebridge cluster expansion 1"


@dataclass(frozen=True, eq=False)
class Orbit:
    """All clusters of one symmetry class.

    Attributes:
        radius: mean distance (Å) of the cluster's sites from their centre of gravity.
        clusters: the translationally distinct clusters of one primitive cell; each site is three
            primitive-cell offsets and a basis index, [cluster, order, 4].
    """

    radius: float
    clusters: Int[np.ndarray, "cluster order 4"]

    @property
    def order(self) -> int:
        """Number of sites of a cluster."""
        return self.clusters.shape[1]

    @property
    def multiplicity(self) -> int:
        """Number of clusters per primitive cell."""
        return self.clusters.shape[0]


@dataclass(frozen=True)
class Provenance:
    """Where an expansion comes from.

    Attributes:
        method: the first-principles method of the energies.
        data_hash: SHA-256 of the energies fitted, empty where there were none.
        settings: every setting of the fit, by name.
        rmse_full: leave-one-out error over all structures (eV/atom), None where not fitted.
        rmse_focus: the same over the settings' focus range (eV/atom).
        rmse_hull: the same over that range, near the convex hull only (eV/atom).
    """

    method: str
    data_hash: str
    settings: Mapping[str, Any]
    rmse_full: float | None
    rmse_focus: float | None
    rmse_hull: float | None


@dataclass(frozen=True, eq=False)
class ClusterExpansion:
    """Energy of a binary crystal, E/site = J₀ + Σ_orbits J_α Σ_clusters Π spins / sites.

    Sanchez, Ducastelle & Gratias (1984), doi:10.1016/0378-4371(84)90096-7. Spins are `spins[k]`
    for occupation k: +1 for the first species, −1 for the second.

    Attributes:
        species: the two species; occupation 0 is the first.
        primitive_cell: rows are the primitive lattice vectors (Å).
        basis: fractional positions of the primitive cell's sites.
        orbits: clusters by symmetry class, in order of size.
        eci: effective cluster interactions (eV per cluster): J₀, then one per orbit.
        covariance: covariance of `eci` (eV²).
        provenance: method, data and settings behind the numbers.

    Raises:
        ValueError: an entry is not finite, shapes disagree, the primitive cell is flat, or the
            species are not two.
    """

    species: tuple[str, str]
    primitive_cell: Float[np.ndarray, "3 3"]
    basis: Float[np.ndarray, "basis 3"]
    orbits: tuple[Orbit, ...]
    eci: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.species[0] == self.species[1]:
            raise ValueError(f"`species` must be two different ones; they are {self.species}.")
        for name in ("primitive_cell", "basis", "eci", "covariance"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"`{name}` must be finite; it is {getattr(self, name).tolist()}.")
        if not abs(np.linalg.det(self.primitive_cell)) > 0:
            raise ValueError(
                "`primitive_cell` must have independent rows; it is "
                f"{self.primitive_cell.tolist()}."
            )
        if len(self.eci) != len(self.orbits) + 1:
            raise ValueError(
                f"`eci` must hold the constant and one value per orbit ({len(self.orbits) + 1}); "
                f"it holds {len(self.eci)}."
            )

    @property
    def stderr(self) -> Float[np.ndarray, " parameter"]:
        """Standard error of each ECI (eV per cluster)."""
        return np.sqrt(np.diag(self.covariance))

    def predict(self, orderings: Sequence[Ordering]) -> Float[np.ndarray, " sample"]:
        """Energy (eV/site) of each ordering."""
        return cluster_sums(self.orbits, orderings) @ self.eci

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the expansion as JSON, all or nothing.

        Raises:
            CannotWrite: the disk is full or refuses.
        """
        document = {
            "format": FORMAT,
            "species": list(self.species),
            "primitive_cell": self.primitive_cell.tolist(),
            "basis": self.basis.tolist(),
            "orbits": [{"radius": o.radius, "clusters": o.clusters.tolist()} for o in self.orbits],
            "eci": self.eci.tolist(),
            "covariance": self.covariance.tolist(),
            "provenance": asdict(self.provenance),
        }
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_atomically(Path(path), text)

    @staticmethod
    def from_json(path: str | os.PathLike[str]) -> "ClusterExpansion":
        """Read what `to_json` wrote.

        Raises:
            ValueError: the file is not JSON, lacks a key, or holds a value of the wrong kind.
        """
        document = _read_document(Path(path))
        try:
            basis = _array(document["basis"], float, "basis", (None, 3))
            orbits = tuple(
                _orbit(entry, f"orbits[{i}]", len(basis))
                for i, entry in enumerate(document["orbits"])
            )
            count = len(orbits) + 1
            return ClusterExpansion(
                species=_pair(document["species"]),
                primitive_cell=_array(document["primitive_cell"], float, "primitive_cell", (3, 3)),
                basis=basis,
                orbits=orbits,
                eci=_array(document["eci"], float, "eci", (count,)),
                covariance=_array(document["covariance"], float, "covariance", (count, count)),
                provenance=Provenance(**document["provenance"]),
            )
        except KeyError as error:
            raise ValueError(f"`{path}` lacks the key {error}; write it with `to_json`.") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"`{path}` is not a cluster expansion: {error}") from error


def cluster_sums(
    orbits: Sequence[Orbit], orderings: Sequence[Ordering]
) -> Float[np.ndarray, "sample parameter"]:
    """Rows [1, Σ_clusters Π spins / sites of each orbit]: the energy is their product with J."""
    members = np.concatenate([orbit.clusters.reshape(-1, 4) for orbit in orbits])
    ends = np.cumsum([orbit.clusters.shape[0] * orbit.order for orbit in orbits])
    rows = []
    for ordering in orderings:
        spin = 1.0 - 2.0 * ordering.occupation
        cells = ordering.sites[ordering.sites[:, 3] == ordering.sites[0, 3]] * [1, 1, 1, 0]
        around = np.split(spin[ordering.index(cells[:, None] + members)], ends[:-1], axis=1)
        sums = [
            values.reshape(len(cells), -1, orbit.order).prod(-1).sum()
            for orbit, values in zip(orbits, around, strict=True)
        ]
        rows.append([1.0, *(total / len(spin) for total in sums)])
    return np.array(rows)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"`{path}` is not JSON ({error}): truncated or corrupt?") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"`{path}` is not a cluster expansion: `format` must be {FORMAT!r}.")
    return document


def _pair(value: Any) -> tuple[str, str]:  # noqa: ANN401 (anything a JSON file may hold)
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)):
        raise ValueError(f"`species` must be a list of two names; it is {value!r}.")
    return value[0], value[1]


def _orbit(entry: Any, name: str, bases: int) -> Orbit:  # noqa: ANN401
    clusters = _array(entry["clusters"], int, f"{name}.clusters", (None, None, 4))
    if not np.isin(clusters[..., 3], range(bases)).all():
        raise ValueError(f"`{name}.clusters` must have a basis index below {bases} as last entry.")
    return Orbit(float(entry["radius"]), clusters)


def _array(
    value: Any,  # noqa: ANN401
    kind: type,
    name: str,
    shape: tuple[int | None, ...],
) -> np.ndarray:
    array = np.array(value)
    if array.dtype.kind not in ("i" if kind is int else "if"):
        raise ValueError(f"`{name}` must hold numbers of type {kind.__name__}.")
    fits = len(shape) == array.ndim and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        want = tuple("any" if n is None else n for n in shape)
        raise ValueError(f"`{name}` must have shape {want}; it has {array.shape}.")
    return array.astype(np.int64 if kind is int else np.float64)
