"""What a thin interface must do: Gibbs–Thomson, exchange between two particles, coarsening.

All lengths are in units of δ of the flat profile c = ½(1 + tanh x/δ), f = c²(1 − c)², κ = ½δ².
"""

import math
import sys
from pathlib import Path

import pytest
import torch

from phasefield.adaptive import StepControl
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import InMemory, solve

sys.path.append(str(Path(__file__).parents[2] / "examples/benchmarks"))

from coarsening import droplets, growth

KAPPA = 0.5
SIGMA = math.sqrt(2 * KAPPA) / 6
"""∫ κ c′² dx of the flat profile."""


def quarter(shape, spacing):
    """Between walls, which mirror a ball about a corner."""
    grid = Grid(shape, spacing, ("no-flux",) * len(shape))
    field = OrderField("c", True, 1.0, KAPPA)
    return GradientFlow(grid, double_well(1.0, 0.0, 1.0), (field,))


def diffusion_potential(model, u):
    """μ = f′ − κ∇²c on the cells."""
    grid = model.grid
    return (model.force(u) + grid.inverse(KAPPA * grid.k2 * grid.transform(u)))[0]


def bulk(mu, c):
    """The solution of f′(c) = μ next to `c`, by Newton's iteration."""
    for _ in range(20):
        c -= (2 * c * (1 - c) * (1 - 2 * c) - mu) / (2 - 12 * c + 12 * c * c)
    return c


def ball_at_rest(dimensions, radius, spacing):
    """μ and the equimolar radius R: cells of the bulk values inside and out hold the whole mass."""
    model = quarter((round(2.5 * radius / spacing),) * dimensions, spacing)
    distance = torch.stack(model.grid.cell_centres()).square().sum(0).sqrt()
    guess = 0.5 * (1 - torch.tanh(distance - radius)) + (dimensions - 1) * SIGMA / radius / 2
    control = StepControl(tolerance=1e-4, steady=1e-7)
    u = solve(model, guess[None], [1e6], control=control).u
    mu = diffusion_potential(model, u)
    low, high = bulk(float(mu.mean()), 0.0), bulk(float(mu.mean()), 1.0)
    box = (model.grid.shape[0] * spacing) ** dimensions
    volume = 2**dimensions * box * (float(u.mean()) - low) / (high - low)
    unit_ball = {2: math.pi, 3: 4 * math.pi / 3}[dimensions]
    return mu, (volume / unit_ball) ** (1 / dimensions)


@pytest.mark.parametrize(
    ("dimensions", "spacing", "radii", "rest"),
    [(2, 0.4, (4, 8, 16), 0.3001), (3, 0.5, (4, 8), 0.0555)],
)
def test_a_ball_at_rest_has_the_potential_of_gibbs_and_thomson(dimensions, spacing, radii, rest):
    """μ = (d − 1)σ/(R Δc) [1 + `rest` δ²/R² + O(δ⁴/R⁴)].

    Exactly, μ(c_in − c_out) = (d − 1)∫κc′²/r dr + f(c_in) − f(c_out). In a symmetric well the
    correction to the profile of order 1/R is even about the interface, so that the integral is
    σ/R and the rest zero but for terms of order 1/R². Those were found with scipy's solver of
    boundary-value problems along r, which also gives 0.46/R⁴ and 0.36/R⁴ as the next ones.
    """
    for radius in radii:
        mu, found = ball_at_rest(dimensions, radius, spacing)
        torch.testing.assert_close(mu, mu.mean().expand_as(mu), rtol=0, atol=1e-6)
        deviation = float(mu.mean()) * found / ((dimensions - 1) * SIGMA) - 1
        assert deviation * found**2 == pytest.approx(rest, abs=0.5 / found**2)


def resistance(radii, length, width):
    """Of a medium of mobility 1 between two small discs, times 2π.

    They lie a `length` apart in a cell of 2 `length` × `width` that repeats: each is one of a line
    of discs of one sign, whose potential is ln|2 sinh(πz/width)|; lines alternate in sign.
    """
    ratio = math.pi * length / width
    images = sum((-1) ** m * math.log1p(-math.exp(-2 * m * ratio)) for m in range(1, 30))
    return ratio - 4 * images - sum(math.log(2 * math.pi * r / width) for r in radii)


def exchanged(radius):
    """Area that discs of R and 4R/3 exchange, against that by quasi-static diffusion.

    dA/dt = ∓2πMσ/Δc² (1/R₁ − 1/R₂)/`resistance`, plus what the matrix takes up of both alike.
    """
    length, height, spacing = 16 / 3 * radius, 4 * radius, 0.5
    model = quarter((round(length / spacing), round(height / spacing)), spacing)
    x, y = model.grid.cell_centres()
    u0 = torch.full_like(x, SIGMA * 7 / 16 / radius)
    for distance, size in (
        (torch.hypot(x, y), radius),
        (torch.hypot(length - x, y), radius * 4 / 3),
    ):
        u0 += 0.5 * (1 - torch.tanh(distance - size))
    start, scale = 200 * (radius / 6) ** 2, (radius / 6) ** 3
    times = [start + 30 * scale * i for i in range(9)]
    memory = InMemory()
    solve(model, u0[None], times, control=StepControl(tolerance=1e-5), recorder=memory)
    rates, differences = [], []
    for record in memory.records[1:]:
        # Both phases are richer by μ/f″ than at the tangent.
        ordered = (record.u[0] - diffusion_potential(model, record.u) / 2).sum(1) * 4 * spacing**2
        areas = [float(half.sum()) for half in ordered.chunk(2)]
        small, large = (math.sqrt(area / math.pi) for area in areas)
        drive = 2 * math.pi * SIGMA * (1 / small - 1 / large)
        rates.append(2 * drive / resistance((small, large), length, 2 * height))
        differences.append(areas[1] - areas[0])
    expected = torch.trapezoid(torch.tensor(rates), torch.tensor(times))
    return (differences[-1] - differences[0]) / float(expected)


@pytest.mark.parametrize(
    ("radius", "tolerance"), [(6, 0.03), pytest.param(12, 0.005, marks=pytest.mark.slow)]
)
def test_two_discs_exchange_matter_at_the_rate_of_diffusion_between_them(radius, tolerance):
    """To first order in δ/R, by which the matrix lags behind; R and 2R tell what is left."""
    coarse, fine = exchanged(radius), exchanged(2 * radius)
    assert math.log2((coarse - 1) / (fine - 1)) == pytest.approx(1, abs=0.3)
    assert 2 * fine - coarse == pytest.approx(1, abs=tolerance)


@pytest.mark.slow
def test_droplets_that_coarsen_by_diffusion_grow_as_the_cube_root_of_time():
    """Three of the boxes of `examples/benchmarks/coarsening.py`, which finds 0.34 ± 0.01 with six.

    0.06, three standard errors, tell a third from a quarter and from a half.
    """
    times = [500.0 * 20 ** (i / 12) for i in range(13)]
    runs = [droplets(seed, 256, times) for seed in (1, 2, 3)]
    numbers, _ = growth(times, [run["radius"] for run in runs])
    assert numbers["n"] == pytest.approx(1 / 3, abs=0.06)
