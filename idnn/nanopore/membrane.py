"""The membrane, the water in it, and what both make of ions: partition and permeability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_positive
from idnn.nanopore.ions import Ions
from idnn.units import (
    BOLTZMANN_EV,
    ELEMENTARY_CHARGE,
    GAS_CONSTANT,
    VACUUM_PERMITTIVITY,
)

WATER_DIAMETER = 0.28e-9
"""d, the thickness in m of a layer of water on the wall of a pore."""


@dataclass(frozen=True)
class Water:
    """The solvent, outside the pores.

    Attributes:
        temperature: T in K.
        viscosity: μ in Pa s.
        density: ρ in kg/m³, of the solution.
        permittivity: ε, relative.
    """

    temperature: float = 298.15
    viscosity: float = 0.89e-3
    density: float = 1000.0
    permittivity: float = 78.4

    def __post_init__(self) -> None:
        for name in ("temperature", "viscosity", "density", "permittivity"):
            require_positive(name, getattr(self, name))

    @property
    def thermal_energy(self) -> float:
        """RT in J/mol."""
        return GAS_CONSTANT * self.temperature

    @property
    def bjerrum_length(self) -> float:
        """e²/(4πε₀εkT) in m."""
        kt = BOLTZMANN_EV * ELEMENTARY_CHARGE * self.temperature
        return ELEMENTARY_CHARGE**2 / (4 * math.pi * VACUUM_PERMITTIVITY * self.permittivity * kt)


@dataclass(frozen=True, eq=False)
class Membrane:
    """Pores of one radius and of a length that their porosity and tortuosity are part of.

    Attributes:
        pore_radius: r_p in m.
        thickness: Δx in m, of the active layer over its porosity.
        charge: X, fixed in the pores, in mol of elementary charges per m³ of their volume.
        permittivity: ε_p of the water in the pores, relative.
        viscosity_ratio: μ_p/μ, of the water in the pores and outside; see `pore_viscosity`.

    Raises:
        ValueError: one is not finite or, but for the charge, not positive.
    """

    pore_radius: Float[Tensor, "*#batch"]
    thickness: Float[Tensor, "*#batch"]
    charge: Float[Tensor, "*#batch"]
    permittivity: Float[Tensor, "*#batch"]
    viscosity_ratio: Float[Tensor, "*#batch"] | float = 1.0

    def __post_init__(self) -> None:
        for name in ("pore_radius", "thickness", "permittivity", "viscosity_ratio"):
            require_positive(name, torch.as_tensor(getattr(self, name)).detach())
        require_finite("charge", self.charge.detach())


def size_ratio(membrane: Membrane, ions: Ions) -> Float[Tensor, "*batch ion"]:
    """λ = r_s/r_p.

    Raises:
        ValueError: an ion is as large as a pore.
    """
    ratio = ions.stokes_radius / membrane.pore_radius[..., None]
    for i, name in enumerate(ions.names):
        largest = float(ratio[..., i].detach().max())
        if largest >= 1:
            raise ValueError(
                f"`membrane.pore_radius` must exceed the Stokes radius of every ion; that of "
                f"{name} is {largest:.4g} of it. Leave {name} out: it is rejected altogether."
            )
    return ratio


def steric_partition(ratio: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Φ = (1 − λ)² (Ferry 1936)."""
    return (1 - ratio) ** 2


def born_partition(membrane: Membrane, ions: Ions, water: Water) -> Float[Tensor, "*batch ion"]:
    """exp(−ΔW/kT), ΔW = z²e²/(8πε₀r_s)(1/ε_p − 1/ε).

    Bowen & Welfoot (2002, doi:10.1016/S0009-2509(01)00413-4).
    """
    relative = water.permittivity / membrane.permittivity[..., None] - 1
    return (-0.5 * ions.charge**2 * water.bjerrum_length / ions.stokes_radius * relative).exp()


def water_permeability(membrane: Membrane, water: Water) -> Float[Tensor, "*batch"]:
    """J_v/(ΔP − ΔΠ) = r_p²/(8μ_pΔx) in m/(s Pa), Hagen–Poiseuille."""
    viscosity = water.viscosity * membrane.viscosity_ratio
    return membrane.pore_radius**2 / (8 * viscosity * membrane.thickness)


def pore_viscosity(pore_radius: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """μ_p/μ = 1 + 18d/r_p − 9(d/r_p)², a layer of water on the wall ten times as viscous.

    Bowen & Welfoot (2002, doi:10.1016/S0009-2509(01)00413-4); d is `WATER_DIAMETER`.
    """
    layer = WATER_DIAMETER / pore_radius
    return 1 + 18 * layer - 9 * layer**2


def layered_permittivity(
    pore_radius: Float[Tensor, "*batch"], water: Water, *, layer: float = 6.0
) -> Float[Tensor, "*batch"]:
    """ε_p = ε* + (ε − ε*)(1 − d/r_p)², a layer of water of relative permittivity ε* on the wall.

    Bowen & Welfoot (2002, doi:10.1016/S0009-2509(01)00413-4), whose ε* is 6.
    """
    return layer + (water.permittivity - layer) * (1 - WATER_DIAMETER / pore_radius) ** 2
