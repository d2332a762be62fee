"""Thermal noise: the spectrum of statistical mechanics, and numbers that depend on nothing else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from idnn.units import BOLTZMANN_EV
from phasefield.adaptive import StepControl, Stepper
from phasefield.expression import Expression
from phasefield.grid import Grid
from phasefield.integrators import etdrk2, exponential_euler
from phasefield.models import GradientFlow, OrderField
from phasefield.noise import Noise

KELVIN, STEP = 600.0, 0.02


def bowl(conserved, noise=None, **grid):
    """F = ½u², for which noise gives ⟨|û|²⟩ = k_BT Ω/V cells / (1 + κk²)."""
    field = OrderField("u", conserved, 1.0, 0.5)
    f = Expression("u**2/2", ("u",))
    noise = noise or Noise(KELVIN, 3, extent=2.0)
    return GradientFlow(Grid((24, 20), 1.0, **grid), f, (field,), 0.5, noise=noise)


def control(**changed):
    return StepControl(fixed_step=STEP, integrator=exponential_euler, **changed)


def run(model, steps):
    stepper = Stepper(model, control())
    with torch.no_grad():
        state = stepper.start(torch.zeros(1, *model.grid.shape, dtype=model.grid.dtype))
        for _ in range(steps):
            state = stepper.advance(state, 1e9)
            yield state


@pytest.mark.parametrize("conserved", [True, False])
@pytest.mark.parametrize("boundaries", [(), ("no-flux", "periodic")])
def test_the_spectrum_in_equilibrium_is_that_of_equipartition(conserved, boundaries):
    """⟨|û|²⟩ of waves is k_BT Ω/V cells/(1 + κk²); of cosines between walls half as much."""
    model = bowl(conserved, boundaries=boundaries)
    grid, burn_in, count = model.grid, 400, 2400
    total = torch.zeros(grid.k2.shape, dtype=torch.float64)
    for i, state in enumerate(run(model, count)):
        if i >= burn_in:
            total += state.u_hat[0].abs().square() / (count - burn_in)
    sites = grid.cell_volume * 2.0 / 0.5
    norm = torch.ones_like(grid.k2)
    for k, kind in zip(grid.wave_numbers, boundaries, strict=False):
        norm = norm * torch.where((k > 0) & torch.tensor(kind == "no-flux"), 0.5, 1.0)
    expected = BOLTZMANN_EV * KELVIN / sites * grid.cells * norm / (1 + 0.5 * grid.k2)
    ratio = total / expected
    slow, fast = (ratio[(grid.k2 > low) & (grid.k2 <= high)] for low, high in ((1, 4), (4, 99)))
    assert float(slow.mean()) == pytest.approx(1, abs=0.04)
    assert float(fast.mean()) == pytest.approx(1, abs=0.04)


def test_conserved_noise_conserves_the_mean_to_rounding():
    for state in run(bowl(True), 200):
        assert abs(float(state.u_hat[0, 0, 0].real)) < 1e-10


def test_threads_and_repetition_change_no_bit_and_seeds_do():
    with ThreadPoolExecutor(3) as workers:
        *_, one = run(bowl(True), 20)
        *_, same = run(bowl(True, workers=workers), 20)
    *_, other = run(bowl(True, Noise(KELVIN, 4, extent=2.0)), 20)
    assert torch.equal(one.u_hat, same.u_hat)
    assert not torch.equal(one.u_hat, other.u_hat)


def test_numbers_of_different_steps_and_planes_are_independent():
    grid = Grid((300, 400), 1.0)
    noise = Noise(KELVIN, 1)
    one, next_ = noise.white(grid, 1, 0), noise.white(grid, 1, 1)
    assert torch.equal(one, noise.white(grid, 1, 0))
    bound = 5 / grid.cells**0.5
    assert abs(float((one * next_).mean())) < bound
    assert abs(float((one[:, :150] * one[:, 150:]).mean())) < 2 * bound
    assert float(one.var()) == pytest.approx(1, abs=2 * bound)


@pytest.mark.parametrize("name", ["temperature", "extent"])
def test_numbers_that_must_be_positive(name):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and positive"):
        replace(Noise(600.0, 1), **{name: 0.0})


@pytest.mark.parametrize("wrong", [StepControl(), StepControl(fixed_step=0.1, integrator=etdrk2)])
def test_noise_with_an_error_estimate_is_refused(wrong):
    with pytest.raises(ValueError, match="`noise` needs a `fixed_step`"):
        Stepper(bowl(True), wrong)


def test_noise_with_a_mobility_that_depends_on_the_fields_is_refused():
    with pytest.raises(ValueError, match="`noise` of a `mobility`"):
        replace(bowl(True), mobility=lambda u: u[0])
