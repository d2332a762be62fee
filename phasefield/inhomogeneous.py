"""Mechanical equilibrium where phases differ in stiffness, by preconditioned conjugate gradients.

The displacement and the mean strain that make Σ ½(ε − ε⁰)·C(x)(ε − ε⁰) − σ̄·ε̄ least are sought
together; derivatives are those of Fourier series, and a body of one stiffness in between
preconditions, as the reference medium of Moulinec & Suquet (1998,
doi:10.1016/S0045-7825(97)00218-1) does. Conjugate gradients take the square root of the iterations
of that scheme (Zeman et al. 2010, doi:10.1016/j.jcp.2010.07.010).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range
from idnn.free_energy import FreeEnergy
from phasefield import fused
from phasefield.displacements import Displacements
from phasefield.elasticity import (
    HomogeneousElasticity,
    MeanState,
    Misfit,
    Response,
    Share,
    bending,
    check,
    follow,
    largest_curvature,
    shares,
    strain_free,
    through,
    values,
)
from phasefield.grid import Grid
from phasefield.stiffness import (
    by_component,
    by_mandel,
    check_mean,
    require_stable,
    vector,
)

ITERATIONS = 500
"""Most iterations for one equilibrium."""

ROUNDING = 16
"""Relative error of strains, in units of that of a number, which iterations need not go below."""


class NoEquilibrium(ValueError):
    """Fields for which the iteration comes to no end."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """χ(u) ΔC.

    Attributes:
        share: χ, a function of the fields.
        change: ΔC, Voigt's C where χ = 1 less that where χ = 0.
    """

    share: FreeEnergy
    change: Float[Tensor, "6 6"]


class _Equilibrium(NamedTuple):
    """ε − ε⁰ on the cells, the mean strain, and the energy that could still be freed, at most."""

    elastic: Float[Tensor, "6 *space"]
    mean: Float[Tensor, " 6"]
    left: float


@dataclass(frozen=True, eq=False)
class InhomogeneousElasticity:
    """C(u) = C₀ + Σ χ(u) ΔC; otherwise as `HomogeneousElasticity`.

    Equilibrium is iterated from the last one found until the energy that it could still free is
    below `tolerance`² of what strains of the size of the misfit would have. With residual r,
    mean stiffness M and C(u) between (1 − a)M and (1 + b)M that is at most ½ r·M⁻¹r/(1 − a), as
    long as shares lie in [0, 1], and at most max(a, b)² times as much after a last correction M⁻¹r,
    whose residual therefore is not asked for. `forget` lets it begin anew: a run does so whenever
    it writes a checkpoint, so that one continued from it has the same bits.

    Attributes:
        grid: the cells, periodic.
        stiffness: C₀, where all χ are zero, energy/nm³.
        misfits: (θₚ, Eₚ).
        contrasts: (χ, ΔC).
        mean_strain: components of ε̄ that are held.
        mean_stress: σ̄ of others; of those in neither it is zero.
        tolerance: relative error of strains.

    Raises:
        ValueError: a stiffness that may occur is not positive definite, an E not small, the grid
            has walls, `tolerance` is not in (0, 0.1], or a component is given twice.
    """

    grid: Grid
    stiffness: Float[Tensor, "6 6"]
    misfits: tuple[Misfit, ...]
    contrasts: tuple[Contrast, ...]
    mean_strain: Mapping[str, float] = field(default_factory=dict)
    mean_stress: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-5

    repeats = False  # iterations are counted as they go
    symmetric = True

    def __post_init__(self) -> None:
        check(self.grid, self.misfits)
        require_in_range("tolerance", self.tolerance, 1e-15, 0.1)
        require_stable("stiffness", self.stiffness)
        for contrast in self.contrasts:
            require_stable("stiffness + change", self.stiffness + contrast.change)
        check_mean(self.mean_strain, self.mean_stress)

    @property
    def iterations(self) -> int:
        """Spent on the last equilibrium."""
        return int(self._last.get("iterations", 0))

    def forget(self) -> None:
        """Begin the next equilibrium from nothing."""
        self._last.clear()

    def respond(self, u: Float[Tensor, "field *space"]) -> Response:
        """The force on the fields, and the energy; NaN where there is no equilibrium.

        Steps that go that far are refused. `stress` says why.
        """
        found = shares(self._shares, u)
        try:
            elastic, mean, left = self._equilibrium(found)
        except NoEquilibrium:
            self.forget()
            return Response(torch.full_like(u, torch.nan), u.new_tensor(torch.nan).double())
        pulls, energy = self._pulls(found, elastic)
        loss = elastic[0].numel() * (self._mean.applied @ mean)
        return Response(through(found, pulls, len(u)), energy - loss, left)

    def tangent(self, u: Float[Tensor, "field *space"]) -> Callable[[Tensor], Tensor]:
        """v ↦ ∂²w/∂u² v, but as if the strain followed v in a body of the mean stiffness.

        Symmetric; exact where moduli agree, else off by the contrast. With the coupling to it in
        the stress implicit steps of γ and γ′ take as many corrections, and at a contrast of five as
        many within 4 %, each half as dear again.
        """
        found = shares(self._shares, u)
        pulls, _ = self._pulls(found, self._equilibrium(found).elastic)
        own = bending(self._shares, u, pulls)
        misfits = found[: len(self.misfits)]

        def along(v: Tensor) -> Tensor:
            change = through(misfits, self._alike.pull(follow(misfits, v)), len(u))
            return change + torch.einsum("ij...,j...->i...", own, v)

        return along

    def stress(self, u: Float[Tensor, "field *space"]) -> Float[Tensor, "6 *space"]:
        """σ (xx, yy, zz, yz, xz, xy), energy/nm³."""
        found = shares(self._shares, u)
        return by_component(self._stress(found, self._equilibrium(found).elastic))

    def largest_pull(self, u: Float[Tensor, "field *space"]) -> float:
        """max |∂w/∂θ|."""
        found = shares(self._shares, u)
        pulls, _ = self._pulls(found, self._equilibrium(found).elastic)
        return self.grid.largest(pulls[: len(self.misfits)])

    def curvature(self, u: Float[Tensor, "field cell"], most: float) -> Float[Tensor, "cell field"]:
        """Σⱼ |∂²w/∂uᵢ∂uⱼ| of one stiffness, the greatest, at most, in single cells."""
        return largest_curvature(self.misfits, list(map(by_mandel, self._stiffnesses)), u, most)

    def _pulls(self, found: Sequence[Share], elastic: Tensor) -> tuple[Tensor, Tensor]:
        """∂w/∂θ = −E·σ, ∂w/∂χ = ½(ε − ε⁰)·ΔC(ε − ε⁰), and Σ ½(ε − ε⁰)·σ."""
        out = elastic.new_empty(len(found), *elastic.shape[1:])
        flat, pulls, own = elastic.flatten(1), out.flatten(1), -self._strains.to(elastic)
        chi, work = self._chi(found), []
        stiffness, *changes = (matrix.to(elastic) for matrix in self._matrices)
        for part in fused.parts(flat):
            strain = flat[:, part]
            stress = stiffness @ strain
            for row, (share, change) in enumerate(zip(chi, changes, strict=True), len(own)):
                more = change @ strain
                stress.addcmul_(share[part], more)
                pulls[row, part] = more.mul_(strain).sum(0).mul_(0.5)
            pulls[: len(own), part] = own @ stress
            work.append(stress.mul_(strain).sum(dtype=torch.float64))
        return out, 0.5 * torch.stack(work).sum()

    def _stress(self, found: Sequence[Share], elastic: Tensor) -> Float[Tensor, "6 *space"]:
        """C(u)(ε − ε⁰)."""
        flat, workers = elastic.flatten(1), self.grid.workers
        return fused.mixed(self._matrices, self._chi(found), flat, workers).view_as(elastic)

    def _chi(self, found: Sequence[Share]) -> list[Float[Tensor, " cell"]]:
        return [share.value.flatten() for share in found[len(self.misfits) :]]

    def _equilibrium(self, found: Sequence[Share]) -> _Equilibrium:
        theta, body = values(found[: len(self.misfits)]), self._body
        elastic, mean = self._start(theta)
        residual = body.residual(self._stress(found, elastic))
        direction = relaxed = body.relaxed(residual)
        left, before, count = body.product(residual, relaxed), math.inf, 0
        softest, off = self._range
        enough = self._enough(theta) * softest
        while left * min(off, 1.0) ** 2 > enough:
            if count > 0:
                direction = body.moved(relaxed, left / before, direction)
            change = body.strain(direction)
            pushed = body.residual(self._stress(found, change), applied=False)
            curvature = -body.product(direction, pushed)
            if count == ITERATIONS or not curvature > 0:  # NaN, too
                raise NoEquilibrium(
                    f"`contrasts`: no mechanical equilibrium after {count} iterations (residual "
                    f"{math.sqrt(left / enough):.3g} times what `tolerance` = {self.tolerance:g} "
                    "allows): shares so far outside [0, 1] that a stiffness is no longer positive, "
                    "or a contrast beyond 1000."
                )
            length = left / curvature
            mean = mean + length * direction.mean
            elastic.add_(change, alpha=length)
            residual = body.moved(residual, length, pushed)
            relaxed = body.relaxed(residual)
            left, before, count = body.product(residual, relaxed), left, count + 1
        if left > enough:
            mean = mean + relaxed.mean
            elastic.add_(body.strain(relaxed))
            left, count = left * off**2, count + 1
        self._last.update(elastic=elastic, theta=theta, mean=mean, iterations=count)
        if not math.isfinite(left):  # of fields that are not: the next ones must not begin there
            self.forget()
        return _Equilibrium(elastic, mean, 0.5 * left / softest)

    def _start(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """ε − ε⁰ of the last strain, in its own place, and the mean strain."""
        if not self._last:
            mean = self._mean.strain
            return self._column(mean) - strain_free(self._strains, theta), mean
        elastic, moved = self._last["elastic"], (theta - self._last["theta"]).flatten(1)
        elastic.flatten(1).addmm_(self._strains.T.to(moved), moved, alpha=-1)
        return elastic, self._last["mean"]

    def _enough(self, theta: Tensor) -> float:
        """Energy that may be left unfreed; more than rounding leaves where all cells are alike."""
        uneven = theta - self._column(self.grid.mean(theta))
        rounding = ROUNDING * self.grid.epsilon
        return self.tolerance**2 * self._scale(uneven) + rounding**2 * self._scale(theta)

    def _scale(self, theta: Tensor) -> float:
        """An upper bound of the energy that strains of the size of these misfits would have."""
        stiffest = float(torch.linalg.eigvalsh(self._between)[-1])
        alike = self.grid.total((theta.flatten(1) @ theta.flatten(1).T).double())
        misfit = (alike * (self._strains @ self._strains.T)).sum()
        from_outside = (
            self._mean.strain.square().sum() + self._mean.applied.square().sum() / stiffest**2
        )
        return stiffest * (float(misfit) + self.grid.cells * float(from_outside))

    @property
    def _shares(self) -> list[FreeEnergy]:
        return [each.share for each in (*self.misfits, *self.contrasts)]

    @cached_property
    def _last(self) -> dict:
        return {}

    @cached_property
    def _strains(self) -> Float[Tensor, "p 6"]:
        return torch.stack([vector(m.strain) for m in self.misfits]).to(self.grid.device)

    @cached_property
    def _matrices(self) -> list[Float[Tensor, "6 6"]]:
        """C₀ and all ΔC, by Mandel."""
        each = (self.stiffness, *[contrast.change for contrast in self.contrasts])
        return [by_mandel(c).to(self.grid.device) for c in each]

    @property
    def _stiffnesses(self) -> list[Float[Tensor, "6 6"]]:
        """Voigt's, with each share at 0 and at 1."""
        return [self.stiffness, *[self.stiffness + each.change for each in self.contrasts]]

    @cached_property
    def _between(self) -> Float[Tensor, "6 6"]:
        """Their mean, by Mandel: of the preconditioner."""
        return by_mandel(torch.stack(self._stiffnesses).mean(0))

    @cached_property
    def _range(self) -> tuple[float, float]:
        """1 − a and max(a, b)."""
        root = torch.linalg.inv(torch.linalg.cholesky(self._between))
        found = [torch.linalg.eigvalsh(root @ by_mandel(c) @ root.T) for c in self._stiffnesses]
        values = torch.cat(found)
        return float(values.min()), float((values - 1).abs().max())

    @cached_property
    def _mean(self) -> MeanState:
        return MeanState(self._between, self.mean_strain, self.mean_stress, self.grid)

    @cached_property
    def _body(self) -> Displacements:
        """Of the mean stiffness; in a plane without shears out of it nothing moves along z."""
        coupled = any(bool(c[[0, 1, 2, 5], 3:5].any()) for c in self._stiffnesses)
        sheared = bool(self._strains[:, 3:5].any())
        plane = len(self.grid.shape) == 2 and not coupled and not sheared
        return Displacements(self.grid, self._between, self._mean, plane)

    @cached_property
    def _alike(self) -> HomogeneousElasticity:
        """A body of the mean stiffness."""
        mean = torch.stack(self._stiffnesses).mean(0)
        return HomogeneousElasticity(
            self.grid, mean, self.misfits, self.mean_strain, self.mean_stress
        )

    def _column(self, values: Tensor) -> Tensor:
        shape = [-1, *[1] * len(self.grid.shape)]
        return values.to(self.grid.dtype).reshape(shape)
