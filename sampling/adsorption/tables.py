"""What the compiled chains read and change: the box, where insertions are tried, the molecules."""

from typing import NamedTuple

import numpy as np


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
        tail: a molecule pair's mean energy beyond the cutoff (K).
        charge: of each site, its square an energy times a distance, float64 [site] (√(K Å)).
        alpha: width of the screening charges of Ewald's sum (1/Å).
        wave: numbers of the wave vectors of half of space, int64 [wave, 3]; none without charges.
        weight: of the squared amplitude of each (K), float64 [wave].
        alone: energy of a molecule's screening charges with itself, to be added (K).
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
    charge: np.ndarray
    alpha: float
    wave: np.ndarray
    weight: np.ndarray
    alone: float


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
        molecules: how many, int64 [1].
        energy: of all in the host, and of all with each other (K), float64 [2].
        state: of the generator, uint64 [4].
        step: largest translation (Å) and rotation (rad), float64 [2].
        tally: tried and accepted, int64 [move, 2].
        amplitude: of the charges' waves, complex128 [wave].
        change: what the last trial would add to them, complex128 [wave].
        phase: room for the powers of a site's phases, complex128 [axis, 2 largest + 1].
    """

    place: np.ndarray
    host: np.ndarray
    molecules: np.ndarray
    energy: np.ndarray
    state: np.ndarray
    step: np.ndarray
    tally: np.ndarray
    amplitude: np.ndarray
    change: np.ndarray
    phase: np.ndarray
