"""Training of attention networks on labelled crystals, through the training core of the project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from idnn.adsorption.environments import Environments
from idnn.adsorption.network import AttentionSettings, of_similar_size, padded
from idnn.runtime import subnormal_numbers_as_zero
from idnn.train import FirstOrder, fit

_BEND = 0.3
"""Of a deviation of one, where its penalty turns from quadratic to linear."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Crystals with what is known and what is to be learned of each; all scaled to order one.

    Attributes:
        crystals: their atoms.
        knowns: of each as a whole.
        wanted: targets, then what is learned beside them; NaN where there is none.
    """

    crystals: tuple[Environments, ...]
    knowns: Float[Tensor, "crystal known"]
    wanted: Float[Tensor, "crystal output"]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.crystals)

    def __getitem__(self, rows: Int[Tensor, " row"]) -> Samples:
        """Some of them."""
        kept = tuple(self.crystals[int(row)] for row in rows)
        return Samples(kept, self.knowns[rows], self.wanted[rows])


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How networks are trained.

    Attributes:
        network: their shape.
        epochs: over all crystals, at least …
        steps: … and steps of the optimiser, at least: small sets take more epochs.
        rows: crystals in each step.
        rate: largest step of AdamW.
        decay: of its weights.
        knowledge: weight of all descriptors together, learned beside the targets, over that of
            all targets (knowledge co-learning); 0: they are not.
    """

    network: AttentionSettings = field(default_factory=AttentionSettings)
    epochs: int = 30
    steps: int = 800
    rows: int = 16
    rate: float = 2e-3
    decay: float = 0.01
    knowledge: float = 0.3

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a number out of range.
        """
        for name in ("epochs", "steps", "rows", "rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive; it is {getattr(self, name)}.")
        for name in ("decay", "knowledge"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative; it is {getattr(self, name)}.")


def outputs(model: nn.Module, samples: Samples) -> Float[Tensor, "crystal output"]:
    """What a network makes of each crystal; crystals of similar size are taken together."""
    groups = of_similar_size([len(c.numbers) for c in samples.crystals])
    device = samples.knowns.device
    parts = [
        model(padded([samples.crystals[i] for i in group], device), samples.knowns[group])
        for group in groups
    ]
    order = torch.cat([torch.from_numpy(group) for group in groups]).to(device)
    return torch.cat(parts)[order.argsort()]


def train(
    model: nn.Module,
    samples: Samples,
    settings: TrainingSettings,
    *,
    targets: int,
    seed: int = 0,
    checkpoint: Path | None = None,
    observe: Callable[[int, int], None] | None = None,
) -> Sequence[float]:
    """Train in place; returns the loss after every epoch.

    Args:
        model: (atoms, knowns) → outputs.
        samples: to learn.
        settings: how.
        targets: number of the outputs that are wanted; the others are learned beside them.
        seed: of the order of crystals.
        checkpoint: file from which a stopped training goes on.
        observe: told how many epochs are done, and of how many.
    """
    weights = samples.wanted.new_full((samples.wanted.shape[1],), 1 / targets)
    weights[targets:] = settings.knowledge / max(len(weights) - targets, 1)

    def loss(model: nn.Module, part: Samples) -> Tensor:
        return misfit(outputs(model, part), part.wanted, weights)

    optimiser = schedule(settings, len(samples), seed=seed)

    def tell(epoch: int) -> None:
        if observe is not None:
            observe(epoch, optimiser.epochs)

    with subnormal_numbers_as_zero():
        return fit(model, loss, samples, optimiser, checkpoint=checkpoint, observe=tell).losses


def schedule(settings: TrainingSettings, crystals: int, *, seed: int = 0) -> FirstOrder:
    """Steps of AdamW that fall to nothing along a cosine, as many as the settings ask for."""
    least = -(-settings.steps * settings.rows // max(crystals, 1))
    make = partial(torch.optim.AdamW, lr=settings.rate, weight_decay=settings.decay)
    epochs = max(settings.epochs, least)
    return FirstOrder(make=make, epochs=epochs, rows=settings.rows, seed=seed, cosine=True)


def misfit(
    found: Float[Tensor, "crystal output"],
    wanted: Float[Tensor, "crystal output"],
    weights: Float[Tensor, " output"],
) -> Float[Tensor, ""]:
    """Huber's loss, weighted over the outputs; NaN in `wanted` costs nothing."""
    known = ~wanted.isnan()
    error = functional.huber_loss(found, wanted.nan_to_num(), reduction="none", delta=_BEND)
    return (error * known * weights).sum() / len(found) / _BEND
