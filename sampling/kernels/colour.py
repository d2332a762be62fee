"""Classes of sites that may change together: no two of them share a cluster."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Int, Integer

from sampling.hamiltonian import ClusterHamiltonian


def colour(hamiltonian: ClusterHamiltonian) -> Int[np.ndarray, " site"]:
    """Class of each site, 0, 1, …; a class is independent and lies inside one ordering sublattice.

    The sites of a sublattice form the group of the box's cells, Z³ modulo the three edges, and the
    cosets of a subgroup L that holds those are independent if no displacement between two sites of
    a cluster lies in L. The L of smallest index is found by listing Hermite normal forms. Where all
    L are too coarse (edges with few divisors), sites are coloured greedily, with at most one class
    more than a site has conflicts in its sublattice. All sublattices have the same classes.

    On fcc L1₂ cells with n even, interactions within shell 1 need 4 classes, within shell 3
    eight, and within shells 4 and 5 sixteen. Mixing sublattices would save a few, 13 for 16 at
    best, and couple the order parameters within a class.

    Raises:
        ValueError: the clusters are not the same around every site.
    """
    box = hamiltonian.supercell
    sites = box.sites_per_sublattice
    beside = [
        others[0].ravel() - s * sites
        for orbit in hamiltonian.orbits
        for s, others in enumerate(orbit.others)
    ]
    cells = np.unique(np.concatenate([[0], *beside]))
    cells = cells[(cells > 0) & (cells < sites)]
    displacements = np.stack(np.unravel_index(cells, box.edges), -1)
    one = _cosets(displacements, box.edges)
    if one is None:
        one = _greedy(displacements, box.edges)
    classes = (box.sublattice.reshape(-1, len(one)) * (one.max() + 1) + one).ravel()
    require_independent(hamiltonian, classes)
    return classes


def require_independent(
    hamiltonian: ClusterHamiltonian, classes: Integer[np.ndarray, " site"]
) -> None:
    """Check that no two sites of a cluster, and no two sublattices, share a class.

    Raises:
        ValueError: they do; the message names the first two sites.
    """
    home = hamiltonian.supercell.sublattice
    own = np.split(classes, hamiltonian.supercell.system.dimension)
    for s, others in ((s, o) for orbit in hamiltonian.orbits for s, o in enumerate(orbit.others)):
        clash = classes[others] == own[s][:, None, None]
        if clash.any():
            cell, row, k = np.argwhere(clash)[0]
            raise ValueError(
                "`classes` must give different classes to the sites of a cluster; sites "
                f"{s * len(own[s]) + cell} and {others[cell, row, k]} share class {own[s][cell]}."
            )
    pairs = np.unique(np.stack([classes, home]), axis=1)
    shared = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(shared):
        label = pairs[0, shared[0]]
        a, b = (
            int(np.flatnonzero((classes == label) & (home == s))[0])
            for s in pairs[1, shared[0] :][:2]
        )
        raise ValueError(
            "`classes` must each lie inside one sublattice; sites "
            f"{a} and {b} of different sublattices share class {label}."
        )


def _cosets(displacements: np.ndarray, edges: tuple[int, int, int]) -> np.ndarray | None:
    """Class of each cell by the subgroup of smallest index, None where a greedy bound is lower."""
    grid = np.array(list(product(*map(range, edges))))
    for index in range(1, len(displacements) + 2):
        for adjugate in _commensurate(index, edges):
            if not (displacements @ adjugate % index == 0).all(-1).any():
                _, label = np.unique(grid @ adjugate % index, axis=0, return_inverse=True)
                return label.ravel()
    return None


def _commensurate(index: int, edges: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Adjugates of the Hermite normal forms whose rows span a subgroup of `index` with the edges.

    v lies in the subgroup of H exactly if v adj(H) ≡ 0 modulo det H = `index`.
    """
    divisors = [a for a in range(1, index + 1) if index % a == 0]
    for a, d in product(divisors, divisors):
        f, left = divmod(index, a * d)
        if left:
            continue
        for b, c, e in product(range(d), range(f), range(f)):
            adjugate = np.array([[d * f, -b * f, b * e - c * d], [0, a * f, -a * e], [0, 0, a * d]])
            if (np.diag(edges) @ adjugate % index == 0).all():
                yield adjugate


def _greedy(displacements: np.ndarray, edges: tuple[int, int, int]) -> np.ndarray:
    """Class of each cell: the lowest that no conflicting cell before it has."""
    grid = np.array(list(product(*map(range, edges))))
    label = np.full(edges, -1)
    for cell in grid:
        taken = set(label[tuple(((cell + displacements) % edges).T)].tolist())
        label[tuple(cell)] = next(k for k in range(len(taken) + 1) if k not in taken)
    return label.ravel()
