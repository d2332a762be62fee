"""Coherent misfit: Eshelby's inclusion, laminates, PFHub 4, both solvers alike, bad input."""

import math

import numpy as np
import pytest
import torch
from strained import CONTROLS, LINEAR, NICKEL, ONE, SHEARED, SMOOTH, both, random

from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity, NoEquilibrium
from phasefield.stiffness import (
    COMPONENTS,
    by_mandel,
    components,
    cubic,
    isotropic,
    matrix,
    rotated,
    vector,
)


def ball(grid, radius):
    """1 within a radius of the middle of the box, smoothed over half a cell."""
    middle = [n * grid.spacing / 2 for n in grid.shape]
    squares = [(x - m) ** 2 for x, m in zip(grid.cell_centres(), middle, strict=True)]
    return (0.5 * (1 + torch.tanh((radius - sum(squares).sqrt()) / (0.7 * grid.spacing))))[None]


def test_energy_of_a_dilated_phase_in_an_isotropic_body_knows_no_shape():
    # Eshelby 1957: w = 2μ(1+ν)/(1−ν) δ² per volume; in a box without mean stress times 1 − share.
    grid, e, nu, delta = Grid((25, 21, 15), 1.0), 200.0, 0.3, 0.01
    inside = (random(grid.shape) > 0.7).double()
    share, mu = float(inside.mean()), e / 2 / (1 + nu)
    for model in both(grid, isotropic(e, nu), delta * ONE):
        energy = float(model.respond(inside[None]).energy) / grid.cells
        expected = 2 * mu * (1 + nu) / (1 - nu) * delta**2 * share * (1 - share)
        assert energy == pytest.approx(expected, rel=1e-10)


def test_strain_within_a_sphere_is_that_of_eshelby_in_a_cubic_body_too():
    # Inside a sphere ε = S ε⁰ with S the mean of N (nCn)⁻¹ Nᵀ C over all directions n.
    grid = Grid((64,) * 3, 1.0)
    u = ball(grid, 10.0)
    strain = torch.diag(torch.tensor([0.01, 0.004, 0.0], dtype=torch.float64))
    c = by_mandel(NICKEL)
    directions = torch.randn((200_000, 3), generator=torch.Generator().manual_seed(2)).double()
    n = directions / directions.norm(dim=1, keepdim=True)
    frame = torch.eye(6, dtype=torch.float64)
    normals = torch.stack([n @ matrix(e) for e in frame], 1)  # [n, 6, 3]
    acoustic = normals.mT @ c @ normals
    green = (normals @ torch.linalg.inv(acoustic) @ normals.mT).mean(0)
    one, _ = both(grid, NICKEL, strain)
    expected = c @ (green @ c @ vector(strain) - vector(strain))
    share = float(u.mean())
    # Images and the free box add the mean: −share times the stress of a uniform misfit, held.
    expected = expected - share * c @ (green @ c @ vector(strain) - vector(strain))
    inside = one.stress(u)[:, 32, 32, 32]
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        inside, expected / components(dict.fromkeys(COMPONENTS, 1.0)), rtol=0, atol=0.01 * scale
    )


def pressure_within(share_at, stiffer, delta, young=200.0, nu=0.3, outer=30.0, count=1500):
    """Mean stress in the middle of a free ball, by linear elements of the radial displacement.

    The energy is ∫ r² [½λ(eᵣ + 2eₜ)² + μ(eᵣ² + 2eₜ²)] dr with eᵣ = U′ − θδ and eₜ = U/r − θδ.
    """
    r = np.linspace(0, outer, count + 1)
    middle, h = (r[1:] + r[:-1]) / 2, outer / count
    theta = share_at(middle)
    factor = 1 + (stiffer - 1) * theta
    lame, mu = (factor * c for c in (young * nu / (1 + nu) / (1 - 2 * nu), young / 2 / (1 + nu)))
    first, second = np.eye(count, count + 1), np.eye(count, count + 1, 1)
    radial, tangential = (second - first) / h, (second + first) / 2 / middle[:, None]
    rows = [
        (np.sqrt(lame / 2) * middle, radial + 2 * tangential, 3),
        (np.sqrt(mu) * middle, radial, 1),
        (np.sqrt(2 * mu) * middle, tangential, 1),
    ]
    a = sum((w[:, None] * m).T @ (w[:, None] * m) for w, m, _ in rows)
    b = sum((w[:, None] * m).T @ (w * n * theta * delta) for w, m, n in rows)
    moved = np.concatenate([[0.0], np.linalg.solve(a[1:, 1:], b[1:])])
    near = int(1 / h)
    strain = (radial + 2 * tangential)[near] @ moved / 3 - theta[near] * delta
    return (3 * lame + 2 * mu)[near] * strain


