"""γ′ in γ from Dupin's Ni–Al: interfaces, lever rule, antiphase boundaries, diffusion, in SI."""

import math
from dataclasses import replace

import pytest
import torch
from superalloys import (
    alloy,
    at_rest,
    control_of,
    diffusion_time,
    dupin,
    half_filled,
    potential,
    slope,
)

from idnn.equilibrium import tie_lines
from idnn.free_energy import IdealMixing, chemical_potential, hessian
from idnn.order_parameters import FCC_L12
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from idnn.wells import wells
from phasefield.gamma_prime import NoTieLine, box, gamma_prime
from phasefield.models import GradientFlow
from phasefield.ni_al import NI_AL, fixed
from phasefield.precipitates import Precipitate, in_matrix, precipitated
from phasefield.solve import solve
from phasefield.sums import Sum


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [pytest.param(1073, marks=pytest.mark.slow), 1273])
def test_a_flat_interface_at_rest_has_the_energy_and_width_asked_for(temperature):
    """At ten cells across; what is left is the grid's, and the finite box's."""
    ni_al = alloy(temperature, (64,), 0.15e-9)
    u = at_rest(ni_al, half_filled(ni_al))
    assert ni_al.excess_energy(u) == pytest.approx(NI_AL.interface_energy.at(temperature), rel=1e-3)
    low, high = ni_al.compositions
    width = (high - low) / slope(u[0], 0.15e-9)
    assert width == pytest.approx(NI_AL.interface_width.at(temperature), rel=0.01)


def test_drag_is_the_resistance_of_ordering_over_that_of_diffusion():
    """Of a moving profile of the flat interface, and in the matrix around a sphere."""
    length, radius = 1e-9, 10e-9
    ni_al = alloy(1273, (64,), 0.15e-9, order_length=length)
    u, model = at_rest(ni_al, half_filled(ni_al)), ni_al.model
    profile = float(torch.diff(u[1:]).square().sum()) / 0.15  # ∫ Σ(∂η/∂x)² dx, 1/nm
    low, high = ni_al.compositions
    ratio = profile / model.fields[1].mobility
    ratio /= (high - low) ** 2 * radius * 1e9 / model.fields[0].mobility
    assert ni_al.drag(radius) == pytest.approx(ratio, rel=0.05)
    assert ni_al.drag(2 * radius) == pytest.approx(ni_al.drag(radius) / 2)
    assert alloy(1273, (64,), 0.15e-9).drag(radius) < 0.01


@pytest.mark.parametrize("shift", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_three_cells_across_an_interface_keep_its_energy_wherever_it_lies(shift):
    """No cell holds it back: 12 J/mol are the curvature of a ball of 0.15 µm."""
    ni_al = alloy(1273, (24,), 0.5e-9)
    low, high = ni_al.compositions
    u = half_filled(ni_al)
    u[0] += shift / 24 * (high - low)
    u = at_rest(ni_al, u, steady=1e-6)
    assert ni_al.excess_energy(u) == pytest.approx(ni_al.interface.energy, rel=2e-3)
    assert potential(ni_al, u).abs().max() * EV_PER_SITE_IN_J_PER_MOL < 12


def test_the_barrier_leaves_both_phases_and_all_of_gamma_as_they_are():
    ni_al = alloy(1073, (16,), 0.5e-9)
    f, changed = dupin(1073), ni_al.model.f
    wells_of_order = FCC_L12.images(ni_al.tie_line.right.eta)
    gamma = torch.zeros(50, 4, dtype=torch.float64)
    gamma[:, 0] = torch.linspace(0.01, 0.3, 50)
    eta = torch.cat([wells_of_order, gamma])
    torch.testing.assert_close(changed(eta), f(eta), rtol=0, atol=1e-12)
    for of in (chemical_potential, hessian):
        torch.testing.assert_close(of(changed, eta), of(f, eta), rtol=0, atol=1e-9)
    (line,) = (t for t in tie_lines(changed, FCC_L12, composition=(0.05, 0.3)))
    assert line.compositions == pytest.approx(ni_al.compositions, abs=1e-8)


@pytest.mark.parametrize("temperature", [1073, 1273])
def test_the_barrier_makes_no_phase_and_no_state_below_the_tangent(temperature):
    ni_al = alloy(temperature, (16,), 0.5e-9)
    f, line = ni_al.model.f, ni_al.tie_line
    found = wells(f, FCC_L12, line.mu, composition=(0.02, 0.4))
    assert sorted(well.phase for well in found) == ["A1", "L1_2"]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50_000, 4, generator=generator, dtype=torch.float64) ** 2
    eta = FCC_L12.order_parameters(x)
    assert (f(eta) - line.mu * eta[:, 0] - line.left.omega).min() > 0


