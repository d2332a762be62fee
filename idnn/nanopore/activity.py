"""Activity coefficients of ions in water."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range
from idnn.nanopore.membrane import Water
from idnn.units import AVOGADRO


def debye_hueckel(water: Water) -> float:
    """A = √(2πN_Aρ) l_B^{3/2} in (kg/mol)^½ for natural logarithms, l_B the Bjerrum length.

    1.176 at 25 °C, 0.511 for decimal logarithms.
    """
    return math.sqrt(2 * math.pi * AVOGADRO * water.density) * water.bjerrum_length**1.5


@dataclass(frozen=True)
class Davies:
    """ln γ = −z²g, g = A(√I/(1 + √I) − 0.3 I), I the ionic strength in mol per kg of water.

    Davies (1962), *Ion Association*, ch. 3; good to I of about 0.5 mol/kg.

    Attributes:
        slope: A in (kg/mol)^½ for natural logarithms.
        density: ρ of the solution in kg/m³; what the ions do not weigh is water.

    Raises:
        ValueError: one of them is negative or not finite.
    """

    slope: float = debye_hueckel(Water())
    density: float = Water().density

    def __post_init__(self) -> None:
        require_in_range("slope", self.slope, 0, 1e3)
        require_in_range("density", self.density, 1, 1e5)

    def screening(
        self,
        concentration: Float[Tensor, "*batch ion"],
        charge: Float[Tensor, " ion"],
        molar_mass: Float[Tensor, " ion"],
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch ion"]]:
        """g, and its derivatives by the concentrations (mol/m³); NaN where no water is left."""
        water = self.density - concentration @ molar_mass
        strength = 0.5 * (concentration @ charge**2) / water
        root = strength.sqrt()
        g = self.slope * (root / (1 + root) - 0.3 * strength)
        by_strength = self.slope * (0.5 / (root * (1 + root) ** 2) - 0.3)
        by_concentration = (0.5 * charge**2 + strength[..., None] * molar_mass) / water[..., None]
        return g, by_strength[..., None] * by_concentration
