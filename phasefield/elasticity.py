"""Coherent misfit: the elastic energy of fields that strain the lattice, and its derivatives.

The lattice at a point would like the strain ε⁰(u) = Σₚ θₚ(u) Eₚ and has the stiffness C(u); what
it gets is ε = ε̄ + sym ∇v with a periodic displacement v, at mechanical equilibrium div σ = 0 of
σ = C(ε − ε⁰), for sound is faster than atoms diffuse. Each component of ε̄ is held, or follows the
mean stress σ̄ that is applied (Khachaturyan 1983, Theory of Structural Transformations in Solids).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor

from idnn.free_energy import FreeEnergy, hessian, value_and_potential
from phasefield.dealiasing import Polynomial
from phasefield.fused import PART
from phasefield.grid import Grid
from phasefield.stiffness import (
    COMPONENTS,
    by_component,
    by_mandel,
    check_mean,
    components,
    require_small,
    require_stable,
    vector,
)

CELLS_PER_CALL = 16384
"""Cells at which shares are evaluated at once on a CPU: temporaries stay in its cache."""


@dataclass(frozen=True, eq=False)
class Misfit:
    """θ(u) E.

    Attributes:
        share: θ, a function of the fields: a composition, or how much of a phase there is.
        strain: E, the strain-free strain where θ = 1, against that where θ = 0.
    """

    share: FreeEnergy
    strain: Float[Tensor, "3 3"]


class Response(NamedTuple):
    """What elasticity adds.

    Attributes:
        force: ∂w/∂uᵢ on the cells, energy/nm³.
        energy: Σ w over the cells at hand, less the work of the applied stress.
        error: by which `energy` of all cells together is too large, at most.
    """

    force: Float[Tensor, "field *space"]
    energy: Float[Tensor, ""]
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class HomogeneousElasticity:
    """One stiffness everywhere: equilibrium in closed form, mode by mode.

    w = ½ Σₖ Bₚₚ′(n) θ̂ₚ* θ̂ₚ′ + ½(ε̄ − ε̄⁰)·C(ε̄ − ε̄⁰) − σ̄·ε̄, n = k/|k|, and
    Bₚₚ′(n) = Eₚ·CEₚ′ − (nCEₚ)·(nCn)⁻¹(nCEₚ′) (Khachaturyan 1983, Theory of
    Structural Transformations in Solids, ch. 8). Energies are those of the unit of C times nm³.

    Attributes:
        grid: the cells, periodic.
        stiffness: Voigt's C, energy/nm³ (`GIGAPASCAL` is 1 GPa in eV/nm³).
        misfits: (θₚ, Eₚ).
        mean_strain: components of ε̄ that are held; `PLANE_STRAIN` in most plane models.
        mean_stress: σ̄ of others; of those in neither it is zero.

    Raises:
        ValueError: C is not positive definite, an E not small, the grid has walls, or a component
            is given twice.
    """

    grid: Grid
    stiffness: Float[Tensor, "6 6"]
    misfits: tuple[Misfit, ...]
    mean_strain: Mapping[str, float] = field(default_factory=dict)
    mean_stress: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.grid, self.misfits)
        require_stable("stiffness", self.stiffness)
        check_mean(self.mean_strain, self.mean_stress)

    repeats = True
    """Whether steps may be recorded as CUDA graphs."""

    symmetric = True
    """Whether there is a tangent."""

    def forget(self) -> None:
        """Nothing: there is nothing to remember."""

    def respond(self, u: Float[Tensor, "field *space"]) -> Response:
        """The force on the fields, and the energy."""
        found = shares(self._shares, u)
        pull, energy = self._pulled(values(found))
        return Response(through(found, pull, len(u)), energy)

    def tangent(self, u: Float[Tensor, "field *space"]) -> Callable[[Tensor], Tensor]:
        """v ↦ ∂²w/∂u² v on the cells."""
        found = shares(self._shares, u)
        pull, _ = self._pulled(values(found))
        own = bending(self._shares, u, pull)

        def along(v: Tensor) -> Tensor:
            change = through(found, self.pull(follow(found, v)), len(u))
            return change + torch.einsum("ij...,j...->i...", own, v)

        return along

    def pull(self, change: Float[Tensor, "p *space"]) -> Float[Tensor, "p *space"]:
        """Change of ∂w/∂θ with θ."""
        return self._pulled(change, applied=False)[0]

    def curvature(self, u: Float[Tensor, "field cell"], most: float) -> Float[Tensor, "cell field"]:
        """Σⱼ |∂²w/∂uᵢ∂uⱼ| at most, in single cells; `most`: the largest |∂w/∂θ| anywhere."""
        return largest_curvature(self.misfits, [by_mandel(self.stiffness)], u, most)

    def largest_pull(self, u: Float[Tensor, "field *space"]) -> float:
        """max |∂w/∂θ|."""
        return self.grid.largest(self._pulled(values(shares(self._shares, u)))[0])

    def stress(self, u: Float[Tensor, "field *space"]) -> Float[Tensor, "6 *space"]:
        """σ (xx, yy, zz, yz, xz, xy), energy/nm³."""
        grid, c = self.grid, by_mandel(self.stiffness).to(u)
        wanted = strain_free(self._strains, values(shares(self._shares, u)))
        mean = grid.mean(wanted)
        load_hat = grid.transform(_product(c, wanted))
        strain = grid.inverse(Modes(grid, by_mandel(self.stiffness)).strain_of_load(load_hat))
        elastic = strain - wanted + self._column(mean)
        stress, _ = self._mean.respond(mean.double())
        return by_component(_product(c, elastic) + self._column(stress.to(u)))

    def _pulled(self, theta: Tensor, *, applied: bool = True) -> tuple[Tensor, Tensor]:
        """∂w/∂θ on the cells, and Σ w."""
        pull, stress, energy = self._pull(theta, applied=applied)
        total = 0.5 * (theta * pull).sum(dtype=torch.float64) + theta[0].numel() * energy
        return pull - self._column((self._strains @ stress).to(theta)), total

    def _pull(self, theta: Tensor, *, applied: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """B∗θ without its mean, the mean stress, and the mean's energy per cell."""
        grid = self.grid
        theta_hat = grid.transform(theta)
        rows = [
            grid.combine(*[(b, 1.0, t) for b, t in zip(row, theta_hat, strict=True)])
            for row in self._interaction
        ]
        wanted = grid.mean(theta).double() @ self._strains.to(theta.device)
        stress, energy = self._mean.respond(wanted, applied=applied)
        return grid.inverse(torch.stack(rows)), stress, energy

    @property
    def _shares(self) -> list[FreeEnergy]:
        return [misfit.share for misfit in self.misfits]

    @cached_property
    def _strains(self) -> Float[Tensor, "p 6"]:
        strains = torch.stack([vector(m.strain) for m in self.misfits])
        return strains.to(self.grid.device)

    @cached_property
    def _mean(self) -> "MeanState":
        return MeanState(by_mandel(self.stiffness), self.mean_strain, self.mean_stress, self.grid)

    @cached_property
    def _interaction(self) -> Float[Tensor, "p p *k"]:
        """B, zero at k = 0."""
        modes = Modes(self.grid, by_mandel(self.stiffness))
        return self.grid.coefficients(modes.interaction(self._strains))

    def _column(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * len(self.grid.shape))


