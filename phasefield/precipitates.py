"""Initial states of γ/γ′: particles of the four variants in a matrix, placed in metres."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range, require_positive
from idnn.order_parameters import FCC_L12
from phasefield.free_energies import require_admissible
from phasefield.gamma_prime import NANOMETRE, GammaPrime
from phasefield.initial import Nucleus, scattered, with_nuclei
from phasefield.observe import L12_SIGNS

UNIT_BALL = (2.0, math.pi, 4 * math.pi / 3)
"""Content of the ball of radius 1 in one to three dimensions."""


@dataclass(frozen=True)
class Precipitate:
    """A ball of γ′.

    Attributes:
        centre: m, one coordinate per dimension.
        radius: m.
        variant: 1 to 4, which sublattice is rich in solute.
    """

    centre: tuple[float, ...]
    radius: float
    variant: int = 1

    def __post_init__(self) -> None:
        require_positive("radius", self.radius)
        if self.variant not in range(1, len(L12_SIGNS) + 1):
            raise ValueError(f"`variant` must be 1, 2, 3 or 4; it is {self.variant}.")


def precipitated(
    alloy: GammaPrime, precipitates: Sequence[Precipitate], *, composition: float
) -> Float[Tensor, "field *space"]:
    """Particles of the tie-line's γ′ in an alloy of given mean composition.

    The matrix takes what they leave. With the fraction of the lever rule in them that is nearly γ
    of the tie-line, with less a supersaturated solution.

    Raises:
        ValueError: a particle does not fit the box, or what is left does not lie between 0 and c′.
    """
    u, grid = _laid_over(alloy, precipitates, composition, keep_mean=True), alloy.model.grid
    _require_solution(alloy, float(u[0].min()), float(u[0].max()))
    require_admissible(u, FCC_L12, grid.team, grid.slabs.planes.start)
    return u


def in_matrix(
    alloy: GammaPrime, precipitates: Sequence[Precipitate], *, matrix: float | None = None
) -> Float[Tensor, "field *space"]:
    """Particles of the tie-line's γ′ in a matrix of given composition, or in γ of the tie-line.

    Raises:
        ValueError: a particle does not fit the box, or the matrix does not lie between 0 and c′.
    """
    composition = alloy.compositions[0] if matrix is None else matrix
    _require_solution(alloy, composition, composition)
    return _laid_over(alloy, precipitates, composition, keep_mean=False)


def lever_rule_radius(alloy: GammaPrime, composition: float, count: int) -> float:
    """Radius (m) of `count` equal balls that hold the lever rule's fraction of the box.

    Raises:
        ValueError: the composition does not lie on the tie-line.
    """
    grid = alloy.model.grid
    volume = alloy.fraction(composition) * grid.cells * grid.cell_volume / count
    return (volume / UNIT_BALL[len(grid.shape) - 1]) ** (1 / len(grid.shape)) * NANOMETRE


def scattered_precipitates(
    alloy: GammaPrime, radius: float, count: int, generator: torch.Generator
) -> list[Precipitate]:
    """`count` balls at random places, an interface's width apart, of the four variants in turn.

    Raises:
        ValueError: they do not fit.
    """
    clearance = (2 * radius + alloy.interface.width) / NANOMETRE
    centres = scattered(alloy.model.grid, count, clearance, generator)
    return [
        Precipitate(tuple(x * NANOMETRE for x in centre), radius, 1 + i % len(L12_SIGNS))
        for i, centre in enumerate(centres)
    ]


def _laid_over(
    alloy: GammaPrime, precipitates: Sequence[Precipitate], composition: float, *, keep_mean: bool
) -> Tensor:
    grid = alloy.model.grid
    u = torch.zeros((4, *grid.slabs.local_shape), dtype=torch.float64, device=grid.device)
    u[0] = composition
    nuclei = [_nucleus(alloy, precipitate) for precipitate in precipitates]
    return with_nuclei(grid, u, nuclei, keep_mean=keep_mean).to(grid.dtype)


def _nucleus(alloy: GammaPrime, precipitate: Precipitate) -> Nucleus:
    grid = alloy.model.grid
    for x, n in zip(precipitate.centre, grid.shape, strict=False):
        require_in_range("centre", x, 0.0, n * grid.spacing * NANOMETRE)
    ordered = (alloy.order * L12_SIGNS[precipitate.variant - 1]).tolist()
    return Nucleus(
        tuple(x / NANOMETRE for x in precipitate.centre),
        precipitate.radius / NANOMETRE,
        (alloy.compositions[1], *ordered),
        width=alloy.interface.width / NANOMETRE / 2,
    )


def _require_solution(alloy: GammaPrime, low: float, high: float) -> None:
    """Of a matrix."""
    most = alloy.compositions[1]
    # Balls of γ′ hold c′ up to rounding.
    if not (low >= 0 and high <= most + 1e-9):
        raise ValueError(
            f"the composition of the matrix must lie between 0 and that of γ′, {most:.4g}; it "
            f"reaches from {low:.4g} to {high:.4g}. Change the mean composition or the particles."
        )
