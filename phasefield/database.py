"""Parameters of the phases in CALPHAD databases, and their values at a temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pycalphad import Database
from pycalphad import variables as v
from pycalphad.io.database import Phase
from pyparsing import ParseException
from symengine import Basic, Piecewise, RealDouble

Key = tuple[str, str, int]
"""A parameter's type, its constituents as a database writes them (`AL,NI:*`), and its order."""

Numbers = Mapping[Key, float]

PRESSURE = 101325.0
"""Pa; of all free energies."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of one phase between two elements.

    Attributes:
        phase: its name.
        expressions: of T and of the database's functions; J per mole of atoms, T_C in K, β in
            Bohr magnetons. Interstitial sublattices, all vacant, are left out of the keys.
        functions: the database's functions of T by name.
        hints: what the database says about the model of the phase.
        diffusing: element whose motion they are about; none for those of the energy.
    """

    phase: str
    expressions: Mapping[Key, Basic]
    functions: Mapping[str, Basic]
    hints: Mapping[str, Any]
    diffusing: str = ""

    def at(self, temperature: float) -> tuple[Numbers, Numbers]:
        """The parameters g at a temperature, and their enthalpies g − T ∂g/∂T.

        Raises:
            ValueError: where one is not defined at this temperature, or not a function of T alone.
        """
        free, heat = {}, {}
        for key, expression in self.expressions.items():
            g = _assessed(expression, temperature, self.functions, self.name(key))
            free[key] = float(g.xreplace({v.T: temperature}))
            heat[key] = free[key] - temperature * float(g.diff(v.T).xreplace({v.T: temperature}))
        return free, heat

    def name(self, key: Key) -> str:
        """A parameter as a database writes it."""
        kind, sites, order = key
        moving = f"&{self.diffusing}" if self.diffusing else ""
        return f"{kind}({self.phase}{moving},{sites};{order})"


def open_database(path: Path) -> Database:
    """The database in a file that pycalphad reads.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: it is none that pycalphad reads.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a database; there is no file {path}.")
    try:
        return Database(str(path))
    except (ParseException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"`path` must be a database; {path} cannot be read as one: {reason}."
        ) from error


def require_phase(database: Database, name: str, path: Path) -> None:
    """Raise `ValueError` unless the database of that file holds the phase."""
    if name not in database.phases:
        names = ", ".join(sorted(database.phases))
        raise ValueError(f"`path` must hold the phase {name}; {path.name} holds {names}.")


def require_assessed(
    database: Database, phase: str, constituents: set[str], temperature: float
) -> None:
    """Raise `ValueError` unless the phase's parameters between constituents are known at T (K)."""
    functions = _functions(database)
    for entry in database.search(lambda parameter: parameter["phase_name"] == phase):
        array = [sorted(map(str, one)) for one in entry["constituent_array"]]
        if not {name for one in array for name in one} <= {*constituents, "*"}:
            continue
        sites = ":".join(map(",".join, array))
        name = f"{entry['parameter_type']}({phase},{sites};{entry['parameter_order']})"
        _assessed(entry["parameter"], temperature, functions, name)


