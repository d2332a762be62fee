"""Interfaces, particles and structure factors against figures known in closed form."""

import itertools
import math

import numpy as np
import pytest
import torch

from phasefield.grid import Grid
from phasefield.interfaces import WEIGHTS, boundary_areas
from phasefield.measurement import measure
from phasefield.observe import L12_SIGNS, AboveThreshold, L12Variants
from phasefield.particles import find_particles
from phasefield.structure_factor import structure_factor

SPACING = 0.5


def centres(shape):
    return np.meshgrid(*[np.arange(n) + 0.5 for n in shape], indexing="ij")


def ball(shape, centre, radius):
    """1 inside, lengths in cells; boundaries are periodic."""
    square = sum(
        ((x - c + n / 2) % n - n / 2) ** 2
        for x, c, n in zip(centres(shape), centre, shape, strict=True)
    )
    return (square < radius**2).astype(np.int64)


def interface(phases, boundaries=(), count=2):
    return boundary_areas(Grid(phases.shape, SPACING, boundaries), phases, count)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_a_circle_of_20_cells_has_its_circumference_to_one_percent(shift):
    length = interface(ball((60, 64), (30 + shift, 31), 20))[0, 1]
    assert length == pytest.approx(2 * math.pi * 20 * SPACING, rel=0.01)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_a_sphere_of_12_cells_has_its_area_to_one_percent(shift):
    area = interface(ball((32, 30, 31), (15 + shift, 15, 15), 12))[0, 1]
    assert area == pytest.approx(4 * math.pi * 12**2 * SPACING**2, rel=0.01)


def test_planes_of_any_tilt_have_their_area_to_one_and_a_half_percent():
    for waves in itertools.product(range(-3, 4), repeat=2):
        check_stripes(np.array(waves), 96)
    for waves in itertools.product((-2, 0, 1, 3), repeat=3):
        check_stripes(np.array(waves), 36)


def check_stripes(waves, n):
    """Two planes a period, normal to `waves`, in a periodic box."""
    if not waves.any():
        return
    shape = (n,) * len(waves)
    phase = sum(w * x for w, x in zip(waves, centres(shape), strict=True)) / n + 0.137
    found = interface((phase % 1 < 0.5).astype(np.int64))[0, 1]
    dimensions = len(waves)
    exact = 2 * np.linalg.norm(waves) * (n * SPACING) ** (dimensions - 1)
    assert found == pytest.approx(exact, rel=0.015), waves


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_weights_give_every_plane_its_area_to_1_5_percent_and_exactly_on_average(dimensions):
    steps = {
        tuple(s * x for s, x in zip(signs, order, strict=True)): weight / 2
        for step, weight in WEIGHTS[dimensions].items()
        for order in itertools.permutations(step)
        for signs in itertools.product((1, -1), repeat=dimensions)
    }
    vectors, weights = np.array(list(steps), float), np.array(list(steps.values()))
    mean_cosine = {2: 2 / math.pi, 3: 1 / 2}[dimensions]
    average = (weights * np.linalg.norm(vectors, axis=1)).sum() * mean_cosine
    assert average == pytest.approx(1, abs=1e-6)
    normals = np.random.default_rng(1).normal(size=(20_000, dimensions))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert np.abs(np.abs(normals @ vectors.T) @ weights - 1).max() < 0.015


def test_a_flat_interface_that_meets_walls_counts_once_and_walls_not_at_all():
    phases = (centres((20, 16))[0] < 7).astype(np.int64)
    walled = interface(phases, ("no-flux", "no-flux"))[0, 1]
    periodic = interface(phases)[0, 1]
    assert walled == pytest.approx(16 * SPACING, rel=0.015)
    assert periodic == pytest.approx(2 * 16 * SPACING, rel=0.015)


def test_a_quarter_circle_in_the_corner_of_two_walls_is_a_quarter():
    """Walls are mirrors, at either end."""
    for corner in itertools.product((0, 40), repeat=2):
        x, y = centres((40, 40))
        quarter = (np.hypot(x - corner[0], y - corner[1]) < 20).astype(np.int64)
        found = interface(quarter, ("no-flux", "no-flux"))[0, 1]
        whole = interface(ball((80, 80), (40, 40), 20))[0, 1]
        assert found == pytest.approx(whole / 4, rel=1e-12)


