"""Adaptive steps: stops met exactly, tolerance kept, rising energies and dead ends refused."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from phasefield.adaptive import StepControl, Stepper, StepTooSmall
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.handover import Handover
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import (
    INTEGRATORS,
    Attempt,
    Evaluation,
    Integrator,
    etdrk4,
    sbdf2,
    semi_implicit_euler,
)
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import InMemory, solve


@pytest.fixture(scope="module")
def model():
    field = OrderField("c", True, 5.0, 2.0)
    return GradientFlow(Grid((48,), 1.0), double_well(5.0, 0.3, 0.7), (field,))


@pytest.fixture(scope="module")
def u0(model):
    x = model.grid.cell_centres()[0]
    return (0.5 + 0.02 * torch.cos(2 * math.pi * x / 48) + 0.03 * torch.sin(math.pi * x / 8))[None]


STEEP = Expression("50*(u - 0.3)**2*(0.7 - u)**2*(1 + 300*u**6)", ("u",))


def at(model, u0, time, **control):
    return solve(model, u0, [time], control=StepControl(**control))


def test_every_output_time_is_met_exactly_and_recorded(model, u0):
    memory, times = InMemory(), [0.1, 0.3, 1.0 / 3, 7.7]
    solution = solve(model, u0, times, recorder=memory)
    assert [record.state.time for record in memory.records] == [0.0, *times]
    assert solution.time == 7.7
    assert torch.equal(memory.records[0].u, u0)


def test_observations_cover_every_accepted_step_once(model, u0):
    memory, seen = InMemory(), []
    solution = solve(model, u0, [1.0, 3.0], recorder=memory, observers=[seen.append])
    kept = [o for record in memory.records for o in record.observations]
    assert [o.steps for o in kept] == list(range(solution.state.steps + 1))
    assert seen == kept[1:]


@pytest.mark.parametrize("integrator", INTEGRATORS.values(), ids=INTEGRATORS)
def test_a_smaller_tolerance_brings_the_solution_closer(integrator, model, u0):
    exact = at(model, u0, 3.0, tolerance=1e-8).u
    errors = [
        float((at(model, u0, 3.0, tolerance=t, integrator=integrator).u - exact).abs().max())
        for t in (1e-3, 1e-5)
    ]
    assert errors[0] < 0.05
    assert errors[1] < errors[0] / 5


def test_steps_are_powers_of_two_or_fractions_of_what_is_left(model, u0):
    stepper = Stepper(model, StepControl())
    with torch.no_grad():
        state = stepper.start(u0)
        for _ in range(30):
            state = stepper.advance(state, 1e6)
            assert math.log2(state.dt).is_integer()


def test_no_step_is_longer_than_the_largest(model, u0):
    memory = InMemory()
    control = StepControl(largest_step=0.25, tolerance=0.1)
    solve(model, u0, [5.0], control=control, recorder=memory)
    times = [o.time for record in memory.records for o in record.observations]
    assert max(b - a for a, b in pairwise(times)) <= 0.25


def lengths(model, u0, integrator, steps):
    """Of accepted steps, and how many were refused, where nothing else keeps them short."""
    control = StepControl(
        integrator=integrator, large_steps=None, first_step=2.0**-30, tolerance=0.1
    )
    stepper, found = Stepper(model, control), []
    with torch.no_grad():
        state = stepper.start(u0)
        for _ in range(steps):
            state = stepper.advance(state, 1e6)
            found.append(state.elapsed)
    return found, state.rejected_by_error


@pytest.mark.parametrize("integrator", [sbdf2, implicit_bdf2], ids=lambda each: each.name)
def test_formulas_over_two_steps_double_none_but_the_fourth_after_a_measurement(
    integrator, model, u0
):
    found, _ = lengths(model, u0, integrator, 22)
    growth = [b / a for a, b in pairwise(found)]
    assert growth == [1, 1, 1, *[2] * 13, 1, 1, 1, 2, 2]
    found, _ = lengths(model, u0, etdrk4, 4)
    assert found == [2.0**-30, 2.0**-29, 2.0**-28, 2.0**-27]


def test_after_a_refusal_four_equal_steps_come_before_the_next_trial(model, u0):
    """Of an integrator whose error jumps to infinity beyond a length."""

    def prepare(problem, dt):
        step = sbdf2.prepare(problem, dt)

        def attempt(at):
            found = step(at)
            wrong = lambda: found.u_hat * math.inf  # noqa: E731
            return found if dt <= 2.0**-29 else replace(found, error=wrong)

        return attempt

    found, refused = lengths(model, u0, replace(sbdf2, prepare=prepare), 21)
    assert found == [2.0**-30] * 4 + [2.0**-29] * 17
    assert refused == 4  # before steps 6, 10, 14 and 18


def test_subnormal_numbers_are_zero_in_a_run_and_in_threads_it_begins_but_not_after(model, u0):
    tiny = torch.tensor(5e-324, dtype=torch.float64)
    products = []
    with ThreadPoolExecutor(1) as workers:

        def observe(_):
            products.extend([float(tiny * 1), workers.submit(lambda: float(tiny * 1)).result()])

        solve(model, u0, [1e-3], observers=[observe])
    assert set(products) == {0.0}
    assert float(tiny * 1) > 0


def test_a_step_that_raises_the_free_energy_is_refused(model, u0):
    """An integrator that turns back in time while claiming no error is stopped by F alone."""

    def prepare(problem, dt):
        step = etdrk4.prepare(problem, dt)

        def attempt(at):
            back = 2 * at.u_hat - step(at).u_hat
            return Attempt(back, problem.evaluate(back, 0.0), lambda: 0 * back, 4)

        return attempt

    backwards = Integrator("backwards", prepare, 4, 4)
    control = StepControl(integrator=backwards, smallest_step=2.0**-20)
    with pytest.raises(StepTooSmall, match="the free energy rises"):
        solve(model, u0, [1.0], control=control)


def never(problem, dt):
    """A step to fields that are not finite."""

    def attempt(at):
        u = at.u_hat * math.nan
        nothing = torch.tensor(math.nan)
        return Attempt(u, Evaluation(u, nothing, nothing), lambda: u, 1)

    return attempt


def test_a_state_that_is_not_finite_is_never_accepted(model, u0):
    broken = Integrator("broken", never, 1, 1)
    control = StepControl(integrator=broken, smallest_step=2.0**-20)
    with pytest.raises(StepTooSmall, match=r"At t = 0 no step down to 9.5\S+ is acceptable"):
        solve(model, u0, [1.0], control=control)


@pytest.mark.parametrize("integrator", [etdrk4, sbdf2])
def test_evaluations_are_counted_and_n_belongs_to_a_stabiliser_that_changed(integrator, u0):
    calls = 0

    class Counted:
        """Without a compiled pass, so that every evaluation comes by here."""

        well = double_well(5.0, 0.3, 0.7)

        def __call__(self, eta):
            return self.well(eta)

        def evaluate(self, eta):
            nonlocal calls
            calls += 1
            return self.well.evaluate(eta)

    field = OrderField("c", True, 5.0, 2.0)
    model = GradientFlow(Grid((48,), 1.0), Counted(), (field,))
    state = at(model, u0, 400.0, integrator=integrator, large_steps=None).state
    assert state.evaluations == calls
    assert state.stabiliser != model.stabilised(u0).stabiliser
    fitted = replace(model, stabiliser=state.stabiliser)
    assert torch.equal(state.force_hat, fitted.evaluate(state.u_hat, 0.0).force_hat)
    if integrator is sbdf2:
        assert torch.equal(state.force_old, fitted.evaluate(state.u_old, 0.0).force_hat)
    else:
        assert state.u_old is None


def test_coarsening_with_implicit_steps_ends_as_without_them_for_fewer_evaluations():
    grid = Grid((32, 32), 1.5)
    generator = torch.Generator().manual_seed(1)
    u0 = 0.45 + 0.02 * torch.randn((1, 32, 32), generator=generator, dtype=torch.float64)
    field = OrderField("c", True, 5.0, 2.0)
    model = GradientFlow(grid, double_well(5.0, 0.3, 0.7), (field,))
    explicit = at(model, u0, 3e4, tolerance=1e-4, large_steps=None)
    both = at(model, u0, 3e4, tolerance=1e-4)
    assert explicit.state.handover == Handover()
    assert both.state.evaluations < explicit.state.evaluations
    assert both.state.energy.total == pytest.approx(explicit.state.energy.total, rel=1e-4)
    torch.testing.assert_close(both.u, explicit.u, rtol=0, atol=1e-2)


def test_a_run_that_has_come_to_rest_ends_before_its_time(model, u0):
    memory = InMemory()
    control = StepControl(steady=1e-7)
    times = [1.0, 1e9, 2e9]
    solution = solve(model, u0, times, control=control, recorder=memory)
    assert solution.state.speed <= 1e-7
    assert solution.state.handover.large
    assert solution.time < 1e9
    assert [record.state.time for record in memory.records] == [0.0, 1.0, solution.time]
    again = solve(model, u0, times, control=control, recorder=memory)
    assert again.state is solution.state
    fitted = model.with_stabiliser(solution.state.stabiliser)
    change = fitted.linear * solution.state.u_hat + fitted.weight * solution.state.force_hat
    assert float(model.grid.inverse(change).abs().max()) == pytest.approx(solution.state.speed)


def test_fixed_steps_are_all_alike_but_for_the_last_before_an_output(model, u0):
    memory = InMemory()
    control = StepControl(fixed_step=0.03, integrator=sbdf2)
    solve(model, u0, [1.0, 2.0], control=control, recorder=memory)
    times = [o.time for record in memory.records for o in record.observations]
    steps = [b - a for a, b in pairwise(times)]
    assert sum(step == pytest.approx(0.03) for step in steps) >= len(steps) - 4
    assert max(steps) < 0.0301


def test_a_fixed_step_that_is_too_long_is_an_error_that_says_so(model, u0):
    control = StepControl(fixed_step=200.0, integrator=semi_implicit_euler)
    with pytest.raises(StepTooSmall, match="the fixed step 200 is not acceptable"):
        solve(replace(model, f=STEEP), u0, [1e4], control=control)


LOGARITHMIC = Expression("c*log(c) + (1 - c)*log(1 - c) + 2*c", ("c",))


def plane_of(f, conserved):
    """A box of 6 × 8 cells, hardly coupled, at c = ½ but for some of them."""
    field = OrderField("c", conserved, 1.0, 1e-6)
    u = torch.full((1, 6, 8), 0.5, dtype=torch.float64)
    u[0, 2, 5], u[0, 4, 1] = 0.02, 0.9
    return GradientFlow(Grid((6, 8), 1.0), f, (field,)), u


def test_a_start_outside_the_domain_names_its_first_cell_not_the_farthest():
    model, u = plane_of(LOGARITHMIC, conserved=True)
    u[0, 3, 7], u[0, 5, 0] = -0.01, 1.3
    with pytest.raises(
        ValueError, match=r"c from -0.01 to 1.3; worst, cell \(3, 7\) holds \(-0.01"
    ):
        solve(model, u, [1.0])


@pytest.mark.parametrize("integrator", [semi_implicit_euler, etdrk4])
def test_a_step_that_leaves_the_domain_names_the_cell_that_does(integrator):
    """All go down by 0.1, which is too much where c = 0.02; the largest force is where c = 0.9."""
    model, u = plane_of(Expression("0.01*c*log(c) + c + c**8/8", ("c",)), conserved=False)
    control = StepControl(fixed_step=0.1, integrator=integrator)
    with pytest.raises(StepTooSmall, match=r"\(the fields leave the d.*; worst, cell \(2, 5\) h"):
        solve(model, u, [1.0], control=control)


def test_an_energy_without_a_value_is_refused_though_forces_have_one():
    """log c has the slope 1/c at negative c, too."""
    model, u = plane_of(Expression("0.01*log(c) + c", ("c",)), conserved=False)
    control = StepControl(fixed_step=0.1, integrator=semi_implicit_euler)
    with pytest.raises(StepTooSmall, match=r"\(the fields leave the d.*; worst, cell \(2, 5\) h"):
        solve(model, u, [1.0], control=control)


@pytest.mark.parametrize("constant", ["", " + 100*c"])
def test_a_dead_end_names_the_cell_of_the_largest_force_but_for_a_constant(constant):
    """0.02 is nearer to its edge of the domain than 0.9; 100c does nothing to a conserved c."""
    broken = Integrator("broken", never, 1, 1)
    model, u = plane_of(Expression(LOGARITHMIC.formula + constant, ("c",)), conserved=True)
    control = StepControl(integrator=broken, smallest_step=2.0**-20)
    with pytest.raises(
        StepTooSmall, match=r"c from 0.02 to 0.9; worst, cell \(2, 5\) holds \(0.02"
    ):
        solve(model, u, [1.0], control=control)


@pytest.mark.parametrize("name", ["tolerance", "first_step", "smallest_step", "fixed_step"])
def test_a_control_that_is_not_positive_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and positive"):
        StepControl(**{name: 0.0})


def test_a_speed_of_rest_that_is_negative_is_refused():
    with pytest.raises(ValueError, match="`steady` must not be negative"):
        StepControl(steady=-1.0)


def test_a_largest_step_below_the_smallest_is_refused():
    with pytest.raises(ValueError, match="`largest_step` must not be below"):
        StepControl(largest_step=math.nan)


@pytest.mark.parametrize("times", [[], [0.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
def test_times_that_do_not_increase_are_refused(times, model, u0):
    with pytest.raises(ValueError, match="`times` must be positive and increase"):
        solve(model, u0, times)


def test_fields_of_another_shape_or_with_nan_are_refused(model, u0):
    with pytest.raises(ValueError, match=r"`u0` must have shape \(1, 48\)"):
        solve(model, u0[:, :-1], [1.0])
    with pytest.raises(ValueError, match="`u0` must be finite"):
        solve(model, u0 * math.nan, [1.0])
