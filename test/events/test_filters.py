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
    FlickerFilter,
    FlickerSettings,
    HotPixelFilter,
    HotPixelSettings,
    RefractoryFilter,
    RefractorySettings,
    _filters,
    concatenate,
    open_recording,
)
from cs3d_ros.events.periods import LONGEST_GAP_NS


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


@pytest.mark.parametrize('by_one', [False, True])
@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 70), share=st.sampled_from([0, 0.1, 0.8, 1])
)
def test_marked_events_are_copied_in_order_and_nothing_beyond(by_one, seed, count, share):
    batch = naive.random_batch(seed, count)
    keep = (np.random.default_rng(seed).uniform(size=count) < share).astype(np.uint8)
    kept = naive.select(batch, keep)
    columns = batch.x, batch.y, batch.t, batch.p
    wanted = kept.x, kept.y, kept.t, kept.p
    # what lies behind the eight that the kernel may write to stays as it was
    out = [np.full(len(kept) + 12, 77, column.dtype) for column in columns]
    _filters.copy_marked(keep, *columns, *[column[: len(kept) + 8] for column in out], by_one)
    for column, expected in zip(out, wanted):
        assert np.array_equal(column[: len(kept)], expected)
        assert (column[len(kept) + 8 :] == 77).all()


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


def resting(period_ns, width=346, height=260):
    return RefractoryFilter(width, height, RefractorySettings(period_ns))


def test_a_pixel_rests_for_the_refractory_period_after_an_event_it_kept():
    rows = [(1, 1, t, 1) for t in (0, 999, 1000, 1600, 2000)]
    assert resting(1000).push(events(rows)).t.tolist() == [0, 1000, 2000]


def test_a_pixel_does_not_make_its_neighbour_rest():
    assert len(resting(1000).push(events([(1, 1, 0, 1), (2, 1, 0, 1)]))) == 2


@given(streams(), st.sampled_from([1, 20, 1000, 2_000_000_000]))
def test_refractory_period_equals_its_naive_twin_however_it_is_cut(stream, period_ns):
    batch, parts = stream
    cleaner = resting(period_ns, batch.width, batch.height)
    kept = concatenate([cleaner.push(part) for part in parts])
    assert kept == naive.select(batch, naive.rested(batch, period_ns))


SECOND_NS = 10**9


def with_pixels(rates, seconds=3, noise=2000):
    """Return noise, and pixels {(x, y): Hz} that fire evenly."""
    rows = [
        (x, y, int((i + 0.5) * SECOND_NS / rate), 1)
        for (x, y), rate in rates.items()
        for i in range(rate * seconds)
    ]
    quiet = naive.random_batch(5, noise * seconds, span_ns=seconds * SECOND_NS)
    rows += zip(quiet.x.tolist(), quiet.y.tolist(), quiet.t.tolist(), quiet.p.tolist())
    return events(sorted(rows, key=lambda row: row[2]))


def test_hot_pixels_are_learned_in_one_window_and_reported():
    batch = with_pixels({(10, 20): 500, (11, 20): 300, (0, 0): 100})
    cleaner = HotPixelFilter(346, 260)
    kept = cleaner.push(batch)
    first, rest = kept.between(0, SECOND_NS), kept.between(SECOND_NS, 3 * SECOND_NS)
    assert first == batch.between(0, SECOND_NS)
    assert not set(zip(rest.x.tolist(), rest.y.tolist())) & {(10, 20), (11, 20), (0, 0)}
    assert len(rest) > 3900
    assert [(pixel.x, pixel.y) for pixel in cleaner.report()] == [(10, 20), (11, 20), (0, 0)]
    assert cleaner.report()[0].rate_hz == pytest.approx(500, abs=2)


def test_a_pixel_that_calms_down_is_let_through_again():
    hot = with_pixels({(10, 20): 500}, seconds=2)
    calm = events([(10, 20, 2 * SECOND_NS + i * 100_000_000, 1) for i in range(20)])
    cleaner = HotPixelFilter(346, 260)
    cleaner.push(hot)
    # the window of the first ten is still judged by the hot one before it
    assert len(cleaner.push(calm)) == 10
    assert cleaner.report() == []


@pytest.mark.parametrize('rate', [60, 200, 1000])
def test_edges_are_no_hot_pixels(rate):
    # an eyebrow that quivers in place: a line of pixels, one wide
    batch = with_pixels({(100 + i, 90): rate for i in range(30)})
    cleaner = HotPixelFilter(346, 260)
    assert len(cleaner.push(batch)) == len(batch)


def test_a_camera_that_slept_keeps_its_hot_pixels():
    cleaner = HotPixelFilter(346, 260)
    cleaner.push(with_pixels({(10, 20): 500}))
    later = 3 * SECOND_NS + 100 * LONGEST_GAP_NS
    assert len(cleaner.push(events([(10, 20, later, 1)]))) == 0
    assert cleaner.report()[0][:2] == (10, 20)


@given(streams(2 * LONGEST_GAP_NS), st.sampled_from([30, 200, 1_000_000_000]), st.integers(1, 3))
def test_hot_pixels_equal_their_naive_twin_however_they_are_cut(stream, window_ns, least):
    batch, parts = stream
    settings = HotPixelSettings(window_ns, 0.0, least, 1.0)
    cleaner = HotPixelFilter(batch.width, batch.height, settings)
    kept = concatenate([cleaner.push(part) for part in parts])
    longest_ns = window_ns + LONGEST_GAP_NS
    assert kept == naive.select(batch, naive.cool(batch, window_ns, least, 1.0, longest_ns))


def lamp(light_hz, cycles, jitter_ns=0, x=5, y=5):
    """Return what a pixel sees of a lamp: two ON events, then two OFF events a cycle."""
    rng = np.random.default_rng(1)
    period_ns = 1e9 / light_hz
    phases = [(0.1, 1), (0.2, 1), (0.6, 0), (0.7, 0)]
    return [
        (x, y, int((i + phase) * period_ns + rng.uniform(-jitter_ns, jitter_ns)), p)
        for i in range(cycles)
        for phase, p in phases
    ]


@pytest.mark.parametrize('light_hz', [100, 120])
def test_light_of_the_mains_is_dropped_after_some_cycles(light_hz):
    rows = lamp(light_hz, 50, jitter_ns=200_000)
    kept = FlickerFilter(346, 260).push(events(rows))
    assert kept == events(rows[:12])


@pytest.mark.parametrize('light_hz', [30, 60, 80, 110, 150, 240])
def test_other_periodic_motion_is_kept(light_hz):
    rows = lamp(light_hz, 50)
    settings = FlickerSettings(tolerance=0.05)
    assert len(FlickerFilter(346, 260, settings).push(events(rows))) == len(rows)


def test_light_that_stays_off_is_forgotten():
    rows = lamp(100, 10)
    late = [(x, y, t + 10**9, p) for x, y, t, p in lamp(100, 2)]
    assert len(FlickerFilter(346, 260).push(events(rows + late))) == 12 + 8


def test_a_moving_edge_is_no_flicker():
    edge = events([(x, y, x * 3_000_000, x % 2) for x in range(300) for y in range(200)])
    assert len(FlickerFilter(346, 260).push(edge)) == len(edge)


def flicker_gaps():
    """Draw times between events of which many are cycles of a light."""
    return st.sampled_from(
        [0, 1, 999, 3_000_000, 4_000_000, 4_999_999, 5_000_000, 9_000_000, 10**13]
    )


@given(
    st.lists(st.tuples(st.integers(0, 1), flicker_gaps(), st.integers(0, 1)), max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
    st.integers(1, 3),
)
def test_flicker_equals_its_naive_twin_however_it_is_cut(rows, cuts, cycles):
    x, gaps, p = np.array(rows, np.int64).reshape(-1, 3).T
    batch = events(np.column_stack([x, 0 * x, np.cumsum(gaps) - 10**15, p]), 2, 1)
    cleaner = FlickerFilter(2, 1, FlickerSettings(cycles=cycles))
    cuts = [0] + sorted(cuts) + [len(batch)]
    kept = concatenate([cleaner.push(batch[a:b]) for a, b in zip(cuts, cuts[1:])])
    bands = [(7_500_000, 9_166_667), (9_000_000, 11_000_000)]
    assert kept == naive.select(batch, naive.steady(batch, bands, cycles))


@pytest.mark.parametrize(
    'make',
    [
        lambda: HotPixelFilter(4, 3, HotPixelSettings(window_ns=0)),
        lambda: HotPixelFilter(4, 3, HotPixelSettings(ratio=0.5)),
        lambda: FlickerFilter(4, 3, FlickerSettings(lights_hz=(0.1, 100.0))),
        lambda: FlickerFilter(4, 3, FlickerSettings(cycles=128)),
        lambda: RefractoryFilter(4, 3, RefractorySettings(0)),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_lamps_of_a_real_scene_are_dropped_and_its_still_parts_are_not(shared_data):
    path = shared_data / 'recordings' / 'davis346_bench.aedat4'
    with open_recording(str(path)) as recording:
        batch = concatenate(list(recording.batches()))
    kept = FlickerFilter(346, 260).push(batch)

    def share(left, top, right, bottom):
        """Return which part of the events of a box survives, once the light is known."""
        start_ns = int(batch.t[0]) + 50_000_000
        before, after = (
            np.count_nonzero(
                (b.t >= start_ns) & (b.x >= left) & (b.x < right) & (b.y >= top) & (b.y < bottom)
            )
            for b in (batch, kept)
        )
        return after / before

    assert share(53, 3, 65, 15) < 0.1
    assert share(206, 12, 220, 22) < 0.1
    assert share(180, 30, 240, 130) > 0.95


def test_a_real_street_survives_where_as_much_noise_does_not(shared_data):
    path = shared_data / 'recordings' / 'davis346_slice_zstd.aedat4'
    with open_recording(str(path)) as recording:
        street = concatenate(list(recording.batches()))
    noise = naive.random_batch(1, len(street), span_ns=int(street.t[-1] - street.t[0]))
    cleaner = BackgroundActivityFilter(346, 260)
    assert len(cleaner.push(street)) > 0.9 * len(street)
    cleaner.reset()
    assert len(cleaner.push(noise)) < 0.06 * len(noise)
