"""Transport through membranes against closed forms, limits, balances and another integrator."""

import math

import pytest
import torch
from pores import D, brine, membrane, salt, tensor
from scipy.integrate import solve_ivp

from idnn.nanopore import (
    Davies,
    Ions,
    Membrane,
    Water,
    bowen_mohammad_hilal,
    dechadilok_deen,
    ions,
    spiral_wound,
    transport,
    two_nodes,
)
from idnn.nanopore.collocation import radau
from idnn.nanopore.conditions import conditions
from idnn.nanopore.membrane import born_partition, size_ratio, steric_partition
from idnn.nanopore.newton import continued, newton, started

WATER = Water()


def closures(pore, species):
    ratio = size_ratio(pore, species)
    diffusion, convection = dechadilok_deen(ratio)
    partition = steric_partition(ratio) * born_partition(pore, species, WATER)
    return diffusion, convection, partition


def passed_when_neutral(pore, species, flux):
    """c_p/c = K_cΦ/(1 − (1 − K_cΦ) exp(−Pe)), Pe = K_c J_v Δx/(K_d D)."""
    diffusion, convection, partition = closures(pore, species)
    peclet = convection * flux * pore.thickness / (diffusion * species.diffusivity)
    carried = convection * partition
    return carried / (1 - (1 - carried) * (-peclet).exp())


@pytest.mark.parametrize("flux", [1e-8, 1e-6, 1e-5, 1e-4])
def test_ions_alike_pass_an_uncharged_pore_as_a_neutral_solute(flux):
    pore, species = membrane(charge=0.0), salt()
    found = transport(species, tensor(10.0, 10.0), pore, flux=flux)
    exact = 1 - passed_when_neutral(pore, species, flux)
    assert torch.allclose(found.rejection, exact, atol=1e-13)
    assert torch.allclose(found.potential, torch.zeros(21, dtype=D), atol=1e-12)


def test_a_neutral_solute_does_not_heed_the_ions():
    nacl = ions(("Na", "Cl"))
    species = Ions(
        ("Na", "Cl", "glycerol"),
        tensor(1.0, -1.0, 0.0),
        torch.cat([nacl.diffusivity, tensor(0.95e-9)]),
        torch.cat([nacl.stokes_radius, tensor(0.26e-9)]),
        torch.cat([nacl.molar_mass, tensor(0.092)]),
    )
    pore = membrane(charge=-200.0)
    found = transport(species, tensor(30.0, 30.0, 5.0), pore, flux=2e-5)
    exact = 1 - passed_when_neutral(pore, species, 2e-5)[2]
    assert float(found.rejection[2]) == pytest.approx(float(exact), abs=1e-12)


def test_nothing_is_rejected_without_flow():
    species, feed = brine()
    fast, slow = (transport(species, feed, membrane(), flux=j).rejection for j in (1e-16, 1e-18))
    assert slow.abs().max() < 1e-9
    assert torch.allclose(slow * 100, fast, rtol=1e-3)


def test_fast_flow_carries_what_enters():
    pore, species = membrane(charge=0.0), salt()
    found = transport(species, tensor(10.0, 10.0), pore, flux=1e-2)
    _, convection, partition = closures(pore, species)
    assert torch.allclose(found.rejection, 1 - convection * partition, atol=1e-12)


def test_without_flow_the_pore_is_in_donnan_equilibrium():
    pore, species = membrane(charge=-50.0), salt()
    found = transport(species, tensor(20.0, 20.0), pore, flux=1e-18)
    product = float(closures(pore, species)[2].prod()) * 20.0**2
    excluded = (-50 + math.sqrt(50**2 + 4 * product)) / 2
    profile = found.concentration
    assert torch.allclose(profile[:, 1], torch.full((21,), excluded, dtype=D), rtol=1e-8)
    assert torch.allclose(profile[:, 0], profile[:, 1] + 50)
    shift = math.log(float(closures(pore, species)[2][0]) * 20 / (50 + excluded))
    assert float(found.potential[0]) == pytest.approx(shift, abs=1e-9)
    assert float(found.permeate_potential) == pytest.approx(0, abs=1e-9)


