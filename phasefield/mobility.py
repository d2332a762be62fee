"""Mobilities of the two elements of a solution from the kinetic parameters of a database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from numpy.polynomial import Polynomial
from pycalphad import variables as v
from torch import Tensor

from idnn.checks import require_in_range, require_positive
from idnn.free_energy import FreeEnergy, hessian
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.database import Parameters, open_database, read_parameters, require_phase
from phasefield.redlich_kister import of_composition

KINDS = ("MQ", "MF", "DQ", "DF")
"""Activation enthalpies and logarithms of prefactors, of mobilities and of tracer diffusion."""


def nickel_aluminium_mobilities() -> Path:
    """Path of the mobilities of fcc Ni–Al that come with this package.

    Engström & Ågren (1996, Z. Metallkd. 87, 92).
    """
    return Path(__file__).with_name("ni_al_mobility.tdb")


@dataclass(frozen=True, eq=False)
class BinaryMobilities:
    """Φ of two elements in a phase, by their Redlich–Kister series of the composition.

    M_B = exp(Φ_B/RT)/RT, Φ_B = Σᵢ xᵢ Φᵢ + x₁x₂ Σₖ Φₖ (x₁ − x₂)ᵏ, the Φ of a database being
    −Q + RT ln M⁰ (Andersson & Ågren 1992, doi:10.1063/1.351745).

    Attributes:
        elements: (solvent, solute); the composition is the fraction of the second.
        activation: parameters of either as a diffusing species.
    """

    elements: tuple[str, str]
    activation: tuple[Parameters, Parameters]

    @classmethod
    def from_database(cls, path: Path, phase: str, elements: tuple[str, str]) -> BinaryMobilities:
        """Read MQ and MF, or DQ and DF, of two elements on the first sublattice of a phase.

        Args:
            path: of a database that pycalphad reads.
            phase: its name; all other sublattices are vacant.
            elements: (solvent, solute); parameters with other elements are left aside.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: the database lacks the phase, an element, or the parameter of an element
                that diffuses in pure another; or it has one that a binary series cannot hold.
        """
        database = open_database(path)
        require_phase(database, phase, path)
        first, second = (name.upper() for name in elements)
        named = (first, second)
        ratios = tuple(database.phases[phase].sublattices[:1])
        read = [
            read_parameters(database, phase, named, ratios, KINDS, diffusing=element)
            for element in named
        ]
        for parameters in read:
            for host in named:
                if not any((kind, host, 0) in parameters.expressions for kind in KINDS):
                    raise ValueError(
                        f"`path` must say how each element diffuses in every pure one; it lacks "
                        f"{parameters.name(('MQ', host, 0))}."
                    )
        return cls(named, (read[0], read[1]))

    def at(self, temperature: float) -> BinaryMobility:
        """The mobilities at a temperature (K).

        Raises:
            ValueError: unless the temperature is positive and every parameter is known there.
        """
        require_positive("temperature", temperature)
        series = [self._series(parameters, temperature) for parameters in self.activation]
        return BinaryMobility(temperature, (series[0], series[1]))

    def _series(self, parameters: Parameters, temperature: float) -> Polynomial:
        numbers, _ = parameters.at(temperature)
        kinds = [of_composition(numbers, kind, self.elements) for kind in KINDS]
        return kinds[0] + kinds[1] + kinds[2] + kinds[3]


@dataclass(frozen=True, eq=False)
class BinaryMobility:
    """How fast two elements move on their common lattice at one temperature.

    Attributes:
        temperature: in K.
        activation: Φ of the solvent and of the solute, J/mol, of the composition c.
    """

    temperature: float
    activation: tuple[Polynomial, Polynomial]

    def atomic(self, c: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 2"]:
        """M of the solvent and of the solute, mol·m²/(J·s).

        Raises:
            ValueError: a composition is outside [0, 1].
        """
        require_in_range("c", c, 0.0, 1.0)
        phi = torch.stack([_value(one, c) for one in self.activation], -1)
        return (phi / self._rt).exp() / self._rt

    def chemical(self, c: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """M̃ = c(1 − c)[c M₁ + (1 − c) M₂], mol·m²/(J·s), 1 being the solvent.

        ∂c/∂t = ∇·M̃∇(∂G/∂c) of G in J per mole of atoms, where the number of atoms on each plane of
        the lattice stays as it is (Darken 1948; Andersson & Ågren 1992, doi:10.1063/1.351745).

        Raises:
            ValueError: a composition is outside [0, 1].
        """
        solvent, solute = self.atomic(c).unbind(-1)
        return c * (1 - c) * (c * solvent + (1 - c) * solute)

    def interdiffusion(
        self, f: FreeEnergy, eta: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch"]:
        """D̃ = M̃ ∂²G/∂c², m²/s, where the order parameters stay as they are.

        Args:
            f: free energy per site, eV, whose first variable is the composition c.
            eta: states, of the disordered solution as a rule.

        Raises:
            ValueError: a composition is outside [0, 1].
        """
        curvature = hessian(f, eta)[..., 0, 0] * EV_PER_SITE_IN_J_PER_MOL
        return self.chemical(eta[..., 0]) * curvature

    @cached_property
    def _rt(self) -> float:
        """With the gas constant of pycalphad, by which parameters like RT ln M⁰ are read."""
        return float(v.R) * self.temperature


def _value(polynomial: Polynomial, x: Tensor) -> Tensor:
    """By Horner's rule."""
    total = torch.zeros_like(x)
    for coefficient in reversed(polynomial.coef.tolist()):
        total = coefficient + x * total
    return total
