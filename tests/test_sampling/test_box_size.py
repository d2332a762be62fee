"""What μ owes to the size of its box: exact for a term in 1/N, and none for equal boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from boxes import Q, ideal_gas

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.box_size import difference, differing_from, in_a_larger_box
from sampling.ensemble import Schedule
from sampling.estimate import Estimate
from sampling.label import LabelTask, label

CURVATURE = np.diag([2.0, 1.0, 3.0, 0.5]) + 0.1
SLOPE = np.array([2.0, -1.0, 0.5, 0.0])
"""a of μ = μ∞ + a/N (eV)."""


@pytest.fixture(scope="module")
def template():
    eta = np.full((1, 4), 0.1) @ Q.T
    task = LabelTask(
        expansion=ideal_gas(), system="fcc-L12", cells=(3,), temperature=1000.0, centre=eta,
        stiffness=np.full((1, 4), 3.0), point_seeds=(0,), seed=1,
        schedule=Schedule(walkers=4, sweeps=40, burn_in=0),
    )  # fmt: skip
    return label(task)[0]


def mu_of(eta):
    """Ideal mixing at 1000 K and a part that is linear in η."""
    x = np.linalg.solve(Q, eta)
    thermal = BOLTZMANN_EV * 1000 / 4
    return thermal * np.log(x / (1 - x)) @ np.linalg.inv(Q) + CURVATURE @ eta


def boxed(template, sites, eta, stderr):
    """A label whose excess μ is linear in η and in 1/N."""
    mu = mu_of(eta) + SLOPE / sites
    x = np.linalg.solve(Q, eta)
    inverse = np.linalg.inv(Q)
    ideal = inverse.T @ np.diag(BOLTZMANN_EV * 250 / (x * (1 - x))) @ inverse
    return replace(
        template,
        eta=Estimate(eta, np.zeros(4)),
        mu=Estimate(mu, np.full(4, stderr)),
        sublattice_stderr=np.full(4, stderr),
        correction=np.full(4, 0.01),
        mu_raw=mu - 0.01,
        hessian=Estimate(CURVATURE + ideal, np.zeros((4, 4))),
        sites=sites,
    )


def test_a_term_in_one_over_n_is_removed_exactly(template):
    near, far = np.array([0.12, 0.0, 0.01, 0.0]), np.array([0.14, 0.01, 0.0, -0.02])
    small, large = boxed(template, 108, near, 3e-3), boxed(template, 256, far, 4e-3)
    found = in_a_larger_box(small, large, FCC_L12, 1000.0)
    np.testing.assert_allclose(found.mu.value, mu_of(far), rtol=1e-12)
    np.testing.assert_allclose(found.mu_raw + found.correction, found.mu.value, rtol=1e-12)
    share = 108 / 148
    expected = np.hypot((1 + share) * 4e-3, share * 3e-3)
    # The directions are orthonormal here, so that equal errors stay equal along η.
    np.testing.assert_allclose(found.mu.stderr, expected)
    np.testing.assert_allclose(found.sublattice_stderr, expected)
    # The next order is N/N′ of what was removed, along each sublattice.
    removed = (SLOPE / 256) @ FCC_L12.directions.numpy()
    np.testing.assert_allclose(found.size_error, 108 / 256 * np.abs(removed), rtol=1e-12)


def test_boxes_where_a_sublattice_never_changed_differ_by_nan_without_a_warning(template):
    eta = np.array([0.12, 0.0, 0.01, 0.0])
    known = boxed(template, 256, eta, 4e-3)
    unchanged = replace(
        known,
        eta=Estimate(Q @ np.array([1.0, 0.1, 0.1, 0.1]), np.zeros(4)),
        mu=Estimate(np.full(4, np.nan), np.full(4, np.nan)),
        hessian=Estimate(np.full((4, 4), np.nan), np.full((4, 4), np.nan)),
    )
    for pair in ((unchanged, known), (known, unchanged)):
        assert np.isnan(difference(*pair, FCC_L12, 1000.0)).all()


def test_nothing_is_extrapolated_along_a_sublattice_that_differs_by_more_than_thermal_energy(
    template,
):
    eta = np.array([0.12, 0.0, 0.01, 0.0])
    small, large = boxed(template, 108, eta, 3e-3), boxed(template, 256, eta, 4e-3)
    directions = FCC_L12.directions.numpy()
    beyond = 0.1 * directions[:, 2]
    large = replace(large, mu=Estimate(large.mu.value + beyond, large.mu.stderr))
    found = in_a_larger_box(small, large, FCC_L12, 1000.0)
    kept = (found.mu.value - large.mu.value) @ directions
    assert kept[2] == pytest.approx(0.0, abs=1e-15)
    assert np.abs(np.delete(kept, 2)).min() > 1e-4
    difference = (large.mu.value - small.mu.value) @ directions
    assert found.size_error[2] == pytest.approx(abs(difference[2]))
    assert found.sublattice_stderr[2] == 4e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_the_limit_is_thermal_energy_per_atom_that_one_sublattice_gains(template, sign):
    """x_s rises by 4/N with an atom, η by Q_s 4/N, and N f by 4 Q_s·μ: that is held to k_BT."""
    eta = np.array([0.12, 0.0, 0.01, 0.0])
    small, large = boxed(template, 108, eta, 3e-3), boxed(template, 256, eta, 4e-3)
    direction = FCC_L12.directions.numpy()[:, 1]
    thermal = BOLTZMANN_EV * 1000 / (4 * Q[:, 1] @ direction)
    corrected = []
    for times in (0.99, 1.01):
        moved = small.mu.value + sign * times * thermal * direction
        found = in_a_larger_box(
            small, replace(large, mu=Estimate(moved, large.mu.stderr)), FCC_L12, 1000.0
        )
        corrected.append((found.mu.value - moved) @ direction)
    assert corrected[0] == pytest.approx(108 / 148 * sign * 0.99 * thermal)
    assert corrected[1] == pytest.approx(0.0, abs=1e-15)


def test_errors_along_oblique_sublattices_become_those_of_mu_by_their_covariance(template):
    skew = np.array([[1.0, 1, 1, 1], [1, -1, 0, 0], [1, 1, -2, 0], [2, 1, 1, -3]]) / 4
    system = replace(FCC_L12, q=torch.tensor(skew), supplied=None)
    eta = skew @ [0.1, 0.2, 0.15, 0.3]
    small, large = boxed(template, 108, eta, 3e-3), boxed(template, 256, eta, 4e-3)
    mu = large.mu.value - SLOPE / 256
    small, large = (
        replace(
            point,
            mu=Estimate(mu + SLOPE / point.sites, point.mu.stderr),
            sublattice_stderr=np.array([1.0, 2.0, 3.0, 4.0]) * point.mu.stderr,
        )
        for point in (small, large)
    )
    found = in_a_larger_box(small, large, system, 1000.0)
    np.testing.assert_allclose(found.mu.value, mu, rtol=1e-12)
    added = found.sublattice_stderr**2 - large.sublattice_stderr**2
    # C of μ with vᵀCv the added variance of each v, and no covariance between them.
    v = skew / np.linalg.norm(skew, axis=0)
    expected = np.linalg.solve(v.T, np.linalg.solve(v.T, np.diag(added)).T)
    variance = found.mu.stderr**2 - large.mu.stderr**2
    np.testing.assert_allclose(variance, np.diag(expected), rtol=1e-9)


def test_a_box_that_differs_adds_its_difference_to_the_error_alone(template):
    at = np.array([0.12, 0.0, 0.01, 0.0])
    kept, other = boxed(template, 108, at, 3e-3), boxed(template, 256, at + 0.01, 4e-3)
    found = differing_from(other, kept, FCC_L12, 1000.0)
    difference = SLOPE * (1 / 256 - 1 / 108) @ FCC_L12.directions.numpy()
    np.testing.assert_allclose(found.size_error, np.sqrt(np.mean(difference**2)), rtol=1e-9)
    assert np.array_equal(found.mu.value, kept.mu.value)
    assert np.array_equal(found.sublattice_stderr, kept.sublattice_stderr)


def test_without_a_curvature_of_its_own_a_point_is_carried_by_the_other_s(template):
    at = np.array([0.12, 0.0, 0.01, 0.0])
    small, large = boxed(template, 108, at, 1e-3), boxed(template, 256, at + 0.01, 1e-3)
    unknown = replace(small, hessian=Estimate(np.full((4, 4), np.nan), np.full((4, 4), np.nan)))
    found = in_a_larger_box(unknown, large, FCC_L12, 1000.0)
    # H of the wrong ⟨η⟩: off by the ideal curvature's change, second order in the step of 0.01.
    np.testing.assert_allclose(found.mu.value, mu_of(at + 0.01), atol=5e-3)