class MeanState:
    """The mean strain that follows from what is held and applied, and its energy."""

    def __init__(
        self,
        c: Float[Tensor, "6 6"],
        strain: Mapping[str, float],
        stress: Mapping[str, float],
        grid: Grid,
    ) -> None:
        held = torch.tensor([name in strain for name in COMPONENTS])
        free = (~held).double()
        # C restricted to the free components, inverted there and zero elsewhere.
        compliance = torch.linalg.inv(c * torch.outer(free, free) + torch.diag(1 - free))
        compliance = compliance * torch.outer(free, free)
        numbers = (c, free, compliance, components(strain), components(stress))
        self.c, self.free, self.compliance, self.strain, self.applied = (
            each.to(grid.device) for each in numbers
        )

    def respond(
        self, wanted: Float[Tensor, " 6"], *, applied: bool = True
    ) -> tuple[Float[Tensor, " 6"], Float[Tensor, ""]]:
        """σ̄ and ½(ε̄ − ε̄⁰)·σ̄ − σ̄ₐ·ε̄ per volume, of the strain-free mean strain ε̄⁰ `wanted`.

        Not `applied`: changes of them with ε̄⁰ alone.
        """
        held = self.strain if applied else torch.zeros_like(self.strain)
        load = self.applied if applied else torch.zeros_like(self.applied)
        elastic = (held - wanted) * (1 - self.free)
        elastic = elastic + self.compliance @ (load - self.c @ elastic)
        stress = self.c @ elastic
        return stress, 0.5 * elastic @ stress - load @ (elastic + wanted)


