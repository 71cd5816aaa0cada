import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import random_batch, random_cuts

from cs3d_ros.events import (
    EventBatch,
    RecordingError,
    concatenate,
    open_recording,
    write_recording,
)

# ON and OFF counted by dv-processing 2.0.4 and aedat 2.3.0 (README beside the files)
REAL = {
    'davis346_bench.aedat4': (72_363, 45_304),
    'davis346_slice_zstd.aedat4': (5_412, 4_745),
    'davis346_slice_none.aedat4': (5_412, 4_745),
}


@pytest.mark.parametrize('name', sorted(REAL))
def test_real_recording_is_read_completely(shared_data, name):
    with open_recording(shared_data / 'recordings' / name) as recording:
        whole = concatenate(recording.batches())
    assert (whole.on_count, len(whole) - whole.on_count) == REAL[name]
    assert (recording.kind, recording.width, recording.height) == ('aedat4', 346, 260)
    assert (recording.start_ns, recording.end_ns) == (whole.t[0], whole.t[-1])


@pytest.mark.parametrize('suffix', ['.npz', '.aedat4'])
@pytest.mark.parametrize('start_ns', [0, 1_700_000_000_000_000_000])
def test_what_is_written_is_read_again(tmp_path, suffix, start_ns):
    batch = random_batch(1, 5000, start_ns=start_ns)
    path = tmp_path / ('events' + suffix)
    assert write_recording(path, random_cuts(batch, 2), 346, 260) == len(batch)
    with open_recording(path) as recording:
        again = concatenate(recording.batches())
    assert np.array_equal(again.x, batch.x)
    assert np.array_equal(again.y, batch.y)
    assert np.array_equal(again.p, batch.p)
    unit_ns = 1000 if suffix == '.aedat4' else 1  # AEDAT 4 counts whole microseconds
    assert np.array_equal(again.t, batch.t // unit_ns * unit_ns)


@pytest.mark.parametrize('duration_ns', [1_000_000, 33_333_333, 10**12])
def test_batches_are_cut_at_multiples_of_their_duration(tmp_path, duration_ns):
    batch = random_batch(1, 3000, start_ns=12_345)
    write_recording(tmp_path / 'a.npz', [batch], 346, 260)
    parts = list(open_recording(tmp_path / 'a.npz').batches(duration_ns))
    bins = [np.unique(part.t // duration_ns).tolist() for part in parts]
    assert [len(numbers) for numbers in bins] == [1] * len(parts)
    assert sorted(set(map(tuple, bins))) == list(map(tuple, bins))
    assert concatenate(parts) == batch


def test_a_second_pass_gives_the_same(tmp_path):
    write_recording(tmp_path / 'a.aedat4', [random_batch(1)], 346, 260)
    recording = open_recording(tmp_path / 'a.aedat4')
    assert list(recording.batches()) == list(recording.batches())


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


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match='nothing.npz is not there'):
        open_recording(tmp_path / 'nothing.npz')


def test_foreign_file_is_said_to_be_what_it_looks_like(tmp_path):
    path = tmp_path / 'clip.mp4'
    path.write_bytes(b'\0\0\0\x20ftypisom')
    with pytest.raises(RecordingError, match='looks like a video'):
        open_recording(path)


@pytest.mark.parametrize('size', [0, 1, 50, 5_000])
def test_truncated_aedat4_is_refused(tmp_path, size):
    write_recording(tmp_path / 'whole.aedat4', [random_batch(1, 5000)], 346, 260)
    data = (tmp_path / 'whole.aedat4').read_bytes()
    assert len(data) > size
    (tmp_path / 'cut.aedat4').write_bytes(data[:size])
    with pytest.raises(RecordingError, match='no whole AEDAT 4'):
        open_recording(tmp_path / 'cut.aedat4')


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
    try:
        for batch in open_recording(path).batches():
            EventBatch(batch.x, batch.y, batch.t, batch.p, batch.width, batch.height)
    except RecordingError:
        pass


def test_failed_writing_leaves_nothing_behind(tmp_path):
    def breaks():
        yield random_batch(1)
        raise RecordingError('the source broke')

    for suffix in ('.npz', '.aedat4'):
        with pytest.raises(RecordingError):
            write_recording(tmp_path / ('a' + suffix), breaks(), 346, 260)
    assert os.listdir(str(tmp_path)) == []


def test_recording_without_events_is_not_written(tmp_path):
    with pytest.raises(RecordingError, match='no events'):
        write_recording(tmp_path / 'a.npz', [], 346, 260)


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RecordingError, match='cannot be written'):
        write_recording(tmp_path / 'nowhere' / 'a.npz', [random_batch(1)], 346, 260)


def test_unknown_format_is_not_written(tmp_path):
    with pytest.raises(RecordingError, match='must end in one of'):
        write_recording(tmp_path / 'a.bag', [random_batch(1)], 346, 260)
