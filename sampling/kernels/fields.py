"""The local field of every site, kept up to date: a refused move costs a look-up.

With E = N J₀ + Σ J Σ_clusters Π s, turning the spin s_i of site i costs −2 s_i F_i, where the field
F_i = Σ J Σ_(clusters holding i) Π_(others) s. An accepted flip changes the fields of its
neighbours j by −2 s_i Σ J Σ_(clusters holding i and j) Π_(remaining) s. All are whole quanta, so
that fields updated for years equal those of a fresh sum.
"""

from collections.abc import Callable
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from idnn.runtime import in_threads
from sampling.hamiltonian import ClusterHamiltonian, OrbitTable
from sampling.kernels.walkers import Records, Walkers

BLOCK = 16
"""Sites or moves per SIMD step, and lanes of a walker's generator."""


class Neighbourhood(NamedTuple):
    """A Hamiltonian as seen from any site; neighbours that share larger clusters come first.

    The box is periodic and the sites of a sublattice are alike, so one list of clusters over
    neighbour numbers serves all of them.

    Attributes:
        near: neighbours of each site, uint32 [site, neighbour]; one site too many, whose spin is
            zero, stands for none.
        sites: sites per sublattice.
        pair: 4 J of the pair with each neighbour, in quanta, int32 [sublattice, neighbour].
        crowd: neighbours that share larger clusters.
        width: `crowd` rounded up to whole SIMD steps.
        order: sites per cluster of each larger orbit, int64 [orbit].
        rows: most clusters of the orbit that share one neighbour, int64 [orbit].
        slope: 4 J of each larger orbit, in quanta, int32 [orbit].
        factor: the other neighbours of those clusters, uint32 [sublattice], then flat [orbit, row,
            other, width]; `width` itself stands for a spin of zero where there is no such cluster.
        quantum: eV.
    """

    near: np.ndarray
    sites: int
    pair: np.ndarray
    crowd: int
    width: int
    order: np.ndarray
    rows: np.ndarray
    slope: np.ndarray
    factor: np.ndarray
    quantum: np.float32


