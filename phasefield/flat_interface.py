"""The flat γ/γ′ interface: what barrier and gradient coefficient give it an energy and a width."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.linalg import solveh_banded
from scipy.optimize import root_scalar
from torch import Tensor

from idnn.checks import require_positive
from idnn.units import ELEMENTARY_CHARGE
from phasefield.barrier import POINTS, Barrier, OrderingPath

JOULE_PER_SQUARE_METRE = ELEMENTARY_CHARGE * 1e18
"""1 eV/nm² in J/m²."""

DIVISORS = (0.125, 32.0)
"""By what the barrier may be divided. Beyond, the ends of the profile are too sharp beside its
middle for a grid that resolves its width."""

NO_BARRIER = 1e-6
"""σ/width (J/m³) where none is left."""

EDGE = 0.1
"""In q, about both phases, where Δω is next to nothing."""

ITERATIONS = 40

CONVERGED = 1e-10
"""Relative change of ∫√(2Δω)ds between two iterations."""


@dataclass(frozen=True, eq=False)
class FlatInterface:
    """A flat interface and the model that has it.

    Attributes:
        energy: σ, J/m².
        width: (c′ − c)/|dc/dx|max, m.
        kappa: gradient coefficient of all fields, eV·nm²/site.
        divisor: by what the barrier of f was divided.
        c: compositions along the profile.
        q: order |η|/|η′| along it.
    """

    energy: float
    width: float
    kappa: float
    divisor: float
    c: Float[Tensor, " sample"]
    q: Float[Tensor, " sample"]


def fitted(
    path: OrderingPath, barrier: Barrier, *, energy: float, width: float, site_volume: float
) -> FlatInterface:
    """The interface of given σ and width.

    With one gradient coefficient κ = κ_c = κ_η (a gradient energy of the four sublattice fractions
    alike) the profile of lowest energy passes through the same states for every κ, and σ and width
    both go as √κ. Their ratio fixes by what the barrier is divided.

    Args:
        path: from γ to γ′.
        barrier: of f along it.
        energy: σ, J/m².
        width: (c′ − c)/|dc/dx|max, m.
        site_volume: Ω, nm³.

    Raises:
        ValueError: no barrier within `DIVISORS` gives this σ at this width, or what the path is
            relieved of leaves none.
    """
    require_positive("energy", energy)
    require_positive("width", width)
    profile = _Profile(path, barrier, site_volume)
    wanted = math.log(energy / width)

    def off(log_divisor: float) -> float:
        ratio = profile.ratio(math.exp(log_divisor))
        return math.log(max(ratio, NO_BARRIER)) - wanted

    least, most = (profile.ratio(d) for d in reversed(DIVISORS))  # 0 where coherency takes all
    low, high = energy / most if most else 0.0, energy / least if least else math.inf
    if not low <= width <= high:
        bound = f"at least {low:.3g}" if width < low else f"at most {high:.3g}"
        raise ValueError(
            f"`interface_width` must be {bound} m for an interface energy of {energy:g} J/m² with "
            f"this free energy; it is {width:g} m."
        )
    ends = [math.log(d) for d in DIVISORS]
    divisor = math.exp(root_scalar(off, bracket=ends, xtol=1e-7).root) if most else DIVISORS[0]
    if not abs(off(math.log(divisor))) < 1e-3:  # it has none, or jumps to it
        raise ValueError(
            f"`interface_width` must be less, or the misfit: at {width:.3g} m an energy of "
            f"{energy:g} J/m² leaves so low a barrier that coherency, which favours states between "
            "γ and γ′, takes all of it."
        )
    return profile.scaled(divisor, energy)


@dataclass(eq=False)
class _Profile:
    """The path of least ∫√(2Δω)ds of given barrier, c over q, in units where κ = 1 eV·nm²/site."""

    path: OrderingPath
    barrier: Barrier
    site_volume: float

    def __post_init__(self) -> None:
        self.q = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        self.c = self.path.lowest(self.q)
        ends = self.path.tie_line
        self.c[0], self.c[-1] = ends.left.eta[0], ends.right.eta[0]
        self.lowest = self.c

    def ratio(self, divisor: float) -> float:
        """σ/width, J/m³; 0 where no barrier is left at the compositions of lowest Δω."""
        change = self.barrier.divided(divisor)(self.path.eta(self.lowest, self.q))
        inner = (self.q > EDGE) & (self.q < 1 - EDGE)
        if not bool(((self.path.excess(self.lowest, self.q) + change)[inner] > 0).all()):
            return 0.0
        energy, width = self.measured(divisor)
        return energy / width

    def scaled(self, divisor: float, energy: float) -> FlatInterface:
        """With κ such that σ is as given."""
        at_one, width = self.measured(divisor)
        root = energy / at_one
        return FlatInterface(energy, width * root, root**2, divisor, self.c.clone(), self.q)

    def measured(self, divisor: float) -> tuple[float, float]:
        """σ (J/m²) and width (m) at κ = 1."""
        change = self.barrier.divided(divisor)(self.path.eta(self.c, self.q))
        self._relax(change)
        root, length = self._root(self.c, change), self._lengths(self.c)
        energy = float(_action(root, length)) / self.site_volume * JOULE_PER_SQUARE_METRE
        along = (self.c[2:] - self.c[:-2]) / (length[1:] + length[:-1])  # dc/ds
        steepest = _peak(along * root[1:-1])
        return energy, float(self.c[-1] - self.c[0]) / steepest * 1e-9

    def _relax(self, change: Tensor) -> None:
        """Newton's iteration in c, from the last path found."""
        action = float(_action(self._root(self.c, change), self._lengths(self.c)))
        for _ in range(ITERATIONS):
            step, share = self._newton(change), 1.0
            while True:
                c = self.c.clone()
                c[1:-1] += share * step
                new = float(_action(self._root(c, change), self._lengths(c)))
                if new <= action * (1 + 1e-14) or share < 1e-6:
                    break
                share /= 2
            done = abs(action - new) <= CONVERGED * action
            self.c, action = c, new
            if done:
                break

    def _newton(self, change: Tensor) -> Tensor:
        """−H⁻¹g of the action; the diagonal of H is kept positive."""
        c, q, length = self.c[1:-1], self.q[1:-1], self._lengths(self.c)
        root, step = self._root(self.c, change), self.c.diff()
        slope = self.path.slope(c, q) / root[1:-1]
        bent = (self.path.curvature(c, q) - slope**2) / root[1:-1]
        mean = (root[1:] + root[:-1]) / 2
        tilt, around = step / length, (length[1:] + length[:-1]) / 2
        gradient = slope * around + (mean * tilt)[:-1] - (mean * tilt)[1:]
        stiff = mean * (1 - tilt**2) / length
        own = bent.clamp_min(0) * around + stiff[:-1] + stiff[1:] + slope * (tilt[:-1] - tilt[1:])
        beside = -stiff[1:-1] + (slope[1:] * tilt[1:-1] - slope[:-1] * tilt[1:-1]) / 2
        floor = beside.new_zeros(len(own))
        floor[1:] += beside.abs()
        floor[:-1] += beside.abs()
        bands = torch.zeros(2, len(own), dtype=torch.float64)
        bands[0, 1:], bands[1] = beside, torch.maximum(own, 1.001 * floor)
        return -torch.from_numpy(solveh_banded(bands.numpy(), gradient.numpy()))

    def _root(self, c: Tensor, change: Tensor) -> Tensor:
        """√(2Δω), zero in both phases."""
        root = (2 * (self.path.excess(c, self.q) + change).clamp_min(1e-18)).sqrt()
        root[0] = root[-1] = 0
        return root

    def _lengths(self, c: Tensor) -> Tensor:
        return (c.diff() ** 2 + 3 * (self.path.order * self.q.diff()) ** 2).sqrt()


def _action(root: Tensor, length: Tensor) -> Tensor:
    return ((root[1:] + root[:-1]) / 2 * length).sum()


def _peak(values: Tensor) -> float:
    """The largest value of the parabola through the largest of `values` and those beside it."""
    i = int(values.argmax().clamp(1, len(values) - 2))
    left, top, right = values[i - 1 : i + 2].tolist()
    return top + (left - right) ** 2 / (8 * (2 * top - left - right))
