"""Derivatives between walls, mobilities that depend on the fields, κ of pairs of fields."""

import math
from dataclasses import replace

import pytest
import torch

from phasefield.adaptive import StepControl, Stepper
from phasefield.derivatives import divergence, gradient
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.integrators import etdrk4
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

BOXES = [
    ((12,), ("periodic",)),
    ((13,), ("no-flux",)),
    ((12, 11), ("periodic", "no-flux")),
    ((11, 12), ("no-flux", "periodic")),
    ((10, 9), ("no-flux", "no-flux")),
    ((6, 7, 8), ("no-flux", "periodic", "no-flux")),
]


def waves(grid):
    """A product of cosines that fit the box, and its derivatives."""
    numbers = [
        (1 if kind == "no-flux" else 2) * math.pi / (n * grid.spacing)
        for n, kind in zip(grid.shape, grid.boundaries, strict=True)
    ]
    x = grid.cell_centres()
    u = math.prod(torch.cos(k * a) for k, a in zip(numbers, x, strict=True))
    slopes = []
    for axis, k in enumerate(numbers):
        parts = [torch.cos(q * a) for q, a in zip(numbers, x, strict=True)]
        parts[axis] = -k * torch.sin(k * x[axis])
        slopes.append(math.prod(parts))
    return u, slopes, sum(k * k for k in numbers)


@pytest.mark.parametrize(("shape", "boundaries"), BOXES)
def test_gradients_of_waves_are_exact_between_walls_and_on_rings(shape, boundaries):
    grid = Grid(shape, 0.7, boundaries)
    u, slopes, _ = waves(grid)
    for found, expected in zip(gradient(grid, grid.transform(u)), slopes, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "boundaries"), BOXES)
def test_the_divergence_of_a_gradient_is_the_laplacian(shape, boundaries):
    grid = Grid(shape, 0.7, boundaries)
    u, slopes, k2 = waves(grid)
    found = grid.inverse(divergence(grid, slopes))
    torch.testing.assert_close(found, -k2 * u, rtol=0, atol=1e-12)


def flow(boundaries=("periodic",) * 2, **changed):
    grid = Grid((16, 12), 1.0, boundaries)
    field = OrderField("c", True, 2.0, 0.5)
    return GradientFlow(grid, double_well(5.0, 0.3, 0.7), (field,), **changed)


def somewhere(grid, seed=2):
    generator = torch.Generator().manual_seed(seed)
    u = 0.5 + 0.1 * torch.randn((1, *grid.shape), generator=generator, dtype=torch.float64)
    return grid.transform(u) * (-8 * grid.k2).exp()  # smooth: no highest modes


@pytest.mark.parametrize("boundaries", [("periodic",) * 2, ("no-flux", "periodic")])
def test_a_mobility_that_is_constant_changes_nothing(boundaries):
    plain = flow(boundaries).with_stabiliser((1.0,))
    scaled = replace(plain, mobility=lambda u: torch.full_like(u[0], 1.5))
    u_hat = somewhere(plain.grid)
    rates = []
    for model, factor in ((plain, 1.5), (scaled, 1.0)):
        rate = model.linear * u_hat + model.weight * model.evaluate(u_hat).force_hat
        rates.append(model.grid.inverse(rate) * factor)
    scale = float(rates[0].abs().max())
    torch.testing.assert_close(rates[0], rates[1], rtol=0, atol=1e-9 * scale)


def test_transport_with_a_mobility_is_that_of_finite_differences():
    """∂u/∂t = ∇·M(u)∇μ, μ = f′ − κ∇²u, in one dimension with four times refined differences."""
    n, h = 1024, 0.03
    grid = Grid((n,), h)
    x = grid.cell_centres()[0]
    u = 0.5 + 0.15 * torch.sin(2 * math.pi * x / (n * h))

    def mobility(u):
        return 1.6 * u[0] * (1 - u[0]) * 4

    field = OrderField("c", True, 2.0, 0.5)
    f = double_well(5.0, 0.3, 0.7)
    model = GradientFlow(grid, f, (field,), mobility=mobility).with_stabiliser((1.0,))
    u_hat = grid.transform(u[None])
    rate = model.linear * u_hat + model.weight * model.evaluate(u_hat).force_hat
    lap = (u.roll(1) - 2 * u + u.roll(-1)) / h**2
    mu = f.gradient(u[:, None])[:, 0] - 0.5 * lap
    half = 2.0 * mobility((u + u.roll(-1))[None] / 2) * (mu.roll(-1) - mu) / h
    expected = (half - half.roll(1)) / h
    scale = float(expected.abs().max())
    torch.testing.assert_close(grid.inverse(rate)[0], expected, rtol=0, atol=2e-4 * scale)


