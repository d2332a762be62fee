"""Right-hand sides du/dt = f(t, u) that are learned, with what is known of them built in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.checks import require_positive, require_shape


class Perceptron(nn.Module):
    """Layers with an activation between them, the last one linear; float64.

    With `linear` an affine map of the input is added, zero to begin with: of logarithms it is a
    power law. Weights are uniform in ±√(6/(fan-in + fan-out)), biases zero (Glorot & Bengio 2010).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Callable[[], nn.Module] = nn.Tanh,
        *,
        seed: int,
        linear: bool = False,
    ) -> None:
        """Draw the weights.

        Args:
            sizes: of the input, the hidden layers and the output.
            activation: makes the module between layers.
            seed: of the weights.
            linear: whether the affine map is added.

        Raises:
            ValueError: fewer than two sizes, or one below 1.
        """
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                "`sizes` must hold two or more, of the input first and of the output last, each at "
                f"least 1; they are {tuple(sizes)}."
            )
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layer = nn.Linear(fan_in, fan_out, dtype=torch.float64)
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
            layers += [layer, activation()]
        self.layers = nn.Sequential(*layers[:-1])
        self.linear = None
        if linear:
            self.linear = nn.Parameter(torch.zeros(sizes[-1], sizes[0], dtype=torch.float64))

    def forward(self, x: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch output"]:
        """Of every row."""
        out = self.layers(x)
        return out if self.linear is None else out + x @ self.linear.mT


class ScaledNetwork(nn.Module):
    """du/dt = v NN(u): equation scaling (Kim et al. 2021, doi:10.1063/5.0060697).

    They set v to the size of u over the duration. Nothing keeps u positive, or its sum.
    """

    def __init__(self, network: nn.Module, speed: Float[Tensor, " n"]) -> None:
        """Scale a network.

        Args:
            network: from n numbers to n.
            speed: v, the size of du/dt.

        Raises:
            ValueError: a speed is not finite and positive, or the network is of other numbers.
        """
        super().__init__()
        require_positive("speed", speed)
        _require_outputs(network, speed, len(speed))
        self.network = network
        self.speed = nn.Buffer(speed)

    def forward(self, t: Tensor | None, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """du/dt."""
        del t
        return self.speed * self.network(u)


class Balance(nn.Module, ABC):
    """du/dt = gain − loss, both of rates exp NN(x), x = log(u/s + c)."""

    def __init__(
        self,
        network: nn.Module,
        scale: Float[Tensor, " n"],
        speed: Float[Tensor, " n"],
        floor: float = 1e-3,
    ) -> None:
        """Make a network one of rates.

        Args:
            network: from n logarithms to as many numbers as there are rates.
            scale: s, the size of u.
            speed: v, the size of du/dt.
            floor: c, the share of s below which values of u are no longer told apart.

        Raises:
            ValueError: a scale, a speed or the floor is not finite and positive, or the network
                is of other numbers.
        """
        super().__init__()
        require_positive("scale", scale)
        require_positive("speed", speed)
        require_shape("speed", speed, tuple(scale.shape))
        require_positive("floor", floor)
        _require_outputs(network, scale, self.count(len(scale)))
        self.network, self.floor = network, floor
        self.scale, self.speed = nn.Buffer(scale), nn.Buffer(speed)

    @staticmethod
    @abstractmethod
    def count(n: int) -> int:
        """Of rates, of n species."""

    @abstractmethod
    def gain_and_loss(
        self, u: Float[Tensor, "*batch n"]
    ) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n"]]:
        """Of every species."""

    def rates(self, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch rate"]:
        """exp NN(x); rounding may have put u below zero."""
        return self.network((u.clamp_min(0) / self.scale + self.floor).log()).exp()

    def forward(self, t: Tensor | None, u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        """du/dt."""
        del t
        gain, loss = self.gain_and_loss(u)
        return gain - loss


class FluxNetwork(Balance):
    """duᵢ/dt = Σⱼ(Fⱼᵢ − Fᵢⱼ), Fᵢⱼ = (uᵢ/sᵢ) min(vᵢ, vⱼ) exp NNᵢⱼ(x), x = log(u/s + c).

    Whatever the weights, Σu is conserved and u stays positive: what leaves a species is in
    proportion to it. The network has n(n − 1) outputs, one for each ordered pair of species.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: Float[Tensor, " n"],
        speed: Float[Tensor, " n"],
        floor: float = 1e-3,
    ) -> None:
        """Make a network one of fluxes; see `Balance`."""
        super().__init__(network, scale, speed, floor)
        start, end = (1 - torch.eye(len(scale))).nonzero().T
        self.start, self.end = nn.Buffer(start), nn.Buffer(end)
        self.rate = nn.Buffer(speed[start].minimum(speed[end]) / scale[start])

    @staticmethod
    def count(n: int) -> int:
        """Of ordered pairs."""
        return n * (n - 1)

    def gain_and_loss(
        self, u: Float[Tensor, "*batch n"]
    ) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n"]]:
        """What comes to each species from all others, and what leaves it for them."""
        flux, none = u[..., self.start] * (self.rate * self.rates(u)), torch.zeros_like(u)
        return none.index_add(-1, self.end, flux), none.index_add(-1, self.start, flux)


class ProductionLoss(Balance):
    """duᵢ/dt = vᵢ (exp NNᵢ(x) − (uᵢ/sᵢ) exp NNₙ₊ᵢ(x)), x = log(u/s + c).

    Production and loss of each species; u stays positive, whatever the weights. The network has 2n
    outputs.
    """

    @staticmethod
    def count(n: int) -> int:
        """Of productions and losses."""
        return 2 * n

    def gain_and_loss(
        self, u: Float[Tensor, "*batch n"]
    ) -> tuple[Float[Tensor, "*batch n"], Float[Tensor, "*batch n"]]:
        """Production and loss of each species."""
        gain, loss = self.rates(u).chunk(2, -1)
        return self.speed * gain, self.speed / self.scale * u * loss


def _require_outputs(network: nn.Module, u: Tensor, outputs: int) -> None:
    with torch.no_grad():
        require_shape("network(u)", network(u), (outputs,))
