"""Time steps for u̇ = L u + W F(u, t) with a diagonal stiff L, each with an error estimate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.fused import PART, PART_ON_GPU
from phasefield.grid import Grid


class Evaluation(NamedTuple):
    """F(û, t), and Σf and Σ|f| over the cells or points where they are a by-product (else NaN).

    `elastic` is the elastic energy of all cells at hand in the unit of f, where there is one, and
    `elastic_error` that by which the sum over all cells is too large, at most.
    """

    force_hat: Tensor
    density: Float[Tensor, ""]
    magnitude: Float[Tensor, ""]
    elastic: Float[Tensor, ""] | None = None
    elastic_error: float = 0.0


@runtime_checkable
class Problem(Protocol):
    """u̇ = L û + W F(û, t) for transformed fields; L and W are real and diagonal, L not positive."""

    @property
    def grid(self) -> Grid: ...

    @property
    def linear(self) -> Float[Tensor, "field *k"]: ...

    @property
    def weight(self) -> Float[Tensor, "field *k"]: ...

    def evaluate(self, u_hat: Tensor, time: float) -> Evaluation: ...


@runtime_checkable
class Fluctuating(Problem, Protocol):
    """A problem with noise: what a step of length dt adds to û, by the index of the step."""

    def fluctuation(self, dt: float) -> Callable[[int], Tensor] | None: ...


@dataclass(frozen=True, eq=False)
class Point:
    """Where a step starts.

    Attributes:
        time: t.
        u_hat: û there.
        force_hat: F(û, t).
        u_old: û before the last step, for integrators of two steps; None before the first step.
        force_old: F there.
        elapsed: length of the last step.
        index: of the step that starts here.
    """

    time: float
    u_hat: Tensor
    force_hat: Tensor
    u_old: Tensor | None = None
    force_old: Tensor | None = None
    elapsed: float = math.nan
    index: int = 0


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one step proposes.

    Attributes:
        u_hat: state at t + dt.
        end: F there, so that the next step need not evaluate it.
        error: estimates the local error, transformed.
        evaluations: evaluations of F spent.
    """

    u_hat: Tensor
    end: Evaluation
    error: Callable[[], Tensor]
    evaluations: int


Step = Callable[[Point], Attempt]


@dataclass(frozen=True, eq=False)
class Integrator:
    """A way to step.

    Attributes:
        name: in settings and results.
        prepare: the coefficients of a step of length dt, as the step itself.
        order: of convergence.
        error_order: halving dt divides the error estimate by 2 to this power.
        two_steps: whether it needs the point before.
        fluctuates: whether it adds the noise of a problem that has some.
    """

    name: str
    prepare: Callable[[Any, float], Step]
    order: int
    error_order: int
    two_steps: bool = False
    fluctuates: bool = False


def _semi_implicit_euler(problem: Problem, dt: float) -> Step:
    grid = problem.grid

    def formula(linear: Tensor, weight: Tensor) -> Sequence[Tensor]:
        by = 1 / (1 - dt * linear)
        return by, dt * by * weight, dt / 2 * by * linear

    inverse, forced, turned = coefficients(problem, formula)

    def step(at: Point) -> Attempt:
        u, force = at.u_hat, at.force_hat
        new = grid.combine((inverse, 1.0, u), (forced, 1.0, force))
        end = problem.evaluate(new, at.time + dt)

        def error() -> Tensor:
            return grid.combine(
                (forced, 0.5, end.force_hat), (forced, -0.5, force), (turned, 1.0, u),
                (turned, -1.0, new),
            )  # fmt: skip

        return Attempt(new, end, error, 1)

    return step


