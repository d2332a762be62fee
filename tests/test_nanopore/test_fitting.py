"""Membranes and closures fitted to rejections: what is recovered, and what is refused."""

from dataclasses import replace

import pytest
import torch
from pores import D, tensor

from idnn.nanopore import (
    Fit,
    LearnedClosure,
    LearnedLocalClosure,
    Measurements,
    committee,
    fit_closure,
    fit_membranes,
    ions,
    transport,
    untrained,
)
from idnn.nanopore.fitting import LEARNING, MESH, _block, membrane_of

SPECIES = ions(("Li", "Mg", "Cl"))
PORES = tensor(0.2, 0.3, -0.6, -0.2, -0.3, 0.5, -0.4, 0.3).view(2, 4)
SIGMA = 0.005


def measured(closure=None, cases=8, **changes):
    """Exact rejections of two membranes."""
    generator = torch.Generator().manual_seed(1)
    u = torch.rand(4, cases, dtype=D, generator=generator)
    li, mg = 1 + 9 * u[0], 2 + 50 * u[1]
    feed = torch.stack([li, mg, li + 2 * mg], 1)
    membrane, flux = torch.arange(cases) % 2, 2e-6 * 10 ** u[2]
    found = transport(
        SPECIES, feed, membrane_of(PORES[membrane], SPECIES), flux=flux, closure=closure
    )
    given = {
        "ions": SPECIES, "feed": feed, "membrane": membrane, "measured": ("Li", "Mg"),
        "rejection": found.rejection[:, :2], "sigma": torch.full((cases, 2), SIGMA, dtype=D),
        "flux": flux,
    }  # fmt: skip
    return Measurements(**(given | changes))


def misfit(fit, data):
    """RMSE of the mean of all members, in units of σ."""
    found = fit.predict(data.feed, data.membrane, flux=data.flux).rejection[..., :2].mean(0)
    return float((found - data.rejection).square().mean().sqrt() / SIGMA)


@pytest.fixture(scope="module")
def plain():
    return fit_membranes(measured(), starts=4)


def test_membranes_are_recovered_from_their_rejections(plain):
    assert misfit(plain, measured()) < 0.3  # the prior pulls
    assert plain.noise.tolist() == [1]
    radius = membrane_of(plain.pores[0], SPECIES).pore_radius
    assert radius.tolist() == pytest.approx(
        membrane_of(PORES, SPECIES).pore_radius.tolist(), rel=0.05
    )
    unseen = measured(cases=16)
    assert misfit(plain, unseen.at(torch.arange(8, 16))) < 0.5


def test_starts_that_cannot_be_solved_are_drawn_again():
    feed, flux = tensor(12.347, 6.17e-4, 12.348234), tensor(1.4e-5)
    generator = torch.Generator().manual_seed(4)
    second = membrane_of(torch.randn(6, 4, dtype=D, generator=generator)[1], SPECIES)
    unsolved = transport(SPECIES, feed, second, flux=flux[0], mesh=MESH, strict=False)
    assert not unsolved.converged
    data = measured().at(torch.zeros(1, dtype=torch.long))
    data = replace(data, feed=feed[None], flux=flux, rejection=tensor(0.4, 0.9)[None])
    assert fit_membranes(data, starts=6, seed=4).pores.isfinite().all()


@pytest.mark.parametrize("kind", [LearnedClosure, LearnedLocalClosure])
def test_the_jacobian_is_that_of_finite_differences(kind):
    data, centre = measured(), kind(*untrained(0))
    block = _block(data, centre)
    parameters = {"pores": torch.stack([PORES, PORES + 0.1])} | {
        name: 0.3 * torch.ones(2, *w.shape, dtype=D) for name, w in centre._asdict().items()
    }
    value, jacobian = block.linearised(parameters, block.rows)
    assert jacobian.shape == (2, 8, 2, 8 + 8 * 8 + 8 + 8 * 4)
    first = 0
    for name, tensor_ in parameters.items():
        direction = torch.ones_like(tensor_)
        up, down = (
            block.residual(parameters | {name: tensor_ + e * direction}, block.rows)
            for e in (1e-5, -1e-5)
        )
        slope = jacobian[..., first : first + tensor_[0].numel()].sum(-1)
        assert torch.allclose((up - down) / 2e-5, slope, rtol=1e-4, atol=1e-4)
        first += tensor_[0].numel()
    assert torch.equal(value, block.residual(parameters, block.rows))


