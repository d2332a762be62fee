"""Layered potentials: every closed-form recurrence against automatic differentiation."""

import pytest
import torch

from idnn.activations import ACTIVATIONS
from idnn.layers import Layers, Mean, random_layers

WIDTHS = [(5,), (4, 6), (6, 5, 4)]
INPUTS = 3


def layers(activation, widths, members):
    """`members` networks side by side; without a member axis if None."""
    drawn = [random_layers([INPUTS, *widths, 1], seed) for seed in range(members or 1)]
    parts = [[torch.stack(p) for p in zip(*each, strict=True)] for each in zip(*drawn, strict=True)]
    if members is None:
        parts = [[p[0] for p in each] for each in parts]
    for p in (*parts[0], *parts[1]):
        p.requires_grad_()
    return Layers(*parts, ACTIVATIONS[activation])


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(found, expected):
    """Equal to rounding: numbers of order one, some hundred operations."""
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def per_row(values, by):
    """∂values/∂by for every entry of values, flat: [*values, parameter]."""
    rows = [
        torch.cat(
            [
                torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.flatten()
                for p, g in zip(
                    by,
                    torch.autograd.grad(v, by, retain_graph=True, allow_unused=True),
                    strict=True,
                )
            ]
        )
        for v in values.flatten()
    ]
    return torch.stack(rows).reshape(*values.shape, -1)


def of_members(sensitivity, g):
    """Sensitivities of each member by its own parameters, where autograd differs by all of them."""
    members = g.weights[0].shape[0]
    sizes = [p[0].numel() for p in (*g.weights, *g.biases)]
    own, begin = [], 0
    for size in sizes:
        part = sensitivity[..., begin : begin + members * size]
        part = part.reshape(*sensitivity.shape[:-1], members, size)
        own.append(torch.stack([part[m][..., m, :] for m in range(members)]))
        begin += members * size
    return torch.cat(own, dim=-1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slope_and_curvature_of_an_activation_are_its_derivatives(activation):
    z = torch.linspace(-30, 30, 241, dtype=torch.float64, requires_grad=True)
    value, slope, curvature = ACTIVATIONS[activation](z)
    (first,) = torch.autograd.grad(value.sum(), z, retain_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), z)
    torch.testing.assert_close(slope.detach(), first, rtol=0, atol=1e-15)
    torch.testing.assert_close(curvature.detach(), second, rtol=0, atol=4e-15)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_stays_finite_far_from_zero(activation):
    z = torch.tensor([-1e6, -300.0, 300.0, 1e6], dtype=torch.float64)
    for each in ACTIVATIONS[activation](z):
        assert each.isfinite().all()
    value, slope, curvature = ACTIVATIONS[activation](z[2:])
    offset = torch.log(torch.tensor(2.0)).double() if activation == "logcosh" else 0.0
    torch.testing.assert_close(value + offset, z[2:], rtol=2e-5, atol=0)
    torch.testing.assert_close(slope, torch.ones(2).double(), rtol=0, atol=2e-5)
    assert curvature.abs().max() < 1e-6


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("members", [None, 1, 3])
def test_slope_and_curvature_of_a_potential_are_its_derivatives(activation, widths, members):
    g, u = layers(activation, widths, members), draw(7, INPUTS).requires_grad_()
    (slope,) = torch.autograd.grad(g.potential(u).sum(), u, create_graph=True)
    bent = [torch.autograd.grad(slope[:, i].sum(), u, retain_graph=True)[0] for i in range(INPUTS)]
    found, curvature = g.slope_and_curvature(u)
    same(found, g.slope(u))
    mean = (lambda x: x) if members is None else (lambda x: x.mean(0))
    value, again = Mean(g, u.device).value_and_slope(u)
    same(value, mean(g.potential(u)))
    same(again, mean(g.slope(u)))
    summed = (lambda x: x) if members is None else (lambda x: x.sum(0))
    same(summed(found), slope)
    same(summed(curvature), torch.stack(bent, dim=-2))
    same(curvature, curvature.mT)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("members", [None, 2])
def test_sensitivities_are_the_derivatives_by_weights_and_biases(activation, widths, members):
    g, u, v = layers(activation, widths, members), draw(4, INPUTS), draw(4, 2, INPUTS, seed=2)
    parameters = [*g.weights, *g.biases]
    own = (lambda x: x) if members is None else (lambda x: of_members(x, g))
    value, by_all = g.potential_and_sensitivity(u)
    same(value, g.potential(u))
    same(by_all.flat(), own(per_row(g.potential(u), parameters)))
    along, by_all = g.directional_and_sensitivity(u, v)
    expected = torch.einsum("ndk,...nk->...nd", v, g.slope(u))
    same(along, expected)
    same(by_all.flat(), own(per_row(expected, parameters)))


@pytest.mark.parametrize("widths", WIDTHS)
def test_members_side_by_side_are_the_members_alone(widths):
    g, u = layers("gelu", widths, 3), draw(6, INPUTS)
    for m in range(3):
        alone = Layers([w[m] for w in g.weights], [b[m] for b in g.biases], g.activation)
        same(g.potential(u)[m], alone.potential(u))
        same(g.slope_and_curvature(u)[1][m], alone.slope_and_curvature(u)[1])
        both = (x.potential_and_sensitivity(u)[1].flat() for x in (g, alone))
        same(next(both)[m], next(both))


def test_random_layers_have_unit_gain_and_repeat():
    weights, biases = random_layers([400, 300, 1], seed=5)
    # 120,000 numbers: the standard deviation is known to 0.2 %.
    assert float(weights[0].std()) == pytest.approx(400**-0.5, rel=0.01)
    assert float(weights[1].std()) == pytest.approx(300**-0.5, rel=0.2)
    assert biases[0].abs().max() <= 1
    assert len(biases) == 1
    assert torch.equal(random_layers([400, 300, 1], seed=5)[0][0], weights[0])
    assert not torch.equal(random_layers([400, 300, 1], seed=6)[0][0], weights[0])
