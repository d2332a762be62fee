"""Biased single-flip Metropolis on the CPU: 64 walkers advance together, one SIMD lane each.

Occupations are bytes 0 and 1, so a product of spins is the parity of an exclusive or, and a
cluster count is a sum of bytes. Fields and energies are integers. No step uses reassociating
floating-point flags: a walker's history does not depend on its lane or on its neighbours.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, no_type_check

import numpy as np
from numba import njit

from idnn.runtime import in_threads
from sampling.hamiltonian import ClusterHamiltonian
from sampling.kernels.draws import exponential, shuffle, xoshiro128pp
from sampling.kernels.fields import neighbours
from sampling.kernels.prefetch import prefetch
from sampling.kernels.vectors import LANES, count_odd, weighted_sum
from sampling.kernels.walkers import Records, Walkers

_CACHE_LINE = 16  # Numbers of 32 bits.
_LANES = np.uint64(LANES)  # Unsigned indices spare the test for negative ones in every loop.
NAME = "numba-metropolis-1"


class Tables(NamedTuple):
    """A Hamiltonian as the kernel reads it.

    Attributes:
        near: distinct neighbours of each site, uint32 [site, neighbour].
        first: where the entries of each sublattice begin, int64 [sublattice + 1].
        others: other sites of every cluster around a site, sublattice after sublattice and orbit
            after orbit, as neighbour numbers, uint32 [entry].
        order: sites per cluster, int64 [orbit].
        rows: clusters around a site, int64 [orbit, sublattice].
        slope: flip cost per odd cluster, in quanta, int32 [orbit].
        offset: flip cost of a site all of whose clusters are even, in quanta, int32 [sublattice].
        quantum: eV.
        sublattice: int32 [site].
        tally: an empty array of the type of cluster counts, uint8 or, above 255 rows, uint16.
    """

    near: np.ndarray
    first: np.ndarray
    others: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    quantum: np.float32
    sublattice: np.ndarray
    tally: np.ndarray


class Pack(NamedTuple):
    """State and conditions of 64 walkers; changed in place.

    Attributes:
        occupation: uint8 [site, lane].
        filled: occupied sites of each sublattice, exact, float32 [sublattice, lane].
        energy: int64 quanta [lane].
        accepted: int64 [lane].
        state: of the generators, uint32 [4, lane].
        beta: 1/k_BT (1/eV), float32 [lane].
        slope: bias per occupied site t when filling s (eV), float32 [s, t, lane].
        offset: bias of filling s in an empty box (eV), float32 [s, lane].
        self_term: bias due to one site alone (eV), float32 [s, lane].
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
    orbits = [orbit for orbit in hamiltonian.orbits if orbit.order > 1]
    near, numbers, _ = neighbours(hamiltonian, orbits, [])
    entries = [
        [number[int(site)] for orbit in orbits for site in orbit.others[s][0].ravel()]
        for s, number in enumerate(numbers)
    ]
    count = np.array([orbit.rows for orbit in orbits]).reshape(-1, len(numbers))
    cost = [np.multiply(orbit.rows, -2 * orbit.quanta) for orbit in hamiltonian.orbits]
    return Tables(
        near=near,
        first=np.cumsum([0, *map(len, entries)]),
        others=np.array([n for mine in entries for n in mine], dtype=np.uint32),
        order=np.array([orbit.order for orbit in orbits], dtype=np.int64),
        rows=count.astype(np.int64),
        slope=np.array([4 * orbit.quanta for orbit in orbits], dtype=np.int32),
        offset=sum(cost, np.zeros(len(numbers), np.int64)).astype(np.int32),
        quantum=np.float32(hamiltonian.quantum),
        sublattice=hamiltonian.supercell.sublattice.astype(np.int32),
        tally=np.zeros(0, np.uint8 if count.max(initial=0) < 256 else np.uint16),
    )


@dataclass(frozen=True)
class Lanes:
    """Single flips of many walkers; a sweep tries every site once, in a fresh random order.

    64 walkers cost what one does; a pack of fewer is filled up with idle ones. A pack takes 64
    bytes per site, and all packs share a table of 4 bytes per site and neighbour.
    """

    words: ClassVar[int] = 4
    conserves: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return NAME

    def advance(
        self,
        hamiltonian: ClusterHamiltonian,
        walkers: Walkers,
        *,
        burn_in: int,
        stride: int,
        samples: int,
        threads: int,
    ) -> Records:
        """Move and record; see `Kernel`."""
        count = len(walkers.occupation)
        records = Records.empty(count, samples, walkers.offset.shape[1])
        known = tables(hamiltonian)
        orders = walkers.order, walkers.order_state

        def job(first: int) -> tuple[np.ndarray, np.ndarray]:
            mine = slice(first, min(first + LANES, count))
            pack = _pack(
                hamiltonian, walkers, np.minimum(np.arange(first, first + LANES), count - 1)
            )
            order, order_state = (array.copy() for array in orders)
            filled = np.zeros((samples, records.filled.shape[2], LANES), np.int32)
            energy = np.zeros((samples, LANES), np.int64)
            run(known, pack, order, order_state, burn_in, stride, filled, energy)
            lanes = mine.stop - first
            walkers.occupation[mine] = pack.occupation[:, :lanes].T
            walkers.state[mine] = pack.state[:, :lanes].T
            records.filled[mine] = np.moveaxis(filled[..., :lanes], -1, 0)
            records.energy[mine] = energy[:, :lanes].T
            records.accepted[mine] = pack.accepted[:lanes]
            return order, order_state

        ended = in_threads(job, range(0, count, LANES), threads)
        walkers.order[:], walkers.order_state[:] = ended[0]
        return records


