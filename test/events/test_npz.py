import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import random_batch, read_or_refuse

from cs3d_ros.events import RecordingError, concatenate, open_recording, write_recording


def save(path, **changes):
    arrays = {
        'x': np.array([1, 2, 3]),
        'y': np.array([1, 2, 3]),
        't': np.array([10, 20, 30]),
        'p': np.array([1, 0, 1]),
        'width': 4,
        'height': 4,
    }
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_events_outside_the_sensor_are_dropped_and_counted(tmp_path):
    recording = open_recording(save(tmp_path / 'a.npz', x=np.array([1, 65_536 + 2, -65_535])))
    assert concatenate(recording.batches()).t.tolist() == [10]
    assert recording.out_of_bounds == 2


def test_events_that_go_back_in_time_are_dropped_and_counted(tmp_path):
    recording = open_recording(save(tmp_path / 'a.npz', t=np.array([10, 5, 30])))
    assert concatenate(recording.batches()).t.tolist() == [10, 30]
    assert recording.time_reversed == 1


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'t': None}, 'lacks an array'),
        ({'t': np.array([0.1, 0.2, 0.3])}, 't must hold integers'),
        ({'x': np.array([1, 2])}, 'one length'),
        ({'width': 0}, 'sensor of 0 x 4'),
        ({name: np.array([], int) for name in 'xytp'}, 'holds no events'),
        ({'t': np.array([{}, {}, {}], object)}, 'plain arrays'),
    ],
)
def test_archive_that_is_no_recording_is_refused(tmp_path, changes, words):
    with pytest.raises(RecordingError, match=words):
        open_recording(save(tmp_path / 'a.npz', **changes))


def test_minus_one_means_off(tmp_path):
    recording = open_recording(save(tmp_path / 'a.npz', p=np.array([1, -1, 1])))
    assert concatenate(recording.batches()).p.tolist() == [1, 0, 1]


@pytest.mark.parametrize('dtype', ['<i2', '>i4', '<u8', '>u2'])
def test_integers_of_any_size_and_order_are_read(tmp_path, dtype):
    changes = {name: np.array([1, 2, 3], dtype) for name in 'xyt'}
    whole = concatenate(open_recording(save(tmp_path / 'a.npz', **changes)).batches())
    assert (whole.x.tolist(), whole.t.tolist()) == ([1, 2, 3], [1, 2, 3])


def test_numpy_reads_what_was_written(tmp_path):
    batch = random_batch(1, 1000, start_ns=10**18)
    write_recording(tmp_path / 'a.npz', [batch], 346, 260)
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as archive:
        for name in 'xytp':
            assert archive[name].dtype == getattr(batch, name).dtype
            assert np.array_equal(archive[name], getattr(batch, name))
        assert (archive['width'], archive['height']) == (346, 260)
        assert archive['end_ns'] == batch.t[-1]


def test_column_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = save(tmp_path / 'a.npz')
    with zipfile.ZipFile(str(path)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(str(path), 'w') as archive:
        for name, data in members.items():
            claimed = data.replace(b'(3,), }            ', b'(999999999999,), } ')
            assert claimed != data or name in ('width.npy', 'height.npy')
            archive.writestr(name, claimed)
    recording = open_recording(path)
    assert recording.count == 999_999_999_999
    with pytest.raises(RecordingError, match='ends inside x'):
        list(recording.batches())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=5),
    st.integers(0, 3000),
)
def test_damaged_npz_gives_valid_events_or_an_error(tmp_path, changes, cut):
    path = save(tmp_path / 'a.npz')
    data = bytearray(path.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path.write_bytes(bytes(data[: max(0, len(data) - cut)]))
    read_or_refuse(path)
