"""Order parameters η = Q x of an ordering crystal: group, invariants, admissible polytope."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class System:
    """An ordering crystal as data.

    Attributes:
        name: written into stores and models; a store of another system is refused.
        q: Q of η = Q x, x the fractions of the second species on the sublattices.
        group: every permutation of the sublattices that leaves the energy unchanged, [g, s].
        invariants: a complete set of polynomials of η that the group leaves unchanged, scaled to
            order one.
        ordered_cell: rows are the ordered cell's vectors in primitive lattice vectors; two sites
            lie on the same sublattice when they differ by an integer combination of them.
        primitive_cell: rows are the parent's primitive lattice vectors, in any unit of length.
        basis: fractional positions of the primitive cell's sites that two species share.
        prototypes: named phases by the site fractions of their ideal state; the first is the
            disordered one.
    """

    name: str
    q: Float[Tensor, "d d"]
    group: Int[Tensor, "g d"]
    invariants: Callable[[Tensor], Tensor]
    ordered_cell: tuple[tuple[int, int, int], ...]
    prototypes: Mapping[str, tuple[float, ...]]
    primitive_cell: tuple[tuple[float, float, float], ...]
    basis: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes by value.

        Torch's own pickling to a process moves a tensor's storage into shared memory, from under
        every numpy view of it.
        """
        numbers = (self.q.tolist(), self.group.tolist())
        lattice = (self.primitive_cell, self.basis)
        rest = (self.invariants, self.ordered_cell, dict(self.prototypes), *lattice)
        return _system, (self.name, *numbers, *rest)

    @property
    def dimension(self) -> int:
        """Number of order parameters, the composition included."""
        return self.q.shape[0]

    @property
    def directions(self) -> Float[Tensor, "d d"]:
        """Columns: unit vectors in η along which one sublattice's fraction alone changes."""
        return self.q / self.q.norm(dim=0)

    def site_fractions(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """x = Q⁻¹ η."""
        return eta @ torch.linalg.inv(self.q).T.to(eta)

    def order_parameters(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """η = Q x."""
        return x @ self.q.T.to(x)

    def phase_name(self, eta: Float[Tensor, " d"], order: float = 0.05) -> str:
        """Name of the prototype whose ordering direction η₁.. resembles most.

        The disordered one where |η₁..| < `order`.
        """
        disordered, *ordered = self.prototypes
        if eta[1:].norm() < order:
            return disordered
        directions = self.images(eta)[:, 1:] / eta[1:].norm()

        def likeness(name: str) -> float:
            x = torch.tensor(self.prototypes[name], dtype=eta.dtype)
            ideal = self.order_parameters(x)[1:]
            return float((directions @ (ideal / ideal.norm())).max())

        return max(ordered, key=likeness)

    def images(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "g *batch d"]:
        """Every symmetry-equivalent copy of η."""
        x = self.site_fractions(eta)
        return self.order_parameters(torch.stack([x[..., p] for p in self.group]))

    def admissible(self, eta: Float[Tensor, "*batch d"]) -> Tensor:
        """Whether every site fraction lies in [0, 1]."""
        x = self.site_fractions(eta)
        return ((x >= 0) & (x <= 1)).all(-1)


def ordered_partly(
    ideal: Float[Tensor, "*#batch d"],
    composition: Float[Tensor, "*#batch 1"],
    share: float | Float[Tensor, "*#batch 1"],
) -> Float[Tensor, "*batch d"]:
    """Site fractions on the line from disorder towards an ordered state.

    x = c + s·r·(p − p̄), r the greatest order: the largest number with every c + r·(p − p̄) in
    [0, 1].

    Args:
        ideal: p, site fractions of the ordered state.
        composition: c in [0, 1].
        share: s, from 0 (disorder) to 1 (greatest order).
    """
    direction = ideal - ideal.mean(-1, keepdim=True)
    room = torch.where(direction > 0, (1 - composition) / direction, -composition / direction)
    greatest = torch.where(direction == 0, torch.inf, room).amin(-1, keepdim=True)
    return composition + share * greatest * direction


def _system(
    name: str,
    q: list[list[float]],
    group: list[list[int]],
    *rest: Any,  # noqa: ANN401
) -> System:
    return System(name, torch.tensor(q, dtype=torch.float64), torch.tensor(group), *rest)


def _l12_invariants(eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    composition, eta1, eta2, eta3 = eta.unbind(-1)
    a, b, c = eta1.square(), eta2.square(), eta3.square()
    return torch.stack(
        [
            2 * composition - 1,
            16 * eta1 * eta2 * eta3,
            4 * (a + b + c),
            64 * (a * b + b * c + c * a),
        ],
        dim=-1,
    )


FCC_L12 = System(
    name="fcc-L12",
    q=torch.tensor(
        [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]], dtype=torch.float64
    )
    / 4,
    group=torch.tensor(list(permutations(range(4)))),
    invariants=_l12_invariants,
    ordered_cell=((-1, 1, 1), (1, -1, 1), (1, 1, -1)),
    prototypes={
        "A1": (0.25, 0.25, 0.25, 0.25),
        "L1_2": (1.0, 0.0, 0.0, 0.0),
        "L1_0": (1.0, 1.0, 0.0, 0.0),
        "L1_2*": (0.0, 1.0, 1.0, 1.0),
    },
    primitive_cell=((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
)
"""Four simple-cubic sublattices of fcc: γ, L1₂ γ′ and L1₀ (Natarajan et al. 2017,
doi:10.1103/PhysRevB.96.134204). Its invariants generate the ring of T_d acting on η₁..η₃."""

SYSTEMS = {FCC_L12.name: FCC_L12}
"""Systems that models and stores may name."""
