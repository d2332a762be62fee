"""Fully implicit steps, as long as accuracy allows: for what coarsens slowly or comes to rest."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.grid import Grid
from phasefield.integrators import Attempt, Evaluation, Integrator, Point, Problem, Step
from phasefield.tangent import Preconditioner, Tangent

NEWTON_STEPS = 8
"""Most corrections of one step."""

CONVERGED = 1e-7
"""A step is solved once a correction changes no field by more than this, or than ten times the
rounding error of fields near 1,"""

LEFT = 1e-8
"""or once that times its ratio to the one before, which the next would change, is below this."""

KEPT = 1e-5
"""After a smaller correction the next one takes the same second derivatives."""

KRYLOV_STEPS = 200
"""Most iterations for one correction."""

FORCING = 2e-2
"""Residual of a linear system, relative to its right-hand side, at most; the square of the ratio of
the last two corrections where that is less (Eisenstat & Walker 1996, doi:10.1137/0917003),"""

FINEST = 1e-4
"""but no less than this."""

ROUGH = 0.1
"""The same for an error estimate."""


@runtime_checkable
class Flow(Problem, Protocol):
    """L û + W F = −R(k) δF/δu with a symmetric second derivative."""

    @property
    def rate(self) -> Float[Tensor, "field *k"]: ...

    @property
    def symmetric(self) -> bool: ...

    @property
    def stabiliser(self) -> tuple[float, ...]: ...

    def with_stabiliser(self, stabiliser: tuple[float, ...]) -> "Flow": ...

    def tangent(self, u_hat: Tensor) -> Tangent: ...


Inverse = Callable[[Tensor, float], Tensor]
"""b and the residual allowed ↦ x of Ax = b."""


class NotConverged(Exception):
    """Newton's or Krylov's iteration came to no end: the step is too long."""


def _implicit_bdf2(problem: Flow, dt: float) -> Step:
    def step(at: Point) -> Attempt:
        two = at.u_old is not None
        ratio = dt / at.elapsed if two else 0.0
        lead = (1 + 2 * ratio) / (1 + ratio)
        start = at.u_hat.clone()
        past = (1 + ratio) * at.u_hat
        if at.u_old is not None:
            past.sub_(at.u_old, alpha=ratio**2 / (1 + ratio))
            start.add_(at.u_hat, alpha=ratio).sub_(at.u_old, alpha=ratio)
        system = _System(problem, dt, lead, past, at.time + dt)
        try:
            new, end, inverse = system.solve(start)
            miss = system.miss(at, new, end, lead * _share(ratio, lead) if two else 1.0)
            error = inverse(miss, ROUGH)
        except NotConverged:
            wrong = torch.full_like(start, torch.nan)
            nothing = torch.tensor(torch.nan, dtype=torch.float64, device=start.device)
            return Attempt(start, Evaluation(wrong, nothing, nothing), lambda: wrong, system.work)
        return Attempt(new, end, lambda: error, system.work)

    return step


def _share(ratio: float, lead: float) -> float:
    """Error of the formula over its difference to the trapezoidal rule, which errs by −u‴dt³/12.

    Both from u = t³, which it takes to dt³ (1 + 6K) instead of dt³.
    """
    own = ((3 + 1 / (ratio * (1 + ratio))) / lead - 1) / 6
    return own / (own - 1 / 12)


implicit_bdf2 = Integrator("implicit_bdf2", _implicit_bdf2, 2, 3, two_steps=True)
"""Two-step backward differentiation with everything at t + dt, by Newton and conjugate gradients.