def _pack(hamiltonian: ClusterHamiltonian, walkers: Walkers, lane: np.ndarray) -> Pack:
    """The walkers of these numbers, one per lane."""
    box = hamiltonian.supercell
    occupation = walkers.occupation[lane]

    def lanes_last(values: np.ndarray, kind: type) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(values, 0, -1), dtype=kind)

    return Pack(
        occupation=lanes_last(occupation, np.uint8),
        filled=lanes_last(box.filled(occupation), np.float32),
        energy=hamiltonian.energy_quanta(occupation),
        accepted=np.zeros(LANES, np.int64),
        state=lanes_last(walkers.state[lane], np.uint32),
        beta=walkers.beta[lane].astype(np.float32),
        slope=lanes_last(walkers.slope[lane], np.float32),
        offset=lanes_last(walkers.offset[lane], np.float32),
        self_term=lanes_last(walkers.self_term[lane], np.float32),
    )


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def run(
    tables: Tables,
    pack: Pack,
    order: np.ndarray,
    order_state: np.ndarray,
    burn_in: int,
    stride: int,
    filled: np.ndarray,
    energy: np.ndarray,
) -> None:
    """Advance a pack by `burn_in` sweeps, then by `stride` more before each record.

    A sweep tries every site once, in a fresh random order that all walkers share.

    Args:
        tables: the Hamiltonian.
        pack: changed in place.
        order: of the sites in the last sweep, int64 [site]; changed in place.
        order_state: generator of the site orders, uint32 [4]; changed in place.
        burn_in: sweeps before the first record's own.
        stride: sweeps per record.
        filled: records of the sublattice counts, int32 [sample, sublattice, lane].
        energy: records of the energies in quanta, int64 [sample, lane].
    """
    for sample in range(filled.shape[0]):
        for _ in range(stride + (burn_in if sample == 0 else 0)):
            shuffle(order, order_state)
            _sweep(tables, pack, order)
        for sublattice in range(filled.shape[1]):
            for lane in range(LANES):
                filled[sample, sublattice, lane] = np.int32(pack.filled[sublattice, lane])
        for lane in range(LANES):
            energy[sample, lane] = pack.energy[lane]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _sweep(tables: Tables, pack: Pack, order: np.ndarray) -> None:
    occupation = pack.occupation.reshape(-1)
    filled = pack.filled.reshape(-1)
    state = pack.state.reshape(-1)
    offset, slope, self_term = pack.offset, pack.slope, pack.self_term
    energy, accepted, beta = pack.energy, pack.accepted, pack.beta
    sublattices = np.int64(pack.filled.shape[0])
    count = np.empty(LANES, tables.tally.dtype)
    cost = np.empty(LANES, np.int32)
    bias = np.empty(LANES, np.float32)
    random = np.empty(LANES, np.uint32)
    step = np.empty(LANES, np.int32)
    flat, degree = tables.near.reshape(-1), np.uint64(tables.near.shape[1])
    for position in range(len(order)):
        site = order[position]
        # In a large box neighbours lie beyond the second cache: ask for the next site's early.
        after = np.uint64(order[min(position + 2, len(order) - 1)]) * degree
        for n in range(np.uint64(0), degree, np.uint64(_CACHE_LINE)):
            prefetch(flat, after + n)
        coming = tables.near[order[min(position + 1, len(order) - 1)]]
        near = tables.near[site]
        for n in range(degree):
            prefetch(occupation, np.uint64(coming[n]) * _LANES)
        own = np.uint64(site) * _LANES
        sublattice = tables.sublattice[site]
        mine = np.uint64(sublattice) * _LANES
        _filling_cost(tables, sublattice, near, occupation, count, cost)
        weighted_sum(offset[sublattice], slope[sublattice], filled, sublattices, bias)
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
    sublattice: int,
    near: np.ndarray,
    occupation: np.ndarray,
    count: np.ndarray,
    cost: np.ndarray,
) -> None:
    """Energy in quanta of filling an empty site of the sublattice with these neighbours."""
    begin = tables.first[sublattice]
    for i in range(_LANES):
        cost[i] = tables.offset[sublattice]
    for orbit in range(len(tables.order)):
        others = tables.order[orbit] - 1
        end = begin + tables.rows[orbit, sublattice] * others
        # A number of sites that the compiler knows is counted without an inner loop.
        if others == 1:
            count_odd(occupation, near, tables.others, begin, end, np.int64(1), count)
        elif others == 2:
            count_odd(occupation, near, tables.others, begin, end, np.int64(2), count)
        elif others == 3:
            count_odd(occupation, near, tables.others, begin, end, np.int64(3), count)
        else:
            count_odd(occupation, near, tables.others, begin, end, others, count)
        begin = end
        slope = tables.slope[orbit]
        for i in range(_LANES):
            cost[i] += np.int32(slope * np.int32(count[i]))
