"""Lennard-Jones parameters of hosts, mixing rules, and what happens at the cutoff."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from idnn.adsorption.guests import Site
from idnn.adsorption.structures import Crystal

_DATA = Path(__file__).with_name("hosts.csv")


@runtime_checkable
class Mixing(Protocol):
    """ε (K) and σ (Å) between two unlike atoms."""

    def __call__(
        self, one: tuple[float, float], other: tuple[float, float]
    ) -> tuple[float, float]: ...


def lorentz_berthelot(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """ε = √(ε₁ε₂), σ = (σ₁+σ₂)/2."""
    return math.sqrt(one[0] * other[0]), (one[1] + other[1]) / 2


def geometric(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """ε = √(ε₁ε₂), σ = √(σ₁σ₂)."""
    return math.sqrt(one[0] * other[0]), math.sqrt(one[1] * other[1])


@dataclass(frozen=True)
class ForceField:
    """How atoms of hosts and sites of guests attract and repel each other.

    The defaults are RASPA2's: 12 Å, potentials shifted to zero there, no tail correction.

    Attributes:
        name: what it is called.
        atoms: ε (K) and σ (Å) of the host's atoms, by element.
        mixing: rule for unlike atoms.
        cutoff: distance beyond which there is no interaction (Å).
        shifted: whether potentials are shifted to be zero at the cutoff.
        tail: whether the mean attraction beyond the cutoff is added.
    """

    name: str
    atoms: Mapping[str, tuple[float, float]]
    mixing: Mixing = lorentz_berthelot
    cutoff: float = 12.0
    shifted: bool = True
    tail: bool = False

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: no cutoff, or a shifted potential with a tail, which contradict each other.
        """
        if not (math.isfinite(self.cutoff) and self.cutoff > 0):
            raise ValueError(f"`cutoff` must be finite and positive (Å); it is {self.cutoff}.")
        if self.shifted and self.tail:
            raise ValueError(
                "`tail` must be False where `shifted` is True: a tail corrects a potential that "
                "is cut, not one that was shifted; set one of them."
            )

    def settings(self) -> dict[str, object]:
        """What tells two force fields apart, for files."""
        return {
            "name": self.name,
            "atoms": {atom: list(pair) for atom, pair in sorted(self.atoms.items())},
            "mixing": getattr(self.mixing, "__name__", repr(self.mixing)),
            "cutoff": self.cutoff,
            "shifted": self.shifted,
            "tail": self.tail,
        }


@dataclass(frozen=True, eq=False)
class Pairs:
    """Lennard-Jones potentials 4ε[(σ/r)¹² − (σ/r)⁶] − shift of one site with others.

    Attributes:
        epsilon: K.
        sigma: Å.
        shift: potential at the cutoff, zero where it is not shifted (K).
        tail: ∫ of the potential beyond the cutoff over space (K Å³), zero without a tail.
    """

    epsilon: Float[np.ndarray, "*batch"]
    sigma: Float[np.ndarray, "*batch"]
    shift: Float[np.ndarray, "*batch"]
    tail: Float[np.ndarray, "*batch"]


@cache
def known_atoms() -> dict[str, dict[str, tuple[float, float]]]:
    """ε (K) and σ (Å) by force field and element, as they come with the package."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    with _DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            pair = (float(row["epsilon_K"]), float(row["sigma_A"]))
            found.setdefault(row["force_field"], {})[row["atom"]] = pair
    return found


def force_field(name: str) -> ForceField:
    """A force field that comes with the package, with RASPA2's conventions at the cutoff.

    Raises:
        ValueError: there is none of that name.
    """
    known = known_atoms()
    if name not in known:
        raise ValueError(
            f"`force_field` must be one of {', '.join(known)}; it is {name!r}: build another with "
            "`ForceField`."
        )
    return ForceField(name, known[name])


def require_atoms(force: ForceField, crystal: Crystal) -> list[str]:
    """The elements of all atoms of the crystal, after a check that each has parameters.

    Raises:
        ValueError: one has none.
    """
    from pymatgen.core.periodic_table import Element

    symbols = [Element.from_Z(int(z)).symbol for z in crystal.numbers]
    missing = sorted(set(symbols) - set(force.atoms))
    if missing:
        raise ValueError(
            f"`atoms` of the force field {force.name} must hold every element of {crystal.name}; "
            f"{', '.join(missing)} is missing: add it, or take another force field, such as UFF."
        )
    return symbols


def host_pairs(force: ForceField, crystal: Crystal, site: Site) -> Pairs:
    """The potentials of a guest's site with every atom of the crystal.

    Raises:
        ValueError: an element of the crystal has no parameters.
    """
    return _pairs(force, site, [force.atoms[symbol] for symbol in require_atoms(force, crystal)])


def guest_pairs(force: ForceField, sites: tuple[Site, ...]) -> Pairs:
    """The potentials between all sites of two molecules, [site, site]."""
    others = [(other.epsilon, other.sigma) for other in sites]
    rows = [_pairs(force, site, others) for site in sites]
    return Pairs(
        *(np.stack([getattr(r, n) for r in rows]) for n in ("epsilon", "sigma", "shift", "tail"))
    )


def _pairs(force: ForceField, site: Site, others: list[tuple[float, float]]) -> Pairs:
    mixed = [force.mixing((site.epsilon, site.sigma), other) for other in others]
    epsilon, sigma = np.array(mixed, dtype=float).reshape(-1, 2).T
    cube = (sigma / force.cutoff) ** 3
    at_cutoff = 4 * epsilon * (cube**4 - cube**2)
    beyond = 16 / 3 * math.pi * epsilon * sigma**3 * (cube**3 / 3 - cube)
    return Pairs(epsilon, sigma, at_cutoff * force.shifted, beyond * force.tail)
