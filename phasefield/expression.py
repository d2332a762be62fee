"""Free energies from a formula: polynomials, Landau expansions, regular solutions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.formula import FUNCTIONS, function, parse


@dataclass(frozen=True)
class Expression:
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
        _ = self._value

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        (value,) = _call((self._value,), self._symbols, eta)
        return value

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return torch.stack(_call(self._slopes, self._symbols, eta), -1)

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        flat = torch.stack(_call(self._curvatures, self._symbols, eta), -1)
        return flat.unflatten(-1, (len(self.fields), len(self.fields)))

    def evaluate(
        self, eta: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"]]:
        """f and ∂f/∂u; what they have in common is calculated once."""
        value, *slopes = _call((self._value, *self._slopes), self._symbols, eta)
        return value, torch.stack(slopes, -1)

    @property
    def point(self) -> Callable[..., Sequence[Any]]:
        """Fields, one tensor each, ↦ f and all ∂f/∂u, as tensors or numbers."""
        return _compiled((self._value, *self._slopes), self._symbols)

    @cached_property
    def kernel(self) -> Callable[..., tuple[float, float]]:
        """Compiled pass over cells `start` to `stop` of u [field, cell].

        It puts ∂f/∂uᵢ − sᵢuᵢ in the place of uᵢ and returns Σf and Σ|f|.
        """
        return _kernel((self._value, *self._slopes), self._symbols)

    @cached_property
    def degree(self) -> int | None:
        """Of the polynomial in all fields together; None if the formula is none."""
        if not self._value.is_polynomial(*self._symbols):
            return None
        return int(sympy.Poly(self._value, *self._symbols).total_degree())

    @cached_property
    def _symbols(self) -> tuple[sympy.Symbol, ...]:
        return tuple(sympy.Symbol(f"field_{j}", real=True) for j in range(len(self.fields)))

    @cached_property
    def _value(self) -> sympy.Expr:
        known: dict[str, sympy.Expr] = dict(zip(self.fields, self._symbols, strict=True))
        known |= {name: sympy.Float(value) for name, value in self.constants.items()}
        return parse(self.formula, known)

    @cached_property
    def _slopes(self) -> tuple[sympy.Expr, ...]:
        return tuple(sympy.diff(self._value, symbol) for symbol in self._symbols)

    @cached_property
    def _curvatures(self) -> tuple[sympy.Expr, ...]:
        return tuple(sympy.diff(slope, u) for slope in self._slopes for u in self._symbols)


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


def _call(
    expressions: tuple[sympy.Expr, ...], symbols: tuple[sympy.Symbol, ...], eta: Tensor
) -> list[Tensor]:
    values = _compiled(expressions, symbols)(*eta.unbind(-1))
    return [_filling(value, eta) for value in values]


@cache
def _compiled(
    expressions: tuple[sympy.Expr, ...], symbols: tuple[sympy.Symbol, ...]
) -> Callable[..., Sequence[Any]]:
    return function(symbols, expressions, {name: getattr(torch, name) for name in FUNCTIONS})


@cache
def _kernel(
    expressions: tuple[sympy.Expr, ...], symbols: tuple[sympy.Symbol, ...]
) -> Callable[..., tuple[float, float]]:
    """Compiled once in a process."""
    from phasefield.kernels import sweep

    u: Any = sympy.IndexedBase("u")
    i: Any = sympy.Idx("i")
    here = {symbol: u[j, i] for j, symbol in enumerate(symbols)}
    library = {name: getattr(math, name) for name in FUNCTIONS}
    return sweep(function((u, i), [e.xreplace(here) for e in expressions], library), len(symbols))


def _filling(value: Tensor | float, eta: Tensor) -> Tensor:
    """A derivative may be constant: it fills the batch."""
    if isinstance(value, Tensor):
        return value
    return torch.full(eta.shape[:-1], float(value), dtype=eta.dtype, device=eta.device)
