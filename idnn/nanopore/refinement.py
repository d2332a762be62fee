"""Solutions on as many points as they need, with the derivatives of the exact ones."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.nanopore.balances import OTHERS, State, balances, state
from idnn.nanopore.collocation import Mesh, radau
from idnn.nanopore.conditions import Conditions
from idnn.nanopore.newton import continued, corrections, newton, started

MESHES = (radau(5, 1), *(radau(10, elements) for elements in (1, 2, 4, 8, 16)))
"""Each tells the error of the one before."""

ACCURACY = 1e-8
"""Change of ln c, ψ and ln J_v from a mesh to the next at which the next is taken."""


class Part(NamedTuple):
    """Cases solved on the same points.

    Attributes:
        rows: their numbers.
        unknowns: near enough that one more correction is exact to rounding.
        mesh: the points.
    """

    rows: Int[Tensor, " row"]
    unknowns: Float[Tensor, "row unknown"]
    mesh: Mesh


@torch.no_grad()
def solved_on(given: Conditions, mesh: Mesh) -> list[Part]:
    """Cases that are solved on given points, which may be too few for positive concentrations."""
    y, solved = _solved(given, started(given, mesh), mesh)
    solved &= (state(given, y, mesh).ends > 0).all(-1).all(-1)
    return [Part(solved.nonzero()[:, 0], y[solved], mesh)]


@torch.no_grad()
def refined(given: Conditions) -> list[Part]:
    """Cases that are solved, each on the first mesh to confirm the one before."""
    parts = []
    rows = torch.arange(len(given.feed), device=given.feed.device)
    guess = started(given, MESHES[0])
    for mesh, finer in pairwise(MESHES):
        here = given.at(rows)
        y, solved = _solved(here, guess, mesh)
        guess = _moved(y, mesh, finer)
        guess, change = _checked(here, y, mesh, guess, finer)
        done = solved & (change <= ACCURACY)
        parts.append(Part(rows[done], guess[done], finer))
        guess, rows = torch.where(solved[:, None], guess, started(here, finer))[~done], rows[~done]
        if len(rows) == 0:
            break
    return parts


def _solved(given: Conditions, start: Tensor, mesh: Mesh) -> tuple[Tensor, Tensor]:
    y, solved = newton(given, start, mesh)
    failed = (~solved).nonzero()[:, 0]
    if len(failed) > 0:
        y[failed], solved[failed] = continued(given.at(failed), mesh)
    return y, solved


def _checked(
    given: Conditions, y: Tensor, mesh: Mesh, finer_y: Tensor, finer: Mesh
) -> tuple[Float[Tensor, "row unknown"], Float[Tensor, " row"]]:
    """Unknowns corrected on a finer mesh, and the largest change of ln c, ψ and ln J_v by that."""
    residual, jacobian, found = balances(given, finer_y, finer)
    correction = corrections(jacobian, residual)
    by_correction = (found.ends_slopes @ correction[:, None, :, None])[..., 0]
    before = state(given, y, mesh).ends.log()
    logs = (found.ends.log() - by_correction - before).flatten(1)
    change = torch.cat([logs, correction[:, -OTHERS:]], 1).abs().amax(1)
    return finer_y - correction, change


def _moved(y: Tensor, mesh: Mesh, other: Mesh) -> Tensor:
    """The same field at other points."""
    count = mesh.size
    return torch.cat([y[:, :count] @ mesh.interpolation(other.points).to(y).T, y[:, count:]], 1)


def corrected(given: Conditions, part: Part) -> tuple[Tensor, Tensor, State]:
    """Unknowns after one more correction, residuals and the state there.

    The correction is made with derivatives, which are those of the solution by the implicit
    function theorem.
    """
    here = given.at(part.rows)
    residual, jacobian, _ = balances(here, part.unknowns, part.mesh)
    y = part.unknowns - corrections(jacobian.detach(), residual)
    residual, _, found = balances(here, y, part.mesh)
    return y, residual.detach(), found
