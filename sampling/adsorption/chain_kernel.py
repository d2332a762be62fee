"""Compiled grand-canonical Monte Carlo of rigid molecules in a rigid host."""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from sampling.adsorption.field_kernel import interpolate, lennard_jones

TRANSLATION, ROTATION, INSERTION, DELETION = 0, 1, 2, 3
UNIFORM = 0.1
"""Share of insertions that are tried anywhere, so that no place is left out."""

FIELDS = 6
"""Numbers in a record: N, U, N², NU, host's and guests' own part of U."""

_ALMOST_FORBIDDEN = 700.0
"""Energies over kT beyond which exp(−U/kT) is zero in double precision."""


class Box(NamedTuple):
    """What molecules move in, and how they meet.

    Attributes:
        coefficients: host energies as splines, float32 [kind, a + 3, b + 3, c + 3].
        copies: of the host's cell along each edge, int64 [3].
        lattice: of the box, rows (Å), float64 [3, 3].
        inverse: of it.
        metric: lattice times its transpose (Å²).
        kind: of each site, int64 [site].
        arm: of each site from the first (Å), float64 [site, 3].
        four_epsilon: K, float64 [site, site].
        sigma2: Å², float64 [site, site].
        shift: K, float64 [site, site].
        cutoff2: Å².
        tail: twice a molecule pair's mean energy beyond the cutoff (K).
    """

    coefficients: np.ndarray
    copies: np.ndarray
    lattice: np.ndarray
    inverse: np.ndarray
    metric: np.ndarray
    kind: np.ndarray
    arm: np.ndarray
    four_epsilon: np.ndarray
    sigma2: np.ndarray
    shift: np.ndarray
    cutoff2: float
    tail: float


class Places(NamedTuple):
    """Where insertions are tried: cells of the host's grid by their Boltzmann factors.

    Attributes:
        chance: of keeping a cell that was drawn, float64 [cell] (Walker's method of aliases).
        alias: cell to take otherwise, int64 [cell].
        density: of trials in a cell over that of uniform trials, float64 [cell].
        shape: cells along each edge, int64 [3].
    """

    chance: np.ndarray
    alias: np.ndarray
    density: np.ndarray
    shape: np.ndarray


