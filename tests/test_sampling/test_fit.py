"""The fit: exact recovery, leave-one-out, covariance, the embedded-atom figures, bad settings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sampling.energies import read_energies
from sampling.expansion import cluster_sums
from sampling.fit import FitSettings, fit_expansion, nested_cross_validation, structure_weights
from sampling.hull import energy_above_hull, lower_hull
from sampling.ordering import fcc
from sampling.ridge import bayesian_ridge

LATTICE = fcc(("Ni", "Al"), 3.57)
NEAREST, FOURTH = 2.6, 5.1
EIGHT = ((FOURTH, NEAREST, NEAREST),)
"""Constant, point, 4 pairs, nearest triangle and tetrahedron."""


@pytest.fixture(scope="module")
def eam():
    examples = Path(__file__).parents[2] / "examples/ni_al"
    return read_energies(examples / "eam/energies.jsonl", LATTICE)


def subset(energies, chosen):
    return replace(
        energies,
        ids=tuple(energies.ids[i] for i in chosen),
        orderings=tuple(energies.orderings[i] for i in chosen),
        energies=energies.energies[chosen],
        formation_energies=energies.formation_energies[chosen],
    )


def problem(rng, samples=20, parameters=5):
    return dict(
        design=rng.standard_normal((samples, parameters)),
        weights=rng.uniform(0.1, 2, samples),
        widths=np.array([100.0, 1, 0.5, 2, 0.3])[:parameters],
        ridge=0.3,
    )


def test_leave_one_out_equals_refitting_without_each_sample():
    rng = np.random.default_rng(0)
    data = problem(rng)
    target = rng.standard_normal(20)
    fit = bayesian_ridge(target=target, **data)
    for i in range(20):
        kept = np.arange(20) != i
        alone = bayesian_ridge(
            data["design"][kept], target[kept], weights=data["weights"][kept],
            widths=data["widths"], ridge=data["ridge"],
        )  # fmt: skip
        assert fit.predictions[i] == pytest.approx(data["design"][i] @ alone.mean, abs=1e-10)


def test_the_posterior_solves_the_normal_equations():
    rng = np.random.default_rng(1)
    data = problem(rng)
    x, w, target = data["design"], data["weights"], rng.standard_normal(20)
    fit = bayesian_ridge(target=target, **data)
    normal = x.T * w @ x + np.diag(data["ridge"] / data["widths"] ** 2)
    assert normal @ fit.mean == pytest.approx(x.T * w @ target, abs=1e-10)
    assert fit.covariance @ normal == pytest.approx(fit.noise**2 * np.eye(5), abs=1e-10)


def test_the_covariance_is_that_of_refits_to_noisy_draws_of_the_prior():
    # J from the prior and noise σ²/w: the errors of the posterior mean have covariance σ² A⁻¹.
    # 4000 draws: a variance is good to √(2/4000) = 2.2 %, four of which are allowed.
    rng = np.random.default_rng(2)
    data = problem(rng) | {"widths": np.array([3.0, 1, 0.5, 2, 0.3])}
    sigma, draws = 0.2, 4000
    errors, noises, reference = [], [], None
    for _ in range(draws):
        truth = rng.standard_normal(5) * data["widths"] * sigma / np.sqrt(data["ridge"])
        noise = sigma / np.sqrt(data["weights"]) * rng.standard_normal(20)
        fit = bayesian_ridge(target=data["design"] @ truth + noise, **data)
        errors.append(fit.mean - truth)
        noises.append(fit.noise**2)
        reference = fit.covariance / fit.noise**2
    covariance = np.cov(np.array(errors).T) / sigma**2
    scale = np.sqrt(np.outer(np.diag(reference), np.diag(reference)))
    assert np.abs((covariance - reference) / scale).max() < 4 * np.sqrt(2 / draws)
    assert np.mean(noises) == pytest.approx(sigma**2, rel=0.05)


def test_exactly_linear_energies_give_back_their_interactions(eam):
    rng = np.random.default_rng(3)
    exact = FitSettings(cutoffs=EIGHT, ridges=(1e-12,), order_decays=(1.0,), size_decays=(0.0,))
    fitted = fit_expansion(eam, exact)
    orbits = fitted.expansion.orbits
    truth = rng.standard_normal(len(orbits) + 1) * 0.05
    made = replace(eam, formation_energies=cluster_sums(orbits, eam.orderings) @ truth)
    again = fit_expansion(made, exact)
    assert again.expansion.eci == pytest.approx(truth, abs=1e-10)
    assert again.cross_validation.rmse_full < 1e-10


def test_embedded_atom_energies_have_the_known_cross_validation_errors(eam):
    # Ten-fold figures of an independent least-squares fit by icet and trainstation: 20.0 meV/atom
    # over the full range, 3.3 when fitted and judged up to x = 0.4; 10 % for the different folds.
    flat = dict(cutoffs=EIGHT, hull_scale=1e6, ridges=(1e-9,), order_decays=(1.0,))
    full = fit_expansion(eam, FitSettings(outside_weights=(1,), **flat))
    rich = fit_expansion(eam, FitSettings(outside_weights=(0,), **flat))
    assert len(full.expansion.eci) == 8
    assert 1e3 * full.cross_validation.rmse_full == pytest.approx(20.0, rel=0.1)
    assert 1e3 * rich.cross_validation.rmse_focus == pytest.approx(3.3, rel=0.1)


EIGHTEEN = ((6.3, 4.5, 3.7),)
"""Constant, point, 6 pairs, 7 triplets, 3 quadruplets."""


@pytest.mark.parametrize(("cutoffs", "parameters", "known"), [(EIGHT, 8, 3.3), (EIGHTEEN, 18, 3.1)])
def test_ten_folds_of_the_nickel_rich_side_have_the_known_errors(eam, cutoffs, parameters, known):
    # Of the same independent fits, structures up to x = 0.4 alone; 5 % for the different folds.
    flat = dict(cutoffs=cutoffs, outside_weights=(0,), hull_scale=1e6, ridges=(1e-9,),
                order_decays=(1.0,), size_decays=(0.0,))  # fmt: skip
    found = nested_cross_validation(eam, FitSettings(**flat), folds=10)
    assert len(fit_expansion(eam, FitSettings(**flat)).expansion.eci) == parameters
    assert 1e3 * found.rmse_focus == pytest.approx(known, rel=0.05)


def test_hull_weights_trade_errors_far_above_the_hull_for_errors_near_it(eam):
    """What the model is good for is judged near the hull; its plain mean error then is larger."""
    above = energy_above_hull(eam.fractions, eam.formation_energies)
    focus = eam.fractions <= 0.4 + 1e-9
    near, far = focus & (above <= 0.1), focus & (above > 0.1)
    errors = []
    for scale in (1e6, 0.1):
        settings = FitSettings(cutoffs=EIGHT, outside_weights=(0,), hull_scale=scale)
        found = nested_cross_validation(eam, settings).predictions - eam.formation_energies
        errors.append([1e3 * np.sqrt((found[part] ** 2).mean()) for part in (focus, near, far)])
    plain, weighted = errors
    assert weighted[1] < 0.8 * plain[1]
    assert weighted[2] > plain[2]
    assert weighted[0] == pytest.approx(plain[0], rel=0.1)


def test_a_structure_that_is_not_fitted_is_predicted(eam):
    fit = fit_expansion(eam, FitSettings(cutoffs=EIGHT, outside_weights=(0,), ridges=(0.1,)))
    outside = eam.fractions > 0.4
    assert not fit.weights[outside].any()
    assert fit.cross_validation.predictions[outside] == pytest.approx(
        fit.expansion.predict(eam.orderings)[outside], abs=1e-12
    )


def test_a_useless_cluster_is_left_out_by_the_choice_of_cutoffs(eam):
    rng = np.random.default_rng(4)
    small = subset(eam, np.arange(58))
    settings = FitSettings(
        cutoffs=((NEAREST,), (FOURTH, FOURTH)), outside_weights=(1,), hull_scale=10, ridges=(1e-6,)
    )
    noise = 0.005 * rng.standard_normal(58)
    truth = np.array([-0.3, 0.02, 0.05])
    pairs = fit_expansion(small, replace(settings, cutoffs=((NEAREST,),))).expansion.orbits
    energies = cluster_sums(pairs, small.orderings) @ truth + noise
    fit = fit_expansion(replace(small, formation_energies=energies), settings)
    assert fit.choice.cutoffs == (NEAREST,)
    assert fit.noise == pytest.approx(0.005, rel=0.4)
    errors = (fit.expansion.eci - truth) / fit.expansion.stderr
    assert np.abs(errors).max() < 4


@pytest.mark.parametrize(("alike", "chosen"), [(True, 1.0), (False, 1e-4)])
def test_structures_beyond_the_focus_are_used_as_far_as_they_help(eam, alike, chosen):
    # One law with noise everywhere: every structure helps. Another law beyond: none does.
    rng = np.random.default_rng(7)
    small = subset(eam, np.arange(58))
    settings = FitSettings(
        cutoffs=((FOURTH,),), outside_weights=(1e-4, 1.0), hull_scale=1e6, ridges=(1e-9,)
    )
    outside = small.fractions > 0.4
    pairs = fit_expansion(small, settings).expansion.orbits
    law = np.array([-0.3, 0.1, 0.03, 0.02, 0.01, 0.005])
    energies = cluster_sums(pairs, small.orderings) @ law + 0.01 * rng.standard_normal(58)
    if not alike:
        energies[outside] += 0.3 * small.fractions[outside] ** 2
    fit = fit_expansion(replace(small, formation_energies=energies), settings)
    assert fit.choice.outside_weight == chosen


def test_nested_folds_never_see_what_they_predict(eam):
    # A structure whose energy is wild changes the other predictions, but not its own.
    small = subset(eam, np.arange(58))
    settings = FitSettings(cutoffs=EIGHT, outside_weights=(1,), hull_scale=1e6, ridges=(0.1,),
                           order_decays=(1.0,), size_decays=(0.0,))  # fmt: skip
    wild = small.formation_energies.copy()
    wild[20] += 5.0
    calm = nested_cross_validation(small, settings)
    upset = nested_cross_validation(replace(small, formation_energies=wild), settings)
    assert upset.predictions[20] == pytest.approx(calm.predictions[20], abs=1e-9)
    assert np.abs(upset.predictions - calm.predictions).max() > 0.01


def test_weights_favour_the_focus_and_the_hull(eam):
    weights = structure_weights(eam, FitSettings(cutoffs=EIGHT), 0.1)
    above = energy_above_hull(eam.fractions, eam.formation_energies)
    x = eam.fractions
    on_hull_inside = weights[(above < 1e-9) & (x <= 0.4)]
    assert np.ptp(on_hull_inside) < 1e-9
    on_hull_outside = weights[(above < 1e-9) & (x > 0.4)]
    assert on_hull_outside == pytest.approx(0.1 * on_hull_inside[0])
    far = (x <= 0.4) & (np.abs(above - 0.1) < 0.01)
    assert weights[far] == pytest.approx(on_hull_inside[0] / (1 + (above[far] / 0.1) ** 2))
    assert weights.mean() == pytest.approx(1)


def test_the_hull_of_points_with_a_known_hull():
    x = np.array([0.5, 0.0, 0.25, 1.0, 0.5, 0.75, 0.25])
    energy = np.array([-1.0, 0.0, -0.5, 0.0, -0.2, -0.6, 0.3])
    assert lower_hull(x, energy).tolist() == [1, 0, 5, 3]
    assert energy_above_hull(x, energy) == pytest.approx([0, 0, 0, 0, 0.8, 0, 0.8])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x_focus": 1.2}, "`x_focus` must lie in"),
        ({"outside_weights": (float("nan"),)}, "`outside_weights` must lie in"),
        ({"hull_scale": 0.0}, "`hull_scale` must be finite and positive"),
        ({"ridges": ()}, "`ridges` must hold at least one"),
        ({"ridges": (0.0,)}, "`ridges` must be finite and positive"),
        ({"cutoffs": ()}, "`cutoffs` must hold at least one"),
        ({"cutoffs": ((-1.0,),)}, "`cutoffs` must be finite and positive"),
        ({"size_decays": (-1.0,)}, "`size_decays` must lie in"),
        ({"order_decays": (float("inf"),)}, "`order_decays` must be finite and positive"),
    ],
)
def test_bad_settings_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        FitSettings(**({"cutoffs": EIGHT} | values))


def test_more_parameters_than_structures_are_refused(eam):
    with pytest.raises(ValueError, match="fewer parameters than the 7 structures"):
        fit_expansion(subset(eam, np.arange(7)), FitSettings(cutoffs=EIGHT))
    with pytest.raises(ValueError, match="`folds` must lie in"):
        nested_cross_validation(subset(eam, np.arange(7)), FitSettings(cutoffs=EIGHT), folds=8)
