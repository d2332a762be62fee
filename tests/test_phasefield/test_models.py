"""The equations: exact interface energy, dispersion relations, conservation, symmetry, limits."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from stepping import energies_until

from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.order_parameters import FCC_L12
from phasefield.adaptive import StepControl
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.integrators import Point, etdrk4
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

BENCHMARK_1 = double_well(5.0, 0.3, 0.7)


def cahn_hilliard(shape, spacing, f=BENCHMARK_1, kappa=2.0, mobility=5.0):
    return GradientFlow(Grid(shape, spacing), f, (OrderField("c", True, mobility, kappa),))


def allen_cahn(shape, spacing, kappa, mobility=1.0):
    field = OrderField("eta", False, mobility, kappa)
    return GradientFlow(Grid(shape, spacing), double_well(1.0, 0.0, 1.0), (field,))


def ordering_alloy(shape, spacing=0.5):
    interaction = torch.tensor([0.35, -0.35, -0.35, -0.35], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, 1000.0, 1e-3), interaction)
    order = [OrderField(f"eta{i}", False, 1.0, 0.2) for i in (1, 2, 3)]
    return GradientFlow(Grid(shape, spacing), f, (OrderField("c", True, 1.0, 0.2), *order), 0.01128)


def random_alloy(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    u = 0.02 * torch.randn((4, *shape), generator=generator, dtype=torch.float64)
    u[0] += 0.16
    return u


def advance(model, u, steps, dt):
    model = model.stabilised(u)
    step, u_hat = etdrk4.prepare(model, dt), model.grid.transform(u)
    force_hat = model.evaluate(u_hat).force_hat
    for _ in range(steps):
        attempt = step(Point(0.0, u_hat, force_hat))
        u_hat, force_hat = attempt.u_hat, attempt.end.force_hat
    return model.grid.inverse(u_hat)


def energy(model, u):
    u_hat = model.grid.transform(u)
    return model.energy(u_hat, model.evaluate(u_hat))


def test_a_relaxed_pair_of_interfaces_has_the_exact_energy():
    """σ = √(2κρ) (b − a)³/6 = 0.0477028 for PFHub 1: equipartition of a one-dimensional wall."""
    model = cahn_hilliard((256,), 0.39)
    x = model.grid.cell_centres()[0] - 256 * 0.39 / 2
    guess = 0.5 - 0.2 * torch.tanh((x.abs() - 25) / 2)
    solution = solve(model, guess[None], [2000.0], control=StepControl(tolerance=1e-5))
    sigma = math.sqrt(2 * 2.0 * 5.0) * 0.4**3 / 6
    assert sigma == pytest.approx(0.0477028, abs=1e-7)
    assert solution.state.energy.total / 2 == pytest.approx(sigma, rel=1e-4)
    assert solution.state.energy.bulk == pytest.approx(solution.state.energy.gradient, rel=1e-3)


@pytest.mark.parametrize("mode", [3, 8])
def test_a_small_wave_grows_at_the_rate_of_cahn_hilliards_dispersion_relation(mode):
    """ω = −M k² (f″ + κ k²); mode 3 grows, mode 8 decays."""
    model = cahn_hilliard((64,), 1.0)
    k = 2 * math.pi * mode / 64
    wave = torch.cos(k * model.grid.cell_centres()[0])
    curvature = -4 * 5.0 * 0.2**2  # f″ at the middle of the wells
    rate = -5.0 * k**2 * (curvature + 2.0 * k**2)
    assert (rate > 0) == (mode == 3)
    u = advance(model, (0.5 + 1e-6 * wave)[None], 50, 0.01)
    amplitude = 2 * float(((u[0] - 0.5) * wave).mean())
    assert math.log(amplitude / 1e-6) / 0.5 == pytest.approx(rate, rel=1e-6)


def test_coupled_fields_grow_at_the_eigenvalues_of_their_dispersion_relation():
    """Without order c and η decouple: ω_η = −L (f_ηη + κk²), ω_c = −M k² (f_cc + κk²)."""
    model = ordering_alloy((32,))
    k, c = 2 * math.pi * 2 / 16, 0.16
    wave = torch.cos(k * model.grid.cell_centres()[0])
    u = torch.zeros(4, 32, dtype=torch.float64)
    u[0] = c + 1e-7 * wave
    u[2] = 1e-7 * wave
    thermal = 8.617333262e-5 * 1000 / (c * (1 - c))
    new = advance(model, u, 40, 0.05)
    for field, interaction, rate in ((0, 0.35, k * k), (2, -0.35, 1.0)):
        omega = -rate * (thermal + 2 * interaction + 0.2 * k * k)
        amplitude = 2 * float((new[field] * wave).mean())
        assert math.log(amplitude / 1e-7) / 2 == pytest.approx(omega, rel=1e-4)


def test_a_uniform_non_conserved_field_follows_its_ordinary_differential_equation():
    """With u = ½ + s the equation u̇ = −f′ = 4s(¼ − s²) gives s² = ¼ / (1 + C e^{−2t})."""
    model = allen_cahn((4,), 1.0, 1.0)
    u = advance(model, torch.full((1, 4), 0.6, dtype=torch.float64), 200, 0.01)
    constant = 0.25 / 0.1**2 - 1
    exact = 0.5 + math.sqrt(0.25 / (1 + constant * math.exp(-2 * 2.0)))
    torch.testing.assert_close(u, torch.full_like(u, exact), rtol=1e-8, atol=0)


def test_an_allen_cahn_circle_shrinks_by_its_curvature():
    """dR²/dt = −2Lκ in two dimensions (Allen & Cahn 1979), independent of the well's depth."""
    model = allen_cahn((96, 96), 1.0, 2.0)
    x, y = model.grid.cell_centres()
    distance = torch.hypot(x - 48, y - 48) - 30
    u0 = 0.5 * (1 - torch.tanh(distance / (2 * math.sqrt(2.0 / 2))))
    areas = []
    for end in (40.0, 100.0):
        solution = solve(model, u0[None], [end])
        areas.append(float(solution.u.sum()))
    rate = (areas[1] - areas[0]) / (60 * math.pi)
    assert rate == pytest.approx(-2 * 2.0, rel=0.01)


