"""Loadings and heats of adsorption from grand-canonical chains, with error bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from idnn.adsorption.field import HostField
from idnn.checks import require_positive
from idnn.units import BOLTZMANN_PA_A3, GAS_CONSTANT
from sampling.adsorption.box import box_of, empty_chain, places_of
from sampling.adsorption.chain_kernel import (
    FIELDS,
    INSERTION,
    ROTATION,
    TRANSLATION,
    run,
)
from sampling.adsorption.fugacity import fugacity_coefficient
from sampling.adsorption.tables import Box, Chain, Places
from sampling.estimate import ErgodicMean, Estimate, ergodic_mean

_FEWEST_MOVES = 20
_TUNINGS = 20
_WANTED_ACCEPTANCE = 0.4
_LONGEST_STEPS = (5.0, math.pi)
_SHORTEST_STEP = 0.02
_BLOCKS = 20


class TooDense(RuntimeError):
    """More molecules entered a box than could ever fit."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long chains run.

    Attributes:
        burn_in: records that are thrown away while steps are tuned.
        records: kept, of each chain, at first.
        chains: independent ones, all of the same conditions, begun empty.
        precision: relative standard error of the loading at which a run ends; chains grow twofold
            until it is reached. None: they do not.
        most: records of each chain beyond which none is continued.
        moves: tried per record and molecule, and never fewer than 20 per record.
    """

    burn_in: int = 500
    records: int = 2000
    chains: int = 4
    precision: float | None = None
    most: int = 64_000
    moves: float = 1.0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a number of records or chains that says nothing, or no precision.
        """
        for name, least in (("burn_in", _TUNINGS), ("records", 20), ("chains", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}; it is {getattr(self, name)}.")
        if self.precision is not None and not 0 < self.precision < 1:
            raise ValueError(f"`precision` must lie in (0, 1), or be None; it is {self.precision}.")
        if self.most < self.records:
            raise ValueError(
                f"`most` must be at least `records`, {self.records}; it is {self.most}."
            )
        if not self.moves > 0:
            raise ValueError(f"`moves` must be positive; it is {self.moves}.")


@dataclass(frozen=True, eq=False)
class Uptake:
    """What a host holds at one pressure.

    Attributes:
        pressure: Pa.
        fugacity: Pa.
        molecules: per cell of the crystal.
        loading: mol/kg.
        heat: isosteric, from the fluctuations of N and U (kJ/mol); NaN where N does not vary.
        host: mean energy per molecule in the host, over k_B (K).
        guests: mean energy per molecule with the others, over k_B (K).
        tau: autocorrelation time of N (records).
        ergodic: whether the chains agree as far as their own fluctuations let them.
        acceptance: share of insertions accepted.
        records: of each chain.
    """

    pressure: float
    fugacity: float
    molecules: Estimate
    loading: Estimate
    heat: Estimate
    host: float
    guests: float
    tau: float
    ergodic: bool
    acceptance: float
    records: int


def uptake(
    field: HostField,
    *,
    temperature: float,
    pressure: float,
    schedule: Schedule | None = None,
    seed: int = 0,
    copies: tuple[int, int, int] | None = None,
    fugacity: float | None = None,
) -> Uptake:
    """Grand-canonical Monte Carlo at one pressure (Frenkel & Smit 2002, chapter 5).

    Args:
        field: of the molecule in the host.
        temperature: K.
        pressure: Pa.
        schedule: how long; `Schedule()` where None.
        seed: of the chains.
        copies: of the host's cell; where None, as few as make the box two cutoffs wide.
        fugacity: Pa; where None, that of the gas by the equation of Peng and Robinson.

    Raises:
        ValueError: a temperature, pressure or fugacity that is not positive; too few copies.
        TooDense: the molecules have no size.
    """
    require_positive("temperature", temperature)
    require_positive("pressure", pressure)
    schedule = schedule or Schedule()
    if fugacity is None:
        coefficient = fugacity_coefficient(field.guest, temperature=temperature, pressure=pressure)
        fugacity = coefficient * pressure
    require_positive("fugacity", fugacity)
    box = box_of(field, copies)
    places = places_of(field, box, temperature)
    volume = abs(float(np.linalg.det(box.lattice)))
    activity = fugacity * volume / (BOLTZMANN_PA_A3 * temperature)
    chains = [empty_chain(field, box, (seed, n)) for n in range(schedule.chains)]
    moves = _burn_in(box, places, chains, activity, 1 / temperature, schedule)
    records = np.empty((len(chains), 0, FIELDS))
    wanted = schedule.records
    while True:
        more = _advance(box, places, chains, activity, 1 / temperature, moves, wanted)
        records = np.concatenate([records, more], axis=1)
        loading = ergodic_mean(np.moveaxis(records[..., :1], 0, 1))
        wanted = min(records.shape[1], schedule.most - records.shape[1])
        if wanted <= 0 or _precise_enough(loading, schedule.precision):
            return _uptake(field, box, chains, records, loading, temperature, pressure, fugacity)


def _precise_enough(loading: ErgodicMean, precision: float | None) -> bool:
    if precision is None:
        return True
    return bool(loading.mean.stderr[0] <= precision * loading.mean.value[0])


def _burn_in(
    box: Box,
    places: Places,
    chains: list[Chain],
    activity: float,
    beta: float,
    schedule: Schedule,
) -> int:
    """Fill the boxes, tune the steps, and return the moves per record."""
    moves = _FEWEST_MOVES
    for _ in range(_TUNINGS):
        length = max(schedule.burn_in // _TUNINGS, 1)
        found = _advance(box, places, chains, activity, beta, moves, length)
        moves = max(_FEWEST_MOVES, round(schedule.moves * float(found[:, -1, 0].mean())))
        for chain in chains:
            _tune(chain)
    return moves


def _tune(chain: Chain) -> None:
    for move in (TRANSLATION, ROTATION):
        tried, accepted = chain.tally[move]
        if tried >= _FEWEST_MOVES:
            better = chain.step[move] * (0.5 + accepted / tried / (2 * _WANTED_ACCEPTANCE))
            chain.step[move] = np.clip(better, _SHORTEST_STEP, _LONGEST_STEPS[move])
    chain.tally[:] = 0


def _advance(
    box: Box,
    places: Places,
    chains: list[Chain],
    activity: float,
    beta: float,
    moves: int,
    records: int,
) -> Float[np.ndarray, "chain sample field"]:
    out = np.empty((len(chains), records, FIELDS))
    for chain, rows in zip(chains, out, strict=True):
        if not run(box, places, chain, activity, beta, moves, rows):
            raise TooDense(
                f"{int(chain.molecules[0])} molecules filled the box, more than spheres of their "
                "size could: give their sites a depth, or lower the pressure."
            )
    return out


def _uptake(
    field: HostField,
    box: Box,
    chains: list[Chain],
    records: Float[np.ndarray, "chain sample field"],
    loading: ErgodicMean,
    temperature: float,
    pressure: float,
    fugacity: float,
) -> Uptake:
    cells = int(np.prod(box.copies))
    value, stderr = float(loading.mean.value[0]), float(loading.mean.stderr[0])
    per_mole = field.crystal.mol_per_kg
    means = records.mean((0, 1))
    tried, accepted = np.sum([chain.tally[INSERTION] for chain in chains], axis=0)
    return Uptake(
        pressure=pressure,
        fugacity=fugacity,
        molecules=_estimate(value / cells, stderr / cells),
        loading=_estimate(per_mole * value / cells, per_mole * stderr / cells),
        heat=_heat(records, temperature),
        host=float(means[4] / means[0]) if means[0] else math.nan,
        guests=float(means[5] / means[0]) if means[0] else math.nan,
        tau=float(loading.tau[0]),
        ergodic=bool(loading.ergodic[0]),
        acceptance=float(accepted / tried),
        records=records.shape[1],
    )


def _heat(records: Float[np.ndarray, "chain sample field"], temperature: float) -> Estimate:
    """Q = RT − R cov(N, U)/var(N), by a jackknife over twenty blocks or more of all chains."""
    blocks = math.ceil(_BLOCKS / len(records))
    length = records.shape[1] // blocks
    parts = records[:, : blocks * length].reshape(len(records) * blocks, length, FIELDS).mean(1)

    def heat(mean: np.ndarray) -> np.ndarray:
        number, energy, square, product = mean[:, :4].T
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (product - number * energy) / (square - number**2)
        return 1e-3 * GAS_CONSTANT * (temperature - slope)

    count = len(parts)
    left_out = heat((parts.sum(0) - parts) / (count - 1))
    stderr = math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))
    return _estimate(float(heat(parts.mean(0, keepdims=True))[0]), stderr)


def _estimate(value: float, stderr: float) -> Estimate:
    return Estimate(np.array(value), np.array(stderr))
