"""Collocation on elements: orders, exactness, decay."""

import math

import pytest
import torch
from pores import D, tensor

from idnn.nanopore.collocation import radau, two_nodes


def end(mesh, kappa, q, start=1.0):
    """c(1) of dc/dτ = κc + q."""
    c = torch.tensor([start], dtype=D)
    for length in mesh.lengths:
        k = length * kappa.expand(len(mesh.rule.points))
        c = (c + mesh.rule.responses(k) @ (k * c + length * q))[-1:]
    return float(c)


@pytest.mark.parametrize("points", [1, 2, 3])
def test_errors_fall_by_the_order_of_radau(points):
    errors = []
    for elements in (4, 8):
        mesh = radau(points, 1)._replace(edges=torch.linspace(0, 1, elements + 1, dtype=D))
        errors.append(abs(end(mesh, tensor(-1.5), 0.7) - exact(-1.5, 0.7)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2 * points - 1, abs=0.25)


def exact(kappa, q):
    return math.exp(kappa) + q * (math.exp(kappa) - 1) / kappa


def test_two_nodes_take_slopes_from_the_mean_of_both_ends():
    kappa, q = -0.8, 0.3
    mean = (1 + q / 2) / (1 - kappa / 2)
    assert end(two_nodes(), tensor(kappa), q) == pytest.approx(1 + kappa * mean + q, rel=1e-14)


def test_what_decays_in_a_short_way_is_damped():
    assert end(radau(5, 1), tensor(-1e6), 1e6) == pytest.approx(1, abs=1e-6)


def test_elements_keep_the_relative_accuracy_of_what_decays_far():
    assert end(radau(10, 8), tensor(-40.0), 0.0) == pytest.approx(math.exp(-40), rel=1e-9)


def test_polynomials_are_interpolated_and_integrated_exactly():
    mesh, at = radau(4, 3), torch.linspace(0, 1, 9, dtype=D)
    x = mesh.points
    assert torch.allclose(mesh.interpolation(at) @ x**3, at**3)
    assert torch.allclose(mesh.integrals(at) @ x**3, at**4 / 4)
    assert torch.allclose(mesh.continuous(at) @ torch.cat([tensor(0.0), x]) ** 4, at**4)
    assert float(mesh.points[-1]) == 1
