import dataclasses
from copy import copy

import numpy as np
import pytest

pytest.importorskip('torch')

import torch
from fabricated import MS, make_clip, make_segment, make_set, slow_clip, write_set

from cs3d_ros.events import CleaningSettings, EventBatch, SquareAccumulator
from cs3d_ros.face import Box, face_square
from training.augment import Variation
from training.batches import Batches
from training.data.clips import ClipSet, DataError, RecordedClip, write_shard
from training.dataset import DataSet, balanced
from training.targets import (
    CLIP_FRAMES,
    LABELS,
    UNCHANGED,
    Transition,
    label_of,
    transitions_of,
    worn_at,
)
from training.windows import Clip, Shelf, Window, cut_window

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
    accumulator.add(clip.events_between(end - period, end), face_square(Box(40, 30, 80, 100)))
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
        variation = Variation(on_gain=gain, off_gain=gain)
        varied = cut_window(window, variation=variation, rng=np.random.default_rng(1))
        assert np.abs(varied.astype(int) - 128).sum() == pytest.approx(gain * whole, rel=0.1)


def test_noise_hits_cells_that_nothing_moved_in(data):
    empty = EventBatch.empty(160, 160)
    clip = Clip(empty.between, np.array([0, 10**10]), np.array([[40, 30, 80, 100]] * 2), 'a', [])
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
    examples = data.batch(18, np.random.default_rng(7))
    again = data.batch(18, np.random.default_rng(7))
    assert np.bincount(examples.changing[:, 0]).tolist() == [2] * 7 + [4]
    np.testing.assert_array_equal(examples.frames, again.frames)


def test_labels_that_nothing_shows_are_left_out_of_the_balance():
    labels = balanced(50, np.random.default_rng(0), [SAD, HAPPY, NEUTRAL])
    shares = np.bincount(labels, minlength=8)
    assert [shares[k] for k in (HAPPY, SAD, NEUTRAL, UNCHANGED)] == [10, 10, 10, 20]


def test_balance_begins_anywhere_and_goes_round():
    begin = int(np.random.default_rng(3).integers(9))
    wanted = [min(k % 9, UNCHANGED) for k in range(begin, begin + 20)]
    assert balanced(20, np.random.default_rng(3)).tolist() == wanted


def test_labels_are_true_of_what_blank_frames_leave_to_see(data, monkeypatch):
    cut, cut_as = data.cut, []

    def noted(window, variation, rng):
        cut_as.append((window, variation.blank))
        return cut(window, variation, rng)

    monkeypatch.setattr(data, 'cut', noted)
    monkeypatch.setattr('training.dataset.draw_variation', lambda *_: Variation(blank=7))
    examples = data.batch(90, np.random.default_rng(5))
    for (window, blank), label, worn, weight in zip(cut_as, *map(np.ravel, told(examples))):
        seen_ns = (CLIP_FRAMES - blank) * data.settings.period_ns
        assert window.clip.label(window.end_ns, seen_ns) == label
        seen_from_ns = max(window.clip.start_ns, window.end_ns - seen_ns)
        wanted = worn_at(window.clip.transitions, [window.end_ns], seen_from_ns)
        assert (worn, weight) == tuple(map(np.squeeze, wanted))
    blanks = [blank for _, blank in cut_as]
    assert blanks.count(7) > 60 and min(blanks) < 7


def told(examples):
    return examples.changing, examples.worn, examples.worn_weight


def test_window_tells_what_is_worn_at_its_end_where_that_was_seen(data):
    examples = data.batch(90, np.random.default_rng(3))
    moved = (examples.changing != UNCHANGED) & (examples.worn_weight > 0)
    np.testing.assert_array_equal(examples.worn[moved], examples.changing[moved])
    assert moved.sum() > 30


def test_window_of_a_held_expression_tells_nothing_of_what_is_worn(data):
    clip = next(clip for clip in data.clips if clip.transitions)
    worn, weight = worn_at(clip.transitions, [1700 * MS], 1200 * MS)
    assert weight.tolist() == [0]
    worn, weight = worn_at(clip.transitions, [1700 * MS], 500 * MS)
    assert (worn.tolist(), weight.tolist()) == ([clip.transitions[0].target], [1])


