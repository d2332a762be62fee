"""Passes over fields, compiled: entries `start` to `stop` of flat arrays, without the GIL."""

import math
from collections.abc import Callable
from typing import no_type_check

import numba
import numpy as np

OPTIONS = {
    "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}  # fmt: skip
"""Sums may be reordered within a part; NaN and infinity keep their meaning."""

compiled = numba.njit(cache=True, **OPTIONS)
compiled_anew = numba.njit(**OPTIONS)
"""For functions that have no file."""


@compiled
@no_type_check
def combine_complex(
    c: tuple[np.ndarray, ...], s: tuple[float, ...], x: tuple[np.ndarray, ...], out: np.ndarray,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Out = Σⱼ cⱼ sⱼ xⱼ, x and out as pairs."""
    for i in range(np.uintp(start), np.uintp(stop)):
        real, imaginary = out.dtype.type(0), out.dtype.type(0)
        for j in range(len(c)):
            factor = c[j][i] * s[j]
            real += factor * x[j][i, 0]
            imaginary += factor * x[j][i, 1]
        out[i, 0], out[i, 1] = real, imaginary


@compiled
@no_type_check
def combine_real(
    c: tuple[np.ndarray, ...], s: tuple[float, ...], x: tuple[np.ndarray, ...], out: np.ndarray,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Out = Σⱼ cⱼ sⱼ xⱼ."""
    for i in range(np.uintp(start), np.uintp(stop)):
        total = out.dtype.type(0)
        for j in range(len(c)):
            total += c[j][i] * s[j] * x[j][i]
        out[i] = total


@compiled
@no_type_check
def dot_complex(weight: np.ndarray, x: np.ndarray, y: np.ndarray, start: int, stop: int) -> float:
    """Σ weight Re(x̄ y), x and y as pairs."""
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        total += weight[i] * (x[i, 0] * y[i, 0] + x[i, 1] * y[i, 1])
    return total


@compiled
@no_type_check
def dot_real(weight: np.ndarray, x: np.ndarray, y: np.ndarray, start: int, stop: int) -> float:
    """Σ weight x y."""
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        total += weight[i] * x[i] * y[i]
    return total


@compiled
@no_type_check
def largest(x: np.ndarray, start: int, stop: int) -> float:
    """Max |x|; NaN if any entry is not finite."""
    most, wrong = 0.0, 0
    for i in range(np.uintp(start), np.uintp(stop)):
        size = abs(x[i])
        most = max(most, size)
        wrong += not size < math.inf
    return math.nan if wrong else most


def sweep(point: Callable, fields: int) -> Callable[..., tuple[float, float]]:
    """A pass over u [field, cell] that puts ∂f/∂uⱼ − sⱼuⱼ in the place of uⱼ.

    Args:
        point: (u, i) ↦ f and all ∂f/∂uⱼ in cell i, which numba can compile.
        fields: how many uⱼ there are.
    """
    evaluate = compiled_anew(point)

    @compiled_anew
    @no_type_check
    def pass_over(u: np.ndarray, s: np.ndarray, start: int, stop: int) -> tuple[float, float]:
        total, size = 0.0, 0.0
        for i in range(np.uintp(start), np.uintp(stop)):
            found = evaluate(u, i)
            total += found[0]
            size += abs(found[0])
            for j in range(fields):
                u[j, i] = found[1 + j] - s[j] * u[j, i]
        return total, size

    return pass_over
