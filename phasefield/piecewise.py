"""Functions in pieces that sympy differentiates and that torch and numba evaluate alike."""

from collections.abc import Sequence
from typing import Any

import sympy


class Select(sympy.Function):
    """Select(d, a, b): a where d > 0, b elsewhere."""

    nargs = 3

    @classmethod
    def eval(cls, d: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr | None:
        if a == b:
            return a
        if d.is_number:
            return a if d > 0 else b
        return None

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        d, a, b = self.args
        return Select(d, a.diff(s), b.diff(s))


class AtLeast(sympy.Function):
    """AtLeast(x, a): the larger of x and the number a. Where they are equal it has the slope of x."""

    nargs = 2

    @classmethod
    def eval(cls, x: sympy.Expr, a: sympy.Expr) -> sympy.Expr | None:
        return sympy.Max(x, a) if x.is_number else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        x, a = self.args
        return Select(a - x, sympy.Integer(0), sympy.Integer(1))


class LogAbove(sympy.Function):
    """LogAbove(x, floor): ln x, continued below `floor` > 0 by its tangent."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        return 1 / AtLeast(*self.args)


class XLogX(sympy.Function):
    """XLogX(x, floor): x ln x, continued below `floor` by its second-order Taylor polynomial.

    As `idnn.free_energy.IdealMixing` has it: 0 at x = 0, and NaN below if `floor` is 0.
    """

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        x, floor = self.args
        return 1 + (sympy.log(x) if floor == 0 else LogAbove(x, floor))


def mixing(fractions: Sequence[sympy.Expr], floor: float) -> sympy.Expr:
    """Σ y ln y, continued below `floor`.

    Raises:
        ValueError: `floor` is not in [0, 0.5).
    """
    if not 0 <= floor < 0.5:
        raise ValueError(f"`floor` must lie in [0, 0.5); it is {floor:g}.")
    return sympy.Add(*(XLogX(y, sympy.Float(floor) if floor else 0) for y in fractions))


def written_out(expression: sympy.Expr) -> sympy.Expr:
    """The expression with continued logarithms in terms of `AtLeast` and log."""
    replaced: Any = expression.replace(LogAbove, _log_above)
    return replaced.replace(XLogX, _xlogx)


def _log_above(x: sympy.Expr, floor: sympy.Expr) -> sympy.Expr:
    inside = AtLeast(x, floor)
    return sympy.log(inside) + (x - inside) / floor


def _xlogx(x: sympy.Expr, floor: sympy.Expr) -> sympy.Expr:
    if floor == 0:
        return XLogX(x, floor)
    inside = AtLeast(x, floor)
    below = x - inside
    return x * sympy.log(inside) + below + below**2 / (2 * floor)
