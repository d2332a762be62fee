"""Passes over whole fields that read and write each number once.

On a CPU numba compiles them, on a GPU torch does (its compiler, Triton); without numba torch runs
them on a CPU term by term. All give the same numbers to rounding.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.runtime import compiled_by_torch

kernels: Any
try:
    from phasefield import kernels
except ModuleNotFoundError:  # a GPU node may hold torch and numpy alone
    kernels = None

Term = tuple[Tensor, float, Tensor]
"""c(k), s, x̂(k)."""

PART = 2**16
"""Entries in one part of a field: a thread's unit of work, and of every sum."""

CELLS_PER_PART = 8192
"""Cells on which torch works at once on a CPU where several passes have temporaries: these stay in
its cache."""

PART_ON_GPU = 2**24
"""Entries in one part where temporaries would fill a GPU's memory."""


def combine(terms: Sequence[Term], workers: Executor | None = None) -> Tensor:
    """Σⱼ cⱼ sⱼ x̂ⱼ; all of one shape, c real."""
    first = terms[0][2]
    if not is_compiled_for(first):
        c, s, x = zip(*terms, strict=True)
        scalars = _on(first.device, first.real.dtype, s)
        combined = _best(_combine, first, len(terms))
        sums = combined(list(map(_numbers, c)), scalars, list(map(_numbers, x)))
        return (torch.view_as_complex(sums) if first.is_complex() else sums[..., 0]).view_as(first)
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
        pass_over = _best_of_size(_dot_of(_width(x.numel())), x)
        return pass_over(*map(_numbers, (weight, x, y)))
    pass_over = kernels.dot_complex if x.is_complex() else kernels.dot_real
    w, one, other = _flat(weight), _flat(x), _flat(y)
    sums = over_parts(lambda a, b: pass_over(w, one, other, a, b), x.numel(), workers)
    return torch.tensor(sum(sums), dtype=torch.float64)


def mixed(
    matrices: Sequence[Float[Tensor, "6 6"]],
    weights: Sequence[Float[Tensor, " cell"]],
    x: Float[Tensor, "6 cell"],
    workers: Executor | None = None,
) -> Float[Tensor, "6 cell"]:
    """(A₀ + Σⱼ wⱼ Aⱼ) x on every cell."""
    out, (first, *others) = torch.empty_like(x), [matrix.to(x) for matrix in matrices]
    if is_compiled_for(x) and others:
        a, w = (tuple(each.numpy() for each in some) for some in (others, weights))
        arguments = (first.numpy(), a, w, x.numpy(), out.numpy())
        over_parts(lambda a, b: kernels.mixed(*arguments, a, b), x.shape[1], workers)
        return out
    for part in parts(x):
        found = first @ x[:, part]
        for weight, other in zip(weights, others, strict=True):
            found.addcmul_(weight[part], other @ x[:, part])
        out[:, part] = found
    return out


def largest(u: Tensor, workers: Executor | None = None) -> Float[Tensor, ""]:
    """max |u|; NaN if any entry is."""
    if not is_compiled_for(u):
        return _best(_largest, u)(u)
    x = _flat(u)
    sizes = over_parts(lambda a, b: kernels.largest(x, a, b), u.numel(), workers)
    return torch.tensor(np.max(sizes), dtype=u.dtype)


def sweep(
    point: Callable[..., Sequence[Any]],
    u: Float[Tensor, "field *space"],
    s: Float[Tensor, " field"],
    scale: float = 1.0,
) -> tuple[Float[Tensor, "field *space"], Float[Tensor, ""], Float[Tensor, ""]]:
    """∂f/∂vⱼ − sⱼvⱼ at v = scale u, and Σf and Σ|f| in float64.

    Args:
        point: fields ↦ f and all ∂f/∂vⱼ, which torch can compile; compiled once if it is the same.
        u: the fields.
        s: one number for each.
        scale: of them.
    """
    out, factor = torch.empty_like(u), _on(u.device, u.dtype, (scale,))
    rows = [list(each.view(len(u), -1).unbind()) for each in (u, out)]
    pass_over = _best_of_size(_sweep_of(point, _width(rows[0][0].numel())), u)
    return out, *pass_over(*rows, s.to(u.dtype), factor)


