"""Shards: what is written is read, or an error says what is wrong and what to do."""

import errno
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

pytest.importorskip('h5py')

import h5py
from fabricated import make_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from cs3d_ros.events import EventBatch
from training.data.clips import TRUTH_ARRAYS, ClipSet, DataError, RecordedClip, write_shard
from training.fingerprint import fingerprint


@pytest.fixture(scope='module')
def clips():
    rng = np.random.default_rng(0)
    names = ('happy', 'neutral', 'sad')
    return [
        make_clip(k, 'train', 'person {}'.format(k), name, rng) for k, name in enumerate(names)
    ]


@pytest.fixture(scope='module')
def range_set(tmp_path_factory):
    """Return (ClipSet, its clips) of several chunks, one without events, one of equal times."""
    rng = np.random.default_rng(2)
    busy = make_clip(0, 'train', 'a', 'happy', rng)
    times = np.sort(rng.integers(0, 2_800, 100_000)).astype(np.int64) * 1_000_000
    zeros = np.zeros(len(times), np.uint16)
    busy = replace(busy, events=EventBatch(zeros, zeros, times, zeros.astype(np.uint8), 160, 160))
    still = replace(busy, events=EventBatch.empty(160, 160))
    folder = tmp_path_factory.mktemp('ranges')
    write_shard(folder / 'a.h5', [busy, still])
    return ClipSet(folder), [busy, still]


@pytest.fixture
def folder(clips, tmp_path):
    write_shard(tmp_path / 'a.h5', clips[:2])
    write_shard(tmp_path / 'b.h5', clips[2:])
    return tmp_path


def assert_same(left, right):
    assert left.entry == right.entry
    assert left.events == right.events
    for name in TRUTH_ARRAYS:
        np.testing.assert_array_equal(getattr(left.truth, name), getattr(right.truth, name))


def test_clips_are_read_as_they_were_written(folder, clips):
    read = ClipSet(folder)
    assert len(read) == 3
    for index, clip in enumerate(clips):
        assert_same(read[index], clip)


def test_last_clip_is_clip_minus_one_and_there_is_none_behind(folder, clips):
    read = ClipSet(folder)
    assert_same(read[-1], clips[-1])
    with pytest.raises(IndexError):
        read[3]


def test_entries_and_truth_are_read_without_events(folder, clips):
    with h5py.File(folder / 'a.h5', 'a') as shard:
        del shard['0/events/t']
    read = ClipSet(folder)
    assert read.entries == [clip.entry for clip in clips]
    np.testing.assert_array_equal(read.truth(0).landmarks, clips[0].truth.landmarks)


@settings(max_examples=30)
@given(st.lists(st.integers(-(10**9), 4 * 10**9), min_size=2, max_size=2))
def test_range_of_events_is_that_of_the_whole_clip(range_set, span):
    for index, clip in enumerate(range_set[1]):
        assert range_set[0].events(index, *span) == clip.events.between(*span)


@pytest.mark.parametrize('at', [0, 5, -1])
def test_range_may_begin_and_end_with_a_frame(range_set, at):
    t_ns = range_set[1][0].truth.t_ns
    for span in ((t_ns[at], t_ns[-1]), (t_ns[0], t_ns[at]), (t_ns[at], t_ns[at] + 1)):
        span = tuple(int(t) for t in span)
        assert range_set[0].events(0, *span) == range_set[1][0].events.between(*span)


def test_clip_without_events_is_a_clip(clips, tmp_path):
    still = replace(clips[0], events=EventBatch.empty(346, 260))
    write_shard(tmp_path / 'a.h5', [still])
    assert_same(ClipSet(tmp_path)[0], still)


def test_what_a_source_cannot_tell_stays_nan(clips, tmp_path):
    unknown = np.full_like(clips[0].truth.action_units, np.nan)
    write_shard(
        tmp_path / 'a.h5',
        [replace(clips[0], truth=replace(clips[0].truth, action_units=unknown))],
    )
    assert np.isnan(ClipSet(tmp_path)[0].truth.action_units).all()


def test_same_clips_make_the_same_bytes(clips, tmp_path):
    for name in ('a.h5', 'b.h5'):
        write_shard(tmp_path / name, clips)
    assert (tmp_path / 'a.h5').read_bytes() == (tmp_path / 'b.h5').read_bytes()


