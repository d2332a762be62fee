"""`idnn.ode.learned`: what holds by construction, gradients, training, bad input."""

import math

import pytest
import torch
from torch import nn

from idnn.ode import Control, solve
from idnn.ode.learned import FluxNetwork, Perceptron, ProductionLoss, ScaledNetwork
from idnn.train import LBFGS, fit

D = torch.float64
SCALE = torch.tensor([1.0, 1e-4, 0.5], dtype=D)
SPEED = torch.tensor([0.04, 0.02, 0.01], dtype=D)


def fluxes(seed=0, by=3.0):
    """Large weights: what holds by construction holds for any."""
    network = Perceptron((3, 5, 6), seed=seed, linear=True)
    with torch.no_grad():
        for weight in network.parameters():
            noise = torch.randn(
                weight.shape, dtype=D, generator=torch.Generator().manual_seed(seed)
            )
            weight.copy_(by * noise)
    return FluxNetwork(network, SCALE, SPEED)


def production(seed=0):
    return ProductionLoss(Perceptron((3, 5, 6), seed=seed, linear=True), SCALE, SPEED)


def states(samples=64):
    u = torch.rand(samples, 3, dtype=D, generator=torch.Generator().manual_seed(1)) * SCALE
    return u * (torch.arange(samples)[:, None] % 4 != torch.arange(3))  # some are zero


@pytest.mark.parametrize("seed", range(3))
def test_fluxes_conserve_the_sum_whatever_the_weights(seed):
    gain, loss = fluxes(seed).gain_and_loss(states())
    gross = gain.sum(-1)
    assert (gross > 0).all()
    assert ((gain - loss).sum(-1).abs() <= 1e-14 * gross).all()


def test_fluxes_conserve_the_sum_of_a_solution():
    with torch.no_grad():
        u = solve(fluxes(by=0.5), SCALE, torch.linspace(0, 1e3, 20, dtype=D)).y
    assert (u[-1] - u[0]).abs().max() > 0.01
    torch.testing.assert_close(u.sum(-1), u[0].sum().expand(20), rtol=1e-11, atol=0)


@pytest.mark.parametrize("make", [fluxes, production])
def test_a_species_that_is_used_up_is_only_made(make):
    u = states()
    with torch.no_grad():
        _, loss = make().gain_and_loss(u)
        slope = make()(None, u)
    assert (u == 0).any()
    assert (loss[u == 0] == 0).all()
    assert (slope[u == 0] >= 0).all()
    assert (loss[u > 0] > 0).all()


def test_fluxes_are_those_of_the_formula():
    f, u = fluxes(by=0.3), states(5)
    with torch.no_grad():
        rates = f.network((u / SCALE + 1e-3).log()).exp()
        expected, pairs = torch.zeros_like(u), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
        for number, (i, j) in enumerate(pairs):
            flux = u[:, i] / SCALE[i] * SPEED[[i, j]].min() * rates[:, number]
            expected[:, i] -= flux
            expected[:, j] += flux
        torch.testing.assert_close(f(None, u), expected)


def test_production_and_loss_are_those_of_the_formula():
    f, u = production(), states(5)
    with torch.no_grad():
        made, lost = f.network((u / SCALE + 1e-3).log()).exp().chunk(2, -1)
        torch.testing.assert_close(f(None, u), SPEED * (made - u / SCALE * lost))


def test_equation_scaling_multiplies_each_slope_by_its_speed():
    network = Perceptron((3, 4, 3), seed=0)
    u = states(5)
    slope = ScaledNetwork(network, SPEED)(None, u)
    torch.testing.assert_close(slope / SPEED, network(u))


def test_the_affine_map_of_logarithms_is_a_power_law():
    network = Perceptron((2, 3, 1), seed=0, linear=True)
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.linear.copy_(torch.tensor([[2.0, -1.0]], dtype=D))
    x, y = 0.3, 0.7
    found = network(torch.tensor([math.log(x), math.log(y)], dtype=D)).exp()
    assert float(found.detach()) == pytest.approx(x**2 / y, rel=1e-13)


@pytest.mark.parametrize("make", [lambda: fluxes(by=0.3), production])
def test_gradients_through_the_solver_agree_with_finite_differences(make):
    f, times = make(), torch.tensor([0.0, 1.0, 5.0], dtype=D)
    control = Control(rtol=1e-9, atol=1e-13)

    def value():
        return (solve(f, SCALE, times, control=control).y / SCALE).square().sum()

    value().backward()
    generator = torch.Generator().manual_seed(2)
    along = [torch.randn(p.shape, dtype=D, generator=generator) for p in f.parameters()]
    slope = sum(float((p.grad * v).sum()) for p, v in zip(f.parameters(), along, strict=True))
    ends = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            for p, v in zip(f.parameters(), along, strict=True):
                p += step * v
            ends.append(float(value()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-5)


def test_a_linear_decay_is_learned_through_the_solver():
    """du₀/dt = −u₀ to u₁; an unseen start follows, and the sum stays."""
    times = torch.linspace(0, 3, 7, dtype=D)
    start = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=D)
    exact = torch.stack([start[:, :1] * (-times).exp(), 1 - start[:, :1] * (-times).exp()], -1)
    one = torch.ones(2, dtype=D)
    f = FluxNetwork(Perceptron((2, 3, 2), seed=0), one, one)

    control = Control(rtol=1e-3, atol=1e-5)

    def loss(model, data):
        return (solve(model, start[0], times, control=control).y - data).square().mean()

    found = fit(f, loss, exact[0], LBFGS(iterations=20))
    assert found.losses[-1] < 1e-4
    with torch.no_grad():
        y = solve(f, start[1], times, control=control).y
    torch.testing.assert_close(y, exact[1], rtol=0, atol=0.1)
    torch.testing.assert_close(y.sum(-1), torch.ones(7, dtype=D), rtol=1e-12, atol=0)


BAD = {
    "`sizes` must hold two or more": lambda: Perceptron((3,), seed=0),
    "each at least 1; they are": lambda: Perceptron((3, 0, 3), seed=0),
    "`speed` must be finite and positive": lambda: ScaledNetwork(
        Perceptron((3, 3), seed=0), 0 * SPEED
    ),
    r"`network\(u\)` must have shape \(3,\); it has \(4,\)": lambda: ScaledNetwork(
        Perceptron((3, 4), seed=0), SPEED
    ),
    "`scale` must be finite and positive": lambda: FluxNetwork(
        Perceptron((3, 6), seed=0), SCALE * math.nan, SPEED
    ),
    r"`network\(u\)` must have shape \(6,\); it has \(3,\)": lambda: FluxNetwork(
        Perceptron((3, 3), seed=0), SCALE, SPEED
    ),
    "`floor` must be finite and positive; it is 0": lambda: ProductionLoss(
        Perceptron((3, 6), seed=0), SCALE, SPEED, floor=0.0
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


def test_the_activation_is_the_one_given():
    x = torch.tensor([-1.0, 2.0], dtype=D)
    network = Perceptron((2, 2, 2), nn.ReLU, seed=0)
    hidden = (x @ network.layers[0].weight.mT).clamp_min(0)
    torch.testing.assert_close(network(x), hidden @ network.layers[2].weight.mT)
