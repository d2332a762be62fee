"""Activity coefficients of ions in water."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from idnn.units import AVOGADRO, BOLTZMANN_EV, ELEMENTARY_CHARGE, VACUUM_PERMITTIVITY

DENSITY = 1000.0
"""Of the solution in kg/m³, from which the mass of the water follows."""


def debye_hueckel(temperature: float, permittivity: float) -> float:
    """A = √(2πN_Aρ)(e²/4πε₀εkT)^{3/2} in (kg/mol)^½, for natural logarithms: 1.17 at 25 °C."""
    kt = BOLTZMANN_EV * ELEMENTARY_CHARGE * temperature
    length = ELEMENTARY_CHARGE**2 / (4 * math.pi * VACUUM_PERMITTIVITY * permittivity * kt)
    return math.sqrt(2 * math.pi * AVOGADRO * DENSITY) * length**1.5


@dataclass(frozen=True)
class Davies:
    """ln γ = −z²g, g = A(√I/(1 + √I) − 0.3 I), I the ionic strength in mol per kg of water.

    Davies (1962), *Ion Association*, ch. 3; good to I of about 0.5 mol/kg.

    Attributes:
        slope: A in (kg/mol)^½ for natural logarithms, as of `debye_hueckel`.
    """

    slope: float = debye_hueckel(298.15, 78.4)

    def screening(
        self,
        concentration: Float[Tensor, "*batch ion"],
        charge: Float[Tensor, " ion"],
        molar_mass: Float[Tensor, " ion"],
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch ion"]]:
        """G, and its derivatives by the concentrations (mol/m³)."""
        water = DENSITY - concentration @ molar_mass
        strength = 0.5 * (concentration @ charge**2) / water
        root = strength.sqrt()
        g = self.slope * (root / (1 + root) - 0.3 * strength)
        by_strength = self.slope * (0.5 / (root * (1 + root) ** 2) - 0.3)
        by_concentration = (0.5 * charge**2 + strength[..., None] * molar_mass) / water[..., None]
        return g, by_strength[..., None] * by_concentration
