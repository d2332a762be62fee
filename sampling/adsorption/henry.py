"""The dilute limit: Henry coefficient and heat of adsorption of one molecule in the host."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from idnn.adsorption.field import HostField
from idnn.units import BOLTZMANN_PA_A3, GAS_CONSTANT
from sampling.adsorption.box import box_of, places_of, seeded
from sampling.adsorption.chain_kernel import widom
from sampling.estimate import Estimate

_PARTS = 20


@dataclass(frozen=True)
class Dilute:
    """A guest at vanishing pressure.

    Attributes:
        henry: loading over pressure (mol/(kg Pa)).
        heat: isosteric heat of adsorption (kJ/mol).
        boltzmann: mean of e^{−U/kT} over the cell and over orientations.
    """

    henry: Estimate
    heat: Estimate
    boltzmann: Estimate


def dilute(
    field: HostField, *, temperature: float, insertions: int = 400_000, seed: int = 0
) -> Dilute:
    """Widom's insertion (1963, doi:10.1063/1.1734110) of one molecule.

    K_H = ⟨e^{−U/kT}⟩/(ρRT), Q = RT − ⟨U e^{−U/kT}⟩/⟨e^{−U/kT}⟩. A molecule of one site is put on
    every point of the grid: a sum that converges to the integral exponentially, without
    interpolation. Its error bar is what the eight grids of twice the spacing differ by. Other
    molecules are put at random, where the field is low more often, and turned at random.

    Args:
        field: of the molecule in the host.
        temperature: K.
        insertions: of molecules with several sites.
        seed: of these.
    """
    single = len(field.guest.sites) == 1
    parts = (
        _on_grids(field.values[0], temperature)
        if single
        else _at_random(field, temperature, insertions, seed)
    )
    factor, energy = parts.mean(0)
    error = parts.std(0, ddof=1) / math.sqrt(len(parts))
    inner = -GAS_CONSTANT * energy / factor
    # To first order, what a part's mean energy differs by from that of all.
    scatter = (parts[:, 1] - energy / factor * parts[:, 0]).std(ddof=1) / math.sqrt(len(parts))
    thermal = GAS_CONSTANT * temperature
    scale = field.crystal.mol_per_kg * field.crystal.volume / (BOLTZMANN_PA_A3 * temperature)
    return Dilute(
        henry=_estimate(scale * factor, scale * error[0]),
        heat=_estimate(1e-3 * (thermal + inner), 1e-3 * GAS_CONSTANT * scatter / factor),
        boltzmann=_estimate(factor, error[0]),
    )


def _on_grids(
    values: Float[np.ndarray, "x y z"], temperature: float
) -> Float[np.ndarray, "part 2"]:
    """Means of e^{−U/kT} and of U e^{−U/kT} over each of the eight grids of every other point."""
    energy = np.asarray(values, dtype=float)
    factor = np.exp(-energy / temperature)
    starts = list(product((0, 1), repeat=3))
    coarser = [np.s_[a::2, b::2, c::2] for a, b, c in starts]
    return np.array([(factor[s].mean(), (energy * factor)[s].mean()) for s in coarser])


def _at_random(
    field: HostField, temperature: float, insertions: int, seed: int
) -> Float[np.ndarray, "part 2"]:
    box = box_of(field)._replace(copies=np.ones(3, dtype=np.int64))
    box = box._replace(lattice=field.crystal.lattice, inverse=np.linalg.inv(field.crystal.lattice))
    out = np.empty((max(insertions // _PARTS, 1) * _PARTS, 2))
    widom(box, places_of(field, box, temperature), seeded(seed), 1 / temperature, out)
    return out.reshape(_PARTS, -1, 2).mean(1)


def _estimate(value: float, stderr: float) -> Estimate:
    return Estimate(np.array(value), np.array(stderr))