@pytest.mark.parametrize("width", [0.2e-9, 1.5e-9])
def test_derivatives_of_the_barrier_are_those_of_its_values(width):
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", width, "test"))
    ni_al = alloy(1073, (16,), 0.05e-9, constants=constants)
    term = ni_al.model.f.parts[1]
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(30, 4, generator=generator, dtype=torch.float64)
    eta = torch.cat([FCC_L12.order_parameters(x), vector(0.1, 0, 0, 0)[None]]).requires_grad_()
    values, slopes = term.evaluate(eta)
    (by_graph,) = torch.autograd.grad(values.sum(), eta, retain_graph=True)
    # √s has no slope at the last of these states, where that of the term is zero.
    torch.testing.assert_close(slopes[:-1], by_graph[:-1], rtol=1e-9, atol=1e-12)
    assert slopes[-1].abs().max() == 0
    rows = [torch.autograd.grad(s, eta, retain_graph=True)[0][:-1] for s in slopes.sum(0)[1:]]
    bent = term.hessian(eta.detach())[:-1, 1:]
    torch.testing.assert_close(bent, torch.stack(rows, 1), rtol=1e-8, atol=1e-10)


def test_two_phases_at_rest_hold_the_fractions_of_the_lever_rule():
    """Between flat interfaces, where no curvature shifts them: 14 % more γ′ than at the start."""
    ni_al = alloy(1273, (32,), 0.5e-9)
    mean = ni_al.mean_composition(0.5)
    u = precipitated(ni_al, [Precipitate((0.0,), 7e-9)], composition=mean)
    unit = diffusion_time(ni_al, ni_al.interface.width)
    u = solve(ni_al.model, u, [60 * unit], control=control_of(unit, tolerance=3e-4)).u
    low, high = ni_al.compositions
    assert float(u[0, -1]) == pytest.approx(low, abs=3e-4)
    assert float(u[0, 0]) == pytest.approx(high, abs=3e-4)
    share = (u[0] - (low + high) / 2) / (high - low)
    i = int((share > 0).sum())  # it passes the middle between cells i − 1 and i
    position = i - 0.5 + float(share[i - 1] / (share[i - 1] - share[i]))
    assert position / 32 == pytest.approx(ni_al.fraction(mean), rel=0.02)


def test_gamma_wets_an_antiphase_boundary():
    """Two variants in contact part: four interfaces with γ are left, and the variants stay two."""
    ni_al = alloy(1273, (40,), 0.5e-9, walls=False)
    half = 2.5e-9
    touching = [Precipitate((10e-9 - half,), half, 1), Precipitate((10e-9 + half,), half, 2)]
    u = precipitated(ni_al, touching, composition=ni_al.mean_composition(0.5))
    unit = diffusion_time(ni_al, ni_al.interface.width)
    u = solve(ni_al.model, u, [30 * unit], control=control_of(unit, tolerance=1e-3)).u
    order = u[1:].square().sum(0).sqrt() / (math.sqrt(3) * ni_al.order)
    assert order[18:22].min() < 0.25
    assert u[2].max() == pytest.approx(ni_al.order, rel=0.02)
    assert u[2].min() == pytest.approx(-ni_al.order, rel=0.02)
    # The film still widens; with a direct boundary it would be 14.
    assert 3.99 < ni_al.excess_energy(u) / ni_al.interface.energy < 6


