"""Biased single-flip Metropolis on the CPU: 64 walkers advance together, one SIMD lane each.

Occupations are bytes 0 and 1, so a product of spins is the parity of an exclusive or, and a
cluster count is a sum of bytes. Fields and energies are integers. No step uses reassociating
floating-point flags: a walker's history does not depend on its lane or on its neighbours.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from sampling.hamiltonian import ClusterHamiltonian

LANES = 64
_LANES = np.uint64(LANES)  # Unsigned indices spare the test for negative ones in every loop.
NAME = "numba-metropolis-1"

_UNROLLED = {2: 6, 3: 3, 4: 2}
"""Rows of one order added up per pass: six neighbours each time."""


class Tables(NamedTuple):
    """A Hamiltonian as the kernel reads it; site N is an empty one that fills up rows.

    Attributes:
        neighbours: other sites of every cluster, orbit after orbit, int32 [site, entry].
        order: sites per cluster, int64 [orbit].
        rows: clusters around a site, the fillers included, int64 [orbit].
        slope: flip cost per odd cluster, in quanta, int32 [orbit].
        offset: flip cost of a site all of whose clusters are even, in quanta.
        quantum: eV.
        sublattice: int32 [site].
        tally: scratch for cluster counts, uint8 or, above 255 rows, uint16 [lane].
    """

    neighbours: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    slope: np.ndarray
    offset: np.int32
    quantum: np.float32
    sublattice: np.ndarray
    tally: np.ndarray


class Walkers(NamedTuple):
    """State and conditions of the walkers, 64 to a pack; changed in place.

    Attributes:
        occupation: uint8 [pack, site + 1, lane].
        filled: occupied sites of each sublattice, exact, float32 [pack, sublattice, lane].
        energy: int64 quanta [pack, lane].
        accepted: int64 [pack, lane].
        state: of the generators, uint32 [pack, 4, lane].
        beta: 1/k_BT (1/eV), float32 [pack, lane].
        slope: bias per occupied site t when filling s (eV), float32 [pack, s, t, lane].
        offset: bias of filling s in an empty box (eV), float32 [pack, s, lane].
        self_term: bias due to one site alone (eV), float32 [pack, s, lane].
    """

    occupation: np.ndarray
    filled: np.ndarray
    energy: np.ndarray
    accepted: np.ndarray
    state: np.ndarray
    beta: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    self_term: np.ndarray


def tables(hamiltonian: ClusterHamiltonian) -> Tables:
    """The Hamiltonian's tables, point clusters folded into the offset."""
    sites = len(hamiltonian.supercell.sites)
    orbits = [orbit for orbit in hamiltonian.orbits if orbit.order > 1]
    padded = [_padded(orbit.others, sites, _UNROLLED.get(orbit.order, 1)) for orbit in orbits]
    rows = np.array([len(p[0]) for p in padded], dtype=np.int64)
    flat = [p.reshape(sites, -1) for p in padded]
    return Tables(
        neighbours=np.concatenate([np.zeros((sites, 0), np.int32), *flat], axis=1),
        order=np.array([orbit.order for orbit in orbits], dtype=np.int64),
        rows=rows,
        slope=np.array([4 * orbit.quanta for orbit in orbits], dtype=np.int32),
        offset=np.int32(sum(-2 * orbit.quanta * orbit.rows for orbit in hamiltonian.orbits)),
        quantum=np.float32(hamiltonian.quantum),
        sublattice=hamiltonian.supercell.sublattice.astype(np.int32),
        tally=np.zeros(LANES, np.uint8 if rows.max(initial=0) < 256 else np.uint16),
    )


def _padded(others: np.ndarray, filler: int, multiple: int) -> np.ndarray:
    missing = -others.shape[1] % multiple
    return np.pad(others, ((0, 0), (0, missing), (0, 0)), constant_values=filler)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def run(
    tables: Tables,
    walkers: Walkers,
    order_state: np.ndarray,
    burn_in: int,
    stride: int,
    filled: np.ndarray,
    energy: np.ndarray,
) -> None:
    """Advance every walker by `burn_in` sweeps, then by `stride` more before each record.

    A sweep tries every site once, in a fresh random order that all walkers share.

    Args:
        tables: the Hamiltonian.
        walkers: changed in place.
        order_state: generator of the site orders, uint32 [4]; every pack starts from it.
        burn_in: sweeps before the first record's own.
        stride: sweeps per record.
        filled: records of the sublattice counts, int32 [pack, sample, sublattice, lane].
        energy: records of the energies in quanta, int64 [pack, sample, lane].
    """
    sites = tables.neighbours.shape[0]
    samples = filled.shape[1]
    for pack in range(filled.shape[0]):
        order = np.arange(sites)
        generator = order_state.copy()
        for sample in range(samples):
            for _ in range(stride + (burn_in if sample == 0 else 0)):
                _shuffle(order, generator)
                _sweep(tables, walkers, pack, order)
            for sublattice in range(filled.shape[2]):
                for lane in range(LANES):
                    filled[pack, sample, sublattice, lane] = np.int32(
                        walkers.filled[pack, sublattice, lane]
                    )
            for lane in range(LANES):
                energy[pack, sample, lane] = walkers.energy[pack, lane]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _sweep(tables: Tables, walkers: Walkers, pack: int, order: np.ndarray) -> None:
    occupation = walkers.occupation[pack].reshape(-1)
    filled = walkers.filled[pack].reshape(-1)
    state = walkers.state[pack].reshape(-1)
    offset, slope, self_term = walkers.offset[pack], walkers.slope[pack], walkers.self_term[pack]
    energy, accepted, beta = walkers.energy[pack], walkers.accepted[pack], walkers.beta[pack]
    cost = np.empty(LANES, np.int32)
    bias = np.empty(LANES, np.float32)
    random = np.empty(LANES, np.uint32)
    step = np.empty(LANES, np.int32)
    parity = np.empty(LANES, np.uint8)
    for site in order:
        own = np.uint64(site) * _LANES
        sublattice = tables.sublattice[site]
        mine = np.uint64(sublattice) * _LANES
        _filling_cost(tables, tables.neighbours[site], occupation, tables.tally, parity, cost)
        _filling_bias(offset[sublattice], slope[sublattice], filled, bias)
        alone = self_term[sublattice]
        xoshiro128pp(state, random)
        # Small loops over few arrays each: LLVM gives up on one loop over all of them.
        for i in range(_LANES):
            step[i] = np.int32(1) - np.int32(2) * np.int32(occupation[own + i])
        for i in range(_LANES):
            cost[i] = np.int32(cost[i] * step[i])
        for i in range(_LANES):
            bias[i] = -beta[i] * (
                np.float32(cost[i]) * tables.quantum + (np.float32(step[i]) * bias[i] + alone[i])
            )
        for i in range(_LANES):
            uniform = (np.float32(random[i]) + np.float32(0.5)) * np.float32(2.0**-32)
            random[i] = np.uint32(uniform < exponential(min(bias[i], np.float32(1.0))))
        for i in range(_LANES):
            occupation[own + i] ^= np.uint8(random[i])
        for i in range(_LANES):
            step[i] *= np.int32(random[i])
        for i in range(_LANES):
            filled[mine + i] += np.float32(step[i])
        for i in range(_LANES):
            energy[i] += np.int64(np.int32(cost[i] * np.int32(random[i])))
        for i in range(_LANES):
            accepted[i] += np.int64(random[i])


