"""No well that a fine grid shows is missed, whatever its free energy, nor one made up."""

import math
from itertools import permutations, product

import pytest
import torch
from references import DupinNickelAluminium
from scipy.optimize import minimize

from idnn.descent import climb, minimise, minimise_at
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential, hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.screen import grid_of, screen
from idnn.wells import wells

LEVELS = 33
"""Per sublattice; the search itself has 21."""


def untrained(seed, factor, *, widths=(24, 24), temperature=1000.0):
    """A random network with its weights multiplied: several wells in odd places."""
    settings = NetworkSettings(widths=widths)
    network = IntegrableNetwork(FCC_L12, temperature, settings, seeds=(seed,))
    for weight in network.requires_grad_(False).weights:
        weight.mul_(factor)
    return network


def bragg_williams(*interaction, temperature=1000.0):
    v = torch.tensor(interaction, dtype=torch.float64)
    return BraggWilliams(IdealMixing(FCC_L12.q, temperature), v)


CASES = {
    "dupin, 600 K": (DupinNickelAluminium(600.0), -1.3),
    "dupin, 973 K": (DupinNickelAluminium(973.0), -1.45),
    "dupin, 1273 K": (DupinNickelAluminium(1273.0), -0.2487),
    "attraction and ordering": (bragg_williams(-0.3, -0.4, -0.4, -0.4), -0.3),
    "several wells": (untrained(7, 3.0), -0.054),
    # A basin 1e-4 eV deep on the disordered line, next to a deep one.
    "a shallow disordered well": (untrained(6, 3.0), -0.167),
    "one that the grid does not show": (untrained(135, 2.5, temperature=600.0), 0.046344),
    # Missed by a grid of 11 levels.
    "a narrow well on an edge": (untrained(127, 3.5, temperature=600.0), 1.683),
    # f is finite at the walls and its slope presses four of its wells into corners.
    "corners": (untrained(107, 5.0, widths=(32, 32, 32), temperature=600.0), 3.192),
    "an ordered well": (untrained(3, 3.0), 0.143),
}


@pytest.fixture(scope="module")
def fine_grid():
    """Sorted site fractions on equal angles of arcsin √x, and their place on the full grid."""
    levels = torch.combinations(torch.arange(LEVELS), 4, with_replacement=True)
    place = torch.empty((LEVELS,) * 4, dtype=torch.int64)
    for p in permutations(range(4)):
        place[tuple(levels[:, p].T)] = torch.arange(len(levels))
    angle = torch.linspace(0, math.pi / 2, LEVELS, dtype=torch.float64)
    return levels, place, angle.sin().square().clamp(1e-9, 1 - 1e-9)[levels]


@pytest.mark.parametrize("name", CASES)
def test_every_well_of_a_fine_grid_is_found(name, fine_grid):
    f, mu = CASES[name]
    found = [w.eta for w in wells(f, FCC_L12, mu)]
    expected = minima(f, mu, fine_grid)
    assert len(expected) > 0
    for eta in expected:
        assert nearest(eta, found) < 1e-4
    # Two that the search tells apart are not images of each other.
    for i, eta in enumerate(found):
        assert nearest(eta, found[:i]) > 1e-4


def nearest(eta, others):
    images = FCC_L12.images(eta)
    return min([float((images - o).abs().amax(-1).min()) for o in others], default=math.inf)


def minima(f, mu, fine_grid):
    """Points lower than all 80 neighbours, each polished by L-BFGS-B within the cube."""
    levels, place, x = fine_grid
    eta = FCC_L12.order_parameters(x)
    with torch.no_grad():
        omega = torch.cat([f(part) for part in eta.split(8192)]) - mu * eta[:, 0]
    padded = torch.full((LEVELS + 2,) * 4, torch.inf, dtype=torch.float64)
    padded[1:-1, 1:-1, 1:-1, 1:-1] = omega[place]
    lowest = torch.ones(len(levels), dtype=torch.bool)
    for step in product((-1, 0, 1), repeat=4):
        lowest &= omega <= padded[tuple((levels + 1 + torch.tensor(step)).T)]
    distinct = []
    for start in x[lowest]:
        polished = polish(f, mu, start)
        if is_minimum(f, polished) and nearest(polished, distinct) > 1e-4:
            distinct.append(polished)
    return distinct