@pytest.mark.parametrize("temperature", [1073, 1273])
def test_a_direct_antiphase_boundary_costs_far_more_than_two_interfaces(temperature):
    """∫√(2κΔω)|dη|/Ω from (h, h, h) to (h, −h, −h) at the composition of γ′."""
    ni_al = alloy(temperature, (16,), 0.5e-9)
    h, t = ni_al.order, torch.linspace(-1, 1, 801, dtype=torch.float64)
    eta = torch.stack([torch.full_like(t, ni_al.compositions[1]), h + 0 * t, h * t, h * t], -1)
    line = ni_al.tie_line
    excess = (ni_al.model.f(eta) - line.mu * eta[:, 0] - line.left.omega).clamp_min(0)
    root = (2 * ni_al.interface.kappa * excess).sqrt()
    energy = torch.trapezoid(root, math.sqrt(2) * h * t) / ni_al.model.site_volume * 0.160218
    assert 8 < float(energy) / ni_al.interface.energy < 14  # 100 to 160 mJ/m²


def test_a_small_wave_in_gamma_decays_with_the_interdiffusion_coefficient_in_seconds():
    ni_al = alloy(1073, (64,), 0.5e-9, walls=False)
    (x,) = ni_al.model.grid.cell_centres()
    k = 2 * math.pi / (64 * 0.5)
    u = torch.zeros(4, 64, dtype=torch.float64)
    u[0] = ni_al.compositions[0] + 1e-4 * torch.cos(k * x)
    wave_number = k * 1e9
    rate = NI_AL.diffusivity.at(1073) * wave_number**2
    # Of which the gradient energy is a share κk²/f″.
    rate *= 1 + ni_al.interface.kappa * k**2 / ni_al.curvature
    end = solve(ni_al.model, u, [1 / rate], control=control_of(1 / rate, tolerance=1e-9)).u[0]
    amplitude = 2 * float(((end - end.mean()) * torch.cos(k * x)).mean())
    assert amplitude == pytest.approx(1e-4 / math.e, rel=1e-3)


def gibbs_thomson_shift(dimensions, cells, temperature=1273):
    """Composition of γ at a ball at rest, above that of the tie-line, and the ball's radius (m)."""
    ni_al = alloy(temperature, (cells,) * dimensions, 0.5e-9)
    radius = 0.6 * cells * 0.5e-9  # at the start
    mean = ni_al.compositions[0] + ni_al.gibbs_thomson(radius) * (dimensions - 1) / 2
    ball = Precipitate((0.0,) * dimensions, radius, 3)
    u = at_rest(ni_al, in_matrix(ni_al, [ball], matrix=mean), tolerance=1e-5, steady=1e-6)
    mu = float(potential(ni_al, u).mean())
    low, high = ni_al.compositions
    stiff = 1 / float(torch.linalg.inv(hessian(ni_al.model.f, ni_al.tie_line.right.eta))[0, 0])
    inside, outside = high + mu / stiff, low + mu / ni_al.curvature
    share = (float(u[0].mean()) - outside) / (inside - outside)
    size = (cells * 0.5e-9) ** dimensions * 2**dimensions * share
    unit = {2: math.pi, 3: 4 * math.pi / 3}[dimensions]
    return ni_al, float(u[0].flatten()[-1]) - low, (size / unit) ** (1 / dimensions)


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "cells"), [(2, 20), (3, 16)])
def test_matrix_at_a_ball_is_richer_by_gibbs_and_thomson(dimensions, cells):
    """2σVm/(r(c′ − c)f″) of a sphere, half of it for a cylinder.

    To first order: at 3.5 widths, the radius of the sphere here, the second adds 7 %; to the
    cylinder of four widths 0.2 %.
    """
    ni_al, shift, radius = gibbs_thomson_shift(dimensions, cells)
    expected = ni_al.gibbs_thomson(radius) * (dimensions - 1) / 2
    assert shift == pytest.approx(expected, rel={2: 0.01, 3: 0.1}[dimensions])


