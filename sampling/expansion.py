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
        functions: which of its site's point functions each member carries; None where all carry
            the first, the only one of a site of two species.
    """

    radius: float
    clusters: Int[np.ndarray, "cluster order 4"]
    functions: Int[np.ndarray, "cluster order"] | None = None

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
    """Energy of a crystal, E/site = J₀ + Σ_orbits J_α Σ_clusters Π φ / sites.

    Sanchez, Ducastelle & Gratias (1984), doi:10.1016/0378-4371(84)90096-7. φ are the
    `point_functions` of the sites; of two species, a spin: +1 for the first, −1 for the second.

    Attributes:
        species: those that each site of the basis may hold; occupation k is the k-th.
        primitive_cell: rows are the primitive lattice vectors (Å).
        basis: fractional positions of the primitive cell's sites.
        orbits: clusters by symmetry class, in order of size.
        eci: effective cluster interactions (eV per cluster): J₀, then one per orbit.
        covariance: covariance of `eci` (eV²).
        provenance: method, data and settings behind the numbers.

    Raises:
        ValueError: an entry is not finite, shapes disagree, the primitive cell is flat, or the
            species of a site are not two different ones at least.
    """

    species: tuple[tuple[str, ...], ...]
    primitive_cell: Float[np.ndarray, "3 3"]
    basis: Float[np.ndarray, "basis 3"]
    orbits: tuple[Orbit, ...]
    eci: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    provenance: Provenance

    def __post_init__(self) -> None:
        for site in self.species:
            if len(site) < 2 or len(set(site)) < len(site):
                raise ValueError(f"`species` must be two different ones or more; they are {site}.")
        if len(self.species) != len(self.basis):
            raise ValueError(
                f"`species` must be given for each of the {len(self.basis)} sites of `basis`; it "
                f"is for {len(self.species)}."
            )
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
        """Energy (eV/site) of each ordering.

        Raises:
            ValueError: an ordering has other sites than the expansion, or a species too many.
        """
        counts = tuple(map(len, self.species))
        for i, ordering in enumerate(orderings):
            basis = ordering.sites[:, 3]
            if set(basis.tolist()) != set(range(len(counts))):
                raise ValueError(
                    f"`orderings[{i}]` must have the {len(counts)} sites per primitive cell of the "
                    f"expansion; it has those numbered {np.unique(basis).tolist()}."
                )
            if not (ordering.occupation < np.array(counts)[basis]).all():
                raise ValueError(
                    f"`orderings[{i}].occupation` must be below the number of species of each "
                    f"site, {list(counts)}; it reaches {ordering.occupation.max()}."
                )
        return cluster_sums(self.orbits, orderings, counts) @ self.eci

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the expansion as JSON, all or nothing.

        Raises:
            CannotWrite: the disk is full or refuses.
        """
        document = {
            "format": FORMAT,
            "species": self.species[0] if len(set(self.species)) == 1 else self.species,
            "primitive_cell": self.primitive_cell.tolist(),
            "basis": self.basis.tolist(),
            "orbits": list(map(_entry, self.orbits)),
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
            species = _species(document["species"], len(basis))
            orbits = tuple(
                _orbit(entry, f"orbits[{i}]", species) for i, entry in enumerate(document["orbits"])
            )
            count = len(orbits) + 1
            return ClusterExpansion(
                species=species,
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


def point_functions(count: int) -> Float[np.ndarray, "function species"]:
    """A basis of the functions of one site's species besides the constant, orthogonal on average.

    With M species, numbered k from 0: φ_{2m−1} = −cos(2πm(k+1)/M), φ_{2m} = sin(2πm(k+1)/M) up to
    φ_{M−1}; the first is +1 and −1 where M = 2. Sanchez, Ducastelle & Gratias (1984), as icet has
    them (doi:10.1002/adts.201900015) when the heaviest species comes first.
    """
    n, k = np.arange(1, count)[:, None], np.arange(count)
    angle = 2 * np.pi * ((n + 1) // 2) * (k + 1) / count
    return np.where(n % 2 == 1, -np.cos(angle), np.sin(angle))


def cluster_sums(
    orbits: Sequence[Orbit], orderings: Sequence[Ordering], counts: Sequence[int] | None = None
) -> Float[np.ndarray, "sample parameter"]:
    """Rows [1, Σ_clusters Π φ / sites of each orbit]: the energy is their product with J.

    Args:
        orbits: clusters by symmetry class.
        orderings: crystals.
        counts: number of species of each site of the basis; two if not given.
    """
    members = np.concatenate([orbit.clusters.reshape(-1, 4) for orbit in orbits])
    functions = np.concatenate([_functions(orbit).ravel() for orbit in orbits])
    ends = np.cumsum([orbit.clusters.shape[0] * orbit.order for orbit in orbits])
    rows = []
    for ordering in orderings:
        phi = _on_sites(ordering, counts)
        cells = ordering.sites[ordering.sites[:, 3] == ordering.sites[0, 3]] * [1, 1, 1, 0]
        around = np.split(
            phi[ordering.index(cells[:, None] + members), functions], ends[:-1], axis=1
        )
        sums = [
            values.reshape(len(cells), -1, orbit.order).prod(-1).sum()
            for orbit, values in zip(orbits, around, strict=True)
        ]
        rows.append([1.0, *(total / len(phi) for total in sums)])
    return np.array(rows)


def _functions(orbit: Orbit) -> Int[np.ndarray, "cluster order"]:
    none = np.zeros(orbit.clusters.shape[:2], np.int64)
    return none if orbit.functions is None else orbit.functions


def _on_sites(
    ordering: Ordering, counts: Sequence[int] | None
) -> Float[np.ndarray, "site function"]:
    """Each site's point functions of its species."""
    if counts is None:
        return 1.0 - 2.0 * ordering.occupation[:, None]
    tables = np.full((len(counts), max(counts), max(counts) - 1), np.nan)
    for table, count in zip(tables, counts, strict=True):
        table[:count, : count - 1] = point_functions(count).T
    return tables[ordering.sites[:, 3], ordering.occupation]


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"`{path}` is not JSON ({error}): truncated or corrupt?") from error
    if isinstance(document, dict) and "orbits" in document and "format" not in document:
        raise ValueError(
            f"`{path}` lacks `format`, as CASM's `basis.json` and `eci.json` do: read those with "
            "`sampling.casm.from_casm`."
        )
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"`{path}` is not a cluster expansion: `format` must be {FORMAT!r}.")
    return document


def _species(value: Any, bases: int) -> tuple[tuple[str, ...], ...]:  # noqa: ANN401 (any JSON)
    """Names for all sites alike, or a list of them for each."""
    alike = isinstance(value, list) and all(isinstance(name, str) for name in value)
    sites = [value] * bases if alike else value
    if not isinstance(sites, list) or not all(
        isinstance(site, list) and all(isinstance(name, str) for name in site) for site in sites
    ):
        raise ValueError(f"`species` must be a list of names, or one per site; it is {value!r}.")
    return tuple(map(tuple, sites))


def _entry(orbit: Orbit) -> dict[str, Any]:
    entry = {"radius": orbit.radius, "clusters": orbit.clusters.tolist()}
    return entry if orbit.functions is None else {**entry, "functions": orbit.functions.tolist()}


def _orbit(entry: Any, name: str, species: tuple[tuple[str, ...], ...]) -> Orbit:  # noqa: ANN401
    clusters = _array(entry["clusters"], int, f"{name}.clusters", (None, None, 4))
    site = clusters[..., 3]
    if not np.isin(site, range(len(species))).all():
        raise ValueError(
            f"`{name}.clusters` must have a basis index below {len(species)} as last entry."
        )
    if "functions" not in entry:
        return Orbit(float(entry["radius"]), clusters)
    functions = _array(entry["functions"], int, f"{name}.functions", clusters.shape[:2])
    last = np.array([len(names) - 2 for names in species])[site]
    if not ((functions >= 0) & (functions <= last)).all():
        raise ValueError(f"`{name}.functions` must be at least two below its site's species.")
    return Orbit(float(entry["radius"]), clusters, functions)


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
