"""The right-hand side of dy/dt = f(t, y, p), its derivatives, and how often they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

Field = Callable[..., Tensor]
"""f(t, y) or, with parameters, f(t, y, p): t [*batch], y [*batch, n], p [*batch, parameter], whose
leading axes broadcast, → dy/dt [*batch, n]. Rows must not depend on each other."""


@dataclass(slots=True)
class Counts:
    """Rows for which something was computed.

    Attributes:
        evaluations: of f, those for Jacobians aside.
        jacobians: of f.
        factorisations: of a matrix.
    """

    evaluations: int = 0
    jacobians: int = 0
    factorisations: int = 0


@dataclass(frozen=True, eq=False)
class Problem:
    """f of some samples.

    Attributes:
        f: the right-hand side.
        parameters: p of each row, or None where f takes none.
        jacobian: ∂f/∂y as a function of the same arguments; by automatic differentiation if None.
        autonomous: whether f is the same at all times.
        counts: shared by all parts of a problem.
    """

    f: Field
    parameters: Float[Tensor, "row parameter"] | None
    jacobian: Field | None
    autonomous: bool
    counts: Counts = field(default_factory=Counts)

    def of(self, parameters: Tensor | None) -> Problem:
        """The same for other samples."""
        return replace(self, parameters=parameters)

    def at(self, rows: Tensor) -> Problem:
        """Of some samples only."""
        return self if self.parameters is None else self.of(self.parameters[rows])

    def __call__(self, t: Float[Tensor, " row"], y: Float[Tensor, "row n"]) -> Tensor:
        """F [row, n]."""
        self.counts.evaluations += len(y)
        return self.f(t, y, *self._more)

    def derivatives(
        self, t: Float[Tensor, " row"], y: Float[Tensor, "row n"]
    ) -> tuple[Float[Tensor, "row n n"], Float[Tensor, "row n"] | None]:
        """∂f/∂y and ∂f/∂t, which is None where it is zero; differentiable with grad enabled."""
        self.counts.jacobians += len(y)
        if self.jacobian is None:
            return self._by_rows(t, y)
        given = self.jacobian(t, y, *self._more)
        return given, None if self.autonomous else self._in_time(t, y)

    @property
    def _more(self) -> tuple[Tensor, ...]:
        return () if self.parameters is None else (self.parameters,)

    def _by_rows(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """As many copies of a state as it has components, each for the slope of one of f."""
        n, again = y.shape[1], torch.is_grad_enabled()
        with torch.enable_grad():
            states = y[:, None].expand(-1, n, -1)
            states = states if states.requires_grad else states.requires_grad_()
            times = t[:, None].expand(-1, n)
            times = times if self.autonomous else times.clone().requires_grad_()
            more = [each[:, None] for each in self._more]
            one = torch.eye(n, dtype=y.dtype, device=y.device).expand(len(y), n, n)
            along = (states,) if self.autonomous else (states, times)
            found = torch.autograd.grad(
                self.f(times, states, *more), along, one, create_graph=again, allow_unused=True
            )
        jacobian = torch.zeros_like(one) if found[0] is None else found[0]
        return jacobian, None if self.autonomous else found[1]

    def _in_time(self, t: Tensor, y: Tensor) -> Tensor:
        """∂f/∂t, as the derivative by v of that of v·f by t."""
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            times = t.clone().requires_grad_()
            out = self.f(times, y, *self._more)
            v = torch.zeros_like(out).requires_grad_()
            slope = torch.autograd.grad(out, times, v, create_graph=True)[0]
            return torch.autograd.grad(slope.sum(), v, create_graph=again)[0]


def leaves(out: Tensor) -> list[Tensor]:
    """Every tensor that `out` depends on whose gradient autograd would keep."""
    found: dict[int, Tensor] = {}
    waiting, seen = [out.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found[id(variable)] = variable
        waiting += [each for each, _ in node.next_functions]
    return list(found.values())
