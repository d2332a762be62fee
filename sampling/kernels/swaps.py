"""Canonical Metropolis on the CPU: occupied and empty sites trade places, one walker at a time."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, no_type_check

import numpy as np
from numba import njit

from sampling.hamiltonian import ClusterHamiltonian
from sampling.kernels.draws import minus_log, xoshiro128pp
from sampling.kernels.fields import (
    BLOCK,
    Neighbourhood,
    Walker,
    advance_each,
    couplings,
    filling_bias,
    scratch,
    turn,
)
from sampling.kernels.walkers import Records, Walkers


@dataclass(frozen=True)
class Swaps:
    """Swaps of an occupied with an empty site; a sweep tries as many as there are sites.

    The occupied site is drawn uniformly, then uniformly an empty one, anywhere or on the same
    sublattice. How many there are to choose from never changes, so a swap is proposed as often as
    its reverse, and accepting it with probability min(1, exp(−ΔE/k_BT)) gives detailed balance.
    ΔE is exact also where the two sites share clusters.

    Attributes:
        within_sublattices: swap within sublattices alone, so that all η stay as they started.
    """

    within_sublattices: bool = False
    words: ClassVar[int] = 4 * BLOCK
    conserves: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return "numba-sublattice-swaps-1" if self.within_sublattices else "numba-swaps-1"

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
        box = hamiltonian.supercell
        return advance_each(
            _run,
            box.sites_per_sublattice if self.within_sublattices else len(box.sites),
            hamiltonian,
            walkers,
            burn_in=burn_in,
            stride=stride,
            samples=samples,
            threads=threads,
        )


class _Lists(NamedTuple):
    """Occupied sites in any order; empty ones by group, `first`[g] to `first`[g + 1]."""

    occupied: np.ndarray
    empty: np.ndarray
    first: np.ndarray
    total: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _run(
    here: Neighbourhood,
    walker: Walker,
    energy: np.int64,
    burn_in: int,
    stride: int,
    filled_records: np.ndarray,
    energy_records: np.ndarray,
) -> np.int64:
    """Advance one walker; the number of accepted swaps."""
    sites = len(here.near)
    lists = _Lists(
        np.empty(sites, np.int64),
        np.empty(sites, np.int64),
        np.zeros(sites // walker.group + 1, np.int64),
        np.zeros(1, np.int64),
    )
    accepted = 0
    for sample in range(len(energy_records)):
        # Listed afresh at every record: what follows then depends on the state alone, and a
        # continued run finds the same lists.
        _list_sites(walker, sites, lists)
        attempts = sites * (stride + (burn_in if sample == 0 else 0))
        gained, swapped = _swap(here, walker, lists, attempts)
        energy += gained
        accepted += swapped
        for sublattice in range(len(walker.filled)):
            filled_records[sample, sublattice] = np.int32(walker.filled[sublattice])
        energy_records[sample] = energy
    return accepted


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _list_sites(walker: Walker, sites: int, lists: _Lists) -> None:
    occupied, empty = 0, 0
    for site in range(sites):
        if site % walker.group == 0:
            lists.first[site // walker.group] = empty
        if walker.spin[site] < 0:
            lists.occupied[occupied] = site
            occupied += 1
        else:
            lists.empty[empty] = site
            empty += 1
    lists.first[-1] = empty
    lists.total[0] = occupied


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _swap(
    here: Neighbourhood, walker: Walker, lists: _Lists, attempts: int
) -> tuple[np.int64, int]:
    """Try so many swaps; the energy gained (quanta) and how many were accepted."""
    spin, twice, filled = walker.spin, walker.twice, walker.filled
    offset, slope, self_term = walker.offset, walker.slope, walker.self_term
    occupied, empty, first, total = lists.occupied, lists.empty, lists.first, lists.total[0]
    sublattice_sites = len(here.near) // len(filled)
    local, coupling = scratch(here)
    random = np.empty((3, BLOCK), np.uint32)
    energy, accepted = np.int64(0), 0
    for attempt in range(attempts if total > 0 else 0):
        i = attempt % BLOCK
        if i == 0:
            for row in range(3):
                xoshiro128pp(walker.state, random[row])
        taken = _below(random[0, i], total)
        full = occupied[taken]
        group = full // walker.group
        choices = first[group + 1] - first[group]
        if choices == 0:
            continue
        given = first[group] + _below(random[1, i], choices)
        bare = empty[given]

        # Each flip's own cost is −s_i times twice its field; the second sees the first's change.
        cost = np.int64(twice[full]) - np.int64(twice[bare])
        near, wanted, shared = here.near[full], np.uint32(bare), np.int32(-1)
        for n in range(len(near)):
            shared = max(shared, np.int32(n) if near[n] == wanted else np.int32(-1))
        if shared >= 0:
            couplings(here, spin, np.uint64(full), local, coupling)
            cost -= np.int64(coupling[shared])
        out, into = full // sublattice_sites, bare // sublattice_sites
        bias = np.float64(0.0)
        if out != into:
            bias += filling_bias(offset, slope, filled, into) + self_term[into]
            bias -= filling_bias(offset, slope, filled, out) - self_term[out]
            bias -= slope[into, out]
        uniform = (np.float32(random[2, i]) + np.float32(0.5)) * np.float32(2.0**-32)
        if np.float32(cost) * here.quantum + np.float32(bias) < walker.thermal * minus_log(uniform):
            for site in (full, bare):
                couplings(here, spin, np.uint64(site), local, coupling)
                turn(here, spin, twice, np.uint64(site), coupling)
            filled[out] -= 1
            filled[into] += 1
            occupied[taken] = bare
            empty[given] = full
            energy += cost
            accepted += 1
    return energy, accepted


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _below(random: np.uint32, count: np.int64) -> np.int64:
    return np.int64((np.uint64(random) * np.uint64(count)) >> np.uint64(32))
