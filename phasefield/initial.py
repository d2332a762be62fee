"""Initial fields: a uniform mean with seeded noise, and nuclei that leave the mean untouched."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from phasefield.grid import Grid

PLACEMENT_ATTEMPTS = 10_000

BLOCK = 2**22
"""Random numbers drawn at once; a multiple of 16, by which torch makes normal ones."""


@dataclass(frozen=True)
class Nucleus:
    """A ball of another phase with a tanh profile.

    Attributes:
        centre: nm, one coordinate per dimension.
        radius: nm.
        values: the fields inside.
        width: nm over which tanh goes from its middle to 76 %.
    """

    centre: tuple[float, ...]
    radius: float
    values: tuple[float, ...]
    width: float = 1.0

    def __post_init__(self) -> None:
        require_positive("radius", self.radius)
        require_positive("width", self.width)


def noisy(
    grid: Grid, means: Sequence[float], amplitudes: Sequence[float], generator: torch.Generator
) -> Float[Tensor, "field *space"]:
    """Uᵢ = meanᵢ + amplitudeᵢ·ξ, ξ standard normal in every cell with its mean taken off.

    Drawn on the CPU, so that a seed means the same fields on every device, and on any number of
    processes: each draws the numbers of all and keeps its own.
    """
    if len(means) != len(amplitudes):
        raise ValueError(
            f"`amplitudes` must hold one number per field; it holds {len(amplitudes)} "
            f"for {len(means)} fields."
        )
    column = [-1] + [1] * len(grid.shape)
    noise = _normal(grid, len(means), generator)
    noise -= grid.mean(noise).reshape(column)
    scale = torch.tensor(amplitudes, dtype=torch.float64).reshape(column)
    return (torch.tensor(means, dtype=torch.float64).reshape(column) + scale * noise).to(
        grid.device
    )


def with_nuclei(
    grid: Grid,
    u: Float[Tensor, "field *space"],
    nuclei: Sequence[Nucleus],
    *,
    keep_mean: bool = True,
) -> Float[Tensor, "field *space"]:
    """`u` with `nuclei` laid over it; field 0 outside them is shifted if its mean is to be kept."""
    if not nuclei:
        return u
    mean = grid.mean(u[0])
    u, inside = u.clone(), torch.zeros_like(u[0])
    for nucleus in nuclei:
        if len(nucleus.values) != len(u) or len(nucleus.centre) != len(grid.shape):
            raise ValueError(
                f"`nucleus` must hold {len(u)} values and a centre of {len(grid.shape)} "
                f"coordinates; it holds {len(nucleus.values)} and {len(nucleus.centre)}."
            )
        weight = _profile(grid, nucleus)
        values = torch.tensor(nucleus.values, dtype=u.dtype, device=u.device)
        u += weight * (values.reshape(-1, *[1] * len(grid.shape)) - u)
        inside = torch.maximum(inside, weight)
    if not keep_mean:
        return u
    outside = 1 - inside
    u[0] += (mean - grid.mean(u[0])) / grid.mean(outside) * outside
    return u


def scattered(
    grid: Grid, count: int, clearance: float, generator: torch.Generator
) -> list[tuple[float, ...]]:
    """`count` random centres (nm), each at least `clearance` (nm) from every other."""
    lengths = torch.tensor([n * grid.spacing for n in grid.shape], dtype=torch.float64)
    centres: list[Tensor] = []
    for _ in range(PLACEMENT_ATTEMPTS):
        if len(centres) == count:
            break
        new = torch.rand(len(lengths), generator=generator, dtype=torch.float64) * lengths
        if all(_distance(grid, new - old) >= clearance for old in centres):
            centres.append(new)
    if len(centres) < count:
        raise ValueError(
            f"`count` = {count} nuclei {clearance:g} nm apart do not fit: {len(centres)} did; "
            "lower the count or the radius."
        )
    return [tuple(centre.tolist()) for centre in centres]


def _normal(grid: Grid, count: int, generator: torch.Generator) -> Float[Tensor, "field *space"]:
    """This process's part of `randn((count, *grid.shape))`, in the memory of a block."""
    if grid.team.size == 1:
        return torch.randn((count, *grid.shape), generator=generator, dtype=torch.float64)
    own = torch.empty((count, *grid.slabs.local_shape), dtype=torch.float64)
    total, length = count * grid.cells, own[0].numel()
    first = grid.slabs.planes.start * (grid.cells // grid.shape[0])
    starts = range(0, max(total - BLOCK, 1), BLOCK)
    for start, stop in itertools.pairwise([*starts, total]):
        block = torch.randn(stop - start, generator=generator, dtype=torch.float64)
        for i, part in enumerate(own.view(count, -1)):
            origin = i * grid.cells + first
            a, b = max(start, origin), min(stop, origin + length)
            if a < b:
                part[a - origin : b - origin] = block[a - start : b - start]
    return own


def _profile(grid: Grid, nucleus: Nucleus) -> Tensor:
    squares = torch.zeros(grid.slabs.local_shape, dtype=torch.float64, device=grid.device)
    for axis, (x, centre) in enumerate(zip(grid.cell_centres(), nucleus.centre, strict=True)):
        squares += _step(grid, axis, x - centre).square()
    return 0.5 * (1 - ((squares.sqrt() - nucleus.radius) / nucleus.width).tanh())


def _distance(grid: Grid, steps: Tensor) -> float:
    return math.hypot(*(float(_step(grid, axis, step)) for axis, step in enumerate(steps)))


def _step(grid: Grid, axis: int, step: Tensor) -> Tensor:
    """The shorter way round a ring; between walls there is one way."""
    if grid.boundaries and grid.boundaries[axis] == "no-flux":
        return step
    length = grid.shape[axis] * grid.spacing
    return (step + length / 2) % length - length / 2
