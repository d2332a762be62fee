"""One step of each family of methods: from y at t to y at t + h, its error, its dense output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.ode.coefficients import kvaerno5, rodas4, rodas5p, rosenbrock23, tsit5
from idnn.ode.control import norm
from idnn.ode.linear import inverse, solved
from idnn.ode.problem import Problem
from idnn.ode.tables import RosenbrockTable, RungeKuttaTable

NEWTON = 12
"""Corrections after which a stage is given up, and with it the step."""

SOLVED = 0.03
"""Of the error allowed in a step: size of the last correction but one of a stage."""


class Step(NamedTuple):
    """What a step leads to.

    Attributes:
        y: the new state.
        error: its estimated error.
        stages: multiples of h dy/dt that the dense output is made of.
    """

    y: Float[Tensor, "row n"]
    error: Float[Tensor, "row n"]
    stages: Float[Tensor, "stage row n"]

    def of(self, rows: Tensor) -> Step:
        """Of some rows."""
        return Step(self.y[rows], self.error[rows], self.stages[:, rows])


@runtime_checkable
class Method(Protocol):
    """A family of methods with its coefficients."""

    @property
    def order(self) -> int:
        """Of the error estimate: the estimate falls as h to this power."""
        ...

    @property
    def stiff(self) -> bool:
        """Whether steps are bounded by accuracy alone, however stiff f is."""
        ...

    @property
    def bends(self) -> Float[Tensor, "power stage"]:
        """Of the stages, in the dense output."""
        ...

    @property
    def lands(self) -> bool:
        """Whether steps end at all times asked for: the dense output, for events, is less exact."""
        ...

    def step(self, problem: Problem, t: Tensor, y: Tensor, h: Tensor, allowed: Tensor) -> Step:
        """From y [row, n] at t [row] by h [row]; `allowed` [row, n] is the error that may be made.

        Differentiable in y and in all that f depends on.
        """
        ...


def interpolated(
    method: Method, y: Float[Tensor, "row n"], step: Step, theta: Float[Tensor, " row"]
) -> Float[Tensor, "row n"]:
    """Y at t + θh: y₀ + θ(y₁ − y₀) + θ(1 − θ)Σ θᵐKₘ, K the bends of the stages."""
    bends = torch.tensordot(_like(method.bends, y), step.stages, 1)
    x = theta[:, None]
    curve = bends[-1]
    for bend in reversed(bends[:-1]):
        curve = bend + x * curve
    return (1 - x) * y + x * step.y + x * (1 - x) * curve


@dataclass(frozen=True, eq=False)
class Rosenbrock:
    """Linearly implicit: one Jacobian and one factorisation a step, no iteration."""

    table: RosenbrockTable
    order: int

    stiff = True
    lands = False

    @property
    def bends(self) -> Tensor:
        return self.table.bends

    def step(self, problem: Problem, t: Tensor, y: Tensor, h: Tensor, allowed: Tensor) -> Step:
        del allowed
        table = self.table
        jacobian, in_time = problem.derivatives(t, y)
        column = h[:, None]
        diagonal = _diagonal(1 / table.gamma, y)
        matrix = torch.addcmul(diagonal, column[..., None], jacobian, value=-1.0)
        problem.counts.factorisations += len(y)
        inverted, stages = inverse(matrix), _Stages(y, len(table.nodes))
        nodes, drift = table.nodes.tolist(), table.in_time.tolist()
        sums = _sums(table, y.dtype, y.device)
        for i, (node, d) in enumerate(zip(nodes, drift, strict=True)):
            at, right = y, None
            if i:
                at, right = stages.combined(sums[i])
            slope = problem(torch.add(t, h, alpha=node), at)
            right = column * slope if right is None else torch.addcmul(right, column, slope)
            if in_time is not None:
                right = right + (d * h**2)[:, None] * in_time
            stages.append(solved(matrix, inverted, right))
        after, error = stages.combined(sums[-1])
        return Step(after, error, stages.every())


class _Stages:
    """The state and the stages of a step so far, of which sums are taken."""

    def __init__(self, y: Float[Tensor, "row n"], count: int) -> None:
        self.shape, self.found = y.shape, [y]
        self.room = None if torch.is_grad_enabled() else y.new_empty((count + 1, y.numel()))
        if self.room is not None:
            self.room[0] = y.reshape(-1)

    def append(self, stage: Float[Tensor, "row n"]) -> None:
        """One more."""
        if self.room is not None:
            self.room[len(self.found)] = stage.reshape(-1)
        self.found.append(stage)

    def combined(self, weights: Float[Tensor, "sum all"]) -> tuple[Tensor, ...]:
        """Sums of the state and all stages so far."""
        count = len(self.found)
        every = torch.stack(self.found).flatten(1) if self.room is None else self.room[:count]
        return torch.mm(weights, every).view(-1, *self.shape).unbind()

    def every(self) -> Float[Tensor, "stage row n"]:
        """All stages."""
        if self.room is None:
            return torch.stack(self.found[1:])
        return self.room[1:].view(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class RungeKutta:
    """Explicit, or with implicit stages solved one after the other by Newton's method."""

    table: RungeKuttaTable
    order: int

    @property
    def stiff(self) -> bool:
        return self.table.gamma > 0

    @property
    def lands(self) -> bool:
        return self.stiff

    @property
    def bends(self) -> Tensor:
        return self.table.bends

    def step(self, problem: Problem, t: Tensor, y: Tensor, h: Tensor, allowed: Tensor) -> Step:
        table, column, stage = self.table, h[:, None], y
        stages, sums = _Stages(y, len(table.nodes)), _sums(table, y.dtype, y.device)
        solvable = torch.ones(len(y), dtype=torch.bool, device=y.device)
        for i, node in enumerate(table.nodes.tolist()):
            at, time = y, torch.add(t, h, alpha=node)
            if i:
                (at,) = stages.combined(sums[i])
            if i and self.stiff:
                stage, good = self._solved(problem, time, at, column, stage, allowed)
                solvable = solvable & good
            else:
                stage = column * problem(time, at)
            stages.append(stage)
        after, error = stages.combined(sums[-1])
        return Step(after, error.where(solvable[:, None], torch.inf), stages.every())

    def _solved(
        self, problem: Problem, t: Tensor, base: Tensor, h: Tensor, start: Tensor, allowed: Tensor
    ) -> tuple[Float[Tensor, "row n"], Bool[Tensor, " row"]]:
        """z = h f(t, base + γz), and whether it was found.

        The last correction is made with derivatives, which are those of the solution by the
        implicit function theorem: those of all before cancel.
        """
        gamma, z, one = self.table.gamma, start.detach().clone(), _diagonal(1.0, base)
        rows = torch.arange(len(z), device=z.device)
        with torch.no_grad():
            for _ in range(NEWTON):
                part = problem.at(rows)
                change = _corrected(part, t[rows], base[rows], h[rows], z[rows], gamma, one)
                z[rows] += change
                size = norm(gamma * change / allowed[rows])
                rows = rows[(size > SOLVED) & (size < math.inf)]
                if len(rows) == 0:
                    break
        found = z + _corrected(problem, t, base, h, z, gamma, one)
        found_at = norm(gamma * (found.detach() - z) / allowed)
        return found, found_at <= SOLVED