def test_energies_are_reported_in_joules():
    """A bar of supersaturated γ lies ½f″δc²/Vm above the tangent, to the cubic term."""
    ni_al = alloy(1073, (16,), 0.5e-9)
    u = torch.zeros(4, 16, dtype=torch.float64)
    u[0] = ni_al.compositions[0] + 1e-3
    molar = 0.5 * 354e3 * 1e-6  # G″ of Dupin's γ, J/mol
    assert ni_al.excess_energy_density(u) == pytest.approx(molar / 7.1e-6, rel=0.01)
    assert ni_al.excess_energy(u) == pytest.approx(molar / 7.1e-6 * 8e-9, rel=0.01)
    assert ni_al.molar_volume == pytest.approx(7.1e-6)
    assert isinstance(ni_al.model, GradientFlow)


@pytest.mark.parametrize(("temperature", "rate"), [(1073, 1.19), (1173, 19), (1273, 215)])
def test_the_coarsening_rate_is_that_of_lifshitz_slyozov_and_wagner(temperature, rate):
    """k of the table in the project's notes, nm³/s, of numbers with two digits."""
    ni_al = alloy(temperature, (16,), 0.5e-9)
    assert ni_al.lsw_rate * 1e27 == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize(
    ("spacing", "width", "message"),
    [
        (0.6e-9, 1.5e-9, "cells of at most 5e-10 m"),
        (0.5e-9, 8e-9, r"must be at most \S+e-09 m for an interface energy of"),
        (2e-12, 1e-11, r"must be at least \S+e-11 m for an interface energy of"),
    ],
)
def test_an_interface_too_thin_or_too_wide_is_refused(spacing, width, message):
    constants = replace(NI_AL, interface_width=fixed("interface width", "m", width, "test"))
    with pytest.raises(ValueError, match=message):
        alloy(1073, (16,), spacing, constants=constants)


def test_temperatures_that_differ_or_are_not_known_are_refused():
    grid = box((16,), 0.5e-9)
    with pytest.raises(ValueError, match="must be that of `f`, 1073 K"):
        gamma_prime(dupin(1073), NI_AL, 1000.0, grid)
    with pytest.raises(ValueError, match=r"must lie in \[823, 1273\] K.*width"):
        gamma_prime(dupin(700), NI_AL, 700.0, grid)


def test_an_energy_without_a_tie_line_is_refused():
    with pytest.raises(NoTieLine, match="no stable common tangent of A1 and L1_2 at 1073 K"):
        gamma_prime(IdealMixing(FCC_L12.q, 1073.0, 1e-3), NI_AL, 1073.0, box((16,), 0.5e-9))


@pytest.mark.parametrize("temperature", [823, 973])
def test_an_energy_whose_floor_lies_above_the_site_fractions_of_gamma_prime_is_refused(temperature):
    """They are 5·10⁻⁵ and 4·10⁻⁴; the first γ′ moves to the wall, the second to 10⁻⁴."""
    with pytest.raises(ValueError, match=r"`floor` of `f` must lie below .*; it is 0.001 and that"):
        gamma_prime(dupin(temperature), NI_AL, float(temperature), box((16,), 0.5e-9))


def test_an_energy_that_falls_beyond_the_walls_is_refused_whatever_makes_it():
    with pytest.raises(ValueError, match="lower the floor"):
        gamma_prime(Sum((dupin(823),)), NI_AL, 823.0, box((16,), 0.5e-9))


def test_a_composition_off_the_tie_line_has_no_lever_rule():
    ni_al = alloy(1273, (16,), 0.5e-9)
    with pytest.raises(ValueError, match="`composition` must lie in"):
        ni_al.fraction(0.1)
    with pytest.raises(ValueError, match="composition of the matrix"):
        precipitated(ni_al, [Precipitate((4e-9,), 3e-9)], composition=0.05)
    assert diffusion_time(ni_al, 1e-9) == pytest.approx(1e-18 / 7.4e-15)