@pytest.mark.parametrize("stiffer", [0.2, 1.0, 5.0])
def test_a_dilated_ball_of_another_stiffness_is_under_the_pressure_of_its_radial_equation(stiffer):
    grid, delta, width = Grid((48,) * 3, 1.0), 0.01, 0.7

    def share_at(r):
        return 0.5 * (1 + np.tanh((6 - r) / width))

    outer = 48 * (3 / 4 / math.pi) ** (1 / 3)
    sharp = pressure_within(lambda r: (r < 6) * 1.0, stiffer, delta, outer=60.0)
    k, mu = 200 / 1.2 * stiffer, 200 / 2.6
    assert sharp == pytest.approx(-3 * k * delta * 4 * mu / (3 * k + 4 * mu), rel=0.03)  # Eshelby
    c = isotropic(200.0, 0.3)
    _, model = both(grid, c, delta * ONE, change=(stiffer - 1) * c, tolerance=1e-4)
    found = float(model.stress(ball(grid, 6.0))[:3, 24, 24, 24].mean())
    assert found == pytest.approx(pressure_within(share_at, stiffer, delta, outer=outer), rel=0.01)


@pytest.mark.parametrize("normal", ["100", "111"])
@pytest.mark.parametrize("change", [0.0, -0.6, 9.0])
def test_a_laminate_is_solved_layer_by_layer(normal, change):
    """Traction and in-plane strains are the same in all layers, whatever their number."""
    axis = torch.tensor([1.0, 1.0, 1.0] if normal == "111" else [1.0, 0.0, 0.0])
    other = torch.tensor([0.0, 1.0, -1.0])
    turn = torch.linalg.qr(torch.stack([axis, other, torch.linalg.cross(axis, other)], 1).double())
    c = rotated(NICKEL, turn.Q.T)
    grid = Grid((65,), 1.0)
    u = random((1, 65))
    one, model = both(grid, c, SHEARED, change=change * c)
    mandel = by_mandel(c)
    out, within = [0, 4, 5], [1, 2, 3]
    wanted = u[0][:, None] * vector(SHEARED)
    stiffness = mandel * (1 + change * u[0])[:, None, None]

    def stress_of(plane):
        """With traction zero and one in-plane strain of all layers."""
        elastic = torch.zeros(65, 6, dtype=torch.float64)
        elastic[:, within] = plane - wanted[:, within]
        known = (stiffness @ elastic[..., None])[..., 0][:, out]
        corner = stiffness[:, out][:, :, out]
        elastic[:, out] = -torch.linalg.solve(corner, known[..., None])[..., 0]
        return (stiffness @ elastic[..., None])[..., 0]

    zero = torch.zeros(3, dtype=torch.float64)
    columns = [
        (stress_of(e) - stress_of(zero)).mean(0)[within] for e in torch.eye(3, dtype=torch.float64)
    ]
    plane = torch.linalg.solve(torch.stack(columns, 1), -stress_of(zero).mean(0)[within])
    expected = stress_of(plane).T / components(dict.fromkeys(COMPONENTS, 1.0))[:, None]
    scale = float(expected.abs().max())
    for each in (one, model) if change == 0 else (model,):
        torch.testing.assert_close(each.stress(u), expected, rtol=0, atol=1e-8 * scale)


def pfhub(cells, tolerance=1e-6):
    """The start of benchmark 4: a circle of 20 nm, the wall from 0.05 to 0.95 within 5 nm."""
    grid = Grid((cells, cells), 400.0 / cells)
    x, y = grid.cell_centres()
    r = ((x - 200) ** 2 + (y - 200) ** 2).sqrt()
    eta = 0.5 * (1 - torch.tanh(2 * math.atanh(0.9) * (r - 20) / 5))
    strain = torch.diag(torch.tensor([0.005, 0.005, 0.0], dtype=torch.float64))
    c = cubic(250.0, 150.0, 100.0)
    models = both(grid, c, strain, SMOOTH, 0.1 * c, "plane strain", tolerance)
    return [float(m.respond(eta[None]).energy) * grid.cell_volume for m in models]


