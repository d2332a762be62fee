"""Candidates: draws over the polytope, along lines to order, about a tie-line."""

import numpy as np
import pytest
import torch

from idnn.equilibrium import TieLine
from idnn.order_parameters import FCC_L12
from idnn.wells import Well
from sampling import candidates

RANGE = (0.02, 0.30)
WIDEST = candidates.SCATTER[1]


def tie_line(left, right, order=0.2):
    def well(x, order):
        eta = torch.tensor([x, order, order, order], dtype=torch.float64)
        return Well("A1" if order == 0 else "L1_2", eta, 0.0, -1.0, 0.1)

    return TieLine(well(left, 0.0), well(right, order))


def fractions(eta):
    return FCC_L12.site_fractions(eta)


@pytest.mark.parametrize("composition", [RANGE, (0.0, 0.02), (0.4, 0.6), (0.97, 1.0)])
def test_spread_points_are_admissible_and_within_the_range(composition):
    eta = candidates.spread_over(FCC_L12, composition, 300, seed=1)
    x = fractions(eta)
    assert eta.shape == (300, 4)
    assert float(x.min()) >= candidates.MARGIN - 1e-12
    assert float(x.max()) <= 1 - candidates.MARGIN + 1e-12
    low, high = composition
    assert ((eta[:, 0] >= low - 1e-12) & (eta[:, 0] <= high + 1e-12)).all()


def test_spread_points_are_uniform_in_the_polytope():
    # Below x = 1/4 the range cuts a simplex off the cube: ⟨x_s⟩ = high/(d + 1) · d, all s alike.
    x = fractions(candidates.spread_over(FCC_L12, (0.0, 0.2), 4000, seed=2))
    expected = (4 * 0.2 - 4 * candidates.MARGIN) / 5 + candidates.MARGIN
    torch.testing.assert_close(x.mean(0), torch.full_like(x[0], expected), rtol=0, atol=2e-3)
    assert float(x.max()) > 0.65


def test_points_along_prototypes_scatter_about_lines_within_the_range():
    eta = candidates.along_prototypes(FCC_L12, RANGE, 2000, seed=3)
    x = fractions(eta)
    assert float(x.min()) >= candidates.MARGIN - 1e-12
    assert float(x.max()) <= 1 - candidates.MARGIN + 1e-12
    # The composition is a mean of four scattered fractions; folding at 0 adds up to √(2/π) of it.
    overshoot = WIDEST * (0.8 + 4 / 2)
    assert float(eta[:, 0].max()) <= RANGE[1] + overshoot
    assert float(((eta[:, 0] < RANGE[0]) | (eta[:, 0] > RANGE[1])).double().mean()) < 0.1


def test_points_along_prototypes_reach_order_that_uniform_draws_hardly_reach():
    def share_ordered(eta):
        """Of L1₂ states: three sublattices alike and the fourth far richer."""
        x = fractions(eta).sort(-1).values
        alike = x[:, :3].std(-1) < WIDEST
        return float((alike & (x[:, 3] - x[:, :3].mean(-1) > 0.4)).double().mean())

    lines = share_ordered(candidates.along_prototypes(FCC_L12, RANGE, 2000, seed=3))
    assert lines > 3 * share_ordered(candidates.spread_over(FCC_L12, RANGE, 2000, seed=3))


def test_scatter_is_folded_back_at_full_order_and_not_piled_up():
    eta = candidates.near_tie_line(FCC_L12, tie_line(0.05, 0.249, order=0.249), 2000, seed=4)
    x = fractions(eta)
    assert len(eta.unique(dim=0)) > 1980
    # arcsin √MARGIN = 0.007 is 2.4 to 0.24 σ: a third of the points at a wall keep to the margin.
    assert 0 < float((x.amax(-1) >= 1 - candidates.MARGIN - 1e-9).double().mean()) < 0.2
    assert float((x[:, 1] <= candidates.MARGIN + 1e-9).double().mean()) < 0.4


def test_points_near_a_tie_line_cover_both_ends_and_the_way_between():
    line = tie_line(0.12, 0.23)
    eta = candidates.near_tie_line(FCC_L12, line, 3000, seed=5)
    distance = [(eta - end.eta).norm(dim=-1) for end in (line.left, line.right)]
    near = [float((d < 3 * WIDEST / 2).double().mean()) for d in distance]
    assert min(near) > 0.25
    assert sum(near) < 0.8
    assert FCC_L12.admissible(eta).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: candidates.spread_over(FCC_L12, RANGE, 50, seed),
        lambda seed: candidates.along_prototypes(FCC_L12, RANGE, 50, seed),
        lambda seed: candidates.near_tie_line(FCC_L12, tie_line(0.1, 0.2), 50, seed),
    ],
)
def test_a_seed_gives_the_same_points_and_another_seed_others(draw):
    state = torch.get_rng_state()
    assert torch.equal(draw(7), draw(7))
    assert not torch.equal(draw(7), draw(8))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_point_asks_for_a_sublattice_that_shows_next_to_nothing():
    x = torch.tensor([[1e-4, 0.3, 0.9999, 0.5], [0.02, 0.3, 0.9, 0.5]], dtype=torch.float64)
    eta = FCC_L12.order_parameters(x)
    found = FCC_L12.site_fractions(candidates.with_something_to_see(FCC_L12, eta, 3000))
    expected = torch.tensor([[0.01, 0.3, 0.99, 0.5], [0.02, 0.3, 0.9, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_points_about_a_line_scatter_as_an_ideal_solution_fluctuates():
    """σ(x) = 2w√(x(1 − x)): alike in arcsin √x, each point with a width w of its own."""
    line = tie_line(0.1, 0.2)
    ends = FCC_L12.site_fractions(torch.stack([line.left.eta, line.right.eta]))
    x = FCC_L12.site_fractions(candidates.near_tie_line(FCC_L12, line, 30_000, 3))
    assert ((x > candidates.MARGIN - 1e-12) & (x < 1 - candidates.MARGIN + 1e-12)).all()
    at_an_end = x[torch.arange(30_000) % 3 != 0]
    for end in ends:
        mine = at_an_end[(at_an_end - end).norm(dim=-1) < 0.2]
        off = mine.sqrt().arcsin() - end.clamp(0, 1).sqrt().arcsin()
        assert 9_000 < len(mine) < 11_000
        # ⟨w²⟩ of a log-uniform width; its own spread makes 4σ of 10,000 numbers 6 %.
        least, most = candidates.SCATTER
        width = ((most**2 - least**2) / (2 * np.log(most / least))) ** 0.5
        assert off[:, 0].std().item() == pytest.approx(width, rel=0.06)
