import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs3d_ros.simulator import PixelModel, PixelSettings

STEP_NS = 10_000_000


def level(value):
    """Return the DN whose log intensity is ``value``."""
    return np.full((1, 1), np.exp(value))


def run(levels, settings=PixelSettings(), width=1):
    """Return [(t_ns, p), ...] of one pixel that sees these log intensities, a frame each 10 ms."""
    pixels = PixelModel(1, 1, settings)
    events = []
    for i, value in enumerate(levels):
        batch = pixels.push(level(value), i * STEP_NS)
        events += list(zip(batch.t.tolist(), batch.p.tolist()))
    return events


def test_first_frame_fires_nothing():
    assert run([5.0]) == []


def test_step_fires_one_event_per_threshold():
    assert [p for _, p in run([4.0, 5.05])] == [1] * 5
    assert [p for _, p in run([5.05, 4.0])] == [0] * 5


def test_ramp_crosses_at_the_times_of_its_closed_form():
    # ln I rises by 0.5 in 10 ms: crossings of 0.2 and 0.4 at 4 and 8 ms
    assert [t for t, _ in run([4.0, 4.5])] == [4_000_000, 8_000_000]


def test_rest_below_a_threshold_is_kept_for_the_next_frame():
    assert [t for t, _ in run([4.0, 4.15, 4.3])] == pytest.approx([STEP_NS * (1 + 0.05 / 0.15)])


def test_sine_crosses_at_the_times_of_its_closed_form():
    times = np.arange(0, 2001) * 500_000  # 1 s, a frame every 0.5 ms
    values = 4.5 + 0.5 * np.sin(2 * np.pi * times * 1e-9)
    pixels = PixelModel(1, 1, PixelSettings(0.2, 0.2))
    fired = np.concatenate([pixels.push(level(v), int(t)).t for v, t in zip(values, times)])
    # rising through 4.7, 4.9, then falling through 4.7, 4.5, 4.3, 4.1, then rising again
    rise = np.arcsin([0.4, 0.8]) / (2 * np.pi)
    fall = 0.5 - np.arcsin([0.4, 0.0, -0.4, -0.8]) / (2 * np.pi)
    again = 1 + np.arcsin([-0.4, 0.0]) / (2 * np.pi)
    expected = np.concatenate([rise, fall, again[:1], [1.0]])
    assert len(fired) in (7, 8)  # the last crossing falls on the last frame
    assert np.abs(fired * 1e-9 - expected[: len(fired)]).max() < 5e-6


@given(
    st.lists(st.floats(3.2, 5.5), min_size=2, max_size=8),
    st.floats(0.05, 0.6),
    st.floats(0.05, 0.6),
)
def test_pixel_equals_its_naive_twin(levels, on_threshold, off_threshold):
    # crooked thresholds, as at an exact tie rounding alone decides whether an event comes
    settings = PixelSettings(1.00137 * on_threshold, 1.00173 * off_threshold)
    fired = run(levels, settings)
    seen = [float(np.log(level(value))[0, 0]) for value in levels]
    expected = naive.pixel_events(seen, [i * STEP_NS for i in range(len(levels))], *settings[:2])
    assert [p for _, p in fired] == [p for _, p in expected]
    assert np.allclose([t for t, _ in fired], [t for t, _ in expected], rtol=0, atol=1000)


def test_dark_pixels_follow_a_line_instead_of_the_logarithm():
    pixels = PixelModel(1, 1, PixelSettings(0.2, 0.2))
    pixels.push(np.full((1, 1), 0.0), 0)
    assert len(pixels.push(np.full((1, 1), 10.0), 1)) == int(np.log(20) / 2 / 0.2)


def test_events_come_sorted_and_inside_their_interval():
    rng = np.random.default_rng(1)
    pixels = PixelModel(40, 30)
    for i in range(20):
        # few grey levels, so that pixels often return exactly to where they were
        batch = pixels.push(
            rng.choice(np.array([40, 60, 90, 200], np.uint8), (30, 40)), i * STEP_NS
        )
        if i:
            assert len(batch)
            assert (np.diff(batch.t) >= 0).all()
            assert (i - 1) * STEP_NS <= batch.t[0]
            assert batch.t[-1] <= i * STEP_NS


@pytest.mark.parametrize('clip', ['neutral_to_smile', 'smile_gaze'])
def test_totals_equal_those_of_v2e(shared_data, clip):
    import json

    from cs3d_ros.simulator import simulate_video

    reference = json.loads((shared_data / 'reference' / 'v2e_{}.json'.format(clip)).read_text())
    case = reference['cases']['ideal_asym']
    batches = list(
        simulate_video(shared_data / 'videos' / (clip + '.mp4'), settings=PixelSettings(0.2, 0.23))
    )
    on = sum(batch.on_count for batch in batches)
    off = sum(len(batch) for batch in batches) - on
    assert on == pytest.approx(case['total_on'], rel=1e-3)
    assert off == pytest.approx(case['total_off'], rel=1e-3)


def test_reset_begins_anew():
    pixels = PixelModel(1, 1)
    pixels.push(level(4.0), 100)
    pixels.reset()
    assert len(pixels.push(level(5.5), 50)) == 0


@pytest.mark.parametrize(
    'frame, words',
    [
        (np.zeros((2, 1)), 'must have shape'),
        (np.full((1, 1), np.nan), 'NaN or infinity'),
        (np.full((1, 1), np.inf), 'NaN or infinity'),
    ],
)
def test_frame_that_is_none_is_refused(frame, words):
    with pytest.raises(ValueError, match=words):
        PixelModel(1, 1).push(frame, 0)


def test_time_must_increase():
    pixels = PixelModel(1, 1)
    pixels.push(level(4.0), 5)
    with pytest.raises(ValueError, match='must increase'):
        pixels.push(level(4.0), 5)


@pytest.mark.parametrize('threshold', [0.0, -1.0, float('nan')])
def test_threshold_without_bound_on_the_events_is_refused(threshold):
    with pytest.raises(ValueError, match='thresholds'):
        PixelModel(1, 1, PixelSettings(on_threshold=threshold))
