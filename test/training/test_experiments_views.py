import numpy as np
import pytest

pytest.importorskip('h5py')
pytest.importorskip('numba')

from fabricated import write_set

from training.data.clips import ClipSet, DataError, read_entries
from training.dataset import DataSet
from training.experiments.views import CLIPS_PER_SHARD, write_view
from training.fingerprint import clip_digest


@pytest.fixture
def source(tmp_path):
    return write_set(tmp_path / 'source')


def test_view_shows_the_clips_that_it_chose(source, tmp_path):
    folder = write_view(
        tmp_path / 'view', [source], lambda e: e if e['label'] == 'happy' else None
    )
    view, whole = ClipSet(folder), ClipSet(source)
    places = [k for k, entry in enumerate(whole.entries) if entry['label'] == 'happy']
    assert [e['index'] for e in view.entries] == [whole.entries[k]['index'] for k in places]
    for k, place in enumerate(places):
        np.testing.assert_array_equal(view[k].events.t, whole[place].events.t)
        np.testing.assert_array_equal(view[k].truth.box, whole[place].truth.box)


def test_view_leaves_clips_that_it_does_not_change_their_digests(source, tmp_path):
    folder = write_view(tmp_path / 'view', [source], lambda entry: entry)
    view, whole = ClipSet(folder), ClipSet(source)
    assert clip_digest(view, 3) == clip_digest(whole, 3)


def test_view_reads_a_part_of_a_clip_as_its_source_does(source, tmp_path):
    folder = write_view(tmp_path / 'view', [source], lambda entry: entry)
    view, whole = ClipSet(folder), ClipSet(source)
    part = 700_000_000, 900_000_000
    assert len(view.events(3, *part)) == len(whole.events(3, *part)) > 0


def test_view_may_put_clips_into_another_split(source, tmp_path):
    folder = write_view(tmp_path / 'view', [source], lambda e: {**e, 'split': 'test'})
    assert len(DataSet(folder, 'test').clips) == len(ClipSet(source))


def test_view_of_two_sets_has_the_clips_of_both(source, tmp_path):
    other = write_set(tmp_path / 'other', seed=1, suffix='b')
    folder = write_view(tmp_path / 'view', [source, other], lambda entry: entry)
    assert len(ClipSet(folder)) == len(ClipSet(source)) + len(ClipSet(other))


def test_older_view_is_replaced(source, tmp_path):
    folder = write_view(tmp_path / 'view', [source], lambda entry: entry)
    write_view(folder, [source], lambda e: e if e['label'] == 'sad' else None)
    assert {entry['label'] for entry in ClipSet(folder).entries} == {'sad'}


def test_long_view_is_several_shards_and_a_shorter_one_leaves_none_of_them(source, tmp_path):
    folder = write_view(tmp_path / 'view', [source], lambda entry: entry)
    (folder / 'view.h5').write_bytes((source / 'a.h5').read_bytes())  # as views were once
    lengths = [len(read_entries(path)) for path in sorted(folder.glob('view-*.h5'))]
    assert lengths == [CLIPS_PER_SHARD, 42 - CLIPS_PER_SHARD]
    write_view(folder, [source], lambda e: e if e['label'] == 'sad' else None)
    assert [path.name for path in folder.glob('*.h5')] == ['view-0000.h5']


def test_view_of_nothing_is_refused(source, tmp_path):
    with pytest.raises(DataError, match='no clip'):
        write_view(tmp_path / 'view', [source], lambda entry: None)


def test_source_without_shards_is_told(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='holds no shards'):
        write_view(tmp_path / 'view', [tmp_path / 'empty'], lambda entry: entry)
