"""Hindrance, partition, permeability, activities and mass transfer against known values."""

import math
from dataclasses import replace

import pytest
import torch
from pores import D, membrane, salt, tensor

from idnn.nanopore import (
    Davies,
    Water,
    bowen_mohammad_hilal,
    debye_hueckel,
    dechadilok_deen,
    geraldes_alves,
    ions,
    layered_permittivity,
    pore_viscosity,
    spiral_wound,
)
from idnn.nanopore.channel import with_suction
from idnn.nanopore.membrane import (
    born_partition,
    size_ratio,
    steric_partition,
    water_permeability,
)

FIVE = ions(("Ca", "SO4", "Mg", "Na", "Cl"))
every_hindrance = pytest.mark.parametrize(
    "hindrance", [dechadilok_deen, geraldes_alves, bowen_mohammad_hilal]
)


def test_values_in_pores_of_half_a_nanometre_are_those_of_watertap():
    pore, water = membrane(), Water(permittivity=80.4)
    ratio = size_ratio(pore, FIVE)
    diffusion, convection = dechadilok_deen(ratio)
    steric, born = steric_partition(ratio), born_partition(pore, FIVE, water)
    known = {
        diffusion: (0.098786, 0.227900, 0.057217, 0.328888, 0.495950),
        convection: (1.317419, 1.347878, 1.282464, 1.338142, 1.286772),
        steric: (0.145924, 0.291600, 0.093636, 0.399424, 0.574564),
        born: (0.013960, 0.003219, 0.022286, 0.166400, 0.065409),
    }
    for found, values in known.items():
        assert torch.allclose(found, tensor(*values), atol=6e-7, rtol=0)


@every_hindrance
def test_a_point_is_not_hindered(hindrance):
    diffusion, convection = hindrance(tensor(1e-12))
    assert float(diffusion) == pytest.approx(1, abs=1e-10)
    assert float(convection) == pytest.approx(1, abs=1e-10)


def test_values_of_the_polynomials_on_the_axis_of_the_pore():
    diffusion, convection = bowen_mohammad_hilal(tensor(0.5))
    assert float(diffusion) == pytest.approx(1 - 1.15 + 0.2885 + 0.028)
    assert float(convection) == pytest.approx(1.75 * (1 + 0.027 - 0.247 + 0.055125))


def test_an_ion_that_fills_the_pore_moves_with_the_water_and_does_not_diffuse():
    diffusion, convection = dechadilok_deen(tensor(1.0))
    assert float(diffusion) == 0
    assert float(convection) == pytest.approx(1, abs=1e-12)
    assert float(steric_partition(tensor(1.0))) == 0


def test_diffusion_is_hindered_alike_on_both_sides_of_where_its_formula_changes():
    below, above = dechadilok_deen(tensor(0.95, 0.95 + 1e-9))[0]
    assert float(below) == pytest.approx(float(above), rel=0.03)


@every_hindrance
def test_hindrance_has_gradients_everywhere(hindrance):
    ratio = torch.linspace(0.02, 0.98, 25, dtype=D).requires_grad_()
    assert torch.autograd.gradcheck(hindrance, (ratio,))


def test_the_born_energy_of_an_ion_is_that_of_charging_its_sphere():
    water = Water(temperature=300.0, permittivity=80.0)
    pore = membrane(permittivity=40.0)
    energy = (1.602176634e-19) ** 2 / (8 * math.pi * 8.8541878128e-12 * 0.2e-9) * (1 / 40 - 1 / 80)
    found = born_partition(pore, salt(charge=(1.0, -2.0)), water)
    kt = 1.380649e-23 * 300
    assert found.tolist() == pytest.approx([math.exp(-energy / kt), math.exp(-4 * energy / kt)])


def test_water_flows_as_through_pipes_and_slower_if_more_viscous_there():
    wide = membrane(0.5e-9, 1e-6)
    slow = replace(wide, viscosity_ratio=pore_viscosity(wide.pore_radius))
    one, other = (water_permeability(m, Water(viscosity=1e-3)) for m in (wide, slow))
    assert float(one) == pytest.approx(0.25e-18 / 8e-9, rel=1e-12, abs=0)
    assert float(one / other) == pytest.approx(1 + 18 * 0.56 - 9 * 0.56**2)


def test_the_layer_of_water_on_the_wall_lowers_the_permittivity():
    found = layered_permittivity(tensor(0.5e-9), Water(permittivity=80.4), layer=31.0)
    assert float(found) == pytest.approx(40.564, abs=1e-3)
    assert float(layered_permittivity(tensor(1.0), Water())) == pytest.approx(78.4)


def test_activities_of_sodium_chloride_are_those_of_davies():
    """γ± = 0.781 at 0.1 mol/kg by Davies' equation; 0.778 is measured."""
    assert debye_hueckel(Water()) == pytest.approx(0.509 * math.log(10), rel=0.01)
    mass = tensor(0.02299, 0.03545)
    c = 0.1 * 1000 / (1 + 0.1 * mass.sum()) * tensor(1.0, 1.0)
    g, _ = Davies().screening(c, tensor(1.0, -1.0), mass)
    assert math.exp(-float(g)) == pytest.approx(0.781, abs=1e-3)


def test_derivatives_of_activities_are_those_by_concentrations():
    species = FIVE
    c = tensor(3.0, 40.0, 20.0, 100.0, 66.0).requires_grad_()
    g, slopes = Davies().screening(c, species.charge, species.molar_mass)
    assert torch.allclose(torch.autograd.grad(g, c)[0], slopes, rtol=1e-12)


def test_mass_transfer_grows_with_the_root_of_the_velocity_and_two_thirds_of_the_diffusivity():
    species = salt(diffusivity=(1e-9, 8e-9))
    slow, fast = (spiral_wound(species, Water(), velocity=v) for v in tensor(0.1, 0.4))
    assert torch.allclose(fast, 2 * slow)
    assert float(slow[1] / slow[0]) == pytest.approx(4)


def test_suction_leaves_slow_flow_alone_and_keeps_mass_transfer_above_fast_flow():
    k, slow, fast = tensor(1e-5, 3e-5), tensor(1e-13)[0], tensor(1e-2)[0]
    assert torch.allclose(with_suction(k, slow)[0], k, rtol=1e-6)
    found = with_suction(k, fast)[0]
    assert (found > fast).all()
    assert torch.allclose(found, fast.expand(2), rtol=1e-3)
    flux = tensor(2e-5)[0].requires_grad_()
    corrected, slope = with_suction(k[:1], flux)
    assert torch.allclose(torch.autograd.grad(corrected.sum(), flux)[0], slope.detach())
