"""What a model is made of: fields, energies, and what free and elastic energies may offer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from idnn.checks import require_positive
from phasefield.elasticity import Response
from phasefield.grid import Grid


@dataclass(frozen=True)
class OrderField:
    """One field of the model.

    Attributes:
        name: label on files and figures.
        conserved: Cahn–Hilliard if true, Allen–Cahn if false.
        mobility: M in nm²/(eV/site)/time if conserved, L in 1/(eV/site)/time if not.
        kappa: gradient coefficient κ, eV·nm²/site.
    """

    name: str
    conserved: bool
    mobility: float
    kappa: float

    def __post_init__(self) -> None:
        require_positive(f"mobility of {self.name}", self.mobility)
        require_positive(f"kappa of {self.name}", self.kappa)


class Energy(NamedTuple):
    """Total free energy (eV, per nm or nm² of missing dimensions) and its rounding error."""

    bulk: float
    gradient: float
    rounding: float
    elastic: float = 0.0

    @property
    def total(self) -> float:
        """F = bulk + gradient + elastic."""
        return self.bulk + self.gradient + self.elastic


@runtime_checkable
class Compiled(Protocol):
    """A free energy that may have a compiled pass over fields (see `Expression.kernel`)."""

    @property
    def kernel(self) -> Callable[..., tuple[float, float]] | None: ...


@runtime_checkable
class Pointwise(Protocol):
    """A free energy as torch operations on single fields (see `Expression.point`)."""

    @property
    def point(self) -> Callable[..., Sequence[Any]]: ...


@runtime_checkable
class Elastic(Protocol):
    """Elastic energy of fields (see `HomogeneousElasticity` and `InhomogeneousElasticity`)."""

    @property
    def grid(self) -> Grid: ...

    @property
    def repeats(self) -> bool: ...

    @property
    def symmetric(self) -> bool: ...

    def respond(self, u: Tensor) -> Response: ...

    def largest_pull(self, u: Tensor) -> float: ...

    def curvature(self, u: Tensor, most: float) -> Tensor: ...

    def forget(self) -> None: ...


@runtime_checkable
class Bending(Protocol):
    """An elastic energy with second derivatives."""

    def tangent(self, u: Tensor) -> Callable[[Tensor], Tensor]: ...
