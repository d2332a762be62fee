"""What μ owes to the size of its box, from two boxes under one bias."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from idnn.order_parameters import System
from idnn.units import BOLTZMANN_EV
from sampling.estimate import Estimate
from sampling.labelled_point import LabelledPoint


def in_a_larger_box(
    small: LabelledPoint, large: LabelledPoint, system: System, temperature: float
) -> LabelledPoint:
    """The larger box's label, its μ extrapolated to an infinite one.

    In a homogeneous state a box of N sites adds a/N + O(1/N²) to μ at a given ⟨η⟩; of the
    difference between N and N′ > N, a share r = N/(N′ − N) is still in the larger. What the next
    order leaves, about N/N′ of the correction, is kept as an error. Along a sublattice whose μ
    differs by more than k_BT the boxes hold too few atoms for a series in 1/N: nothing is
    corrected there, and the difference is the error.
    """
    directions = system.directions.numpy()
    change = difference(small, large, system, temperature) @ directions
    # k_BT of one atom changed, per unit length of η.
    limit = BOLTZMANN_EV * temperature / len(directions) / np.linalg.norm(system.q.numpy(), axis=0)
    in_series = np.abs(change) < limit
    share = np.where(in_series, small.sites / (large.sites - small.sites), 0.0)
    removed = share * np.where(in_series, change, 0.0)
    correction = np.linalg.solve(directions.T, removed)
    stderr = np.hypot((1 + share) * large.sublattice_stderr, share * small.sublattice_stderr)
    # Of independent errors along sublattices.
    added = np.sqrt(np.maximum(stderr**2 - large.sublattice_stderr**2, 0))
    spread = np.linalg.norm(np.linalg.inv(directions.T) * added, axis=1)
    return replace(
        large,
        mu=Estimate(large.mu.value + correction, np.hypot(large.mu.stderr, spread)),
        correction=large.correction + correction,
        sublattice_stderr=stderr,
        size_error=np.abs(np.where(in_series, small.sites / large.sites * removed, change)),
    )


def differing_from(
    other: LabelledPoint, kept: LabelledPoint, system: System, temperature: float
) -> LabelledPoint:
    """The kept label, in error by as much as the other box differs, the same in all directions."""
    change = difference(kept, other, system, temperature) @ system.directions.numpy()
    return replace(kept, size_error=np.full_like(change, np.sqrt(np.mean(change**2))))


def difference(
    one: LabelledPoint, other: LabelledPoint, system: System, temperature: float
) -> Float[np.ndarray, " d"]:
    """Of μ at the other's ⟨η⟩, to which H carries the first; its ideal share goes exactly.

    A dilute sublattice's μ is logarithmic in its fraction, which may differ by half between boxes.
    NaN where either μ is.
    """
    inverse = np.linalg.inv(system.q.numpy())
    x, y = inverse @ one.eta.value, inverse @ other.eta.value
    thermal = BOLTZMANN_EV * temperature / len(x)

    def ideal(fractions: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return thermal * (np.log(fractions) - np.log1p(-fractions)) @ inverse

    curvature = np.where(np.isfinite(one.hessian.value), one.hessian.value, other.hessian.value)
    with np.errstate(divide="ignore", invalid="ignore"):  # where a sublattice never changed
        excess = curvature - inverse.T @ np.diag(thermal / (x * (1 - x))) @ inverse
        carried = one.mu.value + ideal(y) - ideal(x) + excess @ (other.eta.value - one.eta.value)
    return other.mu.value - carried
