"""One label: its error bars along sublattices, its second opinion, and when it is homogeneous."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import Q, expansion_from, ideal_gas

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import Estimate
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.labelled_point import is_homogeneous, is_unstable, labelled
from sampling.lattice import Supercell

X = np.array([0.08, 0.3, 0.5, 0.85])
BOX = Supercell(FCC_L12, 4)
GAS = ClusterHamiltonian.on(ideal_gas(), BOX)


def ideal_mu(x):
    return BOLTZMANN_EV * 250 * np.log(x / (1 - x)) @ np.linalg.inv(Q)


@pytest.fixture(scope="module")
def runs():
    """The same bias 200 times."""
    points = np.ones((200, 1))
    centre = points * (Q @ X + ideal_mu(X) / 0.1)
    return sample(
        GAS, Umbrella(FCC_L12, centre, np.full((200, 4), 0.05)), temperature=1000.0, seed=1,
        schedule=Schedule(walkers=16, sweeps=800, burn_in=20, stride=4),
    )  # fmt: skip


def test_errors_along_sublattices_are_the_scatter_of_mu_about_its_curve(runs):
    labels = [labelled(runs.point(i), GAS, length=1.0) for i in range(200)]
    mu, eta = (np.array([getattr(p, name).value for p in labels]) for name in ("mu", "eta"))
    miss = (mu - ideal_mu(eta @ np.linalg.inv(Q).T)) @ (Q / np.linalg.norm(Q, axis=0))
    quoted = np.sqrt(np.mean([p.sublattice_stderr**2 for p in labels], axis=0))
    # A spread of 200 is known to 1/√400 = 5 %; 4 of these, and what the larger of two errors adds.
    assert miss.std(0) == pytest.approx(quoted, rel=0.25)
    assert quoted.max() > 1.4 * quoted.min()
    # Independent of each other, as training takes them: |r| < 4/√200.
    correlation = np.corrcoef(miss.T)
    assert np.abs(correlation - np.eye(4)).max() < 0.29


def test_flips_of_another_energy_disagree_by_its_slope(runs):
    """A point term J moves ∂f/∂η₀ by −2J at any state, and no other; the error stays."""
    point = ClusterHamiltonian.on(expansion_from([[[(0, 0, 0)]]], [0.0, 0.02]), BOX)
    own, other = (labelled(runs.point(3), h, length=1.0).second_opinion for h in (GAS, point))
    np.testing.assert_allclose(other.value - own.value, [-0.04, 0.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(other.stderr, own.stderr, rtol=1e-4)
    assert (np.abs(own.value) < 4 * own.stderr).all()
    assert own.stderr.max() < 0.02


def test_a_label_keeps_the_edge_of_its_box(runs):
    assert labelled(runs.point(0), GAS, length=14.2).length == 14.2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"ergodic": False}, False),
        ({"octant_excess": 2.9}, True),
        ({"octant_excess": 3.1}, False),
        ({"octant_excess": np.nan}, True),
        ({"mu": Estimate(np.zeros(4), np.array([1.0, np.nan, 1.0, 1.0]))}, False),
        ({"hessian": Estimate(np.diag([1.0, 1.0, np.nan, 1.0]), np.zeros((4, 4)))}, False),
        ({"hessian": Estimate(np.diag([1.0, 1.0, -0.1, 1.0]), np.zeros((4, 4)))}, False),
        # Every order parameter alone is stable here, and two of them together are not.
        ({"hessian": Estimate(np.eye(4) + 2 * np.eye(4)[[1, 0, 2, 3]], np.zeros((4, 4)))}, False),
    ],
)
def test_a_state_is_homogeneous_if_nothing_speaks_against_it(runs, change, expected):
    point = labelled(runs.point(0), GAS, length=1.0)
    assert point.homogeneous
    assert is_homogeneous(replace(point, **change)) is expected


def curved(point, x, curvature):
    """The point at site fractions x with ∂²f/∂x² as given."""
    back = np.linalg.inv(Q)
    hessian = Estimate(back.T @ curvature @ back, np.full((4, 4), 0.1))
    eta = Estimate(Q @ np.array(x), point.eta.stderr)
    return replace(point, eta=eta, hessian=hessian)


def test_a_state_is_unstable_where_sublattices_with_enough_atoms_are(runs):
    """Of 256 sites a sublattice has 64: one of them is 1.6 %."""
    point = labelled(runs.point(0), GAS, length=1.0)
    bent = np.diag([2.0, 3.0, -0.1, 4.0])
    assert is_unstable(curved(point, [0.5, 0.3, 0.016, 0.5], bent), FCC_L12)
    assert not is_unstable(curved(point, [0.5, 0.3, 0.015, 0.5], bent), FCC_L12)
    assert is_unstable(curved(point, [0.5, 0.3, 0.984, 0.5], bent), FCC_L12)
    assert not is_unstable(curved(point, [0.5, 0.3, 0.985, 0.5], bent), FCC_L12)
    assert not is_unstable(curved(point, [0.5, 0.3, 0.3, 0.5], np.abs(bent)), FCC_L12)
    # Two that are stable one by one, and not together.
    joint = np.diag([1.0, 1.0, 1.0, 1.0])
    joint[0, 1] = joint[1, 0] = 1.1
    assert is_unstable(curved(point, [0.5, 0.3, 0.3, 0.5], joint), FCC_L12)
    assert not is_unstable(curved(point, [0.5, 0.01, 0.3, 0.5], joint), FCC_L12)
    assert not is_unstable(curved(point, [0.01, 0.01, 0.99, 0.01], -joint), FCC_L12)
    unknown = Estimate(np.full((4, 4), np.nan), np.full((4, 4), np.nan))
    assert not is_unstable(replace(point, hessian=unknown), FCC_L12)
