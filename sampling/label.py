"""Labelling: points sampled in any process, each in the box that suits its state."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

import numpy as np
from jaxtyping import Float

from idnn.order_parameters import SYSTEMS, System
from sampling.box_size import differing_from, in_a_larger_box
from sampling.ensemble import Schedule, sample
from sampling.expansion import ClusterExpansion
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu
from sampling.labelled_point import LabelledPoint, is_unstable, labelled
from sampling.lattice import Supercell

LEAST_SWEEPS = 400
"""A larger box is sampled with as many flips as the smallest, but for no fewer sweeps than these,
or than the smallest itself."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelTask:
    """Points to sample, as plain data that travels to another process.

    Attributes:
        expansion: the energies.
        system: name of the ordering crystal.
        cells: ordered cells per edge of each box, smallest first.
        temperature: K.
        centre: κ of each point.
        stiffness: φ of each point (eV per site).
        point_seeds: a number of its own for each point; with `seed` it fixes the point's result.
        seed: of the run.
        schedule: walkers, and sweeps in the smallest box.

    Raises:
        ValueError: `centre`, `stiffness` and `point_seeds` are not equally many, or `cells` does
            not ascend.
    """

    expansion: ClusterExpansion
    system: str
    cells: tuple[int, ...]
    temperature: float
    centre: Float[np.ndarray, "batch d"]
    stiffness: Float[np.ndarray, "batch d"]
    point_seeds: tuple[int, ...]
    seed: int
    schedule: Schedule

    def __post_init__(self) -> None:
        if not len(self.centre) == len(self.stiffness) == len(self.point_seeds):
            raise ValueError(
                "`centre`, `stiffness` and `point_seeds` must be equally many; they are "
                f"{len(self.centre)}, {len(self.stiffness)} and {len(self.point_seeds)}."
            )
        if not self.cells or any(a >= b for a, b in pairwise(self.cells)):
            raise ValueError(f"`cells` must hold one box or more, ascending; it is {self.cells}.")


def label(task: LabelTask) -> list[LabelledPoint]:
    """Sample every point of the task, in order, each in the box that suits its state.

    Where a homogeneous state is stable, boxes differ by a term in 1/N alone. Elsewhere a large box
    parts into domains under a bias that holds its mean alone, and what it measures is the free
    energy of a mixture. So every point is sampled in the two smallest boxes, and in the next larger
    one as long as its state is homogeneous. A box whose state is unstable rules out all larger
    ones, in which a mixture of two phases can look stable. The largest box left makes the label,
    extrapolated in 1/N from the one below if that is homogeneous too; where none is, the smallest
    box does, with its difference from the next as an error.

    A point's result depends on its own entries and `seed` alone, not on its companions, the order
    of the tasks or the process that ran it.

    Raises:
        ValueError: an unknown system, a box too small, or any other entry out of range.
    """
    if task.system not in SYSTEMS:
        raise ValueError(f"`system` must be one of {sorted(SYSTEMS)}; it is {task.system!r}.")
    system = SYSTEMS[task.system]
    boxes: list[list[LabelledPoint]] = [[] for _ in task.centre]
    for level, cells in enumerate(task.cells):
        hamiltonian = ClusterHamiltonian.on(task.expansion, Supercell(system, cells))
        rows = [i for i, p in enumerate(boxes) if level < 2 or level - 1 in _homogeneous(p, system)]
        for i, point in zip(rows, _label_in(task, hamiltonian, rows), strict=True):
            boxes[i].append(point)
    return [_chosen(points, system, task.temperature) for points in boxes]


def _chosen(points: Sequence[LabelledPoint], system: System, temperature: float) -> LabelledPoint:
    """One label from those of one bias in boxes of growing size."""
    homogeneous = _homogeneous(points, system)
    kept = homogeneous[-1] if homogeneous else 0
    best = points[kept]
    if kept > 0 and kept - 1 in homogeneous:
        best = in_a_larger_box(points[kept - 1], best, system, temperature)
    elif len(points) > 1:
        best = differing_from(points[kept - 1 if kept > 0 else 1], best, system, temperature)
    return replace(
        best,
        flips=sum(point.flips for point in points),
        wall_s=sum(point.wall_s for point in points),
    )


def _homogeneous(points: Sequence[LabelledPoint], system: System) -> list[int]:
    """Indices of the boxes of homogeneous states, up to the first that is unstable."""
    stable = takewhile(lambda point: not is_unstable(point, system), points)
    return [i for i, point in enumerate(stable) if point.homogeneous]


def _label_in(
    task: LabelTask, hamiltonian: ClusterHamiltonian, rows: Sequence[int]
) -> list[LabelledPoint]:
    """Some points of the task in one box."""
    return [
        point
        for block in _blocks(rows, task.schedule.walkers)
        for point in _label_block(task, hamiltonian, block)
    ]


def _blocks(rows: Sequence[int], walkers: int) -> Iterator[list[int]]:
    """Points that together fill the kernel's lanes."""
    size = -(-cpu.LANES // walkers)
    for first in range(0, len(rows), size):
        yield list(rows[first : first + size])


def _label_block(
    task: LabelTask, hamiltonian: ClusterHamiltonian, rows: list[int]
) -> list[LabelledPoint]:
    start = time.perf_counter()
    box = hamiltonian.supercell
    samples = sample(
        hamiltonian,
        Umbrella(box.system, task.centre[rows], task.stiffness[rows]),
        temperature=task.temperature,
        schedule=_schedule(task, box.edges[0]),
        seed=task.seed,
        point_seeds=tuple(task.point_seeds[i] for i in rows),
    )
    volume = abs(np.linalg.det(task.expansion.primitive_cell)) * samples.sites
    points = [
        labelled(samples.point(i), hamiltonian, length=volume ** (1 / 3)) for i in range(len(rows))
    ]
    share = (time.perf_counter() - start) / len(points)
    return [replace(point, wall_s=share) for point in points]


def _schedule(task: LabelTask, cells: int) -> Schedule:
    sweeps = task.schedule.sweeps
    least = min(LEAST_SWEEPS, sweeps)
    return replace(task.schedule, sweeps=max(least, round(sweeps * (task.cells[0] / cells) ** 3)))
