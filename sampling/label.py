"""Labelling: from a set of umbrellas to μ, H and E with error bars, in any process."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from idnn.order_parameters import SYSTEMS
from sampling.ensemble import Samples, Schedule, sample
from sampling.equilibration import stationary
from sampling.estimate import (
    Estimate,
    chemical_potential,
    ergodic_mean,
    hessian,
    hessian_replicates,
    jackknife_stderr,
)
from sampling.expansion import ClusterExpansion
from sampling.finite_size import ideal_excess, interaction_excess, stiffer_than_ideal
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu
from sampling.lattice import Supercell


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelTask:
    """Points to sample, as plain data that travels to another process.

    Attributes:
        expansion: the energies.
        system: name of the ordering crystal.
        cells: ordered cells per edge of the box.
        temperature: K.
        centre: κ of each point.
        stiffness: φ of each point (eV per site).
        point_seeds: a number of its own for each point; with `seed` it fixes the point's result.
        seed: of the run.
        schedule: walkers and sweeps.

    Raises:
        ValueError: `centre`, `stiffness` and `point_seeds` are not equally many.
    """

    expansion: ClusterExpansion
    system: str
    cells: int
    temperature: float
    centre: Float[np.ndarray, "batch d"]
    stiffness: Float[np.ndarray, "batch d"]
    point_seeds: tuple[int, ...]
    seed: int
    schedule: Schedule

    def __post_init__(self) -> None:
        if not len(self.centre) == len(self.stiffness) == len(self.point_seeds):
            raise ValueError(
                "`centre`, `stiffness` and `point_seeds` must be equally many; they are "
                f"{len(self.centre)}, {len(self.stiffness)} and {len(self.point_seeds)}."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledPoint:
    """One biased ensemble, sampled. Energies in eV per site.

    A point where a sublattice never changed has NaN for `mu`, `correction` and `hessian`, and is
    not ergodic. One that did not reach equilibrium, or whose chains are too short, has NaN for the
    standard errors that it cannot vouch for.

    Attributes:
        eta: ⟨η⟩ and its standard error.
        mu: ∂f/∂η at ⟨η⟩, corrected for the size of the box, and its standard error.
        mu_raw: −2φ(⟨η⟩ − κ), the box's own.
        correction: mu − mu_raw.
        hessian: ∂²f/∂η² from fluctuations, corrected likewise.
        energy: ⟨E⟩/N without the bias.
        tau: integrated autocorrelation time of each order parameter (sweeps).
        effective: independent records of each order parameter.
        acceptance: share of attempted flips accepted.
        ergodic: whether the walkers agree on ⟨η⟩ and ⟨E⟩.
        equilibrated: whether the walkers' early and late means agree once `dropped` is left out.
        dropped: sweeps after burn-in that no estimate uses.
        stiff: whether H exceeds an ideal solution's softest; only then does the correction hold a
            term for the interactions.
        seed: of the run.
        point_seed: of the point.
        schedule: walkers and sweeps.
        sites: of the box.
        kernel: what sampled.
        wall_s: seconds of this point, its share where several ran together.
    """

    eta: Estimate
    mu: Estimate
    mu_raw: Float[np.ndarray, " d"]
    correction: Float[np.ndarray, " d"]
    hessian: Estimate
    energy: Estimate
    tau: Float[np.ndarray, " d"]
    effective: Float[np.ndarray, " d"]
    acceptance: float
    ergodic: bool
    equilibrated: bool
    dropped: int
    stiff: bool
    seed: int
    point_seed: int
    schedule: Schedule
    sites: int
    kernel: str
    wall_s: float


def label(task: LabelTask) -> list[LabelledPoint]:
    """Sample every point of the task, in order.

    A point's result depends on its own entries and `seed` alone, not on its companions, the order
    of the tasks or the process that ran it.

    Raises:
        ValueError: an unknown system, a box too small, or any other entry out of range.
    """
    if task.system not in SYSTEMS:
        raise ValueError(f"`system` must be one of {sorted(SYSTEMS)}; it is {task.system!r}.")
    box = Supercell(SYSTEMS[task.system], task.cells)
    hamiltonian = ClusterHamiltonian.on(task.expansion, box)
    return [point for block in _blocks(task) for point in _label_block(task, hamiltonian, block)]


def _blocks(task: LabelTask) -> Iterator[slice]:
    """Runs of points that together fill the kernel's lanes."""
    size = -(-cpu.LANES // task.schedule.walkers)
    for first in range(0, len(task.centre), size):
        yield slice(first, first + size)


def _label_block(
    task: LabelTask, hamiltonian: ClusterHamiltonian, block: slice
) -> list[LabelledPoint]:
    start = time.perf_counter()
    system = hamiltonian.supercell.system
    samples = sample(
        hamiltonian,
        Umbrella(system, task.centre[block], task.stiffness[block]),
        temperature=task.temperature,
        schedule=task.schedule,
        seed=task.seed,
        point_seeds=task.point_seeds[block],
    )
    points = [_estimates(samples.point(i)) for i in range(len(samples.point_seeds))]
    share = (time.perf_counter() - start) / len(points)
    return [replace(point, wall_s=share) for point in points]


def _estimates(samples: Samples) -> LabelledPoint:
    """Everything about the single point of `samples`, from its stationary records."""
    samples, start = stationary(samples)
    reached = bool(start.reached[0])
    eta, energy = ergodic_mean(samples.eta), ergodic_mean(samples.energy[..., None])
    mu, excess = chemical_potential(samples), _box_excess(samples, eta.mean.value)
    known = bool(np.isfinite(excess.force).all())

    def estimate(value: np.ndarray, stderr: np.ndarray) -> Estimate:
        return Estimate(value, stderr if reached else np.full_like(stderr, np.nan))

    return LabelledPoint(
        eta=estimate(eta.mean.value[0], eta.mean.stderr[0]),
        mu=estimate(mu.value[0] - excess.force[0], np.hypot(mu.stderr[0], excess.force_stderr[0])),
        mu_raw=mu.value[0],
        correction=-excess.force[0],
        hessian=estimate(excess.hessian.value[0], excess.hessian.stderr[0]),
        energy=estimate(energy.mean.value.squeeze(), energy.mean.stderr.squeeze()),
        tau=eta.tau[0] * samples.schedule.stride,
        effective=eta.effective[0],
        acceptance=float(samples.acceptance[0]),
        ergodic=known and bool(eta.ergodic.all() and energy.ergodic.all()),
        equilibrated=reached,
        dropped=int(start.drop[0]) * samples.schedule.stride,
        stiff=bool(excess.stiff[0]),
        seed=samples.seed,
        point_seed=samples.point_seeds[0],
        schedule=samples.schedule,
        sites=samples.sites,
        kernel=samples.chains.kernel,
        wall_s=0.0,
    )


@dataclass(frozen=True, eq=False)
class _BoxExcess:
    """What the box adds to ∂f/∂η, with the error of its estimate, and H freed of it."""

    force: Float[np.ndarray, "batch d"]
    force_stderr: Float[np.ndarray, "batch d"]
    hessian: Estimate
    stiff: Bool[np.ndarray, " batch"]


def _box_excess(samples: Samples, eta: Float[np.ndarray, "batch d"]) -> _BoxExcess:
    """NaN where a sublattice never changed; interactions enter where the state is stiff."""
    q = samples.umbrella.system.q.numpy()
    inverse = np.linalg.inv(q)
    stiffness = samples.umbrella.sublattice_stiffness
    conditions = {"temperature": float(samples.temperature[0])}
    fractions = eta @ inverse.T
    changed = ((fractions > 0) & (fractions < 1)).all(-1)
    force, slope = np.full_like(eta, np.nan), np.full_like(stiffness, np.nan)
    ideal = ideal_excess(
        fractions[changed],
        np.einsum("bss->bs", stiffness)[changed],
        sites=samples.sites // len(q),
        **conditions,
    )
    force[changed] = ideal.force
    slope[changed] = ideal.slope[..., None] * np.eye(len(q))

    curvature = hessian(samples)
    curvature = replace(
        curvature, value=curvature.value - np.einsum("si,bst,tj->bij", inverse, slope, inverse)
    )
    stiff = stiffer_than_ideal(q.T @ curvature.value @ q, **conditions)
    # The jackknife's replicates carry the noise of H into the error of the correction.
    replicates = q.T @ hessian_replicates(samples)[stiff] @ q - slope[stiff, None]
    replicates[:, 0] = q.T @ curvature.value[stiff] @ q
    interaction = interaction_excess(
        np.broadcast_to(fractions[stiff, None], replicates.shape[:-1]),
        replicates,
        np.broadcast_to(stiffness[stiff, None], replicates.shape),
        sites=samples.sites,
        **conditions,
    )
    force[stiff] += interaction[:, 0]
    force_stderr = np.zeros_like(force)
    force_stderr[stiff] = jackknife_stderr(interaction[:, 1:] @ inverse)
    return _BoxExcess(force @ inverse, force_stderr, curvature, stiff)