def read_parameters(
    database: Database,
    phase: str,
    elements: tuple[str, str],
    ratios: tuple[float, ...],
    kinds: tuple[str, ...],
    *,
    diffusing: str = "",
) -> Parameters:
    """The parameters of a phase on its first sublattices, the others being vacant.

    Args:
        database: as pycalphad reads it.
        phase: name of one of its phases.
        elements: parameters with any other element are left aside.
        ratios: numbers of sites of the first sublattices, per atom.
        kinds: types of parameters the caller can use; L is read as G.
        diffusing: element whose motion they are about; not given: none's.

    Raises:
        ValueError: the phase has other sublattices, lacks an element, or has a parameter that is
            of another type, given twice, or neither an end member nor an interaction on one
            sublattice.
    """
    model = database.phases[phase]
    _require_sublattices(model, elements, ratios)
    expressions: dict[Key, Basic] = {}
    functions = _functions(database)
    found = Parameters(phase, expressions, functions, model.model_hints, diffusing)
    held = _sites(elements, len(ratios))
    for entry in database.search(lambda parameter: parameter["phase_name"] == phase):
        array = [sorted(map(str, one)) for one in entry["constituent_array"]]
        own, others = array[: len(ratios)], array[len(ratios) :]
        foreign = {name for one in own for name in one} - {*elements, "*"}
        moving = str(entry["diffusing_species"] or "")
        if foreign or moving != diffusing or any(one not in (["VA"], ["*"]) for one in others):
            continue
        kind = "G" if entry["parameter_type"] == "L" else entry["parameter_type"]
        key = (kind, ":".join(map(",".join, own)), entry["parameter_order"])
        if kind not in kinds or key[1] not in held:
            raise ValueError(
                f"`path` must hold end members and interactions on one sublattice alone, of the "
                f"types {', '.join(kinds)}; it holds {found.name(key)}."
            )
        if key in expressions:
            raise ValueError(f"`path` must give {found.name(key)} once; it does so twice.")
        expressions[key] = entry["parameter"]
    return found


def _require_sublattices(
    model: Phase, elements: tuple[str, str], ratios: tuple[float, ...]
) -> None:
    own = slice(len(ratios))
    if model.sublattices[own] != ratios:
        raise ValueError(
            f"`path` must give {model.name} sublattices in the ratio {ratios}; "
            f"they are {model.sublattices}."
        )
    constituents = (model.constituents or [])[own]
    names = set.intersection(*({str(one) for one in each} for each in constituents))
    if not set(elements) <= names or len(set(elements)) < 2:
        raise ValueError(
            f"`elements` must be two of those that {model.name} has on all of its sublattices, "
            f"{', '.join(sorted(names))}; they are {', '.join(elements)}."
        )


def _sites(elements: tuple[str, str], count: int) -> set[str]:
    """End members, and one sublattice with both elements beside others with one or any."""
    found = {":".join(one) for one in product(elements, repeat=count)}
    for others in product((*elements, "*"), repeat=count - 1):
        for i in range(count):
            found.add(":".join((*others[:i], ",".join(sorted(elements)), *others[i:])))
    return found


def _functions(database: Database) -> dict[str, Basic]:
    return {str(name): function for name, function in database.symbols.items()}


def _assessed(
    expression: Basic, temperature: float, functions: Mapping[str, Basic], name: str
) -> Basic:
    """The expression in T alone that a parameter of that name is at a temperature."""
    try:
        return _in_force(expression, temperature, functions)
    except LookupError as error:
        raise ValueError(
            f"`temperature` must be one for which the database defines {name}; "
            f"at {temperature:g} K it does not: it is {error.args[0]}."
        ) from error


def _in_force(expression: Basic, temperature: float, functions: Mapping[str, Basic]) -> Basic:
    """The expression in T alone that a parameter is at a temperature and `PRESSURE`."""
    if isinstance(expression, Piecewise):
        pieces = zip(expression.args[::2], expression.args[1::2], strict=True)
        # For all other temperatures pycalphad adds a piece that is zero, without a rule.
        limited = [(g, rule) for g, rule in pieces if rule.free_symbols]
        within = [g for g, rule in limited if rule.xreplace({v.T: RealDouble(temperature)})]
        if not within:
            raise LookupError(f"known for {', '.join(str(rule) for _, rule in limited)}")
        expression = within[0]
    names = expression.free_symbols - {v.T, v.P}
    missing = [name for name in map(str, names) if name not in functions]
    if missing:
        raise LookupError(f"a function of {missing[0]}, which the database does not define")
    known = {name: _in_force(functions[str(name)], temperature, functions) for name in names}
    return expression.xreplace(known | {v.P: RealDouble(PRESSURE)})
