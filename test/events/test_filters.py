import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import streams

from cs3d_ros.events import (
    BackgroundActivityFilter,
    BackgroundActivitySettings,
    EventBatch,
    concatenate,
)


def events(rows, width=346, height=260):
    """Return a batch of (x, y, t_ns, p) rows."""
    x, y, t, p = np.array(rows, np.int64).reshape(-1, 4).T
    return EventBatch(
        x.astype(np.uint16), y.astype(np.uint16), t, p.astype(np.uint8), width, height
    )


def background(tau_ns, width=346, height=260):
    return BackgroundActivityFilter(width, height, BackgroundActivitySettings(tau_ns))


def test_isolated_event_is_dropped():
    assert len(background(1000).push(events([(5, 5, 0, 1)]))) == 0


@pytest.mark.parametrize('dx', [-1, 0, 1])
@pytest.mark.parametrize('dy', [-1, 0, 1])
def test_each_neighbour_but_the_pixel_itself_is_company(dx, dy):
    kept = background(1000).push(events([(5 + dx, 5 + dy, 0, 0), (5, 5, 10, 1)]))
    assert kept == events([(5, 5, 10, 1)] if dx or dy else [])


@pytest.mark.parametrize('age_ns, kept', [(0, 1), (1000, 1), (1001, 0), (2**32, 0), (2**33, 0)])
def test_company_lasts_for_tau_and_no_longer(age_ns, kept):
    assert len(background(1000).push(events([(4, 5, 0, 1), (5, 5, age_ns, 1)]))) == kept


def test_two_pixels_away_is_no_company():
    assert len(background(1000).push(events([(5, 5, 0, 1), (7, 5, 1, 1)]))) == 0


def test_opposite_edges_of_the_sensor_are_no_neighbours():
    rows = [(0, 1, 0, 1), (3, 0, 1, 1), (3, 2, 2, 1), (0, 0, 3, 1)]
    kept = background(1000, 4, 3).push(events(rows, 4, 3))
    assert kept == events([(0, 0, 3, 1)], 4, 3)


@given(streams(), st.sampled_from([1, 20, 1000, 2_000_000_000]))
def test_background_activity_equals_its_naive_twin_however_it_is_cut(stream, tau_ns):
    batch, parts = stream
    cleaner = background(tau_ns, batch.width, batch.height)
    kept = concatenate([cleaner.push(part) for part in parts])
    assert kept == naive.select(batch, naive.supported(batch, tau_ns))
    assert cleaner.counts == (len(batch), len(kept), 0)


def test_filter_forgets_a_stream_when_the_clock_goes_back():
    cleaner = background(1000)
    cleaner.push(events([(4, 5, 10**12, 1)]))
    assert len(cleaner.push(events([(5, 5, 10, 1)]))) == 0
    assert cleaner.counts.restarts == 1


def test_reset_forgets_the_stream():
    cleaner = background(1000)
    cleaner.push(events([(4, 5, 0, 1)]))
    cleaner.reset()
    assert len(cleaner.push(events([(5, 5, 0, 1)]))) == 0


def test_events_of_another_sensor_are_refused():
    with pytest.raises(ValueError, match='346 x 260, got events of 4 x 3'):
        background(1000).push(events([], 4, 3))


@pytest.mark.parametrize('tau_ns', [0, -1, 2_000_000_001])
def test_impossible_tau_is_refused(tau_ns):
    with pytest.raises(ValueError, match='tau_ns must be'):
        background(tau_ns)


def test_moving_edges_survive_and_noise_does_not():
    scene = naive.random_batch(1, 20_000, span_ns=10**9)
    edge = events([(x, y, x * 3_000_000, 1) for x in range(300) for y in range(200)])
    assert len(background(5_000_000).push(scene)) < 0.02 * len(scene)
    assert len(background(5_000_000).push(edge)) > 0.99 * len(edge)
