"""Points of an expansion, sampled once and kept: what `learning_mc.py` learns from."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.data import Derivatives, Energies, Hessians
from idnn.files import write_atomically
from idnn.order_parameters import FCC_L12, ordered_partly
from idnn.units import BOLTZMANN_EV
from sampling import aim, candidates
from sampling.ensemble import Schedule
from sampling.expansion import ClusterExpansion
from sampling.label import LabelTask, label
from sampling.labelled_point import LabelledPoint
from sampling.labels import derivatives, is_known, to_json
from sampling.mean_field import MeanField

SPAN = (0.0, 0.32)
"""Fraction of the solute."""

STIFFNESS = 3.0
LADDER = (3, 4, 8)
"""Cells per edge of the boxes from which each point's label is made."""

SCHEDULE = Schedule(walkers=16, sweeps=3200, burn_in=200, stride=4)
KEPT = Path("runs/learning_mc")
AT_ONCE = 8
"""Points in one task; with their walkers they fill the kernel's lanes twice."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Which points, and how they are sampled.

    Attributes:
        kelvin: temperature, K.
        count: points.
        places: seed of where they lie.
        run: seed of the Monte Carlo.
        cells: of the boxes.
        wells: whether they lie about the wells; else half of them are spread evenly and half lie
            along the lines to the ordered states.
    """

    kelvin: float
    count: int
    places: int
    run: int
    cells: tuple[int, ...] = LADDER
    wells: bool = False

    @property
    def name(self) -> str:
        """Of the file."""
        kelvin, count, places, run, cells, wells = astuple(self)
        end = "-wells" if wells else ""
        return f"{kelvin:.0f}K-{count}-{places}-{run}-{'-'.join(map(str, cells))}{end}.json"

    def targets(self) -> Float[Tensor, "sample 4"]:
        """η aimed at."""
        if self.wells:
            return _wells(self.count, self.places)
        half = self.count // 2
        evenly = candidates.spread_over(FCC_L12, SPAN, half, self.places)
        lines = candidates.along_prototypes(FCC_L12, SPAN, self.count - half, self.places)
        return torch.cat([evenly, lines])


@dataclass(frozen=True, eq=False)
class Points:
    """Labels of one temperature, those whose μ is known."""

    kelvin: float
    labels: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[tuple[int, int]]:
        """Of the biases, the same in another sampling of them."""
        return [(label["set"], label["point_seed"]) for label in self.labels]

    def column(self, name: str) -> Tensor:
        """An entry of all labels; null becomes NaN."""
        rows = [np.array(label[name], dtype=float) for label in self.labels]
        return torch.from_numpy(np.array(rows))

    def where(self, kept: Bool[Tensor, " sample"]) -> "Points":
        """Some of them."""
        return Points(self.kelvin, [self.labels[i] for i in kept.nonzero()[:, 0].tolist()])

    def __add__(self, others: "Points") -> "Points":
        return Points(self.kelvin, self.labels + others.labels)

    @property
    def homogeneous(self) -> Bool[Tensor, " sample"]:
        """Where the box that made the label holds one phase."""
        return self.column("homogeneous") > 0

    @property
    def convex(self) -> Bool[Tensor, " sample"]:
        """Where the largest box is homogeneous; of a single box, where that is."""
        cells = self.column("cells")
        return self.homogeneous & (cells == cells.max())

    @property
    def statistical(self) -> Float[Tensor, "sample 4"]:
        """Standard errors along sublattice fractions, without what boxes disagree about."""
        return self.column("sublattice_stderr")

    @property
    def mu(self) -> Derivatives:
        """Chemical potentials with the errors quoted for them."""
        found = derivatives(self.labels, FCC_L12)
        kelvin = torch.full((len(self),), self.kelvin, dtype=torch.float64)
        return Derivatives(found.eta, found.mu, found.sigma, found.directions, kelvin)

    @property
    def hessians(self) -> Hessians:
        """From the fluctuations of homogeneous states, where their errors are known."""
        known = self.column("hessian_stderr").isfinite().all((1, 2))
        chosen = self.where(self.homogeneous & known)
        value, sigma = ((a + a.mT) / 2 for a in map(chosen.column, ("hessian", "hessian_stderr")))
        return Hessians(chosen.column("eta"), value, sigma, chosen.mu.temperature)

    def energies(self, pure: float) -> Energies:
        """⟨E⟩ of homogeneous states less that of the pure solvent (eV/site).

        They are not corrected for the size of the box, which adds of the order of k_BT/2 for each
        of the four modes held: as much is added to their standard errors.
        """
        chosen = self.where(self.homogeneous & self.column("energy_stderr").isfinite())
        size = 2 * BOLTZMANN_EV * self.kelvin / chosen.column("sites")
        sigma = torch.hypot(chosen.column("energy_stderr"), size)
        eta, value = chosen.column("eta"), chosen.column("energy") - pure
        return Energies(eta, value, sigma, chosen.mu.temperature)


