"""Sampling many biased ensembles at once with independent walkers."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from idnn.checks import require_positive
from idnn.units import BOLTZMANN_EV
from sampling.chains import Chains, fresh_chains
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.cpu import Lanes
from sampling.kernels.walkers import Kernel, Records, Walkers
from sampling.lattice import Supercell

LANES = Lanes()
"""The kernel of campaigns."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to sample each point.

    Attributes:
        walkers: independent chains per point; error bars need two.
        sweeps: sweeps after burn-in; in a sweep each site is tried once.
        burn_in: sweeps thrown away first.
        stride: sweeps per record.

    Raises:
        ValueError: no walkers, or a length out of range.
    """

    walkers: int = 64
    sweeps: int = 1000
    burn_in: int = 200
    stride: int = 2

    def __post_init__(self) -> None:
        for name, least in (("walkers", 1), ("sweeps", 1), ("burn_in", 0), ("stride", 1)):
            value = getattr(self, name)
            if not (value >= least and value % 1 == 0):
                raise ValueError(
                    f"`{name}` must be a whole number, at least {least}; it is {value}."
                )
        if self.sweeps < 2 * self.stride:
            raise ValueError(
                f"`sweeps` must hold at least two records of `stride` {self.stride}; "
                f"it is {self.sweeps}."
            )

    @property
    def samples(self) -> int:
        """Records per walker."""
        return self.sweeps // self.stride


@dataclass(frozen=True, eq=False)
class Samples:
    """Recorded after burn-in; walkers are independent chains. The batch is the points.

    Attributes:
        umbrella: the bias of each point.
        temperature: of each point (K).
        sites: N.
        eta: η of each record.
        energy: E/N of the unbiased Hamiltonian (eV per site).
        acceptance: share of attempted flips that were accepted, burn-in included.
        schedule: how long.
        seed: of the run.
        point_seeds: one per point.
        chains: where the walkers ended; `sample` continues from them.
    """

    umbrella: Umbrella
    temperature: Float[np.ndarray, " batch"]
    sites: int
    eta: Float[np.ndarray, "batch sample walker d"]
    energy: Float[np.ndarray, "batch sample walker"]
    acceptance: Float[np.ndarray, " batch"]
    schedule: Schedule
    seed: int
    point_seeds: tuple[int, ...]
    chains: Chains

    def point(self, index: int) -> "Samples":
        """One point on its own, laid out in memory as if sampled alone.

        Sums over it then round alike, whatever it was sampled with.
        """
        one = slice(index, index + 1)
        chains = self.chains
        return replace(
            self,
            umbrella=self.umbrella[one],
            temperature=self.temperature[one],
            eta=np.ascontiguousarray(self.eta[one]),
            energy=np.ascontiguousarray(self.energy[one]),
            acceptance=self.acceptance[one],
            point_seeds=self.point_seeds[one],
            chains=replace(chains, occupation=chains.occupation[one], state=chains.state[one]),
        )


class EnergyMismatch(RuntimeError):
    """The kernel's running energy is not the energy of the state it ended in."""


def sample(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperature: float | Float[np.ndarray, " batch"],
    schedule: Schedule,
    seed: int,
    point_seeds: tuple[int, ...] | None = None,
    start: UInt8[np.ndarray, "batch walker site"] | Chains | None = None,
    kernel: Kernel = LANES,
    threads: int = 1,
) -> Samples:
    """Metropolis chains of the ensemble exp{−[E + N Σφᵢ(ηᵢ−κᵢ)² − N Σhᵢηᵢ]/k_BT} at each umbrella.

    Every walker starts from sublattice fractions of its own, drawn uniformly: walkers that have
    forgotten so different starts agree, and walkers that have not betray it. A point's result
    depends on `seed`, `kernel`, its own entries of `point_seeds`, `start` and `temperature` and its
    own umbrella, not on the other points and not on `threads`.

    Which kernel: `Lanes` moves 64 walkers, of one point or of several, at the price of one;
    `Flips` moves one at a time and pays for accepted flips alone: it is faster where the walkers of
    all points together are fewer than some 10 (40 % accepted) to 40 (5 %). `Swaps` keeps the
    composition, or η, of each start.

    Args:
        hamiltonian: energies on the box.
        umbrella: κ, φ and h, [point, d].
        temperature: K, of all points or of each.
        schedule: walkers per point, sweeps, burn-in and stride.
        seed: of the run.
        point_seeds: one per point; 0, 1, 2, … if not given.
        start: occupations to start from, or chains to continue, whose generators then take the
            place of the seeds.
        kernel: the moves.
        threads: over which packs of 64 walkers (`Lanes`) or single walkers are spread.

    Raises:
        ValueError: a temperature, seed or shape out of range, or chains of another kernel.
        EnergyMismatch: the kernel failed its own check (never expected).
    """
    points = len(umbrella.centre)
    seeds = tuple(range(points)) if point_seeds is None else point_seeds
    box = hamiltonian.supercell
    _require_points(umbrella, box, seeds, seed)
    kelvin = _per_point(temperature, points)
    if not (threads >= 1 and threads % 1 == 0):
        raise ValueError(f"`threads` must be a whole number, at least 1; it is {threads}.")
    before = _chains(start, kernel, box, schedule.walkers, seed, seeds)
    walkers = _under_way(before, umbrella, kelvin, box)
    records = kernel.advance(
        hamiltonian,
        walkers,
        burn_in=schedule.burn_in,
        stride=schedule.stride,
        samples=schedule.samples,
        threads=threads,
    )
    _check_energy(hamiltonian, walkers, records)

    def by_point(values: np.ndarray) -> np.ndarray:
        return values.reshape(points, schedule.walkers, *values.shape[1:])

    sites = len(box.sites)
    sweeps = schedule.burn_in + schedule.samples * schedule.stride
    filled = np.ascontiguousarray(np.moveaxis(by_point(records.filled), 1, 2))
    energy = np.ascontiguousarray(np.moveaxis(by_point(records.energy), 1, 2))
    return Samples(
        umbrella=umbrella,
        temperature=kelvin,
        sites=sites,
        eta=filled / box.sites_per_sublattice @ umbrella.system.q.numpy().T,
        energy=hamiltonian.constant + hamiltonian.quantum * energy / sites,
        acceptance=by_point(records.accepted).mean(1) / (sites * sweeps),
        schedule=schedule,
        seed=seed,
        point_seeds=seeds,
        chains=replace(
            before,
            occupation=by_point(walkers.occupation),
            state=by_point(walkers.state),
            order=walkers.order,
            order_state=walkers.order_state,
            sweeps=before.sweeps + sweeps,
        ),
    )


