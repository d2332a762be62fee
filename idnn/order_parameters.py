"""Order parameters η = Q x of an ordering crystal: group, invariants, admissible polytope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.checks import require_finite, require_shape
from idnn.invariants import (
    fundamental_invariants,
    highest_degree,
    independent,
    require_complete,
    require_invariant,
    scaled,
)
from idnn.polynomials import Polynomials
from idnn.polytope import Polytope, same_rows
from idnn.symmetry import closed, generating

CORNERS = 64
"""Random directions whose farthest admissible states set the scale of invariants."""


@dataclass(frozen=True, eq=False)
class System:
    """An ordering crystal as data.

    There may be fewer order parameters than sublattices: those left out are taken to vanish, and
    the site fractions are x = Q⁺η, Q⁺ the pseudo-inverse.

    Attributes:
        name: written into stores and models; a store of another system is refused.
        q: Q of η = Q x, x the fractions of the second species on the sublattices.
        group: every permutation of the sublattices, [g, s], or matrix acting on η, [g, d, d], that
            leaves the energy unchanged; or generators of them, from which the others are made.
        ordered_cell: rows are the ordered cell's vectors in primitive lattice vectors; two sites
            lie on the same sublattice when they differ by an integer combination of them.
        prototypes: named phases by the site fractions of their ideal state; the first is the
            disordered one.
        primitive_cell: rows are the parent's primitive lattice vectors, in any unit of length.
        basis: fractional positions of the primitive cell's sites that two species share.
        supplied: invariants of the group to be used as they are; where there are none a complete
            set is found when first needed, scaled to order one.
        domain: the admissible η; where every site fraction lies in [0, 1] if None.

    Raises:
        ValueError: Q has dependent rows, the group is infinite or does not permute the site
            fractions (or not the faces of the domain), or the supplied invariants change under it,
            do not tell neighbouring states apart, or lack some of a degree that they reach.
    """

    name: str
    q: Float[Tensor, "d s"]
    group: Int[Tensor, "g s"] | Float[Tensor, "g d d"]
    ordered_cell: tuple[tuple[int, int, int], ...]
    prototypes: Mapping[str, tuple[float, ...]]
    primitive_cell: tuple[tuple[float, float, float], ...]
    basis: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),)
    supplied: Polynomials | None = None
    domain: Polytope | None = None

    def __post_init__(self) -> None:
        d, s = self.q.shape
        require_finite("q", self.q)
        if int(torch.linalg.matrix_rank(self.q.double())) < d:
            raise ValueError(f"`q` must have independent rows; it is {self.q.tolist()}.")
        size = (None, s) if self.group.ndim == 2 else (None, d, d)
        require_shape("group", self.group, size)
        object.__setattr__(self, "group", torch.from_numpy(closed(self.group.numpy())))
        self._require_symmetric()
        if self.supplied is not None:
            self._require_fit(self.supplied)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, System):
            return NotImplemented
        mine, theirs = (_without_invariants(each) for each in (self, other))
        return mine == theirs and self.invariants == other.invariants

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes by value.

        Torch's own pickling to a process moves a tensor's storage into shared memory, from under
        every numpy view of it.
        """
        return system_from, (self.entries(),)

    def entries(self) -> dict[str, Any]:
        """The whole system in the types of JSON; `system_from` takes it back."""
        known = self.__dict__.get("invariants", self.supplied)
        return {
            "name": self.name,
            "q": self.q.tolist(),
            "group": self.generators.tolist(),
            "ordered_cell": [list(row) for row in self.ordered_cell],
            "prototypes": {name: list(x) for name, x in self.prototypes.items()},
            "primitive_cell": [list(row) for row in self.primitive_cell],
            "basis": [list(row) for row in self.basis],
            "invariants": None
            if known is None
            else {
                "exponents": [list(row) for row in known.exponents],
                "coefficients": [list(row) for row in known.coefficients],
            },
            "domain": None
            if self.domain is None
            else {"matrix": self.domain.matrix.tolist(), "bound": self.domain.bound.tolist()},
        }

    @cached_property
    def invariants(self) -> Polynomials:
        """A complete set of polynomials of η that the group leaves unchanged.

        Raises:
            ValueError: none were supplied, and the system is too large to find them.
        """
        if self.supplied is not None:
            return self.supplied
        permuted = self.q.shape[1] if self.q.shape[0] == self.q.shape[1] else None
        matrices = self.matrices.numpy()
        found = fundamental_invariants(matrices, highest_degree(matrices, permuted))
        return scaled(found, self._polytope.corners(CORNERS).numpy())

    @cached_property
    def matrices(self) -> Float[Tensor, "g d d"]:
        """The group acting on η."""
        return self._acting(self.group)

    @cached_property
    def generators(self) -> Int[Tensor, "_ s"] | Float[Tensor, "_ d d"]:
        """A few elements whose products are the group."""
        return torch.from_numpy(generating(self.group.numpy()))

    def _acting(self, elements: Tensor) -> Tensor:
        if elements.ndim == 3:
            return elements.double()
        permuted = torch.eye(self.q.shape[1], dtype=torch.float64)[elements.long()]
        matrices = self.q.double() @ permuted @ self.q_inverse
        whole = matrices.round()  # what lies on an axis stays there exactly
        return torch.where((matrices - whole).abs() < 1e-12, whole, matrices)

    @cached_property
    def q_inverse(self) -> Float[Tensor, "s d"]:
        """Q⁺ of x = Q⁺η; Q⁻¹ where there are as many order parameters as sublattices."""
        square = self.q.shape[0] == self.q.shape[1]
        return (torch.linalg.inv if square else torch.linalg.pinv)(self.q.double())

    @property
    def dimension(self) -> int:
        """Number of order parameters, the composition included."""
        return self.q.shape[0]

    @property
    def directions(self) -> Float[Tensor, "d s"]:
        """Columns: unit vectors in η along which one sublattice's fraction alone changes."""
        return self.q / self.q.norm(dim=0)

    def site_fractions(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch s"]:
        """x = Q⁺η."""
        return eta @ self.q_inverse.T.to(eta)

    def order_parameters(self, x: Float[Tensor, "*batch s"]) -> Float[Tensor, "*batch d"]:
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
        return torch.stack([eta @ m.T for m in self.matrices.to(eta)])

    def admissible(self, eta: Float[Tensor, "*batch d"]) -> Tensor:
        """Whether η lies in the domain."""
        if self.domain is not None:
            return self.domain.contains(eta)
        x = self.site_fractions(eta)
        return ((x >= 0) & (x <= 1)).all(-1)

    @cached_property
    def _polytope(self) -> Polytope:
        if self.domain is not None:
            return self.domain
        sites = torch.ones(self.q.shape[1], dtype=torch.float64)
        walls = torch.cat([self.q_inverse, -self.q_inverse])
        return Polytope(walls, torch.cat([sites, 0 * sites]))

    def _require_symmetric(self) -> None:
        """The group permutes the site fractions and the faces of the domain."""
        q, elements = self.q.double(), self.generators
        turns = self._acting(elements)
        fractions = [same_rows(q.T, (turn @ q).T) for turn in turns]
        if elements.ndim == 2:
            leak = turns @ q - q @ torch.eye(q.shape[1], dtype=torch.float64)[elements.long()]
            fractions = [bool(each.abs().max() < 1e-9) for each in leak]
        rules = {
            "permute the site fractions that `q` makes order parameters of": fractions,
            "permute the faces of `domain`": self._polytope.kept_by(turns),
        }
        for rule, kept in rules.items():
            if not all(kept):
                element = elements[kept.index(False)].tolist()
                raise ValueError(f"`group` must {rule}; this element does not: {element}.")

    def _require_fit(self, invariants: Polynomials) -> None:
        if invariants.variables != self.dimension:
            raise ValueError(
                f"`supplied` must be polynomials of {self.dimension} order parameters; they have "
                f"{invariants.variables} variables. Leave them out to have them found."
            )
        require_invariant(invariants, self._acting(self.generators).numpy())
        if not independent(invariants):
            raise ValueError(
                f"`supplied` must contain {self.dimension} independent invariants; there are fewer."
            )
        require_complete(invariants, self.matrices.numpy(), invariants.degree)


def system_from(entries: Any) -> System:  # noqa: ANN401
    """The system whose `entries` these are.

    Raises:
        ValueError: an entry is missing, unknown, or of a wrong shape, or the system is refused.
    """
    wanted = {"name", "q", "group", "ordered_cell", "prototypes", "primitive_cell", "basis"}
    wanted |= {"invariants", "domain"}
    if not isinstance(entries, Mapping) or set(entries) != wanted:
        raise ValueError(
            f"`system` must have the entries {sorted(wanted)}; it is {entries!r:.200}."
        )
    given, domain = entries["invariants"], entries["domain"]
    try:
        group = torch.tensor(entries["group"])
        return System(
            name=str(entries["name"]),
            q=torch.tensor(entries["q"], dtype=torch.float64),
            group=group if group.ndim == 2 else group.double(),
            ordered_cell=_rows(entries["ordered_cell"]),
            prototypes={name: tuple(x) for name, x in entries["prototypes"].items()},
            primitive_cell=_rows(entries["primitive_cell"]),
            basis=_rows(entries["basis"]),
            supplied=given and Polynomials(_rows(given["exponents"]), _rows(given["coefficients"])),
            domain=None
            if domain is None
            else Polytope(
                torch.tensor(domain["matrix"], dtype=torch.float64),
                torch.tensor(domain["bound"], dtype=torch.float64),
            ),
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"`system` has an entry of the wrong kind: {error!r}.") from error


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


def _rows(table: Any) -> Any:  # noqa: ANN401
    return tuple(map(tuple, table))


def _without_invariants(system: System) -> dict[str, Any]:
    return system.entries() | {"invariants": None}


FCC_L12 = System(
    name="fcc-L12",
    q=torch.tensor(
        [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]], dtype=torch.float64
    )
    / 4,
    group=torch.tensor(list(permutations(range(4)))),
    supplied=Polynomials.of(
        [
            {(1, 0, 0, 0): 2, (0, 0, 0, 0): -1},
            {(0, 1, 1, 1): 16},
            {(0, 2, 0, 0): 4, (0, 0, 2, 0): 4, (0, 0, 0, 2): 4},
            {(0, 2, 2, 0): 64, (0, 0, 2, 2): 64, (0, 2, 0, 2): 64},
        ]
    ),
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

_BCC = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))

