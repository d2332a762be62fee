"""γ/γ′ boundaries and the ordering temperature of an expansion, from atomistic free energies.

Semi-grand Monte Carlo along the field h (eV per unit of x) and the temperature, integrated from
limits known exactly: few atoms of the second species in the first, few antisites in L1₂, coin
tosses at infinite temperature. No bias, no network. Two phases coexist where k_BT G of both
branches cross.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from idnn.files import write_atomically
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Samples, Schedule, sample
from sampling.estimate import Estimate, ergodic_mean
from sampling.expansion import ClusterExpansion
from sampling.groundstates import find_ground_states
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.integration import (
    INFINITE_TEMPERATURE,
    Integral,
    coin_tosses,
    crossing,
    integrate,
    low_temperature,
)
from sampling.lattice import Supercell
from sampling.style import COLOURS, new_figure

logger = logging.getLogger(__name__)

DILUTE = 0.003
"""Fraction of flipped sites up to which terms in three flips are negligible."""
PRECISION = ("cells", "walkers", "sweeps", "burn_in", "seed")
"""Settings on which a result depends; the others list the results wanted."""
ORDERED = 0.5
"""|ηᵢ|/x, i ≥ 1, above which a walker counts as γ′, where it is near one; γ has less than half."""


@dataclass(frozen=True)
class Settings:
    """What is computed; temperatures in K."""

    temperatures: tuple[float, ...] = (600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400)
    cells: int = 8
    order_cells: tuple[int, ...] = (8, 12, 16)
    order_fields: tuple[float, ...] = (0.4, 0.5, 0.6)
    walkers: int = 8
    sweeps: int = 600
    burn_in: int = 150
    seed: int = 1


@dataclass(frozen=True)
class Conditions:
    """Points of a path: its parameter, the field (eV) and the temperature (K)."""

    along: np.ndarray
    field: np.ndarray
    kelvin: np.ndarray


@dataclass(frozen=True)
class Branch:
    """One phase along a path: the parameter, G, and x_Al with its σ."""

    along: np.ndarray
    integral: Integral
    x: Estimate

    def __getitem__(self, chosen: np.ndarray) -> "Branch":
        """Some of the points."""

        def pick(estimate: Estimate) -> Estimate:
            return Estimate(estimate.value[chosen], estimate.stderr[chosen])

        part = Integral(
            pick(self.integral.reduced), *(
                values[chosen]
                for values in (
                    self.integral.rule_error, self.integral.sound, self.integral.temperature
                )
            )
        )  # fmt: skip
        return Branch(self.along[chosen], part, pick(self.x))

    def nearest(self, where: Estimate) -> "Branch":
        """The eight points nearest to a crossing."""
        order = np.argsort(np.abs(self.along - where.value), kind="stable")
        return self[np.sort(order[:8])]

    def composition(self, where: Estimate) -> list[float]:
        """x at a crossing, and its σ: of x there, and of the crossing times the slope of x."""
        fit = Polynomial.fit(self.along, self.x.value, 3)
        nearest = self.x.stderr[np.argmin(np.abs(self.along - where.value))]
        x, slope = float(fit(where.value)), float(fit.deriv()(where.value))
        return [x, float(np.hypot(nearest, slope * where.stderr))]


class Alloy:
    """An expansion, its γ and γ′ crystals, and the fields at which γ′ is a ground state."""

    def __init__(self, expansion: ClusterExpansion, settings: Settings) -> None:
        self.expansion, self.settings = expansion, settings
        self.small = ClusterHamiltonian.on(expansion, Supercell(FCC_L12, 4))
        states = find_ground_states(expansion)
        ordered = states.names.index("L1_2 Ni3Al")
        rich = states.fractions > 0.25 + 1e-9
        slope = states.energies - states.energies[ordered]
        slope[states.fractions != 0.25] /= (states.fractions - 0.25)[states.fractions != 0.25]
        self.low, self.high = slope[states.fractions < 0.25 - 1e-9].max(), slope[rich].min()
        if not self.low < self.high:
            raise ValueError("L1_2 Ni3Al is not a ground state of this expansion: no γ′ to find.")

    def crystal(self, cells: int, *, ordered: bool) -> np.ndarray:
        """L1₂ Ni₃Al, or pure Ni."""
        occupation = np.zeros(4 * cells**3, np.uint8)
        occupation[: cells**3] = ordered
        return occupation

    def limit(self, field: float, kelvin: float, *, ordered: bool) -> Estimate:
        """G of the crystal with few flipped sites."""
        reduced = low_temperature(
            self.small, fields([field]), temperature=kelvin,
            occupation=self.crystal(4, ordered=ordered),
        )  # fmt: skip
        return Estimate(reduced[0, ...], np.zeros(()))

    def dilute_field(self, kelvin: float) -> float:
        """Field at which a share `DILUTE` of the sites of Ni holds Al."""
        cost = self.small.flip_cost(self.crystal(4, ordered=False)[None], 0)[0]
        return float(cost + BOLTZMANN_EV * kelvin * np.log(DILUTE))

    def schedule(self, effort: float) -> Schedule:
        """The settings' walkers and sweeps, or a part of the sweeps."""
        s = self.settings
        return Schedule(
            walkers=s.walkers, sweeps=int(s.sweeps * effort), burn_in=int(s.burn_in * effort)
        )

    def run(self, path: Conditions, cells: int, *, ordered: bool, effort: float = 1.0) -> Samples:
        """Sample a path, every point started from the crystal."""
        start = self.crystal(cells, ordered=ordered)
        return sample(
            ClusterHamiltonian.on(self.expansion, Supercell(FCC_L12, cells)),
            fields(path.field),
            temperature=path.kelvin,
            schedule=self.schedule(effort),
            seed=self.settings.seed + ordered,
            start=np.tile(start, (len(path.along), self.settings.walkers, 1)),
        )