def test_areas_are_told_apart_by_the_phases_they_part():
    """Slabs 0 | 1 | 2 along x: three different boundaries, each as large as the others."""
    phases = (centres((30, 12))[0] // 10).astype(np.int64)
    areas = interface(phases, count=4)
    assert np.array_equal(areas, areas.T)
    assert areas[3].tolist() == [0.0] * 4
    assert np.diag(areas).tolist() == [0.0] * 4
    np.testing.assert_allclose(areas[[0, 0, 1], [1, 2, 2]], 12 * SPACING, rtol=0.015)


def test_in_one_dimension_interfaces_are_counted():
    phases = np.array([0, 0, 1, 1, 1, 0, 0, 2, 2, 2])
    assert interface(phases, count=3)[0].tolist() == [0, 2, 2]
    assert interface(phases, ("no-flux",), count=3)[0].tolist() == [0, 2, 1]


def particles(phases, boundaries=(), count=2):
    return find_particles(Grid(phases.shape, SPACING, boundaries), phases, count)


def test_two_variants_that_touch_are_two_particles():
    phases = np.zeros((12, 12), np.int64)
    phases[3:6, 3:9], phases[6:9, 3:9] = 2, 3
    found = particles(phases, count=5)
    assert found.phase.tolist() == [2, 3]
    assert found.volume.tolist() == [18 * SPACING**2] * 2
    assert len(particles((phases > 0).astype(np.int64)).volume) == 1


def test_volume_up_to_the_equimolar_surface():
    """Two discs of c from 0.1 to 0.3 with tanh profiles; regions are taken larger than discs."""
    grid = Grid((80, 40), SPACING)
    x, y = grid.cell_centres()
    away = torch.stack([torch.hypot(x / SPACING - a, y / SPACING - 20) for a in (20, 60)])
    radii = torch.tensor([8.0, 12.0], dtype=torch.float64)[:, None, None]
    share = (0.5 * (1 - torch.tanh((away - radii) / 1.5))).sum(0)
    regions = (away < radii + 7).any(0).numpy().astype(np.int64)
    found = find_particles(grid, regions, 2, share.numpy())
    # Gibbs's surface of ½(1 − tanh) in two dimensions: r² + (π²/12)(1.5)²
    wanted = np.pi * (np.array([64.0, 144.0]) + np.pi**2 / 12 * 1.5**2) * SPACING**2
    np.testing.assert_allclose(np.sort(found.volume), wanted, rtol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_particle_across_a_boundary_is_one_if_periodic_and_two_if_walled(axis):
    centre = [6.0] * 3
    centre[axis] = 0.5
    phases = ball((12, 12, 12), centre, 4)
    walls = tuple("no-flux" if a == axis else "periodic" for a in range(3))
    whole, parts = particles(phases), particles(phases, walls)
    assert whole.volume.tolist() == [phases.sum() * SPACING**3]
    assert len(parts.volume) == 2
    assert parts.volume.sum() == pytest.approx(whole.volume.sum())


def test_a_particle_in_the_corner_of_a_periodic_box_is_one():
    assert len(particles(ball((12, 12, 12), (0, 0, 0), 4)).volume) == 1


def test_different_variants_that_meet_through_a_boundary_stay_two():
    phases = np.zeros(10, np.int64)
    phases[:2], phases[-2:] = 1, 2
    assert particles(phases, count=3).phase.tolist() == [1, 2]


@pytest.mark.parametrize(("dimensions", "size"), [(1, 40), (2, 60), (3, 40)])
def test_a_ball_has_its_own_radius(dimensions, size):
    found = particles(ball((size,) * dimensions, (size / 2,) * dimensions, 15))
    assert found.mean_radius == pytest.approx(15 * SPACING, rel=0.01)


def test_without_particles_there_is_no_mean_radius():
    found = particles(np.zeros((6, 6), np.int64))
    assert len(found.volume) == 0
    assert math.isnan(found.mean_radius)


@pytest.mark.parametrize("waves", [(3,), (3, 4), (2, 3, 6)])
def test_a_plane_wave_has_all_its_variance_at_its_wave_number(waves):
    """a cos(k·r) has variance a²/2 and characteristic length 2π/k."""
    grid = Grid((16,) * len(waves), SPACING)
    k = 2 * math.pi * math.hypot(*waves) / (16 * SPACING)
    phase = sum(
        2 * math.pi * w * x / (16 * SPACING)
        for w, x in zip(waves, grid.cell_centres(), strict=True)
    )
    found = structure_factor(grid, 0.4 + 0.03 * torch.cos(torch.as_tensor(phase)))
    shell = int(found.value.argmax())
    assert found.wave_number[shell] == pytest.approx(k, rel=0.1)
    assert found.value[shell] * found.mode_density[shell] == pytest.approx(0.03**2 / 2)
    assert found.mean_wave_number == pytest.approx(found.wave_number[shell])
    assert found.characteristic_length == pytest.approx(2 * math.pi / k, rel=0.1)


@pytest.mark.parametrize("shape", [(17,), (16, 12), (9, 8, 10)])
@pytest.mark.parametrize("kind", ["periodic", "no-flux", "mixed"])
def test_the_structure_factor_adds_up_to_the_variance(shape, kind):
    every = itertools.cycle(("no-flux", "periodic") if kind == "mixed" else (kind,))
    grid = Grid(shape, SPACING, tuple(itertools.islice(every, len(shape))))
    u = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 3
    found = structure_factor(grid, u)
    assert (found.value * found.mode_density).sum() == pytest.approx(float(u.var(correction=0)))
    assert (np.diff(found.wave_number) > 0).all()


@pytest.mark.parametrize("boundaries", [(), ("no-flux", "no-flux"), ("no-flux", "periodic")])
def test_white_noise_has_the_same_structure_factor_in_every_box_and_at_every_k(boundaries):
    """S = hᵈσ², whatever the size; n numbers give it to √(2/n), of which four are allowed."""
    for shape in ((96, 96), (128, 64)):
        grid = Grid(shape, SPACING, boundaries)
        u = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        found = structure_factor(grid, u)
        low = found.wave_number < 2
        for shells in (low, ~low):
            density = found.mode_density[shells]
            mean = (found.value[shells] * density).sum() / density.sum()
            error = math.sqrt(2 / (density.sum() * grid.cells * grid.cell_volume))
            assert mean == pytest.approx(SPACING**2, rel=4 * error)


def test_a_field_that_is_uniform_to_rounding_has_no_length():
    noise = torch.randn(12, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = structure_factor(Grid((12, 10), SPACING), 0.3 + 1e-16 * noise)
    assert found.value.sum() == 0
    assert math.isnan(found.characteristic_length)


def test_a_measurement_holds_extremes_shares_and_every_variant():
    """Two particles of different variants in a matrix of 24 × 20 cells."""
    grid = Grid((24, 20), SPACING)
    u = torch.zeros(4, 24, 20, dtype=torch.float64)
    u[0] = 0.1
    for variant, columns in ((1, slice(2, 8)), (3, slice(12, 18))):
        u[0, 4:10, columns] = 0.24
        u[1:, 4:10, columns] = 0.2 * L12_SIGNS[variant].double()[:, None, None]
    found = measure(grid, u, L12Variants(0.1))
    assert found.minima == pytest.approx((0.1, -0.2, -0.2, -0.2))
    assert found.maxima == pytest.approx((0.24, 0.2, 0.2, 0.0))
    assert found.shares == pytest.approx((1 - 72 / 480, 0, 36 / 480, 0, 36 / 480))
    assert found.particles.phase.tolist() == [2, 4]
    assert found.boundary_areas[0, 2] == found.boundary_areas[0, 4] > 0
    assert found.boundary_areas[2, 4] == 0
    assert found.interface_area == pytest.approx(2 * found.boundary_areas[0, 2])
    assert found.structure.characteristic_length > 0


def test_float32_fields_are_measured_alike():
    grid = [Grid((24, 20), SPACING, dtype=dtype) for dtype in (torch.float64, torch.float32)]
    x, y = grid[0].cell_centres()
    u = (0.5 + 0.2 * torch.sin(1.1 * x) * torch.cos(0.7 * y))[None]
    double, single = (measure(g, u.to(g.dtype), AboveThreshold(0.55)) for g in grid)
    assert double.interface_area == single.interface_area
    np.testing.assert_allclose(single.structure.value[:9], double.structure.value[:9], rtol=1e-4)


def test_fields_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"`u` must hold fields on \(8, 8\) cells; its shape is"):
        measure(Grid((8, 8), 1.0), torch.zeros(1, 8, 9), AboveThreshold(0.5))
