"""Activation functions of integrable networks: value, slope and curvature in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """s(z) → s, s′, s″. The potential's layers use s, those of its gradient s′, of its Hessian s″.

    Attributes:
        closed_form: all three.
        value: s alone, in as few passes over memory as can be.
        pull: g, z → g s′(z), alike.
    """

    closed_form: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    value: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.closed_form(z)


def softplus(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s = ln(1 + eᶻ), s′ the logistic function (Teichert et al. 2019, cma.2019.05.019)."""
    slope = z.sigmoid()
    return _softplus(z), slope, slope * (1 - slope)


def squareplus(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s = ½(z + √(z² + 4)): softplus without an exponential (Barron 2021, arXiv:2112.11687)."""
    root = (z * z + 4).sqrt()
    value = 0.5 * (z + root)
    return value, value / root, 2 / root**3


def logcosh(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s = ln cosh z, s′ = tanh z."""
    slope = z.tanh()
    size = z.abs()
    value = size + nn.functional.softplus(-2 * size, threshold=40) - math.log(2)
    return value, slope, 1 - slope * slope


def gelu(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """s = z Φ(z), Φ the normal distribution (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""
    below = 0.5 * (1 + (z * math.sqrt(0.5)).erf())
    density = (-0.5 * z * z).exp() / math.sqrt(2 * math.pi)
    return z * below, below + z * density, density * (2 - z * z)


def _softplus(z: Tensor) -> Tensor:
    # Torch's default replaces softplus by z from z = 20 on, where they still differ by 2e-9.
    return nn.functional.softplus(z, threshold=40)


def _squareplus(z: Tensor) -> Tensor:
    return 0.5 * (z + (z * z + 4).sqrt())


ACTIVATIONS: dict[str, Activation] = {
    "gelu": Activation(gelu, nn.functional.gelu, torch.ops.aten.gelu_backward),
    "logcosh": Activation(logcosh, lambda z: logcosh(z)[0], lambda g, z: g * z.tanh()),
    "softplus": Activation(softplus, _softplus, lambda g, z: g * z.sigmoid()),
    "squareplus": Activation(
        squareplus, _squareplus, lambda g, z: 0.5 * torch.addcmul(g, g, z / (z * z + 4).sqrt())
    ),
}
"""By the names that settings use."""
