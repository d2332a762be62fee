"""Strategies: how many points each takes from where, the same for the same seed."""

import pytest
import torch
from references import DupinNickelAluminium, measured

from idnn.ensemble import CommitteeSettings, train_committee
from idnn.free_energy import hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from sampling import strategies
from sampling.goals import Scales
from sampling.judge import solution_tie_line

T, SPAN = 1273.0, (0.0, 0.35)
GOALS = strategies.GoalOriented(Scales(composition=1e-3, mu=5e-3, mu_ends=1e-3, barrier=1e-3))
EVERY = {
    "goals": GOALS,
    "literature": strategies.published,
    "follow-up": strategies.follow_up,
    "disagreement": strategies.most_uncertain,
    "uniform": strategies.uniform,
}


@pytest.fixture(scope="module")
def learned():
    data = measured(DupinNickelAluminium(T), 200, seed=1, sigma=5e-3, noise=5e-3)
    settings = CommitteeSettings(
        members=3, restarts=1, network=NetworkSettings(widths=(6, 6)), discrepancy=0.0
    )
    fresh = IntegrableNetwork(FCC_L12, T, settings.network, settings.seeds)
    network = train_committee(fresh, data, settings).network
    cost = torch.ones(len(data), dtype=torch.float64)
    return strategies.Learned(network, data, cost, solution_tie_line(network, SPAN), SPAN)


@pytest.mark.parametrize("count", [8, 37])
@pytest.mark.parametrize("name", EVERY)
def test_a_strategy_gives_as_many_admissible_states_as_asked(learned, name, count):
    assert isinstance(EVERY[name], strategies.Strategy)
    batch = EVERY[name](learned, count, 5)
    eta = torch.cat(list(batch.values()))
    assert eta.shape == (count, 4)
    assert FCC_L12.admissible(eta).all()
    assert len(eta.unique(dim=0)) == count
    again = EVERY[name](learned, count, 5)
    assert all(torch.equal(batch[k], again[k]) for k in batch)
    other = torch.cat(list(EVERY[name](learned, count, 6).values()))
    assert not torch.equal(eta, other)


def test_the_literature_s_proportions(learned):
    batch = strategies.published(learned, 40, 5)
    assert {k: len(v) for k, v in batch.items()} == {"spread": 12, "error": 12, "wells": 16}


def test_repeated_states_lie_about_the_state_they_repeat(learned):
    wells = strategies.published(learned, 40, 5)["wells"].reshape(4, 4, 4)
    # Copies differ by up to twice the step in each η.
    assert (wells - wells[:, :1]).abs().max() <= 2 * strategies.PUBLISHED_STEP
    assert (wells[:, 0] - wells[:1, 0]).abs().max() > 0
    error = strategies.published(learned, 40, 5)["error"]
    with torch.no_grad():
        off = (learned.network.gradient(learned.data.eta) - learned.data.mu).norm(dim=-1)
    worst = learned.data.eta[off.argmax()]
    assert (error[:4] - worst).abs().max() <= strategies.PUBLISHED_STEP + 1e-12


def test_wells_of_the_literature_are_stable_states(learned):
    eta = strategies._wells(learned, 16, 5)
    assert (torch.linalg.eigvalsh(hessian(learned.network, eta)).amin(-1) > 0).all()


def test_goals_look_about_the_tie_line_if_there_is_one(learned):
    """Points far away may tell more of it; where μ about its ends counts, some are there."""
    scales = Scales(composition=1.0, mu=1.0, mu_ends=1e-3)
    batch = strategies.GoalOriented(scales)(learned, 24, 5)
    assert set(batch) == {"spread", "prototypes", "tie-line"}
    assert len(batch["tie-line"]) > 24 / 3  # more than their share of the candidates
    without = strategies.Learned(learned.network, learned.data, learned.cost, None, SPAN)
    assert set(GOALS(without, 24, 5)) == {"spread", "prototypes"}


def test_goals_avoid_what_costs_more(learned):
    """Points near those that took ten thousand times as long are left alone."""
    dear = learned.data.eta[:, 0] > 0.2
    cost = torch.where(dear, 1e4, 1.0).double()
    costly = strategies.Learned(learned.network, learned.data, cost, learned.estimate, SPAN)

    def share(known):
        eta = torch.cat(list(GOALS(known, 24, 5).values()))
        return float((eta[:, 0] > 0.2).double().mean())

    assert share(costly) < 0.5 * share(learned)
