"""Means, error bars and fluctuations of biased samples."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import chdtri

from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Samples

_SOKAL_WINDOW = 6.0
_CHANCE = 1e-5
_LEAST_TAU = 0.05
_LEAST_TIMES = 50
_LEAST_TIMES_PER_WALKER = 20


@dataclass(frozen=True, eq=False)
class Estimate:
    """A sampled number, or an array of them, with its standard error."""

    value: Float[np.ndarray, "..."]
    stderr: Float[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class ErgodicMean:
    """A mean over walkers and time, with what its error bar rests on.

    Attributes:
        mean: the mean and its standard error, NaN where the chains are too short for one.
        tau: integrated autocorrelation time (records), ½ where records are independent.
        effective: number of independent records, over all walkers.
        ergodic: whether the walkers agree as far as their own fluctuations let them.
        long_enough: whether the chains hold as many autocorrelation times as an error bar needs.
    """

    mean: Estimate
    tau: Float[np.ndarray, "*batch d"]
    effective: Float[np.ndarray, "*batch d"]
    ergodic: Bool[np.ndarray, "*batch d"]
    long_enough: Bool[np.ndarray, "*batch d"]


def ergodic_mean(records: Float[np.ndarray, "*batch sample walker d"]) -> ErgodicMean:
    """Mean of correlated records of independent walkers.

    The variance of the mean is estimated twice: from the spread of the walkers' means, and from
    the records within walkers, var 2τ/M. The larger is taken. Where the first exceeds the second
    by more than chance allows (once in 10⁵ by the χ² law), walkers sit in different basins: the
    point is not ergodic, more walkers do not help, and the error is the spread of single walkers.

    No error is quoted below 50 autocorrelation times in all walkers together, or below 20 in each:
    a chain much shorter than τ seems to hold some 12 of its own underestimated τ, however many
    walkers there are, so that the first rule alone would not see it.
    """
    samples, walkers = records.shape[-3:-1]
    walker_means = records.mean(-3)
    between = walker_means.var(-2, ddof=1)
    tau = autocorrelation_time(records)
    spread = records.var(-3).mean(-2)

    def of_mean(tau: np.ndarray) -> np.ndarray:
        lost = _share_of_mean(tau, samples)
        return spread * lost / (1 - lost)

    within = of_mean(tau)
    # Of records that alternate walkers need not agree better than of independent ones.
    allowed = of_mean(np.maximum(tau, 0.5)) * chdtri(walkers - 1, _CHANCE) / (walkers - 1)
    ergodic = between <= allowed
    variance = np.where(ergodic, np.maximum(between, within) / walkers, between)
    enough = long_enough(tau, samples=samples, walkers=walkers)
    return ErgodicMean(
        mean=Estimate(walker_means.mean(-2), np.where(enough, np.sqrt(variance), np.nan)),
        tau=tau,
        effective=walkers * samples / (2 * tau),
        ergodic=ergodic,
        long_enough=enough,
    )


def long_enough(
    tau: Float[np.ndarray, "*batch d"], *, samples: int, walkers: int
) -> Bool[np.ndarray, "*batch d"]:
    """Whether `samples` records per walker hold 50 times τ (records) in all, and 20 in each.

    Records that alternate count as independent ones: what a few of them seem to gain is noise.
    """
    least = max(_LEAST_TIMES_PER_WALKER, _LEAST_TIMES / walkers)
    return samples >= least * np.maximum(tau, 0.5)


def autocorrelation_time(
    records: Float[np.ndarray, "*batch sample walker d"],
) -> Float[np.ndarray, "*batch d"]:
    """Integrated autocorrelation time τ = ½ + Σ_t ρ(t) in records, ρ averaged over the walkers.

    Summed up to the first lag t ≥ 6 max(τ(t), 1) (Sokal 1997, doi:10.1007/978-1-4899-0319-8_6).
    Records that never change have τ = ½; alternating ones get no less than 0.05, as noise may
    carry the sum below zero.
    """
    samples = records.shape[-3]
    # Counted from a record, not from zero: of numbers that never change nothing is left to round.
    deviation = records - records[..., :1, :, :]
    deviation = np.moveaxis(deviation - deviation.mean(-3, keepdims=True), -3, -1)
    spectrum = np.abs(np.fft.rfft(deviation, 2 * samples)) ** 2
    covariance = np.fft.irfft(spectrum.sum(-3), 2 * samples)[..., :samples]
    covariance /= samples - np.arange(samples)
    tau = _windowed_sum(covariance)
    # A walker's own mean took a share of every covariance with it, the longer τ the more.
    lost = _share_of_mean(tau, samples)
    restored = covariance + covariance[..., :1] * (lost / (1 - lost))[..., None]
    return np.maximum(_windowed_sum(restored), _LEAST_TAU)


def _share_of_mean(
    tau: Float[np.ndarray, "*batch d"], samples: int
) -> Float[np.ndarray, "*batch d"]:
    """Variance of a walker's mean over that of its records, 2τ/M."""
    return np.clip(2 * tau / samples, 0.0, 0.5)


