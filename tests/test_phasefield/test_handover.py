"""Which integrator is at work: decided by time per evaluation, never by a clock."""

from phasefield.handover import LONGEST_WAIT, TRIAL, WINDOW, Handover


def run(handover, steps, *, dt, cost, grow=1.0, time=0.0, work=0):
    """Equal accepted steps; what comes of them, and where they end."""
    large = handover.large
    for _ in range(steps):
        time, work, dt = time + dt, work + cost, dt * grow
        handover = handover.accepted(time, work, dt)
        if handover.large != large:
            break
    return handover, time, work


def test_steps_that_grow_are_left_alone():
    handover, *_ = run(Handover(), 10 * WINDOW, dt=1.0, cost=4, grow=1.01)
    assert not handover.large


def test_steps_that_do_not_grow_are_challenged_and_a_faster_integrator_stays():
    handover, time, work = run(Handover(dt=1.0), WINDOW, dt=1.0, cost=4)
    assert handover.large
    assert handover.dt == 2.0
    assert handover.other_pace == 0.25
    handover, *_ = run(handover, 5 * TRIAL, dt=100.0, cost=40, time=time, work=work)
    assert handover.large


def test_a_slower_one_gives_way_and_is_tried_again_ever_more_rarely():
    handover, time, work = run(Handover(dt=1.0), WINDOW, dt=1.0, cost=4)
    waits = []
    for _ in range(6):
        handover, time, work = run(handover, TRIAL, dt=2.0, cost=40, time=time, work=work)
        assert not handover.large
        assert handover.dt == 1.0
        waits.append(handover.wait)
        while not handover.large:
            handover, time, work = run(handover, WINDOW, dt=1.0, cost=4, time=time, work=work)
    assert waits == [1, 2, 4, 8, 8, 8]
    assert max(waits) == LONGEST_WAIT


def test_long_steps_that_turn_slow_later_give_way_too():
    handover, time, work = run(Handover(dt=1.0), WINDOW, dt=1.0, cost=4)
    handover, time, work = run(handover, TRIAL, dt=50.0, cost=40, time=time, work=work)
    assert handover.large
    handover, *_ = run(handover, TRIAL, dt=2.0, cost=40, time=time, work=work)
    assert not handover.large
