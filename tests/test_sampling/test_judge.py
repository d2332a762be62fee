"""Calibration on synthetic committees of known spread and error; when a campaign may stop."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from references import DupinNickelAluminium, measured

from idnn.data import Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.free_energy import BraggWilliams, IdealMixing
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from sampling.judge import MEDIAN_ERROR, Judgement, calibrate, judge, solution_tie_line
from sampling.labels import derivatives

RANGE = (0.0, 0.32)
POINTS = 4000
JUDGEMENT = Judgement(
    round=4,
    n_points=900,
    train_rmse=0.001,
    unseen_rmse=0.002,
    calibration=1.3,
    sigma_mu=0.003,
    phases=("A1", "L1_2"),
    mu=-1.1,
    x=(0.12, 0.23),
    sigma_x=(0.0015, 0.001),
    missing=0,
)


class NoisyCommittee(IntegrableNetwork):
    """Members whose μ is an error all share plus a spread of their own, both Gaussian."""

    def __init__(self, *, error, spread, members=16, seed=0):
        super().__init__(FCC_L12, 1000.0, NetworkSettings(widths=(2,)), seeds=range(members))
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        own = spread * draw(members, POINTS, 4)
        self.mu = error * draw(POINTS, 4) + own - own.mean(0)

    def gradients(self, eta):
        return self.mu[:, : len(eta)]


def truth(sigma):
    generator = torch.Generator().manual_seed(9)
    noise = torch.randn(POINTS, 4, generator=generator, dtype=torch.float64)
    zero = torch.zeros_like(noise)
    return Derivatives(zero, sigma * noise, torch.full_like(zero, sigma))


@pytest.mark.parametrize(("error", "spread", "sigma"), [(0.03, 0.01, 0.02), (0.05, 0.01, 1e-6)])
def test_the_factor_makes_the_spread_cover_the_error_beyond_the_noise(error, spread, sigma):
    rmse, factor = calibrate(NoisyCommittee(error=error, spread=spread), truth(sigma))
    # 16,000 numbers: relative error of a variance √(2/16000) = 1.1 %.
    assert rmse == pytest.approx((error**2 + sigma**2) ** 0.5, rel=0.03)
    assert factor == pytest.approx(error / spread, rel=0.05)


@pytest.mark.parametrize(("error", "sigma"), [(0.01, 0.02), (0.0, 0.02), (0.05, 0.02)])
def test_a_committee_is_never_trusted_beyond_its_own_spread(error, sigma):
    _, factor = calibrate(NoisyCommittee(error=error, spread=0.1), truth(sigma))
    assert factor == 1.0


@pytest.mark.parametrize("count", [4, 50])
def test_a_few_points_whose_noise_hides_the_spread_do_not_widen_it(count):
    """Of committees that are right, one in forty may be widened, whatever the number of points."""
    noise, spread = 0.05, 0.005
    widened = 0
    for seed in range(200):
        network = NoisyCommittee(error=0.0, spread=spread, seed=seed)
        network.mu = network.mu[:, :count]
        generator = torch.Generator().manual_seed(seed)
        mu = noise * torch.randn(count, 4, generator=generator, dtype=torch.float64)
        data = Derivatives(torch.zeros_like(mu), mu, torch.full_like(mu, noise))
        widened += calibrate(network, data)[1] > 1
    # Binomial: 5 expected; of few points the median is skew.
    assert widened < 15


def test_the_median_of_squares_has_the_error_stated():
    z = torch.randn(4000, 400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    medians = z.square().median(1).values
    # 4,000 medians: relative error of their spread 1.1 %.
    assert float(medians.std() / medians.mean() * 20) == pytest.approx(MEDIAN_ERROR, rel=0.05)


def test_errors_are_judged_along_sublattices_each_by_its_own_sigma():
    """Every error is a normal law's median at three times the spread, along its own sublattice."""
    directions = FCC_L12.directions
    sigma = torch.tensor([1e-3, 2e-3, 4e-3, 1e-2], dtype=torch.float64)
    spread = torch.tensor([1e-2, 1e-3, 4e-3, 5e-4], dtype=torch.float64)
    doubt = (1 + 2 * 2.33 / (4 * POINTS) ** 0.5) ** 0.5
    error = 0.6744897501960817 * doubt * (sigma**2 + (3 * spread) ** 2).sqrt()
    network = NoisyCommittee(error=0.0, spread=0.0, members=3)
    own = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)[:, None] * spread
    network.mu = torch.linalg.solve(directions.T, (own + error).T).T[:, None].expand(3, POINTS, 4)
    zero = torch.zeros(POINTS, 4, dtype=torch.float64)
    rmse, factor = calibrate(
        network, Derivatives(zero, zero, sigma.expand(POINTS, 4).clone(), directions)
    )
    weight = sigma**-2
    assert rmse == pytest.approx(float((weight * error**2).sum() / weight.sum()) ** 0.5)
    assert factor == pytest.approx(3.0, rel=1e-4)


