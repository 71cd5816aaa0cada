import json

import numpy as np
import pytest

pytest.importorskip('torch')

from fabricated import MS, write_set

from cs3d_ros.events import EventBatch, SquareAccumulator
from cs3d_ros.face import Box, face_square
from training.dataset import (
    CLIP_FRAMES,
    LABELS,
    UNCHANGED,
    Clip,
    DataError,
    DataSet,
    Transition,
    Variation,
    Window,
    cut_window,
    label_of,
    read_manifests,
    transitions_of,
)

HAPPY, SAD = LABELS.index('happy'), LABELS.index('sad')
NEUTRAL = LABELS.index('neutral')
WINDOW = 533 * MS


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set') / 'set')


@pytest.fixture(scope='module')
def data(folder):
    return DataSet(folder, 'train')


def segment(expression, *times_ms):
    names = ('onset_start_ns', 'apex_start_ns', 'offset_start_ns', 'offset_end_ns')
    return {'expression': expression, **{n: t * MS for n, t in zip(names, times_ms)}}


def test_segment_is_an_onset_and_an_offset_to_neutral():
    assert transitions_of([segment('happy', 100, 500, 900, 1300)]) == [
        Transition(100 * MS, 500 * MS, HAPPY),
        Transition(900 * MS, 1300 * MS, NEUTRAL),
    ]


def test_direct_transition_goes_to_the_next_expression_not_to_neutral():
    segments = [segment('happy', 100, 500, 900, 1300), segment('sad', 900, 1300, 2000, 2500)]
    assert [t.target for t in transitions_of(segments)] == [HAPPY, SAD, NEUTRAL]


@pytest.mark.parametrize(
    'end_ms, label',
    [
        (90, UNCHANGED),
        (140, UNCHANGED),
        (200, None),
        (299, None),
        (300, HAPPY),
        (700, HAPPY),
        (701, None),
        (1100, UNCHANGED),
        (1230, UNCHANGED),
        (1300, None),
        (1400, NEUTRAL),
        (2200, UNCHANGED),
    ],
)
def test_label_follows_what_the_window_holds_of_a_transition(end_ms, label):
    transitions = transitions_of([segment('happy', 100, 500, 1200, 1600)])
    start = max(0, end_ms * MS - WINDOW)
    assert label_of(transitions, start, end_ms * MS) == label


def test_later_of_two_transitions_counts():
    transitions = [Transition(0, 200 * MS, HAPPY), Transition(200 * MS, 400 * MS, NEUTRAL)]
    assert label_of(transitions, 0, 400 * MS) == NEUTRAL


def test_window_frames_are_those_of_the_robot(data):
    clip = data.clips[4]
    period = data.settings.period_ns
    end = 40 * period
    frames = cut_window(Window(clip, end, UNCHANGED))
    accumulator = SquareAccumulator(data.settings)
    accumulator.add(clip.events.between(end - period, end), face_square(Box(40, 30, 80, 100)))
    np.testing.assert_array_equal(frames[-1], accumulator.take())
    assert frames.shape == (CLIP_FRAMES, 112, 112)


def test_mirrored_window_is_the_window_mirrored(data):
    window = Window(data.clips[4], 1000 * MS, UNCHANGED)
    np.testing.assert_array_equal(
        cut_window(window, variation=Variation(mirror=True)), cut_window(window)[:, :, ::-1]
    )


def test_gain_scales_the_number_of_events(data):
    window = Window(data.clips[4], 1000 * MS, UNCHANGED)
    whole = np.abs(cut_window(window).astype(int) - 128).sum()
    for gain in (0.4, 1.6, 2.5):
        varied = cut_window(window, variation=Variation(gain=gain), rng=np.random.default_rng(1))
        assert np.abs(varied.astype(int) - 128).sum() == pytest.approx(gain * whole, rel=0.1)


def test_noise_hits_cells_that_nothing_moved_in(data):
    empty = EventBatch.empty(160, 160)
    clip = Clip(empty, np.array([0, 10**10]), np.array([[40, 30, 80, 100]] * 2), 'a', [])
    frames = cut_window(
        Window(clip, 1000 * MS, UNCHANGED),
        variation=Variation(noise=0.01),
        rng=np.random.default_rng(1),
    )
    assert (frames != 128).mean() == pytest.approx(0.01, rel=0.1)