def test_pfhub_4_begins_with_the_elastic_energy_of_an_independent_calculation():
    equal, stiffer = pfhub(400)
    assert equal == pytest.approx(3.0820, abs=1e-4)
    assert stiffer == pytest.approx(3.1584, abs=1e-4)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("shape", [(16,), (12, 9), (8, 6, 5)])
def test_both_solvers_agree_where_moduli_do(shape, control):
    grid, u = Grid(shape, 0.7), random((1, *shape))
    one, other = both(grid, NICKEL, SHEARED, SMOOTH, control=control)
    found, expected = other.respond(u), one.respond(u)
    torch.testing.assert_close(found.force, expected.force, rtol=1e-9, atol=1e-12)
    assert float(found.energy) == pytest.approx(float(expected.energy), rel=1e-10)
    torch.testing.assert_close(other.stress(u), one.stress(u), rtol=1e-8, atol=1e-10)


def turned_about(x, z):
    """Nickel with its axes turned about x and then about z, radians."""
    a, b = (torch.tensor(angle, dtype=torch.float64) for angle in (x, z))
    first = torch.stack([ONE[0], ONE[1] * a.cos() + ONE[2] * a.sin(),
                         ONE[2] * a.cos() - ONE[1] * a.sin()])  # fmt: skip
    second = torch.stack([ONE[0] * b.cos() + ONE[1] * b.sin(),
                          ONE[1] * b.cos() - ONE[0] * b.sin(), ONE[2]])  # fmt: skip
    return rotated(NICKEL, second @ first)


def coupled(i, j):
    """Nickel with one modulus more."""
    c = NICKEL.clone()
    c[i, j] = c[j, i] = 20.0
    return c


