"""The flat interface between two wells of a free energy with a gradient energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_positive
from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System
from idnn.units import ELEMENTARY_CHARGE

COARSEST = 9
"""Points of the first path; each refinement halves the steps."""

WALL = 10.0
"""Price of leaving the admissible polytope (eV Å per site and squared site fraction)."""

EQUAL = 1e-6
"""Difference of ω (eV/site) up to which two wells count as coexisting."""

MILLIJOULE_PER_SQUARE_METRE = ELEMENTARY_CHARGE * 1e23
"""1 eV/Å² in mJ/m²."""


class NotAnInterface(RuntimeError):
    """A state between the wells has a lower ω than they."""


@dataclass(frozen=True, eq=False)
class Interface:
    """A flat interface at rest.

    Attributes:
        energy: σ (eV/Å²).
        grid_error: what σ would change with infinitely many points (eV/Å²), from half as many.
        eta: order parameters along the path, the wells at its ends.
        position: distance of each inner point from the middle of the path (Å).
    """

    energy: float
    grid_error: float
    eta: Float[Tensor, "sample d"]
    position: Float[Tensor, " inner"]


def interface(
    f: FreeEnergy,
    system: System,
    left: Float[Tensor, " d"],
    right: Float[Tensor, " d"],
    mu: float,
    *,
    gradient: Float[Tensor, "d d"],
    site_volume: float,
    points: int = 129,
) -> Interface:
    """σ = min ∫ [Δω + ½ ηᵢ′ K_ij ηⱼ′] dx/Ω = min ∫ √(2Δω dηᵢ K_ij dηⱼ)/Ω over paths left → right.

    Δω = f − μη₀ − ω (Cahn & Hilliard 1958, doi:10.1063/1.1744102; the second form, in which the
    profile is gone, because Δω = ½η′Kη′ holds along the best profile). The path is a graph over
    its end-to-end line: one that turns back on it is not found. It stays where all site fractions
    lie in [0, 1]. Along directions in which K is zero it follows the lowest Δω at no cost, so that
    κ t tᵀ describes an order parameter q = t·η, fluctuations of all others integrated out.

    Args:
        f: eV/site.
        system: what η are the order parameters of.
        left: a well of f − μη₀.
        right: another of the same ω.
        mu: exchange chemical potential (eV/site).
        gradient: K (eV Å² per site).
        site_volume: Ω (Å³).
        points: of the path, 2ⁿ + 1.

    Raises:
        ValueError: K is not positive (semi)definite or does not see the wells' difference, the
            wells do not coexist, or `points` is not 2ⁿ + 1.
        NotAnInterface: a state on the path has a lower ω.
    """
    _check(f, left, right, mu, gradient, site_volume, points)
    path = _Path(f, system, left, right, mu, gradient)
    count = COARSEST
    aside = left.new_zeros(count, len(left) - 1)
    energies = []
    while True:
        aside = path.relaxed(aside)
        path.require_barrier(aside)
        energies.append(float(path.action(aside)) / site_volume)
        if count == points:
            break
        middle = (aside[1:] + aside[:-1]) / 2
        aside = torch.cat([torch.stack([aside[:-1], middle], 1).flatten(0, 1), aside[-1:]])
        count = len(aside)
    return Interface(
        energy=energies[-1],
        grid_error=abs(energies[-1] - energies[-2]) / 3,
        eta=path.eta(aside),
        position=path.position(aside),
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """η(q) = left + q t + B y(q): t along the end-to-end line, B across it, y what is sought.

    Where that leaves the admissible polytope the nearest site fractions in it are taken, at a
    price that leads back.
    """

    f: FreeEnergy
    system: System
    left: Tensor
    right: Tensor
    mu: float
    gradient: Tensor

    def eta(self, aside: Float[Tensor, "sample across"]) -> Float[Tensor, "sample d"]:
        """Points of the path."""
        x = self.system.site_fractions(self._free(aside))
        return self.system.order_parameters(x.clamp(0, 1))

    def _free(self, aside: Float[Tensor, "sample across"]) -> Float[Tensor, "sample d"]:
        """Points equally spaced along the line, admissible or not."""
        share = torch.linspace(0, 1, len(aside)).to(self.left)[:, None]
        line = self.left + share * (self.right - self.left)
        across = torch.linalg.qr((self.right - self.left)[:, None], mode="complete")[0][:, 1:]
        return line + aside @ across.T

    def excess(self, eta: Float[Tensor, "sample d"]) -> Float[Tensor, " sample"]:
        """Δω (eV/site), zero at both ends."""
        omega = self.f(eta) - self.mu * eta[:, 0]
        share = torch.linspace(0, 1, len(eta)).to(eta)
        return omega - (1 - share) * omega[0] - share * omega[-1]

    def action(self, aside: Float[Tensor, "sample across"]) -> Float[Tensor, ""]:
        """∫ √(2Δω dηKdη) by the trapezoidal rule (eV Å per site)."""
        eta = self.eta(aside)
        root = (2 * self.excess(eta)[1:-1].clamp_min(1e-14)).sqrt()
        length = self._length(eta)
        x = self.system.site_fractions(self._free(aside))
        outside = (x - x.clamp(0, 1)).square().sum()
        return (root * (length[1:] + length[:-1])).sum() / 2 + WALL * outside

    def position(self, aside: Float[Tensor, "sample across"]) -> Float[Tensor, " inner"]:
        """X of each inner point from dx = √(dηKdη/2Δω), about the middle one (Å)."""
        eta = self.eta(aside)
        slowness = 1 / (2 * self.excess(eta)[1:-1].clamp_min(1e-14)).sqrt()
        step = self._length(eta)[1:-1] * (slowness[1:] + slowness[:-1]) / 2
        x = torch.cat([step.new_zeros(1), step.cumsum(0)])
        return x - x[len(x) // 2]

    def relaxed(self, aside: Float[Tensor, "sample across"]) -> Float[Tensor, "sample across"]:
        """The path of least action near a given one."""
        if aside.shape[1] == 0:
            return aside
        inner = aside[1:-1].clone().requires_grad_()
        ends = aside.new_zeros(1, aside.shape[1])
        search = torch.optim.LBFGS(
            [inner], max_iter=500, max_eval=1000, history_size=50, tolerance_grad=1e-11,
            tolerance_change=1e-14, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            search.zero_grad()
            action = self.action(torch.cat([ends, inner, ends]))
            action.backward()
            return action

        with torch.enable_grad():
            search.step(closure)
        return torch.cat([ends, inner.detach(), ends])

    def require_barrier(self, aside: Float[Tensor, "sample across"]) -> None:
        """Raise where Δω falls below zero, by more than rounding."""
        excess = self.excess(self.eta(aside))[1:-1]
        if not (excess > -1e-9).all():
            raise NotAnInterface(
                f"Δω along the path falls to {float(excess.min()):.3g} eV/site, below that of the "
                "wells: they are not the stable phases at this `mu`."
            )

    def _length(self, eta: Float[Tensor, "sample d"]) -> Float[Tensor, " step"]:
        step = eta.diff(dim=0)
        return ((step @ self.gradient.to(eta)) * step).sum(-1).clamp_min(1e-30).sqrt()


def _check(
    f: FreeEnergy, left: Tensor, right: Tensor, mu: float, gradient: Tensor,
    site_volume: float, points: int,
) -> None:  # fmt: skip
    require_positive("site_volume", site_volume)
    require_finite("gradient", gradient)
    lowest = float(torch.linalg.eigvalsh(gradient)[0])
    seen = float((right - left) @ gradient @ (right - left))
    if lowest < -1e-9 * float(gradient.abs().max()) or seen <= 0:
        raise ValueError(
            "`gradient` must be positive semidefinite and positive along `right` − `left`; its "
            f"lowest eigenvalue is {lowest:.4g} and the latter {seen:.4g} eV Å²: reduce it to an "
            "order parameter t·η as κ t tᵀ."
        )
    if points < 2 * COARSEST - 1 or (points - 1) & (points - 2):
        raise ValueError(f"`points` must be 2ⁿ + 1, at least {2 * COARSEST - 1}; it is {points}.")
    with torch.no_grad():
        ends = torch.stack([left, right])
        omega = f(ends) - mu * ends[:, 0]
    if not abs(float(omega[1] - omega[0])) < EQUAL:
        raise ValueError(
            f"`left` and `right` must have equal f − μη₀ within {EQUAL:g} eV/site; they differ by "
            f"{float(omega[1] - omega[0]):.4g}: take μ of their common tangent."
        )