def test_the_stabiliser_does_not_change_the_equations():
    model = ordering_alloy((12, 10))
    u_hat = model.grid.transform(random_alloy((12, 10)))
    stabilised = replace(model, stabiliser=(3.0, 5.0, 5.0, 5.0))
    rates = [m.linear * u_hat + m.weight * m.evaluate(u_hat).force_hat for m in (model, stabilised)]
    torch.testing.assert_close(rates[0], rates[1], rtol=1e-10, atol=1e-10)


def test_the_stabiliser_bounds_half_the_curvature_and_is_a_power_of_two():
    model = cahn_hilliard((16,), 1.0)
    u = torch.full((1, 16), 0.3, dtype=torch.float64)
    curvature = 2 * 5.0 * 0.4**2  # f″ at a well
    (stabiliser,) = model.stabilised(u).stabiliser
    assert curvature / 2 <= stabiliser < curvature
    assert math.log2(stabiliser).is_integer()


def test_non_conserved_fields_share_the_largest_stabiliser_so_that_symmetry_survives():
    class Bowl:
        def __call__(self, eta):
            return (torch.tensor([1.0, 2.0, 8.0], dtype=eta.dtype) * eta.square()).sum(-1)

    fields = [OrderField("c", True, 1.0, 1.0), *[OrderField("eta", False, 1.0, 1.0)] * 2]
    model = GradientFlow(Grid((4,), 1.0), Bowl(), tuple(fields))
    assert model.stabilised(torch.zeros(3, 4, dtype=torch.float64)).stabiliser == (1.0, 8.0, 8.0)


@pytest.mark.parametrize("shape", [(15,), (8, 7), (4, 5, 6)])
def test_the_force_is_the_derivative_of_the_discrete_free_energy(shape):
    model = ordering_alloy(shape)
    u, direction = random_alloy(shape), random_alloy(shape, seed=1)
    direction[0] -= direction[0].mean()
    epsilon = 1e-4
    slope = (
        energy(model, u + epsilon * direction).total - energy(model, u - epsilon * direction).total
    ) / (2 * epsilon)
    kappa_laplacian = model.grid.inverse(0.2 * model.grid.k2 * model.grid.transform(u))
    force = (model.force(u) + kappa_laplacian) * model.grid.cell_volume / model.site_volume
    assert slope == pytest.approx(float((force * direction).sum()), rel=1e-6)


def test_the_solution_of_a_translated_state_is_the_translated_solution():
    model, u = ordering_alloy((16, 12)), random_alloy((16, 12))
    moved = advance(model, u.roll((1, 3), (1, 2)), 30, 0.5)
    torch.testing.assert_close(
        moved, advance(model, u, 30, 0.5).roll((1, 3), (1, 2)), rtol=0, atol=1e-11
    )


def test_the_solution_of_every_symmetry_image_is_the_image_of_the_solution():
    model, u = ordering_alloy((10, 8)), random_alloy((10, 8))
    images = FCC_L12.images(u.movedim(0, -1))
    expected = FCC_L12.images(advance(model, u, 20, 0.5).movedim(0, -1))
    for image, solution in zip(images, expected, strict=True):
        new = advance(model, image.movedim(-1, 0), 20, 0.5)
        torch.testing.assert_close(new.movedim(0, -1), solution, rtol=0, atol=1e-11)


def test_threads_do_not_change_a_bit():
    model = ordering_alloy((96, 96))
    u = random_alloy((96, 96))
    with ThreadPoolExecutor(3) as workers, torch.no_grad():
        parallel = replace(model, grid=replace(model.grid, workers=workers))
        assert torch.equal(parallel.force(u), model.force(u))
        assert energy(parallel, u) == energy(model, u)


def test_mean_composition_is_conserved_to_rounding_and_the_free_energy_falls():
    model = ordering_alloy((32, 32))
    u0 = random_alloy((32, 32))
    state, energies = energies_until(model, u0, 60.0)
    assert all(b <= a for a, b in pairwise(energies))
    assert energies[-1] < energies[0] - 1
    assert abs(float(model.grid.inverse(state.u_hat)[0].mean() - u0[0].mean())) < 1e-15


def test_no_fields_are_refused():
    with pytest.raises(ValueError, match="`fields` must hold at least one"):
        GradientFlow(Grid((8,), 1.0), BENCHMARK_1, ())


def test_a_stabiliser_of_another_length_is_refused():
    with pytest.raises(ValueError, match="`stabiliser` must hold one number per field"):
        replace(cahn_hilliard((8,), 1.0), stabiliser=(1.0, 2.0))


@pytest.mark.parametrize("name", ["mobility", "kappa"])
def test_a_coefficient_that_is_not_positive_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name} of c` must be finite and positive"):
        replace(OrderField("c", True, 1.0, 1.0), **{name: -1.0})
