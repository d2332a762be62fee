"""Random numbers, exponential and logarithm as the compiled kernels use them, bit for bit the same.

No step uses reassociating floating-point flags, so results do not depend on vectorisation.
"""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def xoshiro128pp(state: np.ndarray, out: np.ndarray) -> None:
    """One step of xoshiro128++ per lane (Blackman & Vigna 2021, doi:10.1145/3460772).

    Args:
        state: four words per lane, word after word, uint32 [4 * lane]; changed in place.
        out: uint32 [lane].
    """
    lanes = np.uint64(len(out))
    two, three = np.uint64(2) * lanes, np.uint64(3) * lanes
    for i in range(lanes):
        s0, s1, s2, s3 = state[i], state[lanes + i], state[two + i], state[three + i]
        total = np.uint32(s0 + s3)
        out[i] = (
            np.uint32(np.uint32(total << np.uint32(7)) | np.uint32(total >> np.uint32(25))) + s0
        )
        shifted = np.uint32(s1 << np.uint32(9))
        s2 ^= s0
        s3 ^= s1
        state[i] = s0 ^ s3
        state[lanes + i] = s1 ^ s2
        state[two + i] = s2 ^ shifted
        state[three + i] = np.uint32(s3 << np.uint32(11)) | np.uint32(s3 >> np.uint32(21))


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def exponential(x: np.float32) -> np.float32:
    """Single-precision exp for −87 ≤ x ≤ 87, below it exp(−87): LLVM vectorises it, not libm's.

    exp x = 2ⁿ eʳ with |r| ≤ ½ ln 2 and a Taylor polynomial of degree 7 for eʳ; the relative
    error stays below 2e-7.
    """
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    # ln 2 in two parts, the first short enough for n times it to be exact.
    r = x - n * np.float32(0.693359375)
    r = r + n * np.float32(2.1219444005469057e-4)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(0.5)
    p = p * r * r + r + np.float32(1.0)
    bits = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * bits.view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def shuffle(order: np.ndarray, state: np.ndarray) -> None:
    """Fisher–Yates shuffle in place."""
    out = np.empty(1, np.uint32)
    for i in range(len(order) - 1, 0, -1):
        xoshiro128pp(state, out)
        j = (np.uint64(out[0]) * np.uint64(i + 1)) >> np.uint64(32)
        order[i], order[j] = order[j], order[i]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def minus_log(x: np.float32) -> np.float32:
    """−ln x of a normal x > 0, in single precision and free of branches, so that LLVM vectorises.

    x = 2ⁿ m with ½ ≤ m² < 2, ln m = 2 artanh z with z = (m − 1)/(m + 1), |z| < 0.172, and the
    series of artanh to z⁹; the error stays below 2e-7 (1 + |ln x|).
    """
    bits = np.float32(x).view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    mantissa_bits = np.int32(bits - np.int32(exponent << np.int32(23)))
    m = mantissa_bits.view(np.float32)
    z = (m - np.float32(1)) / (m + np.float32(1))
    w = z * z
    series = w * np.float32(1 / 9) + np.float32(1 / 7)
    series = series * w + np.float32(1 / 5)
    series = series * w + np.float32(1 / 3)
    series = np.float32(2) * z * (series * w + np.float32(1))
    return -(np.float32(exponent) * np.float32(0.6931471805599453) + series)
