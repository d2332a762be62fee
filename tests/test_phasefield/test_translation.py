"""Expressions of symengine mean the same in sympy."""

import pytest
import symengine
import sympy
from symengine import Piecewise, Symbol

from phasefield.piecewise import Select
from phasefield.translation import translated

X, Y = sympy.symbols("x y")
KNOWN = {"x": X, "y": Y}
x, y = Symbol("x"), Symbol("y")


def at(expression, a, b):
    return float(expression.subs({X: a, Y: b}).doit())


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (x < y, lambda a, b: a < b),
        (x <= y, lambda a, b: a <= b),
        (x > y, lambda a, b: a > b),
        (x >= y, lambda a, b: a >= b),
        (symengine.And(x < y, x > 0.2), lambda a, b: 0.2 < a < b),
        (symengine.And(x < y, x > 0.2, y < 0.6), lambda a, b: 0.2 < a < b < 0.6),
    ],
)
def test_pieces_hold_where_their_rules_do(rule, holds):
    found = translated(Piecewise((x + 1, rule), (y**2, True)), KNOWN)
    for a in (0.1, 0.2, 0.3, 0.5, 0.7):
        for b in (0.1, 0.3, 0.5, 0.65):
            assert at(found, a, b) == pytest.approx(a + 1 if holds(a, b) else b**2)


def test_the_first_piece_that_holds_counts_and_numbers_settle_rules():
    nested = Piecewise((1, x < 0.3), (Piecewise((2, y < 0.5), (3, True)), x < 0.6), (4, True))
    found = translated(nested, KNOWN)
    assert [at(found, a, b) for a, b in ((0.1, 0), (0.4, 0), (0.4, 0.9), (0.7, 0))] == [1, 2, 3, 4]
    settled = translated(nested, {"x": sympy.Float(0.4), "y": sympy.Float(0.9)})
    assert settled == 3
    assert not translated(nested, {"x": sympy.Float(0.7), "y": Y}).has(Select)


def test_arithmetic_logarithms_and_exponentials_are_kept():
    expression = symengine.log(x) * y**-2 + symengine.exp(-x / 3) - 2.5 * x * y
    expected = sympy.log(X) / Y**2 + sympy.exp(-X / 3) - 2.5 * X * Y
    assert at(translated(expression, KNOWN), 0.3, 0.7) == pytest.approx(at(expected, 0.3, 0.7))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (x + Symbol("z"), "it lacks z"),
        (symengine.sin(x), r"it holds sin\(x\)"),
        (Piecewise((x, symengine.Or(x < 0.1, y < 0.1)), (y, True)), "rules of < and <=; one is Or"),
    ],
)
def test_what_has_no_translation_is_refused(expression, message):
    with pytest.raises(ValueError, match=message):
        translated(expression, KNOWN)
