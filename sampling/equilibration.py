"""Whether chains have forgotten where they started, and how many records that took."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from sampling.ensemble import Samples

_CHANCE = 1e-4
_PARTS = (2, 4, 8, 16, 32, 64)
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Equilibration:
    """Where stationary records begin.

    Attributes:
        drop: records to leave out at the start of every walker.
        reached: whether that is enough; if not, half of the records are dropped and what is left
            still drifts.
    """

    drop: Int[np.ndarray, "*batch"]
    reached: Bool[np.ndarray, "*batch"]


def equilibration(records: Float[np.ndarray, "*batch sample walker d"]) -> Equilibration:
    """The fewest records to drop for the rest to be stationary, as far as the walkers can tell.

    Tried are nothing and the first 1/64, 1/32, … 1/2 of the records. The rest passes if in no
    quantity the mean of its first 1/2, 1/4, … or 1/64 differs from that of its later half. The
    quantities are the records and the squares of their distances from the later mean, for walkers
    that start on either side of it show in the spread alone. A difference is one number per walker
    and walkers are independent: Student's t compares it with zero, whatever the correlation in
    time, and a difference that chance would bring less than once in 10⁴ counts. The more walkers,
    the finer the test; fewer than eight show gross drifts only.
    """
    samples = records.shape[-3]
    drop = np.full(records.shape[:-3], samples // 2)
    reached = np.zeros(drop.shape, dtype=bool)
    for first in (*(samples // part for part in _PARTS), 0):
        passed = _is_stationary(records[..., first:, :, :])
        drop[passed] = first
        reached |= passed
    return Equilibration(drop, reached)


def stationary(samples: Samples) -> tuple[Samples, Equilibration]:
    """One point without the records that `equilibration` of η and energy drops."""
    start = equilibration(np.concatenate([samples.eta, samples.energy[..., None]], -1))
    drop = int(start.drop[0])
    return replace(samples, eta=samples.eta[:, drop:], energy=samples.energy[:, drop:]), start


def _is_stationary(records: Float[np.ndarray, "*batch sample walker d"]) -> Bool[np.ndarray, "..."]:
    samples, walkers = records.shape[-3:-1]
    if samples < 2:
        return np.zeros(records.shape[:-3], dtype=bool)
    half = samples // 2
    # Counted from a record, not from zero: of numbers that never change nothing is left to round.
    deviation = records - records[..., -1:, :1, :]
    deviation = deviation - deviation[..., half:, :, :].mean((-3, -2), keepdims=True)
    quantities = np.concatenate([deviation, deviation**2], -1)
    later = quantities[..., half:, :, :].mean(-3)
    beyond_chance = -stdtrit(walkers - 1, _CHANCE / 2) / np.sqrt(walkers)
    rounding = _ROUNDING * np.abs(quantities).max((-3, -2))
    passed = np.ones(records.shape[:-3], dtype=bool)
    for part in (part for part in _PARTS if samples // part > 0):
        change = quantities[..., : samples // part, :, :].mean(-3) - later
        allowed = beyond_chance * change.std(-2, ddof=1) + rounding
        passed &= (np.abs(change.mean(-2)) <= allowed).all(-1)
    return passed
