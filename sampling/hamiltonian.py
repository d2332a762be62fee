"""Cluster-expansion energies on a box as flat integer tables, and the umbrella on η."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, Integer

from idnn.checks import require_finite, require_in_range
from idnn.order_parameters import System
from sampling.expansion import ClusterExpansion, Orbit
from sampling.lattice import Supercell, shear

LARGEST_SHEAR = 0.1
"""Largest stretch, beside the volume's, between an expansion's cell and its system's. Half of what
parts fcc from bcc along the Bain path."""


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
    """One orbit's clusters around every site of a box, sublattice by sublattice.

    Attributes:
        quanta: the ECI in units of the Hamiltonian's `quantum`.
        firsts: of how many clusters a site of each sublattice is the first site.
        others: for each sublattice, the other sites of each cluster that holds the site. The first
            rows, `firsts` of them, of all sites together list every cluster of the box once.
    """

    quanta: int
    firsts: tuple[int, ...]
    others: tuple[Int[np.ndarray, "cell _ other"], ...]

    @property
    def order(self) -> int:
        """Number of sites of a cluster."""
        return self.others[0].shape[2] + 1

    @property
    def rows(self) -> tuple[int, ...]:
        """Clusters that hold a given site of each sublattice."""
        return tuple(others.shape[1] for others in self.others)


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
            ValueError: the expansion is of another lattice than the box or of more than two species
                per site, or a cluster meets its own image in so small a box.
        """
        require_lattice(expansion, supercell.system)
        _require_room(expansion.orbits, supercell)
        interactions = expansion.eci[1:]
        around = [
            [_around(orbit, site) for site in range(len(expansion.basis))]
            for orbit in expansion.orbits
        ]
        quantum = _quantum(interactions, [[len(rows) for rows in orbit] for orbit in around])
        return ClusterHamiltonian(
            supercell=supercell,
            constant=float(expansion.eci[0]),
            quantum=quantum,
            orbits=tuple(
                _table(round(float(j) / quantum), orbit, rows, supercell)
                for j, orbit, rows in zip(interactions, expansion.orbits, around, strict=True)
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
        home = np.split(filled, self.supercell.system.dimension)
        total = np.zeros(filled.shape[1], dtype=np.int64)
        for orbit in self.orbits:
            odd = np.zeros_like(total)
            for mine, firsts, others in zip(home, orbit.firsts, orbit.others, strict=True):
                for row in range(firsts):
                    parity = mine.copy()
                    for k in range(orbit.order - 1):
                        parity ^= filled[others[:, row, k]]
                    odd += parity.sum(0, dtype=np.int64)
            clusters = sum(orbit.firsts) * self.supercell.sites_per_sublattice
            total += orbit.quanta * (clusters - 2 * odd)
        return total

    def flip_cost(
        self, occupation: Integer[np.ndarray, "walker site"], site: int
    ) -> Float[np.ndarray, " walker"]:
        """Energy (eV) gained by giving `site` the other species."""
        spin = 1 - 2 * occupation.astype(np.int64)
        sublattice, cell = divmod(site, self.supercell.sites_per_sublattice)
        field = sum(
            orbit.quanta * spin[:, orbit.others[sublattice][cell]].prod(-1).sum(-1)
            for orbit in self.orbits
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
        ValueError: an entry of `centre` or `field` is not finite, one of `stiffness` is negative,
            or they do not hold one number per order parameter of the system.
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
        for name in ("centre", "stiffness", "field"):
            shape = np.shape(getattr(self, name))
            if shape[-1:] != (self.system.dimension,) and (name, shape) != ("field", ()):
                raise ValueError(
                    f"`{name}` must hold one number per order parameter of {self.system.name!r} "
                    f"along its last axis, {self.system.dimension}; its shape is {shape}."
                )

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


def _around(orbit: Orbit, site: int) -> Int[np.ndarray, "row other 4"]:
    """The other members of each cluster that holds a site of the basis, relative to its cell.

    The clusters of which it is the first member come first.
    """
    rows = []
    for position in range(orbit.order):
        mine = orbit.clusters[orbit.clusters[:, position, 3] == site]
        origin = mine[:, position, None] * [1, 1, 1, 0]
        rows.append(np.delete(mine, position, axis=1) - origin)
    return np.concatenate(rows)


def _table(quanta: int, orbit: Orbit, around: list[np.ndarray], supercell: Supercell) -> OrbitTable:
    sublattices = range(supercell.system.dimension)
    per_basis = len(supercell.representatives)
    cells = np.split(supercell.sites[:, None, None], len(sublattices))
    rows = [around[s // per_basis] for s in sublattices]
    return OrbitTable(
        quanta=quanta,
        firsts=tuple(int((orbit.clusters[:, 0, 3] == s // per_basis).sum()) for s in sublattices),
        others=tuple(
            supercell.index(mine + row[..., :3], row[..., 3]).astype(np.int32)
            for mine, row in zip(cells, rows, strict=True)
        ),
    )


def require_lattice(expansion: ClusterExpansion, system: System) -> None:
    """Raise `ValueError` unless the expansion is of two species on the lattice of the system."""
    for site, names in enumerate(expansion.species):
        if len(names) != 2:
            raise ValueError(
                f"`species` of the expansion must be two per site: Monte Carlo moves turn spins of "
                f"±1; site {site} of the basis may hold {len(names)}, {', '.join(names)}."
            )
    if len(expansion.basis) != len(system.basis):
        raise ValueError(
            f"`basis` of the expansion must hold the {len(system.basis)} sites of system "
            f"{system.name!r}; it holds {len(expansion.basis)}."
        )
    strain = shear(expansion.primitive_cell, np.array(system.primitive_cell))
    if not strain <= LARGEST_SHEAR:
        raise ValueError(
            f"`primitive_cell` of the expansion must be that of system {system.name!r}, "
            f"{system.primitive_cell} in any unit and orientation; it is "
            f"{expansion.primitive_cell.tolist()}, another lattice or other vectors of it."
        )
    from_first = [basis - basis[0] for basis in (expansion.basis, np.array(system.basis))]
    if not np.abs(from_first[0] - from_first[1]).max() <= LARGEST_SHEAR:
        raise ValueError(
            f"`basis` of the expansion must be that of system {system.name!r}, {system.basis}, in "
            f"this order and up to a common shift; it is {expansion.basis.tolist()}."
        )


def _require_room(orbits: Sequence[Orbit], supercell: Supercell) -> None:
    pairs = [
        orbit.clusters[:, i] - orbit.clusters[:, j]
        for orbit in orbits
        for i, j in combinations(range(orbit.order), 2)
    ]
    if not pairs:
        return
    between = np.concatenate(pairs)
    vectors = between[between[:, 3] == 0, :3]
    if supercell.has_period(vectors):
        needed = supercell.smallest_cells(vectors)
        raise ValueError(
            f"`cells` must be at least {needed} for these clusters; it is {supercell.cells}: a "
            "cluster would meet its own periodic image."
        )


def _quantum(interactions: Float[np.ndarray, " orbit"], rows: list[list[int]]) -> float:
    """Power of two that keeps every partial sum of a flip cost below 2³⁰ quanta."""
    by_site = np.array(rows, dtype=np.float64).T
    largest = max((4 * float(np.abs(interactions) @ counts) for counts in by_site), default=0.0)
    return 2.0 ** (np.ceil(np.log2(largest)) - 30) if largest > 0 else 1.0