BCC_B2 = System(
    name="bcc-B2",
    q=torch.tensor([[1, 1], [1, -1]], dtype=torch.float64) / 2,
    group=torch.tensor([[0, 1], [1, 0]]),
    supplied=Polynomials.of([{(1, 0): 2, (0, 0): -1}, {(0, 2): 4}]),
    ordered_cell=((0, 1, 1), (1, 0, 1), (1, 1, 0)),
    prototypes={"A2": (0.5, 0.5), "B2": (1.0, 0.0)},
    primitive_cell=_BCC,
)
"""Two simple-cubic sublattices of bcc."""

BCC_D03 = System(
    name="bcc-D03",
    q=torch.tensor(
        [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64
    )
    / 4,
    group=torch.tensor([[1, 2, 3, 0], [0, 3, 2, 1]]),
    supplied=Polynomials.of(
        [
            {(1, 0, 0, 0): 2, (0, 0, 0, 0): -1},
            {(0, 2, 0, 0): 4},
            {(0, 0, 2, 0): 4, (0, 0, 0, 2): 4},
            {(0, 1, 1, 1): 16},
            {(0, 0, 2, 2): 64},
        ]
    ),
    ordered_cell=((1, 1, 2), (1, 2, 1), (2, 1, 1)),
    prototypes={
        "A2": (0.5, 0.5, 0.5, 0.5),
        "B2": (1.0, 0.0, 1.0, 0.0),
        "B32": (1.0, 1.0, 0.0, 0.0),
        "D0_3": (1.0, 0.0, 0.0, 0.0),
        "D0_3*": (0.0, 1.0, 1.0, 1.0),
    },
    primitive_cell=_BCC,
)
"""Four fcc sublattices of bcc: η₁ orders them as B2, η₂ and η₃ as B32, all three as D0₃. Their five
invariants have one relation."""

SYSTEMS = {system.name: system for system in (FCC_L12, BCC_B2, BCC_D03)}
"""Systems that settings may name."""