def test_a_closure_learns_what_the_plain_model_cannot_say():
    def stronger(species, feed, membrane, ratio):
        by = untrained(0)(species, feed, membrane, ratio)
        return by._replace(charge=1.5 * (feed.sum(-1) / 100).log())

    data = measured(stronger, cases=16)
    start = fit_membranes(data, starts=4)
    before = misfit(start, data)
    learned = fit_closure(data, start, untrained(0))
    assert before > 2
    assert misfit(learned, data) < 0.8 * before


def test_without_a_closure_membranes_alone_are_fitted(plain):
    data = measured()
    alone = fit_closure(data, plain, None)
    assert alone.closure is None
    assert misfit(alone, data) < 0.3
    many = committee(data, plain, None, members=4)
    assert many.closure is None
    assert float(many.pores.std(0).min()) > 0


def test_a_committee_spreads_about_as_far_as_the_noise(plain):
    data = measured()
    many = committee(data, plain, untrained(0), members=6, seed=1)
    found = many.predict(data.feed, data.membrane, flux=data.flux).rejection[..., :2]
    assert found.shape == (6, 8, 2)
    spread = float((found.std(0) / SIGMA).mean())
    assert 0.4 < spread < 1.5
    assert misfit(many, data) < 1.5
    again = committee(data, plain, untrained(0), members=6, seed=1)
    assert torch.equal(many.pores, again.pores)
    assert LEARNING.evidence is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rejection": torch.full((8, 2), 1.01, dtype=D)}, "`rejection` of Li must be at most 1"),
        ({"rejection": torch.full((8, 2), 95.0, dtype=D)}, "Divide percentages by 100"),
        ({"measured": ("Li", "Na")}, "`measured` must be of Li, Mg, Cl, each once; it is Li, Na"),
        ({"measured": ("Li", "Li")}, "`measured` must be of"),
        ({"membrane": torch.full((8,), -1)}, "`membrane` must hold numbers .* from zero"),
        ({"sigma": torch.zeros(8, 2, dtype=D)}, "`sigma` must be finite and positive"),
        ({"flux": None}, "give one of them; neither is given"),
        ({"pressure": torch.ones(8, dtype=D)}, "both is given"),
        ({"flux": None, "pressure": torch.full((8,), 10.0, dtype=D)}, "not in bar"),
        ({"feed": torch.ones(8, 3, dtype=D)}, "`feed` must be neutral"),
    ],
)
def test_measurements_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        measured(**changes)


def test_a_permeate_that_cannot_be_neutral_is_refused():
    rejection = tensor(-50.0, 0.9).expand(8, 2)
    with pytest.raises(ValueError, match="`rejection` of case 0 makes a permeate that no ion"):
        measured(measured=("Li", "Cl"), rejection=rejection)


def test_a_fit_of_other_ions_membranes_or_numbers_is_refused(plain):
    data = measured()
    with pytest.raises(ValueError, match="`starts` must be at least 1"):
        fit_membranes(data, starts=0)
    with pytest.raises(ValueError, match="`members` must be at least 1"):
        committee(data, plain, untrained(0), members=0)
    other = plain._replace(ions=ions(("Na", "Mg", "Cl")))
    with pytest.raises(ValueError, match="`start` must be of the ions Li, Mg, Cl; it is of Na"):
        fit_closure(data, other, untrained(0))
    one = replace(data, membrane=torch.zeros_like(data.membrane))
    with pytest.raises(ValueError, match=r"`start\.pores` must have shape"):
        fit_closure(one, plain, untrained(0))
    assert isinstance(plain, Fit)
