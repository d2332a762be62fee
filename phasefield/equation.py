"""Equations of one's own, in a few lines."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.grid import Grid
from phasefield.integrators import Evaluation
from phasefield.models import Energy


@dataclass(frozen=True, eq=False)
class Equation:
    """∂û/∂t = L(k) û + W(k) F(u, t)^: what is stiff and diagonal in k, and the rest on the cells.

    Swift & Hohenberg's u̇ = ru − (1 + ∇²)²u − u³, for example:

        Equation(grid, ("u",), linear=-((1 - grid.k2) ** 2)[None], force=lambda u, t: r * u - u**3)

    Attributes:
        grid: the cells.
        fields: names.
        linear: L, nowhere positive.
        force: F of the fields on the cells [field, x, y, z] and the time. What depends on time
            alone the error estimates do not see: give a `largest_step` that resolves it.
        weight: W; not given: 1.
    """

    grid: Grid
    fields: tuple[str, ...]
    linear: Float[Tensor, "field *k"]
    force: Callable[[Tensor, float], Tensor]
    weight: Float[Tensor, "field *k"] | None = None
    stabiliser: tuple[float, ...] = ()
    fluctuates: bool = False

    def __post_init__(self) -> None:
        wanted = (len(self.fields), *self.grid.k2.shape)
        for name, values in (("linear", self.linear), ("weight", self.weight)):
            if values is not None and tuple(values.shape) != wanted:
                raise ValueError(
                    f"`{name}` must have shape {wanted}; it has {tuple(values.shape)}."
                )
        if not (self.linear <= 0).all():
            raise ValueError(
                f"`linear` must nowhere be positive; its largest entry is "
                f"{float(self.linear.max()):g}: leave what grows to `force`."
            )
        if self.weight is None:
            object.__setattr__(self, "weight", torch.ones_like(self.linear))

    def evaluate(self, u_hat: Tensor, time: float) -> Evaluation:
        """F, transformed."""
        unknown = torch.tensor(torch.nan, dtype=torch.float64)
        force = self.force(self.grid.inverse(u_hat), time)
        return Evaluation(self.grid.transform(force), unknown, unknown)

    def energy(self, u_hat: Tensor, at: Evaluation) -> Energy:  # noqa: ARG002
        """Unknown: nothing is refused for a rising energy."""
        return Energy(torch.nan, torch.nan, 0.0)

    def stabilised(self, u: Float[Tensor, "field *space"]) -> "Equation":  # noqa: ARG002
        """The same."""
        return self

    def forget(self) -> None:
        """Nothing: there is nothing to remember."""

    def with_stabiliser(self, stabiliser: tuple[float, ...]) -> "Equation":  # noqa: ARG002
        """The same."""
        return self