@pytest.mark.parametrize("crystal", [turned_about(0.4, 0.3), coupled(2, 3), coupled(1, 4)])
@pytest.mark.parametrize("control", [*CONTROLS, "plane strain"])
def test_both_solvers_agree_in_a_plane_that_moves_out_of_itself(crystal, control):
    """Under a dilation: what shears along z are the moduli."""
    grid, u = Grid((10, 9), 0.7), random((1, 10, 9))
    one, other = both(grid, crystal, 0.01 * ONE, control=control)
    stress = one.stress(u)
    assert float(stress[3:5].abs().max()) > 0.01
    torch.testing.assert_close(other.stress(u), stress, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("change", [0.0, 2.0])
def test_a_crystal_held_at_its_misfit_component_by_component_is_free_of_stress(change):
    held = {"xx": 0.01, "yy": 0.005, "zz": 0.003, "yz": -0.001, "xz": 0.0015, "xy": 0.002}
    strain = torch.tensor(
        [[0.01, 0.002, 0.0015], [0.002, 0.005, -0.001], [0.0015, -0.001, 0.003]],
        dtype=torch.float64,
    )
    grid, u = Grid((4, 4, 4), 1.0), torch.ones(1, 4, 4, 4).double()
    misfits, contrasts = (Misfit(LINEAR, strain),), (Contrast(LINEAR, change * NICKEL),)
    for model in (
        HomogeneousElasticity(grid, NICKEL, misfits, held),
        InhomogeneousElasticity(grid, NICKEL, misfits, contrasts, held),
    ):
        assert float(model.stress(u).abs().max()) < 1e-12
        assert float(model.respond(u).energy) == pytest.approx(0, abs=1e-14)


def test_misfits_of_the_same_share_add_up():
    grid, u = Grid((7, 6, 5), 0.7), random((1, 7, 6, 5))
    first = torch.diag(torch.tensor([0.02, -0.01, 0.0], dtype=torch.float64))
    two = (Misfit(SMOOTH, first), Misfit(SMOOTH, SHEARED - first))
    contrasts = (Contrast(SMOOTH, NICKEL),)
    for whole, parted in (
        (
            HomogeneousElasticity(grid, NICKEL, (Misfit(SMOOTH, SHEARED),)),
            HomogeneousElasticity(grid, NICKEL, two),
        ),
        (
            InhomogeneousElasticity(
                grid, NICKEL, (Misfit(SMOOTH, SHEARED),), contrasts, tolerance=1e-10
            ),
            InhomogeneousElasticity(grid, NICKEL, two, contrasts, tolerance=1e-10),
        ),
    ):
        found, expected = parted.respond(u), whole.respond(u)
        torch.testing.assert_close(found.force, expected.force, rtol=1e-8, atol=1e-10)
        assert float(found.energy) == pytest.approx(float(expected.energy), rel=1e-10)
        torch.testing.assert_close(parted.tangent(u)(u), whole.tangent(u)(u), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("held", "applied"), [({"xx": 0.002}, {}), ({}, {"xx": 0.4})])
def test_layers_without_misfit_are_springs_in_series(held, applied):
    """σ along their normal is the same in all, and so is, sideways, their strain."""
    grid, u = Grid((33,), 1.0), random((1, 33))
    sides = {"yy": 0.0, "zz": 0.0}
    none = (Misfit(LINEAR, 0 * ONE),)
    model = InhomogeneousElasticity(
        grid, NICKEL, none, (Contrast(LINEAR, 3 * NICKEL),), held | sides, applied, 1e-9
    )
    softness = float((1 / (206.6 * (1 + 3 * u))).mean())
    stress = 0.4 if applied else 0.002 / softness
    work = 0.5 * stress**2 * softness * (-1 if applied else 1)
    assert model.stress(u)[0].tolist() == pytest.approx([stress] * 33, rel=1e-8)
    assert model.iterations < 30
    assert float(model.respond(u).energy) / 33 == pytest.approx(work, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_body_alike_everywhere_takes_the_strain_that_it_would_like(dtype):
    """Without a stress to measure errors by."""
    for shape in ((32,), (16, 16)):
        for value in (0.0, 0.37, 0.7160670161247253, 0.7890034317970276, 1.0):
            grid, u = Grid(shape, 1.0, dtype=dtype), torch.full((1, *shape), value, dtype=dtype)
            change = -0.3 * cubic(206.0, 100.0, 150.0)
            _, model = both(grid, NICKEL, SHEARED, SMOOTH, change, tolerance=1e-5)
            largest = float(model.stress(u).abs().max())
            assert largest < 100 * grid.epsilon * 0.01 * 206.6
            assert model.iterations < 12


def test_a_faint_wave_is_known_as_well_as_a_strong_one():
    """Their stresses are as their amplitudes, whatever misfit is common to all cells."""
    grid = Grid((32,), 1.0)
    wave = torch.cos(2 * math.pi * grid.cell_centres()[0] / 32)[None]
    found = {}
    for height in (1e-4, 1e-1):
        _, model = both(grid, NICKEL, 0.01 * ONE, change=0.5 * NICKEL, tolerance=1e-3)
        found[height] = model.stress(0.5 + height * wave)[1:3] / height
    scale = float(found[1e-1].abs().max())
    torch.testing.assert_close(found[1e-4], found[1e-1], rtol=0, atol=0.1 * scale)


def test_a_contrast_of_ten_converges_in_few_iterations():
    grid, u = Grid((24, 20, 16), 1.0), ball(Grid((24, 20, 16), 1.0), 6.0)
    _, model = both(grid, NICKEL, 0.01 * ONE, change=9 * NICKEL, tolerance=1e-6)
    model.respond(u)
    assert 5 < (first := model.iterations) < 30
    model.respond(u)
    assert model.iterations == 0
    model.respond(u + 1e-3 * random(u.shape))
    assert 0 < model.iterations < 20
    model.forget()
    model.respond(u)
    assert model.iterations == first


@pytest.mark.parametrize("control", ["free", "mixed"])
@pytest.mark.parametrize("change", [-0.9, 0.07, 9.0])
def test_energies_are_too_large_by_no_more_than_they_say(change, control):
    """Of the bound's parts one is met where all that is unbalanced shears: seven times is much."""
    grid = Grid((12, 10, 8), 1.0)
    u, settings = ball(grid, 3.0), (SMOOTH, change * NICKEL, control)
    exact = both(grid, NICKEL, SHEARED, *settings, tolerance=1e-12)[1].respond(u)
    for tolerance in (0.1, 1e-2, 1e-3, 1e-4):
        found = both(grid, NICKEL, SHEARED, *settings, tolerance=tolerance)[1].respond(u)
        excess = float(found.energy - exact.energy)
        assert 0 < excess <= found.error < 10 * excess
        assert found.error < 50 * tolerance**2 * abs(float(exact.energy))


def test_the_last_correction_asks_for_no_residual(monkeypatch):
    """Six transforms to begin with, and six of every correction but the last."""
    grid, count, transform = Grid((12, 10, 8), 1.0), 0, Grid.transform

    def counted(*arguments):
        nonlocal count
        count += 1
        return transform(*arguments)

    monkeypatch.setattr(Grid, "transform", counted)
    _, model = both(grid, NICKEL, SHEARED, change=0.07 * NICKEL, tolerance=1e-3)
    model.respond(ball(grid, 3.0))
    assert model.iterations == 2
    assert count == 12


def test_a_stress_applied_to_a_uniform_body_does_its_work():
    grid = Grid((4, 4), 1.0)
    applied = {"xx": 0.5, "xy": 0.2}
    model = HomogeneousElasticity(grid, NICKEL, (Misfit(LINEAR, 0.01 * ONE),), mean_stress=applied)
    s = components(applied)
    strain = torch.linalg.solve(by_mandel(NICKEL), s)
    nothing, all_of_it = torch.zeros(1, 4, 4).double(), torch.ones(1, 4, 4).double()
    bare = float(model.respond(nothing).energy) / 16
    assert bare == pytest.approx(-0.5 * float(s @ strain), rel=1e-12)
    more = float(model.respond(all_of_it).energy) / 16 - bare
    assert more == pytest.approx(-0.01 * 0.5, rel=1e-12)
    stress = model.stress(nothing)[:, 0, 0]
    assert stress.tolist() == pytest.approx([0.5, 0, 0, 0, 0, 0.2], abs=1e-14)


def test_rotations_keep_energies():
    turn = torch.linalg.qr(torch.randn((3, 3), generator=torch.Generator().manual_seed(1)).double())
    turned = rotated(NICKEL, turn.Q)
    strain = turn.Q @ SHEARED @ turn.Q.T
    energies = [
        float(vector(e) @ by_mandel(c) @ vector(e))
        for c, e in ((NICKEL, SHEARED), (turned, strain))
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)
    quarter = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(rotated(NICKEL, quarter), NICKEL)


@pytest.mark.parametrize(("change", "message"), [
    ({"stiffness": cubic(200.0, 150.0, 90.0) - 300 * torch.eye(6).double()}, "positive definite"),
    ({"misfits": ()}, "`misfits` must hold at least one"),
    ({"stiffness": NICKEL + torch.ones(6, 6).double().triu(1)}, "must be symmetric and positive"),
    ({"misfits": (Misfit(LINEAR, 0.3 * ONE),)}, "`strain` must be a symmetric strain of at most"),
    ({"misfits": (Misfit(LINEAR, SHEARED.triu()),)}, "must be a symmetric strain of at most"),
    ({"misfits": (Misfit(LINEAR, SHEARED), Misfit(SMOOTH, ONE))}, "its largest entry is 1: a mis"),
    ({"grid": Grid((8, 8), 1.0, ("no-flux", "periodic"))}, "`grid` must be periodic"),
    ({"mean_strain": {"zx": 0.0}}, "`mean_strain` may have xx"),
    ({"mean_strain": {"xx": 0.0}, "mean_stress": {"xx": 1.0}}, "must not both be given"),
    ({"mean_stress": {"xx": math.nan}}, "`mean_stress` must be finite"),
])  # fmt: skip
def test_what_makes_no_sense_is_named(change, message):
    good = {
        "grid": Grid((8, 8), 1.0),
        "stiffness": NICKEL,
        "misfits": (Misfit(LINEAR, 0.01 * ONE),),
    }
    with pytest.raises(ValueError, match=message):
        HomogeneousElasticity(**(good | change))
    with pytest.raises(ValueError, match=message):
        InhomogeneousElasticity(**(good | change), contrasts=())


def test_unstable_constants_and_shares_are_named():
    with pytest.raises(ValueError, match="C₁₁ > "):
        cubic(100.0, 120.0, 50.0)
    with pytest.raises(ValueError, match=r"`stiffness \+ change` must be symmetric and positive"):
        both(Grid((8,), 1.0), NICKEL, 0.01 * ONE, change=-1.2 * NICKEL)
    _, model = both(Grid((8,), 1.0), NICKEL, 0.01 * ONE, change=9 * NICKEL)
    wild = torch.linspace(-3, 3, 8).double()[None]
    with pytest.raises(NoEquilibrium, match="no mechanical equilibrium"):
        model.stress(wild)


def test_fields_without_equilibrium_leave_no_trace_in_the_next_ones():
    _, model = both(Grid((8,), 1.0), NICKEL, 0.01 * ONE, change=9 * NICKEL)
    u = random((1, 8))
    expected = model.respond(u).force
    for bad in (torch.linspace(-3, 3, 8).double()[None], torch.full_like(u, math.nan)):
        assert model.respond(bad).force.isnan().all()
        torch.testing.assert_close(model.respond(u).force, expected, rtol=1e-9, atol=1e-12)
