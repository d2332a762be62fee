"""The integrable network: a potential whose gradient is exact, with the crystal's symmetry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.free_energy import IdealMixing
from idnn.order_parameters import System
from idnn.units import BOLTZMANN_EV

ROWS_PER_CHUNK = 8192
"""Points evaluated at once without a graph: the hidden layers of a chunk then stay in cache."""


def _softplus(z: Tensor) -> tuple[Tensor, Tensor]:
    # Torch's default replaces softplus by z from z = 20 on, where they still differ by 2e-9.
    return nn.functional.softplus(z, threshold=40), z.sigmoid()


def _squareplus(z: Tensor) -> tuple[Tensor, Tensor]:
    root = (z * z + 4).sqrt()
    value = 0.5 * (z + root)
    return value, value / root


ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "softplus": _softplus,
    "squareplus": _squareplus,
}
"""Each gives its value and its slope, the activation of the gradient. Softplus ↔ sigmoid (Teichert
et al. 2019, doi:10.1016/j.cma.2019.05.019); squareplus ½(z + √(z²+4)) (Barron 2021,
arXiv:2112.11687) has the same limits and needs only a square root."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Shape of a network; written beside its weights.

    Attributes:
        widths: units in each hidden layer.
        activation: a key of `ACTIVATIONS`.
        floor: site fraction below which the ideal reference is continued quadratically.
    """

    widths: tuple[int, ...] = (24, 24)
    activation: str = "squareplus"
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not self.widths or any(w < 1 for w in self.widths):
            raise ValueError(f"`widths` must be positive integers; they are {self.widths}.")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {sorted(ACTIVATIONS)}; it is {self.activation!r}."
            )


class IntegrableNetwork(nn.Module):
    """f(η) = F(η) − F(0), F = f_ideal(η) + k_BT g(h(η)), in eV/site; h are the invariants.

    With layers aₗ = s(zₗ), zₗ = aₗ₋₁Wₗ + bₗ the gradient runs back through the same weights,
    ∂g/∂aₗ₋₁ = (∂g/∂aₗ ∘ s′(zₗ)) Wₗᵀ, in closed form (Teichert et al. 2020,
    doi:10.1016/j.cma.2020.113281; the ideal-mixing reference is an addition). `gradient` is the
    exact derivative of the potential: fitting ∂f/∂η integrates it.

    Every weight has a leading member axis. As a `FreeEnergy` the network is the mean of its
    members; their spread is the committee's uncertainty.
    """

    def __init__(
        self,
        system: System,
        temperature: float,
        settings: NetworkSettings,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__()
        self.system = system
        self.temperature = temperature
        self.settings = settings
        self.reference = IdealMixing(system.q, temperature, settings.floor)
        sizes = [system.invariants.count, *settings.widths, 1]
        members = [_random_layers(sizes, seed) for seed in seeds]
        self.weights = nn.ParameterList(
            [torch.stack(layer) for layer in zip(*(m[0] for m in members), strict=True)]
        )
        self.biases = nn.ParameterList(
            [torch.stack(layer) for layer in zip(*(m[1] for m in members), strict=True)]
        )

    @property
    def members(self) -> int:
        """Size of the committee."""
        return self.weights[0].shape[0]

    def forward(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """f(η), mean of the members."""
        return self.values(eta).mean(0)

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """μ = ∂f/∂η, mean of the members. Without a graph it works in chunks that fit the cache."""
        if torch.is_grad_enabled():
            return self.gradients(eta).mean(0)
        rows = eta.reshape(-1, eta.shape[-1])
        chunks = [self.gradients(part).mean(0) for part in rows.split(ROWS_PER_CHUNK)]
        return torch.cat(chunks).reshape(eta.shape)

    def values(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch"]:
        """f(η) of each member, zero at η = 0."""
        rows = eta.reshape(-1, eta.shape[-1])
        both = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        f = self.reference(both) + self._kt * self._potential(self.system.invariants(both))
        return (f[:, :-1] - f[:, -1:]).reshape(self.members, *eta.shape[:-1])

    def gradients(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch d"]:
        """∂f/∂η of each member."""
        keep_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            x = eta if eta.requires_grad else eta.detach().requires_grad_()
            h = self.system.invariants(x.reshape(-1, x.shape[-1]))
            slope = self._slope(h if keep_graph else h.detach())
            pulled = [
                torch.autograd.grad(h, x, s, create_graph=keep_graph, retain_graph=True)[0]
                for s in slope
            ]
        excess = torch.stack(pulled) if keep_graph else torch.stack(pulled).detach()
        return self.reference.gradient(eta) + self._kt * excess

    def excess_gradients(
        self,
        h: Float[Tensor, "sample invariant"],
        jacobian: Float[Tensor, "sample invariant d"],
    ) -> Float[Tensor, "member sample d"]:
        """The network's share of ∂f/∂η from invariants and ∂h/∂η computed once; for training."""
        return self._kt * torch.einsum("mnk,nkd->mnd", self._slope(h), jacobian)

    def member(self, index: int) -> IntegrableNetwork:
        """One member, as a network of its own."""
        return self.gather([self], [index])

    @staticmethod
    def gather(networks: Sequence[IntegrableNetwork], index: Sequence[int]) -> IntegrableNetwork:
        """The chosen members of several equal networks, in one committee."""
        first = networks[0]
        whole = IntegrableNetwork(first.system, first.temperature, first.settings, seeds=index)
        for mine, theirs in zip(
            whole.parameters(), zip(*(n.parameters() for n in networks), strict=True), strict=True
        ):
            mine.data = torch.cat([p.data for p in theirs])[list(index)].clone()
        return whole

    def with_floor(self, floor: float) -> IntegrableNetwork:
        """The same learned part, with ideal mixing continued quadratically below another fraction.

        Raises:
            ValueError: the floor is below that of training, where the learned part makes up for
                the continuation.
        """
        if not floor >= self.settings.floor:
            raise ValueError(
                f"`floor` must not be below that of training, {self.settings.floor:g}; it is "
                f"{floor:g}."
            )
        other = self.gather([self], range(self.members))
        other.settings = replace(self.settings, floor=floor)
        other.reference = IdealMixing(self.system.q, self.temperature, floor)
        return other.requires_grad_(self.weights[0].requires_grad)

    @property
    def _kt(self) -> float:
        return BOLTZMANN_EV * self.temperature

    def _hidden(self, h: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last hidden layer, and the slope of each activation, [member, sample, unit]."""
        activation = ACTIVATIONS[self.settings.activation]
        slopes = []
        a = h.expand(self.members, *h.shape)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            a, slope = activation(torch.baddbmm(bias.unsqueeze(-2), a, weight))
            slopes.append(slope)
        return a, slopes

    def _potential(self, h: Tensor) -> Tensor:
        a, _ = self._hidden(h)
        return torch.baddbmm(self.biases[-1].unsqueeze(-2), a, self.weights[-1]).squeeze(-1)

    def _slope(self, h: Tensor) -> Tensor:
        """∂g/∂h, [member, sample, invariant]."""
        _, slopes = self._hidden(h)
        back = self.weights[-1].mT
        for slope, weight in zip(reversed(slopes), reversed(self.weights[:-1]), strict=True):
            back = (slope * back) @ weight.mT
        return back


def _random_layers(sizes: Sequence[int], seed: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    weights, biases = [], []
    for fan_in, fan_out in pairwise(sizes):
        weights.append(
            torch.randn(fan_in, fan_out, generator=generator, dtype=torch.float64) / fan_in**0.5
        )
        biases.append(2 * torch.rand(fan_out, generator=generator, dtype=torch.float64) - 1)
    return weights, biases