class Modes:
    """Directions of k and what a homogeneous body does along them."""

    def __init__(self, grid: Grid, c: Float[Tensor, "6 6"]) -> None:
        self.grid, self.c = grid, c.to(grid.device)

    def interaction(self, strains: Float[Tensor, "p 6"]) -> Float[Tensor, "p p *k"]:
        """Bₚₚ′(n), zero at k = 0."""
        loads = strains @ self.c
        local = loads @ strains.T
        shape = self.grid.k2.shape
        out = torch.empty(*local.shape, *shape, dtype=torch.float64, device=self.grid.device)
        flat, k = out.flatten(2), self._k
        for start in range(0, k.shape[1], PART):
            part = k[:, start : start + PART]
            traction = torch.einsum("pj,jic->pic", loads, _normals(part))
            relaxed = torch.einsum("pic,ijc,qjc->pqc", traction, self._inverse(part), traction)
            b = local[..., None] - relaxed
            flat[..., start : start + PART] = b
        return torch.where(self.grid.k2 > 0, out, 0.0)

    def compliance(self) -> Float[Tensor, "3 3 *k"]:
        """(kCk)⁻¹, zero where k is."""
        parts = [self._inverse(part) for part in self._k.split(PART, dim=1)]
        return torch.cat(parts, -1).reshape(3, 3, *self.grid.k2.shape)

    def strain_of_load(self, load_hat: Num[Tensor, "6 *k"]) -> Tensor:
        """ε̂ of div(Cε) = div τ."""
        k = self._k.to(load_hat.real)
        n = _normals(k)
        flat = load_hat.flatten(1)
        traction = torch.einsum("jic,jc->ic", n.to(flat), flat)
        moved = torch.einsum("ijc,jc->ic", self._inverse(k.double()).to(flat), traction)
        return torch.einsum("jic,ic->jc", n.to(flat), moved).view_as(load_hat)

    @cached_property
    def _k(self) -> Float[Tensor, "3 mode"]:
        rows = list(self.grid.odd_wave_numbers)
        rows += [torch.zeros_like(rows[0])] * (3 - len(rows))
        return torch.stack(torch.broadcast_tensors(*rows)).flatten(1)

    def _inverse(self, k: Float[Tensor, "3 mode"]) -> Float[Tensor, "3 3 mode"]:
        """(kCk)⁻¹, by cofactors; zero where k is."""
        n = _normals(k)
        a = torch.einsum("jic,jl,lmc->imc", n, self.c, n)
        x, y, z = a.unbind(0)
        cofactors = torch.stack([torch.linalg.cross(y, z, dim=0), torch.linalg.cross(z, x, dim=0),
                                 torch.linalg.cross(x, y, dim=0)], 1)  # fmt: skip
        det = (x * cofactors[:, 0]).sum(0)
        none = (k == 0).all(0)
        return torch.where(none, 0.0, cofactors / torch.where(none, 1.0, det))


def _normals(k: Float[Tensor, "3 mode"]) -> Float[Tensor, "6 3 mode"]:
    """N of ε̂ = i N v̂, and of the traction Nᵀσ."""
    x, y, z = k
    o, r = torch.zeros_like(x), 1 / math.sqrt(2)
    rows = [
        (x, o, o),
        (o, y, o),
        (o, o, z),
        (o, r * z, r * y),
        (r * z, o, r * x),
        (r * y, r * x, o),
    ]
    return torch.stack([torch.stack(row) for row in rows])


def check(grid: Grid, misfits: tuple[Misfit, ...]) -> None:
    """Raise `ValueError` unless the box is periodic and the misfits are small."""
    if grid.walls:
        raise ValueError(
            f"`grid` must be periodic for elasticity; its boundaries are {grid.boundaries}."
        )
    if not misfits:
        raise ValueError("`misfits` must hold at least one; it is empty.")
    for misfit in misfits:
        require_small("strain", misfit.strain)


