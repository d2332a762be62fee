"""Compiled grand-canonical Monte Carlo of rigid molecules in a rigid host."""

from typing import no_type_check

import numpy as np
from numba import njit

from idnn.adsorption.field_kernel import interpolate, lennard_jones
from sampling.adsorption.charges_kernel import add_waves, screened_energy, wave_cost
from sampling.adsorption.draws import (
    draw_place,
    pick,
    shift_slightly,
    trial_density,
    turn_freely,
    turn_slightly,
    uniform,
)
from sampling.adsorption.tables import Box, Chain, Places

TRANSLATION, ROTATION, INSERTION, DELETION = 0, 1, 2, 3
FIELDS = 6
"""Numbers in a record: N, U, N², NU, host's and guests' own part of U."""

_ALMOST_FORBIDDEN = 700.0
"""Energies over kT beyond which exp(−U/kT) is zero in double precision."""


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def run(
    box: Box,
    places: Places,
    chain: Chain,
    activity: float,
    beta: float,
    moves: int,
    out: np.ndarray,
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
            count, energy = chain.molecules[0], chain.energy[0] + chain.energy[1]
            out[record, 0] += count
            out[record, 1] += energy
            out[record, 2] += count * count
            out[record, 3] += count * energy
            out[record, 4] += chain.energy[0]
            out[record, 5] += chain.energy[1]
            if count == chain.place.shape[2]:
                return False
        out[record] /= moves
    return True


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def insert(
    box: Box, places: Places, chain: Chain, trial: np.ndarray, activity: float, beta: float
) -> None:
    """Try to add a molecule: min(1, zV/(N+1) e^{−βΔU}/b), b being the place's relative density."""
    chain.tally[INSERTION, 0] += 1
    count = chain.molecules[0]
    draw_place(box, places, chain.state, trial)
    turn_freely(box, chain.state, trial)
    host = host_energy(box, trial)
    bias = trial_density(box, places, trial)
    if beta * host > _ALMOST_FORBIDDEN:
        return
    guests = guest_energy(box, chain.place, count, -1, trial) + box.tail * (count + 0.5)
    if len(box.wave) and beta * (host + guests) < _ALMOST_FORBIDDEN:
        chain.change[:] = 0
        add_waves(box, chain, trial, 1.0)
        guests += box.alone + wave_cost(box, chain)
    ratio = activity / ((count + 1) * bias) * np.exp(-beta * (host + guests))
    if uniform(chain.state) < ratio:
        chain.place[:, :, count] = trial
        chain.host[count] = host
        chain.molecules[0] += 1
        chain.energy[0] += host
        chain.energy[1] += guests
        chain.amplitude[:] += chain.change
        chain.tally[INSERTION, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def delete(
    box: Box, places: Places, chain: Chain, trial: np.ndarray, activity: float, beta: float
) -> None:
    """Try to take a molecule away: the reverse of `insert`."""
    chain.tally[DELETION, 0] += 1
    count = chain.molecules[0]
    if count == 0:
        return
    chosen = pick(chain.state, count)
    trial[:] = chain.place[:, :, chosen]
    host = chain.host[chosen]
    guests = guest_energy(box, chain.place, count, chosen, trial) + box.tail * (count - 0.5)
    if len(box.wave):
        chain.change[:] = 0
        add_waves(box, chain, trial, -1.0)
        guests += box.alone - wave_cost(box, chain)
    bias = trial_density(box, places, trial)
    ratio = count * bias / activity * np.exp(beta * (host + guests))
    if uniform(chain.state) < ratio:
        last = count - 1
        chain.place[:, :, chosen] = chain.place[:, :, last]
        chain.host[chosen] = chain.host[last]
        chain.molecules[0] = last
        chain.energy[0] -= host
        chain.energy[1] -= guests
        chain.amplitude[:] += chain.change
        chain.tally[DELETION, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def displace(box: Box, chain: Chain, trial: np.ndarray, beta: float, turning: bool) -> None:
    """Try to shift or turn a molecule: min(1, e^{−βΔU})."""
    move = ROTATION if turning else TRANSLATION
    count = chain.molecules[0]
    if count == 0:
        return
    chain.tally[move, 0] += 1
    chosen = pick(chain.state, count)
    trial[:] = chain.place[:, :, chosen]
    before = guest_energy(box, chain.place, count, chosen, trial)
    chain.change[:] = 0
    if len(box.wave):
        add_waves(box, chain, trial, -1.0)
    if turning:
        turn_slightly(box, chain.state, chain.step[ROTATION], trial)
    else:
        shift_slightly(box, chain.state, chain.step[TRANSLATION], trial)
    host = host_energy(box, trial)
    if beta * (host - chain.host[chosen]) > _ALMOST_FORBIDDEN:
        return
    guests = guest_energy(box, chain.place, count, chosen, trial) - before
    if len(box.wave) and beta * guests < _ALMOST_FORBIDDEN:
        add_waves(box, chain, trial, 1.0)
        guests += wave_cost(box, chain)
    cost = host - chain.host[chosen] + guests
    if uniform(chain.state) < np.exp(-beta * cost):
        chain.place[:, :, chosen] = trial
        chain.energy[0] += host - chain.host[chosen]
        chain.energy[1] += guests
        chain.host[chosen] = host
        chain.amplitude[:] += chain.change
        chain.tally[move, 1] += 1


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def host_energy(box: Box, trial: np.ndarray) -> float:
    """Of a molecule in the host (K)."""
    total = 0.0
    for s in range(len(box.kind)):
        x, y, z = (
            trial[s, 0] * box.copies[0],
            trial[s, 1] * box.copies[1],
            trial[s, 2] * box.copies[2],
        )
        total += interpolate(
            box.coefficients[box.kind[s]], x - np.floor(x), y - np.floor(y), z - np.floor(z)
        )
    return total


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def guest_energy(box: Box, place: np.ndarray, count: int, skip: int, trial: np.ndarray) -> float:
    """Of a molecule with all others but number `skip` (K), without the tail and the waves."""
    total = 0.0
    for s in range(len(box.kind)):
        for t in range(len(box.kind)):
            if box.four_epsilon[s, t] > 0:
                total += _with_sites(box, place[t], 0, skip, trial[s], s, t)
                total += _with_sites(box, place[t], skip + 1, count, trial[s], s, t)
    if len(box.wave):
        total += screened_energy(box, place, 0, skip, trial)
        total += screened_energy(box, place, skip + 1, count, trial)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
@no_type_check
def _with_sites(
    box: Box, place: np.ndarray, begin: int, end: int, at: np.ndarray, s: int, t: int
) -> float:
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
def total_energy(box: Box, chain: Chain) -> tuple[float, float]:
    """Energies in the host and between guests (K), summed anew, as are the waves' amplitudes."""
    host, guests, count = 0.0, 0.0, chain.molecules[0]
    chain.amplitude[:], chain.change[:] = 0, 0
    trial = np.empty((len(box.kind), 3))
    for i in range(count):
        trial[:] = chain.place[:, :, i]
        host += host_energy(box, trial)
        guests += guest_energy(box, chain.place, i, -1, trial)
        add_waves(box, chain, trial, 1.0)
    guests += wave_cost(box, chain) + count * (box.alone if len(box.wave) else 0.0)
    chain.amplitude[:] += chain.change
    return host, guests + box.tail * count * count / 2


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