def test_a_run_with_a_mobility_keeps_its_mass_and_lowers_its_energy():
    model = flow(mobility=lambda u: 4 * u[0] * (1 - u[0]))
    u0 = model.grid.inverse(somewhere(model.grid))
    solution = solve(model, u0, [20.0], control=StepControl(tolerance=1e-5))
    assert float(solution.u.mean()) == pytest.approx(float(u0.mean()), abs=1e-14)
    start = model.evaluate(model.grid.transform(u0))
    assert solution.state.energy.total < model.energy(model.grid.transform(u0), start).total
    assert not solution.state.handover.large  # no symmetric derivative, no implicit steps


def test_a_mobility_beyond_twice_the_reference_is_refused():
    model = flow(mobility=lambda u: torch.full_like(u[0], 2.5))
    with pytest.raises(ValueError, match=r"`mobility` M\(u\)/M must not exceed 2"):
        model.stabilised(model.grid.inverse(somewhere(model.grid)))


def paired(kappa):
    """Two conserved fields over a bowl each."""
    fields = (OrderField("a", True, 1.0, 0.4), OrderField("b", False, 0.7, 0.3))
    coupling = torch.tensor([[0.0, kappa], [kappa, 0.0]], dtype=torch.float64)
    bowl = Expression("a**2/2 + 0.8*b**2/2 + 0.3*a*b", ("a", "b"))
    return GradientFlow(Grid((32,), 0.5), bowl, fields, coupling=coupling)


def test_waves_of_two_fields_with_a_gradient_term_between_them_decay_at_its_eigenvalues():
    """u̇ = −R (H + κk²) u with R = diag(Mk², L), and κ a full matrix."""
    model = paired(-0.25)
    k = 2 * math.pi * 3 / 16
    rate = torch.diag(torch.tensor([k * k, 0.7], dtype=torch.float64))
    curvature = torch.tensor([[1.0, 0.3], [0.3, 0.8]], dtype=torch.float64)
    kappa = torch.tensor([[0.4, -0.25], [-0.25, 0.3]], dtype=torch.float64)
    start = torch.tensor([0.2, -0.1], dtype=torch.float64)
    expected = torch.linalg.matrix_exp(-rate @ (curvature + kappa * k * k) * 2.0) @ start
    wave = torch.cos(k * model.grid.cell_centres()[0])
    stepper = Stepper(model, StepControl(tolerance=1e-9, integrator=etdrk4))
    with torch.no_grad():
        state = stepper.start(start[:, None] * wave)
        while state.time < 2.0:
            state = stepper.advance(state, 2.0)
    found = 2 * (model.grid.inverse(state.u_hat) * wave).mean(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_the_energy_of_a_wave_counts_the_term_between_fields_once():
    """½Σκᵢⱼ k² aᵢaⱼ ⟨sin²⟩ over the box."""
    model = paired(0.2)
    k = 2 * math.pi * 2 / 16
    wave = torch.cos(k * model.grid.cell_centres()[0])
    u_hat = model.grid.transform(torch.stack([0.2 * wave, -0.1 * wave]))
    energy = model.energy(u_hat, model.evaluate(u_hat))
    expected = (0.5 * 0.4 * 0.04 + 0.5 * 0.3 * 0.01 + 0.2 * 0.2 * -0.1) * k * k * 16 / 2
    assert energy.gradient == pytest.approx(expected)


@pytest.mark.parametrize("kappa", [0.5, math.nan])
def test_a_coupling_that_leaves_the_gradient_energy_indefinite_is_refused(kappa):
    with pytest.raises(ValueError, match="`coupling` must be a symmetric matrix of 2 × 2"):
        paired(kappa)