def over_parts(
    function: Callable[[int, int], Any], count: int, workers: Executor | None, size: int = PART
) -> list[Any]:
    """`function(start, stop)` for every part of `size` of `count` entries, in order."""
    starts = range(0, count, size)
    stops = [min(a + size, count) for a in starts]
    if workers is None or len(starts) == 1:
        return [function(a, b) for a, b in zip(starts, stops, strict=True)]
    return list(workers.map(function, starts, stops))


def parts(x: Tensor) -> list[slice]:
    """Of the last axis: short ones on a CPU, all of it on a GPU."""
    size = CELLS_PER_PART if x.is_cpu else x.shape[-1]
    return [slice(start, start + size) for start in range(0, x.shape[-1], size)]


def is_compiled_for(x: Tensor) -> bool:
    """Whether passes over `x` are compiled ones."""
    return kernels is not None and x.device.type == "cpu"


@no_type_check
def _combine(c, s, x):  # noqa: ANN001, ANN202
    total = s[0] * c[0] * x[0]
    for j in range(1, len(c)):
        total = total + s[j] * c[j] * x[j]
    return total


@cache
def _dot_of(width: int) -> Callable:
    @no_type_check
    def pass_over(weight, x, y):  # noqa: ANN001, ANN202
        product = weight.view(-1, width, 1) * x.view(-1, width, x.shape[1])
        product = product * y.view(-1, width, y.shape[1])
        return product.sum((1, 2), dtype=torch.float64).sum()

    return pass_over


@no_type_check
def _largest(u):  # noqa: ANN001, ANN202
    return u.abs().max()


@cache
def _sweep_of(point: Callable[..., Sequence[Any]], width: int) -> Callable:
    @no_type_check
    def pass_over(u, out, s, scale):  # noqa: ANN001, ANN202
        v = [scale[0] * each.view(-1, width) for each in u]
        value, *slopes = point(*v)
        value = value + torch.zeros_like(v[0])  # it may be a number
        for j, slope in enumerate(slopes):
            out[j].view(-1, width).copy_(slope - s[j] * v[j])
        each = [x.sum(1, dtype=torch.float64) for x in (value, value.abs())]
        return each[0].sum(), each[1].sum()

    return pass_over


def _width(count: int) -> int:
    """Entries summed in a first round: a divisor of `count` that suits a GPU, if there is one.

    That round can then be part of the pass that makes what is summed.
    """
    width = math.gcd(count, 1024)
    return width if width >= 64 else count


def _best(function: Callable, x: Tensor, *kind: int) -> Callable:
    """The function for numbers like `x`, compiled if these are on a GPU."""
    return compiled_by_torch(function, x.dtype, *kind) if x.is_cuda else function


def _best_of_size(function: Callable, x: Tensor) -> Callable:
    """The same for just as many numbers, as sums in two rounds need it to become one pass."""
    if not x.is_cuda:
        return function
    return compiled_by_torch(function, x.dtype, x.numel(), any_size=False)


@cache
def _on(device: torch.device, dtype: torch.dtype, numbers: tuple[float, ...]) -> Tensor:
    """Numbers on a device, kept for ever: a copy would wait for it, recorded graphs read them."""
    return torch.tensor(numbers, dtype=dtype, device=device)


def _numbers(x: Tensor) -> Float[Tensor, "entry part"]:
    """A row for every entry: one number, or two of a complex one."""
    return torch.view_as_real(x).view(-1, 2) if x.is_complex() else x.reshape(-1, 1)


def _flat(x: Tensor) -> np.ndarray:
    """The numbers of a contiguous tensor, complex ones as pairs."""
    return x.numpy().reshape(-1).view(_numpy(x.dtype.to_real()))


@cache
def _numpy(dtype: torch.dtype) -> np.dtype:
    return torch.empty(0, dtype=dtype).numpy().dtype
