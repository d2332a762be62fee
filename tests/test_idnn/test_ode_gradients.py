"""Gradients of `idnn.ode.solve`: discrete, forward and by backsolve."""

import math

import pytest
import torch
from odes import D, decay, every_method, falling, numbers, robertson_of
from torch import nn

from idnn.ode import (
    KVAERNO5,
    RODAS5P,
    TSIT5,
    Control,
    Event,
    solve,
    solve_with_sensitivities,
)
from idnn.ode.problems import pollu, robertson


@every_method
def test_gradients_are_those_of_the_closed_form(method):
    """y = y₀e^(−pt), and a fall: t = √(2h/g)."""
    y0, p = numbers(1.5).requires_grad_(), numbers(0.7).requires_grad_()
    control = Control(rtol=1e-9, atol=1e-12)
    y = solve(decay, y0, numbers(0, 0.4, 2), p, method=method, control=control).y
    by_y0, by_p = torch.autograd.grad(y.sum(), (y0, p))
    t = numbers(0, 0.4, 2)
    assert float(by_y0) == pytest.approx(float(torch.exp(-0.7 * t).sum()), rel=1e-6)
    assert float(by_p) == pytest.approx(float((-t * 1.5 * torch.exp(-0.7 * t)).sum()), rel=1e-6)
    g = numbers(9.81).requires_grad_()
    ground = Event(lambda t, y, p: y[..., 0])
    start = numbers(2, 0).requires_grad_()
    found = solve(falling, start, numbers(0, 5), g, method=method, events=[ground])
    by_h, by_g = torch.autograd.grad(found.event_t, (start, g), retain_graph=True)
    assert float(by_h[0]) == pytest.approx(1 / math.sqrt(2 * 2 * 9.81), rel=1e-8)
    assert float(by_g) == pytest.approx(-0.5 * math.sqrt(4 / 9.81**3), rel=1e-8)
    assert float(torch.autograd.grad(found.event_y[0], g)[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", [RODAS5P, KVAERNO5], ids=["rodas5p", "kvaerno5"])
def test_relative_sensitivities_of_robertson_are_those_of_another_code(method):
    """∂(Σy/y_ref)/∂ln k at 10⁵, by diffrax 0.7.2 (Kvaerno5, reverse mode)."""
    k = robertson().parameters.clone().requires_grad_()
    y = robertson_of(k, numbers(0, 1e5), method=method).y[-1]
    (y / robertson().references[1e5]).sum().backward()
    expected = numbers(-2.5509, -1.7738, 2.5477)
    torch.testing.assert_close(k.grad * k.detach(), expected, rtol=0, atol=1e-4)


def test_sensitivities_of_pollu_are_those_of_another_code():
    problem = pollu()
    k = problem.parameters.clone().requires_grad_()
    control = Control(rtol=1e-6, atol=1e-12)
    y = solve(problem.f, problem.y0, numbers(0, 60), k, jacobian=problem.jacobian, control=control)
    (y.y[-1] / problem.references[60.0]).sum().backward()
    expected = numbers(4.50318, -3.50702, -0.99986)
    torch.testing.assert_close((k.grad * k.detach())[:3], expected, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's, in make_dual
@every_method
def test_forward_and_reverse_derivatives_are_the_same_to_rounding(method):
    """Of states within steps, at events, for parameters of each sample, with f of time."""

    def f(t, y, p):
        x, v = y.unbind(-1)
        return torch.stack([v, torch.cos(p[..., 0] * t) - torch.sin(x) - p[..., 1] * v], -1)

    p = numbers([2.0, 0.3], [1.5, 0.1]).requires_grad_()
    events = [Event(lambda t, y, p: y[..., 0] + 0.1 * p[..., 0])]
    options = {"method": method, "events": events, "control": Control(rtol=1e-5, atol=1e-8)}
    y0, times = numbers(0.3, 0.2), numbers(0, 0.31, 0.77, 9)
    found = solve(f, y0, times, p, **options)
    _, forward = solve_with_sensitivities(f, y0, times, p, **options)
    for i in range(2):
        for value, derivative in (
            (found.y[i, 1, 0], forward.y[i, 1, 0]),
            (found.y[i, 2, 1], forward.y[i, 2, 1]),
            (found.event_t[i], forward.event_t[i]),
            (found.event_y[i, 1], forward.event_y[i, 1]),
        ):
            reverse = torch.autograd.grad(value, p, retain_graph=True)[0]
            torch.testing.assert_close(reverse[i], derivative, rtol=1e-8, atol=1e-12)
            assert not reverse[1 - i].any()


def test_gradients_are_those_of_the_steps_that_were_taken():
    """Against differences of runs whose steps are the same: Rosenbrock's to eight digits."""
    control = Control(rtol=1e-2, atol=1e-3, first_step=0.1, integral=1e-9, proportional=0.0)
    f = lambda t, y, p: -p * y**2 + torch.sin(t)[..., None]  # noqa: E731

    def run(p):
        return solve(f, numbers(1.0), numbers(0, 0.33, 1), p, control=control).y.sum()

    p, step = numbers(0.7).requires_grad_(), 1e-6
    gradient = torch.autograd.grad(run(p), p)[0]
    difference = (run(p.detach() + step) - run(p.detach() - step)) / (2 * step)
    assert float(gradient) == pytest.approx(float(difference), rel=1e-8)


def test_gradients_reach_whatever_f_uses():
    """Weights of a module, a closure's tensor, and one computed before."""
    net, scale = nn.Linear(2, 2, dtype=D), numbers(-1.0).requires_grad_()
    raw = numbers(0.3).requires_grad_()
    rate = torch.exp(raw)
    f = lambda t, y: scale * torch.tanh(net(y)) - rate * y  # noqa: E731
    used = [*net.parameters(), scale, raw]

    def loss():
        return solve(f, numbers(1, 2), numbers(0, 1.5), control=Control(rtol=1e-8)).y[-1].sum()

    found = torch.autograd.grad(loss(), used)
    with torch.no_grad():
        for tensor, gradient in zip(used, found, strict=True):
            flat = tensor.view(-1)
            before, step = float(flat[0]), 1e-5
            values = []
            for sign in (1, -1):
                flat[0] = before + sign * step
                rate = torch.exp(raw)
                values.append(float(loss()))
            flat[0] = before
            rate = torch.exp(raw)
            difference = (values[0] - values[1]) / (2 * step)
            assert float(gradient.view(-1)[0]) == pytest.approx(difference, rel=1e-5)


def test_weights_changed_before_their_gradient_is_taken_are_noticed():
    weight = numbers(1.0).requires_grad_()
    y = solve(lambda t, y: -weight * y, numbers(1.0), numbers(0, 1)).y
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_gradient_comes_to_a_step_by_any_of_several_times_within_it():
    p = numbers(0.7).requires_grad_()
    times = torch.linspace(0, 1, 40, dtype=D)
    found = solve(decay, numbers(1.0), times, p, control=Control(rtol=1e-8))
    assert int(found.steps) < 20
    for i in range(1, 40):
        gradient = torch.autograd.grad(found.y[i, 0], p, retain_graph=True)[0]
        exact = -times[i] * torch.exp(-0.7 * times[i])
        assert float(gradient) == pytest.approx(float(exact), rel=1e-5)


def predators(t, y, p):
    """Lotka–Volterra with a rate that swings in time."""
    prey, hunters = y.unbind(-1)
    a, b, c, d = p.unbind(-1)
    swing = 1 + 0.1 * torch.sin(t)
    return torch.stack(
        [swing * a * prey - b * prey * hunters, c * prey * hunters - d * hunters], -1
    )


def test_backsolve_and_discrete_gradients_agree_to_the_tolerance():
    times = torch.stack([torch.linspace(0, 3, 4, dtype=D), torch.linspace(1, 5, 4, dtype=D)])
    found = {}
    for kind, rtol in (("discrete", 1e-11), ("backsolve", 1e-11), ("backsolve", 1e-5)):
        y0 = numbers(1.0, 0.5).requires_grad_()
        p = numbers([1.1, 0.4, 0.1, 0.4], [0.9, 0.5, 0.2, 0.3]).requires_grad_()
        control = Control(rtol=rtol, atol=torch.full((2,), rtol, dtype=D))
        y = solve(predators, y0, times, p, method=TSIT5, control=control, gradient=kind).y
        (y * torch.arange(1.0, 9.0, dtype=D).view(4, 2)).sum().backward()
        found[kind, rtol] = torch.cat([y0.grad, p.grad.flatten()])
    exact = found["discrete", 1e-11]
    torch.testing.assert_close(found["backsolve", 1e-11], exact, rtol=1e-8, atol=1e-8)
    loose = ((found["backsolve", 1e-5] - exact) / exact).abs().max()
    assert 1e-8 < loose < 1e-3


def test_backsolve_of_a_decay_has_its_closed_form():
    y0, p = numbers(2.0).requires_grad_(), numbers(0.7).requires_grad_()
    control = Control(rtol=1e-10, atol=1e-12)
    times = numbers(0.0, 1.5)
    found = solve(decay, y0, times, p, method=TSIT5, control=control, gradient="backsolve")
    found.y[-1, 0].backward()
    assert float(y0.grad) == pytest.approx(math.exp(-1.05), rel=1e-8)
    assert float(p.grad) == pytest.approx(-1.5 * 2 * math.exp(-1.05), rel=1e-8)


def test_backsolve_is_refused_where_it_would_fail():
    problem = robertson()
    start, end = problem.y0, numbers(0.0, 1.0)
    with pytest.raises(ValueError, match=r"`gradient` must be 'discrete' with a method for stiff"):
        solve(problem.f, start, end, problem.parameters, gradient="backsolve")
    weights = numbers(1.0).requires_grad_()
    with pytest.raises(ValueError, match="such as weights"):
        solve(lambda t, y: -weights * y, numbers(1.0), end, method=TSIT5, gradient="backsolve")
    event = Event(lambda t, y: y[..., 0] - 0.5)
    with pytest.raises(ValueError, match="with events"):
        solve(
            lambda t, y: -y, numbers(1.0), end, method=TSIT5, events=[event], gradient="backsolve"
        )
