"""The time a run will still take, on clocks whose law is known."""

import math

import pytest

from phasefield.progress import RemainingTime

END = 1000.0


def reported(power, begun=1e-3, until=END, rate=0.02):
    """(t, wall, estimate) of a run whose steps, of 1 s each, are rate·t^power."""
    remaining, time, wall, found = RemainingTime(END), begun, 0.0, []
    while time < until:
        time, wall = min(END, time + rate * time**power), wall + 1
        found.append((time, wall, remaining.after(time, wall)))
    return found


@pytest.mark.parametrize(("power", "rate"), [(0.0, 0.5), (0.5, 0.1), (1.0, 0.02)])
def test_constant_and_growing_steps_are_foretold_to_a_tenth(power, rate):
    """Wall time is t/rate, 2√t/rate, ln t/rate; checked wherever an estimate is given."""
    found = reported(power, rate=rate)
    whole = found[-1][1]
    given = [(t, wall, left) for t, wall, left in found if left is not None]
    assert given[0][0] < END / 15
    for time, wall, left in given:
        assert left == pytest.approx(whole - wall, rel=0.1, abs=3), time


def test_steps_that_shrink_are_not_continued_to_zero():
    """Beyond constant steps nothing is extrapolated: the present rate stays."""
    remaining = RemainingTime(4.0)
    for time, wall in ((0.125, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 12.0)):
        left = remaining.after(time, wall)
    assert left == pytest.approx(60)


def test_nothing_is_foretold_while_there_is_too_little_to_go_by():
    for time, _, left in reported(1.0, until=END / 20):
        assert left is None, time


def test_a_run_continued_near_its_end_keeps_its_present_rate():
    found = reported(0.0, begun=600.0, rate=0.5)
    time, _, left = found[100]
    assert left == pytest.approx((END - time) / 0.5)
    assert found[0][2] is None
    assert found[-1][2] == 0.0


def test_a_run_continued_early_waits_for_two_octaves():
    given = [t for t, _, left in reported(0.0, begun=100.0, rate=0.5) if left is not None]
    assert math.isclose(given[0], 402, rel_tol=0.01)
