"""One sampled point: μ, H and E with error bars, and whether its box holds a homogeneous state."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from idnn.order_parameters import System
from sampling.blocks import LARGEST_EXCESS, block_variance
from sampling.ensemble import Samples, Schedule
from sampling.equilibration import stationary
from sampling.estimate import (
    Estimate,
    chemical_potential,
    ergodic_mean,
    hessian,
    hessian_replicates,
    jackknife_stderr,
    sublattice_stderr,
)
from sampling.finite_size import ideal_excess, interaction_excess, stiffer_than_ideal
from sampling.flip_balance import flip_balance
from sampling.hamiltonian import ClusterHamiltonian
from sampling.lattice import Supercell

ENOUGH = 1.0
"""Atoms of the rarer kind on a sublattice, in the mean, from which on its curvature is believed:
where mostly none is there, a small box measures what it does not hold."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledPoint:
    """One biased ensemble, sampled in the box that suits its state. Energies in eV per site.

    A point where a sublattice never changed has NaN for `mu`, `correction` and `hessian`, and is
    not ergodic. One that did not reach equilibrium, or whose chains are too short, has NaN for the
    standard errors that it cannot vouch for.

    Attributes:
        eta: ⟨η⟩ and its standard error.
        mu: ∂f/∂η at ⟨η⟩, corrected for the size of the box, and its standard error.
        sublattice_stderr: standard errors of vᵀμ, v the unit vectors in η along which the fraction
            of one sublattice alone changes: nearly independent of each other.
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
        cells: ordered cells per edge of the box.
        sites: of the box.
        length: edge of the box (Å): wavelengths up to this one are coarse-grained in `mu`.
        homogeneous: whether the box holds one phase, as far as it can tell: H is positive definite,
            the walkers agree, and the octants differ by no more than susceptibility allows.
        octant_excess: largest ratio of the octants' variance to that of a homogeneous state; NaN
            for an odd number of cells per edge.
        size_error: how far vᵀμ may still depend on the size of the box, for each sublattice; zero
            where only one box was sampled.
        second_opinion: μ from the balance of flips in the walkers' last states, less that of the
            umbrella in the same states: zero within its error.
        kernel: what sampled.
        flips: attempted in all boxes together.
        wall_s: seconds of this point, its share where several ran together.
    """

    eta: Estimate
    mu: Estimate
    sublattice_stderr: Float[np.ndarray, " d"]
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
    cells: int
    sites: int
    length: float
    homogeneous: bool
    octant_excess: float
    size_error: Float[np.ndarray, " d"]
    second_opinion: Estimate
    kernel: str
    flips: int
    wall_s: float


def labelled(samples: Samples, hamiltonian: ClusterHamiltonian, *, length: float) -> LabelledPoint:
    """Everything about the single point of `samples`, from its stationary records.

    Args:
        samples: one point.
        hamiltonian: what it was sampled with.
        length: edge of the box (Å).
    """
    schedule = samples.schedule
    attempted = samples.sites * schedule.walkers
    attempted *= schedule.burn_in + schedule.samples * schedule.stride
    samples, start = stationary(samples)
    reached = bool(start.reached[0])
    eta, energy = ergodic_mean(samples.eta), ergodic_mean(samples.energy[..., None])
    mu, excess = chemical_potential(samples), _box_excess(samples, eta.mean.value)
    along = np.hypot(sublattice_stderr(samples)[0], excess.sublattice_stderr[0])
    known = bool(np.isfinite(excess.force).all())
    ergodic = known and bool(eta.ergodic.all() and energy.ergodic.all())
    octants = _octant_excess(samples, hamiltonian.supercell, excess.hessian.value)
    opinion = flip_balance(
        hamiltonian,
        samples.chains.occupation[:, None],
        samples.umbrella,
        temperature=samples.temperature,
    ).disagreement

    def estimate(value: np.ndarray, stderr: np.ndarray) -> Estimate:
        return Estimate(value, stderr if reached else np.full_like(stderr, np.nan))

    label = LabelledPoint(
        eta=estimate(eta.mean.value[0], eta.mean.stderr[0]),
        mu=estimate(mu.value[0] - excess.force[0], np.hypot(mu.stderr[0], excess.force_stderr[0])),
        sublattice_stderr=estimate(mu.value[0], along).stderr,
        mu_raw=mu.value[0],
        correction=-excess.force[0],
        hessian=estimate(excess.hessian.value[0], excess.hessian.stderr[0]),
        energy=estimate(energy.mean.value.squeeze(), energy.mean.stderr.squeeze()),
        tau=eta.tau[0] * schedule.stride,
        effective=eta.effective[0],
        acceptance=float(samples.acceptance[0]),
        ergodic=ergodic,
        equilibrated=reached,
        dropped=int(start.drop[0]) * schedule.stride,
        stiff=bool(excess.stiff[0]),
        seed=samples.seed,
        point_seed=samples.point_seeds[0],
        schedule=schedule,
        cells=hamiltonian.supercell.edges[0],
        sites=samples.sites,
        length=length,
        homogeneous=False,
        octant_excess=octants,
        size_error=np.zeros_like(along),
        second_opinion=Estimate(opinion.value[0], opinion.stderr[0]),
        kernel=samples.chains.kernel,
        flips=attempted,
        wall_s=0.0,
    )
    return replace(label, homogeneous=is_homogeneous(label))


def is_homogeneous(point: LabelledPoint) -> bool:
    """Whether everything that the label says of its box fits one phase."""
    known = np.isfinite([point.mu.stderr, *point.hessian.value]).all()
    if not (point.ergodic and known) or point.octant_excess > LARGEST_EXCESS:
        return False
    return bool(np.linalg.eigvalsh(point.hessian.value).min() > 0)


def is_unstable(point: LabelledPoint, system: System) -> bool:
    """Whether ∂²f/∂x² is not positive definite among the sublattices that hold enough atoms.

    Those with fewer than `ENOUGH` of either kind tell little of it in a small box. What is negative
    among some sublattices is so among all.
    """
    if not np.isfinite(point.hessian.value).all():
        return False
    q = system.q.numpy()
    x = np.linalg.inv(q) @ point.eta.value
    told = np.minimum(x, 1 - x) * point.sites / len(q) >= ENOUGH
    curvature = (q.T @ point.hessian.value @ q)[np.ix_(told, told)]
    return bool(told.any()) and bool(np.linalg.eigvalsh(curvature).min() <= 0)


def _octant_excess(samples: Samples, box: Supercell, curvature: np.ndarray) -> float:
    if any(edge % 2 for edge in box.edges):
        return np.nan
    occupation, temperature = samples.chains.occupation, samples.temperature
    return float(block_variance(box, occupation, curvature, temperature=temperature).excess[0])


@dataclass(frozen=True, eq=False)
class _BoxExcess:
    """What the box adds to ∂f/∂η, with the errors of its estimate, and H freed of it."""

    force: Float[np.ndarray, "batch d"]
    force_stderr: Float[np.ndarray, "batch d"]
    sublattice_stderr: Float[np.ndarray, "batch d"]
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
    stderr, along = np.zeros_like(force), np.zeros_like(force)
    stderr[stiff] = jackknife_stderr(interaction[:, 1:] @ inverse)
    along[stiff] = jackknife_stderr(interaction[:, 1:]) / np.linalg.norm(q, axis=0)
    return _BoxExcess(force @ inverse, stderr, along, curvature, stiff)