def fields(field: Sequence[float] | np.ndarray) -> Umbrella:
    """The semi-grand ensemble at each field on the composition."""
    return Umbrella.semi_grand(FCC_L12, np.multiply.outer(np.asarray(field), [1.0, 0, 0, 0]))


def lost(samples: Samples, *, ordered: bool) -> int:
    """Number of points before the first at which some walker has left the phase."""
    half = samples.eta.shape[1] // 2
    late = np.abs(samples.eta[:, half:].mean(1))
    share = late[..., 1:] / late[..., :1]
    kept = (share.min(-1) > ORDERED).all(1) if ordered else (share.max(-1) < ORDERED / 2).all(1)
    return len(kept) if kept.all() else int(np.argmin(kept))


def integrated(
    conditions: Conditions, pieces: list[Samples], reference: Estimate, *, ordered: bool
) -> Branch:
    """The path's phase, up to where it is lost or its chains are too short."""
    integral = integrate(pieces, reference=float(reference.value))
    statistical = np.hypot(integral.reduced.stderr, reference.stderr)
    error = np.hypot(statistical, integral.rule_error)
    integral = replace(integral, reduced=Estimate(integral.reduced.value, error))
    means = [ergodic_mean(samples.eta[..., :1]).mean for samples in pieces]
    x = Estimate(
        np.concatenate([mean.value[:, 0] for mean in means]),
        np.concatenate([mean.stderr[:, 0] for mean in means]),
    )
    count = len(conditions.along) - len(pieces[-1].temperature) + lost(pieces[-1], ordered=ordered)
    kept = np.minimum.accumulate(integral.sound) & (np.arange(len(integral.sound)) < count)
    return Branch(conditions.along, integral, x)[kept]


