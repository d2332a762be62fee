"""What a run reports of every accepted step, and how it tells phases apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.checks import require_positive
from phasefield.adaptive import State
from phasefield.grid import Grid

L12_SIGNS = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, -1, 1], [-1, 1, -1]])
"""Signs of (η₁, η₂, η₃) in the four antiphase variants of L1₂ (x on sublattice 1, 2, 3, 4)."""


@runtime_checkable
class PhaseMap(Protocol):
    """Names the phase of every cell: 0 is the first of `labels`."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def __call__(self, u: Float[Tensor, "field *space"]) -> Int[Tensor, "*space"]: ...


@dataclass(frozen=True)
class L12Variants:
    """γ (0) and the four antiphase variants of γ′ (1–4) from c, η₁, η₂, η₃.

    A cell is ordered when every |ηᵢ| exceeds `threshold` and η₁η₂η₃ > 0 (Al-poor L1₂); perfect
    Ni₃Al has |ηᵢ| = ¼.
    """

    threshold: float = 0.1
    labels: tuple[str, ...] = ("γ", "γ′ 1", "γ′ 2", "γ′ 3", "γ′ 4")

    def __post_init__(self) -> None:
        require_positive("threshold", self.threshold)

    def __call__(self, u: Float[Tensor, "field *space"]) -> Int[Tensor, "*space"]:
        ordered = (u[1:].abs() > self.threshold).all(0)
        phase = torch.zeros(u.shape[1:], dtype=torch.int64, device=u.device)
        for variant, signs in enumerate(L12_SIGNS.to(u.device), start=1):
            aligned = (u[1:] * signs.reshape(-1, *[1] * (u.ndim - 1)) > 0).all(0)
            phase[ordered & aligned] = variant
        return phase


@dataclass(frozen=True)
class AboveThreshold:
    """Phase 1 where the first field exceeds `threshold`, phase 0 elsewhere."""

    threshold: float
    labels: tuple[str, ...] = ("low", "high")

    def __call__(self, u: Float[Tensor, "field *space"]) -> Int[Tensor, "*space"]:
        return (u[0] > self.threshold).long()


@dataclass(frozen=True)
class Observation:
    """One accepted step: what is known of it without another transform.

    Attributes:
        time: reduced time.
        dt: step tried next.
        bulk: bulk free energy, eV per nm or nm² of missing dimensions.
        gradient: gradient energy, same unit.
        elastic: elastic energy, same unit.
        means: mean of every field.
        steps: accepted steps so far.
        rejected: refused steps so far.
        evaluations: evaluations of ∂f/∂u so far.
    """

    time: float
    dt: float
    bulk: float
    gradient: float
    means: tuple[float, ...]
    steps: int
    rejected: int
    evaluations: int
    elastic: float = 0.0

    @property
    def free_energy(self) -> float:
        """F = bulk + gradient + elastic."""
        return self.bulk + self.gradient + self.elastic

    def row(self, names: Sequence[str]) -> dict[str, float]:
        """Every number under the name it has in a table; `names` are those of the fields."""
        return {
            "time": self.time,
            "dt": self.dt,
            "bulk": self.bulk,
            "gradient": self.gradient,
            "elastic": self.elastic,
            "free_energy": self.free_energy,
            "steps": self.steps,
            "rejected": self.rejected,
            "evaluations": self.evaluations,
            **{f"mean_{name}": mean for name, mean in zip(names, self.means, strict=True)},
        }


def observe(grid: Grid, state: State) -> Observation:
    """Reduce a state to an `Observation`; means are û(0) per cell."""
    means = state.u_hat.flatten(1)[:, 0].real.double() / grid.cells
    if grid.team.size > 1:  # the first process holds û(0)
        means = grid.total(means if grid.team.rank == 0 else torch.zeros_like(means))
    return Observation(
        time=state.time,
        dt=state.dt,
        bulk=state.energy.bulk,
        gradient=state.energy.gradient,
        means=tuple(means.tolist()),
        steps=state.steps,
        rejected=state.rejected_by_error + state.rejected_by_energy,
        evaluations=state.evaluations,
        elastic=state.energy.elastic,
    )


def variants_present(shares: tuple[float, ...], smallest_share: float) -> int:
    """How many ordered phases (all but the first) cover at least `smallest_share` of the cells."""
    return sum(share >= smallest_share for share in shares[1:])
