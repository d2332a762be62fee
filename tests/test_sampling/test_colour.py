"""Independent classes: counted against the known minima, checked cluster by cluster."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import B2, LAYERS, expansion_from

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.hamiltonian import ClusterHamiltonian
from sampling.kernels.colour import colour, require_independent
from sampling.lattice import Supercell

FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])  # primitive vectors in half lattice constants


def shells(last):
    """One pair orbit per fcc neighbour shell; shell k lies at √(k/2) lattice constants."""
    grid = np.argwhere(np.ones((9, 9, 9))) - 4
    half = [v for v in grid.tolist() if v > [0, 0, 0]]
    squared = ((np.array(half) @ FCC) ** 2).sum(-1)
    return [
        [[(0, 0, 0), v] for v, r in zip(half, squared, strict=True) if r == 2 * k]
        for k in range(1, last + 1)
    ]


def hamiltonian_on(orbits, system, cells):
    expansion = expansion_from(orbits, np.ones(len(orbits) + 1))
    there = replace(expansion, primitive_cell=np.array(system.primitive_cell))
    return ClusterHamiltonian.on(there, Supercell(system, cells))


def largest_distance_conflict(classes, box, last):
    """Whether two sites of one class are within the shell, by distances in the periodic box."""
    edges = box.cells * box.ordered_cell @ FCC
    images = (np.argwhere(np.ones((3, 3, 3))) - 1) @ edges
    positions = box.sites @ FCC
    for label in range(classes.max() + 1):
        mine = positions[classes == label]
        apart = mine[:, None, None] - mine[None, :, None] + images
        squared = (apart**2).sum(-1)
        if (squared[squared > 0] <= 2 * last).any():
            return True
    return False


@pytest.mark.parametrize(
    ("last", "cells", "count"),
    [(1, 2, 4), (1, 5, 4), (2, 4, 8), (3, 4, 8), (3, 6, 8), (4, 4, 16), (4, 10, 16), (5, 4, 16)],
)
def test_fcc_shells_need_the_known_number_of_classes(last, cells, count):
    """Minima over all Bravais sublattices; for shells 1, 3 and 5 cliques of that size exist."""
    hamiltonian = hamiltonian_on(shells(last), FCC_L12, cells)
    classes = colour(hamiltonian)
    assert len(np.unique(classes)) == count
    assert len(set(np.bincount(classes))) == 1
    assert not largest_distance_conflict(classes, hamiltonian.supercell, last)


@pytest.mark.parametrize("cells", [3, 5, 7, 9])
def test_odd_boxes_are_coloured_too(cells):
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, cells))
    classes = colour(hamiltonian)
    assert not largest_distance_conflict(classes, hamiltonian.supercell, 4)
    # A site has 18 fourth-shell or nearer neighbours of its own sublattice, and there are four.
    assert classes.max() + 1 <= 4 * 19


@pytest.mark.parametrize("seed", range(12))
def test_no_cluster_of_a_random_expansion_holds_two_sites_of_a_class(seed):
    random = np.random.default_rng(seed)
    system = (FCC_L12, LAYERS, B2)[seed % 3]
    orbits = []
    for order in (2, 3, 4, 5):
        vectors = random.choice(np.argwhere(np.ones((3, 3, 3))) - 1, order, replace=False)
        orbits.append([vectors.tolist()])
    cells = int(random.integers(3, 8))
    hamiltonian = hamiltonian_on(orbits, system, cells)
    box, classes = hamiltonian.supercell, colour(hamiltonian)
    for (vectors,) in orbits:
        members = classes[box.index(box.sites[:, None] + np.array(vectors))]
        ordered = np.sort(members, axis=1)
        assert (np.diff(ordered, axis=1) > 0).all()
    for label in range(classes.max() + 1):
        assert len(np.unique(box.sublattice[classes == label])) == 1


def test_without_clusters_a_sublattice_is_one_class():
    box = Supercell(FCC_L12, 3)
    assert (colour(ClusterHamiltonian.on(expansion_from([], [0.0]), box)) == box.sublattice).all()


def test_classes_that_clash_are_refused():
    hamiltonian = hamiltonian_on(shells(4), FCC_L12, 4)
    box = hamiltonian.supercell
    with pytest.raises(ValueError, match=r"sites 0 and \d+ share class 0"):
        require_independent(hamiltonian, box.sublattice)
    fewer = colour(hamiltonian_on(shells(3), FCC_L12, 4))
    with pytest.raises(ValueError, match="different classes to the sites of a cluster"):
        require_independent(hamiltonian, fewer)
    gas = ClusterHamiltonian.on(expansion_from([], [0.0]), box)
    with pytest.raises(ValueError, match="sites 0 and 64 of different sublattices share class 0"):
        require_independent(gas, np.zeros(len(box.sites), np.int64))