def test_blank_frames_stand_before_the_others(data):
    window = Window(data.clips[4], 1000 * MS, UNCHANGED)
    frames = cut_window(window, variation=Variation(blank=5))
    assert (frames[:5] == 128).all()
    np.testing.assert_array_equal(frames[5:], cut_window(window)[5:])


def test_faster_pace_shows_more_of_the_recording(data):
    window = Window(data.clips[4], 1500 * MS, UNCHANGED)
    seen = [
        np.abs(cut_window(window, variation=Variation(pace=pace)).astype(int) - 128).sum()
        for pace in (0.8, 1.25)
    ]
    assert seen[1] > 1.3 * seen[0]


def test_batch_is_balanced_and_decided_by_its_seed(data):
    frames, labels = data.batch(18, np.random.default_rng(7))
    again, _ = data.batch(18, np.random.default_rng(7))
    assert np.bincount(labels).tolist() == [2] * 7 + [4]
    np.testing.assert_array_equal(frames, again)


def test_drawn_windows_show_what_they_are_drawn_for(data):
    rng = np.random.default_rng(3)
    for label in range(len(LABELS)):
        window = data.draw(label, rng)
        assert window.clip.label(window.end_ns, data.window_ns) == label


def test_fixed_windows_end_with_periods_of_the_robot(data):
    windows = data.fixed_windows(np.random.default_rng(0))
    assert all(window.end_ns % data.settings.period_ns == 0 for window in windows)
    assert {window.label for window in windows} == set(range(8))


def test_splits_share_no_identity(folder):
    seen = [
        {clip.identity for clip in DataSet(folder, split).clips}
        for split in ('train', 'val', 'test')
    ]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def rewritten(folder, tmp_path, change):
    entries = [entry for _, entry in read_manifests([folder])]
    change(entries)
    (tmp_path / 'manifest.json').write_text(json.dumps({'clips': entries}))
    return tmp_path


def test_identity_in_two_splits_is_refused(folder, tmp_path):
    broken = rewritten(folder, tmp_path, lambda e: e[-1].update(identity=e[0]['identity']))
    with pytest.raises(DataError, match='two splits'):
        read_manifests([broken])


def test_entry_without_segments_is_refused(folder, tmp_path):
    broken = rewritten(folder, tmp_path, lambda e: e[3].pop('segments'))
    with pytest.raises(DataError, match='lacks segments'):
        read_manifests([broken])


def test_missing_clip_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match='no clip with truth'):
        DataSet(rewritten(folder, tmp_path, lambda e: None), 'train')


def test_clips_that_appear_later_are_taken_in(folder, tmp_path):
    (tmp_path / 'clips').symlink_to(folder / 'clips')
    rewritten(folder, tmp_path, lambda entries: entries.pop(0))
    data = DataSet(tmp_path, 'train')
    count = len(data.clips)
    assert data.take_in() == 0
    rewritten(folder, tmp_path, lambda entries: None)
    assert data.take_in() == 1
    assert len(data.clips) == count + 1


def test_clips_of_several_folders_are_joined(folder, tmp_path):
    other = write_set(tmp_path / 'other', clips_per_expression=1)
    entries = [entry for _, entry in read_manifests([other])]
    for entry in entries:
        entry['identity'] += ' of the other set'
    (other / 'manifest.json').write_text(json.dumps({'clips': entries}))
    assert len(DataSet([folder, other], 'train').clips) == 14 + 7


def test_folder_without_manifest_names_the_cure(tmp_path):
    with pytest.raises(DataError, match='training.synthesize'):
        DataSet(tmp_path, 'train')


def test_split_without_an_expression_is_refused(folder, tmp_path):
    (tmp_path / 'clips').symlink_to(folder / 'clips')

    def drop(entries):
        entries[:] = [
            e for e in entries if 'scared' not in [s['expression'] for s in e['segments']]
        ]

    with pytest.raises(DataError, match='no face moves to scared'):
        DataSet(rewritten(folder, tmp_path, drop), 'train')
