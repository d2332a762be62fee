"""Newton descent of the grand potential from many starts at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import System

LONGEST_STEP = 2.0
"""In logit x, on any sublattice: a fraction near a wall changes at most by a factor e²."""


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
    z = system.site_fractions(start).clamp(1e-6, 1 - 1e-6).logit()
    active = torch.arange(len(z))
    with torch.no_grad():
        for _ in range(iterations):
            x = z[active].sigmoid()
            by_site = _grand_slope(f, x @ q.T, mu[active]) @ q
            going = (by_site * x * (1 - x)).abs().amax(-1) >= tolerance
            active, x, by_site = active[going], x[going], by_site[going]
            if len(active) == 0:
                break
            step = _newton_step(q.T @ hessian(f, x @ q.T) @ q, by_site, x)
            z[active] = _backtrack(f, q, z[active], step, mu[active])
    done = torch.ones(len(z), dtype=torch.bool)
    done[active] = False
    return z.sigmoid() @ q.T, done


def _grand_slope(f: FreeEnergy, eta: Tensor, mu: Tensor) -> Tensor:
    slope = chemical_potential(f, eta)
    return torch.cat([slope[:, :1] - mu[:, None], slope[:, 1:]], dim=1)


def _newton_step(curvature: Tensor, by_site: Tensor, x: Tensor) -> Tensor:
    """Step in z = logit x from ∂ω/∂x and ∂²ω/∂x², downhill along every eigenvector."""
    width = x * (1 - x)
    curvature = curvature * width[:, :, None] * width[:, None, :]
    curvature = curvature + torch.diag_embed(by_site * width * (1 - 2 * x))
    values, vectors = torch.linalg.eigh(curvature)
    slope = (vectors.mT @ (by_site * width)[..., None])[..., 0]
    step = -(vectors @ (slope / values.abs().clamp_min(1e-12))[..., None])[..., 0]
    return step / (step.abs().amax(-1, keepdim=True) / LONGEST_STEP).clamp_min(1)


def _backtrack(f: FreeEnergy, q: Tensor, z: Tensor, step: Tensor, mu: Tensor) -> Tensor:
    """Halve each step until ω no longer rises; a step that never helps is not taken."""
    rounding = 1e-14

    def omega(point: Tensor, mu: Tensor) -> Tensor:
        eta = point.sigmoid() @ q.T
        return f(eta) - mu * eta[:, 0]

    limit = omega(z, mu) + rounding
    moved = z + step
    worse = (omega(moved, mu) > limit).nonzero()[:, 0]
    for halving in range(1, 12):
        if len(worse) == 0:
            return moved
        moved[worse] = z[worse] + step[worse] / 2**halving
        worse = worse[omega(moved[worse], mu[worse]) > limit[worse]]
    moved[worse] = z[worse]
    return moved
