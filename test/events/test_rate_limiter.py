import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import random_batch, streams

from cs3d_ros.events import EventBatch, RateLimiter, RateSettings, concatenate, rate_limiter
from cs3d_ros.events.rate_limiter import fair_shares

SLICE_NS = 1_000_000


def limiter(budget, width=346, height=260, slice_ns=SLICE_NS, cell_px=16):
    """Return a limiter that lets a number of events pass per slice."""
    rate_hz = (budget + 0.5) * 1e9 / slice_ns
    return RateLimiter(width, height, RateSettings(rate_hz, slice_ns, cell_px))


def squeeze(stage, parts):
    return concatenate([stage.push(part) for part in parts] + [stage.flush()])


def test_slices_within_the_budget_pass_whole():
    batch = random_batch(1, 5000, span_ns=50 * SLICE_NS)
    assert squeeze(limiter(1000), [batch]) == batch


def test_no_slice_exceeds_its_budget_and_none_wastes_it():
    batch = random_batch(1, 50_000, span_ns=50 * SLICE_NS)
    kept = squeeze(limiter(300), [batch])
    assert (np.bincount(kept.t // SLICE_NS) == 300).all()


def test_a_quiet_cell_keeps_all_while_a_busy_one_is_thinned():
    busy = random_batch(1, 5000, 16, 16, span_ns=SLICE_NS)
    quiet = random_batch(2, 20, 16, 16, span_ns=SLICE_NS)
    order = np.argsort(np.concatenate([busy.t, quiet.t]), kind='stable')
    columns = [
        np.concatenate([a, b])[order]
        for a, b in ((busy.x, quiet.x + np.uint16(64)), (busy.y, quiet.y), (busy.t, quiet.t))
    ]
    batch = EventBatch(*columns, np.ones(5020, np.uint8), 346, 260)
    kept = squeeze(limiter(100), [batch])
    assert np.count_nonzero(kept.x >= 64) == 20
    assert np.count_nonzero(kept.x < 64) == 80
    # evenly over the slice, not its beginning
    assert np.histogram(kept.t[kept.x < 64], 4, (0, SLICE_NS))[0].tolist() == pytest.approx(
        [20] * 4, abs=4
    )


@given(streams(3000), st.integers(1, 8), st.sampled_from([7, 100, 1000]))
def test_limiter_equals_its_naive_twin_however_it_is_cut(stream, budget, slice_ns):
    batch, parts = stream
    stage = limiter(budget, batch.width, batch.height, slice_ns, 2)
    kept = squeeze(stage, parts)
    slices = [batch.between(t, t + slice_ns) for t in sorted(set(batch.t // slice_ns * slice_ns))]
    expected = [naive.select(part, naive.thinned(part, budget, 2)) for part in slices]
    assert kept == concatenate([batch[:0]] + expected)
    assert stage.counts == (len(batch), len(kept), 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.data())
def test_shares_are_those_of_cells_that_take_one_in_turn(counts, data):
    if sum(counts) < 2:
        return
    budget = data.draw(st.integers(1, sum(counts) - 1))
    shares = [0] * len(counts)
    while sum(shares) < budget:
        for cell in range(len(counts)):
            shares[cell] += shares[cell] < counts[cell] and sum(shares) < budget
    assert fair_shares(np.array(counts, np.int32), budget).tolist() == shares


def test_a_slice_comes_out_once_it_is_over():
    batch = random_batch(1, 100, span_ns=SLICE_NS)
    stage = limiter(1000)
    assert len(stage.push(batch)) == 0
    assert len(stage.advance(SLICE_NS - 1)) == 0
    assert stage.advance(SLICE_NS) == batch
    assert len(stage.flush()) == 0


def test_a_slice_comes_out_after_a_silence_of_hours():
    batch = random_batch(1, 100, span_ns=SLICE_NS)
    stage = limiter(1000)
    stage.push(batch)
    assert stage.advance(10**13) == batch


def test_a_storm_is_not_held_without_bound(monkeypatch):
    monkeypatch.setattr(rate_limiter, 'HELD_EVENTS', 3000)
    stage = limiter(10)
    storm = random_batch(1, 100_000, span_ns=SLICE_NS)
    for first in range(0, len(storm), 1000):
        stage.push(storm[first : first + 1000])
    kept = stage.flush()
    assert len(kept) == 10
    assert kept.t[-1] < storm.t[3000]
    assert stage.counts.dropped == 100_000 - 10


@pytest.mark.parametrize(
    'settings', [RateSettings(0.0), RateSettings(slice_ns=0), RateSettings(cell_px=0)]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match='must be positive'):
        RateLimiter(4, 3, settings)