def meeting(
    alloy: Alloy,
    coarse: np.ndarray,
    place: Callable[[np.ndarray], Conditions],
    ends: tuple[tuple[list[Samples], Estimate], Estimate],
    cells: int,
) -> dict[str, Any] | None:
    """Where γ, followed up the parameter, and γ′, followed down, have equal G; None if nowhere.

    A short run finds where each phase is lost; around there points are three times as dense.

    Args:
        alloy: expansion and settings.
        coarse: the parameter, increasing from γ to γ′.
        place: conditions at given parameters.
        ends: samples before γ's first point and G of the first of all; G of γ′'s last point.
        cells: edge of the box.
    """
    step = coarse[1] - coarse[0]
    (before, gamma_limit), prime_limit = ends
    up = lost(alloy.run(place(coarse), 6, ordered=False, effort=0.3), ordered=False)
    down = lost(alloy.run(place(coarse[::-1]), 6, ordered=True, effort=0.3), ordered=True)
    losses = coarse[min(up, len(coarse) - 1)], coarse[::-1][min(down, len(coarse) - 1)]
    low, high = min(losses) - 3 * step, max(losses) + 3 * step
    fine = np.arange(low, high, step / 3)
    fine = fine[(fine > coarse[0]) & (fine < coarse[-1])]
    gamma_path = place(np.concatenate([coarse[coarse < low], fine]))
    prime_path = place(np.concatenate([fine, coarse[coarse > high]])[::-1])
    whole = Conditions(
        *(
            np.concatenate([[0.0] * len(before), values])
            for values in (gamma_path.along, gamma_path.field, gamma_path.kelvin)
        )
    )
    gamma = integrated(
        whole, [*before, alloy.run(gamma_path, cells, ordered=False)], gamma_limit, ordered=False
    )
    prime = integrated(
        prime_path, [alloy.run(prime_path, cells, ordered=True)], prime_limit, ordered=True
    )
    gamma, prime = (side[(side.along > low) & (side.along < high)] for side in (gamma, prime))
    if min(len(gamma.along), len(prime.along)) < 6:
        return None
    where = crossing((gamma.along, gamma.integral), (prime.along, prime.integral))
    if where is None:
        return None
    followed = [float(gamma.along.max()), float(prime.along.min())]
    gamma, prime = gamma.nearest(where), prime.nearest(where)
    where = crossing((gamma.along, gamma.integral), (prime.along, prime.integral)) or where
    return {
        "where": [float(where.value), float(where.stderr)],
        "x_gamma": gamma.composition(where),
        "x_gamma_prime": prime.composition(where),
        "followed_to": followed,
    }


def trunk(alloy: Alloy, field: float, kelvin: np.ndarray, cells: int) -> Integral:
    """G of γ′ at one field on heating from the low-temperature limit."""
    samples = alloy.run(
        Conditions(kelvin, np.full(len(kelvin), field), kelvin), cells, ordered=True
    )
    limit = alloy.limit(field, float(kelvin[0]), ordered=True)
    return integrate([samples], reference=float(limit.value))


def boundary(alloy: Alloy, kelvin: float, limit: Estimate, middle: float) -> dict | None:
    """γ from the dilute limit up the field, γ′ from the middle of its range down."""
    start, step = alloy.dilute_field(kelvin), 0.35 * BOLTZMANN_EV * kelvin
    coarse = middle - step * np.arange(int((middle - start) / step) + 1)[::-1]
    dilute = alloy.limit(float(coarse[0]), kelvin, ordered=False)

    def place(field: np.ndarray) -> Conditions:
        return Conditions(field, field, np.full(len(field), kelvin))

    return meeting(alloy, coarse, place, (([], dilute), limit), alloy.settings.cells)


def ordering(alloy: Alloy, field: float, cells: int) -> dict | None:
    """At one field, γ cooled from infinite temperature, γ′ heated from its low-temperature limit.

    The parameter is β in 1/eV.
    """
    cold = min(alloy.settings.temperatures)
    end = 1 / (BOLTZMANN_EV * cold)
    coarse = np.concatenate([np.linspace(0, end / 2, 37)[1:], np.linspace(end / 2, end, 10)[1:]])

    def place(beta: np.ndarray) -> Conditions:
        return Conditions(beta, np.full(len(beta), field), 1 / (BOLTZMANN_EV * beta))

    box = ClusterHamiltonian.on(alloy.expansion, Supercell(FCC_L12, cells))
    hot = coin_tosses(box, fields([field]), schedule=alloy.schedule(1.0), seed=alloy.settings.seed)
    infinite = Estimate(np.array(INFINITE_TEMPERATURE), np.zeros(()))
    limit = alloy.limit(field, cold, ordered=True)
    found = meeting(alloy, coarse, place, (([hot], infinite), limit), cells)
    if found is not None:
        beta, sigma = found["where"]
        found["temperature"] = [1 / (BOLTZMANN_EV * beta), sigma / (BOLTZMANN_EV * beta**2)]
    return found