def test_columns_are_plain_to_any_reader_of_hdf5(folder, clips):
    with h5py.File(folder / 'a.h5') as shard:
        for name, kind in zip('xytp', ('u2', 'u2', 'i8', 'u1')):
            column = shard['1/events/' + name]
            assert column.dtype == kind
            np.testing.assert_array_equal(column[:], getattr(clips[1].events, name))


def test_new_shards_of_a_growing_set_are_taken_in(clips, tmp_path):
    write_shard(tmp_path / 'b.h5', clips[:1])
    read = ClipSet(tmp_path)
    assert read.take_in() == 0
    write_shard(tmp_path / 'a.h5', clips[1:])
    assert read.take_in() == 2
    for index, clip in enumerate(clips):
        assert_same(read[index], clip)


def test_fingerprint_is_that_of_what_is_known_of_the_clips(folder, clips, tmp_path):
    found = fingerprint(folder)
    assert len(found) == 12 and int(found, 16)
    one = tmp_path / 'one'
    one.mkdir()
    turned = dict(reversed(clips[0].entry.items()))
    write_shard(one / 'all.h5', [replace(clips[0], entry=turned), *clips[1:]])
    assert fingerprint(one) == found
    write_shard(one / 'more.h5', clips[:1])
    grown = fingerprint(one)
    write_shard(one / 'more.h5', [replace(clips[0], entry={**clips[0].entry, 'seed': 7})])
    assert len({found, grown, fingerprint(one)}) == 3


def with_fewer_events(clip):
    return replace(clip, events=clip.events[: len(clip.events) // 2])


def with_a_larger_sensor(clip):
    columns = (getattr(clip.events, name) for name in 'xytp')
    return replace(clip, events=EventBatch(*columns, 320, 160))


def with_other_boxes(clip):
    return replace(clip, truth=replace(clip.truth, box=clip.truth.box + 1))


@pytest.mark.parametrize('change', [with_fewer_events, with_a_larger_sensor, with_other_boxes])
def test_sets_of_the_same_entries_have_fingerprints_of_their_own(clips, tmp_path, change):
    for name, own in (('a', clips), ('b', [*clips[:2], change(clips[2])])):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / 'all.h5', own)
    assert fingerprint(tmp_path / 'a') != fingerprint(tmp_path / 'b')


def test_fingerprint_is_also_that_of_how_a_set_was_made(folder):
    found = fingerprint(folder)
    (folder / 'set.json').write_text('{"world": "another"}')
    assert fingerprint(folder) != found


def test_fingerprint_of_a_damaged_set_names_the_shard(folder):
    with h5py.File(folder / 'b.h5', 'a') as shard:
        del shard['0/events/first']
    with pytest.raises(DataError, match=r'b\.h5 is no whole shard.*delete it'):
        fingerprint(folder)


def test_fingerprint_of_no_set_is_refused(tmp_path):
    with pytest.raises(DataError, match='holds no shards'):
        fingerprint(tmp_path)


def read_all(clip_set):
    return [len(clip_set[index].events) for index in range(len(clip_set))]


def test_threads_write_at_once(clips, tmp_path):
    paths = [tmp_path / '{}.h5'.format(k) for k in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write_shard, paths, [clips] * 6))
    assert len({path.read_bytes() for path in paths}) == 1


