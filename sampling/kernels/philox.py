"""Counter-based random numbers in torch integers: the same on every device."""

from typing import no_type_check

import torch
from torch import Tensor

LOW = 0xFFFFFFFF
"""Mask of the lower 32 bits."""


@no_type_check
def uniform_words(
    rows: int, quads: Tensor, key: Tensor, place: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Uniform 32-bit integers, int64 [row, walker].

    Args:
        rows: how many numbers for each walker.
        quads: 0, 1, 2, … for at least a quarter of the rows. Made outside of what is compiled,
            where torch takes an integer range for an index of 32 bits.
        key: two words below 2³² for each walker, int64 [2, walker].
        place: three words below 2³² that name the draw, of one element or [walker].
    """
    quad = quads[: -(-rows // 4), None]
    return torch.cat(philox((quad, *place), (key[0], key[1])))[:rows]


@no_type_check
def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Philox 4×32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405) on integers held in int64.

    Args:
        counter: four words below 2³², of shapes that broadcast.
        key: two words below 2³².

    Returns:
        Four words below 2³².
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        # A product of two 32-bit words overflows into the sign; its bits are right all the same.
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32 & LOW) ^ b ^ k0, q & LOW, (p >> 32 & LOW) ^ d ^ k1, p & LOW
        k0, k1 = k0 + 0x9E3779B9 & LOW, k1 + 0xBB67AE85 & LOW
    return a, b, c, d