def test_filter_of_the_robot_cleans_the_frames(data):
    window = Window(data.clips[4], 1000 * MS, UNCHANGED)
    cleaning = CleaningSettings(background_activity_ns=5_000_000)
    clean, raw = cut_window(window, cleaning=cleaning), cut_window(window)
    assert 0 < (clean != 128).sum() < 0.7 * (raw != 128).sum()


def test_batches_come_in_order_from_any_number_of_threads(data):
    def make(number):
        return data.batch(2, np.random.default_rng([1, number]))

    one, three = Batches(make, range(4), 1), Batches(make, range(4), 3)
    for few, many in zip(one, three):
        torch.testing.assert_close(few.frames, many.frames)
    assert len(one) == 4
    assert one.waited_s > 0


def test_error_in_a_loader_reaches_the_one_who_waits():
    def make(number):
        raise DataError('the clip is gone')

    with pytest.raises(DataError, match='gone'):
        next(iter(Batches(make, range(3), 1)))


def test_unknown_label_is_named(tmp_path):
    clip = make_clip(0, 'train', 'someone', 'happy', np.random.default_rng(0))
    clip.entry['segments'][0]['expression'] = 'smug'
    write_shard(tmp_path / 'a.h5', [clip])
    with pytest.raises(DataError, match="clip 0.*'smug'.*correct the labels"):
        DataSet(tmp_path, 'train')


def test_empty_split_is_refused(tmp_path):
    write_shard(tmp_path / 'a.h5', [c for c in make_set() if c.entry['split'] != 'val'])
    with pytest.raises(DataError, match='split val: there is no clip'):
        DataSet(tmp_path, 'val')


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


def write_changed(folder, change):
    """Write the fabricated clips into a shard with their entries changed."""
    clips = make_set()
    for clip in clips:
        change(clip.entry)
    folder.mkdir(exist_ok=True)
    write_shard(folder / 'changed.h5', clips)
    return folder


def test_identity_in_two_splits_is_refused(tmp_path):
    broken = write_changed(tmp_path / 'set', lambda entry: entry.update(identity='the same'))
    with pytest.raises(DataError, match='the same stands in two splits'):
        DataSet(broken, 'train')


def test_identity_in_two_splits_of_two_sets_is_refused(folder, tmp_path):
    other = {'train': 'test', 'val': 'val', 'test': 'train'}
    swapped = write_changed(tmp_path / 'set', lambda e: e.update(split=other[e['split']]))
    with pytest.raises(DataError, match='two splits'):
        DataSet([folder, swapped], 'train')


def test_damaged_clip_is_named(folder, tmp_path):
    whole = (folder / 'a.h5').read_bytes()
    (tmp_path / 'a.h5').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r'a\.h5 is no whole shard'):
        DataSet(tmp_path, 'train')


def test_clips_that_appear_later_are_taken_in(tmp_path):
    write_set(tmp_path / 'set')
    data = DataSet(tmp_path / 'set', 'train')
    count = len(data.clips)
    assert data.take_in() == 0
    late = [
        make_clip(0, split, 'late ' + split, 'sad', np.random.default_rng(0))
        for split in ('train', 'test')
    ]
    write_shard(tmp_path / 'set' / 'a_late.h5', late)
    assert data.take_in() == 1
    assert len(data.clips) == count + 1
    assert data.clips[-1].events_between(0, 10**10) == late[0].events


def test_clips_of_several_folders_are_joined(folder, tmp_path):
    other = write_set(tmp_path / 'other', clips_per_expression=1, suffix=' of the other set')
    assert len(DataSet([folder, other], 'train').clips) == 14 + 7


def test_folder_without_shards_names_the_cure(tmp_path):
    with pytest.raises(DataError, match='training.synthesize'):
        DataSet(tmp_path, 'train')


def write_some(folder, is_kept):
    """Write those of the fabricated clips whose entries are to be kept."""
    write_shard(folder / 'a.h5', [clip for clip in make_set(1) if is_kept(clip.entry)])
    return folder


