"""The training core for any differentiable model: make loss(model, batch) small, and stop.

Residuals of an integrable network are better left to `idnn.levenberg`; what has no residuals, or
too many weights for their normal equations, is trained here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from idnn.levenberg import NotTrained
from idnn.state import BadCheckpoint, read_state, write_state

Loss = Callable[[Any, Any], Tensor]
"""loss(model, batch) → scalar."""


@runtime_checkable
class Divisible(Protocol):
    """A batch that can be cut into smaller ones."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor) -> Any: ...  # noqa: ANN401


@dataclass(frozen=True, kw_only=True)
class LBFGS:
    """Limited-memory BFGS with strong Wolfe line search over the whole batch.

    Liu & Nocedal (1989, doi:10.1007/BF01589116).

    Attributes:
        iterations: at most so many, looked at every 50.
        history: curvature pairs kept.
    """

    iterations: int = 600
    history: int = 50

    def __post_init__(self) -> None:
        _require_positive(iterations=self.iterations, history=self.history)


@dataclass(frozen=True, kw_only=True)
class FirstOrder:
    """Stochastic descent over shuffled parts of the batch.

    Attributes:
        make: a torch optimiser of given parameters, such as `partial(torch.optim.Adam, lr=1e-3)`.
        epochs: at most so many.
        rows: of the batch in each step; all of them if None.
        seed: of the shuffling.
        cosine: whether steps grow over the first twentieth of the epochs and shrink to nothing
            along half a cosine by the last (Loshchilov & Hutter 2016, arXiv:1608.03983).
    """

    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    epochs: int
    rows: int | None = None
    seed: int = 0
    cosine: bool = False

    def __post_init__(self) -> None:
        _require_positive(epochs=self.epochs, rows=1 if self.rows is None else self.rows)


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """When to stop before the last epoch.

    Attributes:
        tolerance: the loss that is watched fell by less than this fraction …
        patience: … over so many epochs; one of L-BFGS has 50 iterations.
    """

    tolerance: float = 1e-3
    patience: int = 1

    def __post_init__(self) -> None:
        _require_positive(patience=self.patience)
        if not self.tolerance >= 0:
            raise ValueError(f"`tolerance` must not be negative; it is {self.tolerance:g}.")


@dataclass(frozen=True)
class FitResult:
    """How a training went.

    Attributes:
        losses: after every epoch, on the batch; on its parts as they were met, where it is parted.
        validation: after every epoch, on the validation batch; empty without one.
        best: the epoch whose weights the model has.
        evaluations: of the loss and its gradient.
    """

    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best: int
    evaluations: int


def fit(
    model: nn.Module,
    loss: Loss,
    batch: object,
    optimiser: LBFGS | FirstOrder,
    *,
    weight_decay: float = 0.0,
    stopping: Stopping | None = None,
    validation: object | None = None,
    checkpoint: Path | None = None,
    observe: Callable[[int], None] | None = None,
) -> FitResult:
    """Minimise loss(model, batch) + w Σθ² over the parameters θ; trains `model` in place.

    With a validation batch its loss is watched and the weights of its best epoch are kept; without
    one the last are. With a checkpoint a stopped training goes on where it was, to the same bits,
    when it is called again with the same arguments.

    Args:
        model: to be trained.
        loss: a scalar to be made small.
        batch: what the loss takes; `Divisible` where the optimiser takes parts of it.
        optimiser: and its settings.
        weight_decay: w.
        stopping: before the last epoch; never if None.
        validation: a batch that is not trained on.
        checkpoint: file written after each epoch, and read first where it exists.
        observe: told how many epochs are done.

    Raises:
        NotTrained: the loss is not finite.
        BadCheckpoint: the file is truncated, or of another model or other arguments.
        ValueError: the batch cannot be divided as the optimiser needs.
    """
    if not weight_decay >= 0:
        raise ValueError(f"`weight_decay` must not be negative; it is {weight_decay:g}.")
    run = _Run(model, loss, batch, optimiser, weight_decay, validation)
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    while run.epoch < run.epochs and not run.is_over(stopping):
        run.advance()
        if checkpoint is not None:
            write_state(checkpoint, run.state())
        if observe is not None:
            observe(run.epoch)
    return run.result()


CHUNK = 50
"""Iterations of L-BFGS in one epoch."""

LINE_SEARCH = 25
"""Evaluations in one of its iterations, at most."""


