"""A layered potential g(u) with its gradient and Hessian, by closed-form recurrences.

With layers aₗ = s(zₗ), zₗ = aₗ₋₁Wₗ + bₗ, a₀ = u and g = a_L W the gradient runs back through the
same weights, ∂g/∂aₗ₋₁ = (∂g/∂aₗ ∘ s′(zₗ)) Wₗᵀ (Teichert et al. 2020,
doi:10.1016/j.cma.2020.113281), and the Hessian is a sum over layers,
∂²g/∂u² = Σₗ Zₗᵀ diag(∂g/∂aₗ ∘ s″(zₗ)) Zₗ with Zₗ = ∂zₗ/∂u, Zₗ₊₁ = Wₗ₊₁ᵀ diag(s′(zₗ)) Zₗ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.activations import NEW, Activation
from idnn.runtime import compiled_by_torch

NUMBERS_AT_ONCE = 1 << 16
"""In a hidden layer of all members, evaluated without a graph: five times as many stay in cache."""

NUMBERS_AT_ONCE_ELSEWHERE = 1 << 25
"""The same on a GPU, which wants much to do at once: 256 MB in float64."""


@dataclass(frozen=True, eq=False)
class Layers:
    """Weights of one network, [in, out], or with a leading member axis of many.

    The last layer is linear and has no bias: only differences of a potential mean something.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: Activation

    def potential(self, u: Float[Tensor, "*rows input"]) -> Float[Tensor, "*member_rows"]:
        """g(u)."""
        a = u
        for weight, bias in self._hidden:
            a, _ = self.activation.value_and_slope(_affine(a, weight, bias))
        return (a @ self.weights[-1])[..., 0]

    def slope(self, u: Float[Tensor, "*rows input"]) -> Float[Tensor, "*member_rows input"]:
        """∂g/∂u."""
        a, slopes = u, []
        for weight, bias in self._hidden:
            a, slope = self.activation.value_and_slope(_affine(a, weight, bias))
            slopes.append(slope)
        return self._back(slopes)

    def slope_and_curvature(
        self, u: Float[Tensor, "*rows input"]
    ) -> tuple[Float[Tensor, "*member_rows input"], Float[Tensor, "*member_rows input input"]]:
        """∂g/∂u and ∂²g/∂u²."""
        a, slopes, curvatures, tangents = u, [], [], []
        tangent = None
        for weight, bias in self._hidden:
            tangent = (
                weight.unsqueeze(-3)
                if tangent is None
                else (tangent * slopes[-1].unsqueeze(-2)) @ weight.unsqueeze(-3)
            )
            a, slope, curvature = self.activation(_affine(a, weight, bias))
            slopes.append(slope)
            curvatures.append(curvature)
            tangents.append(tangent)
        back = self.weights[-1].mT
        total = torch.zeros((), dtype=u.dtype, device=u.device)
        for i in reversed(range(len(slopes))):
            bent = tangents[i] * (back * curvatures[i]).unsqueeze(-2)
            total = total + bent @ tangents[i].mT
            back = (back * slopes[i]) @ self.weights[i].mT
        return back, total

    def potential_and_sensitivity(
        self, u: Float[Tensor, "row input"]
    ) -> tuple[Float[Tensor, "*member_row"], Sensitivity]:
        """g(u) and its derivatives by all weights and biases."""
        a, activations, slopes = u, [u], []
        for weight, bias in self._hidden:
            a, slope = self.activation.value_and_slope(_affine(a, weight, bias))
            activations.append(a)
            slopes.append(slope)
        back = self.weights[-1].mT.expand_as(a)
        weights, biases = [activations[-1].unsqueeze(-1)], []
        for i in reversed(range(len(slopes))):
            z = back * slopes[i]
            weights.insert(0, activations[i].unsqueeze(-1) * z.unsqueeze(-2))
            biases.insert(0, z)
            back = z @ self.weights[i].mT
        return (a @ self.weights[-1])[..., 0], Sensitivity(weights, biases)

    def directional_and_sensitivity(
        self, u: Float[Tensor, "row input"], v: Float[Tensor, "row direction input"]
    ) -> tuple[Float[Tensor, "*member_row direction"], Sensitivity]:
        """v·∂g/∂u for several v, and its derivatives by all weights and biases.

        With ȧₗ the change of aₗ along v, ġ = ȧ_L W; the adjoints of z and ż run back together.
        """
        a, tangent, layers = u, v, []
        for weight, bias in self._hidden:
            before = a, tangent
            a, slope, curvature = self.activation(_affine(a, weight, bias))
            turned = tangent @ weight.unsqueeze(-3)
            tangent = turned * slope.unsqueeze(-2)
            layers.append((*before, slope.unsqueeze(-2), turned * curvature.unsqueeze(-2)))
        last = self.weights[-1].unsqueeze(-3)
        back, back_tangent = torch.zeros((), dtype=u.dtype, device=u.device), last.mT
        weights, biases = [tangent.unsqueeze(-1)], []
        for i in reversed(range(len(layers))):
            a, ahead, slope, bent = layers[i]
            z = back * slope + back_tangent * bent
            z_tangent = back_tangent * slope
            outer = a.unsqueeze(-2).unsqueeze(-1) * z.unsqueeze(-2)
            weights.insert(0, outer + ahead.unsqueeze(-1) * z_tangent.unsqueeze(-2))
            biases.insert(0, z)
            back, back_tangent = (x @ self.weights[i].mT.unsqueeze(-3) for x in (z, z_tangent))
        return (tangent @ last)[..., 0], Sensitivity(weights, biases)

    @property
    def _hidden(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.weights[:-1], self.biases, strict=True))

    def _back(self, slopes: Sequence[Tensor]) -> Tensor:
        back = self.weights[-1].mT
        for slope, weight in zip(reversed(slopes), reversed(self.weights[:-1]), strict=True):
            back = (slope * back) @ weight.mT
        return back


