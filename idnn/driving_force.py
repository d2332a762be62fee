"""Driving forces: how far another phase lies below the tangent plane of a supersaturated matrix."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range
from idnn.descent import minimise_at
from idnn.estimates import Committee, CommitteeEstimate, over_members
from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System
from idnn.wells import Well, wells, wells_of


class NoState(RuntimeError):
    """A descent found no minimum."""


@dataclass(frozen=True, eq=False)
class DrivingForce:
    """Of nucleation from a matrix, by the parallel tangent.

    Attributes:
        matrix: state of given composition, with its μ = ∂f/∂η₀. Its stiffness is negative within
            the spinodal.
        nucleus: lowest well of the other phase at this μ: there the tangent plane to f is parallel
            to that of the matrix.
    """

    matrix: Well
    nucleus: Well

    @property
    def value(self) -> float:
        """ω_matrix − ω_nucleus, the distance of the tangent planes, eV/site of the nucleus."""
        return self.matrix.omega - self.nucleus.omega

    @property
    def numbers(self) -> tuple[float, ...]:
        """The driving force and the composition of the nucleus, of which a committee quotes σ."""
        return self.value, float(self.nucleus.eta[0])


def driving_force(
    f: FreeEnergy,
    system: System,
    matrix: Float[Tensor, " d"],
    phase: str,
    *,
    composition: tuple[float, float] = (0.0, 1.0),
) -> DrivingForce | None:
    """The greatest distance of a phase below the tangent plane to f at a matrix; None without it.

    max over η of f_m + μ(η₀ − c) − f(η), reached at a well of f − μη₀ (Hillert 1999,
    doi:10.1016/S1359-6454(99)00317-8).

    Args:
        f: eV/site.
        system: the ordering crystal.
        matrix: η of the matrix; its composition is kept and f minimised over η₁.. from here.
        phase: name of the phase that is to form; of its wells other than the matrix the lowest.
        composition: range in which it is sought.

    Raises:
        ValueError: the composition of `matrix` does not lie in (0, 1), or no prototype is named
            `phase`.
        NoState: f has no minimum of the matrix's composition near it.
    """
    require_in_range("matrix[0]", matrix[:1], 1e-9, 1 - 1e-9)
    if phase not in system.prototypes:
        raise ValueError(f"`phase` must be one of {sorted(system.prototypes)}; it is {phase!r}.")
    eta, mu, done = minimise_at(f, system, matrix[None], matrix[:1])
    if not bool(done.all()):
        raise NoState(
            f"No minimum of f over η₁.. at η₀ = {float(matrix[0]):.6g} was found from `matrix`; "
            "start from a well of the phase instead."
        )
    (state,) = wells_of(f, system, eta, mu)
    found = [w for w in wells(f, system, state.mu, composition=composition) if w.phase == phase]
    apart = [w for w in found if float((w.eta - state.eta).abs().max()) > APART]
    return DrivingForce(state, apart[0]) if apart else None


APART = 1e-3
"""Difference of η from the matrix at which a well of its own phase is another."""


def committee_driving_force(
    network: Committee, mean: DrivingForce, *, composition: tuple[float, float] = (0.0, 1.0)
) -> CommitteeEstimate[DrivingForce]:
    """The driving force of the same phase from a matrix of the same composition in every member."""
    matrix, phase = mean.matrix.eta, mean.nucleus.phase
    system = network.system
    return over_members(
        network, mean, lambda f: driving_force(f, system, matrix, phase, composition=composition)
    )