def film_and_activities():
    species, feed = brine()
    k = spiral_wound(species, WATER, velocity=tensor(0.2)[0])
    found = transport(species, feed, membrane(), pressure=12e5, mass_transfer=k, activity=Davies())
    return species, feed, k, found


def test_charges_balance_to_rounding_everywhere():
    species, _, _, found = film_and_activities()
    z = species.charge
    for c, fixed in ((found.outside, 0), (found.permeate, 0), (found.concentration, -27)):
        assert ((c @ z + fixed).abs() / (c @ z.abs())).max() < 1e-12
    assert found.residual < 1e-12


def test_the_film_passes_on_what_the_membrane_lets_through():
    """J_v c_p = −k(c_m − c) + J_v c_m − z c_m D ξ with one ξ for all ions."""
    species, feed, k, found = film_and_activities()
    ratio = found.flux / k
    k = k * (ratio + (1 + 0.26 * ratio**1.4) ** -1.7)
    outside, flux = found.outside, found.flux
    rest = flux * outside - k * (outside - feed) - flux * found.permeate
    xi = rest / (species.charge * outside * species.diffusivity)
    assert torch.allclose(xi, xi.mean().expand(5), rtol=1e-9)
    assert found.outside[2] > feed[2]
    assert found.intrinsic_rejection[2] > found.rejection[2]


def test_pressure_overcomes_friction_and_the_difference_of_osmotic_pressures():
    _, _, _, found = film_and_activities()
    friction = found.flux * 8 * WATER.viscosity * 1.33e-6 / 0.5e-9**2
    osmotic = 8.314462618 * 298.15 * (found.outside - found.permeate).sum()
    assert float(friction + osmotic) == pytest.approx(12e5, rel=1e-12)
    assert float(found.pressure) == pytest.approx(12e5, rel=1e-12)


def test_a_given_flux_leads_to_the_pressure_that_leads_to_the_flux():
    species, feed, k, found = film_and_activities()
    again = transport(
        species, feed, membrane(), flux=found.flux, mass_transfer=k, activity=Davies()
    )
    assert float(again.pressure) == pytest.approx(12e5, rel=1e-11)
    assert torch.allclose(again.permeate, found.permeate, rtol=1e-11)


def test_an_initial_value_solver_finds_the_same_profiles_and_partition():
    """scipy's Radau from the permeate's side of the pore to the feed's."""
    species, _, _, found = film_and_activities()
    pore, z = membrane(), species.charge
    diffusion, convection, partition = closures(pore, species)
    drag = found.flux * pore.thickness / (diffusion * species.diffusivity)

    def slope(x, state):
        c = torch.from_numpy(state[:-1])
        free = drag * (convection * c - found.permeate)
        field = (z @ free) / (z**2 @ c)
        return torch.cat([free - z * c * field, field[None]]).numpy()

    start = torch.cat([found.concentration[-1], found.potential[-1:]]).numpy()
    solved = solve_ivp(
        slope, (1, 0), start, "Radau", found.position.flip(0).numpy(), rtol=1e-11, atol=1e-13
    )
    every = torch.from_numpy(solved.y.T).flip(0)
    profile = every[:, :-1]
    assert torch.allclose(profile, found.concentration, rtol=1e-8)
    assert torch.allclose(every[:, -1], found.potential, rtol=1e-8)
    davies = Davies()
    for inside, outside, jump in (
        (profile[0], found.outside, found.potential[0]),
        (profile[-1], found.permeate, found.potential[-1] - found.permeate_potential),
    ):
        g = [davies.screening(c, z, species.molar_mass)[0] for c in (inside, outside)]
        wanted = outside * partition * (z**2 * (g[0] - g[1]) - z * jump).exp()
        assert torch.allclose(inside, wanted, rtol=1e-8)


