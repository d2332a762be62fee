"""Fields that strain the lattice: energy falls, symmetry and bits stay, rest is that of f + w."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from phasefield.adaptive import StepControl, Stepper
from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import InMemory, solve
from phasefield.stiffness import PLANE_STRAIN, cubic
from tests.stepping import energies_until

CRYSTAL = cubic(30.0, 20.0, 12.0)
DILATION = Misfit(Expression("c", ("c",)), 0.02 * torch.eye(3, dtype=torch.float64))


def elastic(grid, stiffer, **settings):
    share = Expression("c", ("c",))
    if stiffer == 1:
        return HomogeneousElasticity(grid, CRYSTAL, (DILATION,), **settings)
    contrasts = (Contrast(share, (stiffer - 1) * CRYSTAL),)
    return InhomogeneousElasticity(grid, CRYSTAL, (DILATION,), contrasts, **settings)


def flow(shape=(32, 32), stiffer=1.0, **settings):
    grid = Grid(shape, 1.0)
    strained = elastic(grid, stiffer, **settings)
    field = OrderField("c", True, 1.0, 0.5)
    return GradientFlow(grid, double_well(1.0, 0.0, 1.0, "c"), (field,), elastic=strained)


def random(shape, mean=0.4):
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return (mean + 0.05 * noise)[None]


@pytest.mark.parametrize("stiffer", [1.0, 2.0])
def test_energy_falls_and_mass_stays(stiffer):
    model = flow(stiffer=stiffer)
    u0 = random((32, 32))
    state, energies = energies_until(model, u0, 30.0)
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(energies))
    assert energies[-1] < 0.7 * energies[0]
    assert state.energy.elastic > 0
    assert float(model.grid.inverse(state.u_hat).mean()) == pytest.approx(
        float(u0.mean()), abs=1e-13
    )


@pytest.mark.parametrize("stiffer", [1.0, 0.5])
def test_the_force_of_an_evaluation_is_the_derivative_of_the_energy(stiffer):
    settings = {"tolerance": 1e-11} if stiffer != 1 else {}
    model, u = flow((9, 8), stiffer, **settings), random((9, 8))
    v = random((9, 8), 0.0)

    def energy(fields):
        u_hat = model.grid.transform(fields)
        return model.energy(u_hat, model.evaluate(u_hat)).total

    u_hat = model.grid.transform(u)
    slope = model.evaluate(u_hat).force_hat + 0.5 * model.grid.k2 * u_hat
    expected = float((model.grid.inverse(slope) * v).sum())
    found = (energy(u + 1e-4 * v) - energy(u - 1e-4 * v)) / 2e-4
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stiffer", [1.0, 0.5])
def test_a_turn_by_ninety_degrees_turns_the_microstructure(stiffer):
    model, u0 = flow(stiffer=stiffer), random((32, 32))
    one = solve(model, u0, [10.0]).u
    other = solve(flow(stiffer=stiffer), u0.rot90(1, (1, 2)).contiguous(), [10.0]).u
    torch.testing.assert_close(other, one.rot90(1, (1, 2)), rtol=0, atol=2e-5)


def test_a_misfit_in_proportion_to_composition_shifts_the_spinodal_to_that_of_cahn():
    # Cahn 1961, doi:10.1016/0001-6160(61)90182-1: growth −M k²(f″ + B(n) + κk²).
    model = flow((64, 64))
    x, y = model.grid.cell_centres()
    for n, b in (((1, 0), None), ((1, 1), None)):
        k = 2 * math.pi / 64 * math.hypot(*n)
        wave = 1e-5 * torch.cos(2 * math.pi / 64 * (n[0] * x + n[1] * y))
        end = solve(model, (0.5 + wave)[None], [5.0], control=StepControl(fixed_step=2.0**-4)).u[0]
        rate = math.log(float((end - 0.5).abs().max() / wave.abs().max())) / 5
        c11, c12, c44, e = 30.0, 20.0, 12.0, 0.02
        p = c11 + 2 * c12
        along = {(1, 0): c11, (1, 1): (c11 + c12 + 2 * c44) / 2}[n]
        b = e**2 * p * (3 - p / along)
        assert rate == pytest.approx(-(k**2) * (-1.0 + b + 0.5 * k**2), rel=1e-3)


@pytest.mark.parametrize("stiffer", [1.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_large_steps_come_to_the_same_rest_as_small_ones(stiffer):
    model = flow((24,), stiffer)
    x = model.grid.cell_centres()[0]
    u0 = (0.4 + 0.3 * torch.cos(2 * math.pi * x / 24) + 0.05 * torch.cos(math.pi * x / 6))[None]
    control = StepControl(tolerance=1e-4, steady=1e-6)
    far = solve(model, u0, [1e5], control=control)
    near = solve(model, u0, [1e5], control=replace(control, large_steps=None))
    assert far.time < 1e5
    assert far.state.energy.total == pytest.approx(near.state.energy.total, rel=1e-7)
    torch.testing.assert_close(far.u, near.u, rtol=0, atol=1e-3)


@pytest.mark.parametrize("stiffer", [1.0, 0.5])
def test_a_run_that_is_continued_has_the_bits_of_one_that_was_not(stiffer):
    u0, times = random((24, 20)), [1.0, 2.0, 3.0]
    whole = solve(flow((24, 20), stiffer), u0, times)
    kept = InMemory()
    solve(flow((24, 20), stiffer), u0, times[:2], recorder=kept)
    again = solve(flow((24, 20), stiffer), u0, times, recorder=kept)
    assert torch.equal(again.u, whole.u)
    assert again.state.energy == whole.state.energy


def test_threads_change_no_bits_of_what_matters():
    model, u0 = flow((64, 64)), random((64, 64))
    with ThreadPoolExecutor(2) as workers:
        grid = replace(model.grid, workers=workers)
        other = GradientFlow(grid, model.f, model.fields, elastic=elastic(grid, 1.0))
        assert torch.equal(solve(model, u0, [1.0]).u, solve(other, u0, [1.0]).u)


def test_elastic_energy_on_another_grid_is_refused():
    model = flow()
    with pytest.raises(ValueError, match="`elastic` must be on the `grid` of the model"):
        replace(model, grid=Grid((32, 32), 1.0))


def test_walls_have_no_elasticity():
    with pytest.raises(ValueError, match="`grid` must be periodic"):
        elastic(Grid((8, 8), 1.0, ("no-flux", "periodic")), 1.0)


@pytest.mark.parametrize("dealias", [1.0, 2.0])
def test_aliases_of_f_do_not_touch_what_is_elastic(dealias):
    model, u0 = replace(flow(), dealias=dealias), random((32, 32))
    stepper = Stepper(model, StepControl())
    plain = model.elastic.respond(u0).energy
    assert stepper.start(u0).energy.elastic == pytest.approx(float(plain), rel=1e-12)


def test_a_rise_of_the_energy_within_the_error_of_the_strains_is_none():
    exact, rough = (flow(stiffer=4.0, tolerance=each) for each in (1e-10, 0.03))
    u_hat = exact.grid.transform(random((32, 32)))
    best, energy = (model.energy(u_hat, model.evaluate(u_hat)) for model in (exact, rough))
    excess = energy.elastic - best.elastic
    assert 1e3 * best.rounding < excess < energy.rounding < 50 * excess


def test_plane_strain_stores_more_than_a_free_plate():
    held, free = (flow(mean_strain=s).elastic for s in (PLANE_STRAIN, {}))
    u = random((32, 32))
    assert float(held.respond(u).energy) > float(free.respond(u).energy) > 0
