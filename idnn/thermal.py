"""One free energy over a range of temperatures: f(η, T), whose β-derivative is the energy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range, require_positive
from idnn.network import IntegrableNetwork, LayeredCommittee, NetworkSettings
from idnn.order_parameters import System
from idnn.units import BOLTZMANN_EV


class ThermalNetwork(LayeredCommittee):
    """βf(η, β) = βf_ideal(η) + g(h(η), τ(β)), less its value at η = 0.

    τ is the inverse temperature, scaled to [−1, 1] over the range of T. The ideal share of βf does
    not depend on β, so ⟨E⟩ = ∂(βf)/∂β = (∂g/∂τ) dτ/dβ: energies and chemical potentials train one
    potential. τ enters the first layer linearly: at a given temperature the network is an
    `IntegrableNetwork` with other biases, and everything that takes one takes `at(T)`.

    Args:
        system: the ordering crystal.
        temperatures: K, the least and the greatest.
        settings: shape of each member.
        seeds: of the initial weights, one per member.

    Raises:
        ValueError: temperatures that are not positive or do not rise.
    """

    def __init__(
        self,
        system: System,
        temperatures: tuple[float, float],
        settings: NetworkSettings,
        seeds: Sequence[int] = (0,),
    ) -> None:
        super().__init__(system.invariants.count + 1, settings, seeds)
        low, high = temperatures
        require_positive("temperatures", torch.tensor(temperatures))
        if not low < high:
            raise ValueError(f"`temperatures` must rise; they are {low:g} and {high:g} K.")
        self.system = system
        self.temperatures = (low, high)

    @property
    def tau_slope(self) -> float:
        """dτ/dβ, eV."""
        low, high = (1 / (BOLTZMANN_EV * t) for t in self.temperatures)
        return 2 / (low - high)

    def tau(self, temperature: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """τ: 1 at the lowest temperature, −1 at the highest.

        Raises:
            ValueError: a temperature outside the range.
        """
        require_in_range("temperature", temperature, *self.temperatures)
        low, high = (1 / (BOLTZMANN_EV * t) for t in self.temperatures)
        return (1 / (BOLTZMANN_EV * temperature) - (low + high) / 2) * self.tau_slope

    def at(self, temperature: float) -> IntegrableNetwork:
        """The free energy at one temperature (K), a copy.

        Raises:
            ValueError: it lies outside the range.
        """
        tau = self.tau(torch.tensor(temperature, dtype=torch.float64)).to(self.weights[0])
        network = IntegrableNetwork(
            self.system, temperature, self.settings, seeds=range(self.members)
        ).to(tau)
        first, *others = [w.detach().clone() for w in self.weights]
        bias, *biases = [b.detach().clone() for b in self.biases]
        values = [first[:, :-1], *others], [bias + tau * first[:, -1], *biases]
        with torch.no_grad():
            for mine, theirs in zip((network.weights, network.biases), values, strict=True):
                for parameter, value in zip(mine, theirs, strict=True):
                    parameter.copy_(value)
        return network.requires_grad_(False)

    def energies(
        self, eta: Float[Tensor, "*batch d"], temperature: float
    ) -> Float[Tensor, "member *batch"]:
        """⟨E⟩ = ∂(βf)/∂β of each member (eV/site), zero at η = 0."""
        rows = eta.reshape(-1, eta.shape[-1])
        both = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        kelvin = torch.full((len(both),), temperature, dtype=eta.dtype, device=eta.device)
        slope = self.layers.slope(self.inputs(both, kelvin))[..., -1] * self.tau_slope
        return (slope[:, :-1] - slope[:, -1:]).reshape(self.members, *eta.shape[:-1])

    def energy(self, eta: Float[Tensor, "*batch d"], temperature: float) -> Float[Tensor, "*batch"]:
        """⟨E⟩ (eV/site), mean of the members."""
        return self.energies(eta, temperature).mean(0)

    def inputs(
        self, eta: Float[Tensor, "sample d"], temperature: Float[Tensor, " sample"]
    ) -> Float[Tensor, "sample input"]:
        """What the potential takes: the invariants and τ."""
        return torch.cat([self.system.invariants(eta), self.tau(temperature)[:, None]], dim=1)
