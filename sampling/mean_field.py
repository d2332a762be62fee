"""The Bragg–Williams free energy of a cluster expansion: no sampling, a first guess of μ."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.free_energy import IdealMixing
from idnn.order_parameters import System
from sampling.expansion import ClusterExpansion
from sampling.lattice import Supercell


class MeanField:
    """f(η) = J₀ + Σ_clusters J Π_sites ⟨spin⟩ / sites + f_ideal(η), eV/site.

    Each site's spin is replaced by its sublattice's mean 1 − 2x (Bragg & Williams 1934,
    doi:10.1098/rspa.1934.0132).
    """

    def __init__(self, expansion: ClusterExpansion, system: System, temperature: float) -> None:
        self.system = system
        self.ideal = IdealMixing(system.q, temperature, floor=1e-4)
        self.constant = float(expansion.eci[0])
        cell = Supercell(system, 1)
        self._terms: list[tuple[float, Tensor]] = []
        for interaction, orbit in zip(expansion.eci[1:], expansion.orbits, strict=True):
            vectors = cell.representatives[:, None, None] + orbit.clusters[..., :3]
            sublattice = torch.as_tensor(cell.index(vectors, orbit.clusters[..., 3]))
            self._terms.append((float(interaction) / system.dimension, sublattice.flatten(0, 1)))

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        spin = 1 - 2 * self.system.site_fractions(eta)
        energy = sum(j * spin[..., rows].prod(-1).sum(-1) for j, rows in self._terms)
        return self.constant + energy + self.ideal(eta)
