"""Phases and tie-lines of a free energy: wells of f − μη₀ and common tangents between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import System

COMPOSITIONS = 8
"""Starting compositions of a search for wells."""


@dataclass(frozen=True, eq=False)
class Well:
    """A local minimum of ω(η) = f(η) − μη₀, one of its symmetry-equivalent copies.

    Attributes:
        phase: name of the nearest prototype.
        eta: order parameters; eta[0] is the composition.
        f: free energy, eV/site.
        mu: exchange chemical potential ∂f/∂η₀, eV/site.
        stiffness: smallest eigenvalue of ∂²f/∂η², eV/site.
    """

    phase: str
    eta: Float[Tensor, " d"]
    f: float
    mu: float
    stiffness: float

    @property
    def omega(self) -> float:
        """Grand potential f − μη₀, eV/site."""
        return self.f - self.mu * float(self.eta[0])


@dataclass(frozen=True, eq=False)
class TieLine:
    """Two wells with equal μ and equal ω: a common tangent; `left` is the dilute one."""

    left: Well
    right: Well

    @property
    def mu(self) -> float:
        """Common exchange chemical potential, eV/site."""
        return self.left.mu


@dataclass(frozen=True, eq=False)
class TieLineEstimate:
    """A tie-line of a committee: that of the mean, and those of the members that have it.

    Attributes:
        mean: tie-line of the committee's mean free energy.
        members: tie-lines of the members.
        missing: members in which one of the wells does not exist.
    """

    mean: TieLine
    members: tuple[TieLine, ...]
    missing: int

    def compositions(self) -> Float[Tensor, "member 2"]:
        """Compositions of both ends, per member."""
        return torch.tensor(
            [[float(t.left.eta[0]), float(t.right.eta[0])] for t in self.members],
            dtype=torch.float64,
        ).reshape(-1, 2)

    def sigma(self) -> tuple[float, float]:
        """Standard deviation of both ends over the members; infinite while a member lacks it."""
        if self.missing or len(self.members) < 2:
            return float("inf"), float("inf")
        left, right = self.compositions().std(0).tolist()
        return left, right


def minimise(
    f: FreeEnergy,
    system: System,
    start: Float[Tensor, "sample d"],
    mu: Float[Tensor, " sample"],
    *,
    iterations: int = 100,
    tolerance: float = 1e-9,
) -> tuple[Float[Tensor, "sample d"], Tensor]:
    """Newton descent of ω = f − μη₀ from many starts at once; returns η and who converged.

    Works in z = logit x, so the site fractions stay inside (0, 1); the Hessian's eigenvalues
    enter by their absolute value, and steps that raise ω are halved.
    """
    q = system.q.to(start)
    z = system.site_fractions(start).clamp(1e-6, 1 - 1e-6).logit()
    active = torch.arange(len(z))
    with torch.no_grad():
        for _ in range(iterations):
            x = z[active].sigmoid()
            by_site = _grand_slope(f, x @ q.T, mu[active]) @ q
            going = by_site.abs().amax(-1) >= tolerance
            active, x, by_site = active[going], x[going], by_site[going]
            if len(active) == 0:
                break
            step = _newton_step(q.T @ hessian(f, x @ q.T) @ q, by_site, x)
            z[active] = _backtrack(f, q, z[active], step, mu[active])
        eta = z.sigmoid() @ q.T
        done = (_grand_slope(f, eta, mu) @ q).abs().amax(-1) < tolerance
    return eta, done


def _grand_slope(f: FreeEnergy, eta: Tensor, mu: Tensor) -> Tensor:
    slope = chemical_potential(f, eta)
    return torch.cat([slope[:, :1] - mu[:, None], slope[:, 1:]], dim=1)


def _newton_step(curvature: Tensor, by_site: Tensor, x: Tensor) -> Tensor:
    """Step in z = logit x from ∂ω/∂x and ∂²ω/∂x², downhill along every eigenvector, length ≤ 1."""
    width = x * (1 - x)
    curvature = curvature * width[:, :, None] * width[:, None, :]
    curvature = curvature + torch.diag_embed(by_site * width * (1 - 2 * x))
    values, vectors = torch.linalg.eigh(curvature)
    slope = (vectors.mT @ (by_site * width)[..., None])[..., 0]
    step = -(vectors @ (slope / values.abs().clamp_min(1e-12))[..., None])[..., 0]
    return step / step.norm(dim=-1, keepdim=True).clamp_min(1)


def _backtrack(f: FreeEnergy, q: Tensor, z: Tensor, step: Tensor, mu: Tensor) -> Tensor:
    """Halve each step until ω no longer rises; a step that never helps is not taken."""

    def omega(point: Tensor) -> Tensor:
        eta = point.sigmoid() @ q.T
        return f(eta) - mu * eta[:, 0]

    before = omega(z)
    worse = torch.ones_like(before, dtype=torch.bool)
    for _ in range(12):
        worse = omega(z + step) > before + 1e-15
        if not worse.any():
            return z + step
        step = torch.where(worse[:, None], step / 2, step)
    return z + torch.where(worse[:, None], 0, step)


def wells(
    f: FreeEnergy,
    system: System,
    mu: float,
    *,
    composition: tuple[float, float] = (0.0, 1.0),
) -> list[Well]:
    """Every well of f − μη₀ with composition in the range, lowest ω first, one per symmetry class.

    Starts from each prototype, half and fully ordered, over the whole range of composition.
    """
    start = _starts(system, composition)
    eta, done = minimise(f, system, start, torch.full((len(start),), mu, dtype=start.dtype))
    low, high = composition
    inside = done & (eta[:, 0] >= low) & (eta[:, 0] <= high)
    distinct: list[Tensor] = []
    for point in eta[inside]:
        if not any(_same(system, point, other) for other in distinct):
            distinct.append(point)
    found = [w for point in distinct if (w := _well(f, system, point, mu)).stiffness > 0]
    return sorted(found, key=lambda w: w.omega)


def tie_lines(
    f: FreeEnergy, system: System, *, composition: tuple[float, float], scan: int = 33
) -> list[TieLine]:
    """Common tangents between stable phases, found by scanning μ and refined by Newton.

    Where the phase of lowest ω changes between two values of μ, there is a tie-line between the
    two (Gibbs); dω/dμ = −η₀ gives the Newton step for ω_left = ω_right.
    """
    low, high = composition
    ends = torch.tensor([low + 1e-3, high - 1e-3], dtype=torch.float64)
    line = torch.linspace(float(ends[0]), float(ends[1]), 65, dtype=torch.float64)
    with torch.no_grad():
        eta = torch.zeros(len(line), system.dimension, dtype=torch.float64)
        eta[:, 0] = line
        slopes = chemical_potential(f, eta)[:, 0]
    found: list[TieLine] = []
    previous: Well | None = None
    for mu in torch.linspace(float(slopes.min()), float(slopes.max()), scan).tolist():
        candidates = wells(f, system, mu, composition=composition)
        if not candidates:
            continue
        stable = candidates[0]
        if previous is not None and previous.phase != stable.phase:
            line_here = refine(f, system, previous, stable)
            if line_here is not None:
                found.append(line_here)
        previous = stable
    return found


def refine(f: FreeEnergy, system: System, left: Well, right: Well) -> TieLine | None:
    """The common tangent near two wells; None when either well vanishes on the way."""
    mu = (left.mu + right.mu) / 2
    phases = (left.phase, right.phase)
    for _ in range(50):
        start = torch.stack([left.eta, right.eta])
        eta, done = minimise(f, system, start, torch.full((2,), mu, dtype=start.dtype))
        left, right = (_well(f, system, point, mu) for point in eta)
        gap = float(right.eta[0] - left.eta[0])
        if not done.all() or (left.phase, right.phase) != phases or abs(gap) < 1e-4:
            return None
        shift = (right.omega - left.omega) / gap
        if abs(shift) < 1e-10:
            ordered = (left, right) if gap > 0 else (right, left)
            return TieLine(*ordered)
        mu += max(-0.05, min(0.05, shift))
    return None


def committee_tie_line(network: IntegrableNetwork, tie_line: TieLine) -> TieLineEstimate:
    """The same tie-line in every member of a committee."""
    each = [
        refine(network.member(i), network.system, tie_line.left, tie_line.right)
        for i in range(network.members)
    ]
    present = tuple(t for t in each if t is not None)
    return TieLineEstimate(tie_line, present, len(each) - len(present))


def ordering_spinodal(
    f: FreeEnergy, *, composition: tuple[float, float], dimension: int
) -> float | None:
    """Lowest composition at which the disordered solution is unstable to ordering.

    There the smallest eigenvalue of ∂²f/∂η₁..² on the line η = (η₀, 0, …) passes zero; None when
    it stays positive.
    """
    line = torch.linspace(*composition, 401, dtype=torch.float64)[1:-1]
    eta = torch.zeros(len(line), dimension, dtype=torch.float64)
    eta[:, 0] = line
    lowest = torch.linalg.eigvalsh(hessian(f, eta)[:, 1:, 1:])[:, 0]
    below = (lowest < 0).nonzero()
    if len(below) == 0:
        return None
    i = int(below[0])
    if i == 0:
        return float(line[0])
    fraction = float(lowest[i - 1] / (lowest[i - 1] - lowest[i]))
    return float(line[i - 1] + fraction * (line[i] - line[i - 1]))


def _starts(system: System, composition: tuple[float, float]) -> Float[Tensor, "sample d"]:
    low, high = composition
    grid = torch.linspace(low, high, COMPOSITIONS + 2, dtype=torch.float64)[1:-1]
    _, *ordered = system.prototypes
    starts = [grid[:, None].expand(-1, system.dimension)]
    for name in ordered:
        direction = torch.tensor(system.prototypes[name], dtype=torch.float64)
        direction = direction - direction.mean()
        room = torch.where(
            direction > 0, (1 - grid[:, None]) / direction, -grid[:, None] / direction
        )
        room = torch.where(direction == 0, torch.inf, room).amin(-1, keepdim=True)
        starts += [grid[:, None] + share * room * direction for share in (0.5, 0.98)]
    return system.order_parameters(torch.cat(starts))


def _well(f: FreeEnergy, system: System, eta: Tensor, mu: float) -> Well:
    with torch.no_grad():
        value = float(f(eta[None])[0])
    stiffness = float(torch.linalg.eigvalsh(hessian(f, eta[None])[0])[0])
    return Well(system.phase_name(eta), eta, value, mu, stiffness)


def _same(system: System, a: Tensor, b: Tensor) -> bool:
    return bool((system.images(a) - b).abs().amax(-1).min() < 1e-4)