def test_training_split_without_what_another_split_shows_is_refused(tmp_path):
    write_some(tmp_path, lambda e: (e['split'], e['label']) != ('train', 'scared'))
    with pytest.raises(DataError, match='split train: no face moves to scared, as in other'):
        DataSet(tmp_path, 'train')


def test_other_splits_may_lack_expressions(tmp_path):
    write_some(tmp_path, lambda e: e['split'] == 'train' or e['label'] in ('happy', 'neutral'))
    data = DataSet(tmp_path, 'val')
    windows = data.fixed_windows(np.random.default_rng(0))
    assert [window.label for window in windows] == [HAPPY, NEUTRAL, UNCHANGED]


def test_moves_that_no_window_holds_are_told(data):
    short = copy(data)
    short.window_ns = 50 * MS
    with pytest.raises(
        DataError, match='no window of split .* shows a move: .* longer than 0.1 s'
    ):
        short.fixed_windows(np.random.default_rng(0))


def write_sad(folder, move_ms, quick=0):
    """Write the fabricated clips; moves to sad take so long in all but so many of them."""
    clips = make_set(2)
    sad = [clip for clip in clips if clip.entry['label'] == 'sad'][quick:]
    write_shard(
        folder / 'a.h5', [slow_clip(clip, move_ms) if clip in sad else clip for clip in clips]
    )
    return folder


def test_moves_that_fit_into_no_slowed_window_are_shown_at_their_own_pace(tmp_path, monkeypatch):
    data = DataSet(write_sad(tmp_path, 950), 'train')
    monkeypatch.setattr('training.dataset.draw_variation', lambda *_: Variation(pace=0.8))
    cut, paces = data.cut, []
    monkeypatch.setattr(data, 'cut', lambda w, v, rng: paces.append(v.pace) or cut(w, v, rng))
    labels = data.batch(18, np.random.default_rng(0)).changing[:, 0]
    assert [pace for pace, label in zip(paces, labels) if label == SAD] == [1.0] * 2
    assert paces.count(0.8) == 16


def test_moves_too_slow_for_any_window_are_told_before_training(tmp_path):
    with pytest.raises(DataError, match='no window shows sad: .* longer than 1.1 s'):
        DataSet(write_sad(tmp_path, 1190), 'train')


def test_the_one_move_that_a_window_shows_is_found(tmp_path, monkeypatch):
    data = DataSet(write_sad(tmp_path, 1190, quick=1), 'train')
    monkeypatch.setattr('training.dataset.TRIES', 0)
    window = data.draw(SAD, np.random.default_rng(0))
    assert window.clip.label(window.end_ns, data.window_ns) == SAD


def test_expressions_that_no_split_shows_are_not_asked_for(tmp_path):
    data = DataSet(write_some(tmp_path, lambda e: e['label'] != 'scared'), 'train')
    labels = data.batch(32, np.random.default_rng(0)).changing
    scared = LABELS.index('scared')
    assert data.shown == [label for label in range(UNCHANGED) if label != scared]
    assert np.bincount(labels[:, 0])[data.shown].tolist() == [4] * 6


@pytest.mark.parametrize('split', ['train', 'val'])
def test_split_in_which_no_face_moves_is_refused(tmp_path, split):
    write_some(tmp_path, lambda e: e['label'] == 'neutral')
    with pytest.raises(DataError, match='faces move to no expression.*make more clips'):
        DataSet(tmp_path, split)


def test_one_expression_is_too_little_to_learn(tmp_path):
    write_some(tmp_path, lambda e: e['label'] in ('neutral', 'proud'))
    clip = make_clip(0, 'train', 'someone', 'proud', np.random.default_rng(0))
    write_shard(tmp_path / 'b.h5', [clip])
    with pytest.raises(DataError, match='faces move to neutral, which is too little'):
        DataSet(tmp_path, 'train')