@njit(inline="always", nogil=True, error_model="numpy")
@no_type_check
def _filling_cost(
    tables: Tables,
    near: np.ndarray,
    occupation: np.ndarray,
    count: np.ndarray,
    parity: np.ndarray,
    cost: np.ndarray,
) -> None:
    """Energy in quanta of turning an empty site with these neighbours into a filled one."""
    begin = 0
    for i in range(_LANES):
        cost[i] = tables.offset
    for orbit in range(len(tables.order)):
        others = tables.order[orbit] - 1
        end = begin + tables.rows[orbit] * others
        for i in range(_LANES):
            count[i] = 0
        if others <= 3:
            _count_odd_unrolled(occupation, near, begin, end, others, count)
        else:
            _count_odd(occupation, near, begin, end, others, parity, count)
        begin = end
        slope = tables.slope[orbit]
        for i in range(_LANES):
            cost[i] += np.int32(slope * np.int32(count[i]))


@njit(inline="always", nogil=True, error_model="numpy")
@no_type_check
def _count_odd_unrolled(
    occupation: np.ndarray, near: np.ndarray, begin: int, end: int, others: int, count: np.ndarray
) -> None:
    """Add the clusters with an odd number of filled other sites: one, two or three others."""
    for first in range(begin, end, 6):
        a = np.uint64(near[first]) * _LANES
        b = np.uint64(near[first + 1]) * _LANES
        c = np.uint64(near[first + 2]) * _LANES
        d = np.uint64(near[first + 3]) * _LANES
        e = np.uint64(near[first + 4]) * _LANES
        f = np.uint64(near[first + 5]) * _LANES
        if others == 1:
            for i in range(_LANES):
                count[i] += (
                    (occupation[a + i] + occupation[b + i])
                    + (occupation[c + i] + occupation[d + i])
                    + (occupation[e + i] + occupation[f + i])
                )
        elif others == 2:
            for i in range(_LANES):
                count[i] += (
                    (occupation[a + i] ^ occupation[b + i])
                    + (occupation[c + i] ^ occupation[d + i])
                    + (occupation[e + i] ^ occupation[f + i])
                )
        else:
            for i in range(_LANES):
                count[i] += (occupation[a + i] ^ occupation[b + i] ^ occupation[c + i]) + (
                    occupation[d + i] ^ occupation[e + i] ^ occupation[f + i]
                )


@njit(inline="always", nogil=True, error_model="numpy")
@no_type_check
def _count_odd(
    occupation: np.ndarray,
    near: np.ndarray,
    begin: int,
    end: int,
    others: int,
    parity: np.ndarray,
    count: np.ndarray,
) -> None:
    """Add the clusters with an odd number of filled other sites: any number of others."""
    for first in range(begin, end, others):
        for i in range(_LANES):
            parity[i] = 0
        for k in range(first, first + others):
            a = np.uint64(near[k]) * _LANES
            for i in range(_LANES):
                parity[i] ^= occupation[a + i]
        for i in range(_LANES):
            count[i] += parity[i]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _filling_bias(
    offset: np.ndarray, slope: np.ndarray, filled: np.ndarray, bias: np.ndarray
) -> None:
    """Umbrella energy (eV) of one more filled site, without its self term."""
    for i in range(_LANES):
        bias[i] = offset[i]
    for other in range(slope.shape[0]):
        theirs = np.uint64(other) * _LANES
        weight = slope[other]
        for i in range(_LANES):
            bias[i] += weight[i] * filled[theirs + i]


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
def _shuffle(order: np.ndarray, state: np.ndarray) -> None:
    """Fisher–Yates shuffle in place."""
    out = np.empty(1, np.uint32)
    for i in range(len(order) - 1, 0, -1):
        xoshiro128pp(state, out)
        j = (np.uint64(out[0]) * np.uint64(i + 1)) >> np.uint64(32)
        order[i], order[j] = order[j], order[i]
