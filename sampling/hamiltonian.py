"""Cluster-expansion energies on a box as flat integer tables, and the umbrella on η."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Integer

from idnn.checks import require_finite, require_in_range
from idnn.order_parameters import System
from sampling.expansion import ClusterExpansion, Orbit
from sampling.lattice import Supercell


@runtime_checkable
class Hamiltonian(Protocol):
    """Energy (eV) of occupations, and the cost of changing one site."""

    def energy(
        self, occupation: Integer[np.ndarray, "walker site"]
    ) -> Float[np.ndarray, " walker"]:
        """Energy of the whole box (eV)."""
        ...

    def flip_cost(
        self, occupation: Integer[np.ndarray, "walker site"], site: int
    ) -> Float[np.ndarray, " walker"]:
        """Energy (eV) gained by giving `site` the other species."""
        ...


@dataclass(frozen=True, eq=False)
class OrbitTable:
    """One orbit's clusters around every site of a box.

    Attributes:
        quanta: the ECI in units of the Hamiltonian's `quantum`.
        multiplicity: clusters per site.
        others: the other sites of each cluster that holds the site. The first `multiplicity` rows
            of all sites together list every cluster of the box once.
    """

    quanta: int
    multiplicity: int
    others: Int[np.ndarray, "site row other"]

    @property
    def order(self) -> int:
        """Number of sites of a cluster."""
        return self.others.shape[2] + 1

    @property
    def rows(self) -> int:
        """Clusters that hold a given site."""
        return self.others.shape[1]


@dataclass(frozen=True, eq=False)
class ClusterHamiltonian:
    """A cluster expansion on a periodic box, E = N J₀ + Σ_orbits J Σ_clusters Π spins (eV).

    Each J is rounded to a whole number of `quantum`, a power of two near 1e-9 of the largest
    possible flip cost. Energies then are exact integers: nothing drifts however long a chain is,
    and a flip and its reverse cost exactly opposite amounts.

    Attributes:
        supercell: the box.
        constant: J₀ (eV per site).
        quantum: unit of the rounded interactions (eV).
        orbits: a table per orbit of the expansion.
    """

    supercell: Supercell
    constant: float
    quantum: float
    orbits: tuple[OrbitTable, ...]

    @staticmethod
    def on(expansion: ClusterExpansion, supercell: Supercell) -> "ClusterHamiltonian":
        """The expansion's energies on the box.

        Raises:
            ValueError: a cluster meets its own image in so small a box, or the expansion has
                more than one site per primitive cell.
        """
        if len(expansion.basis) != 1:
            raise ValueError(
                "`basis` of the expansion must hold one site per primitive cell; it holds "
                f"{len(expansion.basis)}."
            )
        offsets = [_offsets(orbit) for orbit in expansion.orbits]
        _require_room(offsets, supercell)
        interactions = expansion.eci[1:]
        quantum = _quantum(interactions, [len(rows) for rows in offsets])
        return ClusterHamiltonian(
            supercell=supercell,
            constant=float(expansion.eci[0]),
            quantum=quantum,
            orbits=tuple(
                OrbitTable(
                    quanta=round(float(j) / quantum),
                    multiplicity=orbit.multiplicity,
                    others=supercell.index(supercell.sites[:, None, None] + rows).astype(np.int32),
                )
                for j, orbit, rows in zip(interactions, expansion.orbits, offsets, strict=True)
            ),
        )

    def energy(
        self, occupation: Integer[np.ndarray, "walker site"]
    ) -> Float[np.ndarray, " walker"]:
        """Energy of the whole box (eV)."""
        sites = len(self.supercell.sites)
        return self.constant * sites + self.quantum * self.energy_quanta(occupation)

    def energy_quanta(
        self, occupation: Integer[np.ndarray, "walker site"]
    ) -> Int[np.ndarray, " walker"]:
        """Energy without the constant, in quanta."""
        filled = np.ascontiguousarray(occupation.T, dtype=np.uint8)
        total = np.zeros(filled.shape[1], dtype=np.int64)
        for orbit in self.orbits:
            odd = np.zeros_like(total)
            for row in range(orbit.multiplicity):
                parity = filled.copy()
                for k in range(orbit.order - 1):
                    parity ^= filled[orbit.others[:, row, k]]
                odd += parity.sum(0, dtype=np.int64)
            total += orbit.quanta * (orbit.multiplicity * len(filled) - 2 * odd)
        return total

    def flip_cost(
        self, occupation: Integer[np.ndarray, "walker site"], site: int
    ) -> Float[np.ndarray, " walker"]:
        """Energy (eV) gained by giving `site` the other species."""
        spin = 1 - 2 * occupation.astype(np.int64)
        field = sum(
            orbit.quanta * spin[:, orbit.others[site]].prod(-1).sum(-1) for orbit in self.orbits
        )
        return -2 * self.quantum * spin[:, site] * field


@dataclass(frozen=True, eq=False)
class Umbrella:
    """The bias V/N = Σᵢ φᵢ (ηᵢ − κᵢ)² − Σᵢ hᵢ ηᵢ on the order parameters of a system.

    Of a biased ensemble, μᵢ = ∂f/∂ηᵢ = hᵢ − 2 φᵢ (⟨ηᵢ⟩ − κᵢ) (Natarajan et al. 2017,
    doi:10.1103/PhysRevB.96.134204). In the sublattice fractions x = Q⁻¹η the first sum reads
    (x − x̂)ᵀ A (x − x̂) with A = QᵀΦQ and x̂ = Q⁻¹κ, the second (Qᵀh)ᵀx.

    Its special cases are the usual ensembles. With φ = 0 it is semi-grand canonical: h₀ is the
    difference of chemical potentials, hᵢ of i ≥ 1 a staggered field. With φ₀ alone it is the
    variance-constrained ensemble of Sadigh & Erhart (2012, doi:10.1103/PhysRevB.86.134204), who
    call the curvature κ̄ and the centre −φ̄/2: φ₀ = k_BT κ̄ and κ₀ = −φ̄/2 for the concentration η₀.

    Attributes:
        system: whose order parameters are held.
        centre: κ, anywhere, also outside the admissible polytope.
        stiffness: φ (eV per site), zero for an order parameter left free.
        field: h (eV per site); a single number stands for all.

    Raises:
        ValueError: an entry of `centre` or `field` is not finite, or one of `stiffness` is
            negative.
    """

    system: System
    centre: Float[np.ndarray, "*batch d"]
    stiffness: Float[np.ndarray, "*batch d"]
    field: Float[np.ndarray, "*batch d"] | float = 0.0

    def __post_init__(self) -> None:
        require_finite("centre", torch.as_tensor(self.centre))
        require_finite("field", torch.as_tensor(self.field, dtype=torch.float64))
        require_finite("stiffness", torch.as_tensor(self.stiffness))
        require_in_range("stiffness", torch.as_tensor(self.stiffness), 0.0, float("inf"))

    @staticmethod
    def semi_grand(system: System, field: Float[np.ndarray, "*batch d"]) -> "Umbrella":
        """The field alone: the semi-grand canonical ensemble of μ = h."""
        none = np.zeros_like(field)
        return Umbrella(system, none, none, field)

    def __getitem__(self, points: slice) -> "Umbrella":
        """The bias of some of the points."""
        field = self.field[points] if isinstance(self.field, np.ndarray) else self.field
        return replace(
            self, centre=self.centre[points], stiffness=self.stiffness[points], field=field
        )

    def energy(self, eta: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch"]:
        """V/N (eV per site)."""
        held = self.stiffness * (eta - self.centre) ** 2
        return np.asarray((held - self.field * eta).sum(-1))

    def chemical_potential(
        self, mean: Float[np.ndarray, "*batch d"]
    ) -> Float[np.ndarray, "*batch d"]:
        """μ = h − 2 φ (⟨η⟩ − κ) (eV per site)."""
        return self.field - 2 * self.stiffness * (mean - self.centre)

    @cached_property
    def sublattice_stiffness(self) -> Float[np.ndarray, "*batch d d"]:
        """A = QᵀΦQ (eV per site)."""
        q = self.system.q.numpy()
        return (q.T * self.stiffness[..., None, :]) @ q

    @cached_property
    def sublattice_centre(self) -> Float[np.ndarray, "*batch d"]:
        """X̂ = Q⁻¹κ."""
        return (np.linalg.inv(self.system.q.numpy()) @ self.centre[..., None])[..., 0]

    @property
    def sublattice_field(self) -> Float[np.ndarray, "*batch d"]:
        """Qᵀh (eV per site)."""
        return np.broadcast_to(self.field, self.centre.shape) @ self.system.q.numpy()


def _offsets(orbit: Orbit) -> Int[np.ndarray, "row other 3"]:
    """Displacements from a site to the others of each cluster that holds it, first site first."""
    vectors = orbit.clusters[..., :3]
    return np.concatenate(
        [
            np.delete(vectors, position, axis=1) - vectors[:, position, None]
            for position in range(orbit.order)
        ]
    )


def _require_room(offsets: list[np.ndarray], supercell: Supercell) -> None:
    distances = [rows[:, i] for rows in offsets for i in range(rows.shape[1])]
    if not distances:
        return
    vectors = np.concatenate(distances)
    if supercell.has_period(vectors):
        needed = supercell.smallest_cells(vectors)
        raise ValueError(
            f"`cells` must be at least {needed} for these clusters; it is {supercell.cells}: a "
            "cluster would meet its own periodic image."
        )


def _quantum(interactions: Float[np.ndarray, " orbit"], rows: list[int]) -> float:
    """Power of two that keeps every partial sum of a flip cost below 2³⁰ quanta."""
    largest = 4 * float(np.abs(interactions) @ np.array(rows, dtype=np.float64))
    return 2.0 ** (np.ceil(np.log2(largest)) - 30) if largest > 0 else 1.0