def test_tolerances_must_both_be_met_on_points_not_seen():
    tolerances = {"composition": 0.002, "mu": 0.004}
    assert JUDGEMENT.within(**tolerances)
    assert not JUDGEMENT.within(composition=0.0012, mu=0.004)
    assert not JUDGEMENT.within(composition=0.002, mu=0.0025)
    assert not replace(JUDGEMENT, unseen_rmse=None).within(**tolerances)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": (), "sigma_x": (), "phases": (), "mu": None, "missing": 5},
        {"sigma_x": (float("inf"), float("inf")), "missing": 1},
        {"sigma_x": (float("nan"), 0.001)},
        {"sigma_x": (0.001, float("nan"))},
        {"sigma_mu": float("nan")},
    ],
)
def test_an_unknown_tie_line_is_not_within(changes):
    assert not replace(JUDGEMENT, **changes).within(composition=0.002, mu=0.004)


def test_a_round_without_a_point_to_judge_by_is_of_unknown_error():
    previous = NoisyCommittee(error=0.01, spread=0.01)
    rmse, factor = calibrate(previous, derivatives([{"mu": [None] * 4}], FCC_L12))
    assert math.isnan(rmse)
    assert math.isnan(factor)
    unknown = replace(JUDGEMENT, unseen_rmse=rmse, calibration=factor, sigma_mu=factor * 0.001)
    assert not unknown.within(composition=0.002, mu=0.004)


@pytest.mark.parametrize(
    "judgement", [JUDGEMENT, replace(JUDGEMENT, x=(), sigma_x=(float("inf"),) * 2, mu=None)]
)
def test_a_judgement_survives_the_store_exactly(judgement):
    assert Judgement.from_stored(json.loads(json.dumps(asdict(judgement)))) == judgement


def test_only_a_line_from_disorder_to_order_is_the_solution_s():
    """Attraction gives a miscibility gap of the disordered solution, not a solubility limit."""
    v = torch.tensor([-0.6, 0.5, 0.5, 0.5], dtype=torch.float64)
    gap = BraggWilliams(IdealMixing(FCC_L12.q, 1000.0), v)
    assert solution_tie_line(_as_network(gap, (0.0, 1.0)), (0.0, 1.0)) is None


def _as_network(f, composition, members=2):
    settings = CommitteeSettings(members=members, restarts=1, network=NetworkSettings(widths=(12,)))
    fresh = IntegrableNetwork(FCC_L12, 1000.0, settings.network, seeds=settings.seeds)
    data = measured(f, 400, seed=1, sigma=1e-3, noise=0.0)
    return train_committee(fresh, data, settings).network


@pytest.fixture(scope="module")
def learned():
    return _as_network(DupinNickelAluminium(1000.0), RANGE, members=3)


def test_a_round_is_judged_by_the_previous_committee_on_fresh_points(learned):
    f = DupinNickelAluminium(1000.0)
    data = measured(f, 400, seed=1, sigma=1e-3, noise=0.0)
    fresh = measured(f, 60, seed=2, sigma=1e-3, noise=1e-3)
    previous = IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(widths=(4,)), seeds=(0, 1))
    judged, estimate = judge(
        learned, previous, data, fresh, round_index=1, composition=RANGE, pool=fresh.eta
    )
    with torch.no_grad():
        unseen = (previous.gradient(fresh.eta) - fresh.mu).square().mean().sqrt()
        spread = learned.gradients(fresh.eta).var(0).mean().sqrt()
    assert judged.unseen_rmse == pytest.approx(float(unseen))
    assert judged.train_rmse < 0.2 * float(unseen)
    assert judged.calibration > 1
    assert judged.sigma_mu == pytest.approx(judged.calibration * float(spread))
    assert estimate is not None
    assert judged.phases == ("A1", "L1_2")
    # The assessment's own tie-line at 1000 K is 0.1246 and 0.2372; μ is learned to ~20 meV.
    assert judged.x == pytest.approx((0.1246, 0.2372), abs=0.03)
    assert judged.sigma_x == pytest.approx([judged.calibration * s for s in estimate.sigma()])
    first, _ = judge(learned, None, data, data, round_index=0, composition=RANGE, pool=fresh.eta)
    assert (first.unseen_rmse, first.calibration) == (None, 1.0)
    assert first.x == judged.x
