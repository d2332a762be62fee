"""Sampling many biased ensembles at once with independent walkers."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8, UInt32

from idnn.checks import require_positive
from idnn.units import BOLTZMANN_EV
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to sample each point.

    Attributes:
        walkers: independent chains per point; the kernel runs 64 at the price of one.
        sweeps: sweeps after burn-in; in a sweep each site is tried once.
        burn_in: sweeps thrown away first.
        stride: sweeps per record.

    Raises:
        ValueError: fewer than two walkers (they give the error bars), or a length out of range.
    """

    walkers: int = 64
    sweeps: int = 1000
    burn_in: int = 200
    stride: int = 2

    def __post_init__(self) -> None:
        for name, least in (("walkers", 2), ("sweeps", 1), ("burn_in", 0), ("stride", 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}; it is {value}.")
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
        temperature: K.
        sites: N.
        eta: η of each record.
        energy: E/N of the unbiased Hamiltonian (eV per site).
        acceptance: share of attempted flips that were accepted, burn-in included.
        schedule: how long.
        seed: of the run.
        point_seeds: one per point.
    """

    umbrella: Umbrella
    temperature: float
    sites: int
    eta: Float[np.ndarray, "batch sample walker d"]
    energy: Float[np.ndarray, "batch sample walker"]
    acceptance: Float[np.ndarray, " batch"]
    schedule: Schedule
    seed: int
    point_seeds: tuple[int, ...]

    def point(self, index: int) -> "Samples":
        """One point on its own, laid out in memory as if sampled alone.

        Sums over it then round alike, whatever it was sampled with.
        """
        one = slice(index, index + 1)
        umbrella = self.umbrella
        return replace(
            self,
            umbrella=replace(
                umbrella, centre=umbrella.centre[one], stiffness=umbrella.stiffness[one]
            ),
            eta=np.ascontiguousarray(self.eta[one]),
            energy=np.ascontiguousarray(self.energy[one]),
            acceptance=self.acceptance[one],
            point_seeds=self.point_seeds[one],
        )


class EnergyMismatch(RuntimeError):
    """The kernel's running energy is not the energy of the state it ended in."""


def sample(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperature: float,
    schedule: Schedule,
    seed: int,
    point_seeds: tuple[int, ...] | None = None,
) -> Samples:
    """Metropolis chains of the ensemble exp{−[E + N Σφᵢ(ηᵢ−κᵢ)²]/k_BT} at each umbrella.

    Every walker starts from sublattice fractions of its own, drawn uniformly: walkers that have
    forgotten so different starts agree, and walkers that have not betray it. A point's result
    depends on `seed`, its own entry of `point_seeds` and its own umbrella, not on the other points.

    Args:
        hamiltonian: energies on the box.
        umbrella: κ and φ, [point, d].
        temperature: K.
        schedule: walkers per point, sweeps, burn-in and stride.
        seed: of the run.
        point_seeds: one per point; 0, 1, 2, … if not given.

    Raises:
        ValueError: a temperature, seed or shape out of range.
        EnergyMismatch: the kernel failed its own check (never expected).
    """
    require_positive("temperature", temperature)
    points = len(umbrella.centre)
    seeds = tuple(range(points)) if point_seeds is None else point_seeds
    _require_points(umbrella, seeds, seed)
    walkers = _walkers(hamiltonian, umbrella, temperature, schedule.walkers, seed, seeds)
    packs, sublattices = walkers.filled.shape[:2]
    filled = np.zeros((packs, schedule.samples, sublattices, cpu.LANES), np.int32)
    energy = np.zeros((packs, schedule.samples, cpu.LANES), np.int64)
    order_state = np.random.SeedSequence(seed).generate_state(4)
    tables = cpu.tables(hamiltonian)
    cpu.run(tables, walkers, order_state, schedule.burn_in, schedule.stride, filled, energy)
    _check_energy(hamiltonian, walkers)

    sites = len(hamiltonian.supercell.sites)
    fractions = (
        _by_point(filled, points, schedule.walkers) / hamiltonian.supercell.sites_per_sublattice
    )
    attempted = sites * (schedule.burn_in + schedule.samples * schedule.stride)
    accepted = _by_point(walkers.accepted[:, None], points, schedule.walkers)
    return Samples(
        umbrella=umbrella,
        temperature=temperature,
        sites=sites,
        eta=fractions @ umbrella.system.q.numpy().T,
        energy=hamiltonian.constant
        + hamiltonian.quantum * _by_point(energy, points, schedule.walkers) / sites,
        acceptance=accepted.mean((1, 2)) / attempted,
        schedule=schedule,
        seed=seed,
        point_seeds=seeds,
    )


def _require_points(umbrella: Umbrella, point_seeds: tuple[int, ...], seed: int) -> None:
    if umbrella.centre.ndim != 2 or umbrella.stiffness.shape != umbrella.centre.shape:
        raise ValueError(
            "`umbrella` must have `centre` and `stiffness` of shape [point, d]; they have "
            f"{umbrella.centre.shape} and {umbrella.stiffness.shape}."
        )
    if len(point_seeds) != len(umbrella.centre):
        raise ValueError(
            f"`point_seeds` must hold one per point ({len(umbrella.centre)}); "
            f"it holds {len(point_seeds)}."
        )
    if not 0 <= seed < 2**64:
        raise ValueError(f"`seed` must lie in [0, 2^64); it is {seed}.")
    for value in point_seeds:
        if not 0 <= value < 2**32:
            raise ValueError(f"`point_seeds` must lie in [0, 2^32); one is {value}.")


def _walkers(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    temperature: float,
    per_point: int,
    seed: int,
    point_seeds: tuple[int, ...],
) -> cpu.Walkers:
    """Fresh walkers; lanes left over in the last pack repeat its last walker and are ignored."""
    box = hamiltonian.supercell
    starts = [
        _start(hamiltonian, np.random.SeedSequence(seed, spawn_key=(point, walker)))
        for point in point_seeds
        for walker in range(per_point)
    ]
    occupation = np.array([start[0] for start in starts])
    state = np.array([start[1] for start in starts])
    packs = -(-len(starts) // cpu.LANES)
    lane = np.minimum(np.arange(packs * cpu.LANES), len(starts) - 1).reshape(packs, cpu.LANES)
    point = lane // per_point

    stiffness = box.system.dimension * umbrella.sublattice_stiffness
    pull = (stiffness @ umbrella.sublattice_centre[..., None])[..., 0]
    return cpu.Walkers(
        occupation=_lanes_last(np.pad(occupation, ((0, 0), (0, 1)))[lane]),
        filled=_lanes_last(box.filled(occupation)[lane].astype(np.float32)),
        energy=hamiltonian.energy_quanta(occupation)[lane],
        accepted=np.zeros((packs, cpu.LANES), np.int64),
        state=_lanes_last(state[lane]),
        beta=np.full((packs, cpu.LANES), 1 / (BOLTZMANN_EV * temperature), np.float32),
        slope=_lanes_last((2 * stiffness / box.sites_per_sublattice)[point].astype(np.float32)),
        offset=_lanes_last((-2 * pull)[point].astype(np.float32)),
        self_term=_lanes_last(
            (np.einsum("pss->ps", stiffness) / box.sites_per_sublattice)[point].astype(np.float32)
        ),
    )


def _start(
    hamiltonian: ClusterHamiltonian, seed: np.random.SeedSequence
) -> tuple[UInt8[np.ndarray, " site"], UInt32[np.ndarray, " word"]]:
    """Occupation of a walker whose sublattices are filled to fractions drawn uniformly."""
    random = np.random.default_rng(seed)
    box = hamiltonian.supercell
    fractions = random.random(box.system.dimension)[box.sublattice]
    return (random.random(len(fractions)) < fractions).astype(np.uint8), seed.generate_state(4)


def _lanes_last(values: np.ndarray) -> np.ndarray:
    """[pack, lane, …] to [pack, …, lane], contiguous."""
    return np.ascontiguousarray(np.moveaxis(values, 1, -1))


def _by_point(records: np.ndarray, points: int, per_point: int) -> np.ndarray:
    """[pack, sample, …, lane] to [point, sample, walker, …]."""
    walkers = np.moveaxis(records, -1, 1).reshape(-1, *records.shape[1:-1])
    grouped = walkers[: points * per_point].reshape(points, per_point, *walkers.shape[1:])
    return np.moveaxis(grouped, 1, 2)


def _check_energy(hamiltonian: ClusterHamiltonian, walkers: cpu.Walkers) -> None:
    occupation = np.moveaxis(walkers.occupation[:, :-1], 1, -1)
    expected = hamiltonian.energy_quanta(occupation.reshape(-1, occupation.shape[-1]))
    wrong = np.flatnonzero(walkers.energy.ravel() != expected)
    if len(wrong):
        raise EnergyMismatch(
            f"After the run {len(wrong)} of {len(expected)} walkers carry a wrong energy (the "
            f"first, {wrong[0]}, {walkers.energy.ravel()[wrong[0]]} quanta for {expected[wrong[0]]}"
            "): the compiled kernel is at fault; delete its cache (`__pycache__`) and run again."
        )