def _require_points(
    umbrella: Umbrella, box: Supercell, point_seeds: tuple[int, ...], seed: int
) -> None:
    if umbrella.system.name != box.system.name:
        raise ValueError(
            f"`umbrella` must be on the order parameters of the box, {box.system.name!r}; it is "
            f"on those of {umbrella.system.name!r}."
        )
    shape = umbrella.centre.shape
    if len(shape) != 2 or umbrella.stiffness.shape != shape:
        raise ValueError(
            "`umbrella` must have `centre` and `stiffness` of shape [point, d]; they have "
            f"{shape} and {umbrella.stiffness.shape}."
        )
    field = np.shape(umbrella.field)
    if field not in ((), shape):
        raise ValueError(
            f"`field` of the umbrella must be one number or of shape {shape}; it has {field}."
        )
    if len(point_seeds) != len(umbrella.centre):
        raise ValueError(
            f"`point_seeds` must hold one per point ({len(umbrella.centre)}); "
            f"it holds {len(point_seeds)}."
        )
    if not (0 <= seed < 2**64 and seed % 1 == 0):
        raise ValueError(f"`seed` must be a whole number in [0, 2^64); it is {seed}.")
    for value in point_seeds:
        if not (0 <= value < 2**32 and value % 1 == 0):
            raise ValueError(f"`point_seeds` must be whole numbers in [0, 2^32); one is {value}.")


def _per_point(
    temperature: float | Float[np.ndarray, " batch"], points: int
) -> Float[np.ndarray, " batch"]:
    kelvin = np.atleast_1d(np.asarray(temperature, dtype=np.float64))
    if len(kelvin) not in (1, points):
        raise ValueError(
            f"`temperature` must be one number or one per point ({points}); it holds {len(kelvin)}."
        )
    for value in kelvin:
        require_positive("temperature", float(value))
    return np.ascontiguousarray(np.broadcast_to(kelvin, points))


def _chains(
    start: UInt8[np.ndarray, "batch walker site"] | Chains | None,
    kernel: Kernel,
    box: Supercell,
    walkers: int,
    seed: int,
    point_seeds: tuple[int, ...],
) -> Chains:
    """The chains to advance: those given, or fresh ones."""
    if start is None and kernel.conserves:
        raise ValueError(
            f"`start` must be given to {kernel.name}, which keeps the composition of the start; "
            "`scattered` makes random occupations of any composition."
        )
    occupation = start.occupation if isinstance(start, Chains) else start
    expected = (len(point_seeds), walkers, len(box.sites))
    if occupation is not None:
        if occupation.shape != expected:
            raise ValueError(
                f"`start` must hold occupations [point, walker, site] of shape {expected}; they "
                f"have {occupation.shape}."
            )
        strange = ~np.isin(occupation, (0, 1))
        if strange.any():
            raise ValueError(f"`start` must hold 0 and 1 alone; it holds {occupation[strange][0]}.")
    if not isinstance(start, Chains):
        return fresh_chains(
            kernel, box, walkers=walkers, seed=seed, point_seeds=point_seeds, occupation=occupation
        )
    if start.kernel != kernel.name:
        raise ValueError(
            f"`start` holds chains of kernel {start.kernel}, which {kernel.name} cannot continue; "
            "pass their `occupation` to start new ones there."
        )
    return start


def _under_way(
    chains: Chains, umbrella: Umbrella, temperature: Float[np.ndarray, " batch"], box: Supercell
) -> Walkers:
    """Copies of the chains, flat, each with its point's conditions."""
    stiffness = box.system.dimension * umbrella.sublattice_stiffness
    pull = (stiffness @ umbrella.sublattice_centre[..., None])[..., 0]
    field = box.system.dimension * umbrella.sublattice_field
    alone = np.einsum("pss->ps", stiffness) / box.sites_per_sublattice
    point = np.repeat(np.arange(len(temperature)), chains.occupation.shape[1])
    return Walkers(
        occupation=chains.occupation.reshape(len(point), -1).copy(),
        state=chains.state.reshape(len(point), -1).copy(),
        order=chains.order.copy(),
        order_state=chains.order_state.copy(),
        beta=(1 / (BOLTZMANN_EV * temperature))[point],
        slope=(2 * stiffness / box.sites_per_sublattice)[point],
        offset=(-2 * pull - field)[point],
        self_term=alone[point],
    )


def _check_energy(hamiltonian: ClusterHamiltonian, walkers: Walkers, records: Records) -> None:
    expected = hamiltonian.energy_quanta(walkers.occupation)
    found = records.energy[:, -1]
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        raise EnergyMismatch(
            f"After the run {len(wrong)} of {len(expected)} walkers carry a wrong energy (the "
            f"first, {wrong[0]}, {found[wrong[0]]} quanta for {expected[wrong[0]]}): the compiled "
            "kernel is at fault; delete its cache (`__pycache__`) and run again."
        )
