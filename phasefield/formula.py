"""Formulas as text: read without executing anything, differentiated, turned into code."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
from sympy.printing.pycode import PythonCodePrinter

from phasefield.piecewise import AtLeast, written_out

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
FUNCTIONS = {name: getattr(sympy, name) for name in ("log", "exp", "sqrt", "tanh", "cos", "sin")}
LARGEST_PRODUCT = 16
"""Integer powers up to this one are written as products."""


def parse(text: str, known: Mapping[str, sympy.Expr]) -> sympy.Expr:
    """The formula of numbers, `known` names, + − * / **, parentheses and `FUNCTIONS`.

    Raises:
        ValueError: anything else is in it, or a name is unknown.
    """
    try:
        return sympy.sympify(_read(ast.parse(text.strip(), mode="eval").body, known))
    except SyntaxError as error:
        raise ValueError(f"`formula` {text!r} cannot be read: {error.msg}.") from error


def _read(node: ast.expr, known: Mapping[str, Any]) -> sympy.Expr:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return sympy.Integer(value) if isinstance(value, int) else sympy.Float(value)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Name(id=name):
            raise ValueError(f"`formula` may use {sorted(known)}; it uses {name!r}.")
        case ast.BinOp(left, operation, right) if type(operation) in OPERATORS:
            return OPERATORS[type(operation)](_read(left, known), _read(right, known))
        case ast.UnaryOp(operation, operand) if type(operation) in OPERATORS:
            return OPERATORS[type(operation)](_read(operand, known))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](_read(argument, known))
    raise ValueError(
        "`formula` may hold numbers, names, + - * / **, parentheses and "
        f"{', '.join(FUNCTIONS)} of one argument; it holds {ast.unparse(node)!r}."
    )


def function(
    arguments: Sequence[sympy.Basic],
    expressions: Sequence[sympy.Expr],
    library: Mapping[str, Callable],
) -> Callable[..., Sequence[Any]]:
    """All expressions as one Python function; what they share is calculated once.

    Args:
        arguments: symbols.
        expressions: of these symbols.
        library: what `FUNCTIONS`, and `select`, `at_least`, `positive_log` and `xlogx` of
            `phasefield.piecewise`, are in the code.
    """
    floats = tuple(sympy.Float(e) if e.is_number else written_out(e) for e in expressions)
    printer = _Printer({"fully_qualified_modules": False})
    return sympy.lambdify(arguments, floats, modules=[dict(library)], printer=printer, cse=True)


class _Printer(PythonCodePrinter):
    """Integer powers as products; functions by their bare names."""

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False, sqrt: str = "") -> str:  # noqa: ARG002
        base, power = expr.as_base_exp()
        if power == sympy.Rational(1, 2):
            return f"sqrt({self._print(base)})"
        if power.is_Integer and 0 < abs(int(power)) <= LARGEST_PRODUCT:
            product = _product(f"({self._print(base)})", abs(int(power)))
            return product if power > 0 else f"(1.0 / {product})"
        return f"({self._print(base)}) ** ({self._print(power)})"

    def _print_log(self, expr: sympy.Expr) -> str:
        (x,) = expr.args
        name = "positive_log" if isinstance(x, AtLeast) else "log"
        return f"{name}({self._print(x)})"

    def _print_Select(self, expr: sympy.Expr) -> str:
        return f"select({', '.join(map(self._print, expr.args))})"

    def _print_AtLeast(self, expr: sympy.Expr) -> str:
        return f"at_least({', '.join(map(self._print, expr.args))})"

    def _print_XLogX(self, expr: sympy.Expr) -> str:
        return f"xlogx({self._print(expr.args[0])})"

    def _print_Rational(self, expr: sympy.Rational) -> str:
        return repr(float(expr))

    def _print_Float(self, expr: sympy.Float) -> str:
        return repr(float(expr))


def _product(base: str, power: int) -> str:
    """x·x, (x·x)·(x·x), … by squares; the compiler shares them."""
    if power == 1:
        return base
    half = _product(base, power // 2)
    return f"({half} * {half})" if power % 2 == 0 else f"({half} * {half} * {base})"
