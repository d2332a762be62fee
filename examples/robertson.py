"""Robertson's stiff reactions with sixteen sets of constants, and a gradient by each."""

# ruff: noqa: ANN001, ANN201, ARG001, D103

import torch

from idnn.ode import Control, solve


def robertson(t, y, k):
    a, b, c = y.unbind(-1)
    first, second, third = k[..., 0] * a, k[..., 1] * b * b, k[..., 2] * b * c
    return torch.stack([third - first, first - second - third, second], -1)


k = torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64) * torch.linspace(0.5, 2, 16)[:, None]
k.requires_grad_()
start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
times = torch.logspace(-5, 5, 50, dtype=torch.float64)
atol = torch.tensor([1e-8, 1e-14, 1e-8], dtype=torch.float64)
found = solve(robertson, start, times, k, control=Control(rtol=1e-6, atol=atol))
found.y[:, -1, 2].sum().backward()
print(found.y.shape, found.steps, k.grad)
