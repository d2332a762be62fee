"""Gradients of transport against finite differences."""

import pytest
import torch
from pores import D, brine, membrane, tensor

from idnn.nanopore import (
    Davies,
    Ions,
    LearnedLocalClosure,
    Membrane,
    ions,
    spiral_wound,
    transport,
    two_nodes,
    untrained,
)
from idnn.nanopore.membrane import Water

SPECIES, FEED = brine()
PORE = (0.5e-9, 1.33e-6, -27.0, 41.3)


def outputs(found):
    """Numbers of about one."""
    return (
        found.permeate.log(),
        found.flux.log(),
        found.concentration[..., ::5, :].log(),
        found.potential[..., ::5],
        found.permeate_potential,
    )


def scaled(pore, diffusivity, radius, salts, load, film, *, driving, **options):
    """From relative changes of everything, all of about zero; the feed stays neutral."""
    species = Ions(
        SPECIES.names,
        SPECIES.charge,
        SPECIES.diffusivity * diffusivity.exp(),
        SPECIES.stokes_radius * (0.1 * radius).exp(),
        SPECIES.molar_mass,
    )
    added = torch.stack([10 * salts[0], 0 * salts[0], salts[1], salts[1], 10 * salts[0]])
    k = spiral_wound(SPECIES, Water(), velocity=tensor(0.2)[0]) * film.exp()
    name, value = driving
    found = transport(
        species, FEED + added, Membrane(*(tensor(*PORE) * (0.2 * pore).exp())),
        mass_transfer=k, **{name: value * load.exp()}, **options,
    )  # fmt: skip
    return outputs(found)


@pytest.mark.parametrize(
    ("driving", "options"),
    [
        (("pressure", 12e5), {"activity": Davies()}),
        (("flux", 1e-5), {}),
        (("pressure", 4e5), {"mesh": two_nodes(), "suction": False}),
    ],
)
def test_gradients_are_those_of_finite_differences_in_everything(driving, options):
    sizes = (4, 5, 5, 2, 1, 5)
    inputs = [torch.zeros(n, dtype=D, requires_grad=True) for n in sizes]

    def function(pore, diffusivity, radius, salts, load, film):
        return scaled(pore, diffusivity, radius, salts, load[0], film, driving=driving, **options)

    assert torch.autograd.gradcheck(function, inputs, eps=1e-5, atol=1e-7, rtol=1e-6)


def with_charge(charge):
    radius, thickness, _, permittivity = tensor(*PORE)
    return Membrane(radius, thickness, charge, permittivity)


def test_unsolved_cases_leave_the_gradients_of_others_alone():
    pressure = tensor(8e5, 8e5)
    k = torch.stack([torch.full((5,), each, dtype=D) for each in (1e-4, 1e-9)])
    charge = tensor(-27.0)[0].requires_grad_()
    pore = with_charge(charge)
    found = transport(
        SPECIES, FEED, pore, flux=pressure / 8e5 * 1e-5, mass_transfer=k, suction=False,
        strict=False,
    )  # fmt: skip
    assert found.converged.tolist() == [True, False]
    assert found.permeate[1].isnan().all()
    (both,) = torch.autograd.grad(found.permeate[0].sum(), charge)
    charge = charge.detach().requires_grad_()
    pore = with_charge(charge)
    alone = transport(SPECIES, FEED, pore, flux=1e-5, mass_transfer=k[0], suction=False)
    (one,) = torch.autograd.grad(alone.permeate.sum(), charge)
    assert torch.allclose(both, one, rtol=1e-10)
    assert float(one.detach().abs().max()) > 0


def test_gradients_of_a_batch_are_those_of_its_cases():
    feed = FEED * tensor(0.1, 1.0, 5.0)[:, None]
    pressure = tensor(5e5, 10e5, 30e5).requires_grad_()
    rejection = transport(SPECIES, feed, membrane(), pressure=pressure).rejection[:, 2]
    (together,) = torch.autograd.grad(rejection.sum(), pressure)
    for c, p, slope in zip(feed, pressure.detach(), together, strict=True):
        low, high = (
            transport(SPECIES, c, membrane(), pressure=p * (1 + e)).rejection[2]
            for e in (-1e-5, 1e-5)
        )
        assert float(slope * p) == pytest.approx(float((high - low) / 2e-5), rel=1e-5)


def through_local_closures(change):
    """One number of all outputs, of each row of relative changes of everything."""
    pore, salts, load, weights = change.split((4, 2, 1, 104), -1)
    species, start = ions(("Li", "Mg", "Cl")), untrained(0)
    first, bias, last = weights.split((64, 8, 32), -1)
    generator = torch.Generator().manual_seed(3)
    drawn = 0.5 * torch.randn(8, 4, dtype=D, generator=generator)
    closure = LearnedLocalClosure(
        start.first + first.unflatten(-1, (8, 8)),
        start.bias + bias,
        drawn + last.unflatten(-1, (8, 4)),
    )
    li, mg = (tensor(8.0, 20.0) * salts.exp()).unbind(-1)
    membranes = Membrane(*(tensor(0.5e-9, 1.3e-6, -60.0, 41.0) * (0.2 * pore).exp()).unbind(-1))
    found = transport(
        species, torch.stack([li, mg, li + 2 * mg], -1), membranes, closure=closure,
        pressure=8e5 * load[..., 0].exp(), activity=Davies(),
        mass_transfer=tensor(2e-5, 1e-5, 2e-5),
    )  # fmt: skip
    total = torch.zeros_like(li)
    for i, each in enumerate(outputs(found)):
        total = total + (i + 1) * each.flatten(1).cos().sum(1) if each.ndim > 1 else total + each
    return total


def test_gradients_through_local_closures_are_those_of_finite_differences():
    """Of fourth order, by membrane, feed, pressure, and weights, each in a direction of its own."""
    generator = torch.Generator().manual_seed(5)
    directions = torch.randn(111, dtype=D, generator=generator)
    groups = torch.zeros(4, 111, dtype=D)
    for row, part in zip(groups, (slice(4), slice(4, 6), slice(6, 7), slice(7, 111)), strict=True):
        row[part] = directions[part] / directions[part].norm()
    h = 3e-3
    moved = (tensor(-2.0, -1.0, 1.0, 2.0)[:, None, None] * h * groups).flatten(0, 1)
    far, near, near_up, far_up = through_local_closures(moved).view(4, 4)
    differences = (8 * (near_up - near) - (far_up - far)) / (12 * h)
    here = torch.zeros(1, 111, dtype=D, requires_grad=True)
    (slope,) = torch.autograd.grad(through_local_closures(here).sum(), here)
    assert torch.allclose(groups @ slope[0], differences, rtol=1e-6)
    assert float(differences.abs().min()) > 1e-3
