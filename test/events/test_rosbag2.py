"""Bags, beside the readers and writers of rosbags and mcap."""

import io
import os
import sqlite3
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import random_batch, random_cuts, read_or_refuse

from cs3d_ros.events import (
    EventBatch,
    RecordingError,
    concatenate,
    encode_event_array,
    open_recording,
    write_recording,
)
from cs3d_ros.events.recordings.mcap import McapFile

# Width, height, ON and OFF as event_camera_py and decoders of our own count (README beside the
# files; of the synthetic one just the events)
REAL = {
    'evt3_vga_rosbag2': (640, 480, 125_183, 218_291),
    'evt3_hd_trigger_rosbag2': (1280, 720, 41_439, 41_030),
    'libcaer_cmp_davis346_mcap': (346, 260, 211_043, 360_223),
    'libcaer_vga_rosbag2': (640, 480, 14_696, 11_801),
}
TYPE = 'dv_ros2_msgs/msg/EventArray'
START_NS = 1_700_000_000_123_456_789
fuzzed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def parts_of(batch, count=20):
    cuts = np.linspace(0, len(batch), count + 1).astype(int).tolist()
    return [batch[first:last] for first, last in zip(cuts, cuts[1:])]


def logged(batch, delay_ns=0):
    """Return (log time, bytes) of messages, logged later than their events happened."""
    return [
        (int(part.t[0]) + delay_ns, encode_event_array(part, int(part.t[0])))
        for part in parts_of(batch)
    ]


def write_mcap(path, topics, packing='NONE', is_chunked=True, has_index=True):
    """Write {(topic, type): messages} by the package of MCAP's makers."""
    writing = pytest.importorskip('mcap.writer')
    options = {'chunk_size': 20_000, 'use_chunking': is_chunked}
    if not has_index:
        options['index_types'] = writing.IndexType.NONE
        options.update(dict.fromkeys(('use_statistics', 'repeat_channels'), False))
    with open(str(path), 'wb') as file:
        kind = getattr(writing.CompressionType, packing)
        writer = writing.Writer(file, compression=kind, **options)
        writer.start('ros2', 'test')
        channels = {}
        for topic, kind in topics:
            schema = writer.register_schema(kind, 'ros2msg', b'')
            channels[topic, kind] = writer.register_channel(topic, 'cdr', schema)
        for key, messages in topics.items():
            for log_ns, data in messages:
                writer.add_message(channels[key], log_ns, data, log_ns)
        writer.finish()


def write_rosbags(path, topics, mode='NONE', storage='SQLITE3'):
    """Write a bag folder by rosbags."""
    rosbag2 = pytest.importorskip('rosbags.rosbag2')
    storage = getattr(rosbag2.StoragePlugin, storage)
    writer = rosbag2.Writer(path, version=9, storage_plugin=storage)
    if mode != 'NONE':
        writer.set_compression(
            getattr(rosbag2.CompressionMode, mode), rosbag2.CompressionFormat.ZSTD
        )
    with writer:
        for (topic, kind), messages in topics.items():
            connection = writer.add_connection(topic, kind, msgdef='uint8 x', rihs01='RIHS01_0')
            for log_ns, data in messages:
                writer.write(connection, log_ns, data)


@pytest.mark.parametrize('name', sorted(REAL))
def test_real_bag_is_read_completely(shared_data, name):
    recording = open_recording(shared_data / 'recordings' / name)
    whole = concatenate(recording.batches())
    width, height, on, off = REAL[name]
    assert (whole.on_count, len(whole) - whole.on_count) == (on, off)
    assert (recording.kind, recording.width, recording.height) == ('rosbag2', width, height)
    assert (recording.out_of_bounds, recording.time_reversed, recording.malformed) == (0, 0, 0)
    assert recording.start_ns == whole.t[0]
    assert recording.topic == '/event_camera/events'


def test_all_events_of_a_real_synthetic_bag_are_read(shared_data):
    recording = open_recording(shared_data / 'recordings' / 'mono_rosbag2')
    assert sum(map(len, recording.batches())) == 100


def test_file_of_a_real_bag_is_read_like_its_folder(shared_data):
    folder = shared_data / 'recordings' / 'evt3_vga_rosbag2'
    alone = list(open_recording(folder / 'test_events_1.db3').batches())
    assert alone == list(open_recording(folder).batches())


