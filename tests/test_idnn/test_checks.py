"""One wording for bad numbers, and the constants."""

import math

import pytest
import torch

from idnn.checks import require_finite, require_in_range, require_positive, require_shape
from idnn.units import BOLTZMANN_EV, EV_PER_SITE_IN_J_PER_MOL


def test_a_bad_number_is_named_with_its_rule_and_value():
    with pytest.raises(ValueError, match=r"^`x` must lie in \[0, 1\]; it is 1.5\.$"):
        require_in_range("x", 1.5, 0, 1)


def test_a_bad_entry_is_counted_and_located():
    x = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    message = r"`x` must lie in \[0, 1\]: 2 of 4 entries do not; the first, at flat index 1, is -1"
    with pytest.raises(ValueError, match=message):
        require_in_range("x", x, 0, 1)


@pytest.mark.parametrize(
    "check",
    [
        lambda x: require_in_range("x", x, -1e9, 1e9),
        *(lambda x, f=f: f("x", x) for f in (require_finite, require_positive)),
    ],
)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_fail_every_check(check, bad):
    with pytest.raises(ValueError, match="`x` must"):
        check(bad)
    with pytest.raises(ValueError, match="1 of 3 entries"):
        check(torch.tensor([1.0, bad, 2.0]))


def test_good_numbers_pass():
    require_in_range("x", torch.tensor([0.0, 1.0]), 0, 1)
    require_positive("x", 1e-300)
    require_finite("x", torch.empty(0))
    require_shape("x", torch.zeros(3, 4), (None, 4))


def test_zero_is_not_positive():
    with pytest.raises(ValueError, match="`x` must be finite and positive; it is 0"):
        require_positive("x", 0.0)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 4, 1)])
def test_a_bad_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`x` must have shape .*; it has \(3, 4\)"):
        require_shape("x", torch.zeros(3, 4), shape)


def test_constants_agree_with_each_other():
    # Molar gas constant and Faraday constant, CODATA 2018: 8.314462618, 96485.33212.
    assert pytest.approx(8.314462618, rel=1e-9) == BOLTZMANN_EV * EV_PER_SITE_IN_J_PER_MOL
    assert pytest.approx(96485.33212, rel=1e-10) == EV_PER_SITE_IN_J_PER_MOL
