"""Phase diagrams: tie-lines over temperature, and the temperatures at which phases come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.equilibrium import TieLine, TieLineEstimate, committee_tie_line, refine, tie_lines
from idnn.estimates import Committee, CommitteeEstimate, estimate
from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System
from idnn.wells import Well

LARGEST_STEP = 20.0
"""Of temperature (K) on the way to three level wells."""

JUMP = 0.05
"""Change of composition of a tie-line, within the tolerance of temperature, that makes it another
between the same phases."""


@dataclass(frozen=True, eq=False)
class Isotherm:
    """The stable tie-lines at one temperature, in the order of composition.

    Attributes:
        temperature: K.
        lines: of lowest μ first.
    """

    temperature: float
    lines: tuple[TieLine, ...]

    @property
    def phases(self) -> list[tuple[str, str]]:
        """Of both ends of every tie-line."""
        return [line.phases for line in self.lines]


@dataclass(frozen=True, eq=False)
class Invariant:
    """A temperature at which two-phase fields begin, end, or meet.

    Attributes:
        temperature: K.
        error: half of the interval it lies in (K); zero where three wells were made level.
        phases: three that coexist (eutectoid or peritectoid); two that become one composition
            (congruent); one whose gap closes (critical).
        compositions: of these phases there, or nearest to there.
        wells: the wells at that temperature, for three phases; none otherwise.
    """

    temperature: float
    error: float
    phases: tuple[str, ...]
    compositions: tuple[float, ...]
    wells: tuple[Well, ...] = ()

    @property
    def numbers(self) -> tuple[float, ...]:
        """The temperature and the compositions, of which a committee quotes σ."""
        return (self.temperature, *self.compositions)


@dataclass(frozen=True, eq=False)
class Field:
    """A two-phase field: plot both columns of `compositions` against `temperature`.

    Attributes:
        phases: on its dilute and on its rich side.
        temperature: K, ascending.
        compositions: of both ends of the tie-line.
    """

    phases: tuple[str, str]
    temperature: Float[Tensor, " time"]
    compositions: Float[Tensor, "time 2"]


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """Isotherms in the order of temperature, closer where the phases change, and the changes."""

    isotherms: tuple[Isotherm, ...]
    invariants: tuple[Invariant, ...]

    def fields(self) -> list[Field]:
        """The two-phase fields, each a chain of tie-lines through neighbouring isotherms."""
        chains: list[list[tuple[float, TieLine]]] = []
        open_now: list[list[tuple[float, TieLine]]] = []
        previous: Isotherm | None = None
        for isotherm in self.isotherms:
            before = [] if previous is None else previous.phases
            continued = {j: i for i, j in _common(before, isotherm.phases)}
            current = []
            for j, line in enumerate(isotherm.lines):
                chain = open_now[continued[j]] if j in continued else []
                if not chain:
                    chains.append(chain)
                chain.append((isotherm.temperature, line))
                current.append(chain)
            open_now, previous = current, isotherm
        return [_field(chain) for chain in chains]


def phase_diagram(
    at: Callable[[float], FreeEnergy],
    system: System,
    temperatures: Sequence[float],
    *,
    composition: tuple[float, float],
    tolerance: float = 0.5,
) -> PhaseDiagram:
    """Tie-lines at given temperatures, and between them wherever the coexisting phases change.

    An interval at whose ends different phases coexist is halved until it is narrower than
    `tolerance` (K). A change that happens and is undone between two given temperatures is not seen.
    Where two tie-lines A–B and B–C become one, the temperature is found at which their μ agree, so
    that the three wells are level.

    Args:
        at: f (eV/site) at a temperature in K.
        system: the ordering crystal.
        temperatures: K, at least two.
        composition: range in which phases are sought.
        tolerance: K.

    Raises:
        ValueError: there are fewer than two temperatures, or one is not positive.
    """
    require_positive("temperatures", torch.tensor([*temperatures], dtype=torch.float64))
    require_positive("tolerance", tolerance)
    if len(temperatures) < 2:
        raise ValueError(f"`temperatures` must be two or more; there are {len(temperatures)}.")

    def isotherm(temperature: float) -> Isotherm:
        lines = tie_lines(at(temperature), system, composition=composition)
        return Isotherm(temperature, tuple(lines))

    known = [isotherm(t) for t in sorted(temperatures)]
    whole: list[Isotherm] = known[:1]
    invariants: list[Invariant] = []
    for low, high in pairwise(known):
        between = _divided(isotherm, low, high, tolerance)
        for a, b in pairwise(between):
            if a.phases != b.phases:
                invariants += _changes(at, system, a, b)
        whole += between[1:]
    return PhaseDiagram(tuple(whole), tuple(invariants))


def committee_lines(
    at: Callable[[float], Committee], isotherm: Isotherm
) -> tuple[TieLineEstimate, ...]:
    """The tie-lines of an isotherm with those of every member."""
    network = at(isotherm.temperature)
    return tuple(committee_tie_line(network, line) for line in isotherm.lines)


def committee_invariant(
    at: Callable[[float], Committee], members: int, mean: Invariant
) -> CommitteeEstimate[Invariant]:
    """A temperature of three phases in every member.

    Raises:
        ValueError: the invariant is not one of three phases.
    """
    if len(mean.wells) != 3:
        raise ValueError(f"`mean` must be of three phases; it is of {mean.phases}.")
    system = at(mean.temperature).system
    each = [
        _levelled(lambda t, i=i: at(t).member(i), system, mean.wells, mean.temperature)
        for i in range(members)
    ]
    return estimate(mean, each)


def _divided(
    isotherm: Callable[[float], Isotherm], low: Isotherm, high: Isotherm, tolerance: float
) -> list[Isotherm]:
    """Isotherms from `low` to `high`, closer than `tolerance` where the phases change."""
    if low.phases == high.phases or high.temperature - low.temperature <= tolerance:
        return [low, high]
    middle = isotherm((low.temperature + high.temperature) / 2)
    below = _divided(isotherm, low, middle, tolerance)
    return below + _divided(isotherm, middle, high, tolerance)[1:]


def _changes(
    at: Callable[[float], FreeEnergy], system: System, low: Isotherm, high: Isotherm
) -> list[Invariant]:
    """What happens to the phases between two close temperatures."""
    kept = [
        (i, j)
        for i, j in _common(low.phases, high.phases)
        if _moved(low.lines[i], high.lines[j]) < JUMP
    ]
    found: list[Invariant] = []
    for (i, j), (b, d) in pairwise([(-1, -1), *kept, (len(low.lines), len(high.lines))]):
        a, c = i + 1, j + 1
        if a == b and c == d:
            continue
        more, fewer = low.lines[a:b], high.lines[c:d]
        if len(more) < len(fewer):
            more, fewer = fewer, more
        middle = (low.temperature + high.temperature) / 2
        three = None
        if len(more) == 2 and len(fewer) == 1 and more[0].right.phase == more[1].left.phase:
            wells = (more[0].left, more[0].right, more[1].right)
            three = _levelled(at, system, wells, middle)
        error = (high.temperature - low.temperature) / 2
        found.append(three if three is not None else _met(more, middle, error))
    return found


def _moved(a: TieLine, b: TieLine) -> float:
    """Greatest difference of composition between ends of two tie-lines."""
    return max(abs(x - y) for x, y in zip(a.compositions, b.compositions, strict=True))


def _met(lines: Sequence[TieLine], temperature: float, error: float) -> Invariant:
    """Fields that close together: their phases, and the mean of their compositions."""
    ends = [end for line in lines for end in (line.left, line.right)]
    phases = tuple(dict.fromkeys(end.phase for end in ends))
    place = sum(float(end.eta[0]) for end in ends) / len(ends)
    return Invariant(temperature, error, phases, (place,) * len(phases))


def _levelled(
    at: Callable[[float], FreeEnergy], system: System, wells: Sequence[Well], start: float
) -> Invariant | None:
    """The temperature near `start` at which three wells are level, by secants; None without it.

    There μ of the tangents A–B and B–C agree.
    """
    dilute, between, rich = wells

    def apart(t: float) -> tuple[float, TieLine, TieLine] | None:
        f = at(t)
        one, other = refine(f, system, dilute, between), refine(f, system, between, rich)
        return None if one is None or other is None else (other.mu - one.mu, one, other)

    t, before = start + 1.0, start
    last = apart(before)
    for _ in range(20):
        now = apart(t)
        if now is None or last is None or now[0] == last[0]:
            return None
        if abs(now[0]) < 1e-9:
            ends = (now[1].left, now[1].right, now[2].right)
            places = tuple(float(w.eta[0]) for w in ends)
            return Invariant(t, 0.0, tuple(w.phase for w in ends), places, ends)
        step = -now[0] * (t - before) / (now[0] - last[0])
        before, last = t, now
        t += max(-LARGEST_STEP, min(LARGEST_STEP, step))
    return None


def _common(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Indices in a and in b of all entries that two sequences share in order."""
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return [(m.a + k, m.b + k) for m in blocks for k in range(m.size)]


def _field(chain: Sequence[tuple[float, TieLine]]) -> Field:
    return Field(
        chain[0][1].phases,
        torch.tensor([t for t, _ in chain], dtype=torch.float64),
        torch.tensor([line.compositions for _, line in chain], dtype=torch.float64),
    )
