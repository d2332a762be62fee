"""Functions in pieces that sympy differentiates and that torch and numba evaluate alike."""

from collections.abc import Sequence
from typing import Any, cast

import sympy


class Select(sympy.Function):
    """What `select` makes."""

    nargs = 3

    @classmethod
    def eval(cls, *args: Any) -> Any:  # noqa: ANN401
        d, a, b = args
        if a == b:
            return a
        if d.is_number:
            return a if d > 0 else b
        return None

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        d, a, b = cast(tuple[Any, Any, Any], self.args)
        return select(d, sympy.diff(a, s), sympy.diff(b, s))


class AtLeast(sympy.Function):
    """What `at_least` makes."""

    nargs = 2

    @classmethod
    def eval(cls, *args: Any) -> Any:  # noqa: ANN401
        x, a = args
        return sympy.Max(x, a) if x.is_number else None

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        x, a = _pair(self)
        return select(a - x, sympy.Integer(0), sympy.Integer(1))


class LogAbove(sympy.Function):
    """LogAbove(x, floor): ln x, continued below `floor` > 0 by its tangent."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        return 1 / at_least(*_pair(self))


class XLogX(sympy.Function):
    """XLogX(x, floor): x ln x, continued below `floor` by its second-order Taylor polynomial.

    As `idnn.free_energy.IdealMixing` has it: 0 at x = 0, and NaN below if `floor` is 0.
    """

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:  # noqa: ARG002
        x, floor = _pair(self)
        slope: Any = sympy.log(x) if floor == 0 else LogAbove(x, floor)
        return 1 + slope


def select(d: sympy.Expr, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    """A where d > 0, b elsewhere; the derivative too is that of one or the other."""
    found: Any = Select(d, a, b)
    return found


def at_least(x: sympy.Expr, a: sympy.Expr) -> sympy.Expr:
    """The larger of x and the number a; with the slope of x where they are equal."""
    found: Any = AtLeast(x, a)
    return found


def mixing(fractions: Sequence[sympy.Expr], floor: float) -> sympy.Expr:
    """Σ y ln y, continued below `floor`.

    Raises:
        ValueError: `floor` is not in [0, 0.5).
    """
    if not 0 <= floor < 0.5:
        raise ValueError(f"`floor` must lie in [0, 0.5); it is {floor:g}.")
    terms: list[Any] = [XLogX(y, sympy.Float(floor) if floor else 0) for y in fractions]
    return sympy.Add(*terms)


def written_out(expression: sympy.Expr) -> sympy.Expr:
    """The expression with continued logarithms in terms of `AtLeast` and log."""
    replaced: Any = expression.replace(LogAbove, _log_above)
    return replaced.replace(XLogX, _xlogx)


def _pair(function: sympy.Expr) -> tuple[Any, Any]:
    return cast(tuple[Any, Any], function.args)


def _log_above(x: sympy.Expr, floor: sympy.Expr) -> sympy.Expr:
    inside = at_least(x, floor)
    return sympy.log(inside) + (x - inside) / floor


def _xlogx(x: sympy.Expr, floor: sympy.Expr) -> sympy.Expr:
    if floor == 0:
        unchanged: Any = XLogX(x, floor)
        return unchanged
    inside = at_least(x, floor)
    below = x - inside
    return x * sympy.log(inside) + below + below**2 / (2 * floor)
