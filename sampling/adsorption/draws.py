"""Compiled random draws: numbers, places to insert a molecule, shifts and turns."""

from typing import no_type_check

import numpy as np
from numba import njit

from sampling.adsorption.tables import Box, Places

UNIFORM = 0.1
"""Share of insertions that are tried anywhere, so that no place is left out."""


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def trial_density(box: Box, places: Places, trial: np.ndarray) -> float:
    """How much denser than uniformly insertions are tried at a place."""
    cell = 0
    for axis in range(3):
        x = trial[0, axis] * box.copies[axis]
        n = places.shape[axis]
        cell = cell * n + min(np.int64((x - np.floor(x)) * n), n - 1)
    return UNIFORM + (1 - UNIFORM) * places.density[cell]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def draw_place(box: Box, places: Places, state: np.ndarray, trial: np.ndarray) -> None:
    """The centre of a molecule to insert."""
    if uniform(state) < UNIFORM:
        for axis in range(3):
            trial[0, axis] = uniform(state)
        return
    cell = pick(state, len(places.chance))
    if uniform(state) >= places.chance[cell]:
        cell = places.alias[cell]
    for axis in range(2, -1, -1):
        n = places.shape[axis]
        within = (cell % n + uniform(state)) / n
        trial[0, axis] = (pick(state, box.copies[axis]) + within) / box.copies[axis]
        cell //= n


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def turn_freely(box: Box, state: np.ndarray, trial: np.ndarray) -> None:
    """Give a molecule any orientation: a uniform unit quaternion (Shoemake 1992)."""
    if len(box.kind) == 1:
        return
    first = uniform(state)
    one, two = 2 * np.pi * uniform(state), 2 * np.pi * uniform(state)
    low, high = np.sqrt(1 - first), np.sqrt(first)
    x, y, z, w = low * np.sin(one), low * np.cos(one), high * np.sin(two), high * np.cos(two)
    for s in range(1, len(box.kind)):
        a, b, c = box.arm[s]
        # v + 2 q × (q × v + w v)
        u0, u1, u2 = y * c - z * b + w * a, z * a - x * c + w * b, x * b - y * a + w * c
        arm = (
            a + 2 * (y * u2 - z * u1),
            b + 2 * (z * u0 - x * u2),
            c + 2 * (x * u1 - y * u0),
        )
        for axis in range(3):
            trial[s, axis] = trial[0, axis] + (
                arm[0] * box.inverse[0, axis]
                + arm[1] * box.inverse[1, axis]
                + arm[2] * box.inverse[2, axis]
            )


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def turn_slightly(box: Box, state: np.ndarray, largest: float, trial: np.ndarray) -> None:
    """Turn a molecule about an axis of any direction by an angle up to the largest."""
    z, phi = 2 * uniform(state) - 1, 2 * np.pi * uniform(state)
    flat = np.sqrt(1 - z * z)
    axis = (flat * np.cos(phi), flat * np.sin(phi), z)
    angle = largest * (2 * uniform(state) - 1)
    cosine, sine = np.cos(angle), np.sin(angle)
    for s in range(1, len(trial)):
        arm = (trial[s] - trial[0]) @ box.lattice
        along = axis[0] * arm[0] + axis[1] * arm[1] + axis[2] * arm[2]
        cross = (
            axis[1] * arm[2] - axis[2] * arm[1],
            axis[2] * arm[0] - axis[0] * arm[2],
            axis[0] * arm[1] - axis[1] * arm[0],
        )
        for k in range(3):
            arm[k] = cosine * arm[k] + sine * cross[k] + (1 - cosine) * along * axis[k]
        trial[s] = trial[0] + arm @ box.inverse


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def shift_slightly(box: Box, state: np.ndarray, largest: float, trial: np.ndarray) -> None:
    """Shift a molecule by up to the largest step along each Cartesian axis."""
    shift = np.empty(3)
    for k in range(3):
        shift[k] = largest * (2 * uniform(state) - 1)
    for axis in range(3):
        moved = (
            shift[0] * box.inverse[0, axis]
            + shift[1] * box.inverse[1, axis]
            + shift[2] * box.inverse[2, axis]
        )
        moved -= np.floor(trial[0, axis] + moved)
        for s in range(len(trial)):
            trial[s, axis] += moved


@njit(inline="always")
@no_type_check
def pick(state: np.ndarray, count: int) -> int:
    """One of 0 … count − 1."""
    return min(np.int64(uniform(state) * count), count - 1)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def uniform(state: np.ndarray) -> float:
    """In [0, 1): the upper 53 bits of xoshiro256++ (Blackman & Vigna 2021, doi:10.1145/3460772)."""
    total = state[0] + state[3]
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return np.float64(word >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def aliases(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chances and aliases for weights of mean one (Walker 1977, doi:10.1145/355744.355749)."""
    chance, alias = weight.copy(), np.arange(len(weight))
    small, large = np.empty(len(weight), np.int64), np.empty(len(weight), np.int64)
    poor = rich = 0
    for i in range(len(weight)):
        if chance[i] < 1:
            small[poor] = i
            poor += 1
        else:
            large[rich] = i
            rich += 1
    while poor and rich:
        poor -= 1
        i, j = small[poor], large[rich - 1]
        alias[i] = j
        chance[j] -= 1 - chance[i]
        if chance[j] < 1:
            rich -= 1
            small[poor] = j
            poor += 1
    for n in range(poor):
        chance[small[n]] = 1
    for n in range(rich):
        chance[large[n]] = 1
    return chance, alias
