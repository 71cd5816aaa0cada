import pytest

from cs3d_ros.nodes.clocks import TICK_S, ClockMap, Silence


def test_offset_is_that_of_the_first_message():
    clock = ClockMap()
    clock.meet(1_000, 5_000_000)
    clock.meet(2_000, 9_000_000)
    assert clock.to_ros(3_000) == 5_002_000
    assert clock.to_sensor(5_002_000) == 3_000


def test_reset_takes_a_new_offset():
    clock = ClockMap()
    clock.meet(1_000, 5_000_000)
    clock.reset()
    clock.meet(0, 7_000_000)
    assert clock.to_ros(10) == 7_000_010


def test_time_is_unknown_before_the_first_message():
    with pytest.raises(ValueError, match='call meet first'):
        ClockMap().to_ros(0)


class Steady:
    def __init__(self):
        self.now_s = 50.0

    def __call__(self):
        return self.now_s


def ticks(silence, clock, count, idle_s):
    for _ in range(count):
        clock.now_s += TICK_S
        last = silence.tick(idle_s)
    return last


def test_silence_begins_after_the_idle_time():
    clock = Steady()
    silence = Silence(clock)
    silence.end(10**9)
    assert ticks(silence, clock, 12, 0.25) is None
    assert ticks(silence, clock, 13, 0.25) == pytest.approx(10**9 + 0.25e9, abs=1e3)


def test_nothing_is_silent_before_the_first_event():
    clock = Steady()
    assert ticks(Silence(clock), clock, 100, 0.25) is None


def test_idle_time_of_zero_waits_for_events():
    clock = Steady()
    silence = Silence(clock)
    silence.end(0)
    assert ticks(silence, clock, 1000, 0.0) is None


def test_process_that_was_held_up_hears_no_silence():
    clock = Steady()
    silence = Silence(clock)
    silence.end(0)
    clock.now_s += 5.0
    assert silence.tick(0.25) is None
