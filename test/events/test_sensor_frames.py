"""Frames of the whole sensor, and where a stream is cut into periods."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import random_batch, random_cuts, streams

from cs3d_ros.events import CountFrames, EventBatch, EventFrames, PeriodCutter, TimeSurfaces
from cs3d_ros.events.periods import LATE_NS, LONGEST_GAP_NS

GAP_NS = 20_000_000_000
PERIODS = st.sampled_from([1_000_000_007, 4_000_000_000, 13_000_000_000])


def at(t_ns, x=0, y=0, p=1, width=4, height=3):
    """Return a batch with an event at each of the times."""
    t = np.atleast_1d(np.array(t_ns, np.int64))
    column = np.ones(len(t), np.uint16)
    return EventBatch(x * column, y * column, t, (p * column).astype(np.uint8), width, height)


def collect(frames, parts):
    return [(frame.t_ns, frame.image) for part in parts for frame in frames.push(part)]


def without_restarts(batch, period_ns):
    """Return the events after the last silence that begins anew, and whether there was one."""
    t, start = batch.t.tolist(), 0
    longest_ns = period_ns + LONGEST_GAP_NS
    for i in range(1, len(t)):
        if t[i] - t[i - 1] // period_ns * period_ns > longest_ns:
            start = i
    return batch[start:]


def same(got, expected):
    return [end for end, _ in got] == [end for end, _ in expected] and all(
        image.dtype == wanted.dtype and np.array_equal(image, wanted)
        for (_, image), (_, wanted) in zip(got, expected)
    )


@given(streams(GAP_NS), PERIODS)
def test_event_frames_equal_their_naive_twin_however_they_are_cut(stream, period_ns):
    batch, parts = stream
    frames = EventFrames(batch.width, batch.height, period_ns, 32)
    tail = without_restarts(batch, period_ns)
    expected = [
        (end, naive.whole_frame(part, 32)) for end, part in naive.by_period(tail, period_ns)
    ]
    got = collect(frames, parts)
    assert same(got[len(got) - len(expected) :], expected)


@given(streams(GAP_NS), PERIODS)
def test_count_frames_equal_their_naive_twin_however_they_are_cut(stream, period_ns):
    batch, parts = stream
    frames = CountFrames(batch.width, batch.height, period_ns)
    tail = without_restarts(batch, period_ns)
    expected = [
        (end, naive.counts_by_polarity(part)) for end, part in naive.by_period(tail, period_ns)
    ]
    got = collect(frames, parts)
    assert same(got[len(got) - len(expected) :], expected)


@given(streams(GAP_NS), PERIODS)
def test_time_surfaces_equal_their_naive_twin_however_they_are_cut(stream, period_ns):
    batch, parts = stream
    frames = TimeSurfaces(batch.width, batch.height, period_ns, 5_000_000_000)
    tail = without_restarts(batch, period_ns)
    ends = [end for end, _ in naive.by_period(tail, period_ns)]
    got = collect(frames, parts)
    got = got[len(got) - len(ends) :]
    assert [end for end, _ in got] == ends
    for end, image in got:
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, naive.time_surface(tail, end, 5e9), rtol=1e-6)


@given(streams(GAP_NS), PERIODS)
def test_cuts_do_not_change_any_frame(stream, period_ns):
    batch, parts = stream
    for kind in (EventFrames, CountFrames, TimeSurfaces):
        whole = collect(kind(batch.width, batch.height, period_ns), [batch])
        assert same(collect(kind(batch.width, batch.height, period_ns), parts), whole)


def test_many_events_of_all_periods_land_in_their_frames():
    batch = random_batch(1, 200_000, span_ns=10**9)
    got = collect(EventFrames(346, 260, step=7), random_cuts(batch, 2))
    expected = [
        (end, naive.whole_frame(part, 7)) for end, part in naive.by_period(batch, 33_333_333)
    ]
    assert same(got, expected)


@pytest.mark.parametrize('extra, level', [(0, 128), (1, 129), (-1, 127)])
def test_a_storm_on_one_pixel_does_not_overflow(extra, level):
    rows = [1] * 100_000 + [0] * (100_000 - extra)
    storm = EventBatch(
        np.zeros(len(rows), np.uint16),
        np.zeros(len(rows), np.uint16),
        np.zeros(len(rows), np.int64),
        np.array(rows, np.uint8),
        1,
        1,
    )
    frames = EventFrames(1, 1, 10, 1)
    first, second = frames.push(storm) + frames.push(at([10, 20], width=1, height=1))
    assert (first.image.item(), second.image.item()) == (level, 129)


def test_counts_saturate_at_the_end_of_their_type():
    frames = CountFrames(1, 1, 10)
    frames.push(at([0] * 70_000, width=1, height=1))
    assert frames.advance(10)[0].image.ravel().tolist() == [0, 65535]


def test_periods_without_events_have_frames():
    frames = EventFrames(4, 3, 10).push(at([5, 35]))
    assert [frame.t_ns for frame in frames] == [10, 20, 30]
    assert (frames[1].image == 128).all()


def test_frames_cannot_be_written_to():
    assert not any(f.image.flags.writeable for f in EventFrames(4, 3, 10).push(at([5, 35])))


def test_advance_closes_the_periods_that_have_ended():
    frames = EventFrames(4, 3, 10)
    frames.push(at(5))
    assert [frame.t_ns for frame in frames.advance(29)] == [10, 20]
    assert frames.advance(29) == []


def test_nothing_ends_before_the_first_event():
    assert EventFrames(4, 3, 10).advance(10**12) == []


def test_reset_forgets_the_open_period():
    frames = EventFrames(4, 3, 10)
    frames.push(at(5))
    frames.reset()
    frames.push(at(7, x=1))
    assert np.argwhere(frames.advance(10)[0].image != 128).tolist() == [[0, 1]]


def test_surface_fades_with_age_and_knows_polarity():
    frames = TimeSurfaces(4, 3, 10, 5)
    frames.push(at(5, x=2, y=1, p=0))
    image = frames.advance(10)[0].image
    assert image[0, 1, 2] == pytest.approx(np.exp(-1), rel=1e-6)
    assert np.count_nonzero(image) == 1


def test_a_long_silence_closes_the_open_period_alone():
    cuts = PeriodCutter(10).push(at([5, 11 + LONGEST_GAP_NS]))
    assert [(list(cut.ends_ns), cut.restart) for cut in cuts] == [([], False), ([10], True)]


@pytest.mark.parametrize('period_ns', [1_000_000_000, LONGEST_GAP_NS, 2 * LONGEST_GAP_NS])
def test_a_steady_stream_never_begins_anew(period_ns):
    cuts = PeriodCutter(period_ns).push(at(np.arange(100) * 1_000_000_000 + 7))
    assert not any(cut.restart for cut in cuts)
    assert sum(len(cut.ends_ns) for cut in cuts) == 99_000_000_007 // period_ns


@given(streams(GAP_NS), PERIODS)
def test_no_silence_costs_an_event(stream, period_ns):
    batch, parts = stream
    frames = CountFrames(batch.width, batch.height, period_ns)
    got = [image for _, image in collect(frames, parts)]
    last_ns = int(batch.t[-1]) if len(batch) else 0
    got += [frame.image for frame in frames.advance(last_ns + period_ns)]
    assert sum(int(image.sum()) for image in got) == len(batch)


def test_late_events_are_told_and_left_out():
    cutter = PeriodCutter(10)
    cutter.push(at(25))
    assert cutter.push(at([15, 19, 21])) == [(range(0), False, 20, 2, 2, 3)]


def test_much_too_late_means_a_new_clock():
    cutter = PeriodCutter(10)
    cutter.push(at(5 + LATE_NS))
    assert cutter.push(at(-15))[0].restart


def test_a_period_may_be_longer_than_the_longest_gap():
    cuts = PeriodCutter(6 * LONGEST_GAP_NS).push(at([0, 5 * LONGEST_GAP_NS]))
    assert [(cut.first, cut.last) for cut in cuts] == [(0, 2)]


@pytest.mark.parametrize(
    'make',
    [
        lambda: EventFrames(4, 3, 0),
        lambda: EventFrames(4, 3, step=128),
        lambda: TimeSurfaces(4, 3, tau_ns=0),
        lambda: CountFrames(0, 3),
    ],
)
def test_impossible_frames_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_events_of_another_sensor_are_refused():
    with pytest.raises(ValueError, match='4 x 3, got events of 5 x 3'):
        EventFrames(4, 3).push(at(0, width=5))
