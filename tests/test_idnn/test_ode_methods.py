"""Methods of `idnn.ode`: orders of convergence, stiff limits, dense output, references."""

import math

import pytest
import torch

from idnn.ode import KVAERNO5, RODAS4, RODAS5P, ROSENBROCK23, TSIT5, Control, solve
from idnn.ode.control import logarithm, norm
from idnn.ode.methods import interpolated
from idnn.ode.problem import Problem
from idnn.ode.problems import PROBLEMS, pollu, robertson
from idnn.ode.tables import _density, _trees, _weights_of

D = torch.float64
METHODS = {
    "rodas4": (RODAS4, 4, 4),
    "rodas5p": (RODAS5P, 5, 4),
    "rosenbrock23": (ROSENBROCK23, 2, 2),
    "kvaerno5": (KVAERNO5, 5, 3),
    "tsit5": (TSIT5, 5, 4),
}
"""The method, its order, and that of its dense output."""

every_method = pytest.mark.parametrize("name", METHODS)


def driven(t, y):
    """A nonautonomous pendulum."""
    x, v = y.unbind(-1)
    return torch.stack([v, torch.cos(2 * t) - torch.sin(x) - 0.3 * v * x], -1)


@torch.no_grad()
def fixed(method, f, y0, end, steps, autonomous=False):
    """Final state by steps of one length."""
    problem = Problem(f, None, None, autonomous)
    h = torch.full((1,), end / steps, dtype=D)
    y, tight = y0[None], torch.full((1, len(y0)), 1e-13, dtype=D)
    for i in range(steps):
        y = method.step(problem, i * h, y, h, tight).y
    return y[0]


def slope_of(errors):
    return math.log2(errors[0] / errors[1])


@every_method
def test_errors_fall_by_the_order_of_the_method_with_f_of_time(name):
    method, order, _ = METHODS[name]
    y0 = torch.tensor([0.3, -0.2], dtype=D)
    exact = fixed(RODAS5P, driven, y0, 1.0, 120)
    errors = [float((fixed(method, driven, y0, 1.0, n) - exact).norm()) for n in (8, 16)]
    assert order - 0.35 < slope_of(errors) < order + 0.9


@torch.no_grad()
@every_method
def test_error_estimates_fall_by_the_order_that_the_controller_takes_them_to_have(name):
    method = METHODS[name][0]
    problem = Problem(driven, None, None, autonomous=False)
    y, t = torch.tensor([[0.3, -0.2]], dtype=D), torch.zeros(1, dtype=D)
    found = []
    for h in (0.04, 0.02):
        step = method.step(problem, t, y, torch.full((1,), h, dtype=D), torch.full_like(y, 1e-14))
        found.append(float(step.error.norm()))
    assert abs(slope_of(found) - method.order) < 0.5


@torch.no_grad()
@every_method
def test_dense_output_is_exact_at_both_ends_and_of_its_order_between(name):
    method, _, order = METHODS[name]
    problem = Problem(driven, None, None, autonomous=False)
    y, t = torch.tensor([[0.3, -0.2]], dtype=D), torch.zeros(1, dtype=D)
    errors = []
    for h in (0.4, 0.2):
        step = method.step(problem, t, y, torch.full((1,), h, dtype=D), torch.full_like(y, 1e-14))
        ends = [interpolated(method, y, step, torch.tensor([x], dtype=D)) for x in (0.0, 1.0)]
        assert torch.equal(ends[0], y)
        assert torch.equal(ends[1], step.y)
        inside = [
            (interpolated(method, y, step, torch.tensor([x], dtype=D))[0]
             - fixed(RODAS5P, driven, y[0], x * h, 8)).norm()
            for x in (0.2, 0.45, 0.7)
        ]  # fmt: skip
        errors.append(float(torch.stack(inside).max()))
    assert slope_of(errors) > order + 1 - 0.35


