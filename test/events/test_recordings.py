import os
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import random_batch, random_cuts

from cs3d_ros.events import (
    RecordingError,
    concatenate,
    encode_evt3,
    open_recording,
    write_recording,
)
from cs3d_ros.events.recordings import identify
from cs3d_ros.events.recordings.recording import cut
from cs3d_ros.simulator import open_source

UNIT_NS = {'.npz': 1, '.aedat4': 1000, '.db3': 1, '': 1}  # of times in the file
SUFFIXES_WRITTEN = sorted(UNIT_NS)
WIDEST = {'.aedat4': 32_768}  # px, of formats that do not take 65,535


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
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
    unit_ns = UNIT_NS[suffix]
    assert np.array_equal(again.t, batch.t // unit_ns * unit_ns)


@pytest.mark.parametrize('duration_ns', [1_000_000, 33_333_333, 10**12])
def test_batches_are_cut_at_multiples_of_their_duration(tmp_path, duration_ns):
    batch = random_batch(1, 3000, start_ns=12_345)
    write_recording(tmp_path / 'a.npz', random_cuts(batch, 3), 346, 260)
    parts = list(open_recording(tmp_path / 'a.npz').batches(duration_ns))
    bins = [np.unique(part.t // duration_ns).tolist() for part in parts]
    assert [len(numbers) for numbers in bins] == [1] * len(parts)
    assert sorted(set(map(tuple, bins))) == list(map(tuple, bins))
    assert concatenate(parts) == batch


def test_a_second_pass_gives_the_same(tmp_path):
    write_recording(tmp_path / 'a.aedat4', [random_batch(1)], 346, 260)
    recording = open_recording(tmp_path / 'a.aedat4')
    assert list(recording.batches()) == list(recording.batches())


@pytest.mark.parametrize('count', [1, 7, 1000, 10**9])
def test_batches_are_cut_after_a_count(tmp_path, count):
    batch = random_batch(1, 2500)
    write_recording(tmp_path / 'a.npz', random_cuts(batch, 3), 346, 260)
    parts = list(open_recording(tmp_path / 'a.npz').batches(count=count))
    assert [len(part) for part in parts[:-1]] == [count] * (len(parts) - 1)
    assert 0 < len(parts[-1]) <= count
    assert concatenate(parts) == batch


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 30), st.integers(1, 60))
def test_cuts_do_not_depend_on_how_events_came(seed, span_ns, duration_ns, count):
    batch = random_batch(seed, 60, span_ns=span_ns)
    parts = list(cut(random_cuts(batch, seed), duration_ns, count))
    assert parts == list(cut([batch], duration_ns, count))
    assert concatenate(parts) == batch
    assert all(0 < len(part) <= count for part in parts)
    assert all(part.t[0] // duration_ns == part.t[-1] // duration_ns for part in parts)


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
def test_a_part_of_the_time_is_read(tmp_path, suffix):
    batch = random_batch(1, 20_000, start_ns=10**15, span_ns=10**9)
    path = tmp_path / ('a' + suffix)
    write_recording(path, [batch], 346, 260)
    recording = open_recording(path)
    whole = concatenate(recording.batches())
    start_ns, end_ns = 10**15 + 400_000_000, 10**15 + 555_555_000
    part = concatenate(recording.batches(start_ns=start_ns, end_ns=end_ns))
    assert part == whole.between(start_ns, end_ns)
    assert list(recording.batches(start_ns=10**16)) == []
    assert list(recording.batches(end_ns=10**15)) == []


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
def test_progress_grows_to_the_whole(tmp_path, suffix):
    path = tmp_path / ('a' + suffix)
    write_recording(path, [random_batch(1, 50_000, span_ns=10**9)], 346, 260)
    recording = open_recording(path)
    seen = [recording.progress for _ in recording.batches()]
    assert seen == sorted(seen)
    assert 0 <= seen[0] and recording.progress == 1


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
def test_end_and_count_of_what_was_written_are_known_up_front(tmp_path, suffix):
    batch = random_batch(1, 5000, start_ns=10**12)
    path = tmp_path / ('a' + suffix)
    write_recording(path, [batch], 346, 260)
    recording = open_recording(path)
    unit_ns = UNIT_NS[suffix]
    assert recording.start_ns == batch.t[0] // unit_ns * unit_ns
    assert recording.end_ns == batch.t[-1] // unit_ns * unit_ns
    assert recording.count == (len(batch) if suffix in ('.npz', '.aedat4') else None)


@pytest.mark.parametrize('arguments', [{'duration_ns': 0}, {'count': 0}, {'count': -1}])
def test_cut_that_cannot_be_is_refused(tmp_path, arguments):
    write_recording(tmp_path / 'a.npz', [random_batch(1)], 346, 260)
    with pytest.raises(ValueError, match='must be positive'):
        open_recording(tmp_path / 'a.npz').batches(**arguments)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match='nothing.npz is not there'):
        open_recording(tmp_path / 'nothing.npz')


@pytest.mark.parametrize('name', ['a.aedat4', 'a.db3', 'a.npz', 'a.raw', 'bag'])
def test_file_that_vanishes_after_it_was_opened_is_named(tmp_path, name):
    path = tmp_path / name
    if name == 'a.raw':
        path.write_bytes(b'% evt 3.0\n% geometry 346x260\n' + encode_evt3(random_batch(1)))
    else:
        write_recording(path, [random_batch(1)], 346, 260)
    recording = open_recording(path)
    path.rename(tmp_path / 'moved')
    with pytest.raises(RecordingError, match=name):
        list(recording.batches())


@pytest.mark.skipif(not os.path.exists('/proc/self/mem'), reason='a file that nobody can read')
@pytest.mark.parametrize('opener', [identify, open_recording, open_source])
def test_file_that_cannot_be_read_is_named_with_the_cure(opener):
    with pytest.raises(RecordingError, match='/proc/self/mem cannot be read: .* may you read it'):
        opener('/proc/self/mem')


@pytest.mark.parametrize(
    'head, words',
    [
        (b'\0\0\0\x20ftypisom', 'looks like a video'),
        (b'RIFF1234AVI ', 'looks like a video'),
        (b'#!AER-DAT3.1\r\n', 'AEDAT file before version 4'),
        (b'#ROSBAG V2.0\n', 'bag of ROS 1'),
        (b'\x93NUMPY\1\0', 'single NumPy array'),
        (b'1,2,3,4\n', 'no recording that is known'),
        (b'', 'no recording that is known'),
    ],
)
def test_foreign_file_is_said_to_be_what_it_looks_like(tmp_path, head, words):
    path = tmp_path / 'clip.mp4'
    path.write_bytes(head)
    with pytest.raises(RecordingError, match=words):
        open_recording(path)


@pytest.mark.parametrize('suffix', ['.aedat4', '.db3', '.npz'])
def test_content_says_more_than_the_name(tmp_path, suffix):
    kind = open_written(tmp_path / ('a' + suffix)).kind
    (tmp_path / ('a' + suffix)).rename(tmp_path / 'b.dat')
    assert open_recording(tmp_path / 'b.dat').kind == kind


def open_written(path):
    write_recording(path, [random_batch(1)], 346, 260)
    return open_recording(path)


def test_topic_of_a_file_without_topics_is_refused(tmp_path):
    open_written(tmp_path / 'a.npz')
    with pytest.raises(RecordingError, match='no topics'):
        open_recording(tmp_path / 'a.npz', topic='/events')


def test_package_loads_no_library_of_a_format():
    code = (
        'import sys, cs3d_ros.events; '
        "sys.exit(bool({'lz4', 'zstandard', 'h5py', 'cv2', 'sqlite3', 'xml.etree'} "
        '& set(sys.modules)))'
    )
    subprocess.check_call([sys.executable, '-c', code])


def test_failed_writing_leaves_nothing_behind(tmp_path):
    def breaks():
        yield random_batch(1)
        raise RecordingError('the source broke')

    for suffix in SUFFIXES_WRITTEN:
        with pytest.raises(RecordingError):
            write_recording(tmp_path / ('a' + suffix), breaks(), 346, 260)
    assert os.listdir(str(tmp_path)) == []


def test_recording_without_events_is_not_written(tmp_path):
    with pytest.raises(RecordingError, match='no events'):
        write_recording(tmp_path / 'a.npz', [], 346, 260)


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(RecordingError, match='cannot be written'):
        write_recording(tmp_path / 'nowhere' / 'a.npz', [random_batch(1)], 346, 260)


@pytest.mark.parametrize('suffix', ['', '.db3', '.npz', '.aedat4'])
def test_folder_is_not_written_over(tmp_path, suffix):
    (tmp_path / ('a' + suffix)).mkdir()
    with pytest.raises(RecordingError, match='there already'):
        write_recording(tmp_path / ('a' + suffix), [random_batch(1)], 346, 260)


def test_file_is_replaced(tmp_path):
    open_written(tmp_path / 'a.npz')
    write_recording(tmp_path / 'a.npz', [random_batch(2, 10)], 346, 260)
    assert open_recording(tmp_path / 'a.npz').count == 10


def test_log_of_a_database_that_was_replaced_does_not_come_back(tmp_path):
    old, new = random_batch(1), random_batch(2)
    write_recording(tmp_path / 'a.db3', [old], 346, 260)
    database = sqlite3.connect(str(tmp_path / 'a.db3'))
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('UPDATE messages SET timestamp = timestamp + 1')
    database.commit()  # as a writer leaves it that is killed now
    shutil.copytree(str(tmp_path), str(tmp_path / 'killed'))
    database.close()
    path = tmp_path / 'killed' / 'a.db3'
    assert (tmp_path / 'killed' / 'a.db3-wal').exists()
    write_recording(path, [new], 346, 260)
    assert concatenate(open_recording(path).batches()) == new
    assert os.listdir(str(tmp_path / 'killed')) == ['a.db3']


def test_unknown_format_is_not_written(tmp_path):
    with pytest.raises(RecordingError, match='must end in one of'):
        write_recording(tmp_path / 'a.bag', [random_batch(1)], 346, 260)


def write_square(path, side):
    write_recording(path, [random_batch(1, width=side, height=side)], side, side)


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
def test_widest_sensor_that_is_written_is_read(tmp_path, suffix):
    path, side = tmp_path / ('a' + suffix), WIDEST.get(suffix, 65_535)
    write_square(path, side)
    recording = open_recording(path)
    assert concatenate(recording.batches()).x.max() > side // 2
    assert (recording.width, recording.height) == (side, side)


@pytest.mark.parametrize('suffix', SUFFIXES_WRITTEN)
def test_sensor_that_would_not_be_read_is_not_written(tmp_path, suffix):
    with pytest.raises(RecordingError, match='^a{} cannot tell a sensor'.format(suffix)):
        write_square(tmp_path / ('a' + suffix), WIDEST.get(suffix, 65_535) + 1)
    assert os.listdir(str(tmp_path)) == []


def test_events_of_another_sensor_are_not_written(tmp_path):
    with pytest.raises(ValueError, match='346 x 260 pixels, got events of 640 x 480'):
        write_recording(tmp_path / 'a.npz', [random_batch(1, width=640, height=480)], 346, 260)
    assert os.listdir(str(tmp_path)) == []


def test_batches_that_go_back_in_time_are_not_written(tmp_path):
    with pytest.raises(ValueError, match='time goes back'):
        write_recording(tmp_path / 'a.npz', [random_batch(1), random_batch(1)], 346, 260)


def test_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / 'link.npz').symlink_to(tmp_path / 'target.npz')
    assert write_recording(tmp_path / 'link.npz', [random_batch(1, 50)], 346, 260) == 50
    assert (tmp_path / 'link.npz').is_symlink()
    with open_recording(tmp_path / 'target.npz') as recording:
        assert sum(map(len, recording.batches())) == 50


def test_pipe_is_not_replaced_by_a_recording(tmp_path):
    os.mkfifo(str(tmp_path / 'pipe.npz'))
    with pytest.raises(RecordingError, match='pipe.npz is a pipe or a device: write to a file'):
        write_recording(tmp_path / 'pipe.npz', [random_batch(1, 50)], 346, 260)
    assert (tmp_path / 'pipe.npz').is_fifo()
