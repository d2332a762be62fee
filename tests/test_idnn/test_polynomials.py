"""Polynomials as data: values, closed-form derivatives, and tables that are none."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import sobol_states

from idnn.order_parameters import FCC_L12
from idnn.polynomials import Polynomials, monomials, product


def l12_invariants_by_hand(eta):
    composition, eta1, eta2, eta3 = eta.unbind(-1)
    a, b, c = eta1.square(), eta2.square(), eta3.square()
    h = [
        2 * composition - 1,
        16 * eta1 * eta2 * eta3,
        4 * (a + b + c),
        64 * (a * b + b * c + c * a),
    ]
    return torch.stack(h, -1)


@st.composite
def tables(draw):
    """A few polynomials of three variables, up to degree six, and a point."""
    power = st.integers(0, 3)
    terms = draw(st.lists(st.tuples(power, power, power), min_size=1, max_size=6, unique=True))
    size = st.integers(-4, 4).map(float)
    row = st.tuples(*[size] * len(terms))
    rows = draw(st.lists(row, min_size=1, max_size=3))
    at = draw(st.tuples(*[st.floats(-1.5, 1.5)] * 3))
    return tuple(terms), tuple(rows), at


def literal(polynomials, eta):
    """Σ c Π ηᵢ^eᵢ as it is written."""
    powers = eta ** torch.tensor(polynomials.exponents)
    return torch.tensor(polynomials.coefficients, dtype=eta.dtype) @ powers.prod(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_table_of_fcc_gives_the_bits_of_the_formula(dtype):
    eta = sobol_states(200, seed=3).to(dtype)
    h = FCC_L12.invariants(eta)
    assert h.dtype == dtype
    assert torch.equal(h, l12_invariants_by_hand(eta))
    assert torch.equal(FCC_L12.invariants(eta.reshape(2, 5, 20, 4)), h.reshape(2, 5, 20, 4))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_values_and_both_derivatives_are_those_of_the_sum_of_monomials(case):
    terms, rows, at = case
    polynomials, eta = Polynomials(terms, rows), torch.tensor(at, dtype=torch.float64)
    by_hand = torch.func.jacrev(lambda x: literal(polynomials, x))
    # Terms are below 4·1.5⁹·81 with rounding of 1e-16 each: 1e-11 in all.
    same = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(polynomials(eta), literal(polynomials, eta), **same)
    torch.testing.assert_close(polynomials.jacobian(eta), by_hand(eta), **same)
    second = torch.func.jacrev(polynomials.jacobian)(eta)
    torch.testing.assert_close(polynomials.second(eta), second, **same)


def test_autograd_passes_through_values_and_jacobian():
    eta = torch.tensor([[0.3, 0.05, 0.1, 0.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(FCC_L12.invariants, eta)
    assert torch.autograd.gradcheck(FCC_L12.invariants.jacobian, eta)


def test_powers_are_shared():
    """Three squares, two for η₁η₂η₃, and one for each product of two squares."""
    assert len(FCC_L12.invariants._values.products) == 8


def test_products_multiply_values():
    a, b = {(1, 0): 2.0, (0, 0): -1.0}, {(1, 0): 1.0, (0, 2): 3.0}
    whole = Polynomials.of([a, b, product(a, b)])
    h = whole(torch.tensor([0.7, -0.4], dtype=torch.float64))
    assert float(h[2]) == pytest.approx(float(h[0] * h[1]))


def test_there_are_as_many_monomials_as_multisets():
    assert len(monomials(4, 5)) == len(set(monomials(4, 5))) == 56  # C(4+5−1, 5)
    assert {sum(e) for e in monomials(4, 5)} == {5}


@pytest.mark.parametrize(
    ("exponents", "coefficients", "message"),
    [
        ((), ((1.0,),), "at least one row"),
        (((1, 0),), (), "at least one row"),
        (((1, 0), (1,)), ((1.0, 1.0),), "`exponents` must have one whole number"),
        (((1, -1),), ((1.0,),), "`exponents` must have one whole number"),
        (((1, 0), (1, 0)), ((1.0, 1.0),), "two terms are the same"),
        (((1, 0),), ((1.0, 2.0),), "row 0 holds 2"),
        (((1, 0),), ((float("nan"),),), "`coefficients` must be finite"),
    ],
)
def test_a_table_that_is_none_is_refused(exponents, coefficients, message):
    with pytest.raises(ValueError, match=message):
        Polynomials(exponents, coefficients)
