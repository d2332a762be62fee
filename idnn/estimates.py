"""What a committee says about an equilibrium: that of its mean, its members' own, and their σ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System


@runtime_checkable
class Quantified(Protocol):
    """A result that is known by numbers."""

    @property
    def numbers(self) -> tuple[float, ...]:
        """What σ is quoted for."""
        ...


@runtime_checkable
class Committee(Protocol):
    """Free energies that differ in what they were trained on."""

    system: System

    @property
    def members(self) -> int:
        """How many."""
        ...

    def member(self, index: int) -> FreeEnergy:
        """One of them."""
        ...

    def values(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch"]:
        """f(η) of each."""
        ...

    def gradients(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch d"]:
        """∂f/∂η of each."""
        ...

    def hessians(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch d d"]:
        """∂²f/∂η² of each."""
        ...


Found = TypeVar("Found", bound=Quantified)


@dataclass(frozen=True, eq=False)
class CommitteeEstimate(Generic[Found]):
    """A result for a committee: that of the mean, and those of the members that have it.

    Attributes:
        mean: result of the committee's mean free energy.
        members: results of the members.
        missing: members in which it does not exist.
    """

    mean: Found
    members: tuple[Found, ...]
    missing: int

    def numbers(self) -> Float[Tensor, "member number"]:
        """Numbers of each member that has the result."""
        rows = [list(each.numbers) for each in self.members]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(self.mean.numbers))

    def sigma(self) -> tuple[float, ...]:
        """Standard deviation of each number over the members; infinite while a member lacks it."""
        if self.missing or len(self.members) < 2:
            return (float("inf"),) * len(self.mean.numbers)
        return tuple(self.numbers().std(0).tolist())


def estimate(mean: Found, members: Sequence[Found | None]) -> CommitteeEstimate[Found]:
    """The result of the mean with those of its members, None where one lacks it."""
    present = tuple(each for each in members if each is not None)
    return CommitteeEstimate(mean, present, len(members) - len(present))


def over_members(
    committee: Committee, mean: Found, find: Callable[[FreeEnergy], Found | None]
) -> CommitteeEstimate[Found]:
    """The same search in every member."""
    return estimate(mean, [find(committee.member(i)) for i in range(committee.members)])


@dataclass(frozen=True, eq=False)
class EachItsOwn:
    """For every row of η the free energy of its own member: searches of all members in a batch."""

    committee: Committee
    member: Int[Tensor, " sample"]

    def __call__(self, eta: Float[Tensor, "sample d"]) -> Float[Tensor, " sample"]:
        return self.committee.values(eta)[self.member, torch.arange(len(eta))]

    def gradient(self, eta: Float[Tensor, "sample d"]) -> Float[Tensor, "sample d"]:
        return self.committee.gradients(eta)[self.member, torch.arange(len(eta))]

    def hessian(self, eta: Float[Tensor, "sample d"]) -> Float[Tensor, "sample d d"]:
        return self.committee.hessians(eta)[self.member, torch.arange(len(eta))]

    def at(self, rows: Int[Tensor, " chosen"]) -> EachItsOwn:
        """The energies of the chosen rows."""
        return EachItsOwn(self.committee, self.member[rows])
