"""Training data: what is measured with which error, and every bad number refused."""

import math

import pytest
import torch
from references import sobol_states

from idnn.data import Derivatives, Energies, Hessians, Values, as_sequence

ETA = sobol_states(5, seed=1)
ONE = torch.ones(5, 4, dtype=torch.float64)
KELVIN = torch.full((5,), 900.0, dtype=torch.float64)


def good(kind):
    if kind is Derivatives:
        return dict(eta=ETA, mu=ONE.clone(), sigma=ONE.clone(), temperature=KELVIN.clone())
    shape = (5, 4, 4) if kind is Hessians else (5,)
    name = "hessian" if kind is Hessians else "value"
    columns = {name: torch.ones(shape).double(), "sigma": torch.ones(shape).double()}
    return dict(eta=ETA.clone(), temperature=KELVIN.clone(), **columns)


KINDS = [Derivatives, Hessians, Values, Energies]


@pytest.mark.parametrize("kind", KINDS)
def test_good_data_have_a_length(kind):
    assert len(kind(**good(kind))) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_errors_and_temperatures_must_be_positive(kind, value):
    for name in ("sigma", "temperature"):
        columns = good(kind)
        columns[name] = columns[name].clone()
        columns[name][(2,) * columns[name].ndim] = value
        with pytest.raises(ValueError, match=f"`{name}` must be finite and positive: 1 of"):
            kind(**columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_was_measured_must_be_finite(kind, value):
    for name in ("eta", {Derivatives: "mu", Hessians: "hessian"}.get(kind, "value")):
        columns = good(kind)
        columns[name] = columns[name].clone()
        columns[name][(2,) * columns[name].ndim] = value
        with pytest.raises(ValueError, match=f"`{name}` must be finite: 1 of"):
            kind(**columns)


@pytest.mark.parametrize("kind", KINDS)
def test_every_point_has_its_own_error(kind):
    for name in ("sigma", "temperature"):
        columns = good(kind)
        columns[name] = columns[name][:4]
        # The annotations, which only tests check, refuse it first.
        with pytest.raises((ValueError, TypeError)):
            kind(**columns)


def test_a_hessian_that_is_not_symmetric_is_refused():
    columns = good(Hessians)
    columns["hessian"][3, 0, 1] += 0.1
    with pytest.raises(ValueError, match=r"`\|hessian - its transpose\| / sigma` must lie in"):
        Hessians(**columns)


def test_directions_that_are_not_unit_vectors_are_refused():
    with pytest.raises(ValueError, match=r"`\|directions\|` must lie in"):
        Derivatives(ETA, ONE, ONE, 2 * torch.eye(4, dtype=torch.float64))


def test_a_floor_adds_in_quadrature():
    data = Derivatives(ETA, ONE, torch.full_like(ETA, 3e-3), None, KELVIN).with_floor(4e-3)
    assert data.sigma.tolist() == [pytest.approx([5e-3] * 4, rel=1e-15)] * 5
    assert torch.equal(data.temperature, KELVIN)


def test_rows_are_chosen_with_their_errors_and_temperatures():
    kelvin = torch.arange(1.0, 6.0).double()
    data = Derivatives(ETA, ETA + 1, ETA.abs() + 2, torch.eye(4).double(), kelvin)
    rows = torch.tensor([3, 0])
    part = data[rows]
    assert torch.equal(part.mu, (ETA + 1)[rows])
    assert torch.equal(part.sigma, (ETA.abs() + 2)[rows])
    assert part.temperature.tolist() == [4.0, 1.0]
    assert part.directions is data.directions
    assert Derivatives(ETA, ONE, ONE)[rows].temperature is None


def test_components_along_directions_are_projections():
    directions = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    eta = ETA[:, :2]
    data = Derivatives(eta, eta, torch.ones_like(eta), directions)
    torch.testing.assert_close(data.along(eta)[:, 0], 0.6 * eta[:, 0] - 0.8 * eta[:, 1])
    torch.testing.assert_close(data.along(eta)[:, 1], 0.8 * eta[:, 0] + 0.6 * eta[:, 1])
    assert Derivatives(eta, eta, torch.ones_like(eta)).along(eta) is eta


def test_one_kind_or_several_without_the_empty_ones():
    full, empty = Values(**good(Values)), Derivatives(ETA[:0], ONE[:0], ONE[:0])
    assert as_sequence(full) == (full,)
    assert as_sequence(empty) == ()
    assert as_sequence([full, empty, full]) == (full, full)