def _windowed_sum(covariance: Float[np.ndarray, "*batch d time"]) -> Float[np.ndarray, "*batch d"]:
    variance = covariance[..., :1]
    correlation = np.divide(covariance, variance, out=np.zeros_like(covariance), where=variance > 0)
    correlation[..., 0] = 0.5
    running = np.cumsum(correlation, -1)
    lags = np.arange(covariance.shape[-1])
    windowed = lags >= _SOKAL_WINDOW * np.maximum(running, 1.0)
    window = np.where(windowed.any(-1), windowed.argmax(-1), lags[-1])
    return np.take_along_axis(running, window[..., None], -1)[..., 0]


def chemical_potential(samples: Samples) -> Estimate:
    """μ = −2φ(⟨η⟩ − κ) of the box (eV per site), and how far it may lie from ∂f/∂η at ⟨η⟩.

    ⟨η⟩ and μ come from one average: an error δ of ⟨η⟩ moves μ by −2Φδ and ∂f/∂η by Hδ, so the
    pair misses the curve by (2Φ + H)δ = (k_BT/N) Cov(η)⁻¹ δ. Its standard deviation is returned;
    where f is steep (dilute sublattices) it is well above 2φ times the error of ⟨η⟩. NaN where
    `hessian` is.
    """
    mean = samples.eta.mean((1, 2))
    stderr = _stderr(samples, _misses(samples))
    return Estimate(samples.umbrella.chemical_potential(mean), stderr)


def sublattice_stderr(samples: Samples) -> Float[np.ndarray, "batch d"]:
    """Standard error of vᵀμ (eV per site) for the unit vectors v along sublattice fractions."""
    directions = samples.umbrella.system.directions.numpy()
    return _stderr(samples, _misses(samples) @ directions)


def _stderr(
    samples: Samples, misses: Float[np.ndarray, "batch sample walker d"]
) -> Float[np.ndarray, "batch d"]:
    """NaN in all directions where the chains are too short for one η: each of them rests on H."""
    eta, miss = ergodic_mean(samples.eta), ergodic_mean(misses)
    enough = (eta.long_enough & miss.long_enough).all(-1, keepdims=True)
    return np.where(enough, miss.mean.stderr, np.nan)


def _misses(samples: Samples) -> Float[np.ndarray, "batch sample walker d"]:
    """How far each record's share in (⟨η⟩, μ) lies from the curve."""
    deviation = samples.eta - samples.eta.mean((1, 2), keepdims=True)
    return np.einsum("bmwi,bij->bmwj", deviation, _stiffening(samples))


def hessian(samples: Samples) -> Estimate:
    """H = (k_BT/N) Cov(η)⁻¹ − 2Φ (eV per site), errors and bias by the jackknife over walkers.

    Exactly dμ/d⟨η⟩ of the box's own μ, by linear response. NaN at a point where the fluctuations
    of some order parameter rest on a single walker or on none; its error NaN where the chains are
    too short for one.
    """
    return _jackknife(hessian_replicates(samples), samples.eta)


