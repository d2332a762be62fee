"""Constants of γ/γ′ microstructures, each with its source, and those of Ni–Al."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from idnn.checks import require_finite, require_positive


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """A quantity at some temperatures, as published.

    Attributes:
        name: what it is.
        unit: of `values`, SI.
        temperatures: K, increasing.
        values: one for each.
        source: where they are from.
        doubt: what speaks against them.
        activated: ln `values` is interpolated in 1/T; else `values` in T.
    """

    name: str
    unit: str
    temperatures: tuple[float, ...]
    values: tuple[float, ...]
    source: str
    doubt: str = ""
    activated: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != len(self.temperatures) or len(self.values) < 2:
            raise ValueError(
                f"`values` of {self.name} must be two or more, one for each of `temperatures`; "
                f"there are {len(self.values)} for {len(self.temperatures)}."
            )
        for temperature, value in zip(self.temperatures, self.values, strict=True):
            require_positive(f"temperatures of {self.name}", temperature)
            require_finite(f"values of {self.name}", value)
            if self.activated:
                require_positive(f"values of {self.name}", value)
        if any(high <= low for low, high in pairwise(self.temperatures)):
            raise ValueError(
                f"`temperatures` of {self.name} must increase; they are {self.temperatures}."
            )
        if not self.source:
            raise ValueError(f"`source` of {self.name} must say where it is from; it is empty.")

    def at(self, temperature: float) -> float:
        """The value at a temperature (K).

        Raises:
            ValueError: the temperature lies outside those quoted.
        """
        low, high = self.temperatures[0], self.temperatures[-1]
        if not low <= temperature <= high:
            raise ValueError(
                f"`temperature` must lie in [{low:g}, {high:g}] K, where the {self.name} is known "
                f"({self.source}); it is {temperature:g} K. Give a `Quoted` that reaches it."
            )
        if not self.activated:
            return float(np.interp(temperature, self.temperatures, self.values))
        cold = -1 / np.array(self.temperatures)
        return float(np.exp(np.interp(-1 / temperature, cold, np.log(self.values))))


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What a γ/γ′ microstructure needs beside its free energy.

    Attributes:
        interface_energy: σ, J/m².
        interface_width: (c′ − c)/|dc/dx|max of a flat interface, m.
        diffusivity: interdiffusion coefficient D̃ of γ at the tie-line, m²/s.
        molar_volume: Vm per mole of atoms of both phases, m³/mol.
        misfit: (a′ − a)/a of the unstressed phases.
        moduli: C₁₁, C₁₂, C₄₄ of γ, Pa.
        moduli_ordered: those of γ′, Pa.
    """

    interface_energy: Quoted
    interface_width: Quoted
    diffusivity: Quoted
    molar_volume: Quoted
    misfit: Quoted
    moduli: tuple[Quoted, Quoted, Quoted]
    moduli_ordered: tuple[Quoted, Quoted, Quoted]


ASSESSED = (823.0, 1273.0)
"""Range (K) of what is quoted as one number."""


def fixed(
    name: str,
    unit: str,
    value: float,
    source: str,
    doubt: str = "",
    *,
    between: tuple[float, float] = ASSESSED,
) -> Quoted:
    """A quantity of which one number is known, taken for all temperatures (K) `between` two."""
    return Quoted(
        name=name,
        unit=unit,
        temperatures=between,
        values=(value, value),
        source=source,
        doubt=doubt,
    )


def _moduli(phase: str, values: tuple[float, float, float]) -> tuple[Quoted, Quoted, Quoted]:
    c11, c12, c44 = (
        fixed(
            f"C{index} of {phase}",
            "Pa",
            value,
            "Aagesen et al. 2017, as in MOOSE's kks_mechanics_KHS.i",
            "the input is dimensionless, and its unit of 2 GPa inferred from its interface "
            "energy; its temperature is not stated, and no dependence on T is known here",
        )
        for index, value in zip(("11", "12", "44"), values, strict=True)
    )
    return c11, c12, c44


NI_AL = Constants(
    interface_energy=Quoted(
        name="interface energy",
        unit="J/m²",
        temperatures=(550.0, 1200.0, 1273.0),
        values=(20e-3, 10e-3, 8.877e-3),
        source="Mishin 2013, arXiv:1308.4472: 20 mJ/m² at 550 K and 10 at 1200 K, a line between",
        doubt="above 1200 K extrapolated; arXiv:1402.1615 falls by 1 mJ/m² only from 0 to 1000 K; "
        "Ardell 2013 finds 14.5 to 19 mJ/m² in Ni–Al–Cr",
    ),
    interface_width=fixed(
        "interface width",
        "m",
        1.5e-9,
        "chosen, for cells of 0.5 nm",
        "no measured width was at hand; the flat interface of Dupin's free energy at these "
        "interface energies would be 0.2 to 0.3 nm wide, thinner than a lattice parameter",
    ),
    diffusivity=Quoted(
        name="interdiffusion coefficient of γ",
        unit="m²/s",
        temperatures=(823.0, 873.0, 973.0, 1023.0, 1073.0, 1173.0, 1273.0),
        values=(4.8e-21, 4.8e-20, 2.4e-18, 1.3e-17, 5.7e-17, 8.0e-16, 7.4e-15),
        source="Engström & Ågren 1996, Z. Metallkd. 87, 92, mobilities with the thermodynamic "
        "factor of Dupin et al. 2001, doi:10.1016/S0364-5916(01)00049-9, at the γ end of its "
        "tie-line",
        doubt="extrapolated from diffusion couples above 1273 K; two digits",
        activated=True,
    ),
    molar_volume=fixed(
        "molar volume",
        "m³/mol",
        7.1e-6,
        "assumed: fcc of a = 0.361 nm",
        "the same for both phases and all temperatures; a = 0.356 nm at 300 K is 6.8e-6",
    ),
    misfit=fixed(
        "misfit",
        "",
        4.0e-3,
        "Mao et al. 2012: 0.004 ± 0.001 at 823 K, Ni–13 at.% Al",
        "known at 823 K only, to a quarter; Aagesen et al. 2017 calculate with 0.00377",
    ),
    moduli=_moduli("γ", (206.6e9, 148.5e9, 93.5e9)),
    moduli_ordered=_moduli("γ′", (201.4e9, 142.9e9, 100.2e9)),
)
"""Ni–Al; every entry says how far to trust it."""
