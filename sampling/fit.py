"""Fitting effective cluster interactions: Bayesian ridge, leave-one-out selection, covariance."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float

from idnn.checks import require_in_range, require_positive
from sampling.clusters import orbits
from sampling.energies import EnergySet
from sampling.expansion import ClusterExpansion, Orbit, Provenance, cluster_sums
from sampling.hull import energy_above_hull
from sampling.ridge import LinearFit, bayesian_ridge

logger = logging.getLogger(__name__)

FREE_WIDTH = 100.0
"""Prior width of the constant and point terms relative to pairs: in effect unconstrained, because
they follow from the end members and not from how interactions decay."""

OUTSIDE_WEIGHTS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What to fit, to which structures, and the choices left to cross-validation.

    The weight of a structure is w = w_x / (1 + (ΔE/scale)²), ΔE its energy above the convex hull:
    its model error is taken to grow with ΔE, because structures far above the hull are not
    visited by the simulation. Structures beyond `x_focus` help to fit, with a weight w_x that
    cross-validation chooses, but candidates are judged by the others alone.

    Attributes:
        cutoffs: candidate cutoffs (Å), each one length for pairs, one for triplets, and so on.
        x_focus: composition of the second species up to which the expansion must be good.
        outside_weights: candidates for w_x beyond `x_focus` (1 up to it); 0 leaves those out.
        hull_scale: scale of ΔE (eV/atom).
        ridges: candidate ratios (noise / prior width of a nearest pair)².
        order_decays: candidate factors of the prior width for every site more in a cluster.
        size_decays: candidate exponents p of the prior width, (r₁/r)^p, r the cluster radius.

    Raises:
        ValueError: an entry is outside its range or a list is empty.
    """

    cutoffs: tuple[tuple[float, ...], ...]
    x_focus: float = 0.4
    outside_weights: tuple[float, ...] = OUTSIDE_WEIGHTS
    hull_scale: float = 0.1
    ridges: tuple[float, ...] = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
    order_decays: tuple[float, ...] = (1.0, 0.5)
    size_decays: tuple[float, ...] = (0.0, 2.0)

    def __post_init__(self) -> None:
        require_in_range("x_focus", self.x_focus, 0, 1)
        for name in ("cutoffs", "outside_weights", "ridges", "order_decays", "size_decays"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must hold at least one candidate; it is empty.")
        for cutoffs in self.cutoffs:
            require_positive("cutoffs", torch.tensor(cutoffs))
        require_in_range("outside_weights", torch.tensor(self.outside_weights), 0, 1)
        require_positive("hull_scale", self.hull_scale)
        require_positive("ridges", torch.tensor(self.ridges))
        require_positive("order_decays", torch.tensor(self.order_decays))
        require_in_range("size_decays", torch.tensor(self.size_decays), 0, 10)


@dataclass(frozen=True)
class Choice:
    """One combination of what cross-validation decides between."""

    cutoffs: tuple[float, ...]
    outside_weight: float
    ridge: float
    order_decay: float
    size_decay: float


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Every structure predicted without itself; errors not weighted (eV/atom).

    Attributes:
        predictions: formation energies, each from a fit to the others.
        rmse_full: root mean square error over all structures.
        rmse_focus: the same over structures up to `x_focus`.
        rmse_hull: over those of them within `hull_scale` of the convex hull.
    """

    predictions: Float[np.ndarray, " sample"]
    rmse_full: float
    rmse_focus: float
    rmse_hull: float


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted expansion and how it was chosen.

    Attributes:
        expansion: of the formation energy, eV/site.
        cross_validation: leave-one-out, with `choice` made once from all structures.
        settings: as given.
        choice: what was chosen.
        noise: σ of a structure of mean weight (eV/atom).
        weights: of each structure, with mean 1.
    """

    expansion: ClusterExpansion
    cross_validation: CrossValidation
    settings: FitSettings
    choice: Choice
    noise: float
    weights: Float[np.ndarray, " sample"]


def fit_expansion(energies: EnergySet, settings: FitSettings) -> Fit:
    """Fit formation energies; cutoffs, weights and prior minimise the leave-one-out error.

    The error is that of the structures up to `x_focus`, weighted by their distance to the hull.

    The Gaussian prior on ECIs follows Mueller & Ceder (2009), doi:10.1103/PhysRevB.80.024103.

    Raises:
        ValueError: no candidate has fewer parameters than there are structures of weight above 0.
    """
    candidates = _candidates(energies, settings)
    everywhere = np.ones(len(energies.ids))
    best, chosen = _select(candidates, energies, settings, everywhere)
    logger.info("chose %s of %d candidates", best.choice, len(candidates))
    validation = _errors(energies, chosen.predictions, settings)
    return Fit(
        expansion=_expansion(energies, settings, best, chosen, validation),
        cross_validation=validation,
        settings=settings,
        choice=best.choice,
        noise=chosen.noise,
        weights=structure_weights(energies, settings, best.choice.outside_weight),
    )


def nested_cross_validation(
    energies: EnergySet, settings: FitSettings, *, folds: int = 10, seed: int = 0
) -> CrossValidation:
    """Every fold predicted by a fit whose every choice was made without it.

    Unlike the leave-one-out error that the choice minimises, this one is not flattered by it.

    Raises:
        ValueError: fewer than 2 folds, or more than structures.
    """
    count = len(energies.ids)
    require_in_range("folds", folds, 2, count)
    candidates = _candidates(energies, settings)
    fold = np.random.default_rng(seed).permutation(np.arange(count) % folds)
    predictions = np.empty(count)
    for k in range(folds):
        held_out = fold == k
        best, chosen = _select(candidates, energies, settings, np.where(held_out, 0.0, 1.0))
        predictions[held_out] = (best.design @ chosen.mean)[held_out]
    return _errors(energies, predictions, settings)


def structure_weights(
    energies: EnergySet, settings: FitSettings, outside_weight: float
) -> Float[np.ndarray, " sample"]:
    """Weight of each structure, with mean 1."""
    x = energies.fractions
    above = energy_above_hull(x, energies.formation_energies)
    inside = np.where(_in_focus(energies, settings), 1.0, outside_weight)
    weights = inside / (1 + (above / settings.hull_scale) ** 2)
    return weights / weights.mean()


def _in_focus(energies: EnergySet, settings: FitSettings) -> Bool[np.ndarray, " sample"]:
    return energies.fractions <= settings.x_focus + 1e-9  # 0.4 of a sum of sites is not 0.4


@dataclass(frozen=True, eq=False)
class _Candidate:
    choice: Choice
    orbits: tuple[Orbit, ...]
    design: Float[np.ndarray, "sample parameter"]
    widths: Float[np.ndarray, " parameter"]


def _candidates(energies: EnergySet, settings: FitSettings) -> list[_Candidate]:
    found: list[_Candidate] = []
    for cutoffs in settings.cutoffs:
        listed = orbits(energies.lattice, cutoffs)
        design = cluster_sums(listed, energies.orderings)
        for values in product(
            settings.outside_weights, settings.ridges, settings.order_decays, settings.size_decays
        ):
            choice = Choice(cutoffs, *values)
            found.append(_Candidate(choice, listed, design, prior_widths(listed, choice)))
    return found


def prior_widths(listed: Sequence[Orbit], choice: Choice) -> Float[np.ndarray, " parameter"]:
    """Width of each ECI's prior relative to a nearest pair's, d = q^(order − 2) (r₁/r)^p."""
    nearest = min((orbit.radius for orbit in listed if orbit.order == 2), default=1.0)
    widths = [FREE_WIDTH]
    for orbit in listed:
        decay = choice.order_decay ** (orbit.order - 2)
        free = orbit.order == 1
        widths.append(FREE_WIDTH if free else decay * (nearest / orbit.radius) ** choice.size_decay)
    return np.array(widths)


def _select(
    candidates: Sequence[_Candidate],
    energies: EnergySet,
    settings: FitSettings,
    known: Float[np.ndarray, " sample"],
) -> tuple[_Candidate, LinearFit]:
    """The candidate of least weighted leave-one-out error in focus, and its fit.

    `known` is 1 for the structures to learn from and 0 for those to be ignored.
    """
    target = energies.formation_energies
    weights = {
        w: known * structure_weights(energies, settings, w) for w in settings.outside_weights
    }
    judged = known * structure_weights(energies, settings, 0.0)
    best: tuple[_Candidate, LinearFit] | None = None
    least = np.inf
    for candidate in candidates:
        choice, weight = candidate.choice, weights[candidate.choice.outside_weight]
        if len(candidate.widths) >= (weight > 0).sum():
            continue
        fit = bayesian_ridge(
            candidate.design, target, weights=weight, widths=candidate.widths, ridge=choice.ridge
        )
        error = (judged * (fit.predictions - target) ** 2).sum()
        if error < least:
            best, least = (candidate, fit), error
    if best is None:
        used = max(int((weight > 0).sum()) for weight in weights.values())
        raise ValueError(
            f"`cutoffs` must leave fewer parameters than the {used} structures of weight above 0; "
            f"the smallest candidate has {min(len(c.widths) for c in candidates)}. Shorten them, "
            "raise `outside_weights` or calculate more structures."
        )
    return best


def _errors(
    energies: EnergySet, predictions: Float[np.ndarray, " sample"], settings: FitSettings
) -> CrossValidation:
    squared = (predictions - energies.formation_energies) ** 2
    focus = _in_focus(energies, settings)
    above = energy_above_hull(energies.fractions, energies.formation_energies)
    near = above <= settings.hull_scale
    return CrossValidation(
        predictions=predictions,
        rmse_full=float(np.sqrt(squared.mean())),
        rmse_focus=float(np.sqrt(squared[focus].mean())),
        rmse_hull=float(np.sqrt(squared[focus & near].mean())),
    )


def _expansion(
    energies: EnergySet,
    settings: FitSettings,
    best: _Candidate,
    chosen: LinearFit,
    validation: CrossValidation,
) -> ClusterExpansion:
    lattice = energies.lattice
    return ClusterExpansion(
        species=(lattice.species,) * len(lattice.basis),
        primitive_cell=lattice.primitive_cell,
        basis=lattice.basis,
        orbits=best.orbits,
        eci=chosen.mean,
        covariance=chosen.covariance,
        provenance=Provenance(
            method=energies.method,
            data_hash=energies.source_hash,
            settings={"fit": asdict(settings), "chosen": asdict(best.choice)},
            rmse_full=validation.rmse_full,
            rmse_focus=validation.rmse_focus,
            rmse_hull=validation.rmse_hull,
        ),
    )