class Share(NamedTuple):
    """θ on the cells, and ∂θ/∂uᵢ of those fields that it depends on, perhaps as numbers."""

    value: Float[Tensor, "*space"]
    slopes: dict[int, Tensor | float]


def shares(terms: Sequence[FreeEnergy], u: Tensor) -> list[Share]:
    """θ of each; what occurs twice is evaluated once."""
    found = {id(term): _share(term, u) for term in terms}
    return [found[id(term)] for term in terms]


def _share(theta: FreeEnergy, u: Tensor) -> Share:
    cells, ids = u.flatten(1), range(len(u))
    if isinstance(theta, Polynomial) and theta.degree == 1:
        origin = torch.zeros(1, len(u), dtype=torch.float64)  # no GPU need be waited for
        start, slope = value_and_potential(theta, origin)
        slopes = slope[0].tolist()
        total = sum((a * cells[i] for i, a in enumerate(slopes) if a), float(start[0]))
        assert isinstance(total, Tensor)
        return Share(total.view_as(u[0]), {i: a for i, a in enumerate(slopes) if a})
    value, slope = u.new_empty(u[0].numel()), torch.empty_like(u)
    flat = slope.flatten(1)
    size = CELLS_PER_CALL if u.is_cpu else cells.shape[1]
    for start in range(0, cells.shape[1], size):
        into = slice(start, start + size)
        value[into], turned = value_and_potential(theta, cells[:, into].T)
        flat[:, into] = turned.T
    return Share(value.view_as(u[0]), {i: slope[i] for i in ids})


def values(found: Sequence[Share]) -> Float[Tensor, "p *space"]:
    """All θ."""
    return torch.stack([share.value for share in found])


def follow(found: Sequence[Share], v: Tensor) -> Float[Tensor, "p *space"]:
    """Σᵢ ∂θₚ/∂uᵢ vᵢ."""
    rows = [sum(slope * v[i] for i, slope in share.slopes.items()) for share in found]
    return torch.stack([row for row in rows if isinstance(row, Tensor)])


def bending(terms: Sequence[FreeEnergy], u: Tensor, pull: Tensor) -> Float[Tensor, "i j *space"]:
    """Σₚ ∂²θₚ/∂uᵢ∂uⱼ pₚ."""
    rows = u.flatten(1).T
    found = [hessian(theta, rows).movedim(0, -1) for theta in terms]
    total = torch.stack([h * p for h, p in zip(found, pull.flatten(1), strict=True)]).sum(0)
    return total.view(len(u), *u.shape)


def largest_curvature(
    misfits: Sequence[Misfit], stiffnesses: Sequence[Tensor], u: Tensor, most: float
) -> Float[Tensor, "cell field"]:
    """Σⱼ |∂²w/∂uᵢ∂uⱼ| at most, in single cells of any of the stiffnesses."""
    rows = u.T.double()
    slopes = torch.stack([value_and_potential(m.share, rows)[1] for m in misfits]).abs()
    bent = torch.stack([hessian(m.share, rows).abs().sum(-1) for m in misfits])
    strains = torch.stack([vector(m.strain) for m in misfits])
    stiff = torch.stack([(strains @ c @ strains.T).abs() for c in stiffnesses]).amax(0)
    return torch.einsum("pq,pci,qcj->ci", stiff.to(rows), slopes, slopes) + most * bent.sum(0)


def strain_free(strains: Tensor, theta: Tensor) -> Float[Tensor, "6 *space"]:
    """Σₚ θₚ Eₚ."""
    return torch.einsum("pi,p...->i...", strains.to(theta), theta)


def _product(c: Tensor, strain: Tensor) -> Tensor:
    return torch.einsum("ij,j...->i...", c, strain)


def through(found: Sequence[Share], pull: Tensor, fields: int) -> Float[Tensor, "field *space"]:
    """Σₚ ∂θₚ/∂uᵢ pₚ."""
    out = pull.new_zeros(fields, *pull.shape[1:])
    for share, p in zip(found, pull, strict=True):
        for i, slope in share.slopes.items():
            if isinstance(slope, Tensor):
                out[i].addcmul_(slope, p)
            else:
                out[i].add_(p, alpha=slope)
    return out
