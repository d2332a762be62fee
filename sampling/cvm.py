"""The cluster variation method on fcc: a free energy with short-range order, without sampling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from idnn.checks import require_in_range, require_positive
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.expansion import ClusterExpansion, Orbit
from sampling.hamiltonian import require_lattice
from sampling.lattice import Supercell
from sampling.tetrahedron import SPIN, State, follow

NEAREST = 1e-8
"""Distance from 0 and 1 that site fractions must keep: nearer to 1, 1 − x has too few digits."""

NEAREST_NEIGHBOURS = 0.75
"""Squared distance, in cubic lattice parameters, between that of nearest neighbours, ½, and that of
second ones, 1."""


class NoHomogeneousState(RuntimeError):
    """The state that is random at high temperature ends before the temperature asked for.

    Attributes:
        missing: which of the points have no such state, [*batch].
    """

    def __init__(self, message: str, missing: Tensor) -> None:
        super().__init__(message)
        self.missing = missing


class ClusterVariation:
    """f(η) of the tetrahedron approximation of an fcc cluster expansion, eV/site.

    Of the probabilities z of the sixteen states of a nearest-neighbour tetrahedron with a corner on
    each sublattice, y of its six pairs and x of its corners,

        f = J₀ + E_far(x) + 2 Σ e z + k_BT [2 Σ z ln z − Σ_pairs Σ y ln y + 5/4 Σ_s Σ x ln x],

    stationary in z at fixed x (Kikuchi 1951, doi:10.1103/PhysRev.81.988; on sublattices: Sanchez &
    de Fontaine 1978, doi:10.1103/PhysRevB.17.2926). Nearest-neighbour pairs, triangles and
    tetrahedra are in e; all other clusters are in E_far, the product of the mean spins of their
    sites as in Bragg & Williams. To second order in 1/T of the former, f is exact.

    The stationary state is that which continues from the random one at infinite temperature. With
    strong interactions it may end on the way, near equal fractions on all sublattices: there is no
    homogeneous state then, and the points are refused. (The lower minimum beyond is an artefact: to
    a mixture of perfect crystals the formula ascribes its entropy of mixing once per site.)

    Differentiable by torch twice: `gradient` and `hessian` are closed forms.

    Args:
        expansion: the energies, of two species on fcc.
        temperature: K.

    Raises:
        ValueError: the expansion is not of two species on fcc, or the temperature is not positive.
    """

    system = FCC_L12

    def __init__(self, expansion: ClusterExpansion, temperature: float) -> None:
        require_positive("temperature", temperature)
        require_lattice(expansion, FCC_L12)
        self.temperature = temperature
        self.constant = float(expansion.eci[0])
        self._far, self._near = _split(expansion)
        self._interaction = self._near(SPIN) / self._kt

    def __call__(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """f(η).

        Raises:
            ValueError: a site fraction is not inside (0, 1), by `NEAREST` at least.
            NoHomogeneousState: see the class; so for the methods below.
        """
        return _Value.apply(eta, self)

    def gradient(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """μ = ∂f/∂η, from the multipliers of the fixed fractions."""
        return _Gradient.apply(eta, self)

    def hessian(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 4"]:
        """∂²f/∂η², from the linearised conditions of stationarity."""
        state = self._solve(eta)
        return self._hessian(state).reshape(*eta.shape, 4).to(eta)

    def energy(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """∂(βf)/∂β, the mean energy (eV/site)."""
        state = self._solve(eta)
        near = state.z @ self._near(SPIN).to(state.z)
        energy = self.constant + self._far(1 - 2 * state.x) + near
        return energy.reshape(eta.shape[:-1]).to(eta)

    @property
    def _kt(self) -> float:
        return BOLTZMANN_EV * self.temperature

    def _solve(self, eta: Tensor) -> State:
        """The state of each point, in one flat batch."""
        x = FCC_L12.site_fractions(eta.detach().double()).reshape(-1, 4)
        least = torch.minimum(x, 1 - x)
        require_in_range("min(x, 1 - x) of the site fractions x", least, NEAREST, 0.5)
        state, reached = follow(x, self._interaction.to(x))
        missing = ~(reached == 1)
        if missing.any():
            first = int(missing.nonzero()[0])
            raise NoHomogeneousState(
                f"`eta` must have a homogeneous state at {self.temperature:g} K: {missing.sum()} "
                f"of {len(x)} points have none; the first, at flat index {first}, has site "
                f"fractions {x[first].tolist()}, where it ends at about "
                f"{self.temperature / float(reached[first]):.0f} K. Raise `temperature`, or leave "
                "out the points that the error's `missing` marks.",
                missing.reshape(eta.shape[:-1]),
            )
        return state

    def _value(self, state: State) -> Tensor:
        mixing = state.free_energy
        return self.constant + self._far(1 - 2 * state.x) + self._kt * mixing

    def _gradient(self, state: State) -> Tensor:
        by_sublattice = self._kt * state.slope - 2 * self._far.gradient(1 - 2 * state.x)
        return by_sublattice @ torch.linalg.inv(FCC_L12.q).to(state.x)

    def _hessian(self, state: State) -> Tensor:
        by_sublattice = self._kt * state.curvature + 4 * self._far.hessian(1 - 2 * state.x)
        inverse = torch.linalg.inv(FCC_L12.q).to(state.x)
        return inverse.T @ by_sublattice @ inverse


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eta: Tensor, f: ClusterVariation) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(eta)
        ctx.f = f
        return f._value(f._solve(eta)).reshape(eta.shape[:-1]).to(eta)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (eta,) = ctx.saved_tensors
        return grad_outputs[0][..., None] * ctx.f.gradient(eta), None


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eta: Tensor, f: ClusterVariation) -> Tensor:  # noqa: ANN401
        state = f._solve(eta)
        if eta.requires_grad:
            ctx.save_for_backward(f._hessian(state).reshape(*eta.shape, 4).to(eta))
        return f._gradient(state).reshape(eta.shape).to(eta)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        *grad_outputs: Tensor,
    ) -> tuple[Tensor, None]:
        (hessian,) = ctx.saved_tensors
        return (grad_outputs[0][..., None, :] @ hessian)[..., 0, :], None


@dataclass(frozen=True, eq=False)
class _Polynomial:
    """Σ_k c_k Π_s m_s^{n_ks} of the spins of four sublattices, eV/site."""

    coefficients: Float[Tensor, " term"]
    powers: Int[Tensor, "term 4"]

    def __call__(self, spin: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        products = spin[..., None, :].pow(self.powers.to(spin)).prod(-1)
        return products @ self.coefficients.to(spin)

    def along(self, s: int) -> _Polynomial:
        """∂/∂m_s."""
        lower = self.powers - torch.eye(4, dtype=torch.int64)[s]
        return _Polynomial(self.coefficients * self.powers[:, s], lower.clamp_min(0))

    def gradient(self, spin: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        return torch.stack([self.along(s)(spin) for s in range(4)], -1)

    def hessian(self, spin: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 4"]:
        return torch.stack([self.along(s).gradient(spin) for s in range(4)], -2)


def _split(expansion: ClusterExpansion) -> tuple[_Polynomial, _Polynomial]:
    """All clusters but those inside a tetrahedron of nearest neighbours, and these."""
    cell = Supercell(FCC_L12, 1)
    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    values: tuple[list[Tensor], list[Tensor]] = ([], [])
    for interaction, orbit in zip(expansion.eci[1:], expansion.orbits, strict=True):
        inside = _inside(orbit)
        for near in (False, True):
            vectors = orbit.clusters[inside == near][..., :3]
            sublattice = cell.index(cell.representatives[:, None, None] + vectors)
            counts = (sublattice[..., None] == np.arange(4)).sum(-2).reshape(-1, 4)
            rows[near].append(torch.as_tensor(counts))
            values[near].append(torch.full((len(counts),), interaction / 4, dtype=torch.float64))
    return _collected(rows[0], values[0]), _collected(rows[1], values[1])


def _inside(orbit: Orbit) -> Bool[np.ndarray, " cluster"]:
    """Whether all sites of each cluster are nearest neighbours of one another."""
    cell = np.array(FCC_L12.primitive_cell)
    sites = orbit.clusters[..., :3] @ cell
    inside = np.full(len(sites), orbit.order > 1)
    for a, b in combinations(range(orbit.order), 2):
        inside &= ((sites[:, a] - sites[:, b]) ** 2).sum(-1) < NEAREST_NEIGHBOURS
    return inside


def _collected(rows: list[Tensor], values: list[Tensor]) -> _Polynomial:
    """One term for each product of spins."""
    if not rows:
        return _Polynomial(torch.zeros(0, dtype=torch.float64), torch.zeros(0, 4).long())
    powers, term = torch.cat(rows).unique(dim=0, return_inverse=True)
    total = torch.zeros(len(powers), dtype=torch.float64).index_add_(0, term, torch.cat(values))
    return _Polynomial(total, powers)
