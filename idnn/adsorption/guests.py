"""Rigid guest molecules: their sites, where they lie, and the constants of the free gas."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DATA = Path(__file__).with_name("guests.toml")


@dataclass(frozen=True)
class Site:
    """A centre of force of a molecule.

    Attributes:
        kind: sites of one kind have the same numbers.
        epsilon: well depth of the Lennard-Jones potential over k_B (K), zero for a bare charge.
        sigma: where that potential is zero (Å).
        charge: e.
        place: in the molecule (Å).
    """

    kind: str
    epsilon: float
    sigma: float
    charge: float = 0.0
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a depth below zero or a size that is not positive.
        """
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ValueError(
                f"`epsilon` of site {self.kind} must be finite and not negative (K); it is "
                f"{self.epsilon}."
            )
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(
                f"`sigma` of site {self.kind} must be finite and positive (Å); it is {self.sigma}."
            )


@dataclass(frozen=True)
class Guest:
    """A rigid molecule.

    Attributes:
        name: what it is called.
        sites: the first is its centre, about which it turns.
        critical_temperature: K.
        critical_pressure: Pa.
        acentric_factor: ω.
        source: where the numbers come from.
    """

    name: str
    sites: tuple[Site, ...]
    critical_temperature: float
    critical_pressure: float
    acentric_factor: float
    source: str

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: no sites, the first not at the centre, or charges that do not cancel.
        """
        if not self.sites or any(self.sites[0].place):
            raise ValueError(
                f"`sites` of {self.name} must begin with one at the centre (0, 0, 0); they are "
                f"{[s.place for s in self.sites]}: shift them, or add one of `epsilon` 0 there."
            )
        total = sum(site.charge for site in self.sites)
        if not abs(total) < 1e-9:
            raise ValueError(
                f"`sites` of {self.name} must be neutral together; their charges add up to "
                f"{total:g} e: ions are no guests here."
            )

    @property
    def charged(self) -> bool:
        """Whether any site carries a charge."""
        return any(site.charge for site in self.sites)

    @property
    def kinds(self) -> tuple[Site, ...]:
        """One site of each kind, in order."""
        return tuple({site.kind: site for site in self.sites}.values())


@cache
def known_guests() -> dict[str, Guest]:
    """The molecules that come with the package, by name."""
    tables = tomllib.loads(_DATA.read_text(encoding="utf-8"))
    return {name: _guest(name, table) for name, table in tables.items()}


def guest(name: str) -> Guest:
    """A molecule that comes with the package.

    Raises:
        ValueError: there is none of that name.
    """
    known = known_guests()
    if name not in known:
        raise ValueError(
            f"`guest` must be one of {', '.join(known)}; it is {name!r}: build another with "
            "`Guest`."
        )
    return known[name]


def _guest(name: str, table: dict) -> Guest:
    sites = tuple(
        Site(**{**entry, "place": tuple(entry.get("place", (0.0, 0.0, 0.0)))})
        for entry in table.pop("sites")
    )
    return Guest(name=name, sites=sites, **table)