@dataclass(frozen=True, eq=False)
class Bench:
    """What everything draws on."""

    expansion: ClusterExpansion
    count: int
    executor: Executor

    def points(
        self, kelvin: float, places: int, run: int | None = None, cells: tuple[int, ...] = LADDER
    ) -> Points:
        """Sampled, or read: a quarter more about the wells, half of all in a single box."""
        run = places if run is None else run
        count = self.count if cells == LADDER else self.count // 2
        draw = Draw(kelvin=kelvin, count=count, places=places, run=run, cells=cells)
        wells = replace(draw, count=count // 4, wells=True)
        found = (_sampled(self.expansion, d, KEPT, self.executor) for d in (draw, wells))
        return next(found) + next(found)

    def kept(self, name: str, key: object, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was found before, or is found now."""
        digest = hashlib.sha256(repr((name, key, self.count)).encode()).hexdigest()
        path = KEPT / f"found-{digest[:16]}.json"
        if not path.exists():
            write_atomically(path, json.dumps(find()))
        return json.loads(path.read_text())


def pure_energy(expansion: ClusterExpansion) -> float:
    """Of the solvent, eV/site."""
    return float(MeanField(expansion, FCC_L12, 1.0)(torch.zeros(4, dtype=torch.float64)))


def _sampled(expansion: ClusterExpansion, draw: Draw, kept: Path, executor: Executor) -> Points:
    """The points of a draw, from their file if sampled before."""
    path = kept / draw.name
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(_labels(expansion, draw, executor)))
    labels = json.loads(path.read_text())
    known = [row | {"set": int(draw.wells)} for row in labels if is_known(row)]
    return Points(draw.kelvin, known)


def _labels(expansion: ClusterExpansion, draw: Draw, executor: Executor) -> list[dict[str, Any]]:
    centre = _centres(expansion, draw)
    futures: list[Future[list[LabelledPoint]]] = []
    for first in range(0, draw.count, AT_ONCE):
        part = tuple(range(first, min(first + AT_ONCE, draw.count)))
        task = LabelTask(
            expansion=expansion, system=FCC_L12.name, cells=draw.cells, temperature=draw.kelvin,
            centre=centre[list(part)], stiffness=np.full((len(part), 4), STIFFNESS), seed=draw.run,
            point_seeds=part, schedule=SCHEDULE,
        )  # fmt: skip
        futures.append(executor.submit(label, task))
    return [to_json(point) for future in futures for point in future.result()]


def _wells(count: int, seed: int) -> Float[Tensor, "sample 4"]:
    """Half about disordered states of up to 12 % solute, half about well ordered ones of L1₂."""
    generator = torch.Generator().manual_seed(seed)
    share, blur = (torch.rand(count, 1, generator=generator, dtype=torch.float64) for _ in "12")
    noise = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    ordered = torch.arange(count)[:, None] % 2 == 1
    level = torch.where(ordered, 0.2 + 0.06 * share, 0.12 * share)
    perfect = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).expand(count, 4)
    x = ordered_partly(perfect, level, torch.where(ordered, 1 - 0.01 * blur, 0 * blur))
    moved = (x.sqrt().arcsin() + 0.02 * noise).sin().square()
    return FCC_L12.order_parameters(moved.clamp(candidates.MARGIN, 1 - candidates.MARGIN))


def _centres(expansion: ClusterExpansion, draw: Draw) -> Float[np.ndarray, "sample 4"]:
    """κ of the biases."""
    looks = draw.cells[0] ** 3 * SCHEDULE.walkers * SCHEDULE.samples
    eta = candidates.with_something_to_see(FCC_L12, draw.targets(), looks)
    stiffness = torch.full((4,), STIFFNESS, dtype=torch.float64)
    return aim.first_bias_centre(expansion, FCC_L12, draw.kelvin, eta, stiffness).numpy()
