"""Replica exchange between conditions, and simulated annealing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from jaxtyping import Float, Int, UInt8

from idnn.checks import require_positive
from idnn.units import BOLTZMANN_EV
from sampling.chains import Chains
from sampling.ensemble import LANES, Samples, Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.walkers import Kernel


@dataclass(frozen=True, eq=False)
class Exchange:
    """What a ladder of exchanging replicas did, burn-in left out.

    Attributes:
        samples: records by condition; the walkers of one condition are still independent.
        accepted: share of accepted exchanges of each condition with the next.
        round_trips: journeys of replicas from the first condition to the last and back, by ladder.
    """

    samples: Samples
    accepted: Float[np.ndarray, " pair"]
    round_trips: Int[np.ndarray, " walker"]


def exchange(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperature: float | Float[np.ndarray, " batch"],
    schedule: Schedule,
    seed: int,
    every: int = 2,
    start: UInt8[np.ndarray, "batch walker site"] | Chains | None = None,
    kernel: Kernel = LANES,
    threads: int = 1,
) -> Exchange:
    """Sample a row of conditions whose neighbours exchange states.

    The points of `umbrella` and `temperature` make one ladder in the order given, in temperature,
    in κ, or in both; walker w of all points together is a ladder of its own. After each burst of
    `every` records, every other pair of neighbours (a, b) with states (i, j) exchanges them with
    probability min(1, exp[u_a(i) + u_b(j) − u_a(j) − u_b(i)]), u = (E + N V)/k_BT, the odd and the
    even pairs in turn (Hukushima & Nemoto 1996, doi:10.1143/JPSJ.65.1604): each condition keeps
    its ensemble, and a state that cannot leave its basin there travels to where it can.

    Args:
        hamiltonian: energies on the box.
        umbrella: κ, φ and h, [point, d].
        temperature: K, of all points or of each.
        schedule: ladders (`walkers`), sweeps, stride; `burn_in` is rounded up to whole bursts.
        seed: of the run.
        every: records from one exchange to the next, at least two.
        start: occupations, or chains of a former run to continue.
        kernel: the moves.
        threads: see `sample`.

    Raises:
        ValueError: fewer than two points, records that are no whole number of bursts, or what
            `sample` refuses.
    """
    points = len(umbrella.centre)
    if points < 2:
        raise ValueError(
            f"`umbrella` must hold at least two points to exchange; it holds {points}."
        )
    if every < 2 or schedule.samples % every:
        raise ValueError(
            f"`every` must be at least 2 and divide the {schedule.samples} records per walker; "
            f"it is {every}."
        )
    burst = replace(schedule, sweeps=every * schedule.stride, burn_in=0)
    warm = -(-schedule.burn_in // burst.sweeps)
    records: list[Samples] = []
    sources: list[np.ndarray] = []
    state = start
    for _ in range(warm + schedule.samples // every):
        samples = sample(
            hamiltonian,
            umbrella,
            temperature=temperature,
            schedule=burst,
            seed=seed,
            start=state,
            kernel=kernel,
            threads=threads,
        )
        source = _source(samples, seed=seed)
        state = _moved(samples.chains, source)
        records.append(replace(samples, chains=state))
        sources.append(source)
    moves = np.array(sources[warm:])
    return Exchange(
        samples=_joined(records[warm:], schedule),
        # Every pair is tried every other time.
        accepted=2 * (moves[:, :-1] > np.arange(points - 1)[:, None]).mean((0, 2)),
        round_trips=_round_trips(moves),
    )


def _source(samples: Samples, *, seed: int) -> Int[np.ndarray, "batch walker"]:
    """From which point each point takes its next state."""
    points, _, walkers = samples.energy.shape
    done = samples.chains.sweeps
    beta_n = samples.sites / (BOLTZMANN_EV * samples.temperature)
    bias = samples.umbrella
    wide = Umbrella(
        bias.system,
        bias.centre[:, None],
        bias.stiffness[:, None],
        np.array(np.broadcast_to(bias.field, bias.centre.shape))[:, None],
    )

    def reduced(condition: slice, state: slice) -> np.ndarray:
        energy = samples.energy[state, -1] + wide[condition].energy(samples.eta[state, -1])
        return beta_n[condition, None] * energy

    low, high = slice(None, -1), slice(1, None)
    gain = reduced(low, low) + reduced(high, high) - reduced(low, high) - reduced(high, low)
    # Drawn by the sweeps done, so that a continued run goes on as an uninterrupted one.
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(done,)))
    turn = np.arange(points - 1) % 2 == done // samples.schedule.sweeps % 2
    taken = turn[:, None] & (np.log1p(-random.random((points - 1, walkers))) < gain)
    source = np.tile(np.arange(points)[:, None], walkers)
    source[:-1] += taken
    source[1:] -= taken
    return source


def _moved(chains: Chains, source: Int[np.ndarray, "batch walker"]) -> Chains:
    """States at their new conditions; generators stay."""
    occupation = np.take_along_axis(chains.occupation, source[..., None], 0)
    return replace(chains, occupation=occupation)


def _joined(bursts: list[Samples], schedule: Schedule) -> Samples:
    last = bursts[-1]
    return replace(
        last,
        eta=np.concatenate([burst.eta for burst in bursts], 1),
        energy=np.concatenate([burst.energy for burst in bursts], 1),
        acceptance=np.mean([burst.acceptance for burst in bursts], 0),
        schedule=schedule,
    )


def _round_trips(moves: Int[np.ndarray, "burst batch walker"]) -> Int[np.ndarray, " walker"]:
    _, points, walkers = moves.shape
    walker = np.arange(walkers)
    replica = np.tile(np.arange(points)[:, None], walkers)
    left, turned = (np.zeros((points, walkers), dtype=bool) for _ in range(2))
    trips = np.zeros(walkers, dtype=np.int64)
    left[0] = True
    for source in moves:
        replica = np.take_along_axis(replica, source, 0)
        first, last = replica[0], replica[-1]
        turned[last, walker] |= left[last, walker]
        trips += turned[first, walker]
        turned[first, walker], left[first, walker] = False, True
    return trips


@dataclass(frozen=True, eq=False)
class Annealed:
    """The lowest states that annealing found, one per walker.

    Attributes:
        occupation: the states.
        eta: their η.
        energy: E/N without the bias (eV per site).
        cost: E/N + V/N, what was minimised (eV per site).
    """

    occupation: UInt8[np.ndarray, "batch walker site"]
    eta: Float[np.ndarray, "batch walker d"]
    energy: Float[np.ndarray, "batch walker"]
    cost: Float[np.ndarray, "batch walker"]


def anneal(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    temperatures: Float[np.ndarray, " step"],
    sweeps: int,
    walkers: int,
    seed: int,
    start: UInt8[np.ndarray, "batch walker site"] | None = None,
    kernel: Kernel = LANES,
    threads: int = 1,
) -> Annealed:
    """Search for the lowest E + N V by cooling (Kirkpatrick et al. 1983).

    Each walker runs through `temperatures` (K), `sweeps` at each; of the states at the ends of the
    steps it keeps the lowest. With `Swaps` the composition of `start` is kept, so that ground
    states at given compositions are found; with single flips those at given fields.
    Reference: doi:10.1126/science.220.4598.

    Raises:
        ValueError: no temperatures, fewer than two sweeps, or what `sample` refuses.
    """
    if len(temperatures) == 0:
        raise ValueError("`temperatures` must hold at least one temperature; it is empty.")
    for kelvin in temperatures:
        require_positive("temperatures", float(kelvin))
    schedule = Schedule(walkers=walkers, sweeps=sweeps, burn_in=0, stride=max(1, sweeps // 2))

    def cool() -> Iterator[Annealed]:
        state: UInt8[np.ndarray, "batch walker site"] | Chains | None = start
        for kelvin in temperatures:
            samples = sample(
                hamiltonian,
                umbrella,
                temperature=float(kelvin),
                schedule=schedule,
                seed=seed,
                start=state,
                kernel=kernel,
                threads=threads,
            )
            state = samples.chains
            yield _ends(samples)

    return reduce(_lower, cool())


def _ends(samples: Samples) -> Annealed:
    eta, energy = samples.eta[:, -1], samples.energy[:, -1]
    bias = [samples.umbrella[i : i + 1].energy(row) for i, row in enumerate(eta)]
    return Annealed(samples.chains.occupation, eta, energy, energy + np.array(bias))


def _lower(best: Annealed, found: Annealed) -> Annealed:
    better = found.cost < best.cost
    return Annealed(
        occupation=np.where(better[..., None], found.occupation, best.occupation),
        eta=np.where(better[..., None], found.eta, best.eta),
        energy=np.where(better, found.energy, best.energy),
        cost=np.where(better, found.cost, best.cost),
    )
