"""Learned closures: what they leave alone, what they keep, and their gradients."""

import pytest
import torch
from pores import D, brine, membrane, tensor

from idnn.nanopore import LearnedClosure, dechadilok_deen, transport, untrained

SPECIES, FEED = brine()
FLUXES = tensor(3e-6, 2e-5)


def drawn(scale, *members):
    """Closures with a last layer that is not zero."""
    start = untrained(0)
    generator = torch.Generator().manual_seed(3)
    last = scale * torch.randn((*members, *start.last.shape), dtype=D, generator=generator)
    return start._replace(last=last)


def test_an_untrained_closure_leaves_the_model_as_it_is():
    plain = transport(SPECIES, FEED, membrane(), flux=FLUXES)
    found = transport(SPECIES, FEED, membrane(), flux=FLUXES, closure=untrained(2))
    assert torch.equal(found.permeate, plain.permeate)
    assert torch.equal(found.concentration, plain.concentration)


@pytest.mark.parametrize("scale", [0.3, 10.0])
def test_whatever_the_weights_solutions_are_neutral(scale):
    closure = drawn(scale, 4, 1)
    found = transport(SPECIES, FEED, membrane(), flux=FLUXES, closure=closure)
    z = SPECIES.charge
    charge = (found.permeate * z).sum(-1) / (found.permeate * z.abs()).sum(-1)
    assert float(charge.abs().max()) < 1e-12
    inside = (found.concentration * z).sum(-1)
    relative = (inside - inside[..., :1]) / (found.concentration * z.abs()).sum(-1)
    assert float(relative.abs().max()) < 1e-8
    plain = transport(SPECIES, FEED, membrane(), flux=FLUXES)
    assert float((found.rejection - plain.rejection).abs().max()) > 0.05


def test_corrections_are_of_the_laws_that_they_are_named_for():
    closure = drawn(0.5)
    ratio = SPECIES.stokes_radius / 0.5e-9
    by = closure(SPECIES, FEED, membrane(), ratio)

    def hindrance(ratio):
        plain = dechadilok_deen(ratio)
        return plain[0] * by.diffusion.exp(), plain[1] * by.convection.exp()

    def partition_alone(ions, feed, membrane, ratio):
        zero = torch.zeros_like(by.partition)
        return by._replace(diffusion=zero, convection=zero, charge=torch.zeros_like(by.charge))

    charge = float(membrane().charge * by.charge.exp())
    whole = transport(SPECIES, FEED, membrane(), flux=1e-5, closure=closure)
    parts = transport(
        SPECIES, FEED, membrane(charge=charge), flux=1e-5, hindrance=hindrance,
        closure=partition_alone,
    )  # fmt: skip
    assert torch.allclose(whole.permeate, parts.permeate, rtol=1e-10)


def test_the_order_of_ions_does_not_matter():
    order = [2, 0, 4, 1, 3]
    turned = type(SPECIES)(
        tuple(SPECIES.names[i] for i in order),
        *(
            getattr(SPECIES, name)[order]
            for name in ("charge", "diffusivity", "stokes_radius", "molar_mass")
        ),
    )
    closure = drawn(0.5)
    one = transport(SPECIES, FEED, membrane(), flux=1e-5, closure=closure)
    other = transport(turned, FEED[order], membrane(), flux=1e-5, closure=closure)
    assert torch.allclose(one.permeate[..., order], other.permeate, rtol=1e-10)


def test_gradients_by_weights_are_those_of_finite_differences():
    weights = [w.requires_grad_() for w in drawn(0.3)]

    def function(*weights):
        closure = LearnedClosure(*weights)
        found = transport(SPECIES, FEED, membrane(), pressure=1e6, closure=closure)
        return found.rejection, found.flux.log()

    assert torch.autograd.gradcheck(function, weights, eps=1e-5, atol=1e-7, rtol=1e-6)


def test_a_closure_without_units_is_refused():
    with pytest.raises(ValueError, match="`hidden` must be at least 1; it is 0"):
        untrained(0, hidden=0)
