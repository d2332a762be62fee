"""Newton searches from many starts at once: wells, states of given composition, saddles."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import System

LONGEST_STEP = 2.0
"""In logit x, on any sublattice: a fraction near a wall changes at most by a factor e²."""

LONGEST_TURN = 0.08
"""First step of arcsin √x (rad), on any sublattice: about the spacing of the grid that wells are
sought on. A longer one can leave the basin that a descent starts in."""

GROWTH = 1.25
"""Of the longest step: a descent that goes on has left its basin, if there was one."""

ROUNDING = 1e-14
"""Rise of ω (eV/site) that is rounding."""


@runtime_checkable
class RowWise(Protocol):
    """A batch of free energies, one for each row of η."""

    def at(self, rows: Int[Tensor, " chosen"]) -> FreeEnergy:
        """Those of the chosen rows."""
        ...


def minimise(
    f: FreeEnergy,
    system: System,
    start: Float[Tensor, "sample d"],
    mu: Float[Tensor, " sample"],
    *,
    iterations: int = 100,
    tolerance: float = 1e-11,
) -> tuple[Float[Tensor, "sample d"], Bool[Tensor, " sample"]]:
    """Newton descent of ω = f − μη₀ from many starts at once; returns η and who converged.

    Works in z = logit x, so the site fractions stay inside (0, 1); the Hessian's eigenvalues
    enter by their absolute value, and steps that raise ω are halved. Converged means
    |∂ω/∂z| < `tolerance` (eV): a well whose site fraction lies closer to 0 or 1 than f resolves
    (below the floor of `IdealMixing`) is found at that wall instead of being lost.
    """
    q = system.q.to(start)
    z = _logit(system, start)
    active = torch.arange(len(z))
    with torch.no_grad():
        for i in range(iterations):
            active, x, by_site = _moving(f, q, z, mu, active, tolerance)
            if len(active) == 0:
                break
            slope, curvature = _in_logit(_at(f, active), x, by_site, q)
            step = _shortened(_downhill(curvature, slope), x, GROWTH**i)

            def omega(rows: Tensor, z: Tensor, active: Tensor = active) -> Tensor:
                eta = z.sigmoid() @ q.T
                return _at(f, active[rows])(eta) - mu[active[rows]] * eta[:, 0]

            z[active] = _backtrack(omega, z[active], lambda _, z: z, step)
    return z.sigmoid() @ q.T, _without(len(z), active)


def minimise_at(
    f: FreeEnergy,
    system: System,
    start: Float[Tensor, "sample d"],
    composition: Float[Tensor, " sample"],
    *,
    iterations: int = 100,
    tolerance: float = 1e-11,
) -> tuple[Float[Tensor, "sample d"], Float[Tensor, " sample"], Bool[Tensor, " sample"]]:
    """Newton descent of f over η₁.. at fixed η₀; returns η, μ = ∂f/∂η₀ and who converged.

    As `minimise`, within the surface η₀ = c: steps are tangent to it, and a common shift of all
    logits returns to it. μ is the multiplier of the constraint, and the curvature that of f − μη₀
    (a Riemannian Newton method: Absil, Mahony & Sepulchre 2008, doi:10.1515/9781400830244).
    """
    q = system.q.to(start)
    z = _shifted_to(composition, _logit(system, start), q[0])
    mu = torch.zeros_like(composition)
    active = torch.arange(len(z))
    with torch.no_grad():
        for i in range(iterations):
            x = z[active].sigmoid()
            width = x * (1 - x)
            by_site = _slope(_at(f, active), x, q)
            normal = q[0] * width
            mu[active] = (by_site * width * normal).sum(-1) / normal.square().sum(-1)
            by_site = by_site - mu[active, None] * q[0]
            going = (by_site * width).abs().amax(-1) >= tolerance
            active, x, by_site = active[going], x[going], by_site[going]
            if len(active) == 0:
                break
            slope, curvature = _in_logit(_at(f, active), x, by_site, q)
            downhill = _downhill(_tangent(curvature, normal[going]), slope)
            step = _shortened(downhill, x, GROWTH**i)

            def value(rows: Tensor, z: Tensor, active: Tensor = active) -> Tensor:
                return _at(f, active[rows])(z.sigmoid() @ q.T)

            def on_surface(rows: Tensor, z: Tensor, active: Tensor = active) -> Tensor:
                return _shifted_to(composition[active[rows]], z, q[0])

            z[active] = _backtrack(value, z[active], on_surface, step)
    return z.sigmoid() @ q.T, mu, _without(len(z), active)


def climb(
    f: FreeEnergy,
    system: System,
    start: Float[Tensor, "sample d"],
    mu: Float[Tensor, " sample"],
    *,
    iterations: int = 300,
    tolerance: float = 1e-11,
) -> tuple[Float[Tensor, "sample d"], Bool[Tensor, " sample"]]:
    """Saddles of ω = f − μη₀ of index 1 near the starts; returns η and who converged to one.

    Newton steps in logit x, uphill along the softest eigenvector and downhill along all others
    (Cerjan & Miller 1981, doi:10.1063/1.442352).
    """
    q = system.q.to(start)
    z = _logit(system, start)
    active = torch.arange(len(z))
    with torch.no_grad():
        for _ in range(iterations):
            active, x, by_site = _moving(f, q, z, mu, active, tolerance)
            if len(active) == 0:
                break
            slope, curvature = _in_logit(_at(f, active), x, by_site, q)
            uphill = torch.ones_like(slope)
            uphill[:, 0] = -1
            z[active] = z[active] + _shortened(_downhill(curvature, slope, uphill), x)
        eta = z.sigmoid() @ q.T
        values = torch.linalg.eigvalsh(hessian(f, eta))
    index_one = (values[:, 0] < 0) & (values[:, 1:] > 0).all(-1)
    return eta, _without(len(z), active) & index_one


def _moving(
    f: FreeEnergy, q: Tensor, z: Tensor, mu: Tensor, active: Tensor, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows where |∂ω/∂z| is not yet small, their x and ∂ω/∂x."""
    x = z[active].sigmoid()
    by_site = _slope(_at(f, active), x, q) - mu[active, None] * q[0]
    going = (by_site * x * (1 - x)).abs().amax(-1) >= tolerance
    return active[going], x[going], by_site[going]