class _Run:
    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batch: object,
        optimiser: LBFGS | FirstOrder,
        weight_decay: float,
        validation: object | None,
    ) -> None:
        self.model, self.loss, self.batch, self.validation = model, loss, batch, validation
        self.settings, self.weight_decay = optimiser, weight_decay
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.losses: list[float] = []
        self.watched: list[float] = []
        self.evaluations = 0
        self.best = copy.deepcopy(model.state_dict())
        self.generator = torch.Generator()
        if isinstance(optimiser, LBFGS):
            self.epochs = -(-optimiser.iterations // CHUNK)
            self.optimiser: torch.optim.Optimizer = torch.optim.LBFGS(
                self.parameters,
                max_eval=CHUNK * LINE_SEARCH,  # or it is a bound of its own on iterations
                history_size=optimiser.history,
                line_search_fn="strong_wolfe",
                tolerance_grad=0,
                tolerance_change=0,
            )
        else:
            self.epochs = optimiser.epochs
            self.optimiser = optimiser.make(self.parameters)
            self.rates = [group["lr"] for group in self.optimiser.param_groups]
            self.generator.manual_seed(optimiser.seed)
            self._require_divisible(optimiser.rows)
        self.arguments = self._described()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.losses)

    def advance(self) -> None:
        """One epoch more."""
        met: list[float] = []
        if isinstance(self.settings, LBFGS):
            done = self.epoch * CHUNK
            self.optimiser.param_groups[0]["max_iter"] = min(CHUNK, self.settings.iterations - done)
            self._step(self.batch)
        else:
            self._set_rates(self.settings)
            met = [self._step(part) for part in self._parts(self.settings.rows)]
        parted = isinstance(self.settings, FirstOrder) and self.settings.rows is not None
        self.losses.append(sum(met) / len(met) if parted else self._value(self.batch))
        if self.validation is not None:
            self.watched.append(self._value(self.validation))
        watched = self.watched or self.losses
        if self.validation is None or watched[-1] == min(watched):
            self.best = copy.deepcopy(self.model.state_dict())
        if not torch.tensor([self.losses[-1], watched[-1]]).isfinite().all():
            raise NotTrained(
                f"The loss is {watched[-1]} after {self.epoch} epochs; look for outliers in the "
                "data, raise `weight_decay` or take shorter steps."
            )

    def is_over(self, stopping: Stopping | None) -> bool:
        """Whether the watched loss no longer falls."""
        watched = self.watched or self.losses
        if stopping is None or len(watched) <= stopping.patience:
            return False
        before, since = watched[: -stopping.patience], watched[-stopping.patience :]
        return min(before) - min(since) < stopping.tolerance * abs(min(before))

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "arguments": self.arguments,
            "model": dict(self.model.state_dict()),
            "best": dict(self.best),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "losses": self.losses,
            "watched": self.watched,
            "evaluations": self.evaluations,
        }

    def resume(self, path: Path) -> None:
        """Continue from a file."""
        state = read_state(path)
        try:
            if state["arguments"] != self.arguments:
                raise ValueError(f"{state['arguments']}, not {self.arguments}")
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.best = state["best"]
            self.generator.set_state(state["generator"])
            self.losses, self.watched = state["losses"], state["watched"]
            self.evaluations = state["evaluations"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise BadCheckpoint(
                f"`checkpoint`: {path} is of another training ({error}); delete it to begin anew."
            ) from error

    def result(self) -> FitResult:
        """The model has its best weights."""
        self.model.load_state_dict(self.best)
        watched = self.watched or self.losses
        best = watched.index(min(watched)) if self.watched else len(watched) - 1
        return FitResult(tuple(self.losses), tuple(self.watched), best, self.evaluations)

    def _described(self) -> str:
        """What must be the same when a training goes on; it may go on for longer."""
        settings = self.settings
        parts = None if isinstance(settings, LBFGS) else (settings.rows, settings.seed)
        cosine = isinstance(settings, FirstOrder) and settings.cosine
        kinds = sorted({str(p.dtype) for p in self.parameters})
        return (
            f"{type(self.optimiser).__name__}{self.optimiser.defaults}, rows and seed {parts}, "
            f"cosine over {self.epochs if cosine else None}, "
            f"decay {self.weight_decay}, validation {self.validation is not None}, {kinds}"
        )

    def _set_rates(self, settings: FirstOrder) -> None:
        if settings.cosine:
            done = (self.epoch + 0.5) / settings.epochs
            factor = min(20 * done, 0.5 + 0.5 * math.cos(math.pi * done))
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = factor * rate

    def _step(self, batch: object) -> float:
        met = []

        def closure() -> Tensor:
            self.evaluations += 1
            self.optimiser.zero_grad()
            decay = torch.stack([p.square().sum() for p in self.parameters]).sum()
            loss = self.loss(self.model, batch)
            value = loss + self.weight_decay * decay
            value.backward()
            met.append(float(loss.detach()))
            return value.nan_to_num(nan=torch.inf)  # so that a line search turns back

        self.optimiser.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return met[0]

    def _value(self, batch: object) -> float:
        return float(self.loss(self.model, batch).detach())

    def _require_divisible(self, rows: int | None) -> None:
        if rows is not None and not isinstance(self.batch, Divisible):
            raise ValueError(
                "`batch` must have a length and take an index of rows to be divided into parts of "
                f"{rows}; it is a {type(self.batch).__name__}."
            )

    def _parts(self, rows: int | None) -> Iterable[object]:
        if rows is None or not isinstance(self.batch, Divisible):
            return [self.batch]
        order = torch.randperm(len(self.batch), generator=self.generator)
        return (self.batch[part] for part in order.split(rows))


def _require_positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1; it is {value}.")
