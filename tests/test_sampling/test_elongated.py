"""Boxes of unequal edges: energies against icet, averages against listing every state."""

from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
from boxes import (
    LAYERS,
    Q,
    all_states,
    atoms_on,
    require_averages_of_all_states,
    short_ranged,
)
from icet import ClusterExpansion as IcetExpansion

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.blocks import block_variance
from sampling.clusters import cluster_space, illustrative_expansion
from sampling.ensemble import LANES, Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.colour import colour
from sampling.kernels.flips import Flips
from sampling.kernels.gpu import Blocks
from sampling.kernels.swaps import Swaps
from sampling.lattice import Supercell
from sampling.ordering import fcc

EXPANSION = illustrative_expansion()
SMALL = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, (4, 2, 1)))
STATES = all_states(16)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
def test_energies_and_flip_costs_equal_those_of_icet():
    lattice = fcc(("Ni", "Al"), 3.56)
    multiplicity = np.array([1] + [orbit.multiplicity for orbit in EXPANSION.orbits])
    # In binary fractions, which the Hamiltonian does not round.
    expansion = replace(EXPANSION, eci=np.rint(EXPANSION.eci * 2**20) / 2**20)
    icet = IcetExpansion(cluster_space(lattice, [5.1, 2.6, 2.6]), expansion.eci * multiplicity)
    box = Supercell(FCC_L12, (2, 5, 3))
    hamiltonian = ClusterHamiltonian.on(expansion, box)

    def direct(occupation):
        return len(occupation) * icet.predict(atoms_on(box, lattice, occupation))

    occupation = np.random.default_rng(1).integers(0, 2, (1, 120)).astype(np.uint8)
    before = direct(occupation[0])
    assert hamiltonian.energy(occupation)[0] / 120 == pytest.approx(before / 120, abs=1e-10)
    for site in (0, 29, 61, 119):
        flipped = occupation[0].copy()
        flipped[site] ^= 1
        cost = hamiltonian.flip_cost(occupation, site)[0]
        assert cost == pytest.approx(direct(flipped) - before, abs=1e-10)


@pytest.mark.parametrize("kernel", [LANES, Flips(), Blocks()])
def test_every_kernel_finds_the_averages_of_all_states(kernel):
    umbrella = Umbrella(LAYERS, np.array([[0.4, 0.3]]), np.array([[0.6, 0.3]]))
    require_averages_of_all_states(SMALL, umbrella, temperature=1500.0, kernel=kernel)


def test_swaps_find_the_energy_of_all_states_of_their_composition():
    start = np.zeros((1, 64, 16), np.uint8)
    start[..., :6] = 1
    free = Umbrella(LAYERS, np.zeros((1, 2)), np.zeros((1, 2)))
    samples = sample(
        SMALL, free, temperature=1200.0, seed=5, kernel=Swaps(), start=start,
        schedule=Schedule(walkers=64, sweeps=1000, burn_in=100, stride=1),
    )  # fmt: skip
    energy = SMALL.energy(STATES[STATES.sum(1) == 6])
    weight = np.exp(-(energy - energy.min()) / (BOLTZMANN_EV * 1200.0))
    found = ergodic_mean(samples.energy[..., None]).mean
    exact = weight @ energy / weight.sum() / 16
    assert abs(found.value[0, 0] - exact) < 4 * found.stderr[0, 0]


@pytest.mark.parametrize("edges", [(2, 4, 6), (3, 2, 8), (16, 2, 2), (2, 5, 3)])
def test_colours_keep_the_sites_of_every_cluster_apart(edges):
    box = Supercell(FCC_L12, edges)
    classes = colour(ClusterHamiltonian.on(EXPANSION, box))
    for orbit in EXPANSION.orbits:
        for cluster in orbit.clusters[..., :3]:
            members = np.sort(classes[box.index(box.sites[:, None] + cluster)], axis=1)
            assert (np.diff(members, axis=1) > 0).all()


def test_octants_of_a_long_box_see_phases_side_by_side_along_its_length():
    box = Supercell(FCC_L12, (8, 2, 2))
    cell = np.stack(np.unravel_index(np.arange(32), box.edges))
    upper = np.tile(cell[0] >= 4, 4) & (box.sublattice == 0)
    found = block_variance(
        box, upper.astype(np.uint8)[None, None], np.eye(4)[None], temperature=np.array([900.0])
    )
    half_gap = Q @ [1, 0, 0, 0] / 2
    assert found.observed[0] == pytest.approx(np.outer(half_gap, half_gap), abs=1e-12)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((2, 0, 2), r"`cells` must be at least 1; it is \(2, 0, 2\)"),
        ((2, 2), "`cells` must be one whole number or three"),
        ((2, 2.5, 2), "`cells` must be one whole number or three"),
        (float("nan"), "`cells` must be one whole number or three"),
    ],
)
def test_bad_edges_are_refused(monkeypatch, cells, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user runs it
    with pytest.raises(ValueError, match=message):
        Supercell(FCC_L12, cells)


def test_a_box_too_thin_for_the_clusters_is_refused():
    with pytest.raises(ValueError, match=r"must be at least 2 .* it is \(9, 1, 9\)"):
        ClusterHamiltonian.on(EXPANSION, Supercell(FCC_L12, (9, 1, 9)))


def test_octants_need_even_edges():
    box = Supercell(FCC_L12, (4, 3, 4))
    with pytest.raises(ValueError, match=r"`cells` must be even .* it is \(4, 3, 4\)"):
        block_variance(
            box, np.zeros((1, 1, 192), np.uint8), np.eye(4)[None], temperature=np.array([900.0])
        )
