import json

import numpy as np
import pytest
from naive import random_batch

from cs3d_ros.events import EventBatch, concatenate, open_recording
from cs3d_ros.face import Box, FaceFinder, FixedFace
from cs3d_ros.inference import SHIPPED_BUNDLE, BundleError
from cs3d_ros.simulator import PRESETS, Video, simulate_video

PERIOD_NS = 33_333_333
CLIPS = (
    'neutral_to_smile.mp4',
    'smile_gaze.mp4',
    'talking/bbaf2n.mpg',
    'talking/lbax4n.mpg',
    'talking/lbbc2a.mpg',
    'talking/lwbsza.mpg',
    'talking/swiz3n.mpg',
)


def follow(finder, batches):
    """Return [(end_ns, track or None), ...] of every period of the events."""
    tracks = []
    index = None
    for batch in batches:
        while len(batch):
            now = int(batch.t[0]) // PERIOD_NS
            index = now if index is None else index
            while index < now:
                index += 1
                tracks.append((index * PERIOD_NS, finder.step(index * PERIOD_NS)))
            present = batch.between(now * PERIOD_NS, (now + 1) * PERIOD_NS)
            finder.add(present)
            batch = batch[len(present) :]
    return tracks


@pytest.mark.parametrize('preset', ['clean', 'noisy', 'low_light'])
@pytest.mark.parametrize('clip', CLIPS)
def test_face_of_a_person_is_found_where_it_is(shared_data, clip, preset):
    path = shared_data / 'videos' / clip
    boxes = json.loads((shared_data / 'videos' / 'boxes.json').read_text())['boxes'][clip]
    with Video(path) as video:
        info = video.info
    events = simulate_video(path, settings=PRESETS[preset])
    tracks = follow(FaceFinder(info.width, info.height), events)
    found = [(t, track) for t, track in tracks if track]
    assert found, 'never found'
    assert found[0][0] < 1.6e9
    overlaps = [
        track.box.overlap(Box(*boxes[min(len(boxes) - 1, int(t * 1e-9 * info.fps))]))
        for t, track in found
    ]
    assert np.mean(overlaps) > 0.7
    assert len({track.identity for _, track in found}) == 1


def test_hot_pixels_do_not_draw_the_face_to_them(shared_data):
    clip = 'talking/lbbc2a.mpg'
    path = shared_data / 'videos' / clip
    boxes = json.loads((shared_data / 'videos' / 'boxes.json').read_text())['boxes'][clip]
    events = concatenate(simulate_video(path))
    rng = np.random.default_rng(0)
    beat = np.arange(events.t[0], events.t[-1], 2_000_000)  # 500 Hz
    x, y = (rng.integers(0, side, 30) for side in (events.width, events.height))
    t = np.concatenate([events.t, np.tile(beat, 30)])
    order = np.argsort(t, kind='stable')
    columns = [
        np.concatenate([events.x, np.repeat(x, len(beat)).astype(np.uint16)])[order],
        np.concatenate([events.y, np.repeat(y, len(beat)).astype(np.uint16)])[order],
        t[order],
        np.concatenate([events.p, np.ones(30 * len(beat), np.uint8)])[order],
    ]
    hot = EventBatch(*columns, events.width, events.height)
    tracks = follow(FaceFinder(events.width, events.height), [hot])
    found = [track for _, track in tracks if track]
    assert len(found) > 0.6 * len(tracks)
    assert np.mean([track.box.overlap(Box(*boxes[40])) for track in found]) > 0.6


@pytest.mark.parametrize(
    'name',
    [
        'davis346_bench.aedat4',
        'davis346_slice_zstd.aedat4',
        'libcaer_cmp_davis346_mcap',
        'evt3_vga_rosbag2',
        'evt3_hd_trigger_rosbag2',
    ],
)
def test_no_face_is_seen_where_none_is(shared_data, name):
    with open_recording(shared_data / 'recordings' / name) as recording:
        tracks = follow(FaceFinder(recording.width, recording.height), recording.batches())
    assert not any(track for _, track in tracks)


def test_noise_is_no_face():
    noise = random_batch(1, 400_000, span_ns=4 * 10**9)
    assert not any(track for _, track in follow(FaceFinder(346, 260), [noise]))


def test_face_is_held_while_nothing_moves(shared_data):
    path = shared_data / 'videos' / 'talking' / 'lbbc2a.mpg'
    finder = FaceFinder(360, 288)
    last_ns, _ = follow(finder, simulate_video(path))[-1]
    track = finder.step(last_ns + PERIOD_NS)
    for i in range(2, 301):
        held = finder.step(last_ns + i * PERIOD_NS)
    assert held.box == track.box
    assert held.identity == track.identity
    assert held.age_ns - track.age_ns == pytest.approx(299 * PERIOD_NS, abs=1000)


def test_face_is_given_up_when_something_else_moves(shared_data):
    path = shared_data / 'videos' / 'talking' / 'lbbc2a.mpg'
    finder = FaceFinder(360, 288)
    last_ns, _ = follow(finder, simulate_video(path))[-1]
    noise = random_batch(1, 900_000, 360, 288, start_ns=last_ns + PERIOD_NS, span_ns=4 * 10**9)
    assert follow(finder, [noise])[-1][1] is None


def test_reset_forgets_the_face(shared_data):
    path = shared_data / 'videos' / 'talking' / 'lbbc2a.mpg'
    finder = FaceFinder(360, 288)
    last_ns, _ = follow(finder, simulate_video(path))[-1]
    finder.reset()
    assert finder.step(last_ns + PERIOD_NS) is None


@pytest.mark.parametrize('size', [(1, 1), (8, 6), (1280, 720)])
def test_any_sensor_size_will_do(size):
    finder = FaceFinder(*size)
    finder.step(0)
    finder.add(random_batch(1, 2000, *size))
    assert finder.step(PERIOD_NS) is None


@pytest.mark.parametrize(
    'model, words',
    [
        (SHIPPED_BUNDLE, 'no network of the face finder: it puts out probabilities'),
        ('nowhere.onnx', 'nowhere.onnx is not there'),
        (__file__, 'does not load as an ONNX model'),
    ],
)
def test_other_models_are_refused(model, words):
    with pytest.raises(BundleError, match=words):
        FaceFinder(346, 260, model=model)


def test_fixed_face_stands_where_it_was_put():
    finder = FixedFace(Box(1.0, 2.0, 30.0, 40.0))
    finder.add(EventBatch.empty(346, 260))
    assert finder.step(0).box == Box(1.0, 2.0, 30.0, 40.0)


def test_roi_without_area_is_refused():
    with pytest.raises(ValueError, match='roi needs'):
        FixedFace(Box(1.0, 2.0, 0.0, 40.0))
