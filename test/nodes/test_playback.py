"""How the player reads ahead, cuts and paces; without ROS."""

import itertools
import threading
import time

import numpy as np
import pytest
from moving import SENSOR, moving_events

from cs3d_ros.events import EventBatch, RecordingError, concatenate, write_recording
from cs3d_ros.nodes.playback import AHEAD_BATCHES, MAX_EVENTS, Pace, ReadAhead, played, split

BIN_NS = 10_000_000


def bins(count, first=0):
    """Return batches of an event each, a bin apart."""
    one = np.zeros(1, np.uint16)
    return [
        EventBatch(one, one, np.array([index * BIN_NS]), one.astype(np.uint8), *SENSOR)
        for index in range(first, first + count)
    ]


def test_many_events_at_once_are_spread_over_their_time():
    bin_ns = 100_000_000
    batch = moving_events(4, 3, rate=30_000)
    parts = list(split(batch, bin_ns))
    assert concatenate([part for part, _ in parts]) == batch
    assert max(len(part) for part, _ in parts) == MAX_EVENTS
    due = [due_ns for _, due_ns in parts]
    assert due[:-1] == [int(part.t[-1]) for part, _ in parts[:-1]]
    assert due[-1] == (int(batch.t[-1]) // bin_ns + 1) * bin_ns


def test_what_is_late_is_caught_up_with_at_twice_the_pace():
    pace = Pace(threading.Event())
    pace.wait_until(0, 1.0)
    time.sleep(0.2)  # as a slow disk would
    came_s = []
    for sensor_ns in range(10_000_000, 600_000_000, 10_000_000):
        pace.wait_until(sensor_ns, 1.0)
        came_s.append(time.monotonic())
    assert np.diff(came_s).min() > 0.0045
    assert pace.late_s < 0.1
    assert pace.position_s == pytest.approx(0.59)


def test_position_goes_on_while_the_next_event_is_waited_for():
    pace = Pace(threading.Event())
    pace.wait_until(0, 2.0)
    waiting = threading.Thread(target=pace.wait_until, args=(400_000_000, 2.0))
    waiting.start()
    seen = set()
    while waiting.is_alive():
        seen.add(pace.position_s)
    waiting.join()
    assert len(seen) > 5
    assert max(seen) <= pace.position_s == pytest.approx(0.4)


def test_clock_that_leaps_ahead_is_waited_for_ten_seconds_and_told_once():
    leaps_s = []
    pace = Pace(threading.Event(), leaps_s.append)
    begin_s = time.monotonic()
    for sensor_ns in (0, 3600 * 10**9, 7300 * 10**9):
        pace.wait_until(sensor_ns, 1000.0)
    assert time.monotonic() - begin_s < 1.0
    assert leaps_s == [3600.0]
    assert pace.position_s == pytest.approx(20.0)


def test_rounds_of_a_loop_follow_each_other_without_a_gap(tmp_path):
    path = str(tmp_path / 'short.npz')
    events = moving_events(5, 6)
    write_recording(path, [events], *SENSOR)
    once = [batch for batch, _ in played(path, BIN_NS, False)]
    thrice = [b for b, _ in itertools.islice(played(path, BIN_NS, True), 3 * len(once))]
    assert concatenate(once) == events
    assert [len(batch) for batch in thrice] == 3 * [len(batch) for batch in once]
    numbers = [int(batch.t[0]) // BIN_NS for batch in thrice]
    assert set(np.diff(numbers)) == {1}


def test_share_that_is_read_grows_to_all_of_it(tmp_path):
    path = str(tmp_path / 'short.aedat4')
    write_recording(path, [moving_events(5, 60, rate=2000)], *SENSOR)
    shares = [share for _, share in played(path, BIN_NS, False)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_reading_ahead_changes_nothing():
    pairs = list(zip(bins(50), np.linspace(0, 1, 50)))
    with ReadAhead(iter(pairs), most=7) as reader:
        assert list(reader) == pairs


def test_reading_ahead_is_bounded():
    taken = []
    endless = ((taken.append(1) or batch, 0.0) for batch in itertools.cycle(bins(1)))
    with ReadAhead(endless, most=7) as reader:
        for _ in itertools.islice(reader, 20):
            assert len(taken) <= 20 + 7 + 1
    assert len(taken) <= 20 + 7 + 1


def test_reading_ahead_of_few_events_is_bounded():
    too_many = threading.Event()

    def read():
        for count, batch in enumerate(itertools.cycle(bins(1))):
            if count > AHEAD_BATCHES + 1:  # one is out, and one stands at the door
                too_many.set()
            yield batch, 0.0

    with ReadAhead(read()) as reader:
        next(iter(reader))
        assert not too_many.wait(0.5)


def test_damage_is_told_where_it_lies():
    def read():
        yield from zip(bins(3), (0.1, 0.2, 0.3))
        raise RecordingError('damaged')

    heard = []
    with pytest.raises(RecordingError, match='damaged'), ReadAhead(read()) as reader:
        for batch, _ in reader:
            heard.append(batch)
    assert heard == bins(3)


def test_stalls_of_the_disk_make_nothing_late():
    def read():
        for start in (0, 30, 60):
            yield from ((batch, 0.0) for batch in bins(30, start))
            time.sleep(0.2)  # as a file that is opened again

    pace, late_s = Pace(threading.Event()), []
    with ReadAhead(read()) as reader:
        for batch, _ in reader:
            pace.wait_until(int(batch.t[-1]), 1.0)
            late_s.append(pace.late_s)
    assert len(late_s) == 90
    assert max(late_s) < 0.1
