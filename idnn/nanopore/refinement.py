"""Solutions on as many points as they need, with the derivatives of the exact ones."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.nanopore.balances import OTHERS, State, balances
from idnn.nanopore.collocation import Rule, radau
from idnn.nanopore.conditions import Conditions
from idnn.nanopore.newton import continued, corrections, newton, started

RULES = tuple(radau(count) for count in (5, 10, 20, 40, 80))
"""Each tells the error of the one before."""

ACCURACY = 1e-8
"""Change of ψ, ln γ and ln J_v from a rule to the next at which the next is taken."""


class Part(NamedTuple):
    """Cases solved on the same points.

    Attributes:
        rows: their numbers.
        unknowns: near enough that one more correction is exact to rounding.
        rule: the points.
    """

    rows: Int[Tensor, " row"]
    unknowns: Float[Tensor, "row unknown"]
    rule: Rule


@torch.no_grad()
def solved_on(given: Conditions, rule: Rule) -> list[Part]:
    """Cases that are solved on given points."""
    y, solved = _solved(given, started(given, rule), rule)
    return [Part(solved.nonzero()[:, 0], y[solved], rule)]


@torch.no_grad()
def refined(given: Conditions) -> list[Part]:
    """Cases that are solved, each on the first rule to confirm the one before."""
    parts = []
    rows = torch.arange(len(given.feed), device=given.feed.device)
    guess = started(given, RULES[0])
    for rule, finer in pairwise(RULES):
        here = given.at(rows)
        y, solved = _solved(here, guess, rule)
        guess = _moved(y, rule, finer)
        residual, jacobian, _ = balances(here, guess, finer)
        change = corrections(jacobian, residual)[:, -OTHERS:].abs().amax(1)
        done = solved & (change <= ACCURACY)
        parts.append(Part(rows[done], guess[done], finer))
        guess, rows = torch.where(solved[:, None], guess, started(here, finer))[~done], rows[~done]
        if len(rows) == 0:
            break
    return parts


def _solved(given: Conditions, start: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    y, solved = newton(given, start, rule)
    failed = (~solved).nonzero()[:, 0]
    if len(failed) > 0:
        y[failed], solved[failed] = continued(given.at(failed), rule)
    return y, solved


def _moved(y: Tensor, rule: Rule, other: Rule) -> Tensor:
    """The same field at other points."""
    count = len(rule.points)
    return torch.cat([y[:, :count] @ rule.moved(other).to(y).T, y[:, count:]], 1)


def corrected(given: Conditions, part: Part) -> tuple[Tensor, Tensor, State]:
    """Unknowns after one more correction, residuals and the state there.

    The correction is made with derivatives, which are those of the solution by the implicit
    function theorem.
    """
    here = given.at(part.rows)
    residual, jacobian, _ = balances(here, part.unknowns, part.rule)
    y = part.unknowns - corrections(jacobian.detach(), residual)
    residual, _, found = balances(here, y, part.rule)
    return y, residual.detach(), found
