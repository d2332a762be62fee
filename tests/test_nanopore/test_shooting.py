"""Closures of the local state in the pore, against closed forms, `transport` and scipy."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from pores import D, brine, membrane, salt, tensor
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, root
from torch import Tensor

from idnn.nanopore import (
    Corrections,
    Davies,
    LearnedClosure,
    LearnedLocalClosure,
    LocalClosure,
    NotConverged,
    Water,
    dechadilok_deen,
    ions,
    spiral_wound,
    transport,
    untrained,
)
from idnn.nanopore.closures import AtFeed
from idnn.nanopore.conditions import conditions
from idnn.nanopore.membrane import born_partition, size_ratio, steric_partition
from idnn.nanopore.refinement import refined
from idnn.nanopore.shooting import Shooting, _continued, solved, started
from idnn.ode import Control

SPECIES, FEED = brine()
FLUXES = tensor(3e-6, 2e-5)
LIMG, MIXED = ions(("Li", "Mg", "Cl")), tensor(8.0, 20.0, 48.0)
WATER = Water()
LOOSE = Control(rtol=1e-7, atol=1e-7)
UNCORRECTED = LearnedLocalClosure(*untrained(0))


class PowerLaws(NamedTuple):
    """K_d, K_c, P and X times constants and powers of I/100 mol/m³, I local (Freundlich)."""

    power: Tensor
    constant: Tensor = tensor(0.0, 0.0, 0.0, 0.0)

    def known(self, ions, membrane, ratio):
        batch = torch.broadcast_shapes(self.power.shape, self.constant.shape)
        return torch.cat([self.power.expand(batch), self.constant.expand(batch)], -1)

    def corrected(self, ions, concentration, known):
        strength = 0.5 * (concentration * ions.charge**2).sum(-1)[..., None]
        all_four = known[..., :4] * (strength / 100).log() + known[..., 4:]
        one = torch.ones_like(concentration)
        diffusion, convection, partition = (all_four[..., i : i + 1] * one for i in range(3))
        return Corrections(diffusion, convection, partition, all_four[..., 3])


def charge_law(power):
    return PowerLaws(tensor(0.0, 0.0, 0.0, power))


def drawn(scale, *members):
    """A closure with a last layer that is not zero."""
    generator = torch.Generator().manual_seed(3)
    shape = (*members, *UNCORRECTED.last.shape)
    return UNCORRECTED._replace(last=scale * torch.randn(shape, dtype=D, generator=generator))


def same(one, other, rtol=1e-8):
    """All that two results hold."""
    names = ("permeate", "outside", "flux", "pressure", "concentration", "potential")
    for name in (*names, "permeate_potential"):
        a, b = getattr(one, name), getattr(other, name)
        assert torch.allclose(a, b, rtol=rtol, atol=rtol * float(b.detach().abs().max())), name


def test_without_flow_the_pore_is_in_donnan_equilibrium_with_the_charge_that_it_brings_about():
    """X = −50 (c₁ + c₂)/2/100 of a salt: c₁c₂ = P²c², c₁ − c₂ = 0.25(c₁ + c₂)."""
    pore, species = membrane(charge=-50.0), salt()
    found = transport(species, tensor(20.0, 20.0), pore, flux=1e-16, closure=charge_law(1.0))
    partition = steric_partition(size_ratio(pore, species)) * born_partition(pore, species, WATER)
    excluded = 20 * float(partition[0]) * (0.75 / 1.25) ** 0.5
    profile = found.concentration
    assert torch.allclose(profile[:, 1], torch.full((21,), excluded, dtype=D), rtol=1e-7)
    assert torch.allclose(profile[:, 0], profile[:, 1] * 1.25 / 0.75, rtol=1e-12)


def test_a_closure_that_corrects_nothing_gives_what_collocation_finds():
    plain = transport(SPECIES, FEED, membrane(), flux=FLUXES)
    same(transport(SPECIES, FEED, membrane(), flux=FLUXES, closure=UNCORRECTED), plain)


def test_films_activities_and_pressures_are_those_of_collocation():
    k = spiral_wound(SPECIES, WATER, velocity=tensor(0.2)[0])
    given = {"pressure": tensor(4e5, 12e5), "mass_transfer": k, "activity": Davies()}
    plain = transport(SPECIES, FEED, membrane(), **given)
    found = transport(SPECIES, FEED, membrane(), closure=UNCORRECTED, **given)
    same(found, plain)
    assert found.residual.max() < 1e-12


def test_constant_corrections_are_those_of_the_laws_that_they_are_named_for():
    closure = PowerLaws(torch.zeros(4, dtype=D), tensor(0.3, -0.1, 0.2, 0.1))

    def hindrance(ratio):
        diffusion, convection = dechadilok_deen(ratio)
        return diffusion * np.exp(0.3), convection * np.exp(-0.1)

    def partition(ions, feed, membrane, ratio):
        zero = torch.zeros_like(ratio + feed)
        return Corrections(zero, zero, zero + 0.2, zero[..., 0] + 0.1)

    found = transport(SPECIES, FEED, membrane(), flux=FLUXES, closure=closure)
    same(
        found,
        transport(SPECIES, FEED, membrane(), flux=FLUXES, hindrance=hindrance, closure=partition),
    )


def by_scipy(species, feed, pore, flux, law, guess):
    """From the feed to the permeate, which hybrid Newton iterations make meet: c_p.

    From a guess of ln c_p and the jump of ψ there."""
    z, peclet, powers = species.charge.numpy(), flux * float(pore.thickness), law.power.numpy()
    ratio = size_ratio(pore, species)
    diffusion, convection = (x.numpy() for x in dechadilok_deen(ratio))
    partition = (steric_partition(ratio) * born_partition(pore, species, WATER)).numpy()
    moving, count = diffusion * species.diffusivity.numpy(), len(z)

    def factors(c):
        return (c @ z**2 / 200) ** powers

    def inside(jump):
        """c = c⁰ s(c)^p where s is I/100: s(c) = s(c⁰)^(1/(1 − p))."""
        c = partition * feed * np.exp(-z * jump)
        return c * factors(c)[2] ** (1 / (1 - powers[2]))

    def charge(c):
        return float(pore.charge) * factors(c)[3]

    jump = brentq(lambda x: inside(x) @ z + charge(inside(x)), -8, 8, xtol=1e-14)

    def slope(_, state, permeate):
        c = state[:count]
        by, mobile = factors(c), moving * factors(c)[0]
        matrix = np.zeros((count + 1, count + 1))
        matrix[:count, :count], matrix[:count, count] = np.diag(mobile), mobile * z * c
        matrix[count, :count] = z + charge(c) * powers[3] * z**2 / (c @ z**2)
        free = peclet * (convection * by[1] * c - permeate)
        return np.linalg.solve(matrix, np.append(free, 0))

    def missed(unknowns):
        permeate = np.exp(unknowns[:count])
        start = np.append(inside(jump), 0)
        found = solve_ivp(slope, (0, 1), start, "Radau", args=(permeate,), rtol=1e-11, atol=1e-13)
        last = found.y[:count, -1]
        wanted = partition * factors(last)[2] * permeate * np.exp(-z * unknowns[count])
        return np.append(np.log(wanted / last), permeate @ z / (permeate @ abs(z)))

    found = root(missed, guess, tol=1e-11)
    assert np.abs(found.fun).max() < 1e-9
    return np.exp(found.x[:count])


@pytest.mark.parametrize("powers", [(0.0, 0.0, 0.0, 0.5), (0.2, -0.1, 0.3, 0.4)])
def test_laws_of_the_local_ionic_strength_are_solved_as_by_another_solver(powers):
    pore, law = membrane(charge=-60.0), PowerLaws(tensor(*powers))
    found = transport(LIMG, MIXED, pore, flux=3e-6, closure=law)
    jump = found.potential[-1:] - found.permeate_potential
    guess = torch.cat([(1.01 * found.permeate).log(), jump]).numpy()  # integration must not fail
    wanted = by_scipy(LIMG, MIXED.numpy(), pore, 3e-6, law, guess)
    assert found.permeate.numpy() == pytest.approx(wanted, rel=1e-8)
    constant = transport(LIMG, MIXED, pore, flux=3e-6, closure=AtFeed(law))
    assert not torch.allclose(found.permeate, constant.permeate, rtol=0.02)


def test_whatever_the_weights_profiles_are_neutral_with_the_charge_that_is_there():
    """However rough the integration."""
    closure, pore, z = drawn(0.7, 2), membrane(charge=-60.0), LIMG.charge
    rough = Control(rtol=1e-5, atol=1e-5)
    found = transport(LIMG, MIXED, pore, flux=1e-5, closure=closure, control=rough)
    c = found.concentration
    known = closure.known(LIMG, pore, size_ratio(pore, LIMG))[..., None, :]
    fixed = pore.charge * closure.corrected(LIMG, c, known).charge.exp()
    assert ((c @ z + fixed).abs() / (c @ z.abs())).max() < 1e-12
    for outside in (found.permeate, found.outside):
        assert ((outside @ z).abs() / (outside @ z.abs())).max() < 1e-12
    at_feed = transport(LIMG, MIXED, pore, flux=1e-5, closure=LearnedClosure(*closure))
    assert (found.rejection - at_feed.rejection).abs().max() > 1e-3


def test_the_network_is_that_of_the_closure_at_the_feed():
    closure, pore = drawn(0.5), membrane()
    ratio = size_ratio(pore, SPECIES)
    one = AtFeed(closure)(SPECIES, FEED, pore, ratio)
    for a, b in zip(one, LearnedClosure(*closure)(SPECIES, FEED, pore, ratio), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)


def test_the_order_of_ions_does_not_matter():
    order = [2, 0, 1]
    names = ("charge", "diffusivity", "stokes_radius", "molar_mass")
    turned = type(LIMG)(
        tuple(LIMG.names[i] for i in order), *(getattr(LIMG, name)[order] for name in names)
    )
    one = transport(LIMG, MIXED, membrane(), flux=1e-5, closure=drawn(0.5), control=LOOSE)
    other = transport(
        turned, MIXED[order], membrane(), flux=1e-5, closure=drawn(0.5), control=LOOSE
    )
    assert torch.allclose(one.permeate[order], other.permeate, rtol=1e-6)


def test_a_batch_is_its_cases_one_by_one():
    closure, feed = drawn(0.5, 2, 1), MIXED * tensor(0.2, 2.0)[:, None]
    found = transport(LIMG, feed, membrane(), flux=1e-5, closure=closure, control=LOOSE)
    assert found.concentration.shape == (2, 2, 21, 3)
    own = LearnedLocalClosure(closure.first, closure.bias, closure.last[1, 0])
    alone = transport(LIMG, feed[1], membrane(), flux=1e-5, closure=own, control=LOOSE)
    assert torch.allclose(found.permeate[1, 1], alone.permeate, rtol=1e-6)


def shooting(closure):
    pore = membrane(charge=-60.0)
    given, _ = conditions(
        LIMG, MIXED, pore, pressure=None, flux=1e-5, water=WATER, hindrance=dechadilok_deen,
        closure=AtFeed(closure), mass_transfer=None, suction=True, activity=None,
    )  # fmt: skip
    known = closure.known(LIMG, pore, size_ratio(pore, LIMG))[None]
    case = Shooting(LIMG, closure, given, known, tensor(1.0), LOOSE)
    return case, started(case, refined(given)[0])


def test_continuation_from_corrections_at_the_feed_comes_to_the_same_solution():
    case, start = shooting(charge_law(0.4))
    direct, good = solved(case, start)
    followed, also = _continued(case, start)
    assert good.all()
    assert also.all()
    assert torch.allclose(direct, followed, rtol=1e-6)


def test_unsolved_cases_are_told_and_leave_others_alone():
    closure = PowerLaws(
        tensor(0.0, 0.0, 0.0, 0.5),
        torch.stack([torch.zeros(4, dtype=D), tensor(torch.nan).expand(4)]),
    )
    with pytest.raises(NotConverged, match=r"1 of 2 cases .* flat index 1") as caught:
        transport(LIMG, MIXED, membrane(), flux=1e-5, closure=closure, control=LOOSE)
    assert caught.value.case == 1
    found = transport(
        LIMG, MIXED, membrane(), flux=1e-5, closure=closure, control=LOOSE, strict=False
    )
    assert found.converged.tolist() == [True, False]
    assert found.permeate[1].isnan().all()
    alone = transport(LIMG, MIXED, membrane(), flux=1e-5, closure=charge_law(0.5), control=LOOSE)
    assert torch.allclose(found.permeate[0], alone.permeate, rtol=1e-6)


def test_too_few_steps_are_told_with_the_remedy():
    with pytest.raises(NotConverged, match="`control`"):
        transport(
            LIMG, MIXED, membrane(), flux=1e-5, closure=drawn(0.3), control=Control(max_steps=2)
        )


def test_a_closure_says_by_its_methods_whether_it_is_local():
    assert isinstance(UNCORRECTED, LocalClosure)
    assert isinstance(charge_law(0.5), LocalClosure)
    assert not isinstance(untrained(0), LocalClosure)
