"""The models of the learning benchmark, each a function of data, rows to learn and rows to test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import adsorption_baselines as baselines
import numpy as np
import torch
from adsorption_data import Data
from jaxtyping import Float, Int

from idnn.adsorption.environments import Environments, Windows, environments
from idnn.adsorption.model import Scale
from idnn.adsorption.network import AttentionNetwork
from idnn.adsorption.training import Samples, TrainingSettings, outputs, train

Rows = Int[np.ndarray, " row"]
Predict = Callable[[Data, Rows, Rows, int, TrainingSettings], Float[np.ndarray, "crystal target"]]
"""Predictions of the rows to test; NaN of those that the model does not take."""

PLAIN = 2
"""Knowns without the field: of volume per atom and density."""

SMALL = 200
"""Atoms of a cell that the absolute network takes, all of which are tokens."""

GRAPH_RATE = 5e-4
"""Largest step of the graph network. Learning 205 COFs in 500 steps, and tested on 70 others (which
may be among those tested here), it did 6 to 12 % better than 2e-3, in 800 steps or with a decay of
1.0; only for the uptake at 65 bar was the latter 4 % better."""


def simple(method: Callable[..., np.ndarray], source: str, *, seeded: bool = False) -> Predict:
    """A method that needs a table of inputs alone."""

    def predict(
        data: Data, learned: Rows, tested: Rows, seed: int, settings: TrainingSettings
    ) -> np.ndarray:
        del settings
        inputs = getattr(data, source)
        more = {"seed": seed} if seeded else {}
        return method(inputs[learned], data.targets[learned], inputs[tested], **more)

    return predict


def graphs(
    data: Data, learned: Rows, tested: Rows, seed: int, settings: TrainingSettings, *, knowns: int
) -> np.ndarray:
    """The crystal graph network, given the first few knowns."""
    settings = replace(settings, rate=GRAPH_RATE)
    wanted = Scale.of(data.targets[learned])
    known = _scaled(data.knowns[:, :knowns], learned)
    samples = baselines.GraphSamples(data.graphs, known, wanted.down(data.targets))
    count = data.targets.shape[1]
    model = baselines.GraphNetwork(knowns=knowns, outputs=count, seed=seed)
    baselines.train_graphs(model, samples[torch.from_numpy(learned)], settings, seed=seed)
    found = baselines.graph_outputs(model, samples[torch.from_numpy(tested)])
    return (found * wanted.deviation + wanted.mean).double().numpy()


def attention(
    data: Data,
    learned: Rows,
    tested: Rows,
    seed: int,
    settings: TrainingSettings,
    *,
    knowns: int | None = PLAIN,
    around: Callable[[Data, int], Environments] = lambda data, row: data.around[row],
    make: Callable[..., torch.nn.Module] = AttentionNetwork,
    small: bool = False,
) -> np.ndarray:
    """An attention network of the first few knowns, or all, with descriptors learned beside."""
    everything, count = np.full((len(tested), data.targets.shape[1]), np.nan), data.targets.shape[1]
    if small:
        fits = np.array([len(crystal.numbers) <= SMALL for crystal in data.crystals])
        learned, place, tested = learned[fits[learned]], fits[tested], tested[fits[tested]]
    else:
        place = np.ones(len(tested), bool)
    known = _scaled(data.knowns[:, :knowns], learned)
    targets = data.targets
    if settings.knowledge:
        targets = np.hstack([targets, data.descriptors])
    wanted = Scale.of(targets[learned])

    def samples(rows: Rows) -> Samples:
        crystals = tuple(around(data, int(row)) for row in rows)
        return Samples(crystals, known[rows], wanted.down(targets[rows]))

    model = make(settings.network, knowns=known.shape[1], outputs=targets.shape[1], seed=seed)
    if knowns is None and isinstance(model, AttentionNetwork):
        model.begin_linear(known[learned], wanted.down(targets[learned]))
    train(model, samples(learned), settings, targets=count, seed=seed)
    with torch.no_grad():
        found = outputs(model.eval(), samples(tested)) * wanted.deviation + wanted.mean
    everything[place] = found[:, :count].double().numpy()
    return everything


def _scaled(knowns: np.ndarray, learned: Rows) -> torch.Tensor:
    return (
        Scale.of(knowns[learned]).down(knowns)
        if knowns.shape[1]
        else torch.tensor(knowns, dtype=torch.float32)
    )


def no_windows(
    data: Data, learned: Rows, tested: Rows, seed: int, settings: TrainingSettings
) -> np.ndarray:
    """Every head sees as far as the widest does."""
    windows = settings.network.windows
    widest, count = int(np.argmax(windows.reaches)), len(windows.reaches)
    part = slice(widest * windows.functions, (widest + 1) * windows.functions)

    def around(data: Data, row: int) -> Environments:
        one = data.around[row]
        return replace(one, shells=np.tile(one.shells[..., part], count))

    reaches = Windows(reaches=(max(windows.reaches),) * count, functions=windows.functions)
    wide = replace(settings, network=replace(settings.network, windows=reaches))
    return attention(data, learned, tested, seed, wide, around=around)


def no_knowledge(
    data: Data, learned: Rows, tested: Rows, seed: int, settings: TrainingSettings
) -> np.ndarray:
    """No descriptors are learned beside the targets."""
    return attention(data, learned, tested, seed, replace(settings, knowledge=0.0))


def _at_places(data: Data, row: int) -> Environments:
    crystal = data.crystals[row]
    return baselines.placed(crystal, environments(crystal, Windows(reaches=(1.0,)), symmetry=None))


MODELS: dict[str, Predict] = {
    "mean": simple(baselines.mean, "descriptors"),
    "ridge": simple(baselines.ridge, "descriptors"),
    "trees": simple(baselines.trees, "descriptors", seeded=True),
    "histogram_ridge": simple(baselines.ridge, "knowns"),
    "histogram_trees": simple(baselines.trees, "knowns", seeded=True),
    "cgcnn": partial(graphs, knowns=0),
    "cgcnn_density": partial(graphs, knowns=PLAIN),
    "ours": attention,
    "ours_field": partial(attention, knowns=None),
    "no_windows": no_windows,
    "no_knowledge": no_knowledge,
    "absolute": partial(attention, around=_at_places, make=baselines.AbsoluteNetwork, small=True),
    "ours_small": partial(attention, small=True),
}
"""Those from `no_windows` on are `ours` with one thing changed; the last two learn and are tested
on the crystals of the same sets with at most 200 atoms in the cell, and compare with each other."""