With ω = dt/dt₋, (1+2ω)/(1+ω) û' − (1+ω) û + ω²/(1+ω) û₋ = dt [L û' + W F(û')]. Divided by dt R(k)
the derivative is symmetric: lead/(dt R) + κk² + ∂²f/∂u²; it is positive definite unless dt exceeds
the time in which something grows, and then the step is refused. The part that is diagonal in k
preconditions it, or a `Preconditioner` (Nocedal & Wright 2006, doi:10.1007/978-0-387-40065-5, ch. 5
and 7). The error estimate is the difference to the trapezoidal rule, scaled to the error of this
formula and filtered by the derivative (Hairer & Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.8).
The first step is implicit Euler. One product with the derivative costs two transforms, as one
evaluation does, and counts as one."""


@dataclass(eq=False)
class _System:
    """lead û − dt [L û + W F(û)] = past."""

    problem: Flow
    dt: float
    lead: float
    past: Tensor
    time: float
    work: int = 0

    def __post_init__(self) -> None:
        rate, n = self.problem.rate, len(self.problem.rate)
        moves = rate > 0
        inertia = torch.where(moves, 1 / (self.dt * torch.where(moves, rate, 1.0)), 0.0)
        bare = self.problem.with_stabiliser((0.0,) * n).linear
        stiffness, gradients = (
            torch.where(moves, -linear / torch.where(moves, rate, 1.0), 1.0)
            for linear in (self.problem.linear, bare)
        )
        diagonal = self.lead * inertia + stiffness
        grid = self.grid
        self._inertia, self._stiffness, self._diagonal, self._inverse, self._moves = map(
            grid.coefficients, (inertia, stiffness, diagonal, moves / diagonal, moves.double())
        )
        self._weight = grid.multiplicity.expand(rate.shape).contiguous()
        self._bare = self.lead * inertia + gradients
        self._spread = _Spread(grid, self._bare, moves)

    @property
    def grid(self) -> Grid:
        """Of the problem."""
        return self.problem.grid

    def solve(self, u_hat: Tensor) -> tuple[Tensor, Evaluation, Inverse]:
        """The solution next to `u_hat`, its evaluation, and (lead − dt J)⁻¹ with the J last taken.

        The inverse is not kept here: it holds many fields, and would live on in a cycle.
        """
        before, forcing, inverse = math.inf, FORCING, None
        for _ in range(NEWTON_STEPS):
            found = self._evaluate(u_hat)
            if inverse is None or before > KEPT:
                inverse = self._inverted(self.problem.tangent(u_hat))
            change = inverse(self._residual(u_hat, found.force_hat), forcing)
            u_hat = u_hat + change
            size = self.grid.largest(self.grid.inverse(change))
            if not size < before:
                raise NotConverged
            ratio = size / before if math.isfinite(before) else 1.0
            if ratio * size <= LEFT or size <= max(CONVERGED, 10 * self.grid.epsilon):
                return u_hat, self._evaluate(u_hat), inverse
            before, forcing = size, max(FINEST, min(FORCING, ratio**2))
        raise NotConverged

    def miss(self, at: Point, new: Tensor, end: Evaluation, scale: float) -> Tensor:
        """`scale` times what the trapezoidal rule leaves over, to be filtered by (lead − dt J)⁻¹.

        With the linear part L in place of J, which holds the stabiliser of the stiffest cells,
        errors of all others would vanish.
        """
        return self.grid.combine(
            (self._inertia, scale, new), (self._inertia, -scale, at.u_hat),
            (self._stiffness, scale / 2, new), (self._stiffness, scale / 2, at.u_hat),
            (self._moves, scale / 2, end.force_hat), (self._moves, scale / 2, at.force_hat),
        )  # fmt: skip

    def _evaluate(self, u_hat: Tensor) -> Evaluation:
        self.work += 1
        return self.problem.evaluate(u_hat, self.time)

    def _residual(self, u_hat: Tensor, force_hat: Tensor) -> Tensor:
        return self.grid.combine(
            (self._inertia, 1.0, self.past), (self._inertia, -self.lead, u_hat),
            (self._stiffness, -1.0, u_hat), (self._moves, -1.0, force_hat),
        )  # fmt: skip

    def _inverted(self, tangent: Tangent) -> Inverse:
        """b and the residual allowed ↦ x of (diagonal + tangent) x = b."""
        grid, spread, count = self.grid, self._spread, len(self.problem.rate)
        s = torch.tensor(self.problem.stabiliser or (0.0,) * count).to(tangent.curvature)
        curvature = tangent.curvature + torch.diag(s).view(count, count, *[1] * len(grid.shape))
        if not spread.is_less_than_of(curvature):
            return partial(
                self._conjugate_gradients,
                lambda p: grid.combine((self._diagonal, 1.0, p), (self._moves, 1.0, tangent(p))),
                lambda r: grid.combine((self._inverse, 1.0, r)),
                lambda x, y: grid.mode_sum(self._weight, x, y),
            )
        near = Preconditioner(grid, curvature, self._bare, spread.typical, spread.on_cells)
        on_cells = partial(
            self._conjugate_gradients,
            lambda p: spread.moving(tangent.on_cells(p, self._diagonal)),
            lambda r: spread.moving(near(r)),
            lambda x, y: float(grid.total((x * y).sum(dtype=torch.float64))),
        )

        def solution(b: Tensor, forcing: float) -> Tensor:
            return grid.transform(
                on_cells(grid.inverse(grid.combine((self._moves, 1.0, b))), forcing)
            )

        return solution

    def _conjugate_gradients(
        self,
        along: Callable[[Tensor], Tensor],
        precondition: Callable[[Tensor], Tensor],
        dot: Callable[[Tensor, Tensor], float],
        b: Tensor,
        forcing: float,
    ) -> Tensor:
        x, r = torch.zeros_like(b), b
        z = precondition(r)
        p, rz = z, dot(r, z)
        enough = forcing**2 * rz
        for _ in range(KRYLOV_STEPS):
            if not rz > enough:
                return x
            a = along(p)
            self.work += 1
            curvature = dot(p, a)
            if not curvature > 0:
                raise NotConverged
            length = rz / curvature
            x.add_(p, alpha=length)
            r = r.sub(a, alpha=length)
            z = precondition(r)
            rz, before = dot(r, z), rz
            p = z.add_(p, alpha=rz / before)
        raise NotConverged


class _Spread:
    """How far the part that is diagonal in k, without a stabiliser, is from one number per field.

    Where free energies are stiffer in some cells than that spreads over modes, as near a pure
    sublattice, their matrices on the cells precondition better than numbers on the modes do: those
    of the fields that are not conserved (see `Preconditioner`), or of all if there are none such.
    """

    def __init__(self, grid: Grid, diagonal: Float[Tensor, "field *k"], moves: Tensor) -> None:
        self._grid = grid
        rows, count = diagonal.flatten(1), moves.flatten(1)
        sums = torch.stack([(rows * count).sum(1), (rows.log() * count).sum(1), count.sum(1)])
        total, logs, modes = grid.total(sums)
        self._low, self.typical = (logs / modes).exp(), total / modes
        self._most = grid.team.max((rows * count).amax(1))
        self._fixed = (grid.team.max((~count).any(1).double()) > 0).tolist()
        free = [i for i, fixed in enumerate(self._fixed) if not fixed]
        self.on_cells = free or list(range(len(rows)))

    def is_less_than_of(self, curvature: Float[Tensor, "field field *space"]) -> bool:
        """Whether conditions of both ways, estimated, say so."""
        stiffest = self._grid.team.max(curvature.abs().sum(1).flatten(1).amax(1))
        spread = (self._most / self._low)[self.on_cells].max()
        return bool(spread < (1 + stiffest / self._low).max())

    def moving(self, x: Tensor) -> Tensor:
        """Without the mean of what is conserved."""
        for row, fixed in zip(x, self._fixed, strict=True):
            if fixed:
                row -= self._grid.mean(row)
        return x