def heat_capacity(samples: Samples) -> Estimate:
    """C = d⟨E⟩/dT per site (eV/K) at constant ⟨ηᵢ⟩ of the order parameters that have φᵢ > 0.

    C = [Var E − Cov(E, η) Cov(η)⁻¹ Cov(η, E)]/(N k_B T²), the held η alone in the second term;
    without an umbrella Var E/(N k_B T²). In a box of any size this is the slope of ⟨E⟩ where φ and
    h grow in proportion to T, and κ such that ⟨η⟩ of the held stays: how a bias answers to T is no
    property of the crystal. Errors and bias by the jackknife over walkers; the error NaN where the
    chains are too short for one.
    """
    joint = np.concatenate([samples.eta, samples.energy[..., None]], -1)
    covariance = _covariance_replicates(joint)
    held = (samples.umbrella.stiffness > 0)[:, None, :, None]
    with_energy = covariance[..., :-1, -1:]
    among = covariance[..., :-1, :-1] * (held & held.swapaxes(-1, -2))
    explained = with_energy * (np.linalg.pinv(among, hermitian=True) @ with_energy)
    per_kelvin = samples.sites / (BOLTZMANN_EV * samples.temperature**2)
    return _jackknife(
        per_kelvin[:, None] * (covariance[..., -1, -1] - explained.sum((-2, -1))), joint
    )


def hessian_replicates(samples: Samples) -> Float[np.ndarray, "batch replicate d d"]:
    """H of all walkers, then with each walker left out in turn (eV per site)."""
    thermal = (BOLTZMANN_EV * samples.temperature / samples.sites)[:, None, None, None]
    stiffness = samples.umbrella.stiffness[:, None, :, None] * np.eye(samples.eta.shape[-1])
    return thermal * _inverse(_covariance_replicates(samples.eta)) - 2 * stiffness


def jackknife_stderr(left_out: Float[np.ndarray, "batch walker *rest"]) -> np.ndarray:
    """Standard error from estimates with one walker left out each."""
    walkers = left_out.shape[1]
    deviation = left_out - left_out.mean(1, keepdims=True)
    return np.sqrt((deviation**2).sum(1) * (walkers - 1) / walkers)


def _jackknife(
    replicates: Float[np.ndarray, "batch replicate *rest"],
    records: Float[np.ndarray, "batch sample walker d"],
) -> Estimate:
    """From the estimate of all walkers and those with one left out, freed of its 1/walkers bias."""
    whole, left_out = replicates[:, 0], replicates[:, 1:]
    samples, walkers = records.shape[1:3]
    stderr = jackknife_stderr(left_out)
    enough = long_enough(autocorrelation_time(records), samples=samples, walkers=walkers).all(-1)
    stderr[~enough] = np.nan
    return Estimate(walkers * whole - (walkers - 1) * left_out.mean(1), stderr)


def _stiffening(samples: Samples) -> Float[np.ndarray, "batch d d"]:
    """2Φ + H = (k_BT/N) Cov(η)⁻¹."""
    first, second, count = _moments(samples.eta)
    thermal = (BOLTZMANN_EV * samples.temperature / samples.sites)[:, None, None]
    return thermal * _inverse(_covariance(first.sum(1), second.sum(1), count))


def _covariance_replicates(
    records: Float[np.ndarray, "batch sample walker d"],
) -> Float[np.ndarray, "batch replicate d d"]:
    """Covariance of all walkers' records, then with each walker left out in turn."""
    first, second, count = _moments(records)
    whole = first.sum(1, keepdims=True), second.sum(1, keepdims=True)
    return np.concatenate(
        [
            _covariance(*whole, count),
            _covariance(whole[0] - first, whole[1] - second, count - records.shape[1]),
        ],
        axis=1,
    )


def _moments(
    records: Float[np.ndarray, "batch sample walker d"],
) -> tuple[Float[np.ndarray, "batch walker d"], Float[np.ndarray, "batch walker d d"], int]:
    """Each walker's sums of y and yyᵀ about the point's mean, and the number of records."""
    deviation = records - records.mean((1, 2), keepdims=True)
    second = np.einsum("bmwi,bmwj->bwij", deviation, deviation)
    return deviation.sum(1), second, records.shape[1] * records.shape[2]


def _covariance(
    first: Float[np.ndarray, "*batch d"], second: Float[np.ndarray, "*batch d d"], count: int
) -> Float[np.ndarray, "*batch d d"]:
    """From sums over `count` records."""
    mean = first / count
    return second / count - mean[..., :, None] * mean[..., None, :]


def _inverse(covariance: Float[np.ndarray, "*batch d d"]) -> Float[np.ndarray, "*batch d d"]:
    """NaN where it does not exist."""
    regular = np.linalg.matrix_rank(covariance, hermitian=True) == covariance.shape[-1]
    inverse = np.full_like(covariance, np.nan)
    inverse[regular] = np.linalg.inv(covariance[regular])
    return inverse
