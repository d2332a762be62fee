"""γ/γ′ models of Dupin's Ni–Al free energy, and how they come to rest."""

from dataclasses import replace
from functools import cache

import torch

from phasefield.adaptive import StepControl
from phasefield.calphad import OrderedFcc, default_database
from phasefield.gamma_prime import box, gamma_prime
from phasefield.ni_al import NI_AL
from phasefield.precipitates import Precipitate, in_matrix
from phasefield.solve import solve


@cache
def dupin(temperature):
    """With a floor, as fields overshoot; no phase at 1073 K or above comes near it."""
    database = OrderedFcc.from_database(default_database(), ("NI", "AL"))
    return database.at(float(temperature), floor=1e-3)


def alloy(temperature, shape, spacing, *, walls=True, constants=NI_AL, **options):
    boundaries = (("no-flux" if walls else "periodic"),) * len(shape)
    grid = box(shape, spacing, boundaries=boundaries)
    found = _assembled(temperature, spacing, constants, tuple(options.items()))
    return replace(found, model=replace(found.model, grid=grid))


@cache
def _assembled(temperature, spacing, constants, options):
    """Once, for its energy is compiled."""
    bar = box((16,), spacing)
    return gamma_prime(dupin(temperature), constants, float(temperature), bar, **dict(options))


def diffusion_time(ni_al, length):
    """Seconds in which solute diffuses over a length in m."""
    return length**2 / ni_al.diffusivity


def at_rest(ni_al, u, *, tolerance=1e-4, steady=1e-4):
    """Where fields change by less than `steady` in the time of diffusion across an interface."""
    unit = diffusion_time(ni_al, ni_al.interface.width)
    control = control_of(unit, tolerance=tolerance, steady=steady / unit)
    solution = solve(ni_al.model, u, [1e3 * unit], control=control)
    assert solution.time < 1e3 * unit  # it did come to rest
    return solution.u


def control_of(unit, **options):
    """Steps of a run whose times are about as long as `unit`, s."""
    return StepControl(first_step=1e-4 * unit, smallest_step=1e-12 * unit, **options)


def potential(ni_al, u):
    """(∂f/∂c − κ∇²c − μ of the tie-line) on the cells, eV/site."""
    model, grid = ni_al.model, ni_al.model.grid
    slopes = grid.inverse(model.fields[0].kappa * grid.k2 * grid.transform(u[0]))
    return model.force(u, 0.0)[0] + slopes - ni_al.tie_line.mu


def half_filled(ni_al):
    """γ′ on the left of a bar, γ on the right."""
    length = ni_al.model.grid.shape[0] * ni_al.model.grid.spacing * 1e-9
    return in_matrix(ni_al, [Precipitate((0.0,), length / 2)])


def slope(field, spacing):
    return float(torch.diff(field).abs().max()) / spacing
