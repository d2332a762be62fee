"""A term that changes the barrier between γ and γ′ and leaves both phases as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from idnn.equilibrium import TieLine
from idnn.free_energy import FreeEnergy, chemical_potential

POINTS = 257
"""Of a path between the phases, at equal distances in q."""

BISECTIONS = 50

SHARE = 0.25
"""Of the divided barrier that stays proportional to that of f, so that its top is not flat."""

SMALLEST = 1e-8
"""q that stands for zero where a vanishing product is divided by it."""


@dataclass(frozen=True, eq=False)
class OrderingPath:
    """States η = (c, qh, qh, qh) from γ (q = 0) to γ′ (q = 1) on the ⟨111⟩ axis of η₁..η₃.

    Attributes:
        f: eV/site.
        tie_line: its ends are the two phases.
    """

    f: FreeEnergy
    tie_line: TieLine

    @property
    def order(self) -> float:
        """h = |ηᵢ| of γ′."""
        return float(self.tie_line.right.eta[1:].abs().mean())

    def eta(
        self, c: Float[Tensor, " sample"], q: Float[Tensor, " sample"]
    ) -> Float[Tensor, "sample 4"]:
        """States of composition c and order q."""
        return torch.stack([c, *[q * self.order] * 3], -1)

    def excess(
        self, c: Float[Tensor, " sample"], q: Float[Tensor, " sample"]
    ) -> Float[Tensor, " sample"]:
        """Δω = f − μη₀ − ω, the height above the common tangent, eV/site."""
        return self.f(self.eta(c, q)) - self.tie_line.mu * c - self.tie_line.left.omega

    def lowest(self, q: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
        """The composition of lowest Δω from c to c′, by bisection of ∂f/∂c, which rises with c."""
        left, right = self.tie_line.compositions
        low, high = (q * self.order).clamp_min(left), torch.full_like(q, right)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            slope = chemical_potential(self.f, self.eta(middle, q))[:, 0]
            below = slope < self.tie_line.mu
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


@dataclass(frozen=True, eq=False)
class Barrier:
    """The lowest Δω at a given Σηᵢ²: w = s(1 − s)² p(q) with s = q² = Σηᵢ²/(3h²).

    Attributes:
        order: h = |ηᵢ| of γ′.
        height: the largest w, eV/site.
        pieces: cubic polynomials of q in equal parts of [0, 1] that make p, highest power first,
            eV/site; beyond, where no interface leads, p keeps its last value.
    """

    order: float
    height: float
    pieces: Float[Tensor, "power part"]

    @classmethod
    def along(cls, path: OrderingPath) -> Barrier:
        """That of a path, where c follows q at the lowest Δω."""
        q = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        w = path.excess(path.lowest(q), q)
        inner = slice(2, -2)  # at both ends w and what divides it vanish
        p = CubicSpline(q[inner].numpy(), (w / (q * (1 - q**2)) ** 2)[inner].numpy())
        pieces = torch.from_numpy(CubicSpline(q.numpy(), p(q.numpy())).c.copy())
        return cls(path.order, float(w.max()), pieces)

    def divided(self, divisor: float) -> BarrierTerm:
        """The term by which the height becomes 1/`divisor` of what it was."""
        return BarrierTerm(self, divisor)

    def p(
        self, q: Float[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """p, ∂p/∂q and ∂²p/∂q²."""
        pieces = self._pieces_like(q)
        parts = pieces.shape[1]
        part = (q * parts).long().clamp_max(parts - 1)
        x = q.clamp_max(1) - part / parts
        a, b, c, d = pieces[:, part].unbind(0)
        inside = (q <= 1).to(q.dtype)
        slope, bend = (3 * a * x + 2 * b) * x + c, 6 * a * x + 2 * b
        return ((a * x + b) * x + c) * x + d, slope * inside, bend * inside

    def _pieces_like(self, q: Tensor) -> Tensor:
        """Kept: a copy to a GPU at every call would wait for it."""
        key = q.device, q.dtype
        if key not in self._copies:
            self._copies[key] = self.pieces.to(q)
        return self._copies[key]

    @cached_property
    def _copies(self) -> dict[tuple[torch.device, torch.dtype], Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class BarrierTerm:
    """B = Φ(w) − w of η (eV/site), by which the lowest Δω = w between γ and γ′ becomes Φ(w).

    Φ = w[ε + (1 − ε)/(1 + aw)], with a such that the height is divided by `divisor` and ε a share
    of what is left. Φ(0) = 0 and Φ′(0) = 1: B falls off as s² at γ, for every composition, and as
    (1 − s)⁴ at all four variants of γ′; values, slopes and curvatures of both phases stay. Φ rises
    with w, so that where the lowest Δω has one maximum its image has one, and no new phase appears;
    and B depends on Σηᵢ² alone, so that what lies above the lowest Δω, as antiphase boundaries do,
    stays above it by as much.

    Attributes:
        barrier: w.
        divisor: of its height, positive; the barrier falls if above 1.
    """

    barrier: Barrier
    divisor: float

    def __call__(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        s, q = self._order(eta)
        w = s * (1 - s) ** 2 * self.barrier.p(q)[0]
        return -self._bent * self._a * w**2 / (1 + self._a * w)

    def gradient(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        return self.evaluate(eta)[1]

    def evaluate(
        self, eta: Float[Tensor, "*batch 4"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 4"]]:
        s, q = self._order(eta)
        p, p_q, _ = self.barrier.p(q)
        rest = 1 - s
        w, w_s = s * rest**2 * p, rest * ((1 - 3 * s) * p + rest * q * p_q / 2)
        share = 1 / (1 + self._a * w)
        slope = self._bent * (share**2 - 1) * w_s * (2 / self._scale)
        return -self._bent * self._a * w**2 * share, _of_order(eta, slope[..., None] * eta)

    def hessian(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 4"]:
        s, q = self._order(eta)
        p, p_q, p_qq = self.barrier.p(q)
        rest, divided = 1 - s, q.clamp_min(SMALLEST)
        w, w_s = s * rest**2 * p, rest * ((1 - 3 * s) * p + rest * q * p_q / 2)
        by_slope = (3 - 7 * s) / (4 * divided) - q
        w_ss = (6 * s - 4) * p + rest * (by_slope * p_q + rest * p_qq / 4)
        share = 1 / (1 + self._a * w)
        b_s = self._bent * (share**2 - 1) * w_s
        b_ss = self._bent * ((share**2 - 1) * w_ss - 2 * self._a * share**3 * w_s**2)
        order = _of_order(eta, eta)
        diagonal = torch.diag(eta.new_tensor([0, 1, 1, 1]))
        outer = order[..., :, None] * order[..., None, :]
        return b_ss[..., None, None] * outer * (2 / self._scale) ** 2 + b_s[
            ..., None, None
        ] * diagonal * (2 / self._scale)

    @property
    def _scale(self) -> float:
        return 3 * self.barrier.order**2

    @property
    def _bent(self) -> float:
        """1 − ε."""
        return 1 - SHARE * min(1.0, 1 / self.divisor)

    @property
    def _a(self) -> float:
        """A of Φ(height) = height/divisor, 1/eV."""
        straight = 1 - self._bent
        return (self._bent / (1 / self.divisor - straight) - 1) / self.barrier.height

    def _order(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """S and q = √s."""
        s = eta[..., 1:].square().sum(-1) / self._scale
        return s, s.sqrt()


def _of_order(eta: Tensor, values: Tensor) -> Tensor:
    """Zero for the composition."""
    return torch.cat([torch.zeros_like(eta[..., :1]), values[..., 1:]], -1)
