"""Free energies of any phase of a CALPHAD database, in site fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sympy
import torch
from jaxtyping import Bool, Float
from pycalphad import Database, Model
from pycalphad import variables as v
from torch import Tensor

from idnn.checks import require_positive
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.database import PRESSURE, open_database, require_assessed, require_phase
from phasefield.piecewise import mixing
from phasefield.sublattices import require_symmetric
from phasefield.symbolic import SymbolicEnergy, Symbols, field_symbols
from phasefield.translation import translated

VACANCY = "VA"

Constituent = tuple[int, str]
"""Sublattice, counted from 0, and the element on it; `VA` is a vacancy."""


class _ModelWithoutMixing(Model):
    """Of an ordered phase and its disordered part alike; between these ideal mixing cancels."""

    contributions = [each for each in Model.contributions if each[0] != "idmix"]  # noqa: RUF012


@dataclass(frozen=True, eq=False)
class DatabasePhase:
    """A phase between some elements, as pycalphad models it.

    Attributes:
        database: all that the file holds.
        name: of the phase.
        elements: the first is the one whose fractions are eliminated where it can be.
        sublattices: constituents of every sublattice, the dependent one first.
    """

    database: Database
    name: str
    elements: tuple[str, ...]
    sublattices: tuple[tuple[str, ...], ...]

    @classmethod
    def from_database(cls, path: Path, name: str, elements: tuple[str, ...]) -> DatabasePhase:
        """Read a phase.

        Args:
            path: of a database that pycalphad reads.
            name: of the phase.
            elements: those present; vacancies are added where the phase has them. On each
                sublattice the first element depends on the others; where it has no place, the
                vacancies do, or else the first of the elements that has.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: the database lacks the phase or an element, or has other constituents than
                elements and vacancies on it; a sublattice is left empty, or each with one
                constituent; four equivalent sublattices have parameters that change when they are
                permuted.
        """
        database = open_database(path)
        name, elements = name.upper(), tuple(element.upper() for element in elements)
        require_phase(database, name, path)
        sublattices = _constituents(database, name, elements)
        require_symmetric(database, name, sublattices)
        return cls(database, name, elements, sublattices)

    @property
    def fields(self) -> tuple[Constituent, ...]:
        """The independent site fractions, in the order in which an energy takes them."""
        return tuple((s, one) for s, own in enumerate(self.sublattices) for one in own[1:])

    def at(self, temperature: float, *, floor: float = 0.0) -> PhaseEnergy:
        """The free energy at a temperature (K) and 101325 Pa.

        Args:
            temperature: in K.
            floor: site fraction below which each y ln y is continued by its second-order Taylor
                polynomial; with 0 the energy is NaN where a fraction is negative.

        Raises:
            ValueError: the temperature is not positive, or outside the range of a parameter or
                function that the phase needs; `floor` is not in [0, 0.5).
        """
        require_positive("temperature", temperature)
        present = {one for own in self.sublattices for one in own}
        hints = self.database.phases[self.name].model_hints
        for phase in dict.fromkeys((hints.get("disordered_phase", self.name), self.name)):
            require_assessed(self.database, phase, present, temperature)
        model = _ModelWithoutMixing(self.database, sorted(present), self.name)
        symbols = field_symbols(len(self.fields))
        y = self._fractions(symbols)
        known = {str(v.SiteFraction(self.name, *each)): value for each, value in y.items()}
        known |= {"T": sympy.Float(temperature), "P": sympy.Float(PRESSURE)}
        sites = [float(ratio) for ratio in model.site_ratios]
        atoms = sympy.Add(*(sites[s] * value for (s, one), value in y.items() if one != VACANCY))
        mixed = [
            sites[s] * mixing([y[s, one] for one in own], floor)
            for s, own in enumerate(self.sublattices)
            if len(own) > 1
        ]
        energy = translated(model.GM, known)
        energy += float(v.R) * temperature * sympy.Add(*mixed) / atoms
        return PhaseEnergy(self.fields, temperature, symbols, energy / EV_PER_SITE_IN_J_PER_MOL)

    def _fractions(self, symbols: Symbols) -> Mapping[Constituent, sympy.Expr]:
        found: dict[Constituent, sympy.Expr] = dict(zip(self.fields, symbols, strict=True))
        for s, (dependent, *others) in enumerate(self.sublattices):
            found[s, dependent] = 1 - sympy.Add(*(found[s, one] for one in others))
        return found


@dataclass(frozen=True, eq=False)
class PhaseEnergy(SymbolicEnergy):
    """G of a phase at one temperature as a function of independent site fractions, eV/site.

    Per mole of atoms, vacancies not counted, relative to what the database's G is (as a rule the
    elements at 298.15 K); times `idnn.units.EV_PER_SITE_IN_J_PER_MOL` it is pycalphad's G_M in
    J/mol, with pycalphad's gas constant of 8.3145 J/(mol K).

    Attributes:
        fields: the site fractions that it takes; those of the dependent constituents are 1 − Σ of
            the others on their sublattice.
        temperature: in K.
        names: symbols of the fields.
        energy: f of the symbols.
    """

    fields: tuple[Constituent, ...]
    temperature: float
    names: Symbols
    energy: sympy.Expr

    def expression(self) -> tuple[Symbols, sympy.Expr]:
        """Symbols of the fields, and G of them."""
        return self.names, self.energy

    def admissible(self, eta: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Whether every site fraction, the dependent ones too, lies in [0, 1]."""
        inside = (eta >= 0).all(-1)
        for s in {sublattice for sublattice, _ in self.fields}:
            own = torch.tensor([sublattice == s for sublattice, _ in self.fields])
            inside = inside & ((eta * own.to(eta)).sum(-1) <= 1)
        return inside


def _constituents(
    database: Database, name: str, elements: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    """Those present on every sublattice, the dependent one first."""
    phase = database.phases[name]
    species = [sorted(map(str, own)) for own in phase.constituents or ()]
    held = {one for own in species for one in own}
    strange = sorted(one for one in held if one not in database.elements)
    if strange or "mqmqa" in phase.model_hints:
        raise ValueError(
            f"`name` must be a phase of elements and vacancies; {name} holds "
            f"{', '.join(strange) or 'quadruplets'}."
        )
    lacking = [one for one in elements if one not in held]
    if lacking or not elements or len(set(elements)) < len(elements):
        raise ValueError(
            f"`elements` must be different ones that {name} has, {', '.join(sorted(held))}; "
            f"they are {', '.join(elements)}."
        )
    order = (elements[0], VACANCY, *elements[1:])
    found = tuple(tuple(one for one in order if one in own) for own in species)
    if not all(found):
        raise ValueError(
            f"`elements` must fill every sublattice of {name}; with {', '.join(elements)} nothing "
            f"is left of {', '.join(species[found.index(())])}."
        )
    if all(len(own) == 1 for own in found):
        raise ValueError(
            f"`elements` must leave {name} something to vary; with {', '.join(elements)} there is "
            "one constituent on every sublattice."
        )
    return found