def test_rosbags_reads_what_is_written(tmp_path):
    highlevel = pytest.importorskip('rosbags.highlevel')
    batch = random_batch(1, 50_000, start_ns=START_NS)
    write_recording(tmp_path / 'bag', random_cuts(batch, 2), 346, 260)
    columns = {name: [] for name in 'xytp'}
    with highlevel.AnyReader([tmp_path / 'bag']) as reader:
        assert [(each.topic, each.msgtype) for each in reader.connections] == [('/events', TYPE)]
        for connection, log_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp
            events = message.events
            columns['x'] += [event.x for event in events]
            columns['y'] += [event.y for event in events]
            columns['t'] += [event.ts.sec * 10**9 + event.ts.nanosec for event in events]
            columns['p'] += [int(event.polarity) for event in events]
            assert log_ns == stamp.sec * 10**9 + stamp.nanosec == columns['t'][-len(events)]
            assert (message.width, message.height) == (346, 260)
            assert len(events) <= 20_000
            assert (columns['t'][-1] - log_ns) < 10_000_000
    assert all(columns[name] == getattr(batch, name).tolist() for name in 'xytp')


def test_suffix_in_capitals_is_a_file_as_well(tmp_path):
    write_recording(tmp_path / 'A.DB3', [random_batch(1)], 346, 260)
    assert concatenate(open_recording(tmp_path / 'A.DB3').batches()) == random_batch(1)
    assert (tmp_path / 'A.DB3').is_file()


def test_metadata_of_a_bag_tells_what_is_in_it(tmp_path):
    yaml = pytest.importorskip('yaml')
    batch = random_batch(1, 50_000, start_ns=START_NS)
    write_recording(tmp_path / 'bag', [batch], 346, 260)
    information = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    information = information['rosbag2_bagfile_information']
    database = sqlite3.connect(str(tmp_path / 'bag' / 'bag_0.db3'))
    query = 'SELECT COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages'
    count, first_ns, last_ns = database.execute(query).fetchone()
    database.close()
    assert sorted(os.listdir(str(tmp_path / 'bag'))) == ['bag_0.db3', 'metadata.yaml']
    assert information['message_count'] == count
    assert information['starting_time']['nanoseconds_since_epoch'] == first_ns == batch.t[0]
    assert information['duration']['nanoseconds'] == last_ns - first_ns
    assert information['relative_file_paths'] == ['bag_0.db3']


@pytest.mark.parametrize('name', ['rec #1', 'a: b', 'it\'s "new"', 'größe', '- 1', '{x}'])
def test_bag_may_have_any_name(tmp_path, name):
    yaml = pytest.importorskip('yaml')
    write_recording(tmp_path / name, [random_batch(1)], 346, 260)
    information = yaml.safe_load((tmp_path / name / 'metadata.yaml').read_bytes())
    information = information['rosbag2_bagfile_information']
    assert information['relative_file_paths'] == [name + '_0.db3']
    assert information['files'][0]['path'] == name + '_0.db3'
    assert concatenate(open_recording(tmp_path / name).batches()) == random_batch(1)


def test_name_that_a_bag_cannot_tell_is_refused(tmp_path):
    path = os.fsdecode(os.path.join(os.fsencode(str(tmp_path)), b'b\xff'))
    with pytest.raises(RecordingError, match='names of its files in UTF-8'):
        write_recording(path, [random_batch(1)], 346, 260)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('name', ['größe.db3'.encode(), b'b\xff.db3', b'a?b#c%20.db3'])
def test_name_is_no_matter_of_the_locale(tmp_path, name):
    code = (
        'import sys; from cs3d_ros.events import open_recording, write_recording; '
        'from naive import random_batch; '
        'write_recording(sys.argv[1], [random_batch(1)], 346, 260); '
        'assert sum(map(len, open_recording(sys.argv[1]).batches())) == 500'
    )
    path = os.path.join(os.fsencode(str(tmp_path)), name)
    environment = dict(os.environ, LC_ALL='C', PYTHONPATH=os.pathsep.join(sys.path))
    subprocess.check_call([sys.executable, '-c', code, path], env=environment)
    assert os.listdir(os.fsencode(str(tmp_path))) == [name]


