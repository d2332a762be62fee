"""The published recipe for integrable networks, in torch, to be timed beside ours.

Teichert, Natarajan, Van der Ven & Garikipati (2020, doi:10.1016/j.cma.2020.113281) with the
settings that their code ships: four invariants → 84 → 84 → 1, softplus, no reference term, dropout
0.06, loss 0.01 F(0)² + ⟨|∇F − μ|²⟩, Adagrad, 600 epochs of batches of 100, all points equal.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.data import Derivatives
from idnn.order_parameters import FCC_L12
from idnn.train import FirstOrder, fit

WIDTH, DROPOUT, EPOCHS, BATCH, PURE = 84, 0.06, 600, 100, 0.01

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Learning rates to choose from: published code shows several, none for these data."""


@dataclass(frozen=True)
class Points:
    """What the recipe learns from; the invariants are worked out once, which favours it.

    Attributes:
        h: invariants.
        jacobian: ∂h/∂η.
        mu: ∂F/∂η, eV/site.
    """

    h: Float[Tensor, "sample invariant"]
    jacobian: Float[Tensor, "sample invariant d"]
    mu: Float[Tensor, "sample d"]

    @classmethod
    def of(cls, data: Derivatives) -> "Points":
        """In float32, as published."""
        h, jacobian = FCC_L12.invariants(data.eta), FCC_L12.invariants.jacobian(data.eta)
        return cls(h.float(), jacobian.float(), data.mu.float())

    def __len__(self) -> int:
        return len(self.mu)

    def __getitem__(self, rows: Tensor) -> "Points":
        return Points(self.h[rows], self.jacobian[rows], self.mu[rows])


def fresh_network(seed: int) -> nn.Sequential:
    """4-84-84-1 with the initial weights of Glorot & Bengio (2010), as Keras has them."""
    count = FCC_L12.invariants.count
    hidden = [nn.Linear(count, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)]
    generator = torch.Generator().manual_seed(seed)
    for layer in hidden:
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    first, second, last = hidden
    softplus, dropout = nn.Softplus(), nn.Dropout(DROPOUT)
    return nn.Sequential(first, softplus, dropout, second, softplus, dropout, last)


def slope(network: nn.Module, points: Points) -> Float[Tensor, "sample d"]:
    """∇F by autograd."""
    h = points.h.detach().requires_grad_()
    (found,) = torch.autograd.grad(network(h).sum(), h, create_graph=True)
    return torch.einsum("nk,nkd->nd", found, points.jacobian)


def loss(network: nn.Module, points: Points) -> Tensor:
    """0.01 F(0)² + ⟨(∇F − μ)²⟩."""
    pure = FCC_L12.invariants(torch.zeros(1, FCC_L12.dimension)).to(points.h)
    misfit = (slope(network, points) - points.mu).square().mean()
    return PURE * network(pure).square().sum() + misfit


def train(data: Derivatives, rate: float, seed: int) -> nn.Module:
    """The recipe with a learning rate; evaluated without dropout."""
    network, points = fresh_network(seed), Points.of(data)
    make = partial(torch.optim.Adagrad, lr=rate)
    fit(network, loss, points, FirstOrder(make=make, epochs=EPOCHS, rows=BATCH, seed=seed))
    return network.eval()


def rmse(network: nn.Module, data: Derivatives) -> float:
    """Of ∂F/∂η, eV/site."""
    points = Points.of(data)
    return float((slope(network, points).detach() - points.mu).square().mean().sqrt())
