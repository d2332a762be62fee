"""`idnn.ode.solve`: batches, times, events, gradients, failures."""

import math
import weakref

import pytest
import torch
from torch import nn

from idnn.ode import (
    KVAERNO5,
    RODAS5P,
    ROSENBROCK23,
    TSIT5,
    Control,
    Event,
    NotFinite,
    Status,
    StepTooSmall,
    TooManySteps,
    methods,
    solve,
    solve_with_sensitivities,
)
from idnn.ode.problem import Problem
from idnn.ode.problems import pollu, robertson
from idnn.ode.reactions import MassAction

D = torch.float64
METHODS = {"rodas5p": RODAS5P, "rosenbrock23": ROSENBROCK23, "kvaerno5": KVAERNO5, "tsit5": TSIT5}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def decay(t, y, p):
    return -p * y


def falling(t, y, p):
    """Height and speed; p is gravity."""
    return torch.stack([y[..., 1], -p[..., 0].expand_as(y[..., 1])], -1)


def spread(samples, k, by=0.3):
    noise = torch.randn(samples, len(k), dtype=D, generator=torch.Generator().manual_seed(0))
    return k * torch.exp(by * noise)


def numbers(*values):
    return torch.tensor(values, dtype=D)


def robertson_of(k, times, **options):
    problem = robertson()
    control = Control(rtol=1e-6, atol=1e-6 * problem.scale)
    return solve(problem.f, problem.y0, times, k, control=control, **options)


@every_method
def test_each_sample_of_a_batch_goes_its_own_way(method):
    """One alone, among others, or among others that end sooner: the same steps and numbers."""
    k = spread(5, robertson().parameters)
    ends = numbers(0.3, 0.2, 0.1, 0.01, 0.05)
    times = torch.stack([torch.zeros(5, dtype=D), ends / 3, ends], 1)
    together = robertson_of(k, times, method=method)
    for i in range(5):
        alone = robertson_of(k[i], times[i], method=method)
        assert int(alone.steps) == int(together.steps[i])
        torch.testing.assert_close(alone.y, together.y[i], rtol=1e-9, atol=0)


def test_samples_that_are_done_cost_nothing():
    problem = robertson()
    times = torch.zeros(2, 2, dtype=D)
    times[:, 1] = numbers(1e-3, 1e4)
    found = robertson_of(problem.parameters, times)
    tried = int((found.steps + found.rejected).sum())
    assert found.counts.factorisations == tried
    assert found.steps[0] < 0.4 * found.steps[1]


@every_method
def test_exponential_decay_meets_its_tolerance_at_all_times(method):
    times = torch.linspace(0, 3, 41, dtype=D)
    p = numbers(0.5, 1.0, 2.0)[:, None]
    found = solve(decay, numbers(1.0), times, p, method=method, control=Control(rtol=1e-6))
    exact = torch.exp(-p * times)[..., None]
    assert float((found.y / exact - 1).abs().max()) < (5e-4 if method is ROSENBROCK23 else 2e-5)
    assert found.y.shape == (3, 41, 1)


def test_a_single_sample_has_no_axis_of_samples():
    found = solve(decay, numbers(1.0), numbers(0, 1), numbers(1.0))
    assert found.y.shape == (2, 1)
    assert found.status.shape == ()
    assert int(found.status) == Status.DONE


@every_method
def test_an_event_ends_a_sample_when_its_closed_form_says(method):
    g, h = numbers(9.81, 1.62)[:, None], 2.0
    ground = Event(lambda t, y, p: y[..., 0])
    times = numbers(0, 0.1, 5)
    found = solve(falling, numbers(h, 0.0), times, g, method=method, events=[ground])
    fall = (2 * h / g[:, 0]).sqrt()
    torch.testing.assert_close(found.event_t, fall, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.event_y[:, 1], -g[:, 0] * fall, rtol=1e-9, atol=0)
    assert found.event.tolist() == [0, 0]
    assert found.status.tolist() == [Status.EVENT] * 2
    assert found.y[:, 1].isfinite().all()
    assert found.y[:, 2].isnan().all()
    torch.testing.assert_close(found.t, found.event_t)


