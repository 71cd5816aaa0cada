import json

import cv2
import naive_pixel
import numpy as np
import pytest

from cs3d_ros.simulator import PixelModel, PixelSettings, Video

CASES = [
    ('v2e_neutral_to_smile', 'neutral_to_smile'),
    ('v2e_neutral_to_smile_346x260', 'neutral_to_smile'),
    ('v2e_smile_gaze', 'smile_gaze'),
]


@pytest.fixture(scope='module', params=CASES, ids=[name for name, _ in CASES])
def clip(request, shared_data):
    """Return (reference record, grey frames, times in ns)."""
    name, video = request.param
    reference = json.loads((shared_data / 'reference' / (name + '.json')).read_text())
    size = reference['width'], reference['height']
    frames = []
    with Video(shared_data / 'videos' / (video + '.mp4')) as source:
        for frame, _ in source:
            if frame.shape[::-1] != size:
                frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            frames.append(frame)
    times = [round(i * 1e9 / reference['fps']) for i in range(len(frames))]
    return reference, frames, times


def counts_per_frame(frames, times, settings):
    """Return [(ON, OFF), ...] by frame."""
    height, width = frames[0].shape
    pixels = PixelModel(width, height, settings)
    counts = []
    for frame, t_ns in zip(frames, times):
        batch = pixels.push(frame, t_ns)
        counts.append((batch.on_count, len(batch) - batch.on_count))
    return np.array(counts)


def assert_like(counts, case, tolerance):
    """Hold counts per frame to those of v2e."""
    assert counts[:, 0].sum() == pytest.approx(case['total_on'], rel=tolerance)
    assert counts[:, 1].sum() == pytest.approx(case['total_off'], rel=tolerance)
    for ours, name in zip(counts.T, ('on_per_frame', 'off_per_frame')):
        assert np.corrcoef(ours, case[name])[0, 1] >= 0.9999


def test_counts_equal_those_of_v2e(clip):
    reference, frames, times = clip
    counts = counts_per_frame(frames, times, PixelSettings(0.2, 0.23))
    assert_like(counts, reference['cases']['ideal_asym'], 1e-3)


def test_counts_equal_those_of_v2e_given_its_low_pass(clip):
    # v2e filters once per frame and lets most pixels pass unfiltered at 30 frames/s: not what a
    # low pass is. Its recursion before the model without one must give its counts.
    reference, frames, times = clip
    seen = naive_pixel.v2e_low_pass(frames, 1 / reference['fps'], 30)
    counts = counts_per_frame(
        [naive_pixel.dn_of(level) for level in seen], times, PixelSettings(0.2, 0.23)
    )
    assert_like(counts, reference['cases']['lowpass_30hz_asym'], 5e-3)


def straight_lines(frames, times, steps):
    """Return frames and times on the straight lines between the levels of frames."""
    levels = [naive_pixel.levels_of(frame) for frame in frames]
    fine = [levels[0]]
    for before, after in zip(levels, levels[1:]):
        fine += [before + (after - before) * k / steps for k in range(1, steps + 1)]
    fine_times = np.interp(np.arange(len(fine)), np.arange(len(times)) * steps, times)
    return [naive_pixel.dn_of(level) for level in fine], fine_times.astype(int)


def low_passed_counts(clip, steps):
    """Return counts per frame of our low pass and of v2e's, both in so many steps a frame."""
    reference, frames, times = clip
    frames, times = straight_lines([frame[::4, ::4] for frame in frames], times, steps)
    settings = PixelSettings(0.2, 0.23)
    seen = naive_pixel.v2e_low_pass(frames, 1 / reference['fps'] / steps, 30)
    theirs = counts_per_frame([naive_pixel.dn_of(level) for level in seen], times, settings)
    ours = counts_per_frame(frames, times, settings._replace(cutoff_hz=30.0))
    return [counts[1:].reshape(-1, steps, 2).sum(1) for counts in (ours, theirs)]


def test_low_pass_is_what_that_of_v2e_converges_to_in_small_steps(clip):
    ours, theirs = low_passed_counts(clip, 100)
    assert ours.sum(0) == pytest.approx(theirs.sum(0), rel=2e-3)
    for one, other in zip(ours.T, theirs.T):
        assert np.corrcoef(one, other)[0, 1] > 0.998


def test_low_pass_of_bare_video_is_near_that_of_many_frames(clip):
    # The bandwidth follows the light from frame to frame only: all that a frame rate changes.
    rough, fine = (low_passed_counts(clip, steps)[0] for steps in (1, 50))
    assert rough.sum(0) == pytest.approx(fine.sum(0), rel=0.01)
    for one, other in zip(rough.T, fine.T):
        assert np.corrcoef(one, other)[0, 1] > 0.995
