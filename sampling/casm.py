"""Cluster expansions from CASM's files: binaries whose only freedom is who sits where."""

import gzip
import json
import os
import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sampling.expansion import ClusterExpansion, Orbit, Provenance

_PRODUCT = re.compile(r"\[?\(\\phi[^()]*\)( \* \(\\phi[^()]*\))*\]?")

Site = tuple[int, int, int, int]


def from_casm(
    eci: str | os.PathLike[str],
    clusters: str | os.PathLike[str],
    *,
    method: str = "unknown",
) -> ClusterExpansion:
    """The energy that CASM's coefficients and its basis set stand for.

    CASM's energy per primitive cell is Σ V_α ⟨Φ_α⟩ with the mean ⟨Φ_α⟩ of an orbit's functions over
    its `mult` clusters per cell; of a binary Φ_α is a product of site functions φ = a + b s, s = ±1
    our spin. Multiplied out, products over clusters and their parts remain, J = V/mult · a^(n−m)
    b^m each. Parts of equal order, size and J make one of our orbits. The order of species, and so
    the sign of s, is that of the prim's occupants; sites of one occupant are left out, and energies
    are per site that has two.

    Args:
        eci: `eci.json` as CASM writes it: `basis.json` with an `eci` in the cluster functions.
        clusters: `cluster_functions.json.gz`, written beside `basis.json` by CASM's generator; the
            prototypes of `basis.json` alone do not say which clusters an orbit holds.
        method: where the energies come from, for the record.

    Raises:
        ValueError: a file lacks a key, the two do not belong together, a site has more than two
            occupants, or a function is more than a product of occupation functions.
    """
    basis_set, listed = _read(eci), _read(clusters)
    try:
        prim = basis_set["prim"]
        active = [i for i, site in enumerate(prim["basis"]) if len(site["occupants"]) > 1]
        functions = {i: _linear(basis_set["site_functions"], i, prim) for i in active}
        interactions: dict[tuple[Site, ...], float] = defaultdict(float)
        for orbit in basis_set["orbits"]:
            members = listed["clusters"][orbit["linear_orbit_index"]]
            _add(interactions, orbit, members, functions)
        cell = np.array(prim["lattice_vectors"], dtype=np.float64)
        positions = _fractional(prim, cell)
        species = tuple(tuple(prim["basis"][i]["occupants"]) for i in active)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"`{eci}` and `{clusters}` must be CASM's `eci.json`, with `prim`, `site_functions` "
            f"and `orbits`, and the `cluster_functions.json.gz` of the same basis set: {error!r}."
        ) from error
    constant = interactions.pop((), 0.0) / len(active)
    orbits, values = _orbits(interactions, positions @ cell, cell, active)
    return ClusterExpansion(
        species=species,
        primitive_cell=cell,
        basis=positions[active],
        orbits=orbits,
        eci=np.array([constant, *values]),
        covariance=np.zeros((len(orbits) + 1,) * 2),
        provenance=Provenance(method, "", {"imported": "casm"}, None, None, None),
    )


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    raw = Path(path).read_bytes()
    try:
        document = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"`{path}` is not JSON ({error}): truncated or corrupt?") from error
    if not isinstance(document, dict):
        raise ValueError(f"`{path}` must hold a JSON object.")
    return document


def _linear(site_functions: list[Any], site: int, prim: dict[str, Any]) -> tuple[float, float]:
    """A and b of φ = a + b s on one site."""
    occupants = prim["basis"][site]["occupants"]
    if len(occupants) > 2:
        raise ValueError(
            f"`prim.basis[{site}].occupants` must be at most two to be imported; they are "
            f"{occupants}."
        )
    (values,) = [f["occ"]["value"] for f in site_functions if f["sublat"] == site]
    first, second = values[1]
    return (first + second) / 2, (first - second) / 2


def _fractional(prim: dict[str, Any], cell: np.ndarray) -> np.ndarray:
    positions = np.array([site["coordinate"] for site in prim["basis"]], dtype=np.float64)
    return positions if prim["coordinate_mode"] == "Fractional" else positions @ np.linalg.inv(cell)


def _add(
    interactions: dict[tuple[Site, ...], float],
    orbit: dict[str, Any],
    members: list[Any],
    functions: dict[int, tuple[float, float]],
) -> None:
    """Add an orbit's clusters and their parts, in eV per cluster, to what is known of them."""
    name = f"orbits[{orbit['linear_orbit_index']}]"
    if len(members) != orbit["mult"]:
        raise ValueError(
            f"`{name}.mult` must be the number of its clusters; it is {orbit['mult']}, but there "
            f"are {len(members)}."
        )
    used = [function for function in orbit["cluster_functions"] if "eci" in function]
    if not used:
        return
    order = len(members[0]["sites"])
    formula = next(text for key, text in used[0].items() if key.startswith("\\Phi"))
    product = _PRODUCT.fullmatch(formula) and formula.count("\\phi") == order
    if len(orbit["cluster_functions"]) > 1 or not (product or (order == 0 and formula == "1")):
        raise ValueError(
            f"`{name}.cluster_functions` must be one product of occupation functions; it is "
            f"{formula!r}."
        )
    each = float(used[0]["eci"]) / orbit["mult"]
    for member in members:
        sites: list[Site] = [(i, j, k, b) for b, i, j, k in member["sites"]]
        for size in range(order + 1):
            for part in combinations(range(order), size):
                factors = [functions[site[3]][n in part] for n, site in enumerate(sites)]
                kept = _from_origin([sites[n] for n in part])
                interactions[kept] += each * float(np.prod(factors))


def _from_origin(sites: list[Site]) -> tuple[Site, ...]:
    """The same cluster whatever lattice vector it is moved by: its first site in the first cell."""
    if not sites:
        return ()
    i, j, k, _ = min(sites, key=lambda site: (site[3], *site[:3]))
    moved = [(a - i, b - j, c - k, basis) for a, b, c, basis in sites]
    return tuple(sorted(moved, key=lambda site: (site[3], *site[:3])))


def _orbits(
    interactions: dict[tuple[Site, ...], float],
    positions: np.ndarray,
    cell: np.ndarray,
    active: list[int],
) -> tuple[tuple[Orbit, ...], list[float]]:
    """Clusters of equal order, radius and interaction together."""
    scale = max(map(abs, interactions.values()), default=0.0)
    groups: dict[tuple[int, float, float], list[tuple[Site, ...]]] = defaultdict(list)
    for cluster, value in interactions.items():
        if abs(value) > 1e-13 * scale:
            at = np.array([np.array(s[:3]) @ cell + positions[s[3]] for s in cluster])
            radius = np.linalg.norm(at - at.mean(0), axis=1).mean()
            groups[len(cluster), round(radius, 5), round(value / scale, 11)].append(cluster)
    orbits, values = [], []
    for (_, radius, _), clusters in sorted(groups.items()):
        sites = np.array(clusters, dtype=np.int64)
        sites[..., 3] = np.searchsorted(active, sites[..., 3])
        orbits.append(Orbit(radius, sites))
        values.append(float(np.mean([interactions[cluster] for cluster in clusters])))
    return tuple(orbits), values
