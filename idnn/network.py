"""The integrable network: a potential whose gradient is exact, with the crystal's symmetry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.activations import ACTIVATIONS
from idnn.free_energy import IdealMixing
from idnn.layers import Layers, Mean, random_layers
from idnn.order_parameters import System
from idnn.units import BOLTZMANN_EV

if TYPE_CHECKING:
    from idnn.compiled import CompiledNetwork

ROWS_AT_ONCE, ROWS_AT_ONCE_ELSEWHERE = 1 << 13, 1 << 21
"""Evaluated without a graph: so few on a CPU that they stay in its cache, and many on a GPU."""

ROWS_TO_COMPILE = 1 << 12
"""Rows from which on the tables of a compiled pass pay."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Shape of a network; written beside its weights.

    Attributes:
        widths: units in each hidden layer.
        activation: a key of `ACTIVATIONS`.
        floor: site fraction below which the ideal reference is continued quadratically.
    """

    widths: tuple[int, ...] = (16, 16)
    activation: str = "gelu"
    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not self.widths or any(w < 1 for w in self.widths):
            raise ValueError(f"`widths` must be positive integers; they are {self.widths}.")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {sorted(ACTIVATIONS)}; it is {self.activation!r}."
            )


class LayeredCommittee(nn.Module):
    """Layered potentials of several members; abstract. Every weight has a leading member axis."""

    def __init__(self, inputs: int, settings: NetworkSettings, seeds: Sequence[int]) -> None:
        super().__init__()
        self.settings = settings
        members = [random_layers([inputs, *settings.widths, 1], seed) for seed in seeds]
        weights, biases = (zip(*each, strict=True) for each in zip(*members, strict=True))
        self.weights = nn.ParameterList([torch.stack(layer) for layer in weights])
        self.biases = nn.ParameterList([torch.stack(layer) for layer in biases])

    @property
    def members(self) -> int:
        """Size of the committee."""
        return self.weights[0].shape[0]

    @property
    def layers(self) -> Layers:
        """The potential g."""
        activation = ACTIVATIONS[self.settings.activation]
        return Layers(list(self.weights), list(self.biases), activation)


class IntegrableNetwork(LayeredCommittee):
    """f(η) = F(η) − F(0), F = f_ideal(η) + k_BT g(h(η)), in eV/site; h are the invariants.

    g is a layered potential with closed-form gradient and Hessian (`idnn.layers`); the
    ideal-mixing reference is an addition to Teichert et al. (2020, doi:10.1016/j.cma.2020.113281).
    `gradient` is the exact derivative of the potential: fitting ∂f/∂η integrates it.

    As a `FreeEnergy` the network is the mean of its
    members; their spread is the committee's uncertainty.
    """

    def __init__(
        self,
        system: System,
        temperature: float,
        settings: NetworkSettings,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(system.invariants.count, settings, seeds)
        self.system = system
        self.temperature = temperature
        self.reference = IdealMixing(system.q, temperature, settings.floor)

    def forward(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """f(η), mean of the members."""
        return self.values(eta).mean(0)

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """μ = ∂f/∂η, mean of the members. Without a graph it is that of `evaluate`."""
        if torch.is_grad_enabled():
            rows, invariants = eta.reshape(-1, eta.shape[-1]), self.system.invariants
            slope = self.layers.slope(invariants(rows)).mean(0)
            excess = self._kt * invariants.pulled(slope, rows)
            return self.reference.gradient(eta) + excess.reshape(eta.shape)
        return self.evaluate(eta)[1]

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        """∂²f/∂η², mean of the members."""
        rows = eta.reshape(-1, eta.shape[-1])
        slope, curvature = self.layers.slope_and_curvature(self.system.invariants(rows))
        excess = self._bent(rows, slope.mean(0), curvature.mean(0))
        shape = (*eta.shape, eta.shape[-1])
        return self.reference.hessian(eta) + self._kt * excess.reshape(shape)

    def evaluate(
        self, eta: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d"]]:
        """f and ∂f/∂η, mean of the members, no graph kept: what a phase field asks for.

        The layers are passed once for both. Besides the results, numbers of a part of the rows are
        all that is held; where the pass is compiled, a copy of η as well.
        """
        rows = eta.reshape(-1, eta.shape[-1])
        if eta.is_cpu and len(rows) >= ROWS_TO_COMPILE and self._compiles:
            f, mu = self._evaluate_compiled(rows)
            return f.reshape(eta.shape[:-1]), mu.reshape(eta.shape)
        f, mu = rows.new_empty(len(rows)), torch.empty_like(rows)
        invariants = self.system.invariants
        with torch.no_grad():
            mean = Mean(self.layers, eta.device)
            pure = self._absolute(rows.new_zeros(1, rows.shape[1])).mean(0)
            size = ROWS_AT_ONCE if eta.is_cpu else ROWS_AT_ONCE_ELSEWHERE
            for begin in range(0, len(rows), size):
                into = slice(begin, begin + size)
                part = rows[into].T.contiguous().T  # each order parameter in one piece
                value, slope = mean.value_and_slope(invariants(part))
                mixing, mixing_slope = self.reference.evaluate(part)
                f[into] = mixing.sub_(pure).add_(value, alpha=self._kt)
                mu[into] = mixing_slope.add_(invariants.pulled(slope, part), alpha=self._kt)
        return f.reshape(eta.shape[:-1]), mu.reshape(eta.shape)

    @property
    def kernel(self) -> Callable[..., tuple[float, float]] | None:
        """Compiled pass of the present weights over cells `start` to `stop` of u [field, cell].

        It puts ∂f/∂uᵢ − sᵢuᵢ in the place of uᵢ and returns Σf and Σ|f|. None without numba, and
        of a network without a floor.
        """
        return self._compiled().sweep if self._compiles else None

    @property
    def _compiles(self) -> bool:
        return _can_compile() and self.settings.floor > 0

    def _compiled(self) -> CompiledNetwork:
        from idnn.compiled import compiled_network

        return compiled_network(self)

    def _evaluate_compiled(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        columns = rows.T.contiguous().numpy()
        f, mu = self._compiled().evaluate(columns, torch.get_num_threads())
        return torch.from_numpy(f).to(rows.dtype), torch.from_numpy(mu).to(rows.dtype).T

    def values(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch"]:
        """f(η) of each member, zero at η = 0."""
        rows = eta.reshape(-1, eta.shape[-1])
        both = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        f = self._absolute(both)
        return (f[:, :-1] - f[:, -1:]).reshape(self.members, *eta.shape[:-1])

    def gradients(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch d"]:
        """∂f/∂η of each member."""
        rows = eta.reshape(-1, eta.shape[-1])
        invariants = self.system.invariants
        excess = invariants.pulled(self.layers.slope(invariants(rows)), rows)
        return self.reference.gradient(eta) + self._kt * excess.reshape(self.members, *eta.shape)

    def hessians(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "member *batch d d"]:
        """∂²f/∂η² of each member."""
        rows = eta.reshape(-1, eta.shape[-1])
        excess = self._bent(rows, *self.layers.slope_and_curvature(self.system.invariants(rows)))
        shape = (self.members, *eta.shape, eta.shape[-1])
        return self.reference.hessian(eta) + self._kt * excess.reshape(shape)

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

    @property
    def floor(self) -> float:
        """Site fraction below which the ideal reference is continued."""
        return self.settings.floor

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

    def _absolute(self, rows: Float[Tensor, "sample d"]) -> Float[Tensor, "member sample"]:
        """F(η) of each member."""
        return self.reference(rows) + self._kt * self.layers.potential(self.system.invariants(rows))

    def _bent(
        self, rows: Tensor, slope: Tensor, curvature: Tensor
    ) -> Float[Tensor, "*member sample d d"]:
        """∂²g/∂η² from ∂g/∂h and ∂²g/∂h²."""
        invariants = self.system.invariants
        jacobian = invariants.jacobian(rows)
        turned = torch.einsum("...nk,nkij->...nij", slope, invariants.second(rows))
        return jacobian.mT @ curvature @ jacobian + turned

    @property
    def _kt(self) -> float:
        return BOLTZMANN_EV * self.temperature


@cache
def _can_compile() -> bool:
    """Not where torch and numpy are alone, as on some GPU node."""
    return find_spec("numba") is not None