def ordering_temperature(found: list[dict], name: str) -> list[float] | None:
    """T at which a boundary passes x = ¼, with σ, between the two fields around it."""
    rows = sorted((f[name][0], *f["temperature"], f[name][1]) for f in found)
    for (x0, t0, s0, e0), (x1, t1, s1, e1) in pairwise(rows):
        if x0 <= 0.25 <= x1:
            w, slope = (0.25 - x0) / (x1 - x0), (t1 - t0) / (x1 - x0)
            sigma = np.hypot((1 - w) * np.hypot(s0, slope * e0), w * np.hypot(s1, slope * e1))
            return [t0 + w * (t1 - t0), float(sigma)]
    return None


def figure(results: dict[str, Any], path: Path) -> None:
    """The boundaries, and T of ordering against 1/N."""
    canvas = new_figure(8, 3.6)
    left, right = canvas.subplots(1, 2)
    for name, label, colour in zip(
        ("x_gamma", "x_gamma_prime"), ("γ", "γ′"), COLOURS[:2], strict=True
    ):
        rows = [(row[name], float(t)) for t, row in results["boundaries"].items() if row]
        left.errorbar(
            [x for (x, _), _ in rows], [t for _, t in rows],
            xerr=[s for (_, s), _ in rows], fmt="o-", color=colour, label=label, ms=4,
        )  # fmt: skip
        known = {c: v[name] for c, v in results["ordering"].items() if v.get(name)}
        right.errorbar(
            [1 / (4 * int(c) ** 3) for c in known], [t for t, _ in known.values()],
            yerr=[s for _, s in known.values()], fmt="o", color=colour,
            label=f"{label} boundary at x = ¼",
        )  # fmt: skip
    left.set(xlabel="$x_\\mathrm{Al}$", ylabel="T (K)")
    right.set(xlabel="1/N", ylabel="T (K)")
    for axes in (left, right):
        axes.legend()
    canvas.savefig(path)


def phase_boundaries(
    expansion_file: Path, store: Path, settings: Settings | None = None
) -> dict[str, Any]:
    """Boundaries and ordering temperatures; kept in `store` (JSON) and drawn beside it (PNG).

    What is there already for the same expansion and precision is not computed again, so that a
    stopped run goes on.
    """
    settings = settings or Settings()
    expansion = ClusterExpansion.from_json(expansion_file)
    header = {
        "expansion": hashlib.sha256(expansion_file.read_bytes()).hexdigest(),
        "energies": expansion.provenance.method,
        "data_hash": expansion.provenance.data_hash,
        "precision": {name: getattr(settings, name) for name in PRECISION},
    }
    results: dict[str, Any] = header | {"boundaries": {}, "ordering": {}}
    if store.exists() and all(
        (old := json.loads(store.read_text())).get(key) == value for key, value in header.items()
    ):
        results = old

    def keep(part: str, key: str, value: object) -> None:
        results[part][key] = value
        write_atomically(store, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        logger.info("%s %s stored", part, key)

    alloy = Alloy(expansion, settings)
    middle = (alloy.low + alloy.high) / 2
    missing = [t for t in settings.temperatures if f"{t:g}" not in results["boundaries"]]
    if missing:
        heated = trunk(alloy, middle, np.array(settings.temperatures), settings.cells)
        for kelvin in missing:
            i = settings.temperatures.index(kelvin)
            limit = Estimate(heated.reduced.value[i, ...], heated.reduced.stderr[i, ...])
            keep("boundaries", f"{kelvin:g}", boundary(alloy, kelvin, limit, middle))
    for cells in settings.order_cells:
        done = results["ordering"].get(str(cells), {"fields": {}})
        for share in settings.order_fields:
            field = alloy.low + share * (alloy.high - alloy.low)
            if f"{field:.4f}" not in done["fields"]:
                done["fields"][f"{field:.4f}"] = ordering(alloy, field, cells)
                keep("ordering", str(cells), done)
        found = [row for row in done["fields"].values() if row]
        for name in ("x_gamma", "x_gamma_prime"):
            done[name] = ordering_temperature(found, name)
        keep("ordering", str(cells), done)
    figure(results, store.with_suffix(".png"))
    return results
