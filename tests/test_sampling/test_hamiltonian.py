"""Energies and flip costs from tables against direct evaluation; the umbrella."""

import jaxtyping
import numpy as np
import pytest
from boxes import Q, expansion_from, ideal_gas

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.hamiltonian import ClusterHamiltonian, Hamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.ordering import Ordering

EXPANSION = illustrative_expansion()


def random_occupation(box, walkers=6, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (walkers, len(box.sites))).astype(np.uint8)


@pytest.mark.parametrize("cells", [2, 3])
def test_energies_equal_those_of_the_expansion_evaluated_cluster_by_cluster(cells):
    box = Supercell(FCC_L12, cells)
    hamiltonian = ClusterHamiltonian.on(EXPANSION, box)
    occupation = random_occupation(box)
    sites = np.pad(box.sites, ((0, 0), (0, 1)))
    direct = EXPANSION.predict(
        [Ordering(cells * box.ordered_cell, sites, row.astype(np.int64)) for row in occupation]
    )
    # Interactions are rounded to `quantum`, at most half of it per cluster.
    clusters = sum(orbit.multiplicity for orbit in EXPANSION.orbits)
    tolerance = hamiltonian.quantum * clusters
    assert hamiltonian.energy(occupation) / len(sites) == pytest.approx(direct, abs=tolerance)
    assert isinstance(hamiltonian, Hamiltonian)


def test_known_structures_have_their_hand_computed_energies():
    box = Supercell(FCC_L12, 2)
    l12 = (box.sublattice == 0).astype(np.uint8)
    nickel = np.zeros_like(l12)
    energy = ClusterHamiltonian.on(EXPANSION, box).energy(np.stack([nickel, l12])) / 32
    # Per site: 6, 3, 12, 6 pairs, 8 triangles, 2 tetrahedra. In L1₂ unlike sublattices carry
    # the first and third shells: half of their pairs are unlike; 3/4 of the triangles hold the Al.
    j = EXPANSION.eci[2:]
    assert energy[0] == pytest.approx(j @ [6, 3, 12, 6, 8, 2], abs=1e-6)
    assert energy[1] == pytest.approx(j @ [0, 3, 0, 6, -4, -2], abs=1e-6)


def test_flip_cost_is_the_difference_of_two_energies():
    box = Supercell(FCC_L12, 2)
    hamiltonian = ClusterHamiltonian.on(EXPANSION, box)
    occupation = random_occupation(box)
    for site in (0, 7, 31):
        flipped = occupation.copy()
        flipped[:, site] ^= 1
        difference = hamiltonian.energy(flipped) - hamiltonian.energy(occupation)
        assert hamiltonian.flip_cost(occupation, site) == pytest.approx(difference, abs=1e-12)


def test_a_cluster_that_would_meet_its_image_is_refused_with_the_size_needed():
    with pytest.raises(ValueError, match="`cells` must be at least 2 for these clusters; it is 1"):
        ClusterHamiltonian.on(EXPANSION, Supercell(FCC_L12, 1))
    long_pair = expansion_from([[[(0, 0, 0), (-3, 3, 3)]]], [0.0, 0.1])
    with pytest.raises(ValueError, match="`cells` must be at least 4"):
        ClusterHamiltonian.on(long_pair, Supercell(FCC_L12, 1))
    with pytest.raises(ValueError, match="must be at least 7"):
        ClusterHamiltonian.on(
            expansion_from([[[(0, 0, 0), (-6, 6, 6)]]], [0.0, 0.1]), Supercell(FCC_L12, 3)
        )


def test_the_quantum_leaves_flip_costs_exact_in_32_bits():
    for scale in (1e-6, 1.0, 1e4):
        scaled = expansion_from(
            [orbit.clusters[..., :3] for orbit in EXPANSION.orbits], scale * EXPANSION.eci
        )
        hamiltonian = ClusterHamiltonian.on(scaled, Supercell(FCC_L12, 2))
        largest = sum(4 * abs(o.quanta) * max(o.rows) for o in hamiltonian.orbits)
        assert 2**28 < largest <= 2**30 + 2**10
    assert ClusterHamiltonian.on(ideal_gas(), Supercell(FCC_L12, 1)).quantum == 1.0


def test_umbrella_in_sublattice_fractions_is_the_umbrella_in_order_parameters():
    rng = np.random.default_rng(1)
    x, centre, stiffness = rng.random((3, 5, 4))
    umbrella = Umbrella(FCC_L12, centre, stiffness)
    difference = x - umbrella.sublattice_centre
    quadratic = np.einsum("bs,bst,bt->b", difference, umbrella.sublattice_stiffness, difference)
    assert umbrella.energy(x @ Q.T) == pytest.approx(quadratic, rel=1e-12)


def test_umbrella_force_is_minus_the_derivative_of_its_energy():
    umbrella = Umbrella(FCC_L12, np.array([0.3, 0.1, -0.2, 0.05]), np.array([5.0, 3.0, 2.0, 1.0]))
    eta, step = np.array([0.25, 0.2, 0.1, 0.0]), 1e-6
    numeric = [
        (umbrella.energy(eta - step * e) - umbrella.energy(eta + step * e)) / (2 * step)
        for e in np.eye(4)
    ]
    assert umbrella.chemical_potential(eta) == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize(
    ("centre", "stiffness", "message"),
    [
        (np.nan, 1.0, "`centre` must be finite"),
        (0.0, -1.0, "`stiffness` must lie in"),
        (0.0, np.inf, "`stiffness` must be finite"),
        (0.0, np.nan, "`stiffness` must be finite"),
    ],
)
def test_umbrellas_of_bad_numbers_are_refused(centre, stiffness, message):
    with pytest.raises(ValueError, match=message):
        Umbrella(FCC_L12, np.full((1, 4), centre), np.full((1, 4), stiffness))


@pytest.mark.parametrize(
    ("centre", "stiffness", "field", "message"),
    [
        ((1, 3), (1, 3), 0.0, r"`centre` must hold one number per order parameter of 'fcc-L12'"),
        ((1, 4), (1, 4), (1, 3), r"`field` must hold .*, 4; its shape is \(1, 3\)"),
        ((1, 4), (1, 3), 0.0, r"`stiffness` must hold .*, 4; its shape is \(1, 3\)"),
    ],
)
def test_umbrellas_of_another_number_of_order_parameters_are_refused(
    monkeypatch, centre, stiffness, field, message
):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user runs it
    h = field if isinstance(field, float) else np.zeros(field)
    with pytest.raises(ValueError, match=message):
        Umbrella(FCC_L12, np.zeros(centre), np.zeros(stiffness), h)
