"""Energies on a finer grid: exact integrals and their exact derivatives, on rings and walls."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from stepping import energies_until

from phasefield import fused
from phasefield.adaptive import StepControl, Stepper
from phasefield.dealiasing import FineGrid
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.integrators import exponential_euler
from phasefield.models import GradientFlow, OrderField
from phasefield.noise import Noise
from phasefield.solve import solve

P, W = "periodic", "no-flux"
BOXES = [
    ((8,), (P,)),
    ((9,), (P,)),
    ((7,), (W,)),
    ((6, 7), (P, P)),
    ((7, 6), (P, P)),
    ((6, 8), (W, P)),
    ((8, 5), (P, W)),
    ((5, 4), (W, W)),
    ((4, 5, 6), (P, P, P)),
    ((5, 6, 4), (W, P, W)),
    ((4, 4, 5), (P, W, P)),
]
QUARTIC = Expression("u**4 - 0.7*u**3 + 0.2*u**2 + 0.1*u", ("u",))


def two_wells(eta):
    """A quartic energy of two fields that is not compiled, nor knows its degree or derivatives."""
    c, order = eta.unbind(-1)
    return c**2 * (1 - c) ** 2 + (order**2 - c) ** 2 / 2 + 0.3 * c * order


def random(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def flow(shape=(8,), boundaries=(), f=QUARTIC, dealias="exact", **changed):
    """One non-conserved field, whose rate is −2 δF/δu."""
    grid = Grid(shape, 0.7, boundaries)
    return GradientFlow(grid, f, (OrderField("u", False, 2.0, 0.5),), dealias=dealias, **changed)


def pair(shape=(6, 7), boundaries=(), **changed):
    """A conserved and another field with a gradient term between them."""
    fields = (OrderField("c", True, 1.3, 0.4), OrderField("eta", False, 0.8, 0.5))
    coupling = torch.tensor([[0.0, 0.1], [0.1, 0.0]], dtype=torch.float64)
    return GradientFlow(
        Grid(shape, 0.7, boundaries), two_wells, fields, 0.3, coupling,
        stabiliser=(1.0, 2.0), **{"dealias": 2.0} | changed,
    )  # fmt: skip


def kernel(kind, n, m):
    """The wave that is 1 in one cell and 0 in the others, by its sum, at m points of the box.

    Rows are points, columns the cells; the highest mode of an even ring is left out.
    """
    cell, point = ((torch.arange(count).double() + 0.5) / count for count in (n, m))
    modes = torch.arange(1, n if kind == W else (n + 1) // 2).double()
    if kind == W:
        waves = (math.pi * modes * point[:, None, None]).cos()
        waves = waves * (math.pi * modes * cell[:, None]).cos()
    else:
        waves = (2 * math.pi * modes * (point[:, None] - cell)[..., None]).cos()
    return (1 + 2 * waves.sum(-1)) / n


def values(u, boundaries, points):
    """The fields [field, cell] at finer points, axis by axis."""
    for axis, (kind, m) in enumerate(zip(boundaries, points, strict=True), start=1):
        matrix = kernel(kind, u.shape[axis], m)
        u = torch.tensordot(matrix, u, ([1], [axis])).movedim(0, axis)
    return u


def bulk(model, u, points):
    """∫ f(u)/Ω by the mean over points, u being the sum of its waves."""
    eta = values(u, model.grid.boundaries or (P,) * u[0].ndim, points).movedim(0, -1)
    box = model.grid.cells * model.grid.cell_volume / model.site_volume
    return model.f(eta).mean() * box


def energy(model, u):
    u_hat = model.grid.transform(u)
    return model.energy(u_hat, model.evaluate(u_hat))


def slope(model, u):
    """δF/δu in every cell, from the rate of change; of conserved fields less its mean."""
    u_hat = model.grid.transform(u)
    rate = model.linear * u_hat + model.weight * model.evaluate(u_hat).force_hat
    found = -rate / torch.where(model.rate > 0, model.rate, 1.0)
    return model.grid.inverse(found.to(u_hat.dtype))


@pytest.mark.parametrize(("shape", "boundaries"), BOXES)
@pytest.mark.parametrize("factor", [1.2, 1.5, 2.0])
def test_points_hold_the_sum_of_the_waves_and_the_way_back_is_the_transpose(
    shape, boundaries, factor
):
    grid = Grid(shape, 0.7, boundaries)
    fine = FineGrid(grid, factor)
    u = random((2, *shape))
    found = fine.inverse(grid.transform(u))
    torch.testing.assert_close(found, values(u, boundaries, fine.shape), rtol=0, atol=1e-13)
    force = random(found.shape, 1)
    back = grid.inverse(fine.transform(force))
    assert float((back * u).sum() / grid.cells) == pytest.approx(
        float((force * found).sum() / fine.cells), rel=1e-11
    )


def test_points_are_rounded_up_to_whole_ones():
    fine = FineGrid(Grid((5, 8, 6), 0.7), 1.3)
    assert fine.shape == (7, 11, 8)
    assert fine.cells == 7 * 11 * 8


@pytest.mark.parametrize(("shape", "boundaries"), BOXES)
def test_a_quartic_energy_is_its_integral_and_on_the_cells_it_is_not(shape, boundaries):
    model, u = flow(shape, boundaries), random((1, *shape))
    exact = float(bulk(model, u, [5 * n + 1 for n in shape]))
    assert energy(model, u).bulk == pytest.approx(exact, rel=1e-12)
    on_cells = energy(replace(model, dealias=1.0), u).bulk
    assert on_cells != pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize(
    ("formula", "factor"),
    [("u**3", 1.5), ("u**4 - u", 2.0), ("u**5", 2.5), ("u**6 + u", 3.0)],
)
def test_half_the_degree_is_enough_and_no_less(formula, factor):
    """The largest alias of uᵖ, at p(n−1)/2 of an odd n, falls on mode 0 of that many points."""
    n = 21
    model = flow((n,), f=Expression(formula, ("u",)), dealias=factor)
    u = random((1, n))
    exact = float(bulk(model, u, [101]))
    assert energy(model, u).bulk == pytest.approx(exact, rel=1e-12)
    assert energy(replace(model, dealias="exact"), u).bulk == energy(model, u).bulk
    too_few = (model.f.degree * (n - 1) // 2) / n
    assert energy(replace(model, dealias=too_few), u).bulk != pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("shape", "boundaries"), BOXES)
def test_the_force_is_the_exact_derivative_of_the_energy(shape, boundaries):
    """By autograd on explicit sums of waves, the highest modes and the stabiliser included."""
    model = flow(shape, boundaries, stabiliser=(3.0,))
    grid, u = model.grid, random((1, *shape)).requires_grad_()
    points = [2 * n for n in shape]
    (expected,) = torch.autograd.grad(bulk(model, u, points), u)
    u = u.detach()
    expected = expected / grid.cell_volume + 0.5 * grid.inverse(grid.k2 * grid.transform(u))
    torch.testing.assert_close(slope(model, u), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("boundaries", [(P, P), (W, P)])
def test_the_energy_changes_by_the_force_in_every_mode(boundaries):
    """Two fields by torch alone, on 1.5 points a cell, where no integral is exact."""
    model = pair(boundaries=boundaries, dealias=1.5)
    grid, u = model.grid, 0.4 * random((2, 6, 7)) + 0.3
    u_hat = grid.transform(u)
    force = slope(model, u) * grid.cell_volume / model.site_volume
    for seed in range(3):
        wave = torch.zeros_like(u_hat).flatten(1)
        wave[:, [3, -1, -2][seed]] = 1.0
        wave = grid.inverse(wave.view_as(u_hat))
        wave[0] -= wave[0].mean()
        step = 1e-4
        change = energy(model, u + step * wave).total - energy(model, u - step * wave).total
        assert change / (2 * step) == pytest.approx(float((force * wave).sum()), rel=1e-6)


@pytest.mark.parametrize("boundaries", [(P, P), (W, P), (W, W)])
def test_the_tangent_is_symmetric_and_the_derivative_of_the_force(boundaries):
    model = pair(boundaries=boundaries)
    grid = model.grid
    u, v, w = (0.3 * random((2, 6, 7), seed) for seed in range(3))
    tangent = model.tangent(grid.transform(u))
    along_v, along_w = (grid.inverse(tangent(grid.transform(x))) for x in (v, w))
    assert float((along_v * w).sum()) == pytest.approx(float((along_w * v).sum()), rel=1e-12)
    step = 1e-5
    forward, back = (
        grid.inverse(model.evaluate(grid.transform(u + sign * step * v)).force_hat)
        for sign in (1, -1)
    )
    torch.testing.assert_close(along_v, (forward - back) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(12,), (9,), (8, 9)])
@pytest.mark.parametrize(
    ("formula", "dealias", "invariant"),
    [
        ("u**4 - u**2", "exact", True),
        ("u**4 - u**2", 1.5, False),
        ("u**4 - u**2", 1.0, False),
        ("u**3 - u**2", 1.5, True),
    ],
)
def test_a_state_moved_by_part_of_a_cell_keeps_its_energy(shape, formula, dealias, invariant):
    """Of all modes that can be moved: the highest of an even number of cells cannot."""
    model = flow(shape, f=Expression(formula, ("u",)), dealias=dealias)
    grid = model.grid
    u_hat = grid.transform(random((1, *shape))) * FineGrid(grid, 2.0).seen
    moved = u_hat
    for k in grid.wave_numbers:
        moved = moved * torch.exp(1j * k * 0.37 * grid.spacing)
    before, after = (energy(model, grid.inverse(x)).bulk for x in (u_hat, moved))
    assert (after == pytest.approx(before, rel=1e-13)) == invariant
    assert invariant or after != pytest.approx(before, rel=1e-3)


def test_a_wall_thinner_than_a_cell_is_pinned_by_the_cells_and_moves_without_aliases():
    """Speed √(2ρκ) (1 − 2a) of f′ = 4ρu(u − a)(u − 1); pinned by 10⁻³, quick by 6 % with 2."""
    kappa, width, a = 1.0, 0.35, 0.45
    rho = kappa / (2 * width**2)
    f = Expression("r*(u**4 - 4/3*(1 + a)*u**3 + 2*a*u**2)", ("u",), {"r": rho, "a": a})
    grid = Grid((32,), 1.0)
    start = 1 / (1 + (((grid.cell_centres()[0] - 16).abs() - 4) / width).exp())
    speed = math.sqrt(2 * rho * kappa) * (1 - 2 * a)

    def found(dealias):
        model = GradientFlow(grid, f, (OrderField("u", False, 1.0, kappa),), dealias=dealias)
        times = [2 / speed, 4 / speed]
        early, late = (solve(model, start[None], [time]).u.mean() for time in times)
        return float(late - early) * 16 / 2

    assert found(1.0) < 1e-3
    assert found("exact") == pytest.approx(1.06, abs=0.01)


@pytest.mark.parametrize("factor", [1.5, 2.0])
def test_a_box_with_walls_is_half_of_its_mirrored_ring(factor):
    """For any f: the points of a box are those of the ring."""
    f = Expression("exp(u) + cos(3*u)", ("u",))
    u = 0.5 * random((1, 6, 4))
    mirrored = torch.cat([u, u.flip(1)], 1)
    mirrored = torch.cat([mirrored, mirrored.flip(2)], 2)
    box, ring = flow((6, 4), (W, W), f, factor), flow((12, 8), (), f, factor)
    assert 4 * energy(box, u).bulk == pytest.approx(energy(ring, mirrored).bulk, rel=1e-13)
    expected = slope(ring, mirrored)[:, :6, :4]
    torch.testing.assert_close(slope(box, u), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundaries", [(P, P), (W, P)])
def test_single_precision_stays_so_and_agrees(boundaries):
    model, u = flow((8, 9), boundaries), random((1, 8, 9))
    single = replace(model, grid=replace(model.grid, dtype=torch.float32))
    found = slope(single, u.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), slope(model, u), rtol=1e-4, atol=1e-4)
    assert energy(single, u.float()).bulk == pytest.approx(energy(model, u).bulk, rel=1e-5)


def test_compiled_passes_torch_and_threads_agree(monkeypatch):
    model, u = flow((200, 200)), random((1, 200, 200))
    u_hat = model.grid.transform(u)
    with ThreadPoolExecutor(3) as workers:
        threads = replace(model, grid=replace(model.grid, workers=workers)).evaluate(u_hat)
    found = model.evaluate(u_hat)
    assert all(torch.equal(one, other) for one, other in zip(found[:3], threads[:3], strict=True))
    monkeypatch.setattr(fused, "kernels", None)
    plain = replace(model).evaluate(u_hat)
    torch.testing.assert_close(found.force_hat, plain.force_hat, rtol=1e-11, atol=1e-8)
    torch.testing.assert_close(found.density, plain.density, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mobility", [None, lambda u: 1.5 - u[0] ** 2 / 2])
def test_a_run_keeps_its_mass_and_lowers_its_energy(mobility):
    """At every step, whether the mobility is constant or not."""
    field = OrderField("c", True, 1.0, 0.5)
    f = double_well(1.0, -1.0, 1.0)
    model = GradientFlow(Grid((10, 8), 0.7), f, (field,), mobility=mobility, dealias="exact")
    u0 = 0.1 + 0.2 * random((1, 10, 8))
    state, energies = energies_until(model, u0, 4.0)
    assert all(b <= a for a, b in pairwise(energies))
    assert energies[-1] < 0.7 * energies[0]
    u = model.grid.inverse(state.u_hat)
    assert float(u.mean()) == pytest.approx(float(u0.mean()), abs=1e-15)


def test_the_mobility_sees_the_cells_and_a_constant_one_changes_nothing():
    model = flow((8, 6), f=QUARTIC)
    model = replace(model, fields=(OrderField("c", True, 2.0, 0.5),), stabiliser=(1.0,))
    seen = []

    def mobility(u):
        seen.append(u.clone())
        return torch.ones_like(u[0])

    u = random((1, 8, 6))
    u_hat = model.grid.transform(u) * FineGrid(model.grid, 2.0).seen
    found = replace(model, mobility=mobility).evaluate(u_hat).force_hat
    cells = model.grid.inverse(u_hat).flatten(1)
    torch.testing.assert_close(seen[0], cells, rtol=0, atol=1e-14)
    plain = model.evaluate(u_hat).force_hat
    moving = model.rate > 0
    torch.testing.assert_close(found[moving], plain[moving], rtol=0, atol=1e-10)


def test_noise_on_a_finer_energy_conserves_the_mean():
    model = flow((8, 6), noise=Noise(600.0, 1))
    model = replace(model, fields=(OrderField("c", True, 1.0, 0.5),))
    stepper = Stepper(model, StepControl(fixed_step=0.01, integrator=exponential_euler))
    with torch.no_grad():
        state = stepper.start(torch.zeros(1, 8, 6, dtype=torch.float64))
        for _ in range(20):
            state = stepper.advance(state, 1e9)
    u = model.grid.inverse(state.u_hat)
    assert abs(float(u.mean())) < 1e-15
    assert float(u.abs().max()) > 0.01


def test_the_force_on_cells_is_the_derivative_of_the_bulk_energy_by_the_cells():
    model, u = pair(dealias=1.5), 0.4 * random((2, 6, 7))
    direction, step = random((2, 6, 7), 3), 1e-4
    change = energy(model, u + step * direction).bulk - energy(model, u - step * direction).bulk
    expected = (model.force(u) * direction).sum() * model.grid.cell_volume / model.site_volume
    assert change / (2 * step) == pytest.approx(float(expected), rel=1e-6)


def test_one_point_a_cell_and_energies_without_aliases_stay_on_the_cells():
    u_hat = Grid((8,), 0.7).transform(random((1, 8)))
    quadratic = Expression("u**2/2 - u", ("u",))
    for f, dealias in ((QUARTIC, 1.0), (QUARTIC, 1), (quadratic, "exact")):
        plain = GradientFlow(Grid((8,), 0.7), f, (OrderField("u", False, 2.0, 0.5),))
        found, expected = flow(f=f, dealias=dealias).evaluate(u_hat), plain.evaluate(u_hat)
        assert all(
            torch.equal(one, other) for one, other in zip(found[:3], expected[:3], strict=True)
        )


@pytest.mark.parametrize(
    ("formula", "degree"),
    [
        ("c**2*d**3 + c", 5), ("(c - 1)**4 - c**4", 3), ("3 + 0*c", 0), ("sqrt(4)*c", 1),
        ("log(c) + d**2", None), ("c/(1 + d)", None), ("c**1.5", None), ("exp(k)*c*d", 2),
    ],
)  # fmt: skip
def test_the_degree_of_a_formula(formula, degree):
    assert Expression(formula, ("c", "d"), {"k": 1.0}).degree == degree


@pytest.mark.parametrize("dealias", [0.9, -1.0, math.nan, math.inf])
def test_another_number_of_points_is_refused(dealias):
    message = f'`dealias` must be a number of at least 1, points per cell, or "exact"; .*{dealias}'
    with pytest.raises(ValueError, match=message):
        GradientFlow(Grid((8,), 1.0), QUARTIC, (OrderField("u", True, 1.0, 1.0),), dealias=dealias)


@pytest.mark.parametrize("f", [Expression("u*log(u)", ("u",)), lambda eta: eta.sum(-1)])
def test_exact_points_of_what_is_no_known_polynomial_are_refused(f):
    with pytest.raises(ValueError, match=r'`dealias` may be "exact" where f is .* Give a number'):
        flow(f=f)
