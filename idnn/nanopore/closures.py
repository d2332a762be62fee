"""Learned deviations from the closures of the model: hindrance, partition and fixed charge."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Membrane

FEATURES, FIXED = 8, 6
"""What a correction of an ion depends on, and how much of it no concentration changes."""

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


@runtime_checkable
class LocalClosure(Protocol):
    """Corrections that depend on the concentrations where they act, inside the pore."""

    def known(
        self, ions: Ions, membrane: Membrane, ratio: Float[Tensor, "*#batch ion"]
    ) -> Float[Tensor, "*#known number"]:
        """All numbers that they depend on beside concentrations: parameters, λ, the membrane."""
        ...

    def corrected(
        self,
        ions: Ions,
        concentration: Float[Tensor, "*#batch ion"],
        known: Float[Tensor, "*#known number"],
    ) -> Corrections:
        """Corrections at concentrations in the pore, in mol/m³ of its volume, case by case."""
        ...


class AtFeed(NamedTuple):
    """A local closure with the concentrations of the feed in place of those in the pore."""

    closure: LocalClosure

    def __call__(
        self,
        ions: Ions,
        feed: Float[Tensor, "*#batch ion"],
        membrane: Membrane,
        ratio: Float[Tensor, "*#batch ion"],
    ) -> Corrections:
        """Constant along the pore."""
        return self.closure.corrected(ions, feed, self.closure.known(ions, membrane, ratio))


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
        return _network(*self, *features(ions, feed, fixed_features(ions, membrane, ratio)))


class LearnedLocalClosure(NamedTuple):
    """`LearnedClosure` with I and the shares in the pore, where a correction acts, not the feed's.

    With it `transport` solves a neural differential equation: see `idnn.nanopore.shooting`. It has
    the same weights: `LearnedLocalClosure(*untrained(0))`.

    Attributes:
        first: A.
        bias: b.
        last: C.
    """

    first: Float[Tensor, "*#batch feature hidden"]
    bias: Float[Tensor, "*#batch hidden"]
    last: Float[Tensor, "*#batch hidden correction"]

    def known(
        self, ions: Ions, membrane: Membrane, ratio: Float[Tensor, "*#batch ion"]
    ) -> Float[Tensor, "*#known number"]:
        """Features that do not change along the pore, and the weights."""
        fixed = fixed_features(ions, membrane, ratio).flatten(-2)
        parts = (fixed, self.first.flatten(-2), self.bias, self.last.flatten(-2))
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return torch.cat([part.expand(*batch, -1) for part in parts], -1)

    def corrected(
        self,
        ions: Ions,
        concentration: Float[Tensor, "*#batch ion"],
        known: Float[Tensor, "*#known number"],
    ) -> Corrections:
        """Of every ion, and of the charge."""
        count, hidden = len(ions.names), self.bias.shape[-1]
        sizes = (count * FIXED, FEATURES * hidden, hidden, hidden * len(Corrections._fields))
        fixed, first, bias, last = known.split(sizes, -1)
        found = features(ions, concentration, fixed.unflatten(-1, (count, FIXED)))
        first, last = first.unflatten(-1, (FEATURES, hidden)), last.unflatten(-1, (hidden, -1))
        return _network(first, bias, last, *found)


Learned = LearnedClosure | LearnedLocalClosure
"""What can be fitted to measurements."""


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


def _network(
    first: Tensor, bias: Tensor, last: Tensor, f: Tensor, share: Tensor
) -> Corrections:
    hidden = (f @ first + bias[..., None, :]).tanh()
    out = LIMIT * (hidden @ last / LIMIT).tanh()
    diffusion, convection, partition, charge = out.unbind(-1)
    return Corrections(diffusion, convection, partition, (share * charge).sum(-1))


def fixed_features(
    ions: Ions, membrane: Membrane, ratio: Tensor
) -> Float[Tensor, "*batch ion feature"]:
    """Of every ion, those that no concentration changes."""
    each = torch.broadcast_tensors(
        4 * (ratio - 0.5),
        ions.charge,
        (ions.diffusivity / 1e-9).log(),
        2 * (membrane.pore_radius[..., None] / 0.5e-9).log(),
        (membrane.charge[..., None] / 20).asinh() / 2,
        2 * (membrane.permittivity[..., None] / 45).log(),
    )
    return torch.stack(each, -1)


def features(
    ions: Ions,
    concentration: Float[Tensor, "*#batch ion"],
    fixed: Float[Tensor, "*#fixed ion feature"],
) -> tuple[Float[Tensor, "*both ion more"], Float[Tensor, "*#batch ion"]]:
    """Features of every ion, and its share of all charges."""
    charges = concentration * ions.charge.abs()
    share = charges / charges.sum(-1, keepdim=True)
    strength = 0.5 * (concentration * ions.charge**2).sum(-1, keepdim=True)
    local = torch.stack([((strength / 100).log() / 2).expand_as(share), share], -1)
    batch = torch.broadcast_shapes(local.shape[:-1], fixed.shape[:-1])
    of_ion, of_pore = fixed.expand(*batch, -1).tensor_split(2, -1)
    return torch.cat([of_ion, local.expand(*batch, -1), of_pore], -1), share
