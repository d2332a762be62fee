"""Initial states of γ/γ′: variants, compositions, the lever rule, and bad input."""

import math

import pytest
import torch
from superalloys import alloy

from phasefield.observe import L12Variants
from phasefield.precipitates import (
    Precipitate,
    in_matrix,
    lever_rule_radius,
    precipitated,
    scattered_precipitates,
)


@pytest.fixture(scope="module")
def square():
    return alloy(1273, (96, 96), 0.5e-9, walls=False)


def test_the_four_variants_stand_where_they_are_put_in_a_matrix_of_gamma(square):
    places = [(12e-9, 12e-9), (12e-9, 36e-9), (36e-9, 12e-9), (36e-9, 36e-9)]
    balls = [Precipitate(place, 6e-9, i) for i, place in enumerate(places, start=1)]
    u = in_matrix(square, balls)
    phase = L12Variants()(u)
    assert [int(phase[i, j]) for i in (24, 72) for j in (24, 72)] == [1, 2, 3, 4]
    low, high = square.compositions
    assert float(u[0].min()) == pytest.approx(low, abs=1e-6)
    assert float(u[0].max()) == pytest.approx(high, abs=1e-3)
    area = float((phase == 1).sum()) * 0.25
    assert area == pytest.approx(math.pi * 36, rel=0.05)
    supersaturated = in_matrix(square, balls, matrix=0.17)
    assert float(supersaturated[0].min()) == pytest.approx(0.17, abs=1e-6)


@pytest.mark.parametrize(("shape", "count"), [((400,), 2), ((96, 96), 3), ((40, 40, 40), 2)])
def test_balls_of_the_lever_rule_leave_gamma_of_the_tie_line(shape, count):
    ni_al = alloy(1273, shape, 0.5e-9, walls=False)
    mean = ni_al.mean_composition(0.2)
    radius = lever_rule_radius(ni_al, mean, count)
    balls = scattered_precipitates(ni_al, radius, count, torch.Generator().manual_seed(3))
    assert [ball.variant for ball in balls] == list(range(1, count + 1))
    u = precipitated(ni_al, balls, composition=mean)
    assert float(u[0].mean()) == pytest.approx(mean, abs=1e-12)
    low, high = ni_al.compositions
    # A ball with a diffuse surface holds more than a sharp one, to second order in width/radius.
    surplus = (high - low) * 0.2 * len(shape) * (1.5e-9 / radius) ** 2
    assert low - surplus < float(u[0].min()) < low + 1e-4


def test_particles_that_do_not_fit_are_refused(square):
    with pytest.raises(ValueError, match="`centre` must lie in"):
        in_matrix(square, [Precipitate((60e-9, 1e-9), 5e-9)])
    with pytest.raises(ValueError, match="a centre of 2"):
        in_matrix(square, [Precipitate((6e-9,), 5e-9)])
    with pytest.raises(ValueError, match="do not fit"):
        scattered_precipitates(square, 20e-9, 4, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("matrix", [-0.01, 0.24, math.nan])
def test_a_matrix_that_is_no_solution_is_refused(square, matrix):
    with pytest.raises(ValueError, match="composition of the matrix"):
        in_matrix(square, [Precipitate((6e-9, 6e-9), 5e-9)], matrix=matrix)


@pytest.mark.parametrize(("radius", "variant"), [(0.0, 1), (-1e-9, 1), (1e-9, 0), (1e-9, 5)])
def test_a_particle_without_size_or_variant_is_refused(radius, variant):
    with pytest.raises(ValueError, match=r"`(radius|variant)` must"):
        Precipitate((1e-9,), radius, variant)
