"""What pycalphad's models are written in, symengine, translated to sympy."""

from collections.abc import Mapping

import symengine
import sympy
from symengine.lib import symengine_wrapper as wrapper  # pyright: ignore[reportAttributeAccessIssue]

from phasefield.piecewise import select

OPERATIONS = {
    symengine.Add: sympy.Add,
    symengine.Mul: sympy.Mul,
    symengine.Pow: sympy.Pow,
    wrapper.log: sympy.log,
}


def translated(expression: symengine.Basic, known: Mapping[str, sympy.Expr]) -> sympy.Expr:
    """The expression with symbols replaced by name; pieces become `select`.

    Args:
        expression: of symengine.
        known: what each symbol is.

    Raises:
        ValueError: it holds another symbol or an operation without a translation.
    """
    if isinstance(expression, symengine.Piecewise):
        return _pieces(expression, known)
    if isinstance(expression, symengine.Symbol):
        if str(expression) not in known:
            raise ValueError(f"`known` must hold every symbol of the model; it lacks {expression}.")
        return known[str(expression)]
    if not expression.args:
        return sympy.sympify(expression)
    operation = next((o for kind, o in OPERATIONS.items() if isinstance(expression, kind)), None)
    if operation is None:
        raise ValueError(
            "`expression` must be made of sums, products, powers, logarithms and pieces; it holds "
            f"{expression}."
        )
    return operation(*(translated(each, known) for each in expression.args))


def _pieces(expression: symengine.Basic, known: Mapping[str, sympy.Expr]) -> sympy.Expr:
    """The last piece holds wherever the others do not; pycalphad's is for all other cases."""
    *others, (last, _) = zip(expression.args[::2], expression.args[1::2], strict=True)
    found = translated(last, known)
    for piece, rule in reversed(others):
        found = _where(rule, translated(piece, known), found, known)
    return found


def _where(
    rule: symengine.Basic, a: sympy.Expr, b: sympy.Expr, known: Mapping[str, sympy.Expr]
) -> sympy.Expr:
    """`a` where the rule holds, `b` elsewhere."""
    if rule == symengine.true or rule == symengine.false:
        return a if rule == symengine.true else b
    if isinstance(rule, symengine.And):
        for part in rule.args:
            a = _where(part, a, b, known)
        return a
    if not isinstance(rule, wrapper.StrictLessThan | wrapper.LessThan):
        raise ValueError(f"`expression` must have pieces with rules of < and <=; one is {rule}.")
    low, high = (translated(each, known) for each in rule.args)
    if isinstance(rule, wrapper.StrictLessThan):
        return select(high - low, a, b)
    return select(low - high, b, a)
