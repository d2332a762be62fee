"""Compiled parts of Ewald's sum: the charges of guests with each other."""

import math
from typing import no_type_check

import numpy as np
from numba import njit

from idnn.adsorption.ewald_kernel import NEAREST
from sampling.adsorption.tables import Box, Chain


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def screened_energy(box: Box, place: np.ndarray, begin: int, end: int, trial: np.ndarray) -> float:
    """Σ qq′ erfc(αr)/r (K) of a molecule's sites with those of molecules begin … end − 1."""
    total = 0.0
    m = box.metric
    for s in range(len(box.kind)):
        for t in range(len(box.kind)):
            product = box.charge[s] * box.charge[t]
            if product == 0:
                continue
            for j in range(begin, end):
                u = place[t, 0, j] - trial[s, 0]
                v = place[t, 1, j] - trial[s, 1]
                w = place[t, 2, j] - trial[s, 2]
                u -= np.rint(u)
                v -= np.rint(v)
                w -= np.rint(w)
                r2 = u * (m[0, 0] * u + 2 * m[0, 1] * v) + v * (m[1, 1] * v + 2 * m[1, 2] * w)
                r2 += w * (m[2, 2] * w + 2 * m[0, 2] * u)
                if r2 < box.cutoff2:
                    r = max(math.sqrt(r2), NEAREST)
                    total += product * math.erfc(box.alpha * r) / r
    return total


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def add_waves(box: Box, chain: Chain, trial: np.ndarray, sign: float) -> None:
    """Add to `chain.change` the waves of a molecule's charges, times the sign."""
    most = chain.phase.shape[1] // 2
    for s in range(len(box.kind)):
        for axis in range(3):
            angle = 2 * np.pi * trial[s, axis]
            step = complex(np.cos(angle), np.sin(angle))
            chain.phase[axis, most] = 1
            for n in range(1, most + 1):
                power = chain.phase[axis, most + n - 1] * step
                chain.phase[axis, most + n] = power
                chain.phase[axis, most - n] = np.conj(power)
        scale = sign * box.charge[s]
        for k in range(len(box.wave)):
            a, b, c = box.wave[k, 0] + most, box.wave[k, 1] + most, box.wave[k, 2] + most
            chain.change[k] += scale * chain.phase[0, a] * chain.phase[1, b] * chain.phase[2, c]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def wave_cost(box: Box, chain: Chain) -> float:
    """What `chain.change` would add to the energy of the waves (K)."""
    total = 0.0
    for k in range(len(box.wave)):
        s, d = chain.amplitude[k], chain.change[k]
        total += box.weight[k] * (d.real * (2 * s.real + d.real) + d.imag * (2 * s.imag + d.imag))
    return total
