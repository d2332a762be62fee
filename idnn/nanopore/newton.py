"""Newton's method for many small systems at once, with continuation where it fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn.nanopore.balances import OTHERS, balances
from idnn.nanopore.collocation import Mesh
from idnn.nanopore.conditions import Conditions

ITERATIONS = 60
"""After which a case is given up."""

SOLVED = 1e-6
"""Of residuals and of the step they ask for: what is below it after one more is rounding."""

LONGEST = 4.0
"""Of a step, in any unknown but E."""

SHORTEST = 1e-4
"""Part of Newton's step below which a case is given up."""

FIRST_LOAD, LEAST_GROWTH = 1e-3, 1.05
"""Part of the pressure or flux that continuation starts with, and its factor when it gives up."""

Solved = tuple[Float[Tensor, "row unknown"], Bool[Tensor, " row"]]
"""Unknowns, and whether they are a solution."""

System = Callable[
    [Int[Tensor, " row"], Float[Tensor, "row unknown"]],
    tuple[Float[Tensor, "row unknown"], Float[Tensor, "row unknown unknown"]],
]
"""(numbers of cases, their unknowns) → residuals and their Jacobian."""


def newton(given: Conditions, start: Float[Tensor, "row unknown"], mesh: Mesh) -> Solved:
    """Of the balances on a mesh."""
    return damped(lambda rows, y: balances(given.at(rows), y, mesh)[:2], start, OTHERS)


def damped(system: System, start: Float[Tensor, "row unknown"], bounded: int) -> Solved:
    """By steps cut to a fourth until they bring the residual down.

    A residual that is not finite, as of concentrations that are not positive, counts as infinite.
    Of the unknowns, the last `bounded` may not change by more than `LONGEST` at once.
    """
    y, step = start.clone(), torch.zeros_like(start)
    best, part = torch.full_like(y[:, 0], math.inf), torch.ones_like(y[:, 0])
    solved = torch.zeros_like(best, dtype=torch.bool)
    rows = torch.arange(len(y), device=y.device)
    for _ in range(ITERATIONS):
        tried = y[rows] - part[rows, None] * step[rows]
        residual, jacobian = system(rows, tried)
        size = residual.norm(dim=1)
        better = size < best[rows]
        part[rows[~better]] /= 4
        good = rows[better]
        y[good], best[good] = tried[better], size[better]
        step[good] = corrections(jacobian[better], residual[better])
        longest = step[good, -bounded:].abs().amax(1)
        solved[good] = (best[good] <= SOLVED) & (longest <= SOLVED)
        part[good] = (LONGEST / longest).clamp(max=1).nan_to_num(1)
        rows = rows[~solved[rows] & (part[rows] > SHORTEST)]
        if len(rows) == 0:
            break
    return y - torch.where(solved[:, None], step, 0), solved


def corrections(
    jacobian: Float[Tensor, "row unknown unknown"], residual: Float[Tensor, "row unknown"]
) -> Float[Tensor, "row unknown"]:
    """J⁻¹r; not finite where J is singular."""
    return torch.linalg.solve_ex(jacobian, residual[..., None])[0][..., 0]


def started(given: Conditions, mesh: Mesh) -> Float[Tensor, "row unknown"]:
    """No field, no jumps, and a third of the flux of pure water where it is not known."""
    y = given.feed.new_zeros((len(given.feed), mesh.size + OTHERS))
    flux = given.flux
    if flux is None:
        assert given.pressure is not None
        flux = given.permeability * given.pressure / 3
    y[:, -2] = flux.log()
    return y


def continued(given: Conditions, mesh: Mesh) -> Solved:
    """From near equilibrium, where nothing is rejected, by growing parts of the pressure or flux.

    The parts grow faster after a success and more slowly after a failure.
    """
    load, growth = torch.full_like(given.fixed, FIRST_LOAD), torch.full_like(given.fixed, 10.0)
    first = _loaded(given, load)
    y, solved = newton(first, started(first, mesh), mesh)
    rows = solved.nonzero()[:, 0]
    while len(rows) > 0:
        factor = torch.minimum(growth[rows], 1 / load[rows])
        guess = y[rows].clone()
        guess[:, -2] += factor.log()
        found, good = newton(_loaded(given.at(rows), load[rows] * factor), guess, mesh)
        done = rows[good]
        y[done], load[done] = found[good], load[done] * factor[good]
        growth[rows] **= torch.where(good, 1.5, 0.5)
        rows = rows[(load[rows] < 1 - 1e-12) & (growth[rows] > LEAST_GROWTH)]
    return y, solved & (load >= 1 - 1e-12)


def _loaded(given: Conditions, load: Float[Tensor, " row"]) -> Conditions:
    """A part of the pressure or flux."""
    if given.pressure is None:
        assert given.flux is not None
        return replace(given, flux=given.flux * load)
    return replace(given, pressure=given.pressure * load)