@pytest.mark.parametrize('mode', ['NONE', 'FILE', 'MESSAGE'])
@pytest.mark.parametrize('storage', ['SQLITE3', 'MCAP'])
def test_what_rosbags_writes_is_read(tmp_path, mode, storage):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): logged(batch)}, mode, storage)
    recording = open_recording(tmp_path / 'bag')
    assert concatenate(recording.batches()) == batch
    assert (recording.start_ns, recording.end_ns) == (batch.t[0], batch.t[-1])
    assert recording.topic == '/events'


@pytest.mark.parametrize('packing', ['NONE', 'LZ4', 'ZSTD'])
@pytest.mark.parametrize('is_chunked', [True, False])
@pytest.mark.parametrize('has_index', [True, False])
def test_what_mcap_writes_is_read(tmp_path, packing, is_chunked, has_index):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    others = [(log_ns, b'\0\1\0\0' + bytes(100)) for log_ns, _ in logged(batch)]
    topics = {('/imu', 'sensor_msgs/msg/Imu'): others, ('/events', TYPE): logged(batch)}
    write_mcap(tmp_path / 'a.mcap', topics, packing, is_chunked, has_index)
    recording = open_recording(tmp_path / 'a.mcap')
    assert concatenate(recording.batches()) == batch
    assert recording.end_ns == (batch.t[-1] if is_chunked and has_index else None)
    start_ns = int(batch.t[15_000])
    assert concatenate(recording.batches(start_ns=start_ns)) == batch.between(start_ns, 2**62)


def test_messages_of_a_real_mcap_file_are_what_its_makers_read(shared_data):
    reading = pytest.importorskip('mcap.reader')
    path = shared_data / 'recordings' / 'libcaer_cmp_davis346_mcap' / 'test_events_2_0.mcap'
    kind = 'event_camera_msgs/msg/EventPacket'
    file = McapFile(str(path), [kind])
    with open(str(path), 'rb') as stream:
        expected = [
            (message.log_time, message.data)
            for _, _, message in reading.make_reader(stream).iter_messages()
        ]
    assert file.topics == {'/event_camera/events': kind}
    assert list(file.messages('/event_camera/events')) == expected
    assert file.count('/event_camera/events') == len(expected) == 100
    assert file.last_message('/event_camera/events') == expected[-1]
    later = [message for message in expected if message[0] >= expected[60][0]]
    assert list(file.messages('/event_camera/events', expected[60][0])) == later
    file.close()


def test_files_of_a_split_bag_are_read_in_order(tmp_path):
    batch = random_batch(1, 24_000, start_ns=START_NS)
    (tmp_path / 'bag').mkdir()
    for number, part in enumerate(parts_of(batch, 12)):
        write_recording(tmp_path / 'bag' / 'bag_{}.db3'.format(number), [part], 346, 260)
    recording = open_recording(tmp_path / 'bag')
    assert concatenate(recording.batches()) == batch
    assert recording.end_ns == batch.t[-1]
    start_ns = int(batch.t[17_000])
    assert concatenate(recording.batches(start_ns=start_ns)) == batch.between(start_ns, 2**62)


@pytest.mark.parametrize('delay_ns', [0, 5_000_000, 10**15])
def test_seek_goes_by_event_times_whatever_the_log_says(tmp_path, delay_ns):
    batch = random_batch(1, 20_000, start_ns=10**12, span_ns=10**10)
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): logged(batch, delay_ns)})
    recording = open_recording(tmp_path / 'bag')
    for at in (0, 1, 7_777, 19_999):
        start_ns = int(batch.t[at])
        part = concatenate(recording.batches(start_ns=start_ns))
        assert part == batch.between(start_ns, 2**62)


def sessions(batch):
    """Return the messages of two sessions of a camera that began anew, and all their events."""
    pause_ns = int(batch.t[-1] - batch.t[0])
    again = EventBatch(batch.x, batch.y, batch.t + pause_ns, batch.p, batch.width, batch.height)
    return logged(batch, 10**12), logged(batch, 10**12 + 2 * pause_ns), concatenate([batch, again])


def assert_is_one_clock(recording, whole):
    """Assert that what two sessions hold is read as of one clock, from any time on."""
    assert concatenate(recording.batches()) == whole
    assert (recording.clock_resets, recording.time_reversed) == (1, 0)
    assert recording.end_ns is None
    for at in (1000, 11_000, 29_000, 31_000):
        start_ns = int(whole.t[at])
        part = concatenate(recording.batches(start_ns=start_ns))
        assert part == whole.between(start_ns, 2**62)


