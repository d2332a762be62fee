"""Ions in water: charge, diffusivity, Stokes radius, molar mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_positive


class Ion(NamedTuple):
    """A row of the table: charge, diffusivity (m²/s), Stokes radius (m), molar mass (kg/mol)."""

    charge: int
    diffusivity: float
    stokes_radius: float
    molar_mass: float


TABLE = {
    "Na": Ion(1, 1.33e-9, 0.184e-9, 22.98977e-3),
    "K": Ion(1, 1.957e-9, 0.125e-9, 39.0983e-3),
    "Li": Ion(1, 1.03e-9, 0.238e-9, 6.94e-3),
    "Mg": Ion(2, 0.706e-9, 0.347e-9, 24.305e-3),
    "Ca": Ion(2, 0.92e-9, 0.309e-9, 40.078e-3),
    "Cl": Ion(-1, 2.03e-9, 0.121e-9, 35.45e-3),
    "HCO3": Ion(-1, 1.19e-9, 0.206e-9, 61.0168e-3),
    "SO4": Ion(-2, 1.06e-9, 0.230e-9, 96.06e-3),
}
"""Values that the literature of the model shares (Labban et al. 2017,
J. Membr. Sci. 521, 18, and WaterTAP); Li: D as tabulated, its radius from D.

All but Ca obey Stokes–Einstein, r = kT/(6πμD) with μ = 0.89 mPa s. For Ca, r = 0.309 nm belongs to
D = 0.794·10⁻⁹ m²/s; 0.92·10⁻⁹ is kept because every published comparison uses it. Change it by
`dataclasses.replace`.
"""


@dataclass(frozen=True, eq=False)
class Ions:
    """Ions of a solution, in the order of all their axes.

    Attributes:
        names: for messages and results.
        charge: z.
        diffusivity: D∞ in m²/s.
        stokes_radius: r_s in m.
        molar_mass: in kg/mol.

    Raises:
        ValueError: shapes do not fit `names`, a diffusivity, radius or mass is not positive, or
            there is not both a cation and an anion.
    """

    names: tuple[str, ...]
    charge: Float[Tensor, " ion"]
    diffusivity: Float[Tensor, "*#batch ion"]
    stokes_radius: Float[Tensor, "*#batch ion"]
    molar_mass: Float[Tensor, " ion"]

    def __post_init__(self) -> None:
        for name in ("charge", "diffusivity", "stokes_radius", "molar_mass"):
            value = getattr(self, name)
            if value.shape[-1:] != (len(self.names),):
                raise ValueError(
                    f"`{name}` must end in an axis of the {len(self.names)} ions "
                    f"{', '.join(self.names)}; its shape is {tuple(value.shape)}."
                )
        require_finite("charge", self.charge)
        for name in ("diffusivity", "stokes_radius", "molar_mass"):
            require_positive(name, getattr(self, name).detach())
        if not ((self.charge > 0).any() and (self.charge < 0).any()):
            raise ValueError(
                "`names` must hold a cation and an anion, for solutions are neutral; they are "
                f"{', '.join(self.names)}."
            )


def ions(names: Sequence[str]) -> Ions:
    """From the table.

    Raises:
        ValueError: an ion is not in the table, or is given twice.
    """
    for name in names:
        if name not in TABLE:
            raise ValueError(
                f"`names` must be of {', '.join(TABLE)}; {name!r} is not. Build `Ions` with its "
                "charge, diffusivity, Stokes radius and molar mass."
            )
    if len(set(names)) != len(names):
        raise ValueError(f"`names` must not repeat an ion; they are {', '.join(names)}.")
    columns = torch.tensor([TABLE[name] for name in names], dtype=torch.float64).T
    return Ions(tuple(names), *columns)
