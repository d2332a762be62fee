"""Activation functions of integrable networks: value, slope and curvature in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

Activation = Callable[[Tensor, int], tuple[Tensor, ...]]
"""(z, order) → s(z), s′(z) and, of order 2, s″(z). The potential's layers use s, those of its
gradient s′, of its Hessian s″."""


def softplus(z: Tensor, order: int) -> tuple[Tensor, ...]:
    """s = ln(1 + eᶻ), s′ the logistic function.

    Teichert et al. (2019, doi:10.1016/j.cma.2019.05.019).
    """
    # Torch's default replaces softplus by z from z = 20 on, where they still differ by 2e-9.
    found = nn.functional.softplus(z, threshold=40), z.sigmoid()
    return found if order == 1 else (*found, found[1] * (1 - found[1]))


def squareplus(z: Tensor, order: int) -> tuple[Tensor, ...]:
    """s = ½(z + √(z² + 4)): softplus without an exponential (Barron 2021, arXiv:2112.11687)."""
    root = (z * z + 4).sqrt()
    value = 0.5 * (z + root)
    found = value, value / root
    return found if order == 1 else (*found, 2 / root**3)


def logcosh(z: Tensor, order: int) -> tuple[Tensor, ...]:
    """s = ln cosh z, s′ = tanh z."""
    size = z.abs()
    value = size + nn.functional.softplus(-2 * size, threshold=40) - math.log(2)
    found = value, z.tanh()
    return found if order == 1 else (*found, 1 - found[1].square())


def gelu(z: Tensor, order: int) -> tuple[Tensor, ...]:
    """s = z Φ(z), Φ the normal distribution (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    below = 0.5 * (1 + (z * math.sqrt(0.5)).erf())
    density = (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)
    found = z * below, below + z * density
    return found if order == 1 else (*found, density * (2 - z * z))


ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "logcosh": logcosh,
    "softplus": softplus,
    "squareplus": squareplus,
}
"""By the names that settings use."""