def polish(f, mu, start):
    def omega_and_slope(x):
        eta = FCC_L12.order_parameters(torch.from_numpy(x)).requires_grad_()
        omega = f(eta) - mu * eta[0]
        (slope,) = torch.autograd.grad(omega, eta)
        return float(omega.detach()), (slope @ FCC_L12.q).numpy()

    options = {"ftol": 1e-16, "gtol": 1e-10, "maxiter": 1000}
    bounds = [(1e-9, 1 - 1e-9)] * 4
    best = minimize(omega_and_slope, start.numpy(), jac=True, bounds=bounds, options=options)
    return FCC_L12.order_parameters(torch.from_numpy(best.x))


def is_minimum(f, eta):
    """Stable in the fractions that no wall holds: polishing may end on a symmetric saddle."""
    x = FCC_L12.site_fractions(eta)
    free = (x > 1e-7) & (x < 1 - 1e-7)
    by_site = (FCC_L12.q.T @ hessian(f, eta[None])[0] @ FCC_L12.q)[free][:, free]
    return not free.any() or bool(torch.linalg.eigvalsh(by_site).min() > 0)


def test_the_screen_gives_the_minima_of_every_mu_from_one_evaluation():
    f = bragg_williams(-0.3, -0.4, -0.4, -0.4)
    on_grid = screen(f, FCC_L12, (0.0, 1.0))
    grid = grid_of(FCC_L12)
    points = len(grid.point.unique())
    mu = torch.tensor([-0.5, -0.3], dtype=torch.float64)
    for value, minimum in zip(mu.tolist(), on_grid.minima(mu), strict=True):
        omega = (on_grid.value - value * grid.eta[:, 0])[grid.point]
        lowest = torch.ones_like(omega, dtype=torch.bool)
        for axis in range(4):
            n = omega.shape[axis]
            lower = omega.diff(dim=axis)
            lowest.narrow(axis, 0, n - 1).logical_and_(lower >= -1e-15)
            lowest.narrow(axis, 1, n - 1).logical_and_(lower <= 1e-15)
        expected = grid.point[lowest].unique()
        torch.testing.assert_close(minimum[:points].nonzero()[:, 0], expected)


def test_a_minimum_at_fixed_composition_keeps_it_and_levels_the_order():
    f = DupinNickelAluminium(1273.0)
    x = torch.tensor([[0.1, 0.1, 0.1, 0.9], [0.3, 0.2, 0.1, 0.1]], dtype=torch.float64)
    composition = torch.tensor([0.24, 0.15], dtype=torch.float64)
    eta, mu, done = minimise_at(f, FCC_L12, FCC_L12.order_parameters(x), composition)
    assert done.all()
    torch.testing.assert_close(eta[:, 0], composition, rtol=0, atol=1e-12)
    slope = chemical_potential(f, eta)
    torch.testing.assert_close(slope[:, 1:], torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(slope[:, 0], mu, rtol=0, atol=1e-8)
    names = [FCC_L12.phase_name(e) for e in eta]
    assert names == ["L1_2", "A1"]


def test_a_climb_ends_on_a_saddle_of_index_one_or_says_that_it_did_not():
    f = bragg_williams(-2.6 * 0.08617333262, 0.0, 0.0, 0.0)
    start = torch.tensor([[0.45, 0.0, 0.0, 0.0], [0.04, 0.0, 0.0, 0.0]], dtype=torch.float64)
    mu = torch.full((2,), -2.6 * 0.08617333262, dtype=torch.float64)
    eta, found = climb(f, FCC_L12, start, mu)
    assert bool(found[0])
    torch.testing.assert_close(eta[0], torch.tensor([0.5, 0.0, 0.0, 0.0], dtype=torch.float64))
    stationary = minimise(f, FCC_L12, start[1:], mu[1:])[0]
    assert not (bool(found[1]) and float((eta[1] - stationary[0]).abs().max()) < 1e-3)