def test_the_first_of_several_events_counts_and_only_in_its_direction():
    spring = lambda t, y: torch.stack([y[..., 1], -y[..., 0]], -1)  # noqa: E731
    events = [
        Event(lambda t, y: y[..., 0] - 0.5, 1),
        Event(lambda t, y: y[..., 1] + 0.5, -1),
        Event(lambda t, y: t - 0.7),
    ]
    start, times = numbers(1.0, 0.0), numbers(0, 20)
    found = solve(spring, start, times, events=events, control=Control(rtol=1e-9))
    assert int(found.event) == 1
    assert float(found.event_t) == pytest.approx(math.asin(0.5), abs=1e-7)
    rising = solve(spring, start, times, events=events[:1], control=Control(rtol=1e-9))
    assert float(rising.event_t) == pytest.approx(2 * math.pi - math.acos(0.5), abs=1e-7)


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


def test_f_that_turns_nan_is_named_with_time_and_sample():
    f = lambda t, y, p: torch.sqrt(p - t[..., None]) - y  # noqa: E731
    with pytest.raises(NotFinite, match=r"`f`: not finite at sample 1 at t = 0\.5") as caught:
        solve(f, numbers(1.0), numbers(0, 1), numbers([2.0], [0.5]))
    assert caught.value.sample == 1
    assert caught.value.t == pytest.approx(0.5, abs=1e-3)


def test_a_solution_that_grows_without_bound_is_named():
    with pytest.raises((StepTooSmall, NotFinite)) as caught:
        solve(lambda t, y: y**2, numbers(1.0), numbers(0, 2))
    assert caught.value.t == pytest.approx(1.0, abs=1e-6)


def test_too_many_steps_are_named_and_a_stiff_problem_is_told_so():
    problem = robertson()
    with pytest.raises(TooManySteps, match=r"300 steps .* may be stiff: use RODAS5P"):
        solve(
            problem.f, problem.y0, numbers(0, 1e5), problem.parameters,
            method=TSIT5, control=Control(max_steps=300),
        )  # fmt: skip


def test_others_go_on_when_a_sample_fails_and_that_was_allowed():
    f = lambda t, y, p: torch.sqrt(p - t[..., None]) - y  # noqa: E731
    p = numbers([2.0], [0.5]).requires_grad_()
    found = solve(f, numbers(1.0), numbers(0, 0.2, 1), p, strict=False)
    assert found.status.tolist() == [Status.DONE, Status.NOT_FINITE]
    assert found.y[0].isfinite().all()
    assert found.y[1, :2].isfinite().all()
    assert found.y[1, 2].isnan().all()
    found.y[0].sum().backward()
    assert p.grad.isfinite().all()
    assert float(p.grad[1]) == 0


