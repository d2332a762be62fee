"""Time steps for u̇ = L u + N(u) with a diagonal stiff L, each with an embedded error estimate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@runtime_checkable
class Problem(Protocol):
    """u̇ = L u + N(u) in Fourier space; L is diagonal, real and not positive."""

    @property
    def linear(self) -> Float[Tensor, "field *k"]: ...

    def nonlinear(self, u_hat: Complex[Tensor, "field *k"]) -> Complex[Tensor, "field *k"]: ...


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one step proposes.

    Attributes:
        u_hat: state at t + dt.
        n_hat: N(u) there, so that the next step need not evaluate it.
        error_hat: estimate of the local error of a method one order lower (semi-implicit Euler:
            of the step itself).
        evaluations: evaluations of N spent.
    """

    u_hat: Complex[Tensor, "field *k"]
    n_hat: Complex[Tensor, "field *k"]
    error_hat: Complex[Tensor, "field *k"]
    evaluations: int


Step = Callable[[Tensor, Tensor], Attempt]
"""Maps û and N(û) at t to an `Attempt` at t + dt."""

Integrator = Callable[[Problem, float], Step]
"""Prepares the coefficients of a step of length dt."""


def semi_implicit_euler(problem: Problem, dt: float) -> Step:
    """û' = (1 − dt L)⁻¹ (û + dt N(û)), first order.

    Chen & Shen (1998, doi:10.1016/S0010-4655(97)00115-X).
    The error estimate is the difference to the trapezoidal rule, filtered by (1 − dt L)⁻¹.
    """
    linear, inverse = problem.linear, 1 / (1 - dt * problem.linear)

    def step(u: Tensor, n: Tensor) -> Attempt:
        new = inverse * (u + dt * n)
        n_new = problem.nonlinear(new)
        error = (dt / 2) * inverse * (n_new - n + linear * (u - new))
        return Attempt(new, n_new, error, 1)

    return step


def etdrk2(problem: Problem, dt: float) -> Step:
    """Second-order exponential Runge–Kutta: a = φ₀û + dt φ₁N(û), û' = a + dt φ₂[N(a) − N(û)].

    Cox & Matthews (2002, doi:10.1006/jcph.2002.6995, eq. 22). The last term is the error estimate.
    """
    phi0, phi1, phi2, _ = phi_functions(dt * problem.linear)
    one, two = dt * phi1, dt * phi2

    def step(u: Tensor, n: Tensor) -> Attempt:
        a = phi0 * u + one * n
        error = two * (problem.nonlinear(a) - n)
        new = a + error
        return Attempt(new, problem.nonlinear(new), error, 2)

    return step


def etdrk4(problem: Problem, dt: float) -> Step:
    """Fourth-order exponential Runge–Kutta.

    Cox & Matthews (2002, doi:10.1006/jcph.2002.6995, eq. 26–29).
    The third-order estimate replaces the last stage by the first of the next step, as Whalen, Brio
    & Moloney (2015, doi:10.1016/j.jcp.2014.09.038) do: it costs no evaluation.
    """
    half0, half1, _, _ = phi_functions(dt / 2 * problem.linear)
    full0, phi1, phi2, phi3 = phi_functions(dt * problem.linear)
    quarter = (dt / 2) * half1
    first = dt * (phi1 - 3 * phi2 + 4 * phi3)
    middle = dt * (2 * phi2 - 4 * phi3)
    last = dt * (4 * phi3 - phi2)

    def step(u: Tensor, n: Tensor) -> Attempt:
        decayed = half0 * u
        a = decayed + quarter * n
        n_a = problem.nonlinear(a)
        n_b = problem.nonlinear(decayed + quarter * n_a)
        n_c = problem.nonlinear(half0 * a + quarter * (2 * n_b - n))
        new = full0 * u + first * n + middle * (n_a + n_b) + last * n_c
        n_new = problem.nonlinear(new)
        return Attempt(new, n_new, last * (n_new - n_c), 4)

    return step


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
