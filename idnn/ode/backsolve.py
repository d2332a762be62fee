"""Gradients by the continuous adjoint: the solution and its adjoint integrated back in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from idnn.ode.gradient import Run
from idnn.ode.integration import integrate
from idnn.ode.problem import Problem


class Backsolved(torch.autograd.Function):
    """(run, y₀, p) → states at the times.

    dλ/dt = −(∂f/∂y)ᵀλ and dμ/dt = −(∂f/∂p)ᵀλ from the last time to the first, λ growing by the
    gradient at each time asked for; those by y₀ and p are λ and μ at the first (Pontryagin; Chen et
    al. 2018, arXiv:1806.07366). y runs back along, from its state at each of the times.
    """

    @staticmethod
    def forward(ctx: Any, run: Run, y0: Tensor, parameters: Tensor | None) -> Tensor:  # noqa: ANN401
        out = integrate(run.problem.of(parameters), y0, run.times, run.rules, keep=False)
        ctx.run, ctx.parameters, run.outcome = run, parameters, out
        ctx.save_for_backward(out.y)
        return out.y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, wanted: Tensor) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        (y,), run, p = ctx.saved_tensors, ctx.run, ctx.parameters
        n, m = y.shape[2], 0 if p is None else p.shape[1]
        atol = torch.as_tensor(run.rules.control.atol, dtype=y.dtype, device=y.device)
        every = torch.cat([atol.expand(n), atol.max().expand(n + m)])
        rules = replace(run.rules, control=replace(run.rules.control, atol=every))
        along, own = torch.zeros_like(y[:, 0]), y.new_zeros(len(y), m)
        for j in reversed(range(y.shape[1] - 1)):
            along = along + wanted[:, j + 1]
            late = run.times[:, j + 1, None]
            more = late if p is None else torch.cat([late, p], 1)
            back = torch.cat([torch.zeros_like(late), late - run.times[:, j, None]], 1)
            problem = Problem(_Backward(run.problem, n), more, None, True, run.problem.counts)
            start = torch.cat([y[:, j + 1], along, own], 1)
            _, along, own = (
                integrate(problem, start, back, rules, keep=False).y[:, -1].split([n, n, m], 1)
            )
        return None, along + wanted[:, 0], None if p is None else own


class _Backward:
    """dz/ds of z = (y, λ, μ) at t = late − s; the parameters are late and p."""

    def __init__(self, problem: Problem, n: int) -> None:
        self.problem, self.n = problem, n

    def __call__(self, s: Tensor, z: Tensor, more: Tensor) -> Tensor:
        n = self.n
        with torch.enable_grad():
            inputs = [z[..., :n].detach().requires_grad_()]
            if more.shape[-1] > 1:
                inputs.append(more[..., 1:].detach().requires_grad_())
            slope = self.problem.f(more[..., 0] - s, *inputs)
            back = torch.autograd.grad(
                slope, inputs, z[..., n : 2 * n], allow_unused=True, materialize_grads=True
            )
        return torch.cat([-slope.detach(), *back], -1)
