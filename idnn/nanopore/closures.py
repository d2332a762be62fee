"""Learned deviations from the closures of the model: hindrance, partition and fixed charge."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Membrane

FEATURES = 8
"""What a correction of an ion depends on."""

LIMIT = 2.0
"""Of a logarithm: no factor is beyond e^±2."""


class Corrections(NamedTuple):
    """Logarithms of factors; all zero where the closures are as they are.

    Attributes:
        diffusion: of K_d.
        convection: of K_c.
        partition: of Φ exp(−ΔW/kT).
        charge: of X.
    """

    diffusion: Float[Tensor, "*batch ion"]
    convection: Float[Tensor, "*batch ion"]
    partition: Float[Tensor, "*batch ion"]
    charge: Float[Tensor, "*batch"]


@runtime_checkable
class Closure(Protocol):
    """(ions, feed in mol/m³, membrane, λ) → corrections."""

    def __call__(
        self,
        ions: Ions,
        feed: Float[Tensor, "*#batch ion"],
        membrane: Membrane,
        ratio: Float[Tensor, "*#batch ion"],
    ) -> Corrections: ...


class LearnedClosure(NamedTuple):
    """y = 2 tanh(½ tanh(fA + b)C) for each ion, of features f of the ion, the feed and the pore.

    f holds λ, z, ln D, ln I of the feed, the ion's share of Σ|z|c, ln r_p, asinh X and ln ε_p, all
    of about one. The first three numbers of y are the corrections of the ion, and the fourth, by
    its share, is a part of that of X. The order of ions does not matter, nor their number. C = 0
    leaves the model as it is; whatever the weights are, the equations that they enter keep every
    solution neutral. What depends on concentration is taken at the feed.

    Leading axes of the weights broadcast with those of the cases.

    Attributes:
        first: A.
        bias: b.
        last: C.
    """

    first: Float[Tensor, "*#batch feature hidden"]
    bias: Float[Tensor, "*#batch hidden"]
    last: Float[Tensor, "*#batch hidden correction"]

    def __call__(
        self,
        ions: Ions,
        feed: Float[Tensor, "*#batch ion"],
        membrane: Membrane,
        ratio: Float[Tensor, "*#batch ion"],
    ) -> Corrections:
        """Of every ion, and of the charge."""
        f, share = features(ions, feed, membrane, ratio)
        hidden = (f @ self.first + self.bias[..., None, :]).tanh()
        out = LIMIT * (hidden @ self.last / LIMIT).tanh()
        diffusion, convection, partition, charge = out.unbind(-1)
        return Corrections(diffusion, convection, partition, (share * charge).sum(-1))


def untrained(seed: int, *, hidden: int = 8) -> LearnedClosure:
    """A closure that corrects nothing: A of variance 1/8 and b of 1 normal, C zero.

    Raises:
        ValueError: fewer than one hidden unit.
    """
    if hidden < 1:
        raise ValueError(f"`hidden` must be at least 1; it is {hidden}.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(FEATURES + 1, hidden, dtype=torch.float64, generator=generator)
    last = drawn.new_zeros(hidden, len(Corrections._fields))
    return LearnedClosure(drawn[:-1] / FEATURES**0.5, drawn[-1], last)


def features(
    ions: Ions, feed: Tensor, membrane: Membrane, ratio: Tensor
) -> tuple[Float[Tensor, "*batch ion feature"], Float[Tensor, "*#batch ion"]]:
    """Features of every ion, and its share of all charges of the feed."""
    charges = feed * ions.charge.abs()
    share = charges / charges.sum(-1, keepdim=True)
    strength = 0.5 * (feed * ions.charge**2).sum(-1, keepdim=True)
    each = torch.broadcast_tensors(
        4 * (ratio - 0.5),
        ions.charge,
        (ions.diffusivity / 1e-9).log(),
        (strength / 100).log() / 2,
        share,
        2 * (membrane.pore_radius[..., None] / 0.5e-9).log(),
        (membrane.charge[..., None] / 20).asinh() / 2,
        2 * (membrane.permittivity[..., None] / 45).log(),
    )
    return torch.stack(each, -1), share
