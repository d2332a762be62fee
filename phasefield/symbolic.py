"""Free energies given as sympy expressions of their fields: derivatives, torch code, kernels."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import sympy
import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.formula import FUNCTIONS, function

Expressions = tuple[sympy.Expr, ...]
Symbols = tuple[sympy.Symbol, ...]

ROWS = 16384
"""States evaluated at once on a CPU: temporaries stay in the cache."""


class SymbolicEnergy(ABC):
    """f(u) of an expression, with exact ∂f/∂u and ∂²f/∂u² (eV/site, or the expression's unit).

    What value and derivatives have in common is calculated once. `phasefield.piecewise` holds
    functions in pieces for the expression.
    """

    @abstractmethod
    def expression(self) -> tuple[Symbols, sympy.Expr]:
        """Symbols of the fields, in their order, and f of them."""

    @property
    def symbols(self) -> Symbols:
        """Of the fields, in their order."""
        return self._expression[0]

    @property
    def value(self) -> sympy.Expr:
        """f of `symbols`."""
        return self._expression[1]

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        (value,) = evaluated((self.value,), self.symbols, eta)
        return value

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return torch.stack(evaluated(self._slopes, self.symbols, eta), -1)

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        d = len(self.symbols)
        upper = evaluated(self._curvatures, self.symbols, eta)
        rows, columns = torch.triu_indices(d, d).tolist()
        found = eta.new_empty(*eta.shape, d)
        for i, j, curvature in zip(rows, columns, upper, strict=True):
            found[..., i, j] = found[..., j, i] = curvature
        return found

    def evaluate(
        self, eta: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"]]:
        """f and ∂f/∂u; what they have in common is calculated once."""
        value, *slopes = evaluated((self.value, *self._slopes), self.symbols, eta)
        return value, torch.stack(slopes, -1)

    @property
    def point(self) -> Callable[..., Sequence[Any]]:
        """Fields, one tensor each, ↦ f and all ∂f/∂u, as tensors or numbers."""
        return _compiled((self.value, *self._slopes), self.symbols)

    @cached_property
    def kernel(self) -> Callable[..., tuple[float, float]]:
        """Compiled pass over cells `start` to `stop` of u [field, cell].

        It puts ∂f/∂uᵢ − sᵢuᵢ in the place of uᵢ and returns Σf and Σ|f|.
        """
        return _kernel((self.value, *self._slopes), self.symbols)

    @cached_property
    def degree(self) -> int | None:
        """Of the polynomial in all fields together; None if f is none."""
        if not self.value.is_polynomial(*self.symbols):
            return None
        return int(sympy.Poly(self.value, *self.symbols).total_degree())

    @cached_property
    def _expression(self) -> tuple[Symbols, sympy.Expr]:
        return self.expression()

    @cached_property
    def _slopes(self) -> Expressions:
        return tuple(sympy.diff(self.value, symbol) for symbol in self.symbols)

    @cached_property
    def _curvatures(self) -> Expressions:
        """Of i ≤ j."""
        slopes = enumerate(self._slopes)
        return tuple(sympy.diff(slope, u) for i, slope in slopes for u in self.symbols[i:])


def field_symbols(count: int) -> Symbols:
    """Symbols for so many fields."""
    return tuple(sympy.Symbol(f"field_{j}") for j in range(count))


def evaluated(
    expressions: Expressions, symbols: Symbols, eta: Float[Tensor, "*batch d"]
) -> list[Tensor]:
    """Every expression at η; what they share is calculated once."""
    code, rows = _compiled(expressions, symbols), eta.reshape(-1, eta.shape[-1])
    parts = rows.split(ROWS) if eta.device.type == "cpu" else (rows,)
    found = [[_filling(value, part) for value in code(*part.T.contiguous())] for part in parts]
    return [torch.cat(column).view(eta.shape[:-1]) for column in zip(*found, strict=True)]


@cache
def _compiled(expressions: Expressions, symbols: Symbols) -> Callable[..., Sequence[Any]]:
    library = {name: getattr(torch, name) for name in FUNCTIONS}
    library |= {
        "positive_log": torch.log, "select": _select, "at_least": torch.clamp_min, "xlogx": _xlogx,
    }  # fmt: skip
    return function(symbols, expressions, library)


@cache
def _kernel(expressions: Expressions, symbols: Symbols) -> Callable[..., tuple[float, float]]:
    """Compiled once in a process."""
    from idnn.vectors import log
    from phasefield import kernels

    u: Any = sympy.IndexedBase("u")
    i: Any = sympy.Idx("i")
    here = {symbol: u[j, i] for j, symbol in enumerate(symbols)}
    library = {name: getattr(math, name) for name in FUNCTIONS}
    library |= {
        "positive_log": log, "select": kernels.select, "at_least": kernels.at_least,
        "xlogx": kernels.xlogx,
    }  # fmt: skip
    cells: list[Any] = [e.xreplace(here) for e in expressions]
    return kernels.sweep(function((u, i), cells, library), len(symbols))


def _select(d: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = torch.full_like(d, a)
    return torch.where(d > 0, a, b)


def _xlogx(x: Tensor) -> Tensor:
    return torch.xlogy(x, x)


def _filling(value: Tensor | float, eta: Tensor) -> Tensor:
    """A derivative may be constant: it fills the batch."""
    if isinstance(value, Tensor):
        return value
    return torch.full(eta.shape[:-1], float(value), dtype=eta.dtype, device=eta.device)
