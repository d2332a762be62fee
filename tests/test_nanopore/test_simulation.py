"""Simulated measurements: the laws they follow, and what a closure learns from them."""

from dataclasses import replace

import pytest
import torch
from pores import D, tensor

from idnn.nanopore import (
    Davies,
    Fit,
    LearnedClosure,
    SimulatedMembranes,
    ions,
    mixtures,
    pretrained,
    transport,
    usual_error,
)
from idnn.nanopore.fitting import membrane_of

SPECIES = ions(("Na", "Mg", "SO4", "Cl"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_mixtures_are_neutral_and_spread_as_far_as_they_say():
    feed = mixtures(SPECIES, 500, generator())
    charges = feed * SPECIES.charge
    assert charges.sum(1).abs().max() < 1e-12 * charges.abs().max()
    strength = 0.5 * (feed * SPECIES.charge**2).sum(1)
    assert 5 <= strength.min() < 6
    assert 250 < strength.max() <= 300
    cations = charges[:, :2]
    assert 25 < (cations.amax(1) / cations.amin(1)).max() <= 30


def test_simulated_membranes_carry_a_charge_that_is_a_power_of_ionic_strength():
    membranes = SimulatedMembranes(tensor(0.2, 0.3, -0.6, -0.2)[None], tensor(0.5))
    feed, flux = mixtures(SPECIES, 5, generator()), torch.full((5,), 5e-6, dtype=D)
    number = torch.zeros(5, dtype=torch.long)
    found = membranes.measure(SPECIES, feed, number, flux)
    strength = 0.5 * (feed * SPECIES.charge**2).sum(1)
    pore = membrane_of(membranes.pores[number], SPECIES)
    pore = replace(pore, charge=pore.charge * (strength / 100) ** 0.5)
    direct = transport(SPECIES, feed, pore, flux=flux, activity=Davies())
    assert (found.rejection - direct.rejection[:, :3]).abs().max() < 1e-9
    assert found.measured == ("Na", "Mg", "SO4")


def test_noise_is_as_large_as_its_stated_error():
    membranes = SimulatedMembranes(tensor(0.2, 0.3, -0.6, -0.2)[None], tensor(0.5))
    feed = mixtures(SPECIES, 1, generator()).expand(800, -1)
    number, flux = torch.zeros(800, dtype=torch.long), torch.full((800,), 5e-6, dtype=D)
    exact = membranes.measure(SPECIES, feed[:1], number[:1], flux[:1]).rejection
    noisy = membranes.measure(SPECIES, feed, number, flux, generator())
    pull = (noisy.rejection - exact) / usual_error(exact)
    assert pull[:, 0].mean().abs() < 4 / 800**0.5
    assert pull[:, 0].std() == pytest.approx(1, abs=4 / 1600**0.5)
    assert (noisy.permeate() >= 0).all()


def test_a_pretrained_closure_knows_other_simulations_better_than_the_model():
    closure = pretrained(SPECIES)
    again = pretrained(SPECIES)
    assert all(torch.equal(a, b) for a, b in zip(closure, again, strict=True))
    drawn = generator(7)
    membranes = SimulatedMembranes.drawn(12, drawn)
    number = torch.arange(12).repeat_interleave(8)
    feed = mixtures(SPECIES, len(number), drawn)
    held = membranes.measure(SPECIES, feed, number, torch.full((96,), 8e-6, dtype=D))

    def mean_error(closure):
        fit = Fit(SPECIES, membranes.pores[None], closure, torch.ones(1, dtype=D))
        found = fit.predict(held.feed, held.membrane, flux=held.flux).rejection[0, :, :3]
        return float((found - held.rejection).abs().mean())

    learned = LearnedClosure(*(weight[None] for weight in closure))
    assert mean_error(learned) < 0.7 * mean_error(None)


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(ValueError, match=r"`count` must be at least 1; it is 0"):
        SimulatedMembranes.drawn(0, generator())
    with pytest.raises(ValueError, match=r"`cases` must be at least 1; it is 0"):
        pretrained(SPECIES, cases=0)
    with pytest.raises(ValueError, match=r"`hidden` must be at least 1; it is 0"):
        pretrained(SPECIES, hidden=0)
