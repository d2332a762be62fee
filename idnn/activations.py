"""Activation functions of integrable networks: value, slope and curvature in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Buffers = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Where results may be put; without them they are new tensors, and autograd passes through."""

NEW: Buffers = None, None, None


@dataclass(frozen=True)
class Activation:
    """s(z) = outside × σ(inside × z), which the potential needs; its gradient s′, its Hessian s″.

    σ takes the fewest passes over memory; the factors can be multiplied into weights and biases.

    Attributes:
        first: w, buffers → σ, σ′ and, without buffers, what they have in common with σ″. The first
            two may be put into the first two buffers, the first of which may be w; the third is to
            work with.
        second: w, σ′ and what `first` gave → σ″.
        inside: factor of z.
        outside: factor of σ.
    """

    first: Callable[[Tensor, Buffers], tuple[Tensor, Tensor, Tensor]]
    second: Callable[[Tensor, Tensor, Tensor], Tensor]
    inside: float = 1.0
    outside: float = 1.0

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w = self._scaled(z, self.inside)
        value, slope, common = self.first(w, NEW)
        curvature = self.second(w, slope, common)
        factor = self.outside * self.inside
        return (
            self._scaled(value, self.outside),
            self._scaled(slope, factor),
            self._scaled(curvature, factor * self.inside),
        )

    def value_and_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """s and s′."""
        value, slope, _ = self.first(self._scaled(z, self.inside), NEW)
        factor = self.outside * self.inside
        return self._scaled(value, self.outside), self._scaled(slope, factor)

    @staticmethod
    def _scaled(x: Tensor, factor: float) -> Tensor:
        return x if factor == 1 else x * factor


def softplus(w: Tensor, into: Buffers) -> tuple[Tensor, Tensor, Tensor]:
    """σ = ln(1 + eʷ), σ′ the logistic function (Teichert et al. 2019, cma.2019.05.019)."""
    slope = torch.sigmoid(w, out=into[1])
    return _softplus(w), slope, slope


def squareplus(w: Tensor, into: Buffers) -> tuple[Tensor, Tensor, Tensor]:
    """σ = w + √(w² + 1): softplus without an exponential (Barron 2021, arXiv:2112.11687)."""
    value, slope, between = into
    root = torch.sqrt(torch.add(torch.mul(w, w, out=between), 1.0, out=between), out=between)
    total = torch.add(w, root, out=value)
    return total, torch.div(total, root, out=slope), root


def logcosh(w: Tensor, into: Buffers) -> tuple[Tensor, Tensor, Tensor]:
    """σ = ln cosh w, σ′ = tanh w."""
    slope = torch.tanh(w, out=into[1])
    size = torch.abs(w, out=into[2])
    return size + _softplus(-2 * size) - math.log(2), slope, slope


def gelu(w: Tensor, into: Buffers) -> tuple[Tensor, Tensor, Tensor]:
    """σ = w (1 + erf w): √2 z Φ(z) at z = √2 w, Φ the normal distribution.

    Hendrycks & Gimpel 2016, arXiv:1606.08415.
    """
    value, slope, between = into
    below = torch.add(torch.erf(w, out=between), 1.0, out=between)
    bell = torch.exp(torch.neg(torch.mul(w, w, out=slope), out=slope), out=slope)
    rise = torch.addcmul(below, w, bell, value=ERF_SLOPE, out=slope)
    return torch.mul(w, below, out=value), rise, bell


def _softplus(w: Tensor) -> Tensor:
    # Torch's default replaces softplus by w from w = 20 on, where they still differ by 2e-9.
    return nn.functional.softplus(w, threshold=40)


ERF_SLOPE = 2 / math.sqrt(math.pi)
"""The derivative of erf w is this times exp(−w²)."""

ACTIVATIONS: dict[str, Activation] = {
    "gelu": Activation(
        gelu,
        lambda w, _, bell: 2 * ERF_SLOPE * bell * (1 - w * w),
        inside=math.sqrt(0.5),
        outside=math.sqrt(0.5),
    ),
    "logcosh": Activation(logcosh, lambda _, slope, __: 1 - slope * slope),
    "softplus": Activation(softplus, lambda _, slope, __: slope * (1 - slope)),
    "squareplus": Activation(squareplus, lambda _, __, root: 1 / root**3, inside=0.5),
}
"""By the names that settings use."""
