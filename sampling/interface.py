"""The interface energy of two phases in one box, by integration through the two-phase region."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Samples, Schedule, sample
from sampling.estimate import Estimate
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.integration import integrate
from sampling.lattice import Supercell


@dataclass(frozen=True, eq=False)
class TwoPhasePath:
    """Samples of one box from one phase to the other.

    Attributes:
        share: of the second phase in the box, from 0 to 1.
        samples: a point per share.
    """

    share: Float[np.ndarray, " batch"]
    samples: Samples


@dataclass(frozen=True, eq=False)
class InterfaceEnergy:
    """What a box with two phases costs more than the phases apart.

    Attributes:
        share: of the second phase.
        excess: free energy above the common tangent, over the area of two interfaces (eV/Å²); on
            the plateau, where the box holds a slab of each phase, it is σ.
        rule_error: error of the quadrature (eV/Å²).
    """

    share: Float[np.ndarray, " batch"]
    excess: Estimate
    rule_error: Float[np.ndarray, " batch"]

    @property
    def sigma(self) -> Estimate:
        """The excess where both phases have equal shares (eV/Å²)."""
        middle = int(np.abs(self.share - 0.5).argmin())
        return Estimate(self.excess.value[middle, ...], self.excess.stderr[middle, ...])


def two_phase_path(
    hamiltonian: ClusterHamiltonian,
    left: Float[np.ndarray, " d"],
    right: Float[np.ndarray, " d"],
    *,
    mu: float,
    stiffness: Float[np.ndarray, " d"],
    share: Float[np.ndarray, " batch"],
    temperature: float,
    schedule: Schedule,
    seed: int,
    threads: int = 1,
) -> TwoPhasePath:
    """Sample the box with its η held on the tie-line, a slab of each phase at the start.

    The umbrella has κ = (1 − w) η_left + w η_right, and h₀ = μ of coexistence, so that nothing is
    gained or lost by a larger share w of one phase but interfaces. With φ₀ alone this is the
    variance-constrained ensemble of Sadigh & Erhart (2012, doi:10.1103/PhysRevB.86.134204), and
    recommended: an order parameter that is held but hardly fluctuates in one of the phases adds
    the k_BT of its fluctuations to the excess.

    Args:
        hamiltonian: energies on the box; its longest edge is normal to the slabs.
        left: η of one phase at coexistence.
        right: η of the other.
        mu: exchange chemical potential of coexistence (eV/site).
        stiffness: φ (eV per site).
        share: w of each point, from 0 to 1.
        temperature: K.
        schedule: walkers, sweeps, burn-in and stride.
        seed: of the run.
        threads: as in `sample`.

    Raises:
        ValueError: shares do not rise from 0 to 1.
    """
    if not (len(share) >= 3 and share[0] == 0 and share[-1] == 1 and (np.diff(share) > 0).all()):
        raise ValueError(f"`share` must rise from 0 to 1 in at least two steps; it is {share}.")
    box = hamiltonian.supercell
    centre = left + share[:, None] * (right - left)
    field = np.zeros_like(centre)
    field[:, 0] = mu
    umbrella = Umbrella(
        box.system, centre, np.broadcast_to(stiffness, centre.shape).astype(float), field
    )
    samples = sample(
        hamiltonian,
        umbrella,
        temperature=temperature,
        schedule=schedule,
        seed=seed,
        start=slabs(box, left, right, share=share, walkers=schedule.walkers, seed=seed),
        threads=threads,
    )
    return TwoPhasePath(share, samples)


def slabs(
    box: Supercell,
    left: Float[np.ndarray, " d"],
    right: Float[np.ndarray, " d"],
    *,
    share: Float[np.ndarray, " batch"],
    walkers: int,
    seed: int,
) -> UInt8[np.ndarray, "batch walker site"]:
    """Random occupations of the phases' site fractions, `right` in the first cells of an edge."""
    cells = np.array(box.edges)
    axis = int(np.argmax(cells))
    position = np.indices(tuple(cells))[axis].ravel() / cells[axis]
    inside = np.tile(position, box.system.dimension) < share[:, None]
    inverse = np.linalg.inv(box.system.q.numpy())
    fractions = [(inverse @ eta)[box.sublattice] for eta in (left, right)]
    chance = np.where(inside, fractions[1], fractions[0])[:, None]
    draws = np.random.default_rng(seed).random((len(share), walkers, len(box.sites)))
    return (draws < chance).astype(np.uint8)


def interface_energy(path: TwoPhasePath, *, area: float) -> InterfaceEnergy:
    """σ from k_BT G along the path less the straight line between its ends.

    On the plateau N k_BT G exceeds the line by 2Aσ, and by a few k_BT: places where the slab may
    be, capillary waves, variants of an ordered phase. These do not grow with A; two areas, or one
    much above k_BT/σ, tell σ from them.

    Args:
        path: what `two_phase_path` sampled.
        area: A of one interface (Å²).

    Raises:
        ValueError: the area is not positive.
    """
    if not area > 0:
        raise ValueError(f"`area` must be positive; it is {area:g}.")
    samples, share = path.samples, path.share
    points = [samples.point(i) for i in range(len(share))]
    up, down = integrate(points, reference=0.0), integrate(points[::-1], reference=0.0)
    value = (1 - share) * up.potential.value + share * down.potential.value[::-1]
    stderr = np.hypot((1 - share) * up.potential.stderr, share * down.potential.stderr[::-1])
    rule = np.maximum(up.rule_error, down.rule_error[::-1]) * BOLTZMANN_EV * samples.temperature
    scale = samples.sites / (2 * area)
    return InterfaceEnergy(share, Estimate(scale * value, scale * stderr), scale * rule)