def _at(f: FreeEnergy, rows: Tensor) -> FreeEnergy:
    return f.at(rows) if isinstance(f, RowWise) else f


def _logit(system: System, eta: Tensor) -> Tensor:
    return system.site_fractions(eta).clamp(1e-6, 1 - 1e-6).logit()


def _without(count: int, active: Tensor) -> Tensor:
    done = torch.ones(count, dtype=torch.bool)
    done[active] = False
    return done


def _slope(f: FreeEnergy, x: Tensor, q: Tensor) -> Tensor:
    """∂f/∂x."""
    return chemical_potential(f, x @ q.T) @ q


def _in_logit(f: FreeEnergy, x: Tensor, by_site: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """∂/∂z and ∂²/∂z², z = logit x, of a function with slope `by_site` in x and f's curvature."""
    width = x * (1 - x)
    curvature = q.T @ hessian(f, x @ q.T) @ q
    curvature = curvature * width[:, :, None] * width[:, None, :]
    return by_site * width, curvature + torch.diag_embed(by_site * width * (1 - 2 * x))


def _downhill(curvature: Tensor, slope: Tensor, sign: Tensor | float = 1.0) -> Tensor:
    """Newton step with |λ| for every eigenvalue: downhill along every eigenvector of `sign` 1."""
    values, vectors = torch.linalg.eigh(curvature)
    along = (vectors.mT @ slope[..., None])[..., 0]
    return -(vectors @ (sign * along / values.abs().clamp_min(1e-12))[..., None])[..., 0]


def _tangent(curvature: Tensor, normal: Tensor) -> Tensor:
    """Curvature within the surface of a given normal, with one along the normal."""
    unit = normal / normal.norm(dim=-1, keepdim=True)
    across = unit[:, :, None] * unit[:, None, :]
    projector = torch.eye(unit.shape[1]).to(unit) - across
    return projector @ curvature @ projector + across


def _shortened(step: Tensor, x: Tensor, times: float = 1.0) -> Tensor:
    """Step in logit x within `LONGEST_STEP` and, in arcsin √x, within `times` `LONGEST_TURN`."""
    turn = step * (x * (1 - x)).sqrt() / 2
    excess = torch.maximum(step.abs() / LONGEST_STEP, turn.abs() / (times * LONGEST_TURN))
    return step / excess.amax(-1, keepdim=True).clamp_min(1)


def _shifted_to(composition: Tensor, z: Tensor, weights: Tensor) -> Tensor:
    """Logits shifted in common to Σ wₛxₛ = c, by Newton in logit c: for equal logits, one step."""
    target = composition.logit()
    for _ in range(30):
        x = z.sigmoid()
        now = x @ weights
        rate = (x * (1 - x)) @ weights / (now * (1 - now))
        shift = (target - now.logit()) / rate
        z = z + shift.clamp(-4, 4)[:, None]
        if float(shift.abs().max()) < 1e-13:
            break
    return z


def _backtrack(value, z, onto, step):  # noqa: ANN001, ANN202
    """Halve each step until the value no longer rises; a step that never helps is not taken."""
    every = torch.arange(len(z))
    limit = value(every, z) + ROUNDING
    moved = onto(every, z + step)
    worse = (value(every, moved) > limit).nonzero()[:, 0]
    for halving in range(1, 12):
        if len(worse) == 0:
            return moved
        moved[worse] = onto(worse, z[worse] + step[worse] / 2**halving)
        worse = worse[value(worse, moved[worse]) > limit[worse]]
    moved[worse] = z[worse]
    return moved