def test_clock_that_begins_anew_goes_on(tmp_path):
    first, second, whole = sessions(random_batch(1, 20_000, span_ns=2_400_000_000))
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): first + second})
    assert_is_one_clock(open_recording(tmp_path / 'bag'), whole)


def test_clock_that_begins_anew_in_another_file_goes_on(tmp_path):
    batch = random_batch(1, 20_000, span_ns=2_400_000_000)
    (tmp_path / 'bag').mkdir()
    for number in range(2):  # logged at the times of the events
        write_recording(tmp_path / 'bag' / 'bag_{}.db3'.format(number), [batch], 346, 260)
    assert_is_one_clock(open_recording(tmp_path / 'bag'), sessions(batch)[2])


def test_message_less_than_a_second_back_is_dropped(tmp_path):
    first, second, whole = sessions(random_batch(1, 20_000, span_ns=900_000_000))
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): first + second[:10]})
    recording = open_recording(tmp_path / 'bag')
    assert concatenate(recording.batches()) == whole[:20_000]
    assert (recording.clock_resets, recording.time_reversed) == (0, 10_000)


def test_topic_with_most_messages_is_read(tmp_path):
    few, many = (random_batch(seed, 20_000, start_ns=START_NS) for seed in (1, 2))
    topics = {('/a', TYPE): logged(few)[:5], ('/b', TYPE): logged(many), ('/c', 'x/msg/Y'): []}
    write_rosbags(tmp_path / 'bag', topics)
    assert open_recording(tmp_path / 'bag').topic == '/b'
    assert concatenate(open_recording(tmp_path / 'bag').batches()) == many
    chosen = open_recording(tmp_path / 'bag', topic='/a')
    assert concatenate(chosen.batches()) == few[:5000]


def test_bag_without_events_tells_its_topics(tmp_path):
    imu = ('/imu', 'sensor_msgs/msg/Imu')
    write_rosbags(tmp_path / 'bag', {imu: [(1, b'\0\1\0\0')]})
    with pytest.raises(RecordingError, match=r'only /imu \(sensor_msgs/msg/Imu\)'):
        open_recording(tmp_path / 'bag')
    with pytest.raises(RecordingError, match='no topic /events with events'):
        open_recording(tmp_path / 'bag', topic='/events')


def test_malformed_message_is_left_out_and_counted(tmp_path):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    messages = logged(batch)
    messages[3] = (messages[3][0], messages[3][1][:100])
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): messages})
    recording = open_recording(tmp_path / 'bag')
    assert len(concatenate(recording.batches())) == 19_000
    assert recording.malformed == 1


def test_bag_of_malformed_messages_is_refused(tmp_path):
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): [(1, b'\0\1'), (2, b'\0\1\0\0')]})
    with pytest.raises(RecordingError, match='holds no events in /events, 2 malformed'):
        open_recording(tmp_path / 'bag')


def test_sensor_that_changes_its_size_is_refused(tmp_path):
    small = random_batch(1, 1000, start_ns=START_NS)
    large = random_batch(1, 1000, 640, 480, start_ns=START_NS + 10**9)
    write_rosbags(tmp_path / 'bag', {('/events', TYPE): logged(small) + logged(large)})
    with pytest.raises(RecordingError, match='from 346 x 260 to 640 x 480'):
        list(open_recording(tmp_path / 'bag').batches())


def test_folder_without_a_bag_is_refused(tmp_path):
    with pytest.raises(RecordingError, match='holds no file of a bag'):
        open_recording(tmp_path)


def test_database_that_is_no_bag_is_refused(tmp_path):
    database = sqlite3.connect(str(tmp_path / 'a.db3'))
    database.executescript('CREATE TABLE t(i); CREATE VIEW messages AS SELECT 1; ')
    database.close()
    with pytest.raises(RecordingError, match='but no bag of ROS 2'):
        open_recording(tmp_path / 'a.db3')


