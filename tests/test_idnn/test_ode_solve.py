"""`idnn.ode.solve`: batches, times, events, failures."""

import math
import weakref

import pytest
import torch
from odes import D, decay, every_method, falling, numbers, robertson_of, spread

from idnn.ode import (
    KVAERNO5,
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
)
from idnn.ode.problem import Problem
from idnn.ode.problems import robertson
from idnn.ode.reactions import MassAction


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
