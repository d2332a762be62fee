"""Biased single-flip Metropolis on the CPU, one walker at a time, for few or single walkers."""

from dataclasses import dataclass
from typing import ClassVar, no_type_check

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
class Flips:
    """Single flips; a sweep tries every site once, always in the sites' own order.

    Each attempt satisfies detailed balance, so any order that does not look at the spins keeps the
    ensemble. A flip is accepted where its cost lies below θ = −k_BT ln u; θ is drawn for a whole
    sublattice in advance, and since fields change only when a flip is accepted, sixteen sites are
    compared with their θ at once and the first to be accepted taken.

    Where every attempt is accepted (k_BT far above all energies, no bias) a sweep does no more
    than reverse all spins: with once-per-sweep orders that limit is not ergodic.
    """

    words: ClassVar[int] = 4 * BLOCK
    conserves: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return "numba-flips-1"

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
        return advance_each(
            _run,
            hamiltonian.supercell.sites_per_sublattice,
            hamiltonian,
            walkers,
            burn_in=burn_in,
            stride=stride,
            samples=samples,
            threads=threads,
        )


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
    """Advance one walker; the number of accepted flips."""
    sublattices = len(walker.filled)
    sites = walker.group
    threshold = np.empty(((sites - 1) // BLOCK + 2) * BLOCK, np.float32)
    local, coupling = scratch(here)
    accepted = 0
    for sample in range(len(energy_records)):
        for _ in range(stride + (burn_in if sample == 0 else 0)):
            for sublattice in range(sublattices):
                _draw_thresholds(walker.state, walker.thermal, threshold, sites)
                gained, flips = _sweep(here, walker, sublattice, sites, threshold, local, coupling)
                energy += gained
                accepted += flips
        for sublattice in range(sublattices):
            filled_records[sample, sublattice] = np.int32(walker.filled[sublattice])
        energy_records[sample] = energy
    return accepted


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _sweep(
    here: Neighbourhood,
    walker: Walker,
    sublattice: int,
    sites: int,
    threshold: np.ndarray,
    local: np.ndarray,
    coupling: np.ndarray,
) -> tuple[np.int64, int]:
    """Try every site of one sublattice; the energy gained (quanta) and the accepted flips."""
    base = sublattice * sites
    spin, twice, filled = walker.spin, walker.twice, walker.filled
    bias = np.float32(filling_bias(walker.offset, walker.slope, filled, sublattice))
    alone = np.float32(walker.self_term[sublattice])
    energy, accepted, at = np.int64(0), 0, 0
    while at < sites:
        s, f = spin[base + at : base + at + BLOCK], twice[base + at : base + at + BLOCK]
        theta = threshold[at : at + BLOCK]
        first = np.int32(BLOCK)
        for i in range(BLOCK):
            cost = np.float32(s[i]) * (bias - here.quantum * np.float32(f[i])) + alone
            first = min(first, np.int32(i) if cost < theta[i] else np.int32(BLOCK))
        at += first
        if first < BLOCK:
            site = np.uint64(base + at)
            energy -= np.int64(spin[site]) * twice[site]
            filled[sublattice] += spin[site]
            couplings(here, spin, site, local, coupling)
            turn(here, spin, twice, site, coupling)
            bias = np.float32(filling_bias(walker.offset, walker.slope, filled, sublattice))
            accepted += 1
            at += 1
    return energy, accepted


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _draw_thresholds(
    state: np.ndarray, thermal: np.float32, threshold: np.ndarray, sites: int
) -> None:
    """θ = −k_BT ln u for every site, −∞ beyond the last."""
    random = np.empty(BLOCK, np.uint32)
    for begin in range(0, sites, BLOCK):
        xoshiro128pp(state, random)
        for i in range(BLOCK):
            uniform = (np.float32(random[i]) + np.float32(0.5)) * np.float32(2.0**-32)
            threshold[begin + i] = thermal * minus_log(uniform)
    threshold[sites:] = -np.inf
