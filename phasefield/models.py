"""The coupled Cahn–Hilliard / Allen–Cahn equations as a stiff linear and a mild nonlinear part."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_positive
from idnn.free_energy import FreeEnergy, hessian, value_and_potential
from phasefield import fused
from phasefield.dealiasing import Dealias, FineGrid, points_per_cell
from phasefield.derivatives import divergence, gradient
from phasefield.elasticity import Response
from phasefield.grid import Grid
from phasefield.integrators import Evaluation
from phasefield.noise import Noise
from phasefield.sums import curvature
from phasefield.tangent import Tangent, product
from phasefield.terms import Bending, Compiled, Elastic, Energy, OrderField, Pointwise

CELLS_PER_CALL = 16384
"""Cells handed to the free energy at once on a CPU: its temporaries stay in the cache, and threads
find something to share."""

CELLS_PER_CALL_ON_GPU = 2**20
"""Those whose second derivatives are taken at once on a GPU: temporaries would fill its memory."""

CURVATURE_SAMPLE = 16384
"""Most cells at which the curvature of the free energy is measured."""


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """∂uᵢ/∂t = −Rᵢ δF/δuᵢ with F = (1/Ω) ∫ f(u) + Σᵢⱼ ½κᵢⱼ ∇uᵢ·∇uⱼ dV and u = (c, η₁, …).

    Rᵢ = −M∇² for a conserved field (Cahn & Hilliard 1958, doi:10.1063/1.1744102) and L for a
    non-conserved one (Allen & Cahn 1979, doi:10.1016/0001-6160(79)90196-2). Differential operators
    act on the transformed fields, and f on the cells or the finer grid that `dealias` asks for. The
    force is the derivative of that discrete F, so the semi-discrete F falls exactly.

    The stabiliser Sᵢ ≥ 0 only moves a term between the two parts: linear −Rᵢ(κᵢk² + Sᵢ),
    nonlinear −Rᵢ(∂f/∂uᵢ − Sᵢuᵢ). So does Σⱼ|κᵢⱼ|, by which κᵢ of the linear part exceeds κᵢᵢ.

    Attributes:
        grid: the cells.
        f: free energy per site (eV) of the fields in the order of `fields`.
        fields: what each field is; κᵢᵢ are theirs.
        coupling: κᵢⱼ of different fields, eV·nm²/site: a symmetric matrix whose diagonal is not
            used. Not given: none.
        site_volume: Ω, nm³ per site.
        mobility: M(u)/M on every cell from the fields there [field, cell], for conserved fields:
            ∂u/∂t = ∇·M(u)∇(δF/δu). The linear part keeps M, which must be at least half of the
            largest M(u). Not given: 1.
        noise: thermal noise; not with a `mobility`.
        stabiliser: Sᵢ, eV/site, one per field.
        dealias: points per cell and axis at which f and its derivatives are evaluated; 1: on the
            cells. "exact": as many as make the integral of f exact, half the degree of a polynomial
            (see `dealiasing`). `mobility` stays on the cells: it bears on rates, not on F. f must
            be finite a little beyond the values on the cells, where fields overshoot between them.
        elastic: elastic energy on the same cells, eV/nm³; not given: none.
    """

    grid: Grid
    f: FreeEnergy
    fields: tuple[OrderField, ...]
    site_volume: float = 1.0
    coupling: Float[Tensor, "field field"] | None = None
    mobility: Callable[[Tensor], Tensor] | None = None
    noise: Noise | None = None
    stabiliser: tuple[float, ...] = ()
    dealias: Dealias = 1.0
    elastic: Elastic | None = None

    def __post_init__(self) -> None:
        require_positive("site_volume", self.site_volume)
        if not self.fields:
            raise ValueError("`fields` must hold at least one field; it is empty.")
        if self.stabiliser and len(self.stabiliser) != len(self.fields):
            raise ValueError(
                f"`stabiliser` must hold one number per field; it holds {len(self.stabiliser)} "
                f"for {len(self.fields)} fields."
            )
        if self.coupling is not None:
            self._check_coupling(self.coupling)
        if self.noise is not None and self.mobility is not None:
            raise ValueError(
                "`noise` of a `mobility` that depends on the fields is not known here."
            )
        if self.elastic is not None and self.elastic.grid is not self.grid:
            raise ValueError("`elastic` must be on the `grid` of the model; it is on another.")
        _ = self._points  # checks `dealias`

    @property
    def linear(self) -> Float[Tensor, "field *k"]:
        """−Rᵢ((κᵢᵢ + Σⱼ|κᵢⱼ|)k² + Sᵢ), 1/time, Sᵢ for modes that f sees; never positive."""
        kappa, stabilisers = self._kappa.abs().sum(1), self._column(self._stabilisers)
        if isinstance(self._points, FineGrid):
            stabilisers = stabilisers * self._points.seen
        return -self.rate * (self._column(kappa) * self.grid.k2 + stabilisers)

    @cached_property
    def rate(self) -> Float[Tensor, "field *k"]:
        """Rᵢ(k): M k² if conserved, L if not."""
        rows = [
            field.mobility * (self.grid.k2 if field.conserved else torch.ones_like(self.grid.k2))
            for field in self.fields
        ]
        return torch.stack(rows)

    @property
    def weight(self) -> Float[Tensor, "field *k"]:
        """−Rᵢ(k), by which forces count."""
        return -self.rate

    def evaluate(self, u_hat: Tensor, time: float = 0.0) -> Evaluation:  # noqa: ARG002
        """(∂f/∂uᵢ − Sᵢuᵢ)^ + Σⱼ(κᵢⱼ − δᵢⱼΣ|κᵢ|)k²ûⱼ; one evaluation of f and ∂f/∂u everywhere."""
        bare = self.mobility is None and self.elastic is None
        if self._swept and bare and self._points is self.grid:
            u, scale = self.grid.inverse(u_hat, scaled=False), 1 / self.grid.turns
        else:
            u, scale = self._points.inverse(u_hat), 1.0
        factor, response = None, None
        if not bare:
            cells = u if self._points is self.grid else self.grid.inverse(u_hat)
            response = None if self.elastic is None else self.elastic.respond(cells)
            if self.mobility is not None:
                factor = self.mobility(cells.view(len(cells), -1)).view_as(cells[0])
        force, density, magnitude = self._forces(u, scale)
        force_hat = self._transformed(force, response)
        if self.coupling is not None:
            force_hat += self._mixed(u_hat)
        if factor is not None:
            self._turn_into_transport(force_hat, u_hat, factor)
        found = Evaluation(force_hat, density, magnitude)
        if response is None:
            return found
        unit = self.site_volume
        return found._replace(elastic=unit * response.energy, elastic_error=unit * response.error)

    def force(
        self,
        u: Float[Tensor, "field *space"],
        time: float = 0.0,  # noqa: ARG002
        /,
    ) -> Float[Tensor, "field *space"]:
        """∂f/∂uᵢ (eV/site) on every cell, gradient terms not included."""
        bare, points = replace(self, stabiliser=()), self._points
        if points is self.grid:
            return bare._forces(u.clone())[0]
        force = bare._forces(points.inverse(self.grid.transform(u)))[0]
        return self.grid.inverse(points.transform(force))

    def energy(self, u_hat: Tensor, at: Evaluation) -> Energy:
        """F of the discrete fields, of which `at` is an evaluation; gradients by Parseval."""
        unit = self.grid.cell_volume / self.site_volume
        workers = self.grid.workers
        slopes = fused.dot(self._half_kappa_k2, u_hat, u_hat, workers)
        if self.coupling is not None:
            mixed = torch.einsum("ij,j...->i...", self._off_diagonal.to(u_hat.dtype), u_hat)
            half_k2 = (0.5 * self.grid.k2 * self.grid.multiplicity).expand(u_hat.shape)
            slopes = slopes + fused.dot(half_k2.contiguous(), u_hat, mixed, workers)
        elastic = torch.zeros_like(at.density) if at.elastic is None else at.elastic
        sums = torch.stack([slopes / self.grid.cells, at.density, at.magnitude, elastic])
        gradient, density, magnitude, elastic = self.grid.total(sums).tolist()
        per_point = unit * (self.grid.cells / self._points.cells)
        magnitude *= per_point
        magnitude += abs(gradient) * unit + abs(elastic) * unit
        rounding = 500 * self.grid.epsilon * magnitude
        rounding += at.elastic_error * unit
        return Energy(density * per_point, gradient * unit, rounding, elastic * unit)

    @property
    def repeats(self) -> bool:
        """Whether every evaluation is the same sequence of operations on a GPU, time or no time."""
        known = isinstance(self.f, Compiled | Pointwise) and self.mobility is None
        known = known and (self.elastic is None or self.elastic.repeats)
        alone = self.grid.device.type == "cuda" and self.grid.team.size == 1
        return known and alone and self.noise is None

    @property
    def symmetric(self) -> bool:
        """Whether the force changes along v by a symmetric ∂²F/∂u² v, as implicit steps ask for."""
        bends = self.elastic is None or (self.elastic.symmetric and self._points is self.grid)
        return self.mobility is None and self.noise is None and bends

    def tangent(self, u_hat: Tensor) -> Tangent:
        """v̂ ↦ the derivative of the force of `evaluate` along v̂: (∂²f/∂u² v − S v)^ and κ terms."""
        cells = self.grid.inverse(u_hat)
        curvature = self._curvature(cells)
        if self._points is not self.grid:
            return Tangent(self.grid, curvature, None, self._along_finer(u_hat))
        bent = self.elastic.tangent(cells) if isinstance(self.elastic, Bending) else None

        def local(v: Tensor) -> Tensor:
            change = product(curvature, v)
            return change if bent is None else change.add_(bent(v), alpha=self.site_volume)

        mixed = None if self.coupling is None else self._mixed
        return Tangent(self.grid, curvature, local, mixed)

    def _along_finer(self, u_hat: Tensor) -> Callable[[Tensor], Tensor]:
        """The tangent of f on points of its own."""
        curvature = self._curvature(self._points.inverse(u_hat))

        def along(v_hat: Tensor) -> Tensor:
            change = self._points.transform(product(curvature, self._points.inverse(v_hat)))
            return change if self.coupling is None else change.add_(self._mixed(v_hat))

        return along

    def stabilised(self, u: Float[Tensor, "field *space"]) -> "GradientFlow":
        """The same equations with S fitted to the states in `u`.

        Sᵢ ≥ ½ max Σⱼ|∂²f/∂uᵢ∂uⱼ| makes diag(S) − ½H positive semi-definite (Gershgorin), so that
        the linear part carries at least half of every curvature met and a large step cannot
        amplify; rounded up to a power of two, so that small changes alter nothing. Non-conserved
        fields share the largest value, which keeps crystal symmetry.
        """
        cells = self.grid.sample(u, CURVATURE_SAMPLE).double()
        curvature = hessian(self.f, cells.T).abs().sum(-1)
        if self.elastic is not None:
            most = self.elastic.largest_pull(u)
            curvature = curvature + self.site_volume * self.elastic.curvature(cells, most)
        largest = torch.cat([curvature.new_zeros(1, len(self.fields)), curvature]).amax(0)
        rows = self.grid.team.max(largest).tolist()
        require_finite("curvature of f at the present state", torch.tensor(rows))
        ordering = max(
            (row for row, field in zip(rows, self.fields, strict=True) if not field.conserved),
            default=0.0,
        )
        bounds = [
            row if field.conserved else ordering
            for row, field in zip(rows, self.fields, strict=True)
        ]
        if self.mobility is not None:
            most = float(self.mobility(cells).max())
            if not most <= 2:
                raise ValueError(
                    f"`mobility` M(u)/M must not exceed 2, for the linear part to outweigh it; it "
                    f"is {most:g}: raise M of the fields and lower the factor likewise."
                )
        stabiliser = tuple(_power_of_two_above(bound / 2) for bound in bounds)
        return self.with_stabiliser(stabiliser)

    def with_stabiliser(self, stabiliser: tuple[float, ...]) -> "GradientFlow":
        """The same equations with another S."""
        return self if stabiliser == self.stabiliser else replace(self, stabiliser=stabiliser)

    @cached_property
    def _points(self) -> Grid | FineGrid:
        """Where f is evaluated: the cells themselves, or finer ones."""
        factor = points_per_cell(self.dealias, self.f)
        return self.grid if factor == 1 else FineGrid(self.grid, factor)

    @property
    def _swept(self) -> bool:
        """Whether f and its derivatives are compiled for a GPU."""
        return self.grid.device.type == "cuda" and isinstance(self.f, Pointwise)

    @cached_property
    def _kernel(self) -> Callable[..., tuple[float, float]] | None:
        return self.f.kernel if isinstance(self.f, Compiled) else None

    @cached_property
    def _stabilisers(self) -> Tensor:
        return self._numbers(self.stabiliser or (0.0,) * len(self.fields))

    @cached_property
    def _kappa(self) -> Float[Tensor, "field field"]:
        own = torch.diag(self._numbers([field.kappa for field in self.fields]))
        return own if self.coupling is None else own + self._off_diagonal

    @cached_property
    def _off_diagonal(self) -> Float[Tensor, "field field"]:
        assert self.coupling is not None
        return self._numbers((self.coupling - torch.diag(self.coupling.diag())).tolist())

    @cached_property
    def _half_kappa_k2(self) -> Tensor:
        half = self._column(self._kappa.diag() / 2)
        return (half * self.grid.k2 * self.grid.multiplicity).contiguous()

    def _numbers(self, values: "list | tuple") -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.grid.device)

    def _column(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * len(self.grid.shape))

    def _check_coupling(self, coupling: Tensor) -> None:
        count = len(self.fields)
        good = coupling.shape == (count, count) and bool(torch.equal(coupling, coupling.mT))
        if not good or not bool((torch.linalg.eigvalsh(self._kappa) > 0).all()):
            raise ValueError(
                f"`coupling` must be a symmetric matrix of {count} × {count} that leaves κ, with "
                f"the fields' own on its diagonal, positive definite; it is {coupling.tolist()}."
            )

    @property
    def fluctuates(self) -> bool:
        """Whether there is noise."""
        return self.noise is not None

    def fluctuation(self, dt: float) -> Callable[[int], Tensor] | None:
        """What noise adds to û in a step of length dt, by the index of the step."""
        noise, grid = self.noise, self.grid
        if noise is None:
            return None
        amplitude = noise.amplitude(grid, self.rate, self.linear, self.site_volume, dt)
        amplitude, count = grid.coefficients(amplitude), len(self.fields)
        return lambda step: grid.combine(
            (amplitude, 1.0, grid.transform(noise.white(grid, count, step)))
        )

    def _turn_into_transport(self, force_hat: Tensor, u_hat: Tensor, factor: Tensor) -> None:
        """Puts F = −∇·(M(u)/M ∇μ)^/k² − (κk² + S)û in the place of μ^ − (κk² + S)û."""
        k2 = self.grid.k2
        safe = torch.where(k2 > 0, k2, 1.0)
        for i, field in enumerate(self.fields):
            if field.conserved:
                own = -self.linear[i] / (self.rate[i] + (k2 == 0))
                slope = gradient(self.grid, force_hat[i] + own * u_hat[i])
                change = divergence(self.grid, [factor * part for part in slope])
                force_hat[i] = -torch.where(k2 > 0, change / safe, 0.0) - own * u_hat[i]

    def _transformed(self, force: Tensor, response: Response | None) -> Tensor:
        """The force with that of elasticity in the unit of f."""
        if response is None:
            return self._points.transform(force)
        strained = self.site_volume * response.force
        if self._points is self.grid:
            return self.grid.transform(strained.add_(force))
        return self._points.transform(force) + self.grid.transform(strained)

    def forget(self) -> None:
        """Make the next evaluation independent of those before."""
        if self.elastic is not None:
            self.elastic.forget()

    def _mixed(self, u_hat: Tensor) -> Tensor:
        """Σⱼ(κᵢⱼ − δᵢⱼΣ|κᵢ|)k²ûⱼ."""
        rest = self._kappa - torch.diag(self._kappa.abs().sum(1))
        mixed = torch.einsum("ij,j...->i...", rest.to(u_hat.dtype), u_hat)
        return mixed.mul_(self.grid.coefficients(self.grid.k2))

    def _curvature(self, u: Tensor) -> Float[Tensor, "field field *space"]:
        """∂²f/∂uᵢ∂uⱼ − Sᵢδᵢⱼ on every cell."""
        cells = u.view(len(u), -1)
        parts = cells.split(CELLS_PER_CALL if u.is_cpu else CELLS_PER_CALL_ON_GPU, dim=1)
        each = map if self.grid.workers is None else self.grid.workers.map
        found = torch.cat(list(each(lambda part: curvature(self.f, part), parts)), dim=-1)
        found -= torch.diag(self._stabilisers).to(found)[..., None]
        return found.reshape(len(u), *u.shape)

    def _forces(self, u: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """∂f/∂uᵢ − Sᵢuᵢ, perhaps in the place of `u`; Σf and Σ|f|. Only a sweep knows a scale."""
        if self._swept:
            assert isinstance(self.f, Pointwise)
            return fused.sweep(self.f.point, u, self._stabilisers, scale)
        cells = u.view(len(u), -1)
        kernel = self._kernel if fused.is_compiled_for(u) else None
        if kernel is not None:
            s, numbers = self._stabilisers.numpy(), cells.numpy()
            sums = fused.over_parts(
                lambda a, b: kernel(numbers, s, a, b), cells.shape[1], self.grid.workers,
                CELLS_PER_CALL,
            )  # fmt: skip
            density, magnitude = torch.from_numpy(np.array(sums).sum(0)).unbind()
            return u, density, magnitude
        parts = list(cells.split(CELLS_PER_CALL if u.is_cpu else cells.shape[1], dim=1))
        s = self._stabilisers[:, None].to(u.dtype)

        def one(part: Tensor) -> Tensor:
            value, slope = value_and_potential(self.f, part.T)
            part.mul_(-s).add_(slope.T)
            return torch.stack(
                [value.sum(dtype=torch.float64), value.abs().sum(dtype=torch.float64)]
            )

        each = map if self.grid.workers is None else self.grid.workers.map
        density, magnitude = torch.stack(list(each(one, parts))).sum(0).unbind()
        return u, density, magnitude


def _power_of_two_above(x: float) -> float:
    return 0.0 if x <= 0 else float(2.0 ** torch.tensor(x).log2().ceil())
