"""What networks of adsorption are compared with: the mean, ridge, boosted trees, a crystal graph.

Functions of inputs at [crystal, input] and targets at [crystal, target], NaN where unknown, return
predictions. The graph network is that of Xie & Grossman (2018,
doi:10.1103/PhysRevLett.120.145301), and `AbsoluteNetwork` the multi-scale attention of Cui et al.
(2023, doi:10.1038/s41467-023-42863-6) as in its released code, as wide and deep as ours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn import functional

from idnn.adsorption.elements import element_properties
from idnn.adsorption.environments import Environments
from idnn.adsorption.ewald import images_within
from idnn.adsorption.network import Atoms, AttentionSettings
from idnn.adsorption.structures import Crystal, distances
from idnn.adsorption.training import TrainingSettings, misfit, schedule
from idnn.train import fit

Table = Float[np.ndarray, "crystal column"]

NEIGHBOURS = 12
REACH = 8.0
"""Å."""

STEP = 0.2
"""Å between the centres of Gaussians of the distance, and their width."""

TIED = 0.01
"""Å by which neighbours that symmetry puts equally far may differ."""

SCALES = (3.0, 5.0, 8.0)
"""Å within which the heads of the absolute network see; the last sees all."""


def mean(seen: Table, targets: Table, asked: Table) -> Table:
    """Of the targets seen."""
    del seen
    return np.tile(np.nanmean(targets, 0), (len(asked), 1))


def ridge(seen: Table, targets: Table, asked: Table) -> Table:
    """Linear, inputs scaled to deviation 1; of each target the penalty of the least GCV error.

    Generalised cross-validation (Golub, Heath & Wahba 1979, doi:10.1080/00401706.1979.10489751):
    n Σ(y − ŷ)²/(n − trace)², trace = 1 + Σ s²/(s² + λ), s the singular values of the inputs.
    """
    columns = [_ridge(seen, y, asked) for y in targets.T]
    return np.stack(columns, 1)


def _ridge(seen: Table, target: np.ndarray, asked: Table) -> np.ndarray:
    known = np.isfinite(target)
    x, y = seen[known], target[known]
    middle, size = x.mean(0), x.std(0)
    size = np.where(size > 1e-9, size, np.inf)
    u, s, v = np.linalg.svd((x - middle) / size, full_matrices=False)
    along = u.T @ (y - y.mean())
    outside = ((y - y.mean()) ** 2).sum() - (along**2).sum()
    penalty = len(y) * np.logspace(-8, 3, 45)
    kept = s**2 / (s**2 + penalty[:, None])
    square = outside + (((1 - kept) * along) ** 2).sum(1)
    score = square / np.maximum(len(y) - 1 - kept.sum(1), 1e-9) ** 2
    best = penalty[np.argmin(score)]
    slope = v.T @ (s / (s**2 + best) * along)
    return y.mean() + (asked - middle) / size @ slope


def trees(seen: Table, targets: Table, asked: Table, *, seed: int = 0) -> Table:
    """Boosted by gradients, a forest of its own for each target (scikit-learn)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklearn.ensemble import HistGradientBoostingRegressor
    columns = []
    for y in targets.T:
        known = np.isfinite(y)
        model = HistGradientBoostingRegressor(
            learning_rate=0.05,
            max_iter=300,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            l2_regularization=1.0,
            random_state=seed,
        )
        columns.append(model.fit(seen[known], y[known]).predict(asked))
    return np.stack(columns, 1)


@dataclass(frozen=True, eq=False)
class Graph:
    """Atoms that differ and their nearest neighbours, of which each stands for all its equals.

    Equivalent atoms have the same features in each layer, so this is the graph of the whole crystal
    at less cost. Where equally far neighbours would be the twelfth, the places left are shared
    between them: the mean over all ways to choose, and the same for every cell of the crystal.

    Attributes:
        numbers: atomic number.
        share: of all atoms of the crystal.
        centre, neighbour: of each edge.
        distance: Å.
        weight: of each edge; of one atom they sum to twelve, or the neighbours within reach.
    """

    numbers: Int[np.ndarray, " atom"]
    share: Float[np.ndarray, " atom"]
    centre: Int[np.ndarray, " edge"]
    neighbour: Int[np.ndarray, " edge"]
    distance: Float[np.ndarray, " edge"]
    weight: Float[np.ndarray, " edge"]


def graph(crystal: Crystal, around: Environments) -> Graph:
    """The twelve nearest neighbours within 8 Å, over all periodic images."""
    _, first = np.unique(around.member, return_index=True)
    place, which = images_within(crystal, REACH)
    tree, centres = KDTree(place), crystal.positions[first]
    parts = []
    for atom, centre in enumerate(centres):
        near = np.array(tree.query_ball_point(centre, REACH))
        distance = np.linalg.norm(place[near] - centre, axis=1)
        far = distance > 1e-6
        near, distance = near[far], distance[far]
        weight = _nearest(distance)
        kept = weight > 0
        same = np.full(kept.sum(), atom)
        parts.append((same, around.member[which[near[kept]]], distance[kept], weight[kept]))
    edges = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Graph(around.numbers, around.share, *edges)


