"""Free energies from a formula: polynomials, Landau expansions, regular solutions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from phasefield.formula import FUNCTIONS, parse
from phasefield.symbolic import SymbolicEnergy, Symbols, field_symbols


@dataclass(frozen=True)
class Expression(SymbolicEnergy):
    """f(u) from text, with exact ∂f/∂u and ∂²f/∂u² (eV/site, or the unit of its constants).

    Attributes:
        formula: numbers, field and constant names, + − * / **, parentheses, log, exp, sqrt, tanh,
            cos, sin.
        fields: names of the fields, in their order.
        constants: values of all other names.

    Raises:
        ValueError: the formula holds anything else, or a name twice.
    """

    formula: str
    fields: tuple[str, ...]
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [*self.fields, *self.constants, *FUNCTIONS]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names of `fields` and `constants` must differ; {twice} do not.")
        _ = self.value

    def expression(self) -> tuple[Symbols, sympy.Expr]:
        """Symbols of the fields, and the formula of them."""
        symbols = field_symbols(len(self.fields))
        known: dict[str, sympy.Expr] = dict(zip(self.fields, symbols, strict=True))
        known |= {name: sympy.Float(value) for name, value in self.constants.items()}
        return symbols, parse(self.formula, known)


def double_well(height: float, low: float, high: float, name: str = "u") -> Expression:
    """f = ρ (u − a)² (b − u)² of one field, eV/site: wells at a and b.

    With ρ = 5, a = 0.3, b = 0.7 the energy of PFHub benchmark 1 (Jokisaari et al. 2017,
    doi:10.1016/j.commatsci.2016.09.022); with a = 0, b = 1 that of Allen & Cahn.

    Raises:
        ValueError: ρ is not positive, or a not below b.
    """
    if not (height > 0 and math.isfinite(height)):
        raise ValueError(f"`height` must be finite and positive; it is {height:g}.")
    if not low < high:
        raise ValueError(f"`low` must be below `high`; they are {low:g} and {high:g}.")
    constants = {"height": height, "low": low, "high": high}
    return Expression(f"height * ({name} - low)**2 * (high - {name})**2", (name,), constants)
