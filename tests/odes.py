"""Problems and helpers of the tests of `idnn.ode`."""

import pytest
import torch

from idnn.ode import (
    KVAERNO5,
    RODAS5P,
    ROSENBROCK23,
    TSIT5,
    Control,
    solve,
)
from idnn.ode.problems import robertson

D = torch.float64
METHODS = {"rodas5p": RODAS5P, "rosenbrock23": ROSENBROCK23, "kvaerno5": KVAERNO5, "tsit5": TSIT5}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def decay(t, y, p):
    return -p * y


def falling(t, y, p):
    """Height and speed; p is gravity."""
    return torch.stack([y[..., 1], -p[..., 0].expand_as(y[..., 1])], -1)


def spread(samples, k, by=0.3):
    noise = torch.randn(samples, len(k), dtype=D, generator=torch.Generator().manual_seed(0))
    return k * torch.exp(by * noise)


def numbers(*values):
    return torch.tensor(values, dtype=D)


def robertson_of(k, times, **options):
    problem = robertson()
    control = Control(rtol=1e-6, atol=1e-6 * problem.scale)
    return solve(problem.f, problem.y0, times, k, control=control, **options)