def _sbdf2(problem: Problem, dt: float) -> Step:
    grid = problem.grid
    known: dict[float, Sequence[Tensor]] = {}

    def with_ratio(ratio: float) -> Sequence[Tensor]:
        def formula(linear: Tensor, weight: Tensor) -> Sequence[Tensor]:
            by = 1 / ((1 + 2 * ratio) / (1 + ratio) - dt * linear)
            return by, dt * by * weight, dt / 2 * by * linear

        return coefficients(problem, formula)

    def step(at: Point) -> Attempt:
        if at.u_old is None or at.force_old is None:
            return _semi_implicit_euler(problem, dt)(at)
        ratio = dt / at.elapsed
        if ratio not in known:
            known.clear()
            known[ratio] = with_ratio(ratio)
        inverse, forced, turned = known[ratio]
        u, force = at.u_hat, at.force_hat
        new = grid.combine(
            (inverse, 1 + ratio, u), (inverse, -(ratio**2) / (1 + ratio), at.u_old),
            (forced, 1 + ratio, force), (forced, -ratio, at.force_old),
        )  # fmt: skip
        end = problem.evaluate(new, at.time + dt)

        def error() -> Tensor:
            return grid.combine(
                (inverse, 1.0, new), (inverse, -1.0, u), (turned, -1.0, new), (turned, -1.0, u),
                (forced, -0.5, end.force_hat), (forced, -0.5, force),
            )  # fmt: skip

        return Attempt(new, end, error, 1)

    return step


def _exponential_euler(problem: Problem, dt: float) -> Step:
    grid = problem.grid
    decay, one, two = coefficients(problem, _first_and_second(dt))
    kick = problem.fluctuation(dt) if isinstance(problem, Fluctuating) else None

    def step(at: Point) -> Attempt:
        new = grid.combine((decay, 1.0, at.u_hat), (one, 1.0, at.force_hat))
        if kick is not None:
            new += kick(at.index)
        end = problem.evaluate(new, at.time + dt)
        return Attempt(
            new, end, lambda: grid.combine((two, 1.0, end.force_hat), (two, -1.0, at.force_hat)), 1
        )

    return step


def _etdrk2(problem: Problem, dt: float) -> Step:
    grid = problem.grid
    decay, one, two = coefficients(problem, _first_and_second(dt))

    def step(at: Point) -> Attempt:
        u, force = at.u_hat, at.force_hat
        a = grid.combine((decay, 1.0, u), (one, 1.0, force))
        force_a = problem.evaluate(a, at.time + dt).force_hat
        change = grid.combine((two, 1.0, force_a), (two, -1.0, force))
        new = a + change
        return Attempt(new, problem.evaluate(new, at.time + dt), lambda: change, 2)

    return step


def _etdrk4(problem: Problem, dt: float) -> Step:
    grid = problem.grid

    def formula(linear: Tensor, weight: Tensor) -> Sequence[Tensor]:
        half0, half1, _, _ = phi_functions(dt / 2 * linear)
        full0, phi1, phi2, phi3 = phi_functions(dt * linear)
        first = dt * (phi1 - 3 * phi2 + 4 * phi3) * weight
        middle = dt * (2 * phi2 - 4 * phi3) * weight
        last = dt * (4 * phi3 - phi2) * weight
        return half0, full0, dt / 2 * half1 * weight, first, middle, last

    half, full, quarter, first, middle, last = coefficients(problem, formula)

    def step(at: Point) -> Attempt:
        u, force, midway = at.u_hat, at.force_hat, at.time + dt / 2
        a = grid.combine((half, 1.0, u), (quarter, 1.0, force))
        force_a = problem.evaluate(a, midway).force_hat
        b = grid.combine((half, 1.0, u), (quarter, 1.0, force_a))
        force_b = problem.evaluate(b, midway).force_hat
        c = grid.combine((half, 1.0, a), (quarter, 2.0, force_b), (quarter, -1.0, force))
        del a, b
        force_c = problem.evaluate(c, at.time + dt).force_hat
        new = grid.combine(
            (full, 1.0, u), (first, 1.0, force), (middle, 1.0, force_a), (middle, 1.0, force_b),
            (last, 1.0, force_c),
        )  # fmt: skip
        del c, force_a, force_b
        end = problem.evaluate(new, at.time + dt)
        return Attempt(
            new, end, lambda: grid.combine((last, 1.0, end.force_hat), (last, -1.0, force_c)), 4
        )

    return step


semi_implicit_euler = Integrator("semi_implicit_euler", _semi_implicit_euler, 1, 2)
"""û' = (1 − dt L)⁻¹ (û + dt N), N = W F(û) (Chen & Shen 1998, doi:10.1016/S0010-4655(97)00115-X).

The error estimate is the difference to the trapezoidal rule, filtered by (1 − dt L)⁻¹."""

