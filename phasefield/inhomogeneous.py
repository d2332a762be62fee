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
from phasefield.elasticity import (
    HomogeneousElasticity,
    MeanState,
    Misfit,
    Modes,
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
from phasefield.fused import parts
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


class _Strained(NamedTuple):
    """Displacement and mean strain, or residuals of both."""

    modes: list[Tensor]
    mean: Float[Tensor, " 6"]


class _Equilibrium(NamedTuple):
    """ε − ε⁰ and σ on the cells, the mean strain, and the energy that could still be freed."""

    elastic: Float[Tensor, "6 *space"]
    stress: Float[Tensor, "6 *space"]
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
            elastic, stress, mean, left = self._equilibrium(found)
        except NoEquilibrium:
            self.forget()
            return Response(torch.full_like(u, torch.nan), u.new_tensor(torch.nan).double())
        force = through(found, self._pulls(elastic, stress), len(u))
        one, other = elastic.flatten(), stress.flatten()
        work = [torch.dot(one[part], other[part]).double() for part in parts(one)]
        loss = stress[0].numel() * (self._mean.applied @ mean)
        return Response(force, 0.5 * torch.stack(work).sum() - loss, left)

    def tangent(self, u: Float[Tensor, "field *space"]) -> Callable[[Tensor], Tensor]:
        """v ↦ ∂²w/∂u² v, but as if the strain followed v in a body of the mean stiffness.

        Symmetric; exact where moduli agree, else off by the contrast: implicit steps need a few
        corrections more.
        """
        found = shares(self._shares, u)
        rest = self._equilibrium(found)
        own = bending(self._shares, u, self._pulls(rest.elastic, rest.stress))
        misfits = found[: len(self.misfits)]

        def along(v: Tensor) -> Tensor:
            change = through(misfits, self._alike.pull(follow(misfits, v)), len(u))
            return change + torch.einsum("ij...,j...->i...", own, v)

        return along

    def stress(self, u: Float[Tensor, "field *space"]) -> Float[Tensor, "6 *space"]:
        """σ (xx, yy, zz, yz, xz, xy), energy/nm³."""
        return by_component(self._equilibrium(shares(self._shares, u)).stress)

    def largest_pull(self, u: Float[Tensor, "field *space"]) -> float:
        """max |∂w/∂θ|."""
        stress = self._equilibrium(shares(self._shares, u)).stress
        return self.grid.largest(torch.einsum("pi,i...->p...", self._strains.to(u), stress))

    def curvature(self, u: Float[Tensor, "field cell"], most: float) -> Float[Tensor, "cell field"]:
        """Σⱼ |∂²w/∂uᵢ∂uⱼ| of one stiffness, the greatest, at most, in single cells."""
        return largest_curvature(self.misfits, list(map(by_mandel, self._stiffnesses)), u, most)

    def _pulls(self, elastic: Tensor, stress: Tensor) -> Float[Tensor, "p *space"]:
        """∂w/∂θ = −E·σ and ∂w/∂χ = ½(ε − ε⁰)·ΔC(ε − ε⁰)."""
        flat, own = elastic.flatten(1), -self._strains.to(elastic)
        halves = [0.5 * change.to(flat) for change in self._changes]
        out = stress.new_empty(len(self._shares), flat.shape[1])
        for part in parts(flat):
            strain = flat[:, part]
            out[: len(own), part] = own @ stress.flatten(1)[:, part]
            for row, half in enumerate(halves, len(own)):
                out[row, part] = (half @ strain).mul_(strain).sum(0)
        return out.view(-1, *stress.shape[1:])

    def _equilibrium(self, found: Sequence[Share]) -> _Equilibrium:
        theta, chi = values(found[: len(self.misfits)]), found[len(self.misfits) :]
        body = _Body(self, [share.value for share in chi])
        elastic, mean = self._start(theta)
        residual = body.residual(stress := body.stress(elastic))
        direction = relaxed = body.relaxed(residual)
        left, count = body.product(residual, relaxed), 0
        softest, off = self._range
        enough = self._enough(theta) * softest
        while left * min(off, 1.0) ** 2 > enough:
            change = body.strain(direction)
            pushed = body.residual(body.stress(change), applied=False)
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
            direction = body.moved(relaxed, left / before, direction)
        if left > enough:
            mean = mean + relaxed.mean
            elastic.add_(body.strain(relaxed))
            left, count = left * off**2, count + 1
        if count > 0:
            stress = body.stress(elastic)
        self._last.update(elastic=elastic, theta=theta, mean=mean, iterations=count)
        if not math.isfinite(left):  # of fields that are not: the next ones must not begin there
            self.forget()
        return _Equilibrium(elastic, stress, mean, 0.5 * left / softest)

    def _start(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """ε − ε⁰ of the last strain, in its own place, and the mean strain."""
        if not self._last:
            mean = self._mean.strain
            return self._column(mean) - strain_free(self._strains, theta), mean
        elastic, before = self._last["elastic"], self._last["theta"]
        return elastic.sub_(strain_free(self._strains, theta - before)), self._last["mean"]

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
    def _changes(self) -> list[Float[Tensor, "6 6"]]:
        return [by_mandel(each.change).to(self.grid.device) for each in self.contrasts]

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
    def _alike(self) -> HomogeneousElasticity:
        """A body of the mean stiffness."""
        mean = torch.stack(self._stiffnesses).mean(0)
        return HomogeneousElasticity(
            self.grid, mean, self.misfits, self.mean_strain, self.mean_stress
        )

    @cached_property
    def _modes(self) -> Modes:
        return Modes(self.grid, self._between)

    @cached_property
    def _compliance(self) -> Float[Tensor, "3 3 *k"]:
        """(kCk)⁻¹ of every mode."""
        return self.grid.coefficients(self._modes.compliance())

    @cached_property
    def _weight(self) -> Float[Tensor, "*k"]:
        return self.grid.multiplicity.expand(self.grid.k2.shape).contiguous()

    @cached_property
    def _k(self) -> list[Float[Tensor, "*k"]]:
        """Components of k at every mode."""
        like = self.grid.k2
        return [self.grid.coefficients(k.expand(like.shape)) for k in self.grid.odd_wave_numbers]

    @cached_property
    def _plane(self) -> bool:
        """Whether nothing moves along z, nor need it: two dimensions without shears out of them."""
        coupled = any(bool(c[[0, 1, 2, 5], 3:5].any()) for c in self._stiffnesses)
        sheared = bool(self._strains[:, 3:5].any())
        return len(self.grid.shape) == 2 and not coupled and not sheared

    def _column(self, values: Tensor) -> Tensor:
        shape = [-1, *[1] * len(self.grid.shape)]
        return values.to(self.grid.dtype).reshape(shape)


_SHEARS = {3: (1, 2), 4: (0, 2), 5: (0, 1)}
"""Axes of the shear components."""


class _Body:
    """The linear operations on displacements and stresses at given fields.

    Displacements are those of modes, times i, so that only real numbers multiply them.
    """

    def __init__(self, model: InhomogeneousElasticity, chi: Sequence[Tensor]) -> None:
        self.model, self.grid = model, model.grid
        self.chi = [each.flatten() for each in chi]
        self.rows = [0, 1, 5] if model._plane else list(range(6))
        self.columns = [0, 1] if model._plane else [0, 1, 2]
        self.c = by_mandel(model.stiffness).to(self.grid.device, self.grid.dtype)

    def strain(self, of: _Strained) -> Float[Tensor, "6 *space"]:
        """ε̄ + sym ∇v."""
        k, w, root = self.model._k, of.modes, 1 / math.sqrt(2)
        shape = self.grid.slabs.local_shape
        out = torch.empty((6, *shape), dtype=self.grid.dtype, device=self.grid.device)
        for row, mean in enumerate(of.mean.tolist()):
            i, j = _SHEARS.get(row, (row, row))
            pairs = [(i, j)] if i == j else [(i, j), (j, i)]
            scale = 1.0 if i == j else root
            terms = [(k[a], scale, w[b]) for a, b in pairs if a < len(k) and b < len(w)]
            if row in self.rows and terms:
                torch.add(self.grid.inverse(self.grid.combine(*terms)), mean, out=out[row])
            else:
                out[row] = mean
        return out

    def stress(self, elastic: Float[Tensor, "6 *space"]) -> Float[Tensor, "6 *space"]:
        """Cε."""
        flat, found = elastic.flatten(1), torch.empty_like(elastic)
        changes = [change.to(flat) for change in self.model._changes]
        for part in parts(flat):
            strain = flat[:, part]
            out = self.c @ strain
            for chi, change in zip(self.chi, changes, strict=True):
                out.addcmul_(chi[part], change @ strain)
            found.flatten(1)[:, part] = out
        return found

    def residual(self, stress: Tensor, *, applied: bool = True) -> _Strained:
        """Forces that are not balanced: −Nᵀσ, and σ̄ less the mean stress where it is free."""
        k, root = self.model._k, 1 / math.sqrt(2)
        s = {row: self.grid.transform(stress[row]) for row in self.rows}
        modes = []
        for i in self.columns:
            terms = [(k[i], -1.0, s[i])] if i < len(k) else []
            for row, axes in _SHEARS.items():
                other = [axis for axis in axes if axis != i]
                if row in s and i in axes and other[0] < len(k):
                    terms.append((k[other[0]], -root, s[row]))
            modes.append(self.grid.combine(*terms))
        load = self.model._mean.applied if applied else 0.0
        mean = (load - self.grid.mean(stress).double()) * self.model._mean.free
        return _Strained(modes, mean)

    def relaxed(self, residual: _Strained) -> _Strained:
        """What the body of one stiffness does under these forces."""
        inverse, forces = self.model._compliance, residual.modes
        modes = [
            self.grid.combine(*[(inverse[i, j], 1.0, f) for j, f in enumerate(forces)])
            for i in self.columns
        ]
        return _Strained(modes, self.model._mean.compliance @ residual.mean)

    def product(self, one: _Strained, other: _Strained) -> float:
        """Work of one on the other, over all cells."""
        pairs = zip(one.modes, other.modes, strict=True)
        modes = [self.grid.mode_sum(self.model._weight, a, b) for a, b in pairs]
        return sum(modes) + self.grid.cells * float(one.mean @ other.mean)

    def moved(self, at: _Strained, length: float, along: _Strained) -> _Strained:
        """At + length × along."""
        pairs = zip(at.modes, along.modes, strict=True)
        modes = [torch.add(a, b, alpha=length) for a, b in pairs]
        return _Strained(modes, at.mean + length * along.mean)
