"""Least squares: exact on linear models, robust, with the evidence's own prior and noise."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from learning import rms
from scipy.optimize import minimize

from idnn.levenberg import (
    LeastSquaresFit,
    LevenbergMarquardt,
    NotTrained,
    least_squares,
    posterior_samples,
)
from idnn.residuals import by_autodiff

COUNT, SIZE = 60, 5
PLAIN = LevenbergMarquardt(evidence=False, outlier=1e6, tolerance=0)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def line(x, y):
    """Residuals x·θ − y, in units of their standard errors."""
    return by_autodiff(lambda p, row: (row["x"] @ p["theta"] - row["y"])[None], {"x": x, "y": y}, 1)


def problem(*, noise=1.0, size=SIZE, count=COUNT, seed=1, scale=1.0):
    x, theta = draw(count, size, seed=seed), scale * draw(size, seed=seed + 1)
    return x, x @ theta + noise * draw(count, seed=seed + 2), theta


def start(members=1, size=SIZE):
    return {"theta": draw(members, size, seed=9)}


def ridge(x, y, alpha, s=1.0):
    """Mean and covariance of θ at given α and s."""
    covariance = torch.linalg.inv(x.T @ x / s**2 + alpha * torch.eye(x.shape[1]).double())
    return covariance @ x.T @ y / s**2, covariance


@pytest.mark.parametrize("alpha", [1e-4, 1.0, 100.0])
def test_a_linear_model_gets_its_ridge_solution_wherever_it_starts(alpha):
    x, y, _ = problem()
    fit = least_squares(start(3), [line(x, y)], replace(PLAIN, precision=alpha))
    expected, _ = ridge(x, y, alpha)
    # A step is taken where the objective falls, which rounding hides from √ε = 1.5e-8 on.
    torch.testing.assert_close(fit.parameters["theta"], expected.expand(3, -1), rtol=0, atol=1e-8)
    left = 0.5 * (x @ expected - y).square().sum() + 0.5 * alpha * expected.square().sum()
    torch.testing.assert_close(fit.objective, left.expand(3))


def test_what_is_linear_is_solved_for_first():
    x, y, _ = problem()
    settings = replace(PLAIN, iterations=1, precision=100.0)
    fit = least_squares(start(), [line(x, y)], settings, linear="theta")
    expected, _ = ridge(x, y, 100.0)
    torch.testing.assert_close(fit.parameters["theta"][0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_prior_is_that_of_the_greatest_evidence(scale):
    """α by direct maximisation of ln p(y|α) = ln N(y; 0, 1 + XXᵀ/α) of Bayesian regression."""
    x, y, _ = problem(scale=scale, noise=0.95)
    chi2 = (x @ ridge(x, y, 1e-12)[0] - y).square().sum()
    assert chi2 < COUNT - SIZE, "or σ would be widened"

    def against(log_alpha):
        cov = torch.eye(COUNT).double() + x @ x.T / math.exp(log_alpha[0])
        return float(0.5 * torch.logdet(cov) + 0.5 * y @ torch.linalg.solve(cov, y))

    best = minimize(against, [0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
    alpha = math.exp(best.x[0])
    settings = LevenbergMarquardt(outlier=1e6, tolerance=0, iterations=200)
    fit = least_squares(start(), [line(x, y)], settings)
    theta, cov = ridge(x, y, alpha)
    # A fixed-point iteration, against a simplex that stops at 1e-7 of a flat maximum.
    assert float(fit.precision[0, 0]) == pytest.approx(alpha, rel=1e-4)
    torch.testing.assert_close(fit.parameters["theta"][0], theta, rtol=0, atol=1e-5)
    gamma = SIZE - alpha * float(cov.trace())
    assert float(fit.effective) == pytest.approx(gamma, rel=1e-4)
    assert float(fit.noise) == 1


def test_groups_have_priors_of_their_own_and_useless_inputs_are_left_out():
    x, y, theta = problem(size=4)
    theta = theta * torch.tensor([1.0, 1.0, 0.0, 0.0])
    y = x @ theta + 0.9 * draw(COUNT, seed=4)
    group = torch.tensor([0, 0, 1, 1])
    settings = LevenbergMarquardt(outlier=1e6, iterations=200, tolerance=0)
    fit = least_squares(start(1, 4), [line(x, y)], settings, groups={"theta": group})
    alpha = fit.precision[0]
    assert alpha[0] == alpha[1]
    assert alpha[2] == alpha[3]
    assert alpha[2] > 20 * alpha[0]
    expected = torch.linalg.solve(x.T @ x + torch.diag(alpha), x.T @ y)
    torch.testing.assert_close(fit.parameters["theta"][0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("understated", [1.0, 3.0, 30.0])
def test_errors_that_were_understated_are_widened(understated):
    x, y, _ = problem(noise=understated, count=600)
    fit = least_squares(start(), [line(x, y)], LevenbergMarquardt(tolerance=0, iterations=100))
    # s is known to 1/√1200 = 2.9 %; a Gaussian loses 1 % of Σψ² beyond three σ.
    assert float(fit.noise) == pytest.approx(understated, rel=4 * 0.029)
    gamma_free = (x @ fit.parameters["theta"][0] - y).square().sum() / (600 - fit.effective)
    assert float(fit.noise) == pytest.approx(max(1.0, float(gamma_free) ** 0.5), rel=0.03)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_a_fit_that_ran_out_of_iterations_widens_its_errors_all_the_same(iterations):
    x, y, _ = problem(noise=5.0, count=600)
    settings = LevenbergMarquardt(iterations=iterations)
    fit = least_squares(start(), [line(x, y)], settings)
    left = (x @ fit.parameters["theta"][0] - y).square().mean().sqrt()
    assert float(fit.noise) == pytest.approx(float(left), rel=0.1)


def test_two_kinds_of_data_are_one_posterior():
    """Rows in two blocks, of whatever length, count as in one."""
    x, y, _ = problem()
    cut = [line(x[:20], y[:20]), line(x[20:], y[20:])]
    noise = draw(1, COUNT, 1, seed=5)
    settings = LevenbergMarquardt()
    fits = [least_squares(start(), b, settings) for b in ([line(x, y)], cut)]
    for name in ("noise", "precision", "objective"):
        torch.testing.assert_close(getattr(fits[0], name), getattr(fits[1], name))
    samples = [
        posterior_samples(f, b, settings, data_noise=n, prior_noise=draw(1, SIZE, seed=6))
        for f, b, n in (
            (fits[0], [line(x, y)], [noise]), (fits[1], cut, [noise[:, :20], noise[:, 20:]])
        )
    ]  # fmt: skip
    torch.testing.assert_close(*(s.parameters["theta"] for s in samples))


def test_overstated_errors_are_believed():
    x, y, _ = problem(noise=0.3)
    assert float(least_squares(start(), [line(x, y)], LevenbergMarquardt()).noise) == 1


@pytest.mark.parametrize("size", [100.0, 1e4, -1e6])
def test_an_outlier_moves_nothing(size):
    x, y, theta = problem(count=200)
    settings = LevenbergMarquardt(tolerance=0, iterations=100)
    clean = least_squares(start(), [line(x, y)], settings)
    wrong = y.clone()
    wrong[17] += size
    fit = least_squares(start(), [line(x, wrong)], settings)
    covariance = ridge(x, y, float(clean.precision[0, 0]))[1]
    sigma = covariance.diagonal().sqrt()
    moved = (fit.parameters["theta"] - clean.parameters["theta"])[0] / sigma
    # It pulls with three standard deviations where it had z, by its leverage; a tenth for s.
    z = abs(float(x[17] @ clean.parameters["theta"][0] - y[17]))
    leverage = float(x[17] @ covariance @ x[17])
    assert moved.abs().max() < 1.1 * (3 + z) * leverage**0.5 < 1.2
    assert float(fit.noise) < 1.1 * float(clean.noise)
    assert ((fit.parameters["theta"][0] - theta) / sigma).abs().max() < 4


def moments(fit, block, settings, count):
    """Mean and covariance of posterior samples."""
    repeated = LeastSquaresFit(
        {"theta": fit.parameters["theta"].expand(count, -1).clone()},
        *(
            getattr(fit, name).expand(count, *[-1] * (getattr(fit, name).ndim - 1)).clone()
            for name in ("objective", "iterations", "effective", "noise", "precision")
        ),
    )
    samples = posterior_samples(
        repeated,
        [block],
        settings,
        data_noise=[draw(count, COUNT, 1, seed=21)],
        prior_noise=draw(count, SIZE, seed=22),
    )
    theta = samples.parameters["theta"]
    return theta.mean(0), theta.T.cov()


@pytest.mark.parametrize("noise", [0.5, 4.0])
def test_samples_of_a_linear_model_are_those_of_its_posterior(noise):
    x, y, _ = problem(noise=noise, scale=0.5)
    block = line(x, y)
    settings = LevenbergMarquardt(outlier=1e6, tolerance=0, iterations=80)
    fit = least_squares(start(), [block], settings)
    count = 2000
    mean, cov = moments(fit, block, replace(settings, iterations=30), count)
    expected, posterior = ridge(x, y, float(fit.precision[0, 0]), float(fit.noise))
    assert (float(fit.noise) > 1) == (noise > 1)
    assert ((mean - expected) / (posterior.diagonal() / count).sqrt()).abs().max() < 4
    variance = posterior.diagonal()
    of_entries = ((posterior**2 + variance[:, None] * variance) / count).sqrt()
    assert ((cov - posterior) / of_entries).abs().max() < 4


def test_the_default_limit_of_outliers_hardly_changes_the_samples():
    """Of a deviation √2 wide, 3√2 keeps all but 0.3 %."""
    x, y, _ = problem(scale=0.5)
    block = line(x, y)
    fit = least_squares(start(), [block], LevenbergMarquardt(outlier=1e6, tolerance=0))
    _, wide = moments(fit, block, LevenbergMarquardt(outlier=1e6), 500)
    _, usual = moments(fit, block, LevenbergMarquardt(), 500)
    torch.testing.assert_close(usual.diagonal(), wide.diagonal(), rtol=0.02, atol=0)


def test_members_do_not_disturb_each_other():
    x, y, _ = problem()
    block = by_autodiff(
        lambda p, row: ((row["x"] @ p["theta"]).tanh() - row["y"])[None], {"x": x, "y": y.tanh()}, 1
    )
    together = least_squares(start(4), [block], LevenbergMarquardt())
    for m in range(4):
        alone = least_squares(
            {"theta": start(4)["theta"][m : m + 1]}, [block], LevenbergMarquardt()
        )
        torch.testing.assert_close(together.parameters["theta"][m], alone.parameters["theta"][0])
        assert together.iterations[m] == alone.iterations[0]


def test_memory_limits_do_not_change_the_result(monkeypatch):
    x, y, _ = problem()
    whole = least_squares(start(2), [line(x, y)], LevenbergMarquardt())
    monkeypatch.setattr("idnn.levenberg.NUMBERS_AT_ONCE", 70)
    parts = least_squares(start(2), [line(x, y)], LevenbergMarquardt())
    torch.testing.assert_close(parts.parameters["theta"], whole.parameters["theta"])
    torch.testing.assert_close(parts.noise, whole.noise)


def rosenbrock(power=1.0):
    """r = (1 − x, 10(y − x²)): the valley of Rosenbrock (1960, doi:10.1093/comjnl/3.3.175)."""
    return by_autodiff(
        lambda p, row: (
            row["one"] * torch.stack([1 - p["at"][0], 10 * (p["at"][1] - p["at"][0] ** 2)])
        ),
        {"one": power * torch.ones(1, dtype=torch.float64)},
        2,
    )


def test_the_valley_of_rosenbrock_is_followed_to_its_end():
    starts = torch.tensor([[-1.2, 1.0], [3.0, -4.0], [0.0, 10.0]], dtype=torch.float64)
    settings = replace(PLAIN, precision=1e-12, iterations=100)
    fit = least_squares({"at": starts}, [rosenbrock()], settings)
    one = torch.ones(3, 2, dtype=torch.float64)
    torch.testing.assert_close(fit.parameters["at"], one, rtol=0, atol=1e-9)


def test_no_step_raises_the_objective():
    ends = [
        least_squares(
            {"at": torch.tensor([[-1.2, 1.0]], dtype=torch.float64)},
            [rosenbrock()],
            replace(PLAIN, precision=1e-12, iterations=n),
        ).objective
        for n in (1, 2, 3, 5, 8, 13, 29)
    ]
    assert all(later <= sooner for sooner, later in pairwise(ends))
    assert ends[-1] < 1e-9 * ends[0]


def test_a_member_that_converged_stops_and_is_counted():
    starts = torch.tensor([[1.0, 1.0 + 1e-9], [-1.2, 1.0]], dtype=torch.float64)
    settings = LevenbergMarquardt(evidence=False, iterations=200)
    fit = least_squares({"at": starts}, [rosenbrock()], settings)
    assert fit.iterations[0] < fit.iterations[1] < 200


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("linear", [None, "theta"])
def test_a_residual_that_is_not_finite_is_reported(value, linear):
    x, y, _ = problem()
    y[3] = value
    with pytest.raises(NotTrained, match="look for outliers"):
        least_squares(start(), [line(x, y)], LevenbergMarquardt(), linear=linear)


def test_a_model_without_use_for_its_parameters_is_left_with_none():
    """Zero data: every parameter is pulled to zero, and nothing overflows."""
    x = draw(COUNT, SIZE)
    fit = least_squares(start(), [line(x, torch.zeros(COUNT).double())], LevenbergMarquardt())
    assert fit.parameters["theta"].abs().max() < 1e-3
    assert float(fit.effective) < 0.5
    assert rms(fit.noise - 1) == 0


def test_more_parameters_than_data_are_held_by_the_prior():
    x, y, _ = problem(count=3, size=8)
    fit = least_squares(start(1, 8), [line(x, y)], LevenbergMarquardt())
    assert fit.parameters["theta"].isfinite().all()
    assert float(fit.effective) <= 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(iterations=0), "`iterations` must be at least 1; it is 0"),
        (dict(outlier=0.0), "`outlier` must be positive; it is 0"),
        (dict(precision=math.nan), "`precision` must be positive; it is nan"),
        (dict(tolerance=-1.0), "`tolerance` must not be negative; it is -1"),
        (dict(tolerance=math.nan), "`tolerance` must not be negative; it is nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LevenbergMarquardt(**settings)