def test_expression_without_a_label_is_neither_trained_on_nor_taken_for_unchanged():
    transitions = transitions_of([segment('contempt', 1000, 1400, 2200, 2600)])
    assert [t.target for t in transitions] == [None, NEUTRAL]
    labels = [
        label_of(transitions, end * MS - WINDOW, end * MS) for end in (990, 1300, 1500, 2600)
    ]
    assert labels == [UNCHANGED, None, None, NEUTRAL]


def test_set_with_unlabelled_expressions_gives_windows_of_the_others(folder, tmp_path):
    proud = make_clip(0, 'train', 'proud one', 'proud', np.random.default_rng(0))
    write_shard(tmp_path / 'a.h5', [proud])
    data = DataSet([folder, tmp_path], 'train')
    windows = data.fixed_windows(np.random.default_rng(0))
    assert {window.label for window in windows} == set(range(8))
    assert len(data.clips) == 15


def test_what_happened_before_a_clip_began_is_not_shown():
    """A clip may start in the middle of an onset."""
    times = np.array([0, 3000 * MS])
    clip = Clip(None, times, np.zeros((2, 4)), 'a', [Transition(-300 * MS, 100 * MS, HAPPY)])
    assert clip.label(100 * MS, WINDOW) is None
    half = Clip(None, times, np.zeros((2, 4)), 'a', [Transition(-200 * MS, 200 * MS, HAPPY)])
    assert half.label(200 * MS, WINDOW) == HAPPY


def test_drawing_copes_with_clips_that_start_and_end_midway(folder, tmp_path):
    clip = make_clip(0, 'train', 'cut one', 'happy', np.random.default_rng(0))
    cut = dict(make_segment('happy'), onset_start_ns=-800 * MS, apex_start_ns=-400 * MS)
    clip.entry.update(segments=[cut, dict(cut, onset_start_ns=2750 * MS, apex_start_ns=3200 * MS)])
    write_shard(tmp_path / 'a.h5', [RecordedClip(clip.entry, clip.events, clip.truth)])
    data, rng = DataSet([folder, tmp_path], 'train'), np.random.default_rng(0)
    for _ in range(50):
        window = data.draw(HAPPY, rng)
        assert window.clip.identity != 'cut one'
        assert window.clip.label(window.end_ns, data.window_ns) == HAPPY


def test_full_shelf_reads_the_same_windows_from_the_disk(folder):
    clips = ClipSet(folder)
    counts = [len(clips[index].events) for index in range(4)]
    shelf = Shelf(most_events=counts[0] + counts[1])
    everything = 0, 10**10
    for index in (0, 1, 2, 3, 2, 0):
        assert shelf.read(clips, index, *everything) == clips[index].events
    for index in (0, 3):
        window = 500 * MS, 1200 * MS
        assert shelf.read(clips, index, *window) == clips[index].events.between(*window)
    assert shelf.kept_events == counts[0] + counts[1]


def test_clips_that_find_no_room_on_the_shelf_are_not_read_whole(folder, monkeypatch):
    clips, whole, read = ClipSet(folder), [], ClipSet.__getitem__

    def counted(self, index):
        whole.append(index)
        return read(self, index)

    shelf = Shelf(most_events=len(clips[0].events) + 1)
    monkeypatch.setattr(ClipSet, '__getitem__', counted)
    for index in (0, 1, 2, 3, 2, 1, 0):
        shelf.read(clips, index, 500 * MS, 1200 * MS)
    assert whole == [0, 1]


@pytest.mark.parametrize('unknown', ['timing', 'box'])
def test_clip_of_unknown_timing_or_place_gives_no_windows(folder, tmp_path, unknown):
    clip = make_clip(0, 'train', 'real', 'happy', np.random.default_rng(0))
    entry, truth = dict(clip.entry), clip.truth
    if unknown == 'timing':
        entry['segments'] = []
    else:
        truth = dataclasses.replace(truth, box=np.full_like(truth.box, np.nan))
    write_shard(tmp_path / 'real.h5', [RecordedClip(entry, clip.events, truth)])
    joined = DataSet([folder, tmp_path], 'train')
    assert 'real' not in {each.identity for each in joined.clips}
    assert len(joined.clips) == len(DataSet(folder, 'train').clips)