def batch():
    species, feed = brine()
    pore = Membrane(
        tensor(0.42e-9, 0.5e-9, 0.7e-9),
        tensor(1e-6, 2e-6, 0.5e-6),
        tensor(-100.0, 20.0, -3.0),
        tensor(35.0, 45.0, 60.0),
    )
    return species, feed * tensor(0.1, 3.0)[:, None, None], pore, tensor(3e5, 30e5)[:, None, None]


def test_a_batch_is_its_cases_one_by_one():
    species, feed, pore, pressure = batch()
    found = transport(species, feed[:, 0, None], pore, pressure=pressure)
    assert found.rejection.shape == (2, 2, 3, 5)
    assert found.concentration.shape == (2, 2, 3, 21, 5)
    assert found.converged.all()
    for p in range(2):
        for f in range(2):
            for m in range(3):
                names = ("pore_radius", "thickness", "charge", "permittivity")
                one = Membrane(**{name: getattr(pore, name)[m] for name in names})
                alone = transport(species, feed[f, 0], one, pressure=pressure[p, 0, 0])
                assert torch.allclose(alone.permeate, found.permeate[p, f, m], rtol=1e-10)
                assert torch.allclose(alone.potential, found.potential[p, f, m], atol=1e-10)


def test_fixed_meshes_converge_to_what_refinement_finds():
    species, feed = brine()
    exact, *found = (
        transport(species, feed, membrane(), pressure=6e5, mesh=mesh).rejection
        for mesh in (None, two_nodes(), radau(3, 1), radau(5, 2), radau(10, 2))
    )
    errors = [float((rejection - exact).abs().max()) for rejection in found]
    assert errors[0] > 3e-5
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12


def test_layers_at_the_ends_of_the_pore_are_resolved():
    """A Péclet number of 23, and ions of which fewer than one in 10⁵ pass."""
    species, feed = brine()
    pore = membrane(0.4e-9, 1e-6, -100.0, 35.0)
    found = transport(species, feed, pore, flux=1e-4)
    exact = transport(species, feed, pore, flux=1e-4, mesh=radau(12, 20))
    assert torch.allclose(found.permeate, exact.permeate, rtol=1e-10, atol=0)
    assert torch.allclose(found.concentration, exact.concentration, rtol=1e-7, atol=0)
    assert found.rejection.max() > 1 - 1e-5


def test_the_variants_of_hindrance_differ_as_their_convection():
    pore, species = membrane(charge=0.0), salt()
    found = transport(species, tensor(1.0, 1.0), pore, flux=1e-2, hindrance=bowen_mohammad_hilal)
    convection = bowen_mohammad_hilal(size_ratio(pore, species))[1]
    wanted = 1 - convection * closures(pore, species)[2]
    assert torch.allclose(found.rejection, wanted, atol=1e-12)


def hard():
    """Salts hardly let through, far below their osmotic pressure."""
    species = ions(("Li", "Mg", "Cl"))
    pore = membrane(0.7e-9, 1e-6, 6.0, 25.0)
    return species, tensor(4.0, 126.0, 256.0), pore


def test_continuation_finds_what_newtons_method_alone_does_not():
    species, feed, pore = hard()
    given, _ = conditions(
        species, feed, pore, pressure=0.5e5, flux=None, water=WATER, hindrance=dechadilok_deen,
        closure=None, mass_transfer=None, suction=True, activity=None,
    )  # fmt: skip
    mesh = radau(5, 1)
    assert not newton(given, started(given, mesh), mesh)[1].any()
    assert continued(given, mesh)[1].all()
    found = transport(species, feed, pore, pressure=0.5e5)
    again = transport(species, feed, pore, flux=found.flux)
    assert float(again.pressure) == pytest.approx(0.5e5, rel=1e-6)