BAD = {
    "decreasing": ({"times": numbers(0, 2, 1)}, "`times` must hold two or more, increasing"),
    "one time": ({"times": numbers(1)}, "`times` must hold two or more"),
    "infinite start": ({"y0": numbers(math.inf)}, "`y0` must be finite"),
    "two types": ({"parameters": torch.ones(1)}, "`y0` and `parameters` must be of one floating"),
    "three axes": ({"y0": torch.ones(1, 1, 1, dtype=D)}, "`y0` must have one axis"),
    "counts": (
        {"y0": torch.ones(3, 1, dtype=D), "parameters": torch.ones(1, 1, dtype=D)},
        "`parameters` must be the same for all 3 samples or given for each; it has 1 rows",
    ),
    "shape of f": ({"f": lambda t, y, p: y.sum(-1)}, "`f` must return dy/dt like y"),
    "kind of gradient": (
        {"gradient": "adjoint"},
        "`gradient` must be 'discrete' or 'backsolve'; it is 'adjoint'",
    ),
    "tolerances": (
        {"control": Control(atol=numbers(1e-6, 1e-6))},
        "`atol` must be one number or one for each of the 1 components",
    ),
    "gradient by time": ({"times": numbers(0, 1).requires_grad_()}, "`times` must not require"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_solved_is_refused_with_its_name(name):
    change, message = BAD[name]
    given = {"f": decay, "y0": numbers(1.0), "times": numbers(0, 1), "parameters": numbers(1.0)}
    with pytest.raises((ValueError, TypeError), match=message):
        solve(**(given | change))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Control(rtol=0.0), "`rtol` must lie in"),
        (lambda: Control(atol=-1.0), "`atol` must be finite and positive"),
        (lambda: Control(max_steps=0), "`max_steps` must be at least 1; it is 0"),
        (lambda: Event(lambda t, y: t, 2), "`direction` must be -1, 0 or 1; it is 2"),
        (lambda: MassAction([(0,)], torch.zeros(2, 3)), "an entry for each of the 2 reactions"),
        (lambda: MassAction([(3,)], torch.zeros(1, 3)), "must be numbers of species below 3"),
    ],
)
def test_bad_settings_are_refused_with_their_names(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_solutions_are_freed_once_nobody_holds_them():
    p = numbers(0.7).requires_grad_()
    found = solve(decay, numbers([1.0]), numbers(0, 1), p, events=[Event(lambda t, y, p: t - 0.5)])
    found.event_t.backward()
    held = weakref.ref(found.y)
    del found
    assert held() is None


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


def test_a_stage_that_newton_cannot_solve_makes_the_step_too_small_not_f_infinite():
    """Past its jump f points back, and its Jacobian says nothing: no stage is a solution."""
    with pytest.raises(StepTooSmall, match="no step that sample 0"):
        solve(lambda t, y: -1e12 * torch.sign(y), numbers(1.0), numbers(1.0, 2.0), method=KVAERNO5)


@torch.no_grad()
def test_a_step_with_a_stage_that_is_not_solved_is_not_trusted(monkeypatch):
    problem = Problem(lambda t, y: -1e3 * y**3, None, None, autonomous=True)
    y, allowed = torch.ones(1, 1, dtype=D), torch.full((1, 1), 1e-8, dtype=D)
    t, h = torch.zeros(1, dtype=D), torch.full((1,), 1e-3, dtype=D)
    assert KVAERNO5.step(problem, t, y, h, allowed).error.isfinite().all()
    monkeypatch.setattr(methods, "NEWTON", 1)
    assert KVAERNO5.step(problem, t, y, h, allowed).error.isinf().all()


def test_a_refused_step_is_counted_and_the_next_one_does_not_grow():
    starts = []

    def watched(t, y):
        starts.append(float(t.detach().flatten()[0]))
        return torch.stack([y[..., 1], torch.cos(20 * t) - y[..., 0]], -1)

    control = Control(rtol=1e-8, atol=1e-8, first_step=1.0)
    found = solve(watched, numbers(1.0, 0.0), numbers(0.0, 2.0), method=TSIT5, control=control)
    stages = torch.tensor(starts[1:], dtype=D).view(-1, 7)  # the first one only looks at f
    t, h = stages[:, 0], stages[:, -1] - stages[:, 0]
    refused = t.diff() == 0
    assert int(found.rejected) == int(refused.sum()) > 0
    assert int(found.steps) == len(t) - int(refused.sum())
    again = refused.nonzero()[:, 0] + 1  # taken after one was refused
    again = again[again + 1 < len(t)]
    assert (h[again + 1] <= h[again] * (1 + 1e-12)).all()


def test_a_time_asked_for_soon_after_another_does_not_shorten_the_steps_beyond():
    p, control = numbers(1.0), Control(rtol=1e-6, atol=1e-9)
    times = numbers(0.0, 1.0, 4.0)
    few = solve(decay, numbers(1.0), times, p, method=KVAERNO5, control=control)
    times = numbers(0.0, 1.0, 1.0 + 1e-6, 4.0)
    more = solve(decay, numbers(1.0), times, p, method=KVAERNO5, control=control)
    assert int(more.steps) <= int(few.steps) + 2
