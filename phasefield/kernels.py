"""Passes over fields, compiled: entries `start` to `stop` of flat arrays, without the GIL."""

import math
from collections.abc import Callable
from typing import no_type_check

import numba
import numpy as np

from idnn.vectors import widest

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
    widest()
    for i in range(np.uintp(start), np.uintp(stop)):
        re = np.uintp(2) * i
        im = re + np.uintp(1)
        real, imaginary = out.dtype.type(0), out.dtype.type(0)
        for j in range(len(c)):
            factor = c[j][i] * s[j]
            real += factor * x[j][re]
            imaginary += factor * x[j][im]
        out[re], out[im] = real, imaginary


@compiled
@no_type_check
def combine_real(
    c: tuple[np.ndarray, ...], s: tuple[float, ...], x: tuple[np.ndarray, ...], out: np.ndarray,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Out = Σⱼ cⱼ sⱼ xⱼ."""
    widest()
    for i in range(np.uintp(start), np.uintp(stop)):
        total = out.dtype.type(0)
        for j in range(len(c)):
            total += c[j][i] * s[j] * x[j][i]
        out[i] = total


@compiled
@no_type_check
def dot_complex(weight: np.ndarray, x: np.ndarray, y: np.ndarray, start: int, stop: int) -> float:
    """Σ weight Re(x̄ y), x and y as pairs."""
    widest()
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        re = np.uintp(2) * i
        im = re + np.uintp(1)
        total += weight[i] * (x[re] * y[re] + x[im] * y[im])
    return total


@compiled
@no_type_check
def dot_real(weight: np.ndarray, x: np.ndarray, y: np.ndarray, start: int, stop: int) -> float:
    """Σ weight x y."""
    widest()
    total = 0.0
    for i in range(np.uintp(start), np.uintp(stop)):
        total += weight[i] * x[i] * y[i]
    return total


@compiled
@no_type_check
def mixed(
    first: np.ndarray, others: tuple[np.ndarray, ...], weights: tuple[np.ndarray, ...],
    x: np.ndarray, out: np.ndarray, start: int, stop: int,
) -> None:  # fmt: skip
    """Out = (A₀ + Σₘ wₘ Aₘ) x, of 6 × 6 matrices."""
    widest()
    for cell in range(np.uintp(start), np.uintp(stop)):
        for i in range(6):
            total = out.dtype.type(0)
            for j in range(6):
                factor = first[i, j]
                for m in range(len(weights)):
                    factor += weights[m][cell] * others[m][i, j]
                total += factor * x[j, cell]
            out[i, cell] = total


LANES = 64
"""Largest entries that are sought side by side."""


@compiled
@no_type_check
def largest(x: np.ndarray, start: int, stop: int) -> float:
    """Max |x|; NaN if any entry is not finite."""
    widest()
    most, wrong = np.zeros(LANES, x.dtype), np.zeros(LANES, x.dtype)
    whole = start + (stop - start) // LANES * LANES
    for first in range(start, whole, LANES):
        for lane in range(np.uintp(LANES)):
            size = abs(x[np.uintp(first) + lane])
            most[lane] = size if size > most[lane] else most[lane]
            wrong[lane] += size * x.dtype.type(0)
    for i in range(whole, stop):
        size = abs(x[i])
        most[0] = max(most[0], size)
        wrong[0] += size * x.dtype.type(0)
    return most.max() + wrong.sum()


@compiled
@no_type_check
def select(d: float, a: float, b: float) -> float:
    """The first where d > 0, the other elsewhere."""
    return a if d > 0.0 else b


@compiled
@no_type_check
def at_least(x: float, a: float) -> float:
    """The larger; `a` where x is NaN."""
    return x if x > a else a


@compiled
@no_type_check
def xlogx(x: float) -> float:
    """X ln x; 0 at 0, NaN below."""
    return 0.0 if x == 0.0 else x * math.log(x)


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
        widest()
        total, size = 0.0, 0.0
        for i in range(np.uintp(start), np.uintp(stop)):
            found = evaluate(u, i)
            total += found[0]
            size += abs(found[0])
            for j in range(fields):
                u[j, i] = found[1 + j] - s[j] * u[j, i]
        return total, size

    return pass_over
