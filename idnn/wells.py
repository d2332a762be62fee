"""Phases of a free energy: the wells of its grand potential ω = f − μη₀."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.descent import minimise
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import System, ordered_partly
from idnn.screen import Screen, screen

logger = logging.getLogger(__name__)

COMPOSITIONS = 8
"""Compositions at which a search on a coarse grid also starts from every prototype."""

COARSE = 11
"""Levels of the grid below which it may not resolve the prototypes."""

ASIDE = 0.02
"""Step in η off a saddle, to either side."""

SAME = 1e-4
"""Difference of η below which two wells are one."""


AT_WALL = 1e-6
"""Distance of a site fraction from 0 or 1 at which a wall can hold it."""

PRESSED = 1e-6
"""Slope towards the wall (eV) by which it then does: more than a descent leaves at a minimum."""

HOLDING = 1e4
"""Stiffness of a wall (eV), far above that of f."""


@dataclass(frozen=True, eq=False)
class Well:
    """A local minimum of ω(η) = f(η) − μη₀, one of its symmetry-equivalent copies.

    Attributes:
        phase: name of the nearest prototype.
        eta: order parameters; eta[0] is the composition.
        f: free energy, eV/site.
        mu: exchange chemical potential ∂f/∂η₀, eV/site.
        stiffness: smallest eigenvalue of ∂²f/∂η², eV/site.
    """

    phase: str
    eta: Float[Tensor, " d"]
    f: float
    mu: float
    stiffness: float

    @property
    def omega(self) -> float:
        """Grand potential f − μη₀, eV/site."""
        return self.f - self.mu * float(self.eta[0])


def wells(
    f: FreeEnergy,
    system: System,
    mu: float,
    *,
    composition: tuple[float, float] = (0.0, 1.0),
) -> list[Well]:
    """Every well of f − μη₀ with composition in the range, lowest ω first, one per symmetry class.

    Starts from the local minima on a grid of site fractions, and again on both sides of every
    saddle that these starts end in: a symmetric start cannot leave the symmetry it has.
    """
    at = torch.tensor([mu], dtype=torch.float64)
    return wells_at_each(f, system, at, composition)[0]


def wells_at_each(
    f: FreeEnergy,
    system: System,
    mu: Float[Tensor, " time"],
    composition: tuple[float, float],
    *,
    on_grid: Screen | None = None,
) -> list[list[Well]]:
    """`wells` for many μ, all descents in one batch; `on_grid` is f's screen, if at hand."""
    on_grid = screen(f, system, composition) if on_grid is None else on_grid
    point, row = _starts(system, composition, mu, on_grid)
    found: list[list[Well]] = [[] for _ in mu]
    for _ in range(system.dimension):
        point, row = _descend(f, system, point, row, mu)
        values, vectors = torch.linalg.eigh(curvature(f, system, point, mu[row]))
        stable, saddle = values[:, 0] > 0, values[:, 0] <= 0
        new = _named(f, system, point[stable], mu[row[stable]], values[stable, 0])
        for well, i in zip(new, row[stable].tolist(), strict=True):
            found[i].append(well)
        if not saddle.any():
            break
        aside = ASIDE * vectors[saddle, :, 0]
        point = torch.cat([point[saddle] + aside, point[saddle] - aside])
        row = row[saddle].repeat(2)
    return [_lowest_first(system, each, composition) for each in found]


def wells_of(f: FreeEnergy, system: System, eta: Tensor, mu: Tensor) -> list[Well]:
    """What is known about stationary points: their phase, f and stiffness."""
    return _named(f, system, eta, mu, torch.linalg.eigvalsh(curvature(f, system, eta, mu))[:, 0])


def distance(system: System, a: Tensor, b: Tensor) -> Tensor:
    """Greatest difference of a component between b and the image of a nearest to it."""
    return (system.images(a) - b).abs().amax(-1).amin(0)


def curvature(f: FreeEnergy, system: System, eta: Tensor, mu: Tensor) -> Tensor:
    """∂²f/∂η², with a fraction that f presses against a wall held there.

    Only where f is finite at 0 and 1 (below the floor of `IdealMixing`) can there be such wells.
    """
    with torch.no_grad():
        by_site = chemical_potential(f, eta) @ system.q - mu[:, None] * system.q[0]
    x = system.site_fractions(eta)
    inward = torch.where(x < 0.5, by_site, -by_site)
    held = (torch.minimum(x, 1 - x) < AT_WALL) & (inward > PRESSED)
    normal = torch.linalg.inv(system.q)
    holding = torch.einsum("ns,si,sj->nij", held.to(eta), normal, normal)
    return hessian(f, eta) + HOLDING * holding


def _named(f: FreeEnergy, system: System, eta: Tensor, mu: Tensor, stiffness: Tensor) -> list[Well]:
    with torch.no_grad():
        value = f(eta)
    rows = zip(eta, value.tolist(), mu.tolist(), stiffness.tolist(), strict=True)
    return [Well(system.phase_name(point), point, *numbers) for point, *numbers in rows]


def _descend(
    f: FreeEnergy, system: System, start: Tensor, row: Tensor, mu: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the starts end, one per symmetry class and value of μ."""
    eta, done = minimise(f, system, start, mu[row])
    if not done.all():
        logger.info("%d of %d descents did not converge", int((~done).sum()), len(done))
    eta, row = eta[done], row[done]
    keep = [
        members[_first_of_class(system, eta[members])]
        for i in row.unique()
        for members in [(row == i).nonzero()[:, 0]]
    ]
    chosen = torch.cat(keep) if keep else row[:0]
    return eta[chosen], row[chosen]


def _first_of_class(system: System, eta: Tensor) -> Tensor:
    """Indices of the first point of every class of symmetry-equivalent points."""
    first = (distance(system, eta[:, None], eta) < SAME).to(torch.uint8).argmax(0)
    return (first == torch.arange(len(eta))).nonzero()[:, 0]


def _lowest_first(
    system: System, found: list[Well], composition: tuple[float, float]
) -> list[Well]:
    low, high = composition
    inside = [w for w in found if low <= float(w.eta[0]) <= high]
    if not inside:
        return []
    first = _first_of_class(system, torch.stack([w.eta for w in inside]))
    return sorted((inside[i] for i in first.tolist()), key=lambda w: w.omega)


def _starts(
    system: System, composition: tuple[float, float], mu: Tensor, on_grid: Screen
) -> tuple[Float[Tensor, "sample d"], Tensor]:
    """Where to descend from, and the index of μ at which."""
    row, point = on_grid.minima(mu).nonzero().unbind(-1)
    start = on_grid.starts(system)[point]
    if on_grid.grid.levels >= COARSE:
        return start, row
    ideal = _towards_prototypes(system, composition)
    every = torch.arange(len(mu)).repeat_interleave(len(ideal))
    return torch.cat([start, ideal.repeat(len(mu), 1)]), torch.cat([row, every])


def _towards_prototypes(
    system: System, composition: tuple[float, float]
) -> Float[Tensor, "sample d"]:
    """Each prototype, half and fully ordered, over the whole range of composition."""
    low, high = composition
    grid = torch.linspace(low, high, COMPOSITIONS + 2, dtype=torch.float64)[1:-1]
    _, *ordered = system.prototypes
    starts = [grid[:, None].expand(-1, system.dimension)]
    for name in ordered:
        ideal = torch.tensor(system.prototypes[name], dtype=torch.float64)
        starts += [ordered_partly(ideal, grid[:, None], share) for share in (0.5, 0.98)]
    return system.order_parameters(torch.cat(starts))