sbdf2 = Integrator("sbdf2", _sbdf2, 2, 3, two_steps=True)
"""Semi-implicit two-step backward differentiation; the first step is semi-implicit Euler.

With N = W F and ω = dt/dt₋, (1+2ω)/(1+ω) û' − (1+ω) û + ω²/(1+ω) û₋ = dt [(1+ω) N − ω N₋ + L û']
(Ascher, Ruuth & Wetton 1995, doi:10.1137/0732037; variable steps: Wang & Ruuth 2008). The error
estimate is the difference to the trapezoidal rule, filtered likewise."""

exponential_euler = Integrator("exponential_euler", _exponential_euler, 1, 2, fluctuates=True)
"""û' = φ₀û + dt φ₁N(û) (Cox & Matthews 2002, doi:10.1006/jcph.2002.6995, eq. 4).

The error estimate is dt φ₂[N(û') − N(û)]. Noise is that of the linear part, integrated exactly over
the step (an Ornstein–Uhlenbeck process in every mode)."""

etdrk2 = Integrator("etdrk2", _etdrk2, 2, 2)
"""Exponential Runge–Kutta: a = φ₀û + dt φ₁N(û), û' = a + dt φ₂[N(a) − N(û)].

Cox & Matthews (2002, doi:10.1006/jcph.2002.6995, eq. 22). The last term is the error estimate."""

etdrk4 = Integrator("etdrk4", _etdrk4, 4, 4)
"""Exponential Runge–Kutta (Cox & Matthews 2002, doi:10.1006/jcph.2002.6995, eq. 26–29).

The third-order estimate replaces the last stage by the first of the next step, as Whalen, Brio &
Moloney (2015, doi:10.1016/j.jcp.2014.09.038) do: it costs no evaluation."""

INTEGRATORS = {
    each.name: each for each in (semi_implicit_euler, sbdf2, exponential_euler, etdrk2, etdrk4)
}


def coefficients(
    problem: Problem, formula: Callable[[Tensor, Tensor], Sequence[Tensor]]
) -> Sequence[Tensor]:
    """Real numbers of every mode by a formula of L and W, in the type of the fields.

    Made in float64 and part by part, so that what is between stays small.
    """
    linear, weight = problem.linear, problem.weight
    size = PART if linear.is_cpu else PART_ON_GPU
    parts = zip(linear.reshape(-1).split(size), weight.reshape(-1).split(size), strict=True)
    made: list[Tensor] = []
    for n, part in enumerate(parts):
        for j, values in enumerate(formula(*part)):
            if n == 0:
                made.append(torch.empty_like(linear, dtype=problem.grid.dtype).view(-1))
            made[j][n * size : n * size + len(values)] = values
    return [each.view(linear.shape) for each in made]


def _first_and_second(dt: float) -> Callable[[Tensor, Tensor], Sequence[Tensor]]:
    """φ₀, dt φ₁W and dt φ₂W."""

    def formula(linear: Tensor, weight: Tensor) -> Sequence[Tensor]:
        phi0, phi1, phi2, _ = phi_functions(dt * linear)
        return phi0, dt * phi1 * weight, dt * phi2 * weight

    return formula


def phi_functions(z: Float[Tensor, "*k"]) -> tuple[Float[Tensor, "*k"], ...]:
    """φ₀ = eᶻ, φ₁, φ₂, φ₃ of real z ≤ 0, where φₘ(z) = Σⱼ zʲ/(j+m)!.

    Away from zero by φₘ₊₁ = (φₘ − 1/m!)/z; for |z| < 1, where that cancels, by the series.
    """
    small = z.abs() < 1
    near, far = torch.where(small, z, 0), torch.where(small, 1, z)
    series = torch.zeros_like(z)
    for j in range(17, -1, -1):
        series = near * series / (j + 4) + 1
    values = [series / 6]
    for factorial in (2, 1, 1):
        values.append(near * values[-1] + 1 / factorial)
    exact = z.exp()
    by_recurrence = [exact]
    for factorial in (1, 1, 2):
        by_recurrence.append((by_recurrence[-1] - 1 / factorial) / far)
    pairs = zip(reversed(values), by_recurrence, strict=True)
    return exact, *[torch.where(small, s, r) for s, r in pairs][1:]
