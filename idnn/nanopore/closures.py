"""Learned deviations from the closures of the model: hindrance, partition and fixed charge."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Membrane

OF_ION, LOCAL, OF_PORE = 3, 2, 3
FEATURES = OF_ION + LOCAL + OF_PORE
"""What a correction of an ion depends on: the ion, concentrations and the pore."""

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
        """All numbers that they depend on beside concentrations: parameters, λ, the membrane.

        Derivatives are by these.
        """
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
        f, share = features(ions, feed, membrane, ratio)
        return _corrections(f @ self.first + self.bias[..., None, :], self.last, share)


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
        """Hidden units without what changes along the pore, and the weights of that and C."""
        before, local, after = self.first.split((OF_ION, LOCAL, OF_PORE), -2)
        of_ion, of_pore = fixed_features(ions, membrane, ratio).split((OF_ION, OF_PORE), -1)
        hidden = of_ion @ before + of_pore @ after + self.bias[..., None, :]
        parts = [x.flatten(-2) for x in (hidden, local, self.last)]
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return torch.cat([part.expand(*batch, -1) for part in parts], -1)

    def corrected(
        self,
        ions: Ions,
        concentration: Float[Tensor, "*#batch ion"],
        known: Float[Tensor, "*#known number"],
    ) -> Corrections:
        """Of every ion, and of the charge."""
        count, units = len(ions.names), self.bias.shape[-1]
        sizes = (count * units, units, units, units * len(Corrections._fields))
        hidden, by_strength, by_share, last = known.split(sizes, -1)
        strength, share = local_features(ions, concentration)
        along = share[..., None] * by_share[..., None, :] + (strength * by_strength)[..., None, :]
        hidden = hidden.unflatten(-1, (count, units)) + along
        return _corrections(hidden, last.unflatten(-1, (units, -1)), share)


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


def _corrections(hidden: Tensor, last: Tensor, share: Tensor) -> Corrections:
    """From hidden units before their tanh."""
    out = LIMIT * (hidden.tanh() @ last / LIMIT).tanh()
    diffusion, convection, partition, charge = out.unbind(-1)
    return Corrections(diffusion, convection, partition, (share * charge).sum(-1))


def features(
    ions: Ions, feed: Tensor, membrane: Membrane, ratio: Tensor
) -> tuple[Float[Tensor, "*batch ion feature"], Float[Tensor, "*#batch ion"]]:
    """Features of every ion, and its share of all charges of the feed."""
    strength, share = local_features(ions, feed)
    of_ion, of_pore = fixed_features(ions, membrane, ratio).split((OF_ION, OF_PORE), -1)
    local = torch.stack([strength.expand_as(share), share], -1)
    parts = (of_ion, local, of_pore)
    batch = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*batch, -1) for part in parts], -1), share


def local_features(
    ions: Ions, concentration: Float[Tensor, "*#batch ion"]
) -> tuple[Float[Tensor, "*#batch 1"], Float[Tensor, "*#batch ion"]]:
    """Those of concentrations: ½ ln(I/100 mol/m³), and every ion's share of Σ|z|c."""
    charges = concentration * ions.charge.abs()
    share = charges / charges.sum(-1, keepdim=True)
    strength = 0.5 * (concentration * ions.charge**2).sum(-1, keepdim=True)
    return (strength / 100).log() / 2, share


def fixed_features(
    ions: Ions, membrane: Membrane, ratio: Float[Tensor, "*#batch ion"]
) -> Float[Tensor, "*batch ion feature"]:
    """Those that no concentration changes: first of the ion, then of the pore."""
    each = torch.broadcast_tensors(
        4 * (ratio - 0.5),
        ions.charge,
        (ions.diffusivity / 1e-9).log(),
        2 * (membrane.pore_radius[..., None] / 0.5e-9).log(),
        (membrane.charge[..., None] / 20).asinh() / 2,
        2 * (membrane.permittivity[..., None] / 45).log(),
    )
    return torch.stack(each, -1)
