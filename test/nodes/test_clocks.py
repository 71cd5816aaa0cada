import numpy as np
import pytest

from cs3d_ros.nodes.clocks import (
    BUCKET_NS,
    LARGEST_SLEW,
    LONGEST_GAP_NS,
    TICK_S,
    ClockMap,
    Silence,
)

S, MS = 10**9, 10**6
EPOCH_NS = 1_700_000_000 * S  # ROS time when the sensor's clock begins


def run(clock, sensor_ns, ros_ns):
    """Return the stamp that each message's newest event gets as it arrives."""
    stamps = []
    for sensor, ros in zip(sensor_ns.tolist(), ros_ns.tolist()):
        clock.meet(sensor, ros)
        stamps.append(clock.to_ros(sensor))
    return np.array(stamps)


def delays_ns(seed, count):
    """Return half a millisecond and a long-tailed jitter of some milliseconds."""
    return 500_000 + np.random.default_rng(seed).exponential(3e6, count).astype(np.int64)


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


@pytest.mark.parametrize('ppm', [100, -100, 0])
def test_six_hours_of_drift_are_followed_to_two_milliseconds(ppm):
    clock = ClockMap()
    sensor_ns = np.arange(0, 6 * 3600 * S, 50 * MS)
    true_ns = EPOCH_NS + sensor_ns + sensor_ns // 10**6 * ppm
    stamps_ns = run(clock, sensor_ns, true_ns + delays_ns(ppm + 100, len(sensor_ns)))
    late_ns = stamps_ns - true_ns
    # The quickest of the first messages was late by up to some milliseconds.
    assert np.abs(late_ns[1000:]).max() < 2 * MS
    steps_ns = np.diff(stamps_ns) - np.diff(sensor_ns)
    assert np.abs(steps_ns).max() <= LARGEST_SLEW * 50 * MS + 1
    assert (clock.steps, clock.resets, clock.pace) == (0, 0, 1.0)


def test_stamps_differ_exactly_as_sensor_times_for_ten_seconds():
    sensor_ns = np.arange(0, 2 * BUCKET_NS, 10 * MS)
    stamps_ns = run(ClockMap(), sensor_ns, EPOCH_NS + sensor_ns + delays_ns(1, len(sensor_ns)))
    assert np.array_equal(np.diff(stamps_ns), np.diff(sensor_ns))


def test_late_first_message_is_made_good_slowly():
    clock = ClockMap()
    sensor_ns = np.arange(0, 300 * S, 20 * MS)
    delay_ns = delays_ns(2, len(sensor_ns))
    delay_ns[0] = 200 * MS
    stamps_ns = run(clock, sensor_ns, EPOCH_NS + sensor_ns + delay_ns)
    late_ns = stamps_ns - sensor_ns - EPOCH_NS
    assert late_ns[0] == 200 * MS
    assert abs(late_ns[-1]) < 2 * MS
    assert np.diff(late_ns).min() >= -LARGEST_SLEW * 20 * MS - 1


def test_stall_that_is_made_up_in_a_burst_does_not_show():
    clock = ClockMap()
    sensor_ns = np.arange(0, 60 * S, 10 * MS)
    ros_ns = EPOCH_NS + sensor_ns + 500_000
    held = (sensor_ns > 21 * S) & (sensor_ns < 25 * S)
    ros_ns[held] = EPOCH_NS + 25 * S
    stamps_ns = run(clock, sensor_ns, ros_ns)
    assert np.abs(stamps_ns - sensor_ns - EPOCH_NS - 500_000).max() == 0


def test_stall_longer_than_the_memory_moves_the_stamps_little():
    clock = ClockMap()
    sensor_ns = np.arange(0, 90 * S, 10 * MS)
    ros_ns = np.maximum(EPOCH_NS + sensor_ns, 0)
    held = (sensor_ns > 20 * S) & (sensor_ns < 33 * S)
    ros_ns[held] = EPOCH_NS + 33 * S
    late_ns = run(clock, sensor_ns, ros_ns) - sensor_ns - EPOCH_NS
    assert np.abs(late_ns).max() <= 10 * MS
    assert late_ns[-1] == 0
    assert clock.steps == 0


@pytest.mark.parametrize('rate', [0.5, 3.0, 10.0])
def test_recording_at_another_rate_keeps_the_pace_of_the_sensor(rate):
    clock = ClockMap()
    sensor_ns = np.arange(0, 120 * S, 10 * MS)
    ros_ns = EPOCH_NS + (sensor_ns / rate).astype(np.int64) + delays_ns(3, len(sensor_ns))
    stamps_ns = run(clock, sensor_ns, ros_ns)
    assert np.array_equal(np.diff(stamps_ns), np.diff(sensor_ns))
    assert clock.pace == pytest.approx(1 / rate, rel=0.01)
    assert clock.steps == 0


@pytest.mark.parametrize('step_s', [-3600, -2, 2, 10**8])
def test_host_clock_that_is_set_is_followed_in_one_step(step_s):
    clock = ClockMap()
    sensor_ns = np.arange(0, 60 * S, 10 * MS)
    true_ns = EPOCH_NS + sensor_ns + (sensor_ns > 20 * S) * (step_s * S)
    stamps_ns = run(clock, sensor_ns, true_ns + delays_ns(4, len(sensor_ns)))
    assert (clock.steps, clock.resets) == (1, 0)
    assert np.abs(stamps_ns - true_ns)[sensor_ns > 36 * S].max() < 5 * MS
    leaps = np.abs(np.diff(stamps_ns) - np.diff(sensor_ns)) > MS
    assert leaps.sum() == 1


def test_clock_that_goes_back_is_mapped_anew():
    clock = ClockMap()
    clock.meet(500 * S, EPOCH_NS)
    clock.meet(3 * S, EPOCH_NS + S)
    assert clock.to_ros(4 * S) == EPOCH_NS + 2 * S
    assert clock.resets == 1


def test_leap_that_no_silence_explains_is_mapped_anew():
    clock = ClockMap()
    clock.meet(0, EPOCH_NS)
    clock.meet(LONGEST_GAP_NS + S, EPOCH_NS + S)
    assert clock.to_ros(LONGEST_GAP_NS + S) == EPOCH_NS + S
    assert clock.resets == 1


def test_long_silence_leaves_the_map_as_it_is():
    clock = ClockMap()
    clock.meet(0, EPOCH_NS)
    clock.meet(3600 * S, EPOCH_NS + 3600 * S + 40 * MS)
    assert clock.to_ros(3600 * S) == EPOCH_NS + 3600 * S
    assert clock.resets == 0


def test_map_is_monotone_and_inverts_across_its_joints():
    clock = ClockMap()
    sensor_ns = np.arange(0, 40 * S, 100 * MS)
    true_ns = EPOCH_NS + sensor_ns - sensor_ns // 10**6 * 700
    for at, (sensor, ros) in enumerate(zip(sensor_ns.tolist(), true_ns.tolist())):
        clock.meet(sensor, ros)
        around = range(sensor - 300 * MS, sensor + 300 * MS, 7 * MS + 13)
        stamps = [clock.to_ros(ns) for ns in around]
        assert min(np.diff(stamps)) > 0, at
        assert max(abs(clock.to_sensor(clock.to_ros(ns)) - ns) for ns in around) <= 1, at


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
