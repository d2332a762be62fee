"""What the compiled chains run in: a box of the host's cells, and where insertions are tried."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from idnn.adsorption.ewald import alone, guest_waves
from idnn.adsorption.field import HostField
from idnn.adsorption.forcefield import guest_pairs
from idnn.adsorption.structures import copies_for
from idnn.units import COULOMB_K_A
from sampling.adsorption.chain_kernel import turned_average
from sampling.adsorption.draws import aliases
from sampling.adsorption.tables import Box, Chain, Places

_TURNS = 8
_FIRST_STEPS = (1.0, 0.5)
_DENSEST = 1.5
"""Molecules per volume over those of touching spheres of the largest site, never reached."""


def box_of(field: HostField, copies: tuple[int, int, int] | None = None) -> Box:
    """The box of a simulation.

    Args:
        field: of the guest in the host.
        copies: of the host's cell along each edge; where None, as few as make the box two cutoffs
            wide.

    Raises:
        ValueError: fewer copies than that.
    """
    crystal, force = field.crystal, field.force
    least = copies_for(crystal, 2 * force.cutoff)
    copies = copies or least
    if any(n < m for n, m in zip(copies, least, strict=True)):
        raise ValueError(
            f"`copies` of {crystal.name} must be at least {least} for a cutoff of "
            f"{force.cutoff:g} Å; they are {copies}: a molecule would meet two images of another."
        )
    lattice = np.array(copies, dtype=float)[:, None] * crystal.lattice
    sites = field.guest.sites
    pairs = guest_pairs(force, sites)
    kinds = [kind.kind for kind in field.guest.kinds]
    alpha, wave, weight = guest_waves(lattice, force.cutoff)
    if not field.guest.charged:
        wave, weight = wave[:0], weight[:0]
    return Box(
        coefficients=field.coefficients,
        copies=np.array(copies),
        lattice=lattice,
        inverse=np.linalg.inv(lattice),
        metric=lattice @ lattice.T,
        kind=np.array([kinds.index(site.kind) for site in sites]),
        arm=np.array([site.place for site in sites], dtype=float),
        four_epsilon=4 * pairs.epsilon,
        sigma2=pairs.sigma**2,
        shift=pairs.shift,
        cutoff2=force.cutoff**2,
        tail=float(pairs.tail.sum()) / abs(float(np.linalg.det(lattice))),
        charge=math.sqrt(COULOMB_K_A) * np.array([site.charge for site in sites]),
        alpha=alpha,
        wave=wave,
        weight=weight,
        alone=alone(field.guest, alpha),
    )


def places_of(field: HostField, box: Box, temperature: float) -> Places:
    """Insertions tried in cells of the host's grid by their mean Boltzmann factor.

    Any weights are exact, as the acceptance divides them out; these make most trials succeed.
    """
    if len(field.guest.sites) == 1:
        corner = np.exp(-np.minimum(field.values[0], 50 * temperature) / temperature)
        shifts = product((0, -1), repeat=3)
        near = np.array([np.roll(corner, shift, (0, 1, 2)) for shift in shifts])
        weight = near.mean(0, dtype=float).ravel()
    else:
        cells = np.indices(field.points).reshape(3, -1).T
        centres = (cells + 0.5) / np.array(field.points)
        single = box._replace(copies=np.ones(3, dtype=np.int64))
        weight = turned_average(single, centres, seeded(0), 1 / temperature, _TURNS)
    mean = weight.mean()
    density = weight / mean if mean > 0 else np.ones_like(weight)
    chance, alias = aliases(density)
    return Places(chance, alias, density, np.array(field.points))


def empty_chain(field: HostField, box: Box, seed: tuple[int, ...]) -> Chain:
    """A chain without molecules, with room for more than can fit."""
    largest = max(site.sigma for site in field.guest.sites if site.epsilon or not site.charge)
    volume = abs(float(np.linalg.det(box.lattice)))
    capacity = int(_DENSEST * volume * 2**0.5 / largest**3) + 1024
    return Chain(
        place=np.zeros((len(field.guest.sites), 3, capacity)),
        host=np.zeros(capacity),
        molecules=np.zeros(1, dtype=np.int64),
        energy=np.zeros(2),
        state=seeded(*seed),
        step=np.array(_FIRST_STEPS),
        tally=np.zeros((4, 2), dtype=np.int64),
        amplitude=np.zeros(len(box.wave), dtype=complex),
        change=np.zeros(len(box.wave), dtype=complex),
        phase=np.zeros((3, 2 * int(np.abs(box.wave).max(initial=0)) + 1), dtype=complex),
    )


def seeded(*seed: int) -> np.ndarray:
    """State of a generator, the same for the same numbers."""
    return np.random.SeedSequence(seed).generate_state(4, np.uint64)