@pytest.mark.parametrize("name", ["kvaerno5", "tsit5"])
def test_a_runge_kutta_table_meets_the_conditions_of_all_trees_of_its_order(name):
    table = METHODS[name][0].table
    for size in range(1, 6):
        for tree in _trees(size):
            assert abs(table.weights @ _weights_of(tree, table.inner) - 1 / _density(tree)) < 1e-13


def test_rooted_trees_are_as_many_as_cayley_counted():
    assert [len(_trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "error"),
    [("rodas4", 1e-8), ("rodas5p", 1e-8), ("kvaerno5", 1e-4), ("rosenbrock23", 2e-3)],
)
def test_stiff_methods_damp_what_is_infinitely_stiff_in_one_step(name, error):
    """L-stability: y' = −10¹²(y − cos t) from far away lands on the slow motion."""
    f = lambda t, y: -1e12 * (y - torch.cos(t)[..., None])  # noqa: E731
    problem = Problem(f, None, None, autonomous=False)
    y, h = torch.tensor([[5.0]], dtype=D), torch.tensor([0.1], dtype=D)
    step = METHODS[name][0].step(problem, torch.zeros(1, dtype=D), y, h, torch.full_like(y, 1e-10))
    assert abs(float(step.y) - math.cos(0.1)) < error


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "rodas5p") for name in PROBLEMS),
        ("robertson", "rodas4"),
        ("pollu", "rodas4"),
        ("robertson", "kvaerno5"),
    ],
)
def test_stiff_problems_end_at_the_reference_solutions_of_the_test_set(name, method):
    problem = PROBLEMS[name]()
    times = torch.tensor([0.0, *(t for t in problem.references if t < 1e6)], dtype=D)
    control = Control(rtol=1e-5, atol=1e-5 * problem.scale)
    found = solve(
        problem.f, problem.y0, times, problem.parameters,
        jacobian=problem.jacobian, method=METHODS[method][0], control=control,
    )  # fmt: skip
    exact = torch.stack([y for t, y in problem.references.items() if t < 1e6])
    assert float(((found.y[1:] - exact) / exact).abs().max()) < 1e-4
    assert int(found.steps) < 900


def test_robertson_is_followed_over_eleven_decades_and_keeps_its_mass():
    """To 10¹¹, where y₂ is 10⁻¹³; the test set gives the state to all digits."""
    problem = robertson()
    times = torch.tensor([0.0, 1e11], dtype=D)
    control = Control(rtol=1e-8, atol=torch.tensor([1e-16, 1e-20, 1e-16], dtype=D))
    found = solve(problem.f, problem.y0, times, problem.parameters, control=control)
    exact = problem.references[1e11]
    assert float(((found.y[1] - exact) / exact).abs().max()) < 1e-6
    assert abs(float(found.y[1].sum()) - 1) < 1e-13


def test_pollu_is_known_to_nine_digits_in_each_of_twenty_species():
    problem = pollu()
    times = torch.tensor([0.0, 60.0], dtype=D)
    control = Control(rtol=1e-10, atol=1e-24)
    found = solve(
        problem.f, problem.y0, times, problem.parameters,
        jacobian=problem.jacobian, control=control,
    )  # fmt: skip
    exact = problem.references[60.0]
    assert float(((found.y[1] - exact) / exact).abs().max()) < 1e-9


def test_pollu_is_the_published_system_written_out():
    """Five of the twenty equations, from their text (Verwer 1994)."""
    problem = pollu()
    y = torch.rand(20, dtype=D, generator=torch.Generator().manual_seed(0))
    k, (y1, y2, y4, y5, y6) = problem.parameters, y[[0, 1, 3, 4, 5]]
    f = problem.f(torch.zeros((), dtype=D), y, k)
    r = lambda i, *of: k[i - 1] * math.prod(float(x) for x in of)  # noqa: E731
    ozone = -r(2, y2, y4) - r(16, y4) - r(17, y4) - r(23, y1, y4) + r(15, y[2])
    hydroxyl = -r(6, y[6], y6) - r(8, y[8], y6) - r(14, y1, y6) - r(20, y[16], y6)
    hydroxyl = hydroxyl + r(3, y5, y2) + 2 * r(18, y[15])
    carbon_dioxide, pentoxide = r(9, y[10], y2), -r(25, y[19]) + r(24, y[18], y1)
    expected = torch.stack([ozone, hydroxyl, carbon_dioxide, pentoxide])
    torch.testing.assert_close(f[[3, 5, 11, 19]], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ["robertson", "pollu"])