def _nearest(distance: Float[np.ndarray, " edge"]) -> Float[np.ndarray, " edge"]:
    """Weights, one for each of the nearest and shared where the last are tied."""
    if len(distance) <= NEIGHBOURS:
        return np.ones(len(distance))
    last = np.partition(distance, NEIGHBOURS - 1)[NEIGHBOURS - 1]
    closer, tied = distance < last - TIED, np.abs(distance - last) <= TIED
    return closer + tied * (NEIGHBOURS - closer.sum()) / tied.sum()


@dataclass(frozen=True, eq=False)
class Batch:
    """Graphs side by side, as tensors; `crystal` is that of each atom."""

    numbers: Int[Tensor, " atom"]
    share: Float[Tensor, " atom"]
    crystal: Int[Tensor, " atom"]
    centre: Int[Tensor, " edge"]
    neighbour: Int[Tensor, " edge"]
    distance: Float[Tensor, " edge"]
    weight: Float[Tensor, " edge"]


@dataclass(frozen=True, eq=False)
class GraphSamples:
    """Graphs with what is known of each as a whole, if anything, and what is wanted, scaled."""

    graphs: tuple[Graph, ...]
    knowns: Float[Tensor, "crystal known"]
    wanted: Float[Tensor, "crystal output"]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.graphs)

    def __getitem__(self, rows: Int[Tensor, " row"]) -> GraphSamples:
        """Some of them."""
        kept = tuple(self.graphs[int(row)] for row in rows)
        return GraphSamples(kept, self.knowns[rows], self.wanted[rows])

    def batch(self) -> Batch:
        """All of them."""
        counts = [len(one.numbers) for one in self.graphs]
        starts = np.cumsum([0, *counts[:-1]])

        def joined(name: str, *, shifted: bool = False) -> np.ndarray:
            parts = [getattr(one, name) for one in self.graphs]
            if shifted:
                parts = [part + start for part, start in zip(parts, starts, strict=True)]
            return np.concatenate(parts)

        arrays = {name: joined(name) for name in ("numbers", "share", "distance", "weight")}
        arrays |= {name: joined(name, shifted=True) for name in ("centre", "neighbour")}
        arrays["crystal"] = np.repeat(np.arange(len(counts)), counts)
        kinds = {"f": torch.float32, "i": torch.int64, "u": torch.int64}
        return Batch(**{k: torch.tensor(a, dtype=kinds[a.dtype.kind]) for k, a in arrays.items()})


class WeightedBatchNorm(nn.Module):
    """Batch normalisation in which a row counts as often as what it stands for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Float[Tensor, "row width"], weight: Tensor) -> Tensor:
        """Scaled by mean and variance of the batch in training, and of all batches after."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if not self.training:
            return norm(x)
        part = weight / weight.sum()
        middle = x.T @ part
        variance = (x - middle).square().T @ part
        with torch.no_grad():
            norm.running_mean.lerp_(middle, 0.1)
            norm.running_var.lerp_(variance, 0.1)
        scale = norm.weight / (variance + norm.eps).sqrt()
        return torch.addcmul(norm.bias - middle * scale, x, scale)


class GraphNetwork(nn.Module):
    """The crystal graph network: gated convolutions, mean over atoms, softplus head."""

    elements: Tensor
    centres: Tensor

    def __init__(self, *, knowns: int, outputs: int, width: int = 64, seed: int = 0) -> None:
        """Random weights; the paper has no `knowns`, which here join the pooled numbers."""
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            table = torch.tensor(element_properties(), dtype=torch.float32)
            # Beside the properties which element it is, as one-hot.
            self.register_buffer("elements", torch.cat([table, torch.eye(len(table))], 1))
            self.register_buffer("centres", torch.arange(0, REACH + STEP / 2, STEP))
            self.embed = nn.Linear(self.elements.shape[1], width)
            self.layers = nn.ModuleList(Convolution(width, len(self.centres)) for _ in range(3))
            self.head = nn.Sequential(
                nn.Softplus(),
                nn.Linear(width + knowns, 128),
                nn.Softplus(),
                nn.Linear(128, outputs),
            )

    def forward(self, batch: Batch, knowns: Float[Tensor, "crystal known"]) -> Tensor:
        """Outputs of each crystal."""
        x = self.embed(self.elements[batch.numbers])
        gauss = (-((batch.distance[:, None] - self.centres) / STEP).square()).exp()
        # Subnormal numbers would make the products ten times as long.
        bond = functional.threshold(gauss, 1e-12, 0.0)
        for layer in self.layers:
            x = layer(x, bond, batch)
        pooled = x.new_zeros(len(knowns), x.shape[1])
        pooled = pooled.index_add(0, batch.crystal, batch.share[:, None] * x)
        return self.head(torch.cat([pooled, knowns], 1))


