"""Looking at a data set: its montage, its numbers, its card."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip('h5py')

from fabricated import make_clip, make_set

from cs3d_ros.events import EventBatch
from training.data import inspect
from training.data.card import measure
from training.data.clips import ClipSet, write_shard

MS = 1_000_000


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('set')
    write_shard(folder / 'a.h5', make_set(1))
    return folder


@pytest.fixture(scope='module')
def looked_at(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('look') / 'deeper'
    assert inspect.main([str(folder), '-o', str(out)]) == 0
    return out


def test_montage_has_a_row_for_each_person_of_each_class(looked_at):
    picture = cv2.imread(str(looked_at / 'montage.png'))
    rows = 7 * inspect.PEOPLE  # the fabricated set has seven classes
    assert picture.shape[0] == rows * (inspect.SIDE + inspect.GAP_PX)


def test_onset_is_drawn_where_the_events_are(folder):
    clips = ClipSet(folder)
    index = next(k for k, e in enumerate(clips.entries) if e['label'] == 'happy')
    whole = inspect.strip(clips[index])[-1].astype(int)
    lit = np.abs(whole - inspect.BACKGROUND).sum(axis=2)
    # happy is a cloud amid the face's width, low in the box: see fabricated.PLACES
    y, x = np.unravel_index(
        cv2.GaussianBlur(lit.astype(np.float32), (0, 0), 4).argmax(), lit.shape
    )
    assert abs(x - 56) < 12 and 70 < y < 105


def test_statistics_are_a_picture(looked_at):
    picture = cv2.imread(str(looked_at / 'statistics.png'))
    assert picture.shape[1] > 1000 and picture.std() > 10


def test_card_counts_clips_per_class_and_split(looked_at):
    lines = (looked_at / 'card.md').read_text().splitlines()
    assert any(line.startswith('| happy | 1 | 1 | 1 |') for line in lines)
    assert any(line.startswith('| train | 7 | 1 | 1 | 0.01 |') for line in lines)
    assert '21 clips' in lines[2]


def still_clip(times_ms, segments):
    """Return a clip with events amid the face at those times."""
    clip = make_clip(0, 'train', 'a', 'happy', np.random.default_rng(0))
    count = len(times_ms)
    events = EventBatch(
        np.full(count, 80, np.uint16),
        np.full(count, 80, np.uint16),
        np.sort(np.array(times_ms, np.int64) * MS),
        np.ones(count, np.uint8),
        160,
        160,
    )
    return replace(clip, events=events, entry=dict(clip.entry, segments=segments))


def test_rates_are_those_counted_by_hand():
    clip = make_clip(0, 'train', 'a', 'happy', np.random.default_rng(0))
    landmarks = clip.truth.landmarks.copy()
    landmarks[:, 36:42, 0], landmarks[:, 42:48, 0] = 60.0, 100.0  # eyes 40 px apart
    # onset 600 to 1000 ms; steady are 0 to 400 and 2400 ms to the last frame, 2783.3 ms
    clip = still_clip([100, 700, 800, 900, 1500, 2700], clip.entry['segments'])
    clip = replace(clip, truth=replace(clip.truth, landmarks=landmarks))
    row = measure(clip)
    last_s = clip.truth.t_ns[-1] * 1e-9
    assert row.eyes_px == pytest.approx(40.0)
    assert row.events == 6 and row.rate_hz == pytest.approx(6 / last_s)
    assert row.on_share == 1.0
    assert row.onset_rate == pytest.approx(3 / 0.4 / 1600)
    assert row.steady_rate == pytest.approx(2 / (0.4 + last_s - 2.4) / 1600)


def test_clip_of_unknown_landmarks_is_measured_as_far_as_it_goes():
    clip = make_clip(0, 'train', 'a', 'happy', np.random.default_rng(0))
    unknown = np.full_like(clip.truth.landmarks, np.nan)
    row = measure(replace(clip, truth=replace(clip.truth, landmarks=unknown)))
    assert np.isnan(row.onset_rate) and row.rate_hz > 0


def test_clip_of_unknown_boxes_is_drawn_whole(tmp_path):
    clip = make_clip(0, 'train', 'a', 'happy', np.random.default_rng(0))
    unknown = np.full_like(clip.truth.box, np.nan)
    write_shard(tmp_path / 'a.h5', [replace(clip, truth=replace(clip.truth, box=unknown))])
    picture = inspect.montage(ClipSet(tmp_path))
    assert picture.std() > 5


def test_clip_that_begins_amid_its_onset_is_not_chosen():
    entries = [
        make_clip(k, 'train', str(k), 'sad', np.random.default_rng(0)).entry for k in (0, 1)
    ]
    entries[0]['segments'][0]['onset_start_ns'] = -100 * MS
    assert inspect.choose(entries, 'sad', 2) == [1]


def test_people_shown_are_different_ones_under_standard_conditions():
    rng = np.random.default_rng(0)
    entries = [make_clip(k, 'train', 'ab'[k > 1], 'sad', rng).entry for k in range(4)]
    entries[2]['condition'] = 'low_light_3'
    assert inspect.choose(entries, 'sad', 2) == [0, 3]


def test_folder_without_shards_is_named(tmp_path, capsys):
    assert inspect.main([str(tmp_path)]) == 1
    assert 'holds no shards' in capsys.readouterr().err


def test_damaged_shard_leaves_an_error_and_no_card(folder, tmp_path, capsys):
    whole = (folder / 'a.h5').read_bytes()
    middle = len(whole) // 2
    spoilt = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    (tmp_path / 'a.h5').write_bytes(spoilt)
    assert inspect.main([str(tmp_path)]) == 1
    assert 'a.h5' in capsys.readouterr().err and not (tmp_path / 'card.md').exists()