@pytest.mark.parametrize('t_ns', [-(10**9), 2**31 * 10**9])
def test_times_that_a_bag_cannot_tell_are_refused(tmp_path, t_ns):
    with pytest.raises(RecordingError, match='a bag'):
        write_recording(tmp_path / 'bag', [random_batch(1, start_ns=t_ns)], 346, 260)
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('packing', ['NONE', 'LZ4', 'ZSTD'])
def test_events_before_a_cut_are_read(tmp_path, packing):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    write_mcap(tmp_path / 'a.mcap', {('/events', TYPE): logged(batch)}, packing)
    data = (tmp_path / 'a.mcap').read_bytes()
    (tmp_path / 'a.mcap').write_bytes(data[: len(data) * 3 // 4])
    recording = open_recording(tmp_path / 'a.mcap')
    part = concatenate(recording.batches())
    assert recording.is_cut
    assert len(part) > 10_000
    assert part == batch[: len(part)]


def test_cut_of_any_file_of_a_bag_is_told(tmp_path):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    (tmp_path / 'bag').mkdir()
    for number, part in enumerate((batch[:10_000], batch[10_000:])):
        path = tmp_path / 'bag' / 'bag_{}.mcap'.format(number)
        write_mcap(path, {('/events', TYPE): logged(part)})
    data = (tmp_path / 'bag' / 'bag_0.mcap').read_bytes()
    (tmp_path / 'bag' / 'bag_0.mcap').write_bytes(data[: len(data) * 3 // 4])
    recording = open_recording(tmp_path / 'bag')
    assert 10_000 < len(concatenate(recording.batches())) < 20_000
    assert recording.is_cut


def test_chunk_that_was_changed_is_refused(tmp_path):
    batch = random_batch(1, 20_000, start_ns=START_NS)
    write_mcap(tmp_path / 'a.mcap', {('/events', TYPE): logged(batch)})
    data = bytearray((tmp_path / 'a.mcap').read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / 'a.mcap').write_bytes(bytes(data))
    with pytest.raises(RecordingError, match='checksum of a chunk is wrong'):
        list(open_recording(tmp_path / 'a.mcap').batches())


def test_chunk_that_unpacks_beyond_reason_is_refused(tmp_path):
    zstandard = pytest.importorskip('zstandard')
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    content = struct.pack('<QQQI', 0, 1, 1 << 28, 0) + struct.pack('<I', 4) + b'zstd'
    content += struct.pack('<Q', len(bomb)) + bomb
    file = io.BytesIO()
    file.write(b'\x89MCAP0\r\n' + struct.pack('<BQ', 6, len(content)) + content)
    (tmp_path / 'a.mcap').write_bytes(file.getvalue())
    with pytest.raises(RecordingError, match='more than 128 MiB'):
        open_recording(tmp_path / 'a.mcap')


@pytest.mark.parametrize('value', [2**62, 2**64 - 1])
def test_no_number_of_the_summary_does_harm(tmp_path, value):
    data = mcap_bytes(tmp_path / 'a.mcap', 'NONE')
    for at in range(len(data) - 400, len(data) - 8):
        changed = data[:at] + struct.pack('<Q', value) + data[at + 8 :]
        (tmp_path / 'a.mcap').write_bytes(changed)
        assert read_or_refuse(tmp_path / 'a.mcap') <= 800


def mcap_bytes(path, packing):
    batch = random_batch(1, 400, start_ns=START_NS)
    write_mcap(path, {('/events', TYPE): logged(batch)}, packing)
    return path.read_bytes()


def sqlite_bytes(path):
    write_recording(path, [random_batch(1, 400, start_ns=START_NS)], 346, 260)
    return path.read_bytes()


@pytest.fixture(scope='module', params=['NONE', 'LZ4', 'ZSTD', 'SQLITE'])
def small(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('small')
    if request.param == 'SQLITE':
        return sqlite_bytes(folder / 'a.db3')
    return mcap_bytes(folder / 'a.mcap', request.param)


@fuzzed
@given(
    st.lists(st.tuples(st.integers(0, 50_000), st.integers(0, 255)), max_size=5),
    st.one_of(st.just(0), st.integers(0, 50_000)),
)
def test_damage_gives_valid_events_or_an_error(small, tmp_path, changes, cut):
    data = bytearray(small)
    for at, value in changes:
        data[at % len(data)] = value
    (tmp_path / 'a').write_bytes(bytes(data[: max(16, len(data) - cut)]))
    assert read_or_refuse(tmp_path / 'a') <= 800


@fuzzed
@given(st.integers(8, 50_000), st.sampled_from([2**63 - 1, -(2**63), -1, 2**40]))
def test_absurd_numbers_give_valid_events_or_an_error(small, tmp_path, at, value):
    data = bytearray(small)
    struct.pack_into('<q', data, 16 + at % (len(data) - 24), value)
    (tmp_path / 'a').write_bytes(bytes(data))
    assert read_or_refuse(tmp_path / 'a') <= 800
