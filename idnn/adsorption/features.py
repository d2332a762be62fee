"""What is known of a crystal as a whole: its density and, if wanted, where a guest likes to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from idnn.adsorption.field import site_energies
from idnn.adsorption.forcefield import ForceField, force_field
from idnn.adsorption.guests import Guest, guest
from idnn.adsorption.histogram import energy_histogram
from idnn.adsorption.structures import Crystal
from idnn.adsorption.symmetry import primitive

_WEAKEST = -15.0
"""Of the logarithm of a mean Boltzmann factor: nothing enters a crystal where it is less …"""

_HIGHEST = 5.0
"""… or where the energy (kT) is more: how much atoms overlap is of no use."""

_COUNTLESS = 100.0
"""kT above which a place counts for nothing."""


@dataclass(frozen=True, kw_only=True)
class FieldSettings:
    """A guest's energies on a coarse grid.

    Attributes:
        guest: its name; the energies are those of its first site.
        force_field: the name of the hosts' parameters.
        temperature: K, in units of which energies are put into bins.
        spacing: of the grid (Å).
    """

    guest: str = "CH4"
    force_field: str = "UFF"
    temperature: float = 298.0
    spacing: float = 0.5

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a temperature that is not positive, or an unknown guest or force field.
        """
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"`temperature` must be positive (K); it is {self.temperature}.")
        parameters(self.guest, self.force_field)

    def entries(self) -> dict[str, Any]:
        """For files."""
        return asdict(self)


@cache
def parameters(name: str, force: str) -> tuple[Guest, ForceField]:
    """The guest and the force field of these names.

    Raises:
        ValueError: there is none of a name.
    """
    return guest(name), force_field(force)


def knowns(crystal: Crystal, field: FieldSettings | None) -> Float[np.ndarray, " known"]:
    """Logarithms of the volume per atom (Å³) and of the density (g/cm³); then of the field.

    Of the field: the root of the share of the volume in each bin of energy, ln⟨e^{−U/kT}⟩, at
    least −15, and ⟨U e^{−U/kT}⟩/⟨e^{−U/kT}⟩/kT, at most 5.
    """
    count = len(crystal.numbers)
    plain = [np.log(crystal.volume / count), np.log(1e-3 * crystal.density)]
    if field is None:
        return np.array(plain)
    molecule, force = parameters(field.guest, field.force_field)
    # The grid divides the edges of the cell, and should not depend on which cell was given.
    energies = site_energies(primitive(crystal), force, molecule.sites[0], spacing=field.spacing)
    histogram = energy_histogram(energies, temperature=field.temperature)
    factor = histogram.boltzmann.sum()
    reduced = np.minimum(np.asarray(energies, dtype=float) / field.temperature, _COUNTLESS)
    if factor > np.exp(_WEAKEST):
        mean = float((reduced * np.exp(-reduced)).mean() / factor)
        entered = [float(np.log(factor)), min(mean, _HIGHEST)]
    else:
        entered = [_WEAKEST, _HIGHEST]
    return np.array([*plain, *np.sqrt(histogram.volume), *entered])


def all_knowns(
    crystals: Sequence[Crystal], field: FieldSettings | None
) -> Float[np.ndarray, "crystal known"]:
    """Of several crystals."""
    return np.stack([knowns(crystal, field) for crystal in crystals])
