"""The coupled Cahn–Hilliard / Allen–Cahn equations as a stiff linear and a mild nonlinear part."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from idnn.checks import require_finite, require_positive
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from phasefield.grid import Grid

CELLS_PER_CALL = 4096
"""Cells handed to the free energy at once on a CPU, so that its temporaries stay in the cache."""

CURVATURE_SAMPLE = 16384
"""Most cells at which the curvature of the free energy is measured."""


@dataclass(frozen=True)
class OrderField:
    """One field of the model.

    Attributes:
        name: label on files and figures.
        conserved: Cahn–Hilliard if true, Allen–Cahn if false.
        mobility: M in nm²/(eV/site)/time if conserved, L in 1/(eV/site)/time if not.
        kappa: gradient coefficient κ, eV·nm²/site.
    """

    name: str
    conserved: bool
    mobility: float
    kappa: float

    def __post_init__(self) -> None:
        require_positive(f"mobility of {self.name}", self.mobility)
        require_positive(f"kappa of {self.name}", self.kappa)


class Energy(NamedTuple):
    """Total free energy (eV, per nm or nm² of missing dimensions) and its rounding error."""

    bulk: float
    gradient: float
    rounding: float

    @property
    def total(self) -> float:
        """F = bulk + gradient."""
        return self.bulk + self.gradient


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """∂uᵢ/∂t = −Rᵢ δF/δuᵢ with F = (1/Ω) ∫ f(u) + Σᵢ ½κᵢ|∇uᵢ|² dV and u = (c, η₁, …).

    Rᵢ = −M∇² for a conserved field (Cahn & Hilliard 1958, doi:10.1063/1.1744102) and L for a
    non-conserved one (Allen & Cahn 1979, doi:10.1016/0001-6160(79)90196-2). Differential operators
    act in Fourier space and f on the cells, so the semi-discrete F falls exactly.

    The stabiliser Sᵢ ≥ 0 only moves a term between the two parts: linear −Rᵢ(κᵢk² + Sᵢ),
    nonlinear −Rᵢ(∂f/∂uᵢ − Sᵢuᵢ).

    Attributes:
        grid: the periodic grid.
        f: free energy per site (eV) of the fields in the order of `fields`.
        fields: what each field is.
        site_volume: Ω, nm³ per site.
        stabiliser: Sᵢ, eV/site, one per field.
        workers: threads that evaluate f on parts of the grid; the parts, and so the bits of the
            result, do not depend on their number. None: one after the other.
    """

    grid: Grid
    f: FreeEnergy
    fields: tuple[OrderField, ...]
    site_volume: float = 1.0
    stabiliser: tuple[float, ...] = ()
    workers: Executor | None = None

    def __post_init__(self) -> None:
        require_positive("site_volume", self.site_volume)
        if not self.fields:
            raise ValueError("`fields` must hold at least one field; it is empty.")
        if self.stabiliser and len(self.stabiliser) != len(self.fields):
            raise ValueError(
                f"`stabiliser` must hold one number per field; it holds {len(self.stabiliser)} "
                f"for {len(self.fields)} fields."
            )

    @property
    def linear(self) -> Float[Tensor, "field *k"]:
        """−Rᵢ(κᵢk² + Sᵢ), 1/time; never positive."""
        kappa = self._column([field.kappa for field in self.fields])
        return -self.rate * (kappa * self.grid.k2 + self._stabilisers)

    @cached_property
    def rate(self) -> Float[Tensor, "field *k"]:
        """Rᵢ(k): M k² if conserved, L if not."""
        rows = [
            field.mobility * (self.grid.k2 if field.conserved else torch.ones_like(self.grid.k2))
            for field in self.fields
        ]
        return torch.stack(rows)

    def nonlinear(self, u_hat: Complex[Tensor, "field *k"]) -> Complex[Tensor, "field *k"]:
        """−Rᵢ FFT(∂f/∂uᵢ − Sᵢuᵢ); one evaluation of ∂f/∂u on every cell."""
        u = self.grid.inverse(u_hat)
        force = self.potential(u)
        force -= self._stabilisers * u
        return self.grid.transform(force).mul_(self.rate).neg_()

    def potential(self, u: Float[Tensor, "field *space"]) -> Float[Tensor, "field *space"]:
        """∂f/∂uᵢ (eV/site) on every cell, gradient terms not included."""
        parts = self._on_parts(lambda eta: chemical_potential(self.f, eta).T, u)
        return torch.cat(parts, dim=1).reshape(u.shape)

    def energy(self, u: Float[Tensor, "field *space"]) -> Energy:
        """F of the discrete fields, gradients by Parseval's theorem; one evaluation of f."""
        density = torch.cat(self._on_parts(self.f, u))
        unit = self.grid.cell_volume / self.site_volume
        modes = self.grid.transform(u).abs().square() * self.grid.k2 * self.grid.multiplicity
        half_kappa = self._column([field.kappa / 2 for field in self.fields])
        bulk, magnitude = float(density.sum()) * unit, float(density.abs().sum()) * unit
        gradient = float((half_kappa * modes).sum()) / self.grid.cells * unit
        return Energy(bulk, gradient, 1e-13 * (magnitude + gradient))

    def stabilised(self, u: Float[Tensor, "field *space"]) -> "GradientFlow":
        """The same equations with S fitted to the states in `u`.

        Sᵢ ≥ ½ max Σⱼ|∂²f/∂uᵢ∂uⱼ| makes diag(S) − ½H positive semi-definite (Gershgorin), so that
        the linear part carries at least half of every curvature met and a large step cannot
        amplify; rounded up to a power of two, so that small changes alter nothing. Non-conserved
        fields share the largest value, which keeps crystal symmetry.
        """
        cells = u.flatten(1)
        stride = -(-cells.shape[1] // CURVATURE_SAMPLE)
        rows = hessian(self.f, cells[:, ::stride].T).abs().sum(-1).amax(0).tolist()
        require_finite("curvature of f at the present state", torch.tensor(rows))
        ordering = max(
            (row for row, field in zip(rows, self.fields, strict=True) if not field.conserved),
            default=0.0,
        )
        bounds = [
            row if field.conserved else ordering
            for row, field in zip(rows, self.fields, strict=True)
        ]
        stabiliser = tuple(_power_of_two_above(bound / 2) for bound in bounds)
        return self if stabiliser == self.stabiliser else replace(self, stabiliser=stabiliser)

    @cached_property
    def _stabilisers(self) -> Tensor:
        return self._column(self.stabiliser or (0.0,) * len(self.fields))

    def _column(self, values: "list[float] | tuple[float, ...]") -> Tensor:
        column = torch.tensor(values, dtype=torch.float64, device=self.grid.device)
        return column.reshape(-1, *[1] * len(self.grid.shape))

    def _on_parts(self, function: Callable[[Tensor], Tensor], u: Tensor) -> list[Tensor]:
        """`function` of η [sample, d] on all cells, a part at a time."""
        cells = u.flatten(1).T
        size = CELLS_PER_CALL if cells.device.type == "cpu" else len(cells)
        parts = torch.split(cells, size)
        if self.workers is None:
            return [function(part) for part in parts]

        def without_graph(part: Tensor) -> Tensor:
            with torch.no_grad():  # the setting is one of each thread
                return function(part)

        return list(self.workers.map(without_graph, parts))


def _power_of_two_above(x: float) -> float:
    return 0.0 if x <= 0 else float(2.0 ** torch.tensor(x).log2().ceil())