class Convolution(nn.Module):
    """v ← softplus(v + Σ σ(z W_f + b_f) softplus(z W_s + b_s)), z = (v_i, v_j, bond), eq. 5."""

    def __init__(self, width: int, bonds: int) -> None:
        super().__init__()
        self.of_centre = nn.Linear(width, 2 * width)
        self.of_neighbour = nn.Linear(width, 2 * width, bias=False)
        self.of_bond = nn.Linear(bonds, 2 * width, bias=False)
        self.before = WeightedBatchNorm(2 * width)
        self.after = WeightedBatchNorm(width)

    def forward(self, x: Float[Tensor, "atom width"], bond: Tensor, batch: Batch) -> Tensor:
        """After one layer."""
        # A linear map of (v_i, v_j, bond), applied to atoms once instead of to every edge.
        z = self.of_centre(x)[batch.centre] + self.of_neighbour(x)[batch.neighbour]
        z = z + self.of_bond(bond)
        z = self.before(z, batch.weight * batch.share[batch.centre])
        gate, core = z.chunk(2, 1)
        message = batch.weight[:, None] * gate.sigmoid() * functional.softplus(core)
        summed = torch.zeros_like(x).index_add(0, batch.centre, message)
        return functional.softplus(x + self.after(summed, batch.share))


def train_graphs(
    model: GraphNetwork, samples: GraphSamples, settings: TrainingSettings, *, seed: int = 0
) -> None:
    """As `idnn.adsorption.training.train`: the same loss, schedule and number of steps."""
    weights = samples.wanted.new_full((samples.wanted.shape[1],), 1 / samples.wanted.shape[1])

    def loss(model: GraphNetwork, part: GraphSamples) -> Tensor:
        return misfit(model(part.batch(), part.knowns), part.wanted, weights)

    fit(model.train(), loss, samples, schedule(settings, len(samples), seed=seed))


@torch.no_grad()
def graph_outputs(model: GraphNetwork, samples: GraphSamples) -> Float[Tensor, "crystal output"]:
    """What a trained network makes of each crystal."""
    parts = [samples[rows] for rows in torch.arange(len(samples)).split(64)]
    return torch.cat([model.eval()(part.batch(), part.knowns) for part in parts])


def placed(crystal: Crystal, around: Environments) -> Environments:
    """All atoms of the cell; in place of shells the shortest distance (Å), and where j is (Å).

    `around` with no symmetry used.
    """
    place = np.broadcast_to(crystal.positions[None], (*2 * (len(crystal.numbers),), 3))
    shells = np.concatenate([distances(crystal)[..., None], place], -1).astype(np.float32)
    return replace(around, shells=shells)


class AbsoluteNetwork(nn.Module):
    """Attention over atoms at absolute places, each head seeing those within a distance alone.

    To the element's embedding is added a linear map of sines and cosines of ten times x, y and z.
    No distance enters a score: it is a threshold. The readout sees and is seen by all atoms; here
    it begins as what is known of the crystal, as in ours. Neither the frame nor the cell may be
    changed. Without the twelve-fold copies of rotated cells that the released code can add.
    """

    elements: Tensor
    scales: Tensor
    pitch: Tensor

    def __init__(
        self, settings: AttentionSettings, *, knowns: int, outputs: int, seed: int = 0
    ) -> None:
        """Random weights."""
        super().__init__()
        width, self.heads = settings.width, len(SCALES) + 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            table = torch.tensor(element_properties(), dtype=torch.float32)
            self.register_buffer("elements", table)
            self.register_buffer("scales", torch.tensor([*SCALES, torch.inf]))
            self.register_buffer("pitch", 10 * 1e4 ** (-torch.arange(0, width, 2) / width))
            self.embed = nn.Sequential(
                nn.Linear(table.shape[1], width), nn.SiLU(), nn.Linear(width, width)
            )
            self.place = nn.Linear(3 * width, width)
            self.begin = nn.Linear(knowns, width)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    width,
                    self.heads,
                    2 * width,
                    dropout=0.0,
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(settings.layers)
            )
            self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(
        self, atoms: Atoms, knowns: Float[Tensor, "crystal known"]
    ) -> Float[Tensor, "crystal output"]:
        """Outputs of each crystal; atoms with the shells of `placed`."""
        angle = atoms.shells[:, 0, :, 1:, None] * self.pitch
        waves = torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)
        tokens = self.embed(self.elements[atoms.numbers]) + self.place(waves)
        x = torch.cat([self.begin(knowns)[:, None], tokens], 1)
        hidden = atoms.shells[:, None, :, :, 0] >= self.scales[:, None, None]
        hidden = hidden | (atoms.share == 0)[:, None, None]
        alone = functional.pad(atoms.share == 0, (1, 0))[:, None, None]
        hidden = functional.pad(hidden, (1, 0, 1, 0)) | alone
        for layer in self.layers:
            x = layer(x, src_mask=hidden.flatten(0, 1))
        return self.head(x[:, 0])