def _corrected(
    problem: Problem, t: Tensor, base: Tensor, h: Tensor, z: Tensor, gamma: float, one: Tensor
) -> Tensor:
    """Newton's correction of z."""
    at = base + gamma * z
    with torch.no_grad():
        matrix = one - gamma * h[..., None] * problem.derivatives(t, at)[0]
    problem.counts.factorisations += len(z)
    return solved(matrix, inverse(matrix), h * problem(t, at) - z)


@cache
def _sums(
    table: RosenbrockTable | RungeKuttaTable, dtype: torch.dtype, device: torch.device
) -> list[Float[Tensor, "_ _"]]:
    """Weights of the state and the stages so far, of what each stage needs and of the results."""
    every = [*table.sums, table.result]
    return [w[:, :count].to(device, dtype).contiguous() for count, w in enumerate(every, 1)]


def _diagonal(value: float, like: Float[Tensor, "row n"]) -> Float[Tensor, "n n"]:
    return value * _one(like.shape[1], like.dtype, like.device)


@cache
def _one(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(n, dtype=dtype, device=device)


def _like(table: Tensor, y: Tensor) -> Tensor:
    return table.to(y)


RODAS4 = Rosenbrock(rodas4(), 4)
RODAS5P = Rosenbrock(rodas5p(), 5)
ROSENBROCK23 = Rosenbrock(rosenbrock23(), 3)
KVAERNO5 = RungeKutta(kvaerno5(), 5)
TSIT5 = RungeKutta(tsit5(), 5)
