"""Crystals with labels, and what models see of them, kept in one file."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from adsorption_baselines import Graph, graph
from adsorption_table import TARGETS
from jaxtyping import Float, Int

from idnn.adsorption.environments import Environments, environments
from idnn.adsorption.features import FieldSettings, knowns
from idnn.adsorption.packed import unpack
from idnn.adsorption.structures import Crystal
from idnn.adsorption.training import TrainingSettings
from idnn.files import write_atomically

FOLDER = Path(__file__).parents[1] / "adsorption"
DESCRIPTORS = (
    *("density", "void_fraction", "channel_fraction", "surface_per_gram"),
    *("largest_cavity", "pore_limiting"),
)
MOST_ATOMS = 128
"""Inequivalent ones; what networks cost grows with their square."""

WINDOWS = TrainingSettings().network.windows
SEED = 20231128
"""Of the random order of crystals for splits; that of a split is added."""


@dataclass(frozen=True, eq=False)
class Data:
    """What is known of crystals.

    Attributes:
        crystals: themselves.
        families: of each.
        targets: NaN where unknown.
        descriptors: the six.
        around: of the atoms that differ.
        graphs: of the same atoms.
        knowns: the first two without the field.
    """

    crystals: tuple[Crystal, ...]
    families: tuple[str, ...]
    targets: Float[np.ndarray, "crystal target"]
    descriptors: Float[np.ndarray, "crystal descriptor"]
    around: tuple[Environments, ...]
    graphs: tuple[Graph, ...]
    knowns: Float[np.ndarray, "crystal known"]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.crystals)


def load(directory: Path, *, workers: int = 1, folder: Path = FOLDER) -> tuple[Data, str]:
    """Crystals with labels that networks can take, and how many are left out and why.

    What is around the atoms is found once and kept in the directory.
    """
    crystals = unpack(folder / "structures.npz")
    with (folder / "methane.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] in crystals]
    open_ = [row for row in rows if row["log10_henry"]]
    chosen = [crystals[row["name"]] for row in open_]
    around, graphs, known = _surroundings(chosen, directory / "surroundings.npz", workers)
    kept = [i for i, one in enumerate(around) if len(one.numbers) <= MOST_ATOMS]
    said = (
        f"{len(kept)} crystals of {len(rows)} with labels: left out are {len(rows) - len(open_)} "
        "that methane does not enter (no logarithm of a Henry coefficient) "
        f"and {len(open_) - len(kept)} with more than {MOST_ATOMS} inequivalent atoms"
    )
    data = Data(
        crystals=tuple(chosen[i] for i in kept),
        families=tuple(open_[i]["family"] for i in kept),
        targets=_columns([open_[i] for i in kept], TARGETS),
        descriptors=_columns([open_[i] for i in kept], DESCRIPTORS),
        around=tuple(around[i] for i in kept),
        graphs=tuple(graphs[i] for i in kept),
        knowns=known[kept],
    )
    return data, said


def _number(text: str) -> float:
    return float(text or "nan")


def _columns(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> np.ndarray:
    return np.array([[_number(row[column]) for column in columns] for row in rows])


def _seen(crystal: Crystal) -> tuple[Environments, Graph, np.ndarray]:
    around = environments(crystal, WINDOWS)
    return around, graph(crystal, around), knowns(crystal, FieldSettings())


def _surroundings(
    crystals: Sequence[Crystal], path: Path, workers: int
) -> tuple[list[Environments], list[Graph], np.ndarray]:
    """Of all crystals, from the file if it is of the same ones and settings."""
    text = f"{[crystal.name for crystal in crystals]} {WINDOWS} {FieldSettings()}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    if path.exists():
        with np.load(path) as file:
            if str(file["digest"]) == digest:
                count = range(len(crystals))
                around = [_unpacked(Environments, file, f"{i}.around") for i in count]
                graphs = [_unpacked(Graph, file, f"{i}.graph") for i in count]
                return around, graphs, file["knowns"]
    if workers > 1:
        with get_context("spawn").Pool(workers) as pool:
            found = pool.map(_seen, crystals, chunksize=8)
    else:
        found = [_seen(crystal) for crystal in crystals]
    around, graphs, known = (list(column) for column in zip(*found, strict=True))
    arrays = {"digest": np.array(digest), "knowns": np.stack(known)}
    for i, (one, other) in enumerate(zip(around, graphs, strict=True)):
        arrays |= {f"{i}.around.{name}": value for name, value in vars(one).items()}
        arrays |= {f"{i}.graph.{name}": value for name, value in vars(other).items()}
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, stream.getvalue())
    return around, graphs, arrays["knowns"]


def _unpacked(kind, file, start: str):  # noqa: ANN001, ANN202
    values = {field.name: file[f"{start}.{field.name}"] for field in fields(kind)}
    return kind(**{name: v if v.ndim else v.item() for name, v in values.items()})


def split(
    families: Sequence[str], sizes: Sequence[int], *, grouped: bool, seed: int
) -> tuple[dict[int, Int[np.ndarray, " row"]], Int[np.ndarray, " row"]]:
    """Rows to learn by size, each among those of the next, and rows to test.

    Those outside the largest set are tested. Grouped, whole families are, in random order as long
    as the largest set stays full.

    Raises:
        ValueError: there are too few crystals.
    """
    count, most = len(families), max(sizes)
    if count <= most:
        raise ValueError(
            f"`sizes` must be below the {count} crystals there are; the largest is {most}."
        )
    generator = np.random.default_rng(SEED + seed)
    order = generator.permutation(count)
    if grouped:
        kinds, which = np.unique(np.array(families), return_inverse=True)
        held, members = np.zeros(len(kinds), bool), np.bincount(which)
        for kind in generator.permutation(len(kinds)):
            held[kind] = members[held].sum() + members[kind] <= count - most
        test = np.flatnonzero(held[which])
    else:
        test = np.sort(order[most:])
    learned = order[~np.isin(order, test)]
    return {size: learned[:size] for size in sizes}, test
