"""A term that changes the barrier between γ and γ′ and leaves both phases as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy
import torch
from jaxtyping import Float
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from idnn.equilibrium import TieLine
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from phasefield.piecewise import at_least
from phasefield.symbolic import SymbolicEnergy, field_symbols

POINTS = 257
"""Of a path between the phases, at equal distances in q."""

BISECTIONS = 50

SHARE = 0.25
"""Of the divided barrier that stays proportional to that of f, so that its top is not flat."""

DEGREE = 16
"""Of p, a polynomial of q."""

LARGEST_MISS = 1e-4
"""Of w by that polynomial, of its height."""

SMALLEST = 1e-12
"""Added to q², that ∂q/∂η stays finite at η = 0."""


@dataclass(frozen=True, eq=False)
class OrderingPath:
    """States η = (c, qh, qh, qh) from γ (q = 0) to γ′ (q = 1) on the ⟨111⟩ axis of η₁..η₃.

    Attributes:
        f: eV/site.
        tie_line: its ends are the two phases.
        relief: K, eV/site. A lattice parameter that goes with c costs coherent layers Kc² beside
            terms that are linear in c, hence −K(c − c₀)(c′ − c) above the tangent of both phases.
    """

    f: FreeEnergy
    tie_line: TieLine
    relief: float = 0.0

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
        """Δω = f − μη₀ − ω − K(c − c₀)(c′ − c), the height above the common tangent, eV/site."""
        low, high = self.tie_line.compositions
        chemical = self.f(self.eta(c, q)) - self.tie_line.mu * c - self.tie_line.left.omega
        return chemical - self.relief * (c - low) * (high - c)

    def slope(
        self, c: Float[Tensor, " sample"], q: Float[Tensor, " sample"]
    ) -> Float[Tensor, " sample"]:
        """∂Δω/∂c."""
        by_composition = chemical_potential(self.f, self.eta(c, q))[:, 0] - self.tie_line.mu
        return by_composition + self.relief * (2 * c - sum(self.tie_line.compositions))

    def curvature(
        self, c: Float[Tensor, " sample"], q: Float[Tensor, " sample"]
    ) -> Float[Tensor, " sample"]:
        """∂²Δω/∂c²."""
        return hessian(self.f, self.eta(c, q))[:, 0, 0] + 2 * self.relief

    def lowest(self, q: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
        """The composition of lowest Δω from c to c′, by bisection: its slope rises with c."""
        left, right = self.tie_line.compositions
        low, high = (q * self.order).clamp_min(left), torch.full_like(q, right)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.slope(middle, q) < 0
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


@dataclass(frozen=True, eq=False)
class Barrier:
    """The lowest Δω at a given Σηᵢ²: w = s(1 − s)² p(q) with s = q² = Σηᵢ²/(3h²).

    Attributes:
        order: h = |ηᵢ| of γ′.
        height: the largest w, eV/site.
        coefficients: of p in powers of q, eV/site; beyond 1, where no interface leads, p keeps its
            last value.
    """

    order: float
    height: float
    coefficients: tuple[float, ...]

    @classmethod
    def along(cls, path: OrderingPath) -> Barrier:
        """That of a path, where c follows q at the lowest Δω.

        Raises:
            ValueError: Δω along it is no smooth function of q.
        """
        q = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        w = path.excess(path.lowest(q), q)
        inner = slice(2, -2)  # at both ends w and what divides it vanish
        x, known = q[inner].numpy(), w[inner].numpy()
        p = Chebyshev.fit(x, known / (x * (1 - x**2)) ** 2, DEGREE, domain=(0, 1))
        off = np.abs((x * (1 - x**2)) ** 2 * p(x) - known).max() / float(w.max())
        if off > LARGEST_MISS:
            raise ValueError(
                f"`f` must be smooth between γ and γ′; a polynomial of degree {DEGREE} in |η| "
                f"misses its barrier by {off:.1g} of its height."
            )
        return cls(path.order, float(w.max()), tuple(p.convert(kind=Polynomial).coef.tolist()))

    def divided(self, divisor: float) -> BarrierTerm:
        """The term by which the height becomes 1/`divisor` of what it was."""
        return BarrierTerm(self, divisor)


@dataclass(frozen=True, eq=False)
class BarrierTerm(SymbolicEnergy):
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

    def expression(self) -> tuple[tuple[sympy.Symbol, ...], sympy.Expr]:
        symbols = field_symbols(4)
        s = sum(eta**2 for eta in symbols[1:]) / sympy.Float(3 * self.barrier.order**2)
        q = sympy.sqrt(SMALLEST + -at_least(-s, sympy.Integer(-1)))
        p: sympy.Expr = sympy.Integer(0)
        for coefficient in reversed(self.barrier.coefficients):
            p = p * q + sympy.Float(coefficient)
        bent = 1 - SHARE * min(1.0, 1 / self.divisor)
        a = (bent / (1 / self.divisor - (1 - bent)) - 1) / self.barrier.height
        w = s * (1 - s) ** 2 * p
        return symbols, -sympy.Float(bent * a) * w**2 / (1 + sympy.Float(a) * w)
