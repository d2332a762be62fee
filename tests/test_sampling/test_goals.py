"""Points chosen for what is to be known: exact Gaussian updates, batches, costs."""

import pytest
import torch
from references import DupinNickelAluminium, measured

from idnn import posterior
from idnn.barriers import barrier
from idnn.data import Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.equilibrium import tie_lines
from idnn.free_energy import hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from sampling import goals
from sampling.candidates import along_prototypes, near_tie_line, spread_over

T, SPAN = 1273.0, (0.0, 0.35)
NOISE = 5e-3


@pytest.fixture(scope="module")
def known():
    """A committee of the assessed Ni–Al, what it learned, and its tie-line."""
    f = DupinNickelAluminium(T)
    data = measured(f, 120, seed=1, sigma=NOISE, noise=NOISE)
    settings = CommitteeSettings(
        members=3, restarts=1, network=NetworkSettings(widths=(6, 6)), discrepancy=0.0
    )
    fresh = IntegrableNetwork(FCC_L12, T, settings.network, settings.seeds)
    network = train_committee(fresh, data, settings).network
    line = next(t for t in tie_lines(network, FCC_L12, composition=SPAN) if t.left.phase == "A1")
    return network, data, line


def candidates(line, count=400):
    eta = torch.cat(
        [
            spread_over(FCC_L12, SPAN, count, 3),
            along_prototypes(FCC_L12, SPAN, count, 3),
            near_tie_line(FCC_L12, line, count, 3),
        ]
    )
    return Derivatives(eta, 0 * eta, torch.full_like(eta, NOISE))


def wanted(network, line, **scales):
    curvature = hessian(network, torch.stack([line.left.eta, line.right.eta])).detach()
    scales = goals.Scales(**(dict(composition=1e-3, mu=1.0) | scales))
    return goals.Goals(scales, spread_over(FCC_L12, SPAN, 32, 0), curvature, line)


def uncertainty(network, data, goal):
    """tr(L C Lᵀ) of the first member, by the covariance itself."""
    member = network.member(0)
    spread = posterior.covariance(member, data, posterior.precision_of(network))
    rows = goal.sensitivity(member)
    return float((rows @ spread * rows).sum())


def one(network):
    """The committee's first member as a committee, which chooses alone."""
    return network.member(0)


def test_every_choice_is_the_best_by_the_covariance_after_those_before(known):
    """Against retraining on each candidate, to first order: C is inverted anew for each."""
    network, data, line = one(known[0]), known[1], known[2]
    pool = candidates(line)[::40]
    goal, cost = wanted(network, line), torch.ones(len(pool)).double()
    chosen = goals.most_informative(network, [data], pool, cost, goal, 3).tolist()
    for k in range(3):
        left = [
            (uncertainty(network, [data, pool[torch.tensor([*chosen[:k], i])]], goal), i)
            for i in range(len(pool))
            if i not in chosen[:k]
        ]
        assert min(left)[1] == chosen[k]


def test_what_is_aimed_at_becomes_known_better_than_by_spread_points(known):
    network, data, line = known
    pool = candidates(line)
    cost = torch.ones(len(pool)).double()
    for goal in (wanted(network, line), wanted(network, line, composition=1.0, mu=1e-3)):
        chosen = goals.most_informative(network, [data], pool, cost, goal, 30)
        assert len(chosen.unique()) == 30
        ours = uncertainty(network, [data, pool[chosen]], goal)
        spread = uncertainty(network, [data, pool[:30]], goal)
        assert ours < 0.75 * spread
    # Of the tie-line alone a fifth is left.
    goal = wanted(network, line)
    chosen = goals.most_informative(network, [data], pool, cost, goal, 30)
    assert uncertainty(network, [data, pool[chosen]], goal) < 0.4 * uncertainty(
        network, [data, pool[:30]], goal
    )


def test_the_barrier_is_aimed_at_where_it_counts(known):
    network, data, line = known
    over = barrier(network, FCC_L12, line.left, line.right)
    pool = candidates(line)
    cost = torch.ones(len(pool)).double()
    base = wanted(network, line, composition=10.0, mu=1e3)
    height = goals.Goals(
        goals.Scales(composition=10.0, mu=1e3, barrier=1e-4),
        base.everywhere,
        base.curvature,
        line,
        over,
    )
    chosen = goals.most_informative(network, [data], pool, cost, height, 12)
    spread = uncertainty(network, [data, pool[:12]], height)
    assert uncertainty(network, [data, pool[chosen]], height) < 0.5 * spread


def test_points_that_cost_more_are_chosen_only_if_they_tell_more(known):
    network, data, line = known
    pool, goal = candidates(line), wanted(known[0], known[2])
    cheap = goals.most_informative(network, [data], pool, torch.ones(len(pool)).double(), goal, 20)
    cost = torch.ones(len(pool)).double()
    cost[cheap] = 1e6
    other = goals.most_informative(network, [data], pool, cost, goal, 20)
    assert not set(cheap.tolist()) & set(other.tolist())
    # A common factor of all costs changes nothing.
    same = goals.most_informative(network, [data], pool, torch.full_like(cost, 7.0), goal, 20)
    assert torch.equal(same, cheap)


def test_without_a_tie_line_mu_everywhere_is_wanted(known):
    network, data, line = known
    pool = candidates(line)
    goal = goals.Goals(goals.Scales(composition=1e-3, mu=1e-3), spread_over(FCC_L12, SPAN, 64, 0))
    chosen = goals.most_informative(network, [data], pool, torch.ones(len(pool)).double(), goal, 24)
    ours = uncertainty(network, [data, pool[chosen]], goal)
    assert ours < uncertainty(network, [data, pool[:24]], goal)


def test_bad_requests_are_refused(known):
    network, data, line = known
    pool, goal = candidates(line)[:5], wanted(known[0], known[2])
    cost = torch.ones(5).double()
    with pytest.raises(ValueError, match="`count` must not exceed the 5 candidates; it is 6"):
        goals.most_informative(network, [data], pool, cost, goal, 6)
    with pytest.raises(ValueError, match="`cost` must be positive; its least is 0"):
        goals.most_informative(network, [data], pool, 0 * cost, goal, 2)
    with pytest.raises(ValueError, match="`barrier` must be positive; it is -1"):
        goals.Scales(composition=1e-3, mu=1e-3, barrier=-1.0)
