"""From labelled crystals to a model: what is held out, the committee, and its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from idnn.adsorption.environments import environments
from idnn.adsorption.features import FieldSettings, all_knowns
from idnn.adsorption.model import AdsorptionModel, Scale
from idnn.adsorption.network import AttentionNetwork
from idnn.adsorption.structures import Crystal
from idnn.adsorption.training import Samples, TrainingSettings, train
from idnn.runtime import one_torch_thread

FEWEST = 20
"""Crystals from which something can be learned."""


@dataclass(frozen=True, eq=False)
class Table:
    """Labels of crystals.

    Attributes:
        names: of the crystals.
        targets: names of what is to be predicted.
        values: of the targets; NaN where there is none.
        beside: names of what is learned beside them.
        descriptors: its values.
        groups: of each crystal, such as its topology; crystals of one group are never divided
            between what is learned and what is held out. None: each is its own.
        source: said in the card.
    """

    names: tuple[str, ...]
    targets: tuple[str, ...]
    values: Float[np.ndarray, "crystal target"]
    beside: tuple[str, ...] = ()
    descriptors: Float[np.ndarray, "crystal descriptor"] = field(
        default_factory=lambda: np.zeros((0, 0))
    )
    groups: tuple[str, ...] | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How a model is made.

    Attributes:
        training: of each network.
        members: networks.
        held_out: share of the crystals by which the model is judged and its spread scaled.
        field: of a guest's energies given to it; None: none is.
        seed: of what is held out, of weights and of the order of crystals.
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    members: int = 5
    held_out: float = 0.2
    field: FieldSettings | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: fewer than two networks, or nothing held out.
        """
        if self.members < 2:
            raise ValueError(f"`members` must be at least 2; it is {self.members}.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"`held_out` must lie in (0, 1); it is {self.held_out}.")


def divide(
    groups: Sequence[str], share: float, seed: int
) -> tuple[Int[np.ndarray, " learned"], Int[np.ndarray, " held"]]:
    """Rows to learn and rows held out: whole groups in random order until the share is reached.

    Raises:
        ValueError: there is one group alone.
    """
    kinds = np.unique(np.array(groups))
    if len(kinds) < 2:
        raise ValueError(
            f"`groups` must be at least 2, for some to be held out; there is only '{kinds[0]}'."
        )
    order = np.random.default_rng(seed).permutation(kinds)
    which = {str(kind): place for place, kind in enumerate(order)}
    place = np.array([which[str(group)] for group in groups])
    sizes = np.cumsum(np.bincount(place))
    last = min(int(np.searchsorted(sizes, share * len(groups))) + 1, len(kinds) - 1)
    return np.flatnonzero(place >= last), np.flatnonzero(place < last)


def best_device() -> str:
    """A GPU where torch sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def learn(
    crystals: Mapping[str, Crystal],
    table: Table,
    settings: ModelSettings,
    *,
    directory: Path | None = None,
    device: torch.device | str = "cpu",
    observe: Callable[[str, int, int], None] | None = None,
) -> AdsorptionModel:
    """A model of the table's targets, with a card that says how well it does.

    Args:
        crystals: by name, all that the table names.
        table: labels.
        settings: how.
        directory: where a stopped training goes on from; without, it does not.
        device: that trains; the model comes back to the CPU.
        observe: told the stage, how much is done, and of how much.

    Raises:
        ValueError: too few crystals, a target that never varies, or a crystal that is missing.
    """
    _check(crystals, table)
    tell = observe or (lambda *_: None)
    chosen = [crystals[name] for name in table.names]
    around = []
    for crystal in chosen:
        around.append(environments(crystal, settings.training.network.windows))
        tell("surroundings", len(around), len(chosen))
    known = all_knowns(chosen, settings.field)
    learned, held = divide(table.groups or table.names, settings.held_out, settings.seed)
    _require_judges(table, held)
    co_learned = settings.training.knowledge > 0 and table.beside
    wanted = np.hstack([table.values, table.descriptors]) if co_learned else table.values
    knowns_scale, wanted_scale = Scale.of(known[learned]), Scale.of(wanted[learned])
    scaled = (knowns_scale.down(known).to(device), wanted_scale.down(wanted).to(device))
    samples = Samples(tuple(around), *scaled)[torch.from_numpy(learned)]
    members = []
    for n in range(settings.members):
        seed = 1000 * settings.seed + n
        network = AttentionNetwork(
            settings.training.network,
            knowns=known.shape[1],
            outputs=wanted.shape[1],
            seed=seed,
        ).to(device)
        if settings.field is not None:
            network.begin_linear(samples.knowns, samples.wanted)
        with one_torch_thread():
            train(
                network,
                samples,
                settings.training,
                targets=len(table.targets),
                seed=seed,
                checkpoint=None if directory is None else directory / f"member_{n}.safetensors",
                observe=partial(tell, f"member {n + 1} of {settings.members}"),
            )
        members.append(network.cpu().eval().requires_grad_(requires_grad=False))
    model = AdsorptionModel(
        targets=table.targets,
        members=tuple(members),
        settings=settings.training.network,
        field=settings.field,
        knowns=knowns_scale,
        wanted=wanted_scale,
        spread=np.ones(len(table.targets)),
        card={},
        elements=tuple(sorted({int(z) for row in learned for z in around[row].numbers})),
    )
    return _judged(model, {table.names[row]: chosen[row] for row in held}, table, held, settings)


def _judged(
    model: AdsorptionModel,
    held: Mapping[str, Crystal],
    table: Table,
    rows: Int[np.ndarray, " row"],
    settings: ModelSettings,
) -> AdsorptionModel:
    """With its spread scaled to its errors on crystals that were held out, and a card of them."""
    found = model.predict(held)
    truth = table.values[rows]
    error = found.values - truth
    covering = np.sqrt(np.nanmean(error**2, 0) / np.mean(found.stderr**2, 0))
    deviation = np.abs(error) / (found.stderr * covering)
    others = np.delete(table.values, rows, 0)
    judged = {
        target: {
            "mean_absolute_error": float(np.nanmean(np.abs(error[:, n]))),
            "of_the_mean": float(np.nanmean(np.abs(truth[:, n] - np.nanmean(others[:, n])))),
            "r2": 1 - float(np.nanmean(error[:, n] ** 2) / np.nanvar(truth[:, n])),
            "within_one_sigma": float(np.nanmean(deviation[:, n] < 1)),
            "within_two_sigma": float(np.nanmean(deviation[:, n] < 2)),
            "lowest": float(np.nanmin(table.values[:, n])),
            "highest": float(np.nanmax(table.values[:, n])),
        }
        for n, target in enumerate(table.targets)
    }
    card = {
        "learned": len(table.names) - len(rows),
        "held_out": list(held),
        "groups": None if table.groups is None else len(set(table.groups)),
        "errors_on_held_out": judged,
        "settings": asdict(settings),
        "source": table.source,
        "data_hash": _digest(table),
        "versions": {name: version(name) for name in ("scalebridge", "torch")},
    }
    return replace(model, spread=covering, card=card)


def _digest(table: Table) -> str:
    """Of names and numbers."""
    text = json.dumps([table.names, table.targets, table.values.tolist()])
    return hashlib.sha256(text.encode()).hexdigest()


def _check(crystals: Mapping[str, Crystal], table: Table) -> None:
    if len(table.names) < FEWEST:
        raise ValueError(
            f"`table` must hold at least {FEWEST} crystals; it holds {len(table.names)}."
        )
    missing = [name for name in table.names if name not in crystals]
    if missing:
        raise ValueError(
            f"`crystals` must hold all that the table names; {len(missing)} are missing, the "
            f"first {missing[0]}: leave their rows out, or add their files."
        )
    columns = [*zip(table.targets, table.values.T, strict=True)]
    columns += [*zip(table.beside, table.descriptors.T, strict=True)]
    for name, values in columns:
        known = values[np.isfinite(values)]
        if len(known) < FEWEST or np.ptp(known) == 0:
            raise ValueError(
                f"`{name}` must be known of at least {FEWEST} crystals and differ between them; "
                f"it is known of {len(known)}."
            )


def _require_judges(table: Table, held: Int[np.ndarray, " row"]) -> None:
    for name, values in zip(table.targets, table.values[held].T, strict=True):
        if len(np.unique(values[np.isfinite(values)])) < 2:
            raise ValueError(
                f"`{name}` must be known, and differ, of the {len(held)} crystals that are held "
                "out, by which the model is judged: hold out more, or take another seed."
            )
