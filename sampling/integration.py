"""Free energies by thermodynamic integration, and the limits from which it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from numpy.polynomial import Polynomial

from idnn.checks import require_finite, require_positive
from idnn.units import BOLTZMANN_EV
from sampling.chains import Chains
from sampling.ensemble import Samples, Schedule
from sampling.equilibration import equilibration
from sampling.estimate import Estimate, ergodic_mean, jackknife_stderr
from sampling.hamiltonian import ClusterHamiltonian, Umbrella

INFINITE_TEMPERATURE = -float(np.log(2))
"""G at β = 0, where every site holds either species."""

_RICHARDSON = 15.0
"""Twice the step makes the error of a fourth-order rule sixteen times as large."""


@dataclass(frozen=True, eq=False)
class Integral:
    """G = −ln(Z)/N, Z = Σ exp{−[E + N Σφᵢ(ηᵢ−κᵢ)² − N Σhᵢηᵢ]/k_BT}, along a path of conditions.

    Attributes:
        reduced: G of each point, its standard error NaN behind a point that is not `sound`.
        rule_error: error of the quadrature up to each point, from steps twice as long; noise
            included. NaN where there are fewer than three points.
        sound: whether a point's chains are stationary, long enough and agree.
        temperature: K.
    """

    reduced: Estimate
    rule_error: Float[np.ndarray, " batch"]
    sound: Bool[np.ndarray, " batch"]
    temperature: Float[np.ndarray, " batch"]

    @property
    def potential(self) -> Estimate:
        """k_BT G (eV per site): without an umbrella ω = f − h·η. Not finite at infinite T."""
        thermal = BOLTZMANN_EV * self.temperature
        with np.errstate(invalid="ignore"):
            return Estimate(thermal * self.reduced.value, thermal * self.reduced.stderr)


def integrate(path: Sequence[Samples], *, reference: float) -> Integral:
    """G along the points of all `path`, in order, in temperature, field, κ, φ or all at once.

    With s = (E/N, ηᵢ², ηᵢ) and θ = β(1, φᵢ, −2φᵢκᵢ − hᵢ) the ensemble is exp(−N θ·s) but for a
    constant; so ∂G/∂θ = ⟨s⟩ and ∂²G/∂θ² = −N Cov(s). From one point to the next, y = Δθ·s,

        ΔG = ½(⟨y⟩₁ + ⟨y⟩₂) + (N/12)(Var₂ y − Var₁ y),

    the trapezoidal rule with its end correction, fourth order in Δθ (Kirkwood 1935,
    doi:10.1063/1.1749657, for the integral). Errors by the jackknife over walkers, left out at all
    points together: what exchanging replicas share is accounted for. A path through a transition
    of first order is as wrong as its hysteresis: integrate the two phases on paths of their own.

    Args:
        path: samples of one box with equally many walkers.
        reference: G of the first point.

    Raises:
        ValueError: one point alone, a single walker, boxes or numbers of walkers that differ, or a
            reference that is not finite.
    """
    require_finite("reference", reference)
    nodes = [_node(samples.point(i)) for samples in path for i in range(len(samples.temperature))]
    _require_one_ensemble(nodes)
    nodes = [
        _stationary(node, [other.theta for other in nodes[max(0, i - 1) : i + 2]])
        for i, node in enumerate(nodes)
    ]
    steps = np.array([_step(a, b) for a, b in pairwise(nodes)])
    reduced = reference + np.concatenate([np.zeros_like(steps[:1]), steps.cumsum(0)])
    whole, left_out = reduced[:, 0], reduced[:, 1:]
    walkers = left_out.shape[1]
    sound = np.array([node.sound for node in nodes])
    stderr = jackknife_stderr(left_out)
    stderr[1:][~np.minimum.accumulate(sound)[1:]] = np.nan
    return Integral(
        reduced=Estimate(walkers * whole - (walkers - 1) * left_out.mean(1), stderr),
        rule_error=_rule_error(nodes, steps[:, 0]),
        sound=sound,
        temperature=np.concatenate([samples.temperature for samples in path]),
    )


@dataclass(frozen=True, eq=False)
class _Node:
    """One point: natural parameters, the constant term of u, and the records of s."""

    theta: Float[np.ndarray, " statistic"]
    constant: float
    records: Float[np.ndarray, "sample walker statistic"]
    sites: int
    sound: bool = True


def _node(samples: Samples) -> _Node:
    beta = 1 / (BOLTZMANN_EV * samples.temperature[0])
    bias, eta = samples.umbrella, samples.eta[0]
    centre, stiffness = bias.centre[0], bias.stiffness[0]
    field = np.broadcast_to(bias.field, bias.centre.shape)[0]
    return _Node(
        theta=beta * np.concatenate([[1.0], stiffness, -2 * stiffness * centre - field]),
        constant=float(beta * stiffness @ centre**2),
        records=np.concatenate([samples.energy[0][..., None], eta**2, eta], -1),
        sites=samples.sites,
    )


def _require_one_ensemble(nodes: list[_Node]) -> None:
    if len(nodes) < 2:
        raise ValueError(f"`path` must hold at least two points; it holds {len(nodes)}.")
    kinds = {(node.sites, node.records.shape[1]) for node in nodes}
    if len(kinds) > 1 or min(walkers for _, walkers in kinds) < 2:
        raise ValueError(
            "`path` must hold samples of one box with equally many walkers, at least two; it has "
            f"(sites, walkers) {sorted(kinds)}."
        )


def _stationary(node: _Node, around: list[np.ndarray]) -> _Node:
    """The records after equilibration; judged by what the integral needs of them."""
    # From a record, not from zero: records that never change are then free of rounding.
    change = node.records - node.records[0, 0]
    needed = change @ np.stack([theta - node.theta for theta in around], -1)
    start = equilibration(needed)
    drop = int(start.drop)
    mean = ergodic_mean(needed[drop:])
    sound = bool(start.reached and mean.long_enough.all() and mean.ergodic.all())
    return replace(node, records=node.records[drop:], sound=sound)


def _step(a: _Node, b: _Node) -> Float[np.ndarray, " replicate"]:
    """ΔG of all walkers, then with each walker left out in turn."""
    (mean_a, variance_a), (mean_b, variance_b) = (
        _moments(node.records @ (b.theta - a.theta)) for node in (a, b)
    )
    correction = a.sites / 12 * (variance_b - variance_a)
    return b.constant - a.constant + (mean_a + mean_b) / 2 + correction


def _moments(
    y: Float[np.ndarray, "sample walker"],
) -> tuple[Float[np.ndarray, " replicate"], Float[np.ndarray, " replicate"]]:
    """Mean and variance by replicate."""
    centre = y.mean()
    first, second = ((y - centre) ** k for k in (1, 2))

    def replicates(values: np.ndarray) -> np.ndarray:
        by_walker, walkers = values.mean(0), values.shape[1]
        left_out = (by_walker.sum() - by_walker) / (walkers - 1)
        return np.concatenate([[by_walker.mean()], left_out])

    mean = replicates(first)
    return centre + mean, replicates(second) - mean**2


def _rule_error(
    nodes: list[_Node], steps: Float[np.ndarray, " step"]
) -> Float[np.ndarray, " batch"]:
    """Accumulated difference from the rule with every other point left out, over 15."""
    if len(nodes) < 3:
        return np.full(len(nodes), np.nan)
    pairs = zip(nodes[:-2:2], nodes[2::2], strict=True)
    twice = np.array([_step(a, b)[0] for a, b in pairs])
    once = steps[: 2 * len(twice)].reshape(-1, 2).sum(1)
    total = np.abs(np.cumsum(twice - once)) / _RICHARDSON
    reached = np.minimum((np.arange(len(nodes)) + 1) // 2, len(total))
    return np.concatenate([[0.0], total])[reached]


def coin_tosses(
    hamiltonian: ClusterHamiltonian, umbrella: Umbrella, *, schedule: Schedule, seed: int
) -> Samples:
    """The ensemble at infinite temperature: a first point of a path, with G = −ln 2.

    Args:
        hamiltonian: energies on the box.
        umbrella: of a single point; without effect at β = 0.
        schedule: walkers and records; these are independent, whatever its sweeps.
        seed: of the draws.

    Raises:
        ValueError: `umbrella` holds several points.
    """
    if len(umbrella.centre) != 1:
        raise ValueError(f"`umbrella` must hold one point; it holds {len(umbrella.centre)}.")
    box = hamiltonian.supercell
    sites, walkers = len(box.sites), schedule.walkers
    random = np.random.default_rng(seed)
    records = [
        random.integers(0, 2, (walkers, sites), dtype=np.uint8) for _ in range(schedule.samples)
    ]
    eta = np.stack([box.filled(states) for states in records]) / box.sites_per_sublattice
    return Samples(
        umbrella=umbrella,
        temperature=np.array([np.inf]),
        sites=sites,
        eta=(eta @ umbrella.system.q.numpy().T)[None],
        energy=np.stack([hamiltonian.energy(states) / sites for states in records])[None],
        acceptance=np.ones(1),
        schedule=schedule,
        seed=seed,
        point_seeds=(0,),
        chains=Chains(
            kernel="coin-tosses",
            occupation=records[-1][None],
            state=np.zeros((1, walkers, 0), np.uint32),
            order=np.arange(sites),
            order_state=np.zeros(4, np.uint32),
            sweeps=schedule.sweeps,
        ),
    )


def low_temperature(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperature: float | Float[np.ndarray, " batch"],
    occupation: Integer[np.ndarray, " site"],
) -> Float[np.ndarray, " batch"]:
    """G of a crystal with few flipped sites, from the costs Δᵢ of one flip and Δᵢⱼ of two.

        G = β(e₀ − h·η₀) − (1/N)[Σᵢ ln(1 + e^{−βΔᵢ}) + Σ_{i<j} (e^{−βΔᵢⱼ} − e^{−β(Δᵢ+Δⱼ)})],

    exact without interactions, else up to terms in three flips (Ducastelle 1991, Order and Phase
    Stability in Alloys). Takes N² costs, so use a small box: the result does not depend on it.

    Args:
        hamiltonian: energies on the box.
        umbrella: fields, [point, d].
        temperature: K, of all points or of each.
        occupation: the crystal.

    Raises:
        ValueError: an umbrella with stiffness, which couples all flips; a temperature that is not
            positive; not one 0 or 1 per site; or a flip that costs nothing or less.
    """
    require_positive("temperature", torch.as_tensor(temperature))
    if umbrella.stiffness.any():
        raise ValueError("`umbrella` must have no `stiffness` here: fields alone.")
    box = hamiltonian.supercell
    sites = len(box.sites)
    if len(occupation) != sites or not np.isin(occupation, (0, 1)).all():
        raise ValueError(f"`occupation` must hold 0 or 1 for each of the box's {sites} sites.")
    beta = np.broadcast_to(1 / (BOLTZMANN_EV * np.asarray(temperature)), len(umbrella.centre))
    field = len(umbrella.system.q) * umbrella.sublattice_field[:, box.sublattice]
    pull = field * (2 * occupation.astype(np.int64) - 1)
    crystal = occupation[None].astype(np.uint8)
    flipped = crystal ^ np.eye(sites, dtype=np.uint8)
    single = np.array([hamiltonian.flip_cost(crystal, site)[0] for site in range(sites)])
    after = np.stack([hamiltonian.flip_cost(flipped, site) for site in range(sites)], 1)
    first, second = np.triu_indices(sites, 1)
    extra = after[first, second] - single[second]
    near = np.abs(extra) > hamiltonian.quantum / 2
    first, second, extra = first[near], second[near], extra[near]
    eta = box.filled(occupation) / box.sites_per_sublattice @ umbrella.system.q.numpy().T
    ground = hamiltonian.energy(crystal)[0] / sites + umbrella.energy(
        np.broadcast_to(eta, umbrella.centre.shape)
    )
    cost = single + pull
    if not (cost > 0).all():
        raise ValueError(
            "`occupation` must be a ground state at these fields; a flip costs "
            f"{cost.min():.4g} eV there."
        )
    weight = np.exp(-beta[:, None] * cost)
    bound = weight[:, first] * weight[:, second] * np.expm1(-beta[:, None] * extra)
    return beta * ground - (np.log1p(weight).sum(1) + bound.sum(1)) / sites


def crossing(
    first: tuple[Float[np.ndarray, " one"], Integral],
    second: tuple[Float[np.ndarray, " two"], Integral],
) -> Estimate | None:
    """Where two phases have the same G: their coexistence, at a parameter of both their paths.

    Each phase's points, in any order, are fitted by a polynomial of third order, for a phase may
    be lost before the crossing is reached; give points near it alone. σ is that of ΔG over its
    slope. None where ΔG keeps its sign between the outermost points.

    Raises:
        ValueError: a phase has fewer than six points, or one that is not finite.
    """
    fits = []
    for parameter, integral in (first, second):
        if len(parameter) < 6:
            raise ValueError(f"each phase must have at least six points; one has {len(parameter)}.")
        if not np.isfinite([parameter, integral.reduced.value]).all():
            raise ValueError("each phase must have finite parameters and G; one has not.")
        fits.append(Polynomial.fit(parameter, integral.reduced.value, 3).convert())
    difference = fits[0] - fits[1]
    ends = [float(end) for p, _ in (first, second) for end in (p.min(), p.max())]
    roots = difference.roots()
    roots = np.sort(roots[np.abs(roots.imag) < 1e-9].real)
    roots = roots[(roots >= min(ends)) & (roots <= max(ends))]
    if len(roots) == 0:
        return None
    shared = (max(ends[0], ends[2]) + min(ends[1], ends[3])) / 2
    root = roots[np.argmin(np.abs(roots - shared))]
    variance = sum(
        float(integral.reduced.stderr[np.argmin(np.abs(parameter - root))]) ** 2
        for parameter, integral in (first, second)
    )
    return Estimate(np.array(root), np.array(np.sqrt(variance) / np.abs(difference.deriv()(root))))