def test_a_given_jacobian_and_that_by_autograd_agree(name):
    problem = PROBLEMS[name]()
    y = problem.y0 + torch.rand(3, len(problem.y0), dtype=D)
    p, t = problem.parameters.expand(3, -1), torch.zeros(3, dtype=D)
    given, _ = Problem(problem.f, p, problem.jacobian, autonomous=True).derivatives(t, y)
    found, _ = Problem(problem.f, p, None, autonomous=True).derivatives(t, y)
    torch.testing.assert_close(given, found, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_the_tolerance_is_met_at_times_within_steps(rtol):
    problem = robertson()
    times = torch.cat([torch.zeros(1, dtype=D), torch.logspace(-4, 5, 200, dtype=D)])

    def states(control):
        return solve(problem.f, problem.y0, times, problem.parameters, control=control)

    exact = states(Control(rtol=1e-9, atol=1e-9 * problem.scale)).y
    found = states(Control(rtol=rtol, atol=rtol * problem.scale))
    assert int(found.steps) < 0.7 * len(times)
    assert float(((found.y - exact) / (problem.scale + exact.abs())).abs().max()) < 5 * rtol


def test_the_error_norm_is_the_root_of_the_mean_square():
    torch.testing.assert_close(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([math.sqrt(12.5)]))


def test_steps_change_by_the_law_of_proportional_and_integral_control():
    control = Control(integral=1.1, proportional=0.2)
    now, before = torch.tensor([0.3, 0.9], dtype=D), torch.tensor([0.2, 0.7], dtype=D)
    found = control.change(logarithm(now), logarithm(before), 5)
    expected = (now / 0.6) ** (-1.1 / 5) * (before / 0.6) ** (0.2 / 5)
    torch.testing.assert_close(found, expected)
    unknown = logarithm(torch.tensor([math.nan, math.inf, 0.0], dtype=D))
    change = control.change(unknown, torch.zeros(3, dtype=D), 5)
    torch.testing.assert_close(change, torch.tensor([0.2, 0.2, 8.0], dtype=D))


@torch.no_grad()
def test_dense_output_between_stiff_stages_follows_the_slow_motion():
    """Of y′ = −λ(y − sin t) + cos t, λh = 10⁵; slopes of stages would be wrong by λ."""

    def forced(t, y):
        return -1e6 * (y - torch.sin(t)[..., None]) + torch.cos(t)[..., None]

    problem = Problem(forced, None, None, autonomous=False)
    h, y = torch.tensor([0.1], dtype=D), torch.zeros(1, 1, dtype=D)
    step = KVAERNO5.step(problem, torch.zeros(1, dtype=D), y, h, torch.full_like(y, 1e-13))
    for share in (0.25, 0.5, 0.75):
        found = interpolated(KVAERNO5, y, step, torch.tensor([share], dtype=D))
        assert abs(float(found) - math.sin(0.1 * share)) < 1e-7


@every_method
def test_time_in_f_is_the_same_as_a_component_that_grows_as_time(name):
    """Whether f is the same at all times is found out: no method but its ∂f/∂t would tell."""

    def extended(t, z):
        return torch.cat([driven(z[..., 2], z[..., :2]), torch.ones_like(z[..., :1])], -1)

    start, times = torch.tensor([0.3, -0.2, 0.0], dtype=D), torch.tensor([0.0, 1.0], dtype=D)
    control = Control(rtol=0.1, atol=1e3, first_step=0.25)
    method = METHODS[name][0]
    found = solve(driven, start[:2], times, method=method, control=control)
    same = solve(extended, start, times, method=method, control=control)
    torch.testing.assert_close(found.y, same.y[:, :2], rtol=0, atol=1e-13)
