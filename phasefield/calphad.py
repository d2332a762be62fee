"""Free energies from CALPHAD databases: the fcc solution of two elements that orders to L1₂."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.polynomial import Polynomial

from idnn.checks import require_positive
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.database import (
    Numbers,
    Parameters,
    open_database,
    read_parameters,
    require_phase,
)
from phasefield.ordered_fcc import Interaction, Magnetism, OrderedFccEnergy
from phasefield.redlich_kister import of_composition, redlich_kister, series
from phasefield.sublattices import require_symmetric

ORDERED = "FCC_L12"
"""Name of the ordering phase in the databases."""

SLACK = 1e-3
"""Difference in J/mol above which parameters that symmetry makes equal are called different."""


def default_database() -> Path:
    """Path of the Al-Ni database that pycalphad ships.

    Dupin, Ansara & Sundman (2001, doi:10.1016/S0364-5916(01)00049-9).
    """
    return Path(str(files("pycalphad").joinpath("tests/databases/alni_dupin_2001.tdb")))


@dataclass(frozen=True, eq=False)
class OrderedFcc:
    """A binary fcc solution that orders, in the symmetric four-sublattice form.

    G(y) = G_A1(x) + G_ord(y) − G_ord(x, x, x, x), y being the fractions of the second element on
    the sublattices and x their mean. A database gives G_ord for y = (a, a, a, b); for four equal
    sublattices that comes from Σₙ Eₙ Pₙ(y) + Σₛ yₛ(1 − yₛ) r(2yₛ − 1), Pₙ the probability that n
    of them hold the second element (Dupin, Ansara & Sundman 2001,
    doi:10.1016/S0364-5916(01)00049-9).

    Attributes:
        elements: (solvent, solute); η₀ is the fraction of the second.
        solution: parameters of the disordered phase.
        ordering: parameters of the two-sublattice ordered phase.
    """

    elements: tuple[str, str]
    solution: Parameters
    ordering: Parameters

    @classmethod
    def from_database(cls, path: Path, elements: tuple[str, str]) -> OrderedFcc:
        """Read the phase `FCC_L12` and the disordered phase it belongs to.

        Args:
            path: of a database that pycalphad reads.
            elements: (solvent, solute); parameters with other elements are left aside.

        Raises:
            FileNotFoundError: there is no file.
            ValueError: the database lacks the phase or the elements, or has a parameter that the
                four-sublattice form cannot hold.
        """
        database = open_database(path)
        require_phase(database, ORDERED, path)
        first, second = (name.upper() for name in elements)
        named = (first, second)
        model = database.phases[ORDERED]
        require_symmetric(database, ORDERED, [(*named, "VA")] * len(model.sublattices))
        disordered = model.model_hints.get("disordered_phase", "none")
        if disordered not in database.phases:
            raise ValueError(
                f"`path` must give {ORDERED} a disordered part (DIS_PART); it is {disordered}. "
                "`DatabasePhase` takes any phase as it is."
            )
        return cls(
            elements=named,
            solution=read_parameters(database, disordered, named, (1.0,), ("G", "TC", "BMAGN")),
            ordering=read_parameters(database, ORDERED, named, (0.75, 0.25), ("G",)),
        )

    def __post_init__(self) -> None:
        if not self.solution.hints.get("ihj_magnetic_afm_factor"):
            raise ValueError(
                f"`solution` must have the magnetic model of Inden, Hillert and Jarl; "
                f"{self.solution.phase} has none, or another."
            )

    def at(self, temperature: float, *, floor: float = 0.0) -> OrderedFccEnergy:
        """The free energy at a temperature.

        Args:
            temperature: in K.
            floor: site fraction below which ideal mixing is continued (see `OrderedFccEnergy`).

        Raises:
            ValueError: unless the temperature is positive and every parameter is known there;
                where the ordering parameters are not those of four equal sublattices, or those of
                magnetism depend on T.
        """
        require_positive("temperature", temperature)
        (g_solution, h_solution), (g_ordering, h_ordering) = (
            parameters.at(temperature) for parameters in (self.solution, self.ordering)
        )
        for key in g_solution:
            if key[0] != "G" and g_solution[key] != h_solution[key]:
                raise ValueError(f"{self.solution.name(key)} must not depend on T; it does.")
        return OrderedFccEnergy(
            temperature=temperature,
            free=self._interaction(g_solution, g_ordering),
            heat=self._interaction(h_solution, h_ordering),
            magnetism=Magnetism(
                temperature=temperature,
                curie=of_composition(g_solution, "TC", self.elements),
                moment=of_composition(g_solution, "BMAGN", self.elements),
                structure_factor=self.solution.hints["ihj_magnetic_structure_factor"],
                antiferromagnetic_factor=self.solution.hints["ihj_magnetic_afm_factor"],
            ),
            floor=floor,
        )

    @property
    def _pair(self) -> str:
        return ",".join(sorted(self.elements))

    def _interaction(self, solution: Numbers, ordering: Numbers) -> Interaction:
        """G less that of the elements and the ideal mixing, eV/site."""
        members, reciprocal = self._four_sublattices(ordering)
        # Pₙ written in elementary symmetric polynomials. Those of degree 0 and 1 are the same in
        # G_ord(y) and in G_ord(x, x, x, x).
        symmetric = [
            sum((-1) ** (k - n) * math.comb(k, n) * members[n] for n in range(k + 1))
            for k in range(2, 5)
        ]
        within = redlich_kister(reciprocal)
        disordered = Polynomial([0, 0, *(math.comb(4, k + 2) * c for k, c in enumerate(symmetric))])
        excess = redlich_kister(series(solution, "G", self._pair, self.elements))
        mean = excess - disordered - 4 * within
        unit = EV_PER_SITE_IN_J_PER_MOL
        return Interaction(tuple(float(c / unit) for c in symmetric), within / unit, mean / unit)

    def _four_sublattices(self, ordering: Numbers) -> tuple[list[float], np.ndarray]:
        """E₀ … E₄ and the coefficients of r, J/mol.

        At b = 0 and at b = 1 the form at (a, a, a, b), less its values at a = 0 and at a = 1, is
        a(1 − a) times a polynomial of 2a − 1, whose coefficients are the database's.
        """
        first, second = self.elements
        pair = self._pair

        def given(sites: str) -> np.ndarray:
            return series(ordering, "G", sites, self.elements)

        e0, e1, e3, e4 = (given(f"{a}:{b}")[0] for a in self.elements for b in self.elements)
        reciprocal = given(f"{first}:{pair}") + given(f"*:{pair}")
        triple = {b: given(f"{pair}:{b}") + given(f"{pair}:*") for b in self.elements}
        e2 = (triple[second][0] - 3 * reciprocal[0]) / 1.5 - e3 + e1 + e4
        members = [e0, e1, e2, e3, e4]
        self._require_equal(
            f"{second}:{pair}", given(f"{second}:{pair}") + given(f"*:{pair}"), reciprocal
        )
        for n, b in enumerate(self.elements):
            none, one, two, three = members[n : n + 4]
            expected = 3 * reciprocal
            expected[0] += 1.5 * (one + two - none - three)
            expected[1] += 1.5 * (two - one) + 0.5 * (none - three)
            self._require_equal(f"{pair}:{b}", triple[b], expected)
        return members, reciprocal

    def _require_equal(self, sites: str, given: np.ndarray, expected: np.ndarray) -> None:
        difference = np.abs(given - expected)
        k = int(difference.argmax())
        if not difference[k] <= SLACK:
            raise ValueError(
                f"`ordering` must be that of four equal sublattices: with the other parameters "
                f"{self.ordering.name(('G', sites, k))} would be {expected[k]:.6g} J/mol; "
                f"it is {given[k]:.6g}."
            )
