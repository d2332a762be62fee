"""The sharp-interface referee of `examples/benchmarks`: Green's function, single balls, LSW."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "examples/benchmarks"))
from ostwald import Alloy, balanced, green, ripen

ALLOY = Alloy(diffusivity=50.0, capillary=5e-3, gap=0.1)


def test_greens_function_has_madelungs_constant_and_mean_zero():
    """Of caesium chloride, referred to the distance of neighbours; a grid sums to its self term."""
    g = green(np.array([[0.0, 0, 0], [1, 1, 1]]), 2.0)
    assert (g[0, 1] - g[0, 0]) * math.sqrt(3) == pytest.approx(1.76267477, abs=1e-7)
    n = 4
    points = np.stack(np.meshgrid(*[np.arange(n) * 2.0 / n] * 3, indexing="ij"), -1).reshape(-1, 3)
    row = green(points, 2.0)[0]
    # A sublattice of sources is one source in a smaller box.
    assert row.sum() == pytest.approx(n * row[0], abs=1e-7)


def test_a_ball_in_a_large_box_grows_as_zeners():
    """d(r²)/dt = 2D(w̄ − Γ/r)/(c′ − c) of one small ball in a supersaturated matrix."""
    w, edge, start = 0.01, 1e4, 5.0
    (end,) = ripen(ALLOY, np.zeros((1, 3)), np.array([start]), edge, [0.5], supersaturation=w)
    rate = 2 * ALLOY.diffusivity / ALLOY.gap
    low, high = (math.sqrt(start**2 + rate * (w - ALLOY.capillary / r) * 0.5) for r in (5.0, 7.0))
    assert low < end[0] < high
    assert high - low < 0.1


def test_solute_goes_from_small_balls_to_large_ones_and_none_is_lost():
    random = np.random.default_rng(1)
    edge, radii = 80.0, np.array([8.0, 7.0, 6.0, 5.0])
    centres = random.random((4, 3)) * 10 + np.array([[0, 0, 0], [40, 0, 0], [0, 40, 0], [0, 0, 40]])
    early, late = ripen(ALLOY, centres, radii, edge, [5.0, 200.0])
    assert early[0] > early[1] > early[2] > early[3]
    assert len(late) < 4
    content = [4 * np.pi / 3 * (r**3).sum() for r in (radii, late)]
    w = ALLOY.gap * (content[0] - content[1]) / (edge**3 - content[1])
    assert 0 < w < ALLOY.capillary / late.min()  # between what balls of these sizes keep


def test_balls_in_balance_exchange_solute_and_keep_their_volume():
    centres, radii = np.array([[0.0, 0, 0], [20, 20, 20]]), np.array([8.0, 6.0])
    w = balanced(ALLOY, centres, radii, 40.0)
    assert ALLOY.capillary / 8 < w < ALLOY.capillary / 6
    (end,) = ripen(ALLOY, centres, radii, 40.0, [1e-3], supersaturation=w)
    gained, lost = end**3 - radii**3
    assert gained > 0
    assert gained + lost == pytest.approx(0, abs=1e-3 * gained)


def test_dilute_balls_coarsen_as_lifshitz_slyozov_and_wagner_say():
    """Where the matrix holds far less than the balls, which asks for a short capillary length."""
    alloy, count = Alloy(diffusivity=5e7, capillary=5e-9, gap=0.1), 250
    random = np.random.default_rng(0)
    radii = 7 * np.clip(random.normal(1, 0.22, count), 0.4, 1.5)
    edge = (4 * np.pi / 3 * (radii**3).sum() / 1e-6) ** (1 / 3)
    times = np.linspace(0, 8 * 343 / alloy.lsw_rate, 25)[1:]
    found = ripen(
        alloy, random.random((count, 3)) * edge, radii, edge, times.tolist(),
        supersaturation=alloy.capillary / float(radii.mean()),
    )  # fmt: skip
    left = np.array([len(r) for r in found]) / count
    chosen = (left < 0.5) & (left > 0.1)
    mean = np.array([r.mean() for r in found])[chosen]
    rate = np.polyfit(times[chosen], mean**3, 1)[0]
    assert rate / alloy.lsw_rate == pytest.approx(1, abs=0.15)