class Mean:
    """Means over all members of g(u) and ∂g/∂u, as often as one likes, no graph kept.

    The members are one wide network, whose first and last layers each are a single product. All is
    done in buffers for as many rows as a cache holds. Rows come last in memory, whatever the
    shapes: fastest where they do in u as well.
    """

    def __init__(self, layers: Layers, device: torch.device) -> None:
        first, *middle, last = (w if w.ndim == 3 else w[None] for w in layers.weights)
        inside, outside = layers.activation.inside, layers.activation.outside
        self.activation = layers.activation
        self.fused = _fused(layers.activation) if device.type == "cuda" else None
        self.first = inside * first.mT.flatten(0, 1)
        self.middle = [inside * outside * weight for weight in middle]
        self.last = outside / len(last) * last
        self.biases = [inside * b.reshape(len(last), -1, 1) for b in layers.biases]
        numbers = NUMBERS_AT_ONCE if device.type == "cpu" else NUMBERS_AT_ONCE_ELSEWHERE
        self.rows_at_once = max(1, numbers // max(map(torch.numel, self.biases)))
        self._buffers: dict[str, Tensor] = {}

    @torch.no_grad()
    def value_and_slope(
        self, u: Float[Tensor, "row input"]
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, "row input"]]:
        """g and ∂g/∂u, the layers passed once."""
        value, slope = u.new_empty(len(u)), u.new_empty(u.shape[1], len(u))
        for begin in range(0, len(u), self.rows_at_once):
            into = slice(begin, begin + self.rows_at_once)
            self._evaluate(u[into].mT, value[into], slope[:, into])
        return value, slope.mT

    def _evaluate(self, u: Tensor, value: Tensor, slope: Tensor) -> None:
        """Columns u[input, row] → g and ∂g/∂u, into tensors that are there."""
        a, slopes = u, []
        for i, bias in enumerate(self.biases):
            z = self._buffer(f"z{i % 2}", bias, u)
            if i == 0:
                torch.mm(self.first, a, out=z.flatten(0, 1))
            else:
                torch.bmm(self.middle[i - 1].mT, a, out=z)
            if self.fused is not None:
                a, rise = self.fused(z, bias)
            else:
                rise, between = (self._buffer(k, bias, u) for k in (f"slope{i}", "between"))
                a, rise, _ = self.activation.first(z.add_(bias), (z, rise, between))
            slopes.append(rise)
        torch.mv(a.flatten(0, 1).mT, self.last.flatten(), out=value)
        back = slopes.pop().mul_(self.last)
        for weight in reversed(self.middle):
            back = slopes.pop().mul_(torch.bmm(weight, back, out=self._buffer("back", weight, u)))
        torch.mm(self.first.mT, back.flatten(0, 1), out=slope)

    def _buffer(self, name: str, like: Tensor, u: Tensor) -> Tensor:
        """Memory by name, which is still in the cache when it is asked for again."""
        shape = torch.Size((*like.shape[:2], u.shape[1]))
        if name not in self._buffers or self._buffers[name].numel() < shape.numel():
            self._buffers[name] = u.new_empty(shape.numel())
        return self._buffers[name][: shape.numel()].view(shape)


@cache
def _fused(activation: Activation) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """σ and σ′ of z + bias in one kernel."""
    return compiled_by_torch(lambda z, bias: activation.first(z + bias, NEW)[:2])


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Derivatives of a number by weights and biases, each with the number's axes in front."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]

    def flat(self) -> Float[Tensor, "*rows parameter"]:
        """Weights, then biases, in one axis."""
        flat = [w.flatten(-2) for w in self.weights]
        return torch.cat([*flat, *self.biases], dim=-1)


def random_layers(sizes: Sequence[int], seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Weights N(0, 1/fan-in) and biases uniform in [−1, 1]; float64."""
    generator = torch.Generator().manual_seed(seed)
    weights = [
        torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64) / fan_in**0.5
        for fan_in, fan_out in pairwise(sizes)
    ]
    biases = [
        2 * torch.rand(width, generator=generator, dtype=torch.float64) - 1 for width in sizes[1:-1]
    ]
    return weights, biases


def _affine(a: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return a @ weight + bias.unsqueeze(-2)