class Chain(NamedTuple):
    """Molecules and random numbers of one Markov chain; changed in place.

    Attributes:
        place: of sites, fractions of the box's edges, float64 [site, 3, molecule].
        host: energy of each molecule in the host (K), float64 [molecule].
        count: of molecules, int64 [1].
        energy: of all in the host, and of all with each other (K), float64 [2].
        state: of the generator, uint64 [4].
        step: largest translation (Å) and rotation (rad), float64 [2].
        tally: tried and accepted, int64 [move, 2].
    """

    place: np.ndarray
    host: np.ndarray
    count: np.ndarray
    energy: np.ndarray
    state: np.ndarray
    step: np.ndarray
    tally: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def run(
    box: Box, places: Places, chain: Chain, activity: float, beta: float, moves: int, out: np.ndarray
) -> bool:
    """Advance a chain; returns False where its arrays cannot hold more molecules.

    Args:
        box: the host and the forces.
        places: where insertions are tried.
        chain: changed in place.
        activity: f V/(k_B T), the mean number of molecules of an ideal gas in the box.
        beta: 1/T (1/K).
        moves: per record. A fixed number: one that followed N would bias what is recorded.
        out: means over the moves of each record, float64 [record, field]; changed in place.
    """
    turning = len(box.kind) > 1
    trial = np.empty((len(box.kind), 3))
    for record in range(len(out)):
        out[record] = 0
        for _ in range(moves):
            draw = uniform(chain.state)
            if draw < 0.25:
                insert(box, places, chain, trial, activity, beta)
            elif draw < 0.5:
                delete(box, places, chain, trial, activity, beta)
            else:
                displace(box, chain, trial, beta, turning and draw < 0.75)
            count, energy = chain.count[0], chain.energy[0] + chain.energy[1]
            out[record, 0] += count
            out[record, 1] += energy
            out[record, 2] += count * count
            out[record, 3] += count * energy
            out[record, 4] += chain.energy[0]
            out[record, 5] += chain.energy[1]
        out[record] /= moves
        if chain.count[0] + moves >= chain.place.shape[2]:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def insert(box, places, chain, trial, activity, beta) -> None:
    """Try to add a molecule: min(1, zV/(N+1) e^{−βΔU}/b), b being the place's relative density."""
    chain.tally[INSERTION, 0] += 1
    count = chain.count[0]
    draw_place(box, places, chain.state, trial)
    turn_freely(box, chain.state, trial)
    host = host_energy(box, trial)
    bias = trial_density(box, places, trial)
    if beta * host > _ALMOST_FORBIDDEN:
        return
    guests = guest_energy(box, chain.place, count, -1, trial) + box.tail * (count + 0.5)
    ratio = activity / ((count + 1) * bias) * np.exp(-beta * (host + guests))
    if uniform(chain.state) < ratio:
        chain.place[:, :, count] = trial
        chain.host[count] = host
        chain.count[0] += 1
        chain.energy[0] += host
        chain.energy[1] += guests
        chain.tally[INSERTION, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def delete(box, places, chain, trial, activity, beta) -> None:
    """Try to take a molecule away: the reverse of `insert`."""
    chain.tally[DELETION, 0] += 1
    count = chain.count[0]
    if count == 0:
        return
    chosen = pick(chain.state, count)
    trial[:] = chain.place[:, :, chosen]
    host = chain.host[chosen]
    guests = guest_energy(box, chain.place, count, chosen, trial) + box.tail * (count - 0.5)
    bias = trial_density(box, places, trial)
    ratio = count * bias / activity * np.exp(beta * (host + guests))
    if uniform(chain.state) < ratio:
        last = count - 1
        chain.place[:, :, chosen] = chain.place[:, :, last]
        chain.host[chosen] = chain.host[last]
        chain.count[0] = last
        chain.energy[0] -= host
        chain.energy[1] -= guests
        chain.tally[DELETION, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def displace(box, chain, trial, beta, turning) -> None:
    """Try to shift or turn a molecule: min(1, e^{−βΔU})."""
    move = ROTATION if turning else TRANSLATION
    count = chain.count[0]
    if count == 0:
        return
    chain.tally[move, 0] += 1
    chosen = pick(chain.state, count)
    trial[:] = chain.place[:, :, chosen]
    before = guest_energy(box, chain.place, count, chosen, trial)
    if turning:
        turn_slightly(box, chain.state, chain.step[ROTATION], trial)
    else:
        shift_slightly(box, chain.state, chain.step[TRANSLATION], trial)
    host = host_energy(box, trial)
    if beta * (host - chain.host[chosen]) > _ALMOST_FORBIDDEN:
        return
    guests = guest_energy(box, chain.place, count, chosen, trial) - before
    cost = host - chain.host[chosen] + guests
    if uniform(chain.state) < np.exp(-beta * cost):
        chain.place[:, :, chosen] = trial
        chain.energy[0] += host - chain.host[chosen]
        chain.energy[1] += guests
        chain.host[chosen] = host
        chain.tally[move, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def host_energy(box, trial) -> float:
    """Of a molecule in the host (K)."""
    total = 0.0
    for s in range(len(box.kind)):
        x, y, z = trial[s, 0] * box.copies[0], trial[s, 1] * box.copies[1], trial[s, 2] * box.copies[2]
        total += interpolate(
            box.coefficients[box.kind[s]], x - np.floor(x), y - np.floor(y), z - np.floor(z)
        )
    return total


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def guest_energy(box, place, count, skip, trial) -> float:
    """Of a molecule with all others but number `skip` (K), without the tail."""
    total = 0.0
    for s in range(len(box.kind)):
        for t in range(len(box.kind)):
            if box.four_epsilon[s, t] > 0:
                total += _with_sites(box, place[t], 0, skip, trial[s], s, t)
                total += _with_sites(box, place[t], skip + 1, count, trial[s], s, t)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _with_sites(box, place, begin, end, at, s, t) -> float:
    """Of one site with those of molecules begin … end − 1.

    The box is at least two cutoffs wide, so that rounding finds every image within the cutoff.
    """
    depth, size, shift = box.four_epsilon[s, t], box.sigma2[s, t], box.shift[s, t]
    a, b, c = box.metric[0, 0], box.metric[1, 1], box.metric[2, 2]
    d, e, f = 2 * box.metric[1, 2], 2 * box.metric[0, 2], 2 * box.metric[0, 1]
    x, y, z = at[0], at[1], at[2]
    total = 0.0
    for j in range(begin, end):
        u, v, w = place[0, j] - x, place[1, j] - y, place[2, j] - z
        u -= np.rint(u)
        v -= np.rint(v)
        w -= np.rint(w)
        r2 = u * (a * u + f * v) + v * (b * v + d * w) + w * (c * w + e * u)
        energy = lennard_jones(max(r2, 0.01), depth, size, shift)
        total += energy if r2 < box.cutoff2 else 0.0
    return total


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def trial_density(box, places, trial) -> float:
    """How much denser than uniformly insertions are tried at a place."""
    cell = 0
    for axis in range(3):
        x = trial[0, axis] * box.copies[axis]
        n = places.shape[axis]
        cell = cell * n + min(np.int64((x - np.floor(x)) * n), n - 1)
    return UNIFORM + (1 - UNIFORM) * places.density[cell]


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def draw_place(box, places, state, trial) -> None:
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
def turn_freely(box, state, trial) -> None:
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
def turn_slightly(box, state, largest, trial) -> None:
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
def shift_slightly(box, state, largest, trial) -> None:
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
def total_energy(box: Box, chain: Chain) -> tuple[float, float]:
    """Energies in the host and between guests (K), summed anew."""
    host, guests, count = 0.0, 0.0, chain.count[0]
    trial = np.empty((len(box.kind), 3))
    for i in range(count):
        trial[:] = chain.place[:, :, i]
        host += host_energy(box, trial)
        guests += guest_energy(box, chain.place, i, -1, trial)
    return host, guests + box.tail * count * count / 2


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def aliases(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chances and aliases of Walker's method for weights of mean one (doi:10.1145/355744.355749)."""
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


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def widom(box: Box, places: Places, state: np.ndarray, beta: float, out: np.ndarray) -> None:
    """Means of e^{−βU} and of U e^{−βU} (K) over an insertion anywhere, one per trial.

    Args:
        box: the host's cell, empty.
        places: where insertions are tried; their density is divided out.
        state: of the generator; changed in place.
        beta: 1/T (1/K).
        out: float64 [trial, 2]; changed in place.
    """
    trial = np.empty((len(box.kind), 3))
    for n in range(len(out)):
        draw_place(box, places, state, trial)
        turn_freely(box, state, trial)
        energy = host_energy(box, trial)
        weight = np.exp(-beta * energy) / trial_density(box, places, trial)
        out[n, 0] = weight
        out[n, 1] = weight * energy


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def turned_average(
    box: Box, points: np.ndarray, state: np.ndarray, beta: float, turns: int
) -> np.ndarray:
    """Mean of e^{−βU} over some orientations, with a molecule's centre at each point.

    Args:
        box: the host's cell, empty.
        points: fractional, float64 [point, 3].
        state: of the generator; changed in place.
        beta: 1/T (1/K).
        turns: orientations.
    """
    trial = np.empty((len(box.kind), 3))
    mean = np.zeros(len(points))
    for n in range(len(points)):
        trial[0] = points[n]
        for _ in range(turns):
            turn_freely(box, state, trial)
            mean[n] += np.exp(-beta * host_energy(box, trial)) / turns
    return mean
