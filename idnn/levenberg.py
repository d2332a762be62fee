"""Nonlinear least squares with a prior whose strength the data decide; many members at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.residuals import Block, Parameters, Rows

HALF_WITHIN = 0.6744897501960817
"""Standard deviations about its mean within which half of a normal law lies."""

NUMBERS_AT_ONCE = 4_000_000
"""Entries of a Jacobian held at a time: 32 MB."""

WEAKEST, STRONGEST = 1e-6, 1e8
"""Bounds of a prior's precision; at the upper one its weights are zero for all that follows."""

SOFTEST, HARDEST = 1e-9, 1e12
"""Bounds of the damping; beyond the upper one no step lowers the objective."""

RIDGE = 100.0
"""Precision of the prior of the parameters that are solved for first: small ones, which leave a
smooth function."""

SETTLED = 0.1
"""Fall of the objective in one step below which the prior is re-estimated."""

CONVERGED = 1e-3
"""Fall of the objective in one step below which what is left is noise."""


class NotTrained(RuntimeError):
    """The loss stopped being finite, or cannot be lowered at all."""


@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt:
    """How to minimise ½Σρ(r)/s² + ½Σα_g θ_g² over the parameters θ.

    ρ is Huber's function of the residuals r. Each group g of parameters has a Gaussian prior of
    precision α_g, re-estimated by the evidence with the noise scale s ≥ 1.

    Attributes:
        iterations: at most so many.
        tolerance: stop when the objective fell by less than this fraction, three times in a row.
        outlier: residuals beyond so many standard deviations count linearly (Huber 1964,
            doi:10.1214/aoms/1177703732).
        precision: α of every group to begin with.
        evidence: whether α and s are re-estimated.
    """

    iterations: int = 60
    tolerance: float = 1e-4
    outlier: float = 3.0
    precision: float = 1e-2
    evidence: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be at least 1; it is {self.iterations}.")
        for name in ("outlier", "precision"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive; it is {getattr(self, name):g}.")
        if not self.tolerance >= 0:
            raise ValueError(f"`tolerance` must not be negative; it is {self.tolerance:g}.")


@dataclass(frozen=True, eq=False)
class LeastSquaresFit:
    """Where each member ended.

    Attributes:
        parameters: by name, with a leading member axis.
        objective: that is minimised.
        iterations: done.
        effective: number of parameters that the data determine, γ.
        noise: s, by how much all σ had to be widened, at least 1.
        precision: α, of every parameter in their order.
    """

    parameters: dict[str, Tensor]
    objective: Float[Tensor, " member"]
    iterations: Int[Tensor, " member"]
    effective: Float[Tensor, " member"]
    noise: Float[Tensor, " member"]
    precision: Float[Tensor, "member parameter"]


def least_squares(
    parameters: Parameters,
    blocks: Sequence[Block],
    settings: LevenbergMarquardt,
    *,
    groups: Mapping[str, Tensor] | None = None,
    linear: str | None = None,
) -> LeastSquaresFit:
    """Minimise over the parameters of many members side by side.

    Gauss–Newton steps damped by Marquardt's diagonal, the damping controlled by the gain ratio
    (Nielsen 1999, IMM-REP-1999-05); outliers by iterated reweighting. Between steps the evidence
    sets α_g = γ_g/Σθ_g², γ_g = Σ(1 − α_g (A⁻¹)ᵢᵢ) with A = JᵀWJ/s² + diag α (MacKay 1992,
    doi:10.1162/neco.1992.4.3.415; Foresee & Hagan 1997, doi:10.1109/ICNN.1997.614194).

    Args:
        parameters: to start from, by name, with a leading member axis.
        blocks: residuals, in units of their standard errors.
        settings: how.
        groups: for a parameter's name, the group that each of its entries belongs to within it;
            one group where none is given.
        linear: name of parameters on which residuals depend linearly, such as the last layer's:
            what they start from does not matter, they are solved for first.

    Raises:
        NotTrained: the residuals at the start are not finite.
    """
    descent = _Descent(parameters, blocks, settings, groups or {})
    if linear is not None:
        descent.solve(linear)
    return descent.run()


def posterior_samples(
    fit: LeastSquaresFit,
    blocks: Sequence[Block],
    settings: LevenbergMarquardt,
    *,
    data_noise: Sequence[Float[Tensor, "member _row _component"]],
    prior_noise: Float[Tensor, "member parameter"],
) -> LeastSquaresFit:
    """Fits to data and to a prior moved by given numbers of standard errors, at the α and s of fit.

    With standard normal numbers the results are samples of the posterior (randomise, then
    optimise; Bardsley et al. 2014, doi:10.1137/140964023): exactly so where the residuals are
    linear.
    """
    descent = _Descent(fit.parameters, blocks, replace(settings, evidence=False), {})
    descent.randomise(fit, data_noise, prior_noise)
    return descent.run()


@dataclass(eq=False)
class _State:
    """Of all members; every field has a leading member axis."""

    theta: Float[Tensor, "member parameter"]
    centre: Float[Tensor, "member parameter"]
    alpha: Float[Tensor, "member parameter"]
    noise: Float[Tensor, " member"]
    damping: Float[Tensor, " member"]
    growth: Float[Tensor, " member"]
    limit: Float[Tensor, " member"]
    misfit: Float[Tensor, " member"]
    effective: Float[Tensor, " member"]
    quiet: Int[Tensor, " member"]
    iterations: Int[Tensor, " member"]


class _Descent:
    """The steps of `least_squares`; `active` are the members that still move."""

    def __init__(
        self,
        parameters: Parameters,
        blocks: Sequence[Block],
        settings: LevenbergMarquardt,
        groups: Mapping[str, Tensor],
    ) -> None:
        self.blocks, self.settings = blocks, settings
        self.data_noise: Sequence[Tensor] | None = None
        self.shapes = {name: p.shape[1:] for name, p in parameters.items()}
        theta = torch.cat([p.detach().flatten(1) for p in parameters.values()], 1)
        self.group = numbered(self.shapes, groups).to(theta.device)
        self.least = 1.0
        one, none = theta.new_ones(len(theta)), theta.new_zeros(len(theta), dtype=torch.int64)
        self.state = _State(
            theta=theta,
            centre=torch.zeros_like(theta),
            alpha=torch.full_like(theta, settings.precision),
            noise=one.clone(),
            damping=1e-2 * one,
            growth=2 * one,
            limit=one.clone(),
            misfit=one.clone(),
            effective=0 * one,
            quiet=none.clone(),
            iterations=none.clone(),
        )
        self.count = sum(len(block) * block.components for block in blocks)

    def randomise(
        self, fit: LeastSquaresFit, data_noise: Sequence[Tensor], prior_noise: Tensor
    ) -> None:
        """Keep the prior and s of a fit, and move data and prior."""
        state = self.state
        state.alpha, state.noise, state.effective = fit.precision, fit.noise, fit.effective
        state.centre = prior_noise / fit.precision.sqrt()
        self.data_noise, self.least = data_noise, 2**0.5

    def solve(self, linear: str) -> None:
        """Give some parameters, on which residuals depend linearly, their best values."""
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        first = sum(sizes[name] for name in list(sizes)[: list(sizes).index(linear)])
        chosen = slice(first, first + sizes[linear])
        active = self._all
        self.state.theta[:, chosen] = 0
        self.state.limit[:] = torch.inf
        curvature, slope = self._normal_equations(active)
        ridge = RIDGE * torch.eye(sizes[linear], dtype=slope.dtype, device=slope.device)
        solution = torch.linalg.solve(curvature[:, chosen, chosen] + ridge, slope[:, chosen])
        self.state.theta[:, chosen] = -solution

    def run(self) -> LeastSquaresFit:
        state = self.state
        active = self._all
        self._look(active)
        if not state.misfit.isfinite().all():
            raise NotTrained(
                f"The loss is {state.misfit.tolist()} at the start; look for outliers in the data."
            )
        for _ in range(self.settings.iterations):
            self._step(active)
            stuck = state.damping > HARDEST
            active = ((state.quiet < 3) & ~stuck).nonzero()[:, 0]
            if len(active) == 0:
                break
        unfinished = (state.quiet < 3).nonzero()[:, 0]
        if self.settings.evidence and len(unfinished) > 0:
            self._admit(unfinished)
        return LeastSquaresFit(
            parameters=self._named(state.theta),
            objective=self._objective(self._all),
            iterations=state.iterations,
            effective=state.effective,
            noise=state.noise,
            precision=state.alpha,
        )

    @property
    def _all(self) -> Tensor:
        """Numbers of all members."""
        return torch.arange(len(self.state.theta), device=self.state.theta.device)

    def _admit(self, active: Tensor) -> None:
        """What a fit has not met when its iterations are over counts as noise."""
        self._look(active)
        self._widen(active)
        self._look(active)

    def _step(self, active: Tensor) -> None:
        """One trial step of every active member, taken where it lowers the objective."""
        state = self.state
        theta, alpha = state.theta[active], state.alpha[active]
        self._look(active)
        curvature, slope = self._normal_equations(active)
        centre = state.centre[active]
        slope = slope + alpha * (theta - centre)
        damped = state.damping[active, None] * (curvature.diagonal(dim1=1, dim2=2) + alpha)
        factor, failed = torch.linalg.cholesky_ex(curvature + torch.diag_embed(alpha + damped))
        step = -torch.cholesky_solve(slope[..., None], factor)[..., 0]
        step = torch.where((failed == 0)[:, None], step, 0.0)
        before = self._objective(active)
        misfit = self._misfit(theta + step, active)
        after = misfit + 0.5 * (alpha * (theta + step - centre).square()).sum(1)
        predicted = 0.5 * (step * (damped * step - slope)).sum(1)
        gain = torch.where(failed == 0, (before - after) / predicted, -1.0).nan_to_num(-1.0)
        taken = gain > 0
        state.theta[active] = torch.where(taken[:, None], theta + step, theta)
        state.misfit[active] = torch.where(taken, misfit, state.misfit[active])
        self._damp(active, gain)
        fall = torch.where(taken, (before - after) / before, torch.inf)
        still = fall < self.settings.tolerance
        state.quiet[active] = torch.where(still, state.quiet[active] + 1, 0)
        state.iterations[active] += 1
        settled = fall < SETTLED
        if self.settings.evidence and settled.any():
            self._weigh(active[settled], curvature[settled], fall[settled] < CONVERGED)

    def _damp(self, active: Tensor, gain: Tensor) -> None:
        """Nielsen's rule: good steps widen the region of trust, failures narrow it ever faster."""
        state = self.state
        damping, growth = state.damping[active], state.growth[active]
        shrink = (1 - (2 * gain.clamp(0, 1) - 1) ** 3).clamp_min(1 / 3)
        changed = damping * torch.where(gain > 0, shrink, growth)
        state.damping[active] = changed.clamp_min(SOFTEST)
        state.growth[active] = torch.where(gain > 0, 2.0, 2 * growth)

    def _weigh(self, active: Tensor, curvature: Tensor, converged: Tensor) -> None:
        """Re-estimate α from the evidence, and s where the fit itself no longer gets better."""
        state = self.state
        alpha, theta = state.alpha[active], state.theta[active]
        rounding = 1e-12 * curvature.diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
        factor = torch.linalg.cholesky(curvature + torch.diag_embed(alpha + rounding))
        free = alpha * torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2)
        groups = alpha.new_zeros(len(active), int(self.group.max()) + 1)
        gamma = groups.index_add(1, self.group, 1 - free).clamp_min(1e-3)
        size = groups.index_add(1, self.group, theta.square())
        state.alpha[active] = (gamma / size).clamp(WEAKEST, STRONGEST)[:, self.group]
        state.effective[active] = (1 - free).sum(1)
        if converged.any():
            self._widen(active[converged])
        state.misfit[active] = self._misfit(theta, active)

    def _widen(self, active: Tensor) -> None:
        """Re-estimate s; outliers count no more than they pull (Huber's Proposal 2, 1964)."""
        state = self.state
        left = (self.count - state.effective[active]).clamp_min(1)
        z = self._deviations(state.theta[active], active).abs()
        inside = z.minimum(state.limit[active, None])
        widened = state.noise[active] * (inside.square().sum(1) / left).sqrt()
        state.noise[active] = widened.clamp_min(1)

    def _objective(self, active: Tensor) -> Tensor:
        state = self.state
        moved = state.theta[active] - state.centre[active]
        prior = 0.5 * (state.alpha[active] * moved.square()).sum(1)
        return state.misfit[active] + prior

    def _look(self, active: Tensor) -> None:
        """Set how far a deviation counts squared: while the fit is poor most are large."""
        z = self._deviations(self.state.theta[active], active)
        typical = z.abs().median(1).values / HALF_WITHIN
        self.state.limit[active] = self.settings.outlier * typical.clamp_min(self.least)
        self.state.misfit[active] = self._huber(z, active)

    def _misfit(self, theta: Tensor, active: Tensor) -> Tensor:
        """Σρ of each member."""
        return self._huber(self._deviations(theta, active), active)

    def _huber(self, z: Tensor, active: Tensor) -> Tensor:
        inside = z.abs().minimum(self.state.limit[active, None])
        return (inside * (z.abs() - 0.5 * inside)).sum(1)

    def _deviations(self, theta: Tensor, active: Tensor) -> Float[Tensor, "member component"]:
        found = [
            self._deviation(b, part, self.blocks[b].residual(self._named(theta), rows), active)
            for b, part, rows in self._parts(len(theta))
        ]
        return torch.cat([z.flatten(1) for z in found], dim=1)

    def _normal_equations(self, active: Tensor) -> tuple[Tensor, Tensor]:
        """JᵀWJ and JᵀWz, z the deviations and J their derivatives."""
        state = self.state
        theta, noise, limit = state.theta[active], state.noise[active], state.limit[active]
        members, size = theta.shape
        curvature = theta.new_zeros(members, size, size)
        slope = theta.new_zeros(members, size)
        for b, part, rows in self._parts(members):
            value, jacobian = self.blocks[b].linearised(self._named(theta), rows)
            z = self._deviation(b, part, value, active).flatten(1)
            weight = (limit[:, None] / z.abs().clamp_min(1e-300)).clamp_max(1) / noise[:, None]
            jacobian = jacobian.flatten(1, 2)
            weighted = weight[..., None] * jacobian
            curvature += weighted.mT @ jacobian / noise[:, None, None]
            slope += (weighted.mT @ z[..., None])[..., 0]
        return curvature, slope

    def _deviation(self, b: int, part: slice, residual: Tensor, active: Tensor) -> Tensor:
        """z = r/s − ε."""
        z = residual / self.state.noise[active, None, None]
        return z if self.data_noise is None else z - self.data_noise[b][active, part]

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split([math.prod(shape) for shape in self.shapes.values()], dim=-1)
        return {
            name: part.reshape(*theta.shape[:-1], *shape)
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def _parts(self, members: int) -> Iterator[tuple[int, slice, Rows]]:
        """Rows of all blocks, as many at once as the memory allows."""
        for b, block in enumerate(self.blocks):
            each = members * block.components * self.group.numel()
            at_once = max(1, NUMBERS_AT_ONCE // each)
            for begin in range(0, len(block), at_once):
                part = slice(begin, begin + at_once)
                yield b, part, {name: tensor[part] for name, tensor in block.rows.items()}


def numbered(shapes: Mapping[str, torch.Size], groups: Mapping[str, Tensor]) -> Tensor:
    """The number of the group of each parameter."""
    numbers: list[Tensor] = []
    first = 0
    for name, shape in shapes.items():
        group = groups[name] if name in groups else torch.zeros(shape, dtype=torch.int64)
        numbers.append(first + group.broadcast_to(shape).flatten())
        first = int(numbers[-1].max()) + 1
    return torch.cat(numbers)
