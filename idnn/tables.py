"""A committee as arrays, for compiled passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idnn.activations import ACTIVATIONS
from idnn.polynomials import ZERO, Polynomials
from idnn.units import BOLTZMANN_EV
from idnn.vectors import OUTPUTS

if TYPE_CHECKING:
    from idnn.network import IntegrableNetwork

NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}
"""Of the activations."""


class Tables(NamedTuple):
    """A committee as arrays. Rows that `dense` sums are followed by zeros up to what it takes.

    Attributes:
        products: pairs of rows to multiply; those of η come first, then each product.
        constants: of the sums, which are the invariants h₀, h₁ …, then their slopes.
        ends: where the other terms of each sum end in the next two.
        rows: of the terms.
        factors: of the terms.
        slopes: i and k of every ∂h_k/∂ηᵢ that is not zero.
        activation: a value of `NUMBERS`.
        members: of the committee.
        widths: of one member's hidden layers.
        weights: [out, in] of each hidden layer and member.
        biases: of the same.
        last: of each member; holds k_BT and the mean over members.
        back: [in, out] of each hidden layer, from the last one on, and member; of the first layer
            with members side by side. `last` is multiplied into those of the last layer.
        sublattices: how many there are.
        fractions: Q⁺ [sublattice, d].
        pulled: k_BT/S Q⁺ transposed.
        scale: k_BT/S.
        floor: of the ideal reference.
        pure: F(0).
    """

    products: np.ndarray
    constants: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    factors: np.ndarray
    slopes: np.ndarray
    activation: int
    members: int
    widths: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    last: np.ndarray
    back: np.ndarray
    sublattices: int
    fractions: np.ndarray
    pulled: np.ndarray
    scale: float
    floor: float
    pure: float


def tables(network: IntegrableNetwork) -> Tables:
    """Of the mean of the committee as it is now; F(0) is left at 0."""
    kt = BOLTZMANN_EV * network.temperature
    inverse = np.linalg.pinv(network.reference.q.double().cpu().numpy())
    sublattices, d = inverse.shape
    return Tables(
        **_invariants(network.system.invariants),
        **_layers(network, kt),
        activation=NUMBERS[network.settings.activation],
        members=network.members,
        sublattices=sublattices,
        fractions=_filled(inverse, (_padded(sublattices), d)).ravel(),
        pulled=_filled(kt / sublattices * inverse.T, (_padded(d), sublattices)).ravel(),
        scale=kt / sublattices,
        floor=network.settings.floor,
        pure=0.0,
    )


def _invariants(invariants: Polynomials) -> dict[str, Any]:
    plan, d = invariants.values_and_slopes, invariants.variables
    values, slopes = plan.order[: invariants.count], plan.order[invariants.count :]
    chosen = [n for n, index in enumerate(slopes) if plan.sums[index] != ZERO]
    sums = [plan.sums[index] for index in (*values, *(slopes[n] for n in chosen))]
    terms = [[(row, factor) for factor, rows in each.groups for row in rows] for each in sums]
    flat = [term for each in terms for term in each]
    return {
        "products": np.array(plan.products, np.int64).reshape(-1, 2),
        "constants": np.array([each.constant for each in sums]),
        "ends": np.cumsum([len(each) for each in terms]),
        "rows": np.array([row for row, _ in flat], np.int64),
        "factors": np.array([factor for _, factor in flat], np.float64),
        "slopes": np.array([(n % d, n // d) for n in chosen], np.int64).reshape(-1, 2),
    }


def _layers(network: IntegrableNetwork, kt: float) -> dict[str, Any]:
    *arrays, outputs = (w.detach().cpu().double().numpy() for w in network.weights)
    biases = [b.detach().cpu().double().numpy() for b in network.biases]
    widths = [_padded(b.shape[1]) for b in biases]
    sizes = [arrays[0].shape[1], *widths]
    inside, outside = network.layers.activation.inside, network.layers.activation.outside
    share = kt * outside / network.members
    last = [_filled(share * w[:, 0], (widths[-1],)) for w in outputs]
    weights = [
        [
            _filled((inside * outside if layer else inside) * w.T, (sizes[layer + 1], sizes[layer]))
            for w in members
        ]
        for layer, members in enumerate(arrays)
    ]
    back = [[w.T for w in members] for members in weights]
    back[-1] = [w * factor for w, factor in zip(back[-1], last, strict=True)]
    side_by_side = np.concatenate(back[0], 1)
    side_by_side = _filled(side_by_side, (_padded(len(side_by_side)), side_by_side.shape[1]))
    shifts = [
        _filled(inside * b, (width,))
        for members, width in zip(biases, widths, strict=True)
        for b in members
    ]
    later = [w.ravel() for members in back[:0:-1] for w in members]
    return {
        "widths": np.array(widths),
        "weights": np.concatenate([w.ravel() for members in weights for w in members]),
        "biases": np.concatenate(shifts),
        "last": np.concatenate(last),
        "back": np.concatenate([*later, side_by_side.ravel()]),
    }


def _padded(count: int) -> int:
    return -(-count // OUTPUTS) * OUTPUTS


def _filled(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values, followed by zeros."""
    return np.pad(values, [(0, n - m) for n, m in zip(shape, values.shape, strict=True)])
