"""Reactions whose rates are constants times concentrations, with their Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MassAction:
    """dy/dt = Σᵣ kᵣ (Π of the reactants of r) νᵣ.

    A right-hand side for `solve` whose parameters are k; give its `jacobian`, too.

    Attributes:
        reactants: of every reaction, as numbers of species; twice for one of second order.
        change: ν, of every species by every reaction.

    Raises:
        ValueError: there is not one set of reactants for each row of `change`, or a species that
            `change` has no column for.
    """

    reactants: Sequence[Sequence[int]]
    change: Float[Tensor, "reaction n"]

    def __post_init__(self) -> None:
        if len(self.reactants) != len(self.change):
            raise ValueError(
                f"`reactants` must have an entry for each of the {len(self.change)} reactions of "
                f"`change`; it has {len(self.reactants)}."
            )
        n = self.change.shape[1]
        for r, each in enumerate(self.reactants):
            if any(not 0 <= species < n for species in each):
                raise ValueError(
                    f"`reactants` of reaction {r} must be numbers of species below {n}; they are "
                    f"{tuple(each)}."
                )

    def rates(
        self, y: Float[Tensor, "*#batch n"], k: Float[Tensor, "*#batch reaction"]
    ) -> Float[Tensor, "*#batch reaction"]:
        """Of every reaction."""
        out = k
        for factor in self._factors(y):
            out = out * factor
        return out

    def __call__(
        self, t: Tensor, y: Float[Tensor, "*#batch n"], k: Float[Tensor, "*#batch reaction"]
    ) -> Float[Tensor, "*batch n"]:
        """dy/dt."""
        del t
        return self.rates(y, k) @ self.change.to(y)

    def jacobian(
        self, t: Tensor, y: Float[Tensor, "*#batch n"], k: Float[Tensor, "*#batch reaction"]
    ) -> Float[Tensor, "*batch n n"]:
        """∂(dy/dt)/∂y."""
        del t
        factors, by_slot = self._factors(y), []
        for slot in range(len(factors)):
            out = k.expand(*y.shape[:-1], -1)
            for factor in (*factors[:slot], *factors[slot + 1 :]):
                out = out * factor
            by_slot.append(out)
        n = y.shape[-1]
        return (torch.cat(by_slot, -1) @ self._spread.to(y)).view(*y.shape[:-1], n, n)

    def _factors(self, y: Tensor) -> list[Tensor]:
        """Concentrations of the first reactants of all reactions, of the second ones and so on.

        Picked out by products with rows of a unit matrix, faster than by their numbers.
        """
        return [
            torch.nn.functional.linear(y, chosen.to(y), None if none is None else none.to(y))
            for chosen, none in self._slots
        ]

    @cached_property
    def _slots(self) -> list[tuple[Float[Tensor, "reaction n"], Float[Tensor, " reaction"] | None]]:
        """Ones for the reactant of each reaction, and for its absence, if any is absent."""
        most, n = max(map(len, self.reactants)), self.change.shape[1]
        filled = torch.tensor([[*each, *[n] * (most - len(each))] for each in self.reactants])
        ones = torch.eye(n + 1, dtype=self.change.dtype)[filled.T]
        return [
            (each[:, :n].contiguous(), each[:, n] if each[:, n].any() else None) for each in ones
        ]

    @cached_property
    def _spread(self) -> Float[Tensor, "slot_reaction n_n"]:
        """From ∂rate/∂(reactant in a slot) to the Jacobian."""
        blocks = [self.change[:, :, None] * chosen[:, None] for chosen, _ in self._slots]
        return torch.cat(blocks).flatten(1)
