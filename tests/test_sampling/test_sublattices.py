"""Several sites per primitive cell: energies against icet, averages against listing every state."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import (
    B2,
    D019,
    HCP,
    all_states,
    atoms_on,
    boltzmann,
    expansion_on,
    ordering_on,
    plain_system,
    require_averages_of_all_states,
)
from icet import ClusterExpansion as IcetExpansion

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import cluster_space, illustrative_expansion, orbits
from sampling.ensemble import LANES, Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.expansion import Orbit
from sampling.flip_balance import flip_balance
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.flips import Flips
from sampling.kernels.gpu import Blocks
from sampling.kernels.swaps import Swaps
from sampling.lattice import Supercell
from sampling.mean_field import MeanField
from sampling.ordering import ParentLattice

BCC = ParentLattice(("Fe", "Al"), 2.9 * np.array(B2.primitive_cell), np.zeros((1, 3)))
CSCL = plain_system(
    "B2 in its cubic cell",
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)),
)


def dyadic(count, seed):
    """ECI in binary fractions, which a Hamiltonian does not round."""
    return np.random.default_rng(seed).integers(-(2**16), 2**16, count) / 2**20


def unlike_sites():
    """Clusters that treat the two sites of hcp differently in number, shape and order."""
    clusters = [
        [[(0, 0, 0, 1)]],
        [[(0, 0, 0, 0), (0, 1, 0, 0)], [(0, 0, 0, 0), (1, 1, 0, 0)]],
        [[(0, 0, 0, 1), (0, 0, 0, 0)], [(0, 0, 0, 1), (0, 0, 1, 0)], [(1, 0, 0, 1), (0, 0, 0, 0)]],
        [[(0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)]],
        [[(0, 0, 0, 1), (1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 0, 0)]],
        [[(0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 0)]],
    ]
    listed = [Orbit(1.0, np.array(c)) for c in clusters]
    return expansion_on(HCP, listed, [0.01, 0.04, -0.03, 0.025, 0.03, -0.02, 0.015])


UNLIKE = ClusterHamiltonian.on(unlike_sites(), Supercell(D019, (1, 1, 2)))
STATES = all_states(16)


def in_cubic_cell(orbit):
    """A bcc orbit with every cluster begun at the corner and at the centre of the cubic cell."""
    to_half_edges = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    half = orbit.clusters[..., :3] @ to_half_edges
    both = np.concatenate([half, half + 1])
    basis = both[..., :1] % 2
    return Orbit(orbit.radius, np.concatenate([(both - basis) // 2, basis], axis=-1))


def cubic():
    """The bcc expansion below, with two sites per primitive cell."""
    one_site = bcc()
    return replace(
        one_site,
        species=one_site.species * 2,
        primitive_cell=2.9 * np.eye(3),
        basis=np.array(CSCL.basis),
        orbits=tuple(map(in_cubic_cell, one_site.orbits)),
    )


def bcc():
    listed = orbits(BCC, [5.0, 3.0])
    return expansion_on(BCC, listed, dyadic(len(listed) + 1, 3))


def hcp():
    listed = orbits(HCP, [5.1, 4.2, 3.0])
    return expansion_on(HCP, listed, dyadic(len(listed) + 1, 2))


def icet_of(expansion, lattice, cutoffs):
    multiplicity = [orbit.multiplicity / len(expansion.basis) for orbit in expansion.orbits]
    return IcetExpansion(cluster_space(lattice, cutoffs), expansion.eci * [1, *multiplicity])


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
@pytest.mark.parametrize(
    ("expansion", "lattice", "cutoffs", "box"),
    [
        (hcp(), HCP, [5.1, 4.2, 3.0], Supercell(D019, (2, 3, 2))),
        (bcc(), BCC, [5.0, 3.0], Supercell(B2, 3)),
        (cubic(), ParentLattice(("Fe", "Al"), 2.9 * np.eye(3), np.array(CSCL.basis)), None,
         Supercell(CSCL, (4, 3, 5))),
    ],
    ids=["hcp", "bcc", "bcc in its cubic cell"],
)  # fmt: skip
def test_energies_and_flip_costs_equal_those_of_icet(expansion, lattice, cutoffs, box):
    icet = icet_of(bcc(), BCC, [5.0, 3.0]) if cutoffs is None else None
    icet = icet or icet_of(expansion, lattice, cutoffs)
    hamiltonian = ClusterHamiltonian.on(expansion, box)
    sites = len(box.sites)
    occupation = np.random.default_rng(1).integers(0, 2, (1, sites)).astype(np.uint8)
    before = sites * icet.predict(atoms_on(box, lattice, occupation[0]))
    assert hamiltonian.energy(occupation)[0] == pytest.approx(before, abs=1e-10 * sites)
    for site in (0, sites // 2 - 1, sites // 2 + 3, sites - 1):
        flipped = occupation[0].copy()
        flipped[site] ^= 1
        after = sites * icet.predict(atoms_on(box, lattice, flipped))
        cost = hamiltonian.flip_cost(occupation, site)[0]
        assert cost == pytest.approx(after - before, abs=1e-10 * sites)


def test_energies_equal_those_of_a_sum_over_clusters_where_sites_are_unlike():
    occupation = STATES[np.random.default_rng(3).integers(0, 2**16, 20)]
    expansion, box = unlike_sites(), UNLIKE.supercell
    direct = expansion.predict([ordering_on(box, row) for row in occupation])
    # At most half a quantum per cluster, of which each cell of two sites has ten.
    assert UNLIKE.energy(occupation) / 16 == pytest.approx(direct, abs=5 * UNLIKE.quantum)
    for site in range(16):
        flipped = occupation.copy()
        flipped[:, site] ^= 1
        change = UNLIKE.energy(flipped) - UNLIKE.energy(occupation)
        assert UNLIKE.flip_cost(occupation, site) == pytest.approx(change, abs=1e-12)


@pytest.mark.parametrize("kernel", [LANES, Flips(), Blocks()])
def test_every_kernel_finds_the_averages_of_all_states(kernel):
    random = np.random.default_rng(6)
    umbrella = Umbrella(D019, random.normal(0, 0.2, (1, 8)), np.full((1, 8), 0.2))
    require_averages_of_all_states(UNLIKE, umbrella, temperature=900.0, kernel=kernel)


def test_swaps_find_the_averages_of_all_states_of_their_composition():
    start = np.zeros((1, 64, 16), np.uint8)
    start[..., :6] = 1
    free = Umbrella(D019, np.zeros((1, 8)), np.zeros((1, 8)))
    samples = sample(
        UNLIKE, free, temperature=900.0, seed=5, kernel=Swaps(), start=start,
        schedule=Schedule(walkers=64, sweeps=1000, burn_in=100, stride=1),
    )  # fmt: skip
    kept = STATES[STATES.sum(1) == 6]
    energy = UNLIKE.energy(kept)
    weight = np.exp(-(energy - energy.min()) / (BOLTZMANN_EV * 900.0))
    weight /= weight.sum()
    found = ergodic_mean(samples.energy[..., None]).mean
    assert abs(found.value[0, 0] - weight @ energy / 16) < 4 * found.stderr[0, 0]
    eta = UNLIKE.supercell.filled(kept) / 2 @ D019.q.numpy().T
    found = ergodic_mean(samples.eta[..., 1:]).mean
    assert (np.abs(found.value[0] - (weight @ eta)[1:]) < 4 * found.stderr[0]).all()


def test_the_mean_field_energy_of_a_perfect_order_is_that_of_the_expansion():
    """Where every site fraction is 0 or 1, means of spins are spins."""
    box, order = Supercell(D019, 1), np.array([1, 0, 0, 0, 0, 1, 1, 0])
    mean_field = MeanField(unlike_sites(), D019, 1e-6)
    eta = D019.order_parameters(mean_field.system.q.new_tensor(order))
    expected = unlike_sites().predict([ordering_on(box, order)])[0]
    assert float(mean_field(eta)) == pytest.approx(expected, abs=1e-8)


def test_flips_agree_with_the_umbrella_on_every_sublattice():
    umbrella = Umbrella(D019, np.zeros((1, 8)), np.full((1, 8), 0.2))
    weight, _, _ = boltzmann(UNLIKE, umbrella[0:1], 1500.0, STATES)
    drawn = np.random.default_rng(7).choice(len(STATES), (1, 200, 64), p=weight)
    found = flip_balance(UNLIKE, STATES[drawn], umbrella, temperature=np.array([1500.0]))
    assert (np.abs(found.disagreement.value) < 4 * found.disagreement.stderr).all()
    assert (found.disagreement.stderr < 0.01).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dict(basis=np.zeros((1, 3)), species=(("Ti", "Al"),)),
            "`basis` of the expansion must hold the 2 sites",
        ),
        (dict(basis=HCP.basis[::-1]), "`basis` of the expansion must be that of system 'hcp-D019'"),
        (dict(primitive_cell=2.9 * np.array(B2.primitive_cell)), "must be that of system 'hcp"),
        (dict(primitive_cell=HCP.primitive_cell[[2, 0, 1]]), "or other vectors of it"),
        (dict(primitive_cell=np.zeros((3, 3))), "`primitive_cell` must have independent rows"),
    ],
)
def test_an_expansion_of_another_lattice_is_refused(change, message):
    orbits = () if "basis" in change else unlike_sites().orbits
    eci = unlike_sites().eci[: len(orbits) + 1]
    covariance = np.zeros((len(eci),) * 2)
    with pytest.raises(ValueError, match=message):
        ClusterHamiltonian.on(
            replace(unlike_sites(), orbits=orbits, eci=eci, covariance=covariance, **change),
            Supercell(D019, 2),
        )


def test_a_bcc_expansion_is_refused_on_fcc():
    with pytest.raises(ValueError, match=r"`primitive_cell` .* system 'fcc-L12'"):
        ClusterHamiltonian.on(bcc(), Supercell(FCC_L12, 4))
    fcc_model = illustrative_expansion()
    turned = replace(
        fcc_model, primitive_cell=fcc_model.primitive_cell @ [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    )
    assert ClusterHamiltonian.on(turned, Supercell(FCC_L12, 4)).orbits