def test_threads_share_a_set(folder, clips):
    read, found = ClipSet(folder), []
    threads = [threading.Thread(target=lambda: found.append(read_all(read))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[len(clip.events) for clip in clips]] * 4


def test_forked_processes_share_a_set(folder, clips):
    read = ClipSet(folder)
    read_all(read)
    with ProcessPoolExecutor(2, get_context('fork')) as pool:
        found = list(pool.map(read_all, [read] * 2))
    assert found == [[len(clip.events) for clip in clips]] * 2
    assert read_all(pickle.loads(pickle.dumps(read))) == found[0]


def test_full_disk_keeps_what_was_there_and_leaves_no_half(folder, clips, monkeypatch):
    before = (folder / 'a.h5').read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(DataError, match=r'a\.h5 cannot be written .*No space.*make room'):
        write_shard(folder / 'a.h5', clips)
    assert sorted(p.name for p in folder.iterdir()) == ['a.h5', 'b.h5']
    assert (folder / 'a.h5').read_bytes() == before


def test_missing_folder_is_an_error_of_the_writer(clips, tmp_path):
    with pytest.raises(DataError, match='cannot be written'):
        write_shard(tmp_path / 'none' / 'a.h5', clips)


def test_clips_that_stop_midway_leave_nothing(clips, tmp_path):
    def broken():
        yield clips[0]
        raise RuntimeError('the renderer fell over')

    with pytest.raises(RuntimeError, match='fell over'):
        write_shard(tmp_path / 'a.h5', broken())
    assert not list(tmp_path.iterdir())


def without(clip, key):
    return replace(clip, entry={k: v for k, v in clip.entry.items() if k != key})


@pytest.mark.parametrize(
    'spoil, complaint',
    [
        (lambda c: without(c, 'segments'), 'lacks segments'),
        (lambda c: replace(c, entry=dict(c.entry, split='spare')), "split 'spare'"),
        (lambda c: with_truth(c, 'box', c.truth.box[:-1]), 'truth.box must be float32'),
        (lambda c: with_truth(c, 'pose', c.truth.pose.astype(float)), 'got float64'),
        (lambda c: with_truth(c, 't_ns', c.truth.t_ns[::-1]), 'times that increase'),
        (lambda c: with_truth(c, 'expression', c.truth.expression + 10), 'must index'),
    ],
)
def test_clip_that_breaks_the_rules_is_refused(clips, tmp_path, spoil, complaint):
    with pytest.raises(ValueError, match=complaint):
        write_shard(tmp_path / 'a.h5', [spoil(clips[0])])


def with_truth(clip, name, array):
    return RecordedClip(clip.entry, clip.events, replace(clip.truth, **{name: array}))


def test_shard_without_clips_is_refused(tmp_path):
    with pytest.raises(ValueError, match='at least one'):
        write_shard(tmp_path / 'a.h5', [])


def test_folder_without_shards_names_the_cure(tmp_path):
    with pytest.raises(DataError, match='training.synthesize'):
        ClipSet(tmp_path)


def test_foreign_hdf5_is_named(folder):
    with h5py.File(folder / 'c.h5', 'w') as other:
        other['x'] = [1]
    with pytest.raises(DataError, match=r'c\.h5 is an HDF5 file, but no shard'):
        ClipSet(folder)


def test_file_that_is_no_hdf5_is_named(folder):
    (folder / 'c.h5').write_text('no events')
    with pytest.raises(DataError, match=r'c\.h5 is no whole shard.*delete it'):
        ClipSet(folder)


@pytest.mark.parametrize(
    'name, value, complaint',
    [
        ('schema', 1, 'is of schema 1'),
        ('expressions', np.bytes_('["neutral"]'), 'other expressions'),
        ('action_units', np.bytes_('[1, 2]'), 'other action units'),
    ],
)
def test_shard_of_another_version_is_refused(folder, name, value, complaint):
    with h5py.File(folder / 'a.h5', 'a') as shard:
        shard.attrs[name] = value
    with pytest.raises(DataError, match=complaint + '.*make the set again'):
        ClipSet(folder)


def test_shard_that_vanished_is_told(folder):
    read = ClipSet(folder)
    (folder / 'a.h5').unlink()
    with pytest.raises(DataError, match='not there any more'):
        read[0]


def test_truncated_shard_is_refused_wherever_it_ends(clips, tmp_path):
    size = write_shard(tmp_path / 'whole.h5', clips[:1])
    whole = (tmp_path / 'whole.h5').read_bytes()
    for end in np.random.default_rng(0).integers(0, size, 100):
        (tmp_path / 'whole.h5').write_bytes(whole[: int(end)])
        with pytest.raises(DataError, match=r'whole\.h5'):
            read_all(ClipSet(tmp_path))


def test_flipped_bytes_are_an_error_or_change_nothing(clips, tmp_path):
    path = tmp_path / 'flipped.h5'
    write_shard(path, clips[:1])
    whole = path.read_bytes()
    rng, refused = np.random.default_rng(1), 0
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(spoilt)
        try:
            assert_same(ClipSet(tmp_path)[0], clips[0])
        except DataError as error:
            assert 'flipped.h5' in str(error)
            refused += 1
    assert refused > 250
