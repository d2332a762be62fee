"""Energies of sympy expressions: functions in pieces, in torch and compiled."""

import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import sympy
import torch

from idnn.free_energy import IdealMixing
from idnn.units import BOLTZMANN_EV
from phasefield.piecewise import at_least, mixing, select
from phasefield.symbolic import ROWS, SymbolicEnergy, field_symbols

U, V = field_symbols(2)


@dataclass(frozen=True)
class Energy(SymbolicEnergy):
    f: sympy.Expr

    def expression(self):
        return (U, V), self.f


def states(count, low=-0.1, high=1.1):
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, 2, generator=generator, dtype=torch.float64)


PIECES = Energy(select(U - V, sympy.exp(-U) * V, U**2) + at_least(U, sympy.Float(0.3)) * V)


def test_a_function_in_pieces_has_the_value_and_derivatives_of_each_piece():
    u = states(200)
    x, y = u.unbind(-1)
    first, above = x > y, x >= 0.3
    value = torch.where(first, (-x).exp() * y, x**2) + torch.where(above, x, 0.3) * y
    slopes = (
        torch.where(first, -(-x).exp() * y, 2 * x) + above * y,
        torch.where(first, (-x).exp(), 0) + torch.where(above, x, 0.3),
    )
    mixed = torch.where(first, -(-x).exp(), 0) + above
    torch.testing.assert_close(PIECES(u), value, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(PIECES.gradient(u), torch.stack(slopes, -1), rtol=1e-14, atol=1e-15)
    found = PIECES.hessian(u)
    torch.testing.assert_close(found[:, 0, 1], mixed, rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(found, found.mT, rtol=0, atol=0)


def test_what_is_not_a_number_in_one_piece_does_not_reach_the_other():
    f = Energy(select(U, sympy.log(U) + sympy.sqrt(U), V / U))
    u = torch.tensor([[0.5, 1.0], [-0.5, 1.0]], dtype=torch.float64)
    for result in (f(u), f.gradient(u), f.hessian(u)):
        assert result.isfinite().all()
    assert f(u).tolist() == pytest.approx([math.log(0.5) + math.sqrt(0.5), -2.0], rel=1e-14)


def test_a_piece_of_plain_numbers_keeps_the_precision_of_the_fields():
    third = Energy(select(U, sympy.Rational(1, 3), sympy.Rational(1, 7)) * V)
    u = torch.tensor([[0.5, 1.0], [-0.5, 1.0]], dtype=torch.float64)
    assert third(u).tolist() == [1 / 3, 1 / 7]


@pytest.mark.parametrize("floor", [0.0, 1e-2])
def test_mixing_is_that_of_ideal_mixing(floor):
    kt = BOLTZMANN_EV * 1000.0
    f = Energy(kt / 2 * mixing([U, 1 - U, V, 1 - V], floor))
    ideal = IdealMixing(torch.eye(2, dtype=torch.float64), 1000.0, floor)
    u = states(500) if floor else states(500, 0.0, 1.0)
    torch.testing.assert_close(f(u), ideal(u), rtol=0, atol=1e-16)
    # Slopes of up to 1 eV, curvatures of up to 4.3 eV (floor) or 100 eV (none).
    torch.testing.assert_close(f.gradient(u), ideal.gradient(u), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(f.hessian(u), ideal.hessian(u), rtol=1e-14, atol=1e-15)


def test_without_a_floor_mixing_ends_at_the_pure_states():
    f = Energy(mixing([U, 1 - U], 0.0) + 0 * V)
    u = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1e-9, 0.0]], dtype=torch.float64)
    assert f(u)[:2].tolist() == [0.0, 0.0]
    assert f(u)[2].isnan()


@pytest.mark.parametrize("floor", [-0.1, 0.5, float("nan")])
def test_a_floor_outside_its_range_is_refused(floor):
    with pytest.raises(ValueError, match=r"`floor` must lie in \[0, 0.5\)"):
        mixing([U], floor)


@pytest.mark.parametrize(
    "f", [PIECES, Energy(mixing([U, 1 - U], 0.02) + V**2), Energy(mixing([U, 1 - U], 0.0) + V)]
)
def test_compiled_pass_and_point_are_evaluate(f):
    eta = states(777, 0.001, 0.999)
    value, slopes = f.evaluate(eta)
    u = eta.T.contiguous().numpy()
    total, size = f.kernel(u, np.zeros(2), 0, len(eta))
    assert total == pytest.approx(float(value.sum()), rel=1e-13, abs=1e-12)
    assert size == pytest.approx(float(value.abs().sum()), rel=1e-13)
    # A compiled pass may take y/floor − y/floor apart: rounding of terms of up to 50.
    np.testing.assert_allclose(u.T, slopes, rtol=0, atol=5e-14)
    at_points = f.point(*eta.unbind(-1))
    for found, expected in zip(at_points, (value, *slopes.unbind(-1)), strict=True):
        assert torch.as_tensor(found).expand(len(eta)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "f", [PIECES, Energy(mixing([U, 1 - U], 0.02) + V**2), Energy(mixing([U, 1 - U], 0.0) + V)]
)
def test_torch_takes_the_point_for_a_gpu_as_one_graph(f):
    eta = states(64, 0.001, 0.999)
    traced = torch.compile(f.point, backend="eager", fullgraph=True)
    for found, expected in zip(traced(*eta.T), f.point(*eta.T), strict=True):
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


def test_a_compiled_pass_keeps_what_is_not_a_number():
    f = Energy(mixing([U, 1 - U], 0.02) + V**2)
    u = np.array([[0.5, np.nan], [0.0, 0.0]])
    total, _ = f.kernel(u, np.zeros(2), 0, 2)
    assert math.isnan(total)
    assert np.isnan(u).tolist() == [[False, True], [False, False]]


def test_more_states_than_are_evaluated_at_once_come_back_in_their_shape():
    f = Energy(U * V)
    eta = states(3 * ROWS).reshape(3, ROWS, 2)
    assert f(eta).tolist() == (eta[..., 0] * eta[..., 1]).tolist()
    assert f(eta[:0]).shape == (0, ROWS)


def test_an_energy_may_travel_to_another_process():
    there = pickle.loads(pickle.dumps(PIECES))
    u = states(5)
    assert there(u).tolist() == PIECES(u).tolist()


def test_only_a_polynomial_has_a_degree():
    assert Energy(U**2 * V + 1).degree == 3
    assert PIECES.degree is None
