"""Octants of homogeneous boxes, of boxes cut into phases, and of sampled ones."""

import numpy as np
import pytest
from boxes import Q

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.blocks import block_variance
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

BOX = Supercell(FCC_L12, 6)


def ideal_hessian(x):
    inverse = np.linalg.inv(Q)
    return inverse.T @ np.diag(BOLTZMANN_EV * 1000 / 4 / (x * (1 - x))) @ inverse


def random_states(fractions, count=400):
    """Sites filled at random with the given probability, [1, state, site]."""
    return (np.random.default_rng(2).random((1, count, 864)) < fractions).astype(np.uint8)


def test_octants_of_an_ideal_gas_have_its_closed_form_variance():
    x = np.array([0.1, 0.3, 0.5, 0.8])
    states = random_states(x[BOX.sublattice])
    found = block_variance(BOX, states, ideal_hessian(x)[None], temperature=np.array([1000.0]))
    expected = 7 / 8 * Q @ np.diag(x * (1 - x) / 27) @ Q.T
    # Variances of 400 × 7 independent numbers are good to 3 %.
    tolerance = 4 * np.sqrt(2 / 2800) * np.abs(expected).max()
    assert np.abs(found.observed[0] - expected).max() < tolerance
    assert np.abs(found.predicted[0] - expected).max() < 1e-12
    assert found.excess[0] == pytest.approx(1.0, abs=0.15)
    assert not found.domains[0]


def test_a_box_cut_into_two_phases_has_domains():
    """γ in one half along each axis in turn, γ′ in the other; octants differ by half the gap."""
    gamma, ordered = np.full(4, 0.05), np.array([0.9, 0.05, 0.05, 0.05])
    middle = (gamma + ordered) / 2
    cell = np.stack(np.unravel_index(np.arange(216), (6, 6, 6)))
    for axis in range(3):
        upper = np.tile(cell[axis] >= 3, 4)
        x = np.where(upper, ordered[BOX.sublattice], gamma[BOX.sublattice])
        found = block_variance(
            BOX, random_states(x), ideal_hessian(middle)[None], temperature=np.array([1000.0])
        )
        half_gap = Q @ (ordered - gamma) / 2
        assert found.observed[0] == pytest.approx(np.outer(half_gap, half_gap), abs=0.003)
        assert found.excess[0] > 20
        assert found.domains[0]


def test_sampled_boxes_are_told_apart():
    """At 1000 K a dilute solid solution and an ordered phase, and a state whose boxes separate."""
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), BOX)
    x = np.array([[0.05, 0.05, 0.05, 0.05], [0.9, 0.03, 0.03, 0.03], [0.57, 0.97, 0.02, 0.49]])
    mu = np.array([[-0.9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    umbrella = Umbrella(FCC_L12, x @ Q.T + mu / 6, np.full((3, 4), 3.0))
    samples = sample(
        hamiltonian, umbrella, temperature=1000.0, seed=1,
        schedule=Schedule(walkers=64, sweeps=400, burn_in=200, stride=2),
    )  # fmt: skip
    found = block_variance(
        BOX, samples.chains.occupation, hessian(samples).value, temperature=samples.temperature
    )
    assert found.domains.tolist() == [False, False, True]
    # Correlations reach little beyond a cell: the homogeneous ones are close to H's prediction.
    assert (found.excess[:2] < 1.6).all()


def test_a_state_that_is_not_stable_or_not_known_counts_as_parted():
    states = random_states(0.3)[:, :4]
    for curvature in (-np.eye(4), np.full((4, 4), np.nan)):
        found = block_variance(BOX, states, curvature[None], temperature=np.array([900.0]))
        assert found.domains[0]
        assert np.isnan(found.predicted).all()


def test_boxes_without_octants_are_refused():
    states = np.zeros((1, 2, 108), np.uint8)
    with pytest.raises(ValueError, match="`cells` must be even for a box to have octants; it is 3"):
        block_variance(
            Supercell(FCC_L12, 3), states, np.eye(4)[None], temperature=np.array([900.0])
        )
