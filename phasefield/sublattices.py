"""Whether the parameters of equivalent sublattices are the same for all of their permutations."""

from collections.abc import Sequence
from itertools import permutations

from pycalphad import Database
from pycalphad.io.database import Phase
from symengine import Basic, Piecewise

NAMED = 4
"""How many parameters an error names."""

Array = tuple[str, ...]
"""Constituents of every sublattice, as a database writes them: `AL,NI` for two that mix."""

Key = tuple[str, Array, int]
"""A parameter's type, constituents and order."""


def require_symmetric(database: Database, name: str, sublattices: Sequence[Sequence[str]]) -> None:
    """Raise `ValueError` unless four equivalent sublattices share all of their parameters.

    Four with the same number of sites and the same constituents count as the tetrahedron of fcc,
    whose 24 permutations are equivalent, or, where the name begins with BCC, as that of bcc, whose
    first and last two sublattices are second neighbours, with 8.

    Args:
        database: as pycalphad reads it.
        name: of the phase.
        sublattices: constituents; parameters with others are left aside.
    """
    orders = _equivalent_orders(database.phases[name], of_bcc=name.startswith("BCC"))
    found = _parameters(database, name, sublattices)
    wrong: dict[Key, str] = {}
    for kind, array, order in found:
        given = {(kind, tuple(array[s] for s in each), order) for each in orders}
        first = min(given & found.keys())
        for image in sorted(given):
            if image not in found:
                wrong[image] = f"{_written(name, image)} is absent"
            elif found[image] != found[first]:
                wrong[image] = f"{_written(name, image)} differs from {_written(name, first)}"
    if wrong:
        named = "; ".join(list(wrong.values())[:NAMED])
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise ValueError(
            f"`path` must give {name} the same parameters for all permutations of its equivalent "
            f"sublattices; {len(wrong)} are absent or differ: {named}{more}. Add them; of a "
            f"phase with a disordered part (DIS_PART) marked PHASE {name}:F, or :B if bcc, one of "
            "each is enough."
        )


def _equivalent_orders(phase: Phase, *, of_bcc: bool) -> list[tuple[int, ...]]:
    """The orders of all sublattices that are equivalent to the given one."""
    kinds = list(zip(phase.sublattices, phase.constituents or (), strict=True))
    same = [s for s, kind in enumerate(kinds) if kinds.count(kind) == 4]
    if len(same) != 4:
        return [tuple(range(len(kinds)))]
    pairs = {frozenset(same[:2]), frozenset(same[2:])}
    found = []
    for moved in permutations(same):
        if of_bcc and {frozenset(moved[:2]), frozenset(moved[2:])} != pairs:
            continue
        to = dict(zip(same, moved, strict=True))
        found.append(tuple(to.get(s, s) for s in range(len(kinds))))
    return found


def _parameters(
    database: Database, name: str, sublattices: Sequence[Sequence[str]]
) -> dict[Key, tuple[Basic, ...]]:
    """Of the phase; of those that mix on several sublattices the ones of order 0 alone.

    Higher orders of these tell sublattices apart.
    """
    found: dict[Key, tuple[Basic, ...]] = {}
    for entry in database.search(lambda parameter: parameter["phase_name"] == name):
        array = [sorted(map(str, own)) for own in entry["constituent_array"]]
        known = len(array) == len(sublattices) and all(
            set(own) <= {*here, "*"} for own, here in zip(array, sublattices, strict=True)
        )
        order = entry["parameter_order"]
        if known and not (order and sum(len(own) > 1 for own in array) > 1):
            kind = "G" if entry["parameter_type"] == "L" else entry["parameter_type"]
            key = (kind, tuple(map(",".join, array)), order)
            found[key] = _comparable(entry["parameter"])
    return found


def _comparable(parameter: Basic) -> tuple[Basic, ...]:
    if isinstance(parameter, Piecewise):
        return tuple(each.expand() for each in parameter.args[::2]) + parameter.args[1::2]
    return (parameter.expand(),)


def _written(name: str, key: Key) -> str:
    kind, array, order = key
    return f"{kind}({name},{':'.join(array)};{order})"
