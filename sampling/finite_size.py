"""What a finite box adds to the umbrella's mean force: exact for ideal mixing, and interactions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import gammaln

from idnn.units import BOLTZMANN_EV

_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class Excess:
    """What a finite box adds to ∂f/∂x_s (eV per box site), and its slope d/d⟨x_s⟩."""

    force: Float[np.ndarray, "*batch d"]
    slope: Float[np.ndarray, "*batch d"]


def ideal_excess(
    mean: Float[np.ndarray, "*batch d"],
    stiffness: Float[np.ndarray, "*batch d"],
    *,
    temperature: float,
    sites: int,
) -> Excess:
    """Umbrella force on finite ideal sublattices less that on infinite ones (eV per box site).

    To leading order in 1/N it is (k_BT/2N)[f‴/(2A + f″) − f‴/f″]; here it is exact. A sublattice of
    N_s = `sites` sites under the bias N A (x − c)², N = d N_s, holds n of them with probability

        P(n) ∝ C(N_s, n) exp{−N A (n/N_s)²/k_BT + λn},

    and λ follows from the measured mean ⟨x⟩ = Σ n P(n)/N_s. The box's umbrella then pulls with
    −2A(⟨x⟩ − c) = k_BT λ/d − 2A⟨x⟩; on an infinite box with (k_BT/d) ln[⟨x⟩/(1 − ⟨x⟩)].

    Args:
        mean: ⟨x⟩ of each sublattice, strictly between 0 and 1.
        stiffness: A of each sublattice (eV per box site), zero or more.
        temperature: K.
        sites: N_s.

    Raises:
        ValueError: a mean lies outside (0, 1): the sublattice was never seen to change.
    """
    inside = (mean > 0) & (mean < 1)
    if not inside.all():
        raise ValueError(
            f"`mean` must lie strictly between 0 and 1: {(~inside).sum()} of {mean.size} entries "
            f"do not; the first is {mean[~inside][0]:.6g}. A sublattice that never changed needs "
            "longer sampling or a larger box."
        )
    thermal = BOLTZMANN_EV * temperature
    dimension = mean.shape[-1]
    filled = np.arange(sites + 1)
    degeneracy = gammaln(sites + 1) - gammaln(filled + 1) - gammaln(sites - filled + 1)
    bias = dimension * stiffness[..., None] * filled**2 / (sites * thermal)
    field, variance = _field(mean, degeneracy - bias, filled)
    ideal = np.log(mean) - np.log1p(-mean)
    curvature = sites / variance - 1 / (mean * (1 - mean))
    return Excess(
        force=thermal / dimension * (field - ideal) - 2 * stiffness * mean,
        slope=thermal / dimension * curvature - 2 * stiffness,
    )


def interaction_excess(
    mean: Float[np.ndarray, "*batch d"],
    hessian: Float[np.ndarray, "*batch d d"],
    stiffness: Float[np.ndarray, "*batch d d"],
    *,
    temperature: float,
    sites: int,
) -> Float[np.ndarray, "*batch d"]:
    """What interactions add to `ideal_excess`, to leading order in 1/N (eV per box site).

    A canonical box has f_N = f − (k_BT/2N) ln det H, and averaging over the umbrella adds its own
    anharmonic term: (k_BT/2N) tr[((2A + H)⁻¹ − H⁻¹) ∂H] in all. Of it the part with the measured
    H is taken, less the same with ideal mixing's; ∂H is ideal mixing's in both.

    Args:
        mean: ⟨x⟩ of each sublattice, strictly between 0 and 1.
        hessian: ∂²f/∂x² (eV per box site), positive definite.
        stiffness: A = QᵀΦQ (eV per box site).
        temperature: K.
        sites: N, of the whole box.
    """
    dimension = mean.shape[-1]
    thermal = BOLTZMANN_EV * temperature
    curvature = thermal / dimension / (mean * (1 - mean))
    skewness = thermal / dimension * (1 / (1 - mean) ** 2 - 1 / mean**2)
    own = np.einsum("...ss->...s", stiffness)
    real = np.linalg.inv(2 * stiffness + hessian) - np.linalg.inv(hessian)
    ideal = 1 / (2 * own + curvature) - 1 / curvature
    return thermal / (2 * sites) * skewness * (np.einsum("...ss->...s", real) - ideal)


def stiffer_than_ideal(
    hessian: Float[np.ndarray, "*batch d d"], *, temperature: float
) -> Bool[np.ndarray, "*batch"]:
    """Whether ∂²f/∂x² exceeds 4k_BT/d, an ideal solution's softest; NaN does not.

    A state as stiff as that is homogeneous, and expansions about it in 1/N make sense.
    """
    softest = 4 * BOLTZMANN_EV * temperature / hessian.shape[-1]
    known = np.all(np.isfinite(hessian), axis=(-2, -1))
    safe = np.where(known[..., None, None], hessian, 0.0)
    return np.linalg.eigvalsh(safe).min(-1) > softest


def _field(
    mean: Float[np.ndarray, "*batch d"],
    log_weight: Float[np.ndarray, "*batch d n"],
    filled: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "*batch d"], Float[np.ndarray, "*batch d"]]:
    """The λ for which exp(log_weight + λn) has the given mean of n/N_s, by bisection; var n."""
    target = mean * filled[-1]
    # At these bounds each further (or missing) filled site is e⁻²⁰⁰ times as likely as the last.
    slope = np.diff(log_weight)
    low, high = -slope.max(-1) - 200, -slope.min(-1) + 200
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _probability(log_weight, filled, middle) @ filled < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    probability = _probability(log_weight, filled, high)
    variance = (probability * (filled - target[..., None]) ** 2).sum(-1)
    return high, variance


def _probability(
    log_weight: Float[np.ndarray, "*batch d n"],
    filled: Int[np.ndarray, " n"],
    field: Float[np.ndarray, "*batch d"],
) -> Float[np.ndarray, "*batch d n"]:
    exponent = log_weight + filled * field[..., None]
    weight = np.exp(exponent - exponent.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)
