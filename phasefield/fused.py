"""Passes over whole fields that read and write each number once.

On a CPU numba compiles them, elsewhere and without numba torch runs them term by term; both give
the same numbers to rounding.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

kernels: Any
try:
    from phasefield import kernels
except ModuleNotFoundError:  # a GPU node may hold torch and numpy alone
    kernels = None

Term = tuple[Tensor, float, Tensor]
"""c(k), s, x̂(k)."""

PART = 2**16
"""Entries in one part of a field: a thread's unit of work, and of every sum."""


def combine(terms: Sequence[Term], workers: Executor | None = None) -> Tensor:
    """Σⱼ cⱼ sⱼ x̂ⱼ; all of one shape, c real."""
    first = terms[0][2]
    if not is_compiled_for(first):
        total = terms[0][0] * first * terms[0][1]
        for c, s, x in terms[1:]:
            total += c * x * s
        return total
    out = torch.empty_like(first, memory_format=torch.contiguous_format)
    pass_over = kernels.combine_complex if first.is_complex() else kernels.combine_real
    real = first.real.dtype
    arguments = (
        tuple(_flat(c) for c, _, _ in terms),
        tuple(np.asarray(s, _numpy(real))[()] for _, s, _ in terms),
        tuple(_flat(x) for _, _, x in terms),
        _flat(out),
    )
    over_parts(lambda a, b: pass_over(*arguments, a, b), first.numel(), workers)
    return out


def dot(
    weight: Float[Tensor, "*k"], x: Tensor, y: Tensor, workers: Executor | None = None
) -> Float[Tensor, ""]:
    """Σ weight Re(x̄ y), in float64."""
    if not is_compiled_for(x):
        return (weight * (x.conj() * y).real).sum(dtype=torch.float64)
    pass_over = kernels.dot_complex if x.is_complex() else kernels.dot_real
    w, one, other = _flat(weight), _flat(x), _flat(y)
    sums = over_parts(lambda a, b: pass_over(w, one, other, a, b), x.numel(), workers)
    return torch.tensor(sum(sums), dtype=torch.float64)


def largest(u: Tensor, workers: Executor | None = None) -> Float[Tensor, ""]:
    """max |u|; NaN if any entry is."""
    if not is_compiled_for(u):
        return u.abs().max()
    x = _flat(u)
    sizes = over_parts(lambda a, b: kernels.largest(x, a, b), u.numel(), workers)
    return torch.tensor(np.max(sizes), dtype=u.dtype)


def over_parts(
    function: Callable[[int, int], Any], count: int, workers: Executor | None, size: int = PART
) -> list[Any]:
    """`function(start, stop)` for every part of `size` of `count` entries, in order."""
    starts = range(0, count, size)
    stops = [min(a + size, count) for a in starts]
    if workers is None or len(starts) == 1:
        return [function(a, b) for a, b in zip(starts, stops, strict=True)]
    return list(workers.map(function, starts, stops))


def is_compiled_for(x: Tensor) -> bool:
    """Whether passes over `x` are compiled ones."""
    return kernels is not None and x.device.type == "cpu"


def _flat(x: Tensor) -> np.ndarray:
    """The numbers of a contiguous tensor, complex ones as pairs."""
    return x.numpy().reshape(-1).view(_numpy(x.dtype.to_real()))


@cache
def _numpy(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype
