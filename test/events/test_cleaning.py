import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import random_batch, random_cuts, streams

from cs3d_ros.events import (
    BackgroundActivityFilter,
    BackgroundActivitySettings,
    Cleaner,
    CleaningSettings,
    EventBatch,
    concatenate,
)

MS = 1_000_000
EVERYTHING = CleaningSettings(
    hot_pixels=True,
    flicker_hz=100.0,
    refractory_ns=MS,
    background_activity_ns=5 * MS,
    rate_hz=100_000.0,
)


def clean(settings, parts, slice_ns=5 * MS):
    """Return what is kept of a stream in all, and the cleaner."""
    cleaner = Cleaner(parts[0].width, parts[0].height, settings, slice_ns)
    return concatenate([cleaner.push(part) for part in parts] + [cleaner.flush()]), cleaner


def merged(*batches):
    """Return the events of batches of one sensor in the order of their times."""
    order = np.argsort(np.concatenate([batch.t for batch in batches]), kind='stable')
    columns = [np.concatenate([getattr(batch, name) for batch in batches]) for name in 'xytp']
    first = batches[0]
    return EventBatch(*(column[order] for column in columns), first.width, first.height)


def pulses(pixels, seconds, hz, lags_ns, polarities):
    """Return events of pixels that each fire a pattern at a rate."""
    starts = np.arange(0, seconds * 10**9, 10**9 // hz)
    t = (starts[:, None, None] + np.array(lags_ns)[:, None]) + np.zeros(len(pixels), np.int64)
    x, y = (np.broadcast_to(column, t.shape).ravel() for column in np.array(pixels).T)
    p = np.broadcast_to(np.array(polarities)[:, None], t.shape).ravel()
    order = np.argsort(t.ravel(), kind='stable')
    return EventBatch(
        x[order].astype(np.uint16),
        y[order].astype(np.uint16),
        t.ravel()[order],
        p[order].astype(np.uint8),
        346,
        260,
    )


def test_without_a_filter_the_same_batch_comes_out():
    batch = random_batch(1)
    cleaner = Cleaner(346, 260)
    assert cleaner.push(batch) is batch
    assert len(cleaner.flush()) == 0
    assert (sum(cleaner.counts), cleaner.report()) == (0, [])


def test_one_filter_alone_does_what_it_does_by_itself():
    batch = random_batch(1, 50_000)
    alone = BackgroundActivityFilter(346, 260, BackgroundActivitySettings(5 * MS))
    kept, cleaner = clean(CleaningSettings(background_activity_ns=5 * MS), [batch])
    assert kept == alone.push(batch)
    assert cleaner.counts.background_activity == len(batch) - len(kept) > 0


@pytest.mark.parametrize('name', CleaningSettings._fields)
def test_each_setting_switches_on_its_filter_and_no_other(name):
    settings = CleaningSettings(**{name: getattr(EVERYTHING, name)})
    storm = random_batch(1, 40_000, span_ns=200 * MS)
    hot = pulses([(5, 5)], 3, 500, [0], [1])
    flickering = pulses([(40 + i, 40) for i in range(9)], 3, 100, [0, 5 * MS], [1, 0])
    bursting = pulses([(90, 90)], 3, 30, [0, 1000], [1, 1])
    kept, cleaner = clean(settings, [merged(storm, hot, flickering, bursting)])
    dropped = {key: count for key, count in cleaner.counts._asdict().items() if count}
    assert set(dropped) == {name.replace('_hz', '').replace('_ns', '')}


@pytest.mark.parametrize('seed', range(3))
def test_what_was_learned_of_pixels_does_not_depend_on_cuts(seed):
    hot = pulses([(5, 5)], 3, 500, [0], [1])
    flickering = pulses([(40 + i, 40) for i in range(9)], 3, 100, [0, 5 * MS], [1, 0])
    batch = merged(random_batch(seed, 40_000, span_ns=3000 * MS), hot, flickering)
    kept, cleaner = clean(EVERYTHING, random_cuts(batch, seed, 60))
    assert kept == clean(EVERYTHING, [batch])[0]
    assert min(cleaner.counts.hot_pixels, cleaner.counts.flicker) > 900


settings_drawn = st.builds(
    CleaningSettings,
    st.booleans(),
    st.sampled_from([0.0, 100.0]),
    st.sampled_from([0, 20, 5 * MS]),
    st.sampled_from([0, 30, 10 * MS]),
    st.sampled_from([0.0, 1000.0, 1e8]),
)


@given(streams(3000), settings_drawn, st.sampled_from([100, 1_000_000]))
def test_cleaning_does_not_depend_on_cuts_and_accounts_for_all(stream, settings, slice_ns):
    batch, parts = stream
    whole, _ = clean(settings, [batch], slice_ns)
    kept, cleaner = clean(settings, parts, slice_ns)
    assert kept == whole
    assert len(kept) + sum(cleaner.counts) == len(batch)


@given(streams(3000), st.sampled_from([20, 5 * MS]), st.sampled_from([30, 10 * MS]))
def test_company_is_sought_among_events_that_pixels_at_rest_have_not_lost(stream, rest, reach):
    batch, parts = stream
    rested = naive.select(batch, naive.rested(batch, rest))
    expected = naive.select(rested, naive.supported(rested, reach))
    settings = CleaningSettings(refractory_ns=rest, background_activity_ns=reach)
    assert clean(settings, parts)[0] == expected


def test_a_hot_pixel_is_no_company_to_noise_around_it():
    hot = pulses([(50, 50)], 4, 1000, [0], [1])
    beside = pulses([(51, 50)], 4, 8, [300_000], [1])
    batch = merged(hot, beside)
    saved, _ = clean(CleaningSettings(background_activity_ns=5 * MS), [batch])
    kept, cleaner = clean(CleaningSettings(True, background_activity_ns=5 * MS), [batch])
    assert np.count_nonzero(saved.x == 51) == 4 * 8
    assert len(kept.between(1010 * MS, 4000 * MS)) == 0  # as soon as it is learned
    assert [(pixel.x, pixel.y) for pixel in cleaner.report()] == [(50, 50)]


def test_a_long_rest_does_not_hide_that_a_lamp_flickers():
    lags = [0, 700_000, 5 * MS, 5_700_000]
    lamp = pulses([(x, y) for x in range(5) for y in range(5)], 2, 100, lags, [1, 1, 0, 0])
    settings = CleaningSettings(flicker_hz=100.0, refractory_ns=6 * MS)
    kept, _ = clean(settings, [lamp])
    assert len(kept.between(10**8, 2 * 10**9)) == 0


def test_the_limit_is_spent_on_what_the_others_keep():
    noise = random_batch(1, 20_000, span_ns=100 * MS)
    edge = pulses([(x, 100) for x in range(20)], 1, 100, [0], [1]).between(0, 100 * MS)
    settings = CleaningSettings(background_activity_ns=100_000, rate_hz=30_000.0)
    _, cleaner = clean(settings, [merged(noise, edge)])
    assert cleaner.counts.background_activity > 18_000
    assert cleaner.counts.rate == 0


def test_a_clock_that_went_back_begins_anew():
    batch = random_batch(1, 5000)
    cleaner = Cleaner(346, 260, EVERYTHING)
    cleaner.push(random_batch(2, 5000, start_ns=10**12))
    again = concatenate([cleaner.push(batch), cleaner.flush()])
    assert again == clean(EVERYTHING, [batch])[0]


def test_reset_forgets_what_is_held():
    cleaner = Cleaner(346, 260, EVERYTHING)
    cleaner.push(random_batch(2, 5000))
    cleaner.reset()
    assert len(cleaner.flush()) == 0


@pytest.mark.parametrize(
    'settings',
    [
        CleaningSettings(flicker_hz=0.5),
        CleaningSettings(refractory_ns=-1),
        CleaningSettings(background_activity_ns=3_000_000_000),
        CleaningSettings(rate_hz=-1.0),
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match='must be'):
        Cleaner(4, 3, settings)
