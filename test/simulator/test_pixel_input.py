import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_pixel import watch

from cs3d_ros.simulator import PRESETS, SETTING_HELP, PixelModel, PixelSettings

STEP_NS = 10_000_000


@pytest.mark.parametrize(
    'frame, words',
    [
        (np.zeros((2, 1)), 'must have shape'),
        (np.zeros(1), 'must have shape'),
        (np.full((1, 1), np.nan), 'NaN or infinity'),
        (np.full((1, 1), np.inf), 'NaN or infinity'),
        (np.full((1, 1), -0.5), 'values of -0.5'),
        (np.full((1, 1), 65535.0), 'values of 65535'),
        (np.zeros((1, 1), np.uint16), 'uint16'),
        (np.zeros((1, 1), np.int64), 'int64'),
        (np.zeros((1, 1), bool), 'bool'),
        (np.zeros((1, 1), complex), 'complex'),
    ],
)
def test_frame_that_is_none_is_refused_and_leaves_the_state(frame, words):
    pixels, other = PixelModel(1, 1), PixelModel(1, 1)
    pixels.push(np.full((1, 1), 55.0), 0)
    other.push(np.full((1, 1), 55.0), 0)
    with pytest.raises(ValueError, match=words):
        pixels.push(frame, STEP_NS)
    ours, theirs = (each.push(np.full((1, 1), 150.0), STEP_NS) for each in (pixels, other))
    assert ours.t.tolist() == theirs.t.tolist()


@pytest.mark.parametrize('t_ns', [5, 4, -(2**62), 2**62, 2**80])
def test_time_that_does_not_increase_or_fit_is_refused(t_ns):
    pixels = PixelModel(1, 1)
    pixels.push(np.full((1, 1), 55.0), 5)
    with pytest.raises(ValueError, match='must increase|int64'):
        pixels.push(np.full((1, 1), 55.0), t_ns)
    assert len(pixels.push(np.full((1, 1), 150.0), 6))


def test_interval_of_too_much_noise_is_refused_instead_of_filling_the_memory():
    pixels = PixelModel(346, 260, PRESETS['noisy'])
    frame = np.zeros((260, 346), np.uint8)
    pixels.push(frame, 0)
    with pytest.raises(ValueError, match='push frames more often'):
        pixels.push(frame, 3_600_000_000_000)


def test_events_of_one_frame_are_bounded():
    settings = PixelSettings(0.01, 0.01)
    _, _, t, _ = watch([np.zeros((2, 3)), np.full((2, 3), 1e4)], [0, 1], settings)
    assert len(t) <= 6 * math.log(1e4) / 0.01


@pytest.mark.parametrize(
    'change',
    [
        {'on_threshold': 0.0},
        {'off_threshold': -1.0},
        {'on_threshold': float('nan')},
        {'threshold_sigma': -0.1},
        {'cutoff_hz': -1.0},
        {'cutoff_hz': 1e-3},
        {'cutoff_hz': float('inf')},
        {'refractory_us': -1.0},
        {'leak_rate_hz': -1.0},
        {'leak_spread': 2.0},
        {'shot_noise_hz': float('nan')},
        {'shot_noise_half_dn': 0.0},
        {'hot_pixel_share': 1.5},
        {'light': 0.0},
    ],
)
def test_setting_out_of_range_is_refused_by_name(change):
    (name,) = change
    words = 'contrast thresholds' if name.endswith('_threshold') else name
    with pytest.raises(ValueError, match=words):
        PixelModel(1, 1, PixelSettings(**change))


def test_every_setting_is_explained():
    assert list(SETTING_HELP) == list(PixelSettings._fields)
    assert list(PRESETS) == ['ideal', 'clean', 'noisy', 'low_light', 'davis346', 'imx636']


@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from(sorted(PRESETS)),
    st.lists(st.integers(1, 10**8), min_size=1, max_size=4),
    st.sampled_from([np.uint8, np.float16, np.float32, np.float64]),
    st.integers(0, 2**32),
    st.sampled_from(['C', 'F', 'strided']),
)
def test_any_frames_make_events_inside_sensor_and_time(
    width, height, preset, gaps, dtype, seed, layout
):
    rng = np.random.default_rng(seed)
    pixels = PixelModel(width, height, PRESETS[preset], seed)
    t_ns, previous = -(10**6), None
    for gap in [0] + gaps:
        t_ns += gap
        frame = rng.integers(0, 256, (height, width)).astype(dtype)
        if layout == 'F':
            frame = np.asfortranarray(frame)
        elif layout == 'strided':
            frame = np.repeat(frame, 2, 1)[:, ::2]
        batch = pixels.push(frame, t_ns)
        assert (batch.x < width).all() and (batch.y < height).all() and (batch.p < 2).all()
        assert (np.diff(batch.t) >= 0).all()
        if previous is None:
            assert len(batch) == 0
        elif len(batch):
            assert previous <= batch.t[0] and batch.t[-1] <= t_ns
        previous = t_ns
