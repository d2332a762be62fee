"""Sampling for as long as a wanted precision of μ takes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from idnn.checks import require_positive
from sampling.chains import Chains
from sampling.ensemble import LANES, Samples, Schedule, sample
from sampling.equilibration import stationary
from sampling.estimate import Estimate, chemical_potential, ergodic_mean, hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.walkers import Kernel

PRECISION = "precision"


@dataclass(frozen=True, eq=False)
class PreciseRun:
    """One point, sampled until its μ was known well enough or its budget spent.

    Attributes:
        samples: all records of the point, those before equilibrium included.
        mu: of the stationary ones (eV per site); the error NaN where none can be quoted.
        outcome: "precision" where every error of μ is small enough; else, when the budget ends,
            "not ergodic" where the walkers still disagree, "frozen" where some order parameter
            never changed (κ too far outside for ⟨η⟩ to follow, or too cold: no budget helps), and
            "budget" where more of it would do.
        needed: sweeps after burn-in that the wanted precision takes, judged by the error at the
            end; NaN where none can be quoted.
    """

    samples: Samples
    mu: Estimate
    outcome: str
    needed: float


def sample_to_precision(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperature: float | Float[np.ndarray, " batch"],
    sigma_mu: float,
    first: Schedule,
    budget: int,
    seed: int,
    point_seeds: tuple[int, ...] | None = None,
    kernel: Kernel = LANES,
    threads: int = 1,
) -> list[PreciseRun]:
    """Chains that double in length until σ of every μᵢ is at most `sigma_mu`, point by point.

    Errors are looked at after `first.sweeps`, twice as many, four times, …, so few times that
    stopping on a chance low one hardly narrows them; never on an error that is not quoted, nor
    where walkers disagree. The records are those of one uninterrupted run of that length, and a
    point's do not depend on the others.

    Args:
        hamiltonian: energies on the box.
        umbrella: κ, φ and h, [point, d].
        temperature: K, of all points or of each.
        sigma_mu: wanted standard error (eV per site).
        first: walkers, burn-in and stride, and the sweeps of the first batch.
        budget: most sweeps after burn-in, per walker and point.
        seed: of the run.
        point_seeds: one per point; 0, 1, 2, … if not given.
        kernel: the moves.
        threads: as in `sample`.

    Raises:
        ValueError: `sigma_mu` is not positive, the budget is below the first batch, there is a
            single walker, or whatever `sample` refuses.
    """
    require_positive("sigma_mu", sigma_mu)
    if first.walkers < 2:
        raise ValueError(
            f"`first` must have at least 2 `walkers`, for error bars; it has {first.walkers}."
        )
    if not budget >= first.sweeps:
        raise ValueError(
            f"`budget` must hold the first batch of {first.sweeps} sweeps; it is {budget}."
        )
    seeds = tuple(range(len(umbrella.centre))) if point_seeds is None else point_seeds
    settings = {"seed": seed, "kernel": kernel, "threads": threads}
    batch = sample(
        hamiltonian,
        umbrella,
        temperature=temperature,
        schedule=first,
        point_seeds=seeds,
        **settings,
    )
    runs = [_judged(batch.point(i), sigma_mu) for i in range(len(seeds))]
    done = first.samples * first.stride
    while unfinished := [i for i, run in enumerate(runs) if run.outcome != PRECISION]:
        more = min(done, budget - done)
        if more < 2 * first.stride:
            break
        so_far = [runs[i].samples for i in unfinished]
        batch = sample(
            hamiltonian,
            _together([point.umbrella for point in so_far]),
            temperature=np.concatenate([point.temperature for point in so_far]),
            schedule=replace(first, sweeps=more, burn_in=0),
            point_seeds=tuple(seeds[i] for i in unfinished),
            start=_side_by_side([point.chains for point in so_far]),
            **settings,
        )
        for row, i in enumerate(unfinished):
            runs[i] = _judged(_joined(runs[i].samples, batch.point(row)), sigma_mu)
        done += batch.schedule.samples * first.stride
    return runs


def _judged(samples: Samples, sigma_mu: float) -> PreciseRun:
    """The point as it stands, as if the budget ended here."""
    settled, start = stationary(samples)
    mu = chemical_potential(settled)
    if not start.reached.all():
        mu = Estimate(mu.value, np.full_like(mu.stderr, np.nan))
    quantities = np.concatenate([settled.eta, settled.energy[..., None]], -1)
    agreed = bool(ergodic_mean(quantities).ergodic.all())
    worst = float(mu.stderr.max())
    frozen = bool(np.isnan(hessian(settled).value).any())
    spent = "not ergodic" if not agreed else "frozen" if frozen else "budget"
    outcome = PRECISION if agreed and worst <= sigma_mu else spent
    sweeps = samples.eta.shape[1] * samples.schedule.stride
    return PreciseRun(samples, mu, outcome, sweeps * (worst / sigma_mu) ** 2)


def _joined(before: Samples, after: Samples) -> Samples:
    """The records of a run and of its continuation as those of one run."""
    schedule = before.schedule
    sweeps = [samples.eta.shape[1] * schedule.stride for samples in (before, after)]
    weight = schedule.burn_in + sweeps[0], sweeps[1]
    accepted = before.acceptance * weight[0] + after.acceptance * weight[1]
    return replace(
        after,
        eta=np.concatenate([before.eta, after.eta], 1),
        energy=np.concatenate([before.energy, after.energy], 1),
        acceptance=accepted / sum(weight),
        schedule=replace(schedule, sweeps=sum(sweeps)),
    )


def _side_by_side(chains: list[Chains]) -> Chains:
    """Chains of single points of one run as those of all: they share the order of sites."""
    return replace(
        chains[0],
        occupation=np.concatenate([point.occupation for point in chains]),
        state=np.concatenate([point.state for point in chains]),
    )


def _together(umbrellas: list[Umbrella]) -> Umbrella:
    return Umbrella(
        umbrellas[0].system,
        centre=np.concatenate([umbrella.centre for umbrella in umbrellas]),
        stiffness=np.concatenate([umbrella.stiffness for umbrella in umbrellas]),
        field=np.concatenate(
            [np.broadcast_to(umbrella.field, umbrella.centre.shape) for umbrella in umbrellas]
        ),
    )