def neighbourhood(hamiltonian: ClusterHamiltonian) -> Neighbourhood:
    """The Hamiltonian's clusters around one site, by neighbour number."""
    larger = [orbit for orbit in hamiltonian.orbits if orbit.order > 2]
    pairs = [orbit for orbit in hamiltonian.orbits if orbit.order == 2]
    near, numbers, crowd = neighbours(hamiltonian, larger, pairs)
    width = -(-crowd // BLOCK) * BLOCK

    pair = np.zeros((len(numbers), near.shape[1]), np.int32)
    for orbit in pairs:
        for mine, number, others in zip(pair, numbers, orbit.others, strict=True):
            for site in others[0, :, 0]:
                mine[number[int(site)]] += 4 * orbit.quanta
    factors = [_factors(orbit, numbers, width) for orbit in larger]
    return Neighbourhood(
        near=near,
        sites=hamiltonian.supercell.sites_per_sublattice,
        pair=pair,
        crowd=crowd,
        width=width,
        order=np.array([orbit.order for orbit in larger], dtype=np.int64),
        rows=np.array([factor.shape[1] for factor in factors], dtype=np.int64),
        slope=np.array([4 * orbit.quanta for orbit in larger], dtype=np.int32),
        factor=np.concatenate(
            [np.zeros((len(numbers), 0), np.uint32), *(f.reshape(len(f), -1) for f in factors)],
            axis=1,
        ),
        quantum=np.float32(hamiltonian.quantum),
    )


def neighbours(
    hamiltonian: ClusterHamiltonian, nearer: list[OrbitTable], farther: list[OrbitTable]
) -> tuple[np.ndarray, list[dict[int, int]], int]:
    """Each site's distinct neighbours, those of the first orbits before those of the others alone.

    Returns:
        uint32 [site, neighbour], filled up with the number after the last site; the column of each
        neighbour of the first site of every sublattice; the columns of the first orbits.
    """
    sublattices = range(hamiltonian.supercell.system.dimension)
    size = hamiltonian.supercell.sites_per_sublattice
    none = np.zeros((size, 0), np.int32)
    listed = [
        np.concatenate([none, *(o.others[s].reshape(size, -1) for o in nearer + farther)], axis=1)
        for s in sublattices
    ]
    seen = [np.sort(np.unique(sites[0], return_index=True)[1]) for sites in listed]
    split = [sum(o.others[s][0].size for o in nearer) for s in sublattices]
    counts = np.array([[(f < k).sum(), (f >= k).sum()] for f, k in zip(seen, split, strict=True)])
    crowd, rest = counts.max(0).tolist()
    near = np.full((len(sublattices) * size, crowd + rest), len(sublattices) * size, np.uint32)
    numbers = []
    for s, (sites, first, (close, far)) in enumerate(zip(listed, seen, counts, strict=True)):
        columns = np.concatenate([np.arange(close), crowd + np.arange(far)])
        near[s * size : (s + 1) * size, columns] = sites[:, first]
        numbers.append({int(sites[0, i]): int(n) for i, n in zip(first, columns, strict=True)})
    return near, numbers, crowd


def _factors(orbit: OrbitTable, numbers: list[dict[int, int]], width: int) -> np.ndarray:
    """Remaining members of the clusters that a neighbour shares: [sublattice, row, other, n]."""
    shared: list[list[list[list[int]]]] = [[[] for _ in range(width)] for _ in numbers]
    for mine, number, others in zip(shared, numbers, orbit.others, strict=True):
        for row in others[0]:
            members = [number[int(site)] for site in row]
            for position, n in enumerate(members):
                mine[n].append(members[:position] + members[position + 1 :])
    rows = max(len(clusters) for mine in shared for clusters in mine)
    factor = np.full((len(numbers), rows, orbit.order - 2, width), width, np.uint32)
    for s, mine in enumerate(shared):
        for n, clusters in enumerate(mine):
            for row, remaining in enumerate(clusters):
                factor[s, row, :, n] = remaining
    return factor


def spins_and_fields(
    hamiltonian: ClusterHamiltonian, occupation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spins s = ±1, int8, and twice the fields, int32 quanta, of one walker.

    Both end in a block of zeros, so that a SIMD step may read beyond the last site.
    """
    spin = (1 - 2 * occupation.astype(np.int8)).astype(np.int8)
    twice = np.zeros(len(spin), np.int64)
    home = np.split(twice, hamiltonian.supercell.system.dimension)
    for orbit in hamiltonian.orbits:
        for mine, others in zip(home, orbit.others, strict=True):
            mine += 2 * orbit.quanta * spin[others].prod(-1, dtype=np.int8).sum(-1, np.int64)
    return np.pad(spin, (0, BLOCK)), np.pad(twice.astype(np.int32), (0, BLOCK))


class Walker(NamedTuple):
    """One walker under way: spins, twice the fields, occupied sites, conditions.

    Moves go through groups of `group` consecutive sites: a sublattice, or the whole box.
    """

    spin: np.ndarray
    twice: np.ndarray
    filled: np.ndarray
    state: np.ndarray
    thermal: np.float32
    slope: np.ndarray
    offset: np.ndarray
    self_term: np.ndarray
    group: int


Run = Callable[[Neighbourhood, Walker, np.int64, int, int, np.ndarray, np.ndarray], np.int64]
"""run(neighbourhood, walker, energy, burn_in, stride, filled, energies): moves one walker, fills
its records and returns how many moves were accepted."""


def advance_each(
    run: Run,
    group: int,
    hamiltonian: ClusterHamiltonian,
    walkers: Walkers,
    *,
    burn_in: int,
    stride: int,
    samples: int,
    threads: int,
) -> Records:
    """Move every walker by itself with `run`; see `Kernel`."""
    here = neighbourhood(hamiltonian)
    records = Records.empty(len(walkers.occupation), samples, walkers.offset.shape[1])
    start = hamiltonian.energy_quanta(walkers.occupation)
    filled = hamiltonian.supercell.filled(walkers.occupation).astype(np.float64)

    def job(w: int) -> None:
        spin, twice = spins_and_fields(hamiltonian, walkers.occupation[w])
        walker = Walker(
            spin=spin,
            twice=twice,
            filled=filled[w],
            state=walkers.state[w],
            thermal=np.float32(1 / walkers.beta[w]),
            slope=walkers.slope[w],
            offset=walkers.offset[w],
            self_term=walkers.self_term[w],
            group=group,
        )
        records.accepted[w] = run(
            here, walker, start[w], burn_in, stride, records.filled[w], records.energy[w]
        )
        walkers.occupation[w] = spin[:-BLOCK] < 0

    in_threads(job, range(len(walkers.occupation)), threads)
    return records


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def scratch(here: Neighbourhood) -> tuple[np.ndarray, np.ndarray]:
    """Arrays for `couplings`: local spins and couplings."""
    size = max(here.width, here.near.shape[1])
    return np.zeros(here.width + 1, np.int32), np.zeros(size, np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def couplings(
    here: Neighbourhood, spin: np.ndarray, site: np.uint64, local: np.ndarray, coupling: np.ndarray
) -> None:
    """4 Σ J Σ Π_(remaining) s of the clusters that `site` shares with each of its neighbours.

    Args:
        here: the clusters.
        spin: int8 [site].
        site: any.
        local: scratch, int32 [width + 1], zero from `crowd` on.
        coupling: the result, int32 [neighbour or more].
    """
    near = here.near[site]
    sublattice = site // np.uint64(here.sites)
    pair, factor = here.pair[sublattice], here.factor[sublattice]
    for n in range(here.crowd):
        local[n] = spin[near[n]]
    for n in range(len(pair)):
        coupling[n] = pair[n]
    width = np.uint64(here.width)
    at = np.uint64(0)
    for orbit in range(len(here.order)):
        slope = here.slope[orbit]
        others = here.order[orbit] - 2
        for _ in range(here.rows[orbit]):
            if others == 1:
                for n in range(width):
                    coupling[n] += slope * local[factor[at + n]]
            elif others == 2:
                for n in range(width):
                    both = local[factor[at + n]] * local[factor[at + width + n]]
                    coupling[n] += slope * both
            else:
                for n in range(width):
                    product = slope
                    for other in range(others):
                        product *= local[factor[at + np.uint64(other) * width + n]]
                    coupling[n] += product
            at += np.uint64(others) * width


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def turn(
    here: Neighbourhood, spin: np.ndarray, twice: np.ndarray, site: np.uint64, coupling: np.ndarray
) -> None:
    """Reverse the spin of `site`, given its couplings, and update its neighbours' fields."""
    near = here.near[site]
    own = np.int32(spin[site])
    for n in range(len(near)):
        twice[near[n]] -= own * coupling[n]
    spin[site] = -own


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def filling_bias(
    offset: np.ndarray, slope: np.ndarray, filled: np.ndarray, sublattice: int
) -> np.float64:
    """Bias energy (eV) of one more filled site of the sublattice, without its self term.

    Summed afresh from the counts: a function of the state, whatever its history.
    """
    bias = offset[sublattice]
    for other in range(len(filled)):
        bias += slope[sublattice, other] * filled[other]
    return bias
