"""AEDAT 4 beside two readers and a writer of others, dv-processing and aedat."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import decode_aedat4, random_batch, random_cuts, read_or_refuse

from cs3d_ros.events import RecordingError, concatenate, open_recording, write_recording
from cs3d_ros.events.recordings import _aedat4, aedat4

# ON and OFF counted by dv-processing 2.0.4 and aedat 2.3.0 (README beside the files)
REAL = {
    'davis346_bench.aedat4': (72_363, 45_304),
    'davis346_slice_zstd.aedat4': (5_412, 4_745),
    'davis346_slice_none.aedat4': (5_412, 4_745),
}
PACKINGS = [each[0] for each in aedat4.COMPRESSIONS]
TABLE_PLACE = slice(54, 62)  # of the place of the table within the files written here
fuzzed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(path, packing='ZSTD', **changes):
    batch = random_batch(1, **dict({'count': 30_000, 'start_ns': 10**18}, **changes))
    aedat4.write(str(path), random_cuts(batch, 2), 346, 260, packing)
    return batch


def read(path):
    return concatenate(open_recording(path).batches())


@pytest.mark.parametrize('name', sorted(REAL))
def test_real_recording_is_read_completely(shared_data, name):
    with open_recording(shared_data / 'recordings' / name) as recording:
        whole = concatenate(recording.batches())
    assert (whole.on_count, len(whole) - whole.on_count) == REAL[name]
    assert (recording.kind, recording.width, recording.height) == ('aedat4', 346, 260)
    assert (recording.start_ns, recording.end_ns) == (whole.t[0], whole.t[-1])
    assert recording.count == len(whole)
    assert not recording.is_cut


@pytest.mark.parametrize('name', sorted(REAL))
def test_dv_processing_reads_the_same_of_a_real_recording(shared_data, name):
    path = shared_data / 'recordings' / name
    assert_equal(read(path), read_with_dv(path))


@pytest.mark.parametrize('name', sorted(REAL))
def test_aedat_reads_the_same_of_a_real_recording(shared_data, name):
    oracle = pytest.importorskip('aedat')
    path = shared_data / 'recordings' / name
    packets = [packet['events'] for packet in oracle.Decoder(str(path)) if 'events' in packet]
    events = np.concatenate(packets)
    assert_equal(read(path), [events[key] for key in ('x', 'y', 't', 'on')])


def read_with_dv(path):
    dv = pytest.importorskip('dv_processing')
    reader = dv.io.MonoCameraRecording(str(path))
    stores = []
    while True:
        store = reader.getNextEventBatch()
        if store is None:
            break
        if not store.isEmpty():
            stores.append(store.numpy())
    events = np.concatenate(stores)
    return [events[key] for key in ('x', 'y', 'timestamp', 'polarity')]


def assert_equal(batch, columns):
    x, y, t_us, p = columns
    assert np.array_equal(batch.x, x)
    assert np.array_equal(batch.y, y)
    assert np.array_equal(batch.t, t_us * 1000)
    assert np.array_equal(batch.p, p)


@pytest.mark.parametrize('packing', PACKINGS)
def test_dv_processing_reads_what_is_written(tmp_path, packing):
    batch = write(tmp_path / 'a.aedat4', packing)
    x, y, t_us, p = read_with_dv(tmp_path / 'a.aedat4')
    assert np.array_equal(t_us, batch.t // 1000)
    assert np.array_equal(x, batch.x) and np.array_equal(y, batch.y) and np.array_equal(p, batch.p)


@pytest.mark.parametrize('packing', PACKINGS)
def test_dv_processing_finds_a_time_by_the_table_that_is_written(tmp_path, packing):
    dv = pytest.importorskip('dv_processing')
    batch = write(tmp_path / 'a.aedat4', packing)
    reader = dv.io.MonoCameraRecording(str(tmp_path / 'a.aedat4'))
    start_us, end_us = (int(t) for t in batch.t[[10_000, 20_000]] // 1000)
    events = reader.getEventsTimeRange(start_us, end_us).numpy()
    assert np.array_equal(
        events['timestamp'] * 1000,
        read(tmp_path / 'a.aedat4').between(start_us * 1000, end_us * 1000).t,
    )


@pytest.mark.parametrize('packing', PACKINGS)
def test_what_dv_processing_writes_is_read(tmp_path, packing):
    dv = pytest.importorskip('dv_processing')
    batch = random_batch(3, 25_000, start_ns=10**18)
    kind = getattr(dv.CompressionType, packing)
    settings = dv.io.MonoCameraWriter.Config('camera', kind)
    settings.addEventStream((346, 260))
    settings.addFrameStream((346, 260))
    writer = dv.io.MonoCameraWriter(str(tmp_path / 'a.aedat4'), settings)
    store = dv.EventStore()
    for t, x, y, p in zip(batch.t // 1000, batch.x, batch.y, batch.p):
        store.push_back(int(t), int(x), int(y), bool(p))
    writer.writeEvents(store)
    writer.writeFrame(dv.Frame(10**15, np.zeros((260, 346), np.uint8)))
    del writer  # its destructor writes the table of packets
    recording = open_recording(tmp_path / 'a.aedat4')
    assert_equal(concatenate(recording.batches()), [batch.x, batch.y, batch.t // 1000, batch.p])
    assert (recording.count, recording.end_ns) == (25_000, batch.t[-1] // 1000 * 1000)


@pytest.mark.parametrize('packing', PACKINGS)
@pytest.mark.parametrize('place', [-1, 0, 2**40])
def test_file_without_table_is_read_through(tmp_path, packing, place):
    write(tmp_path / 'a.aedat4', packing)
    whole = read(tmp_path / 'a.aedat4')
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    (table_at,) = struct.unpack('<q', data[TABLE_PLACE])
    data[TABLE_PLACE] = struct.pack('<q', place)
    (tmp_path / 'a.aedat4').write_bytes(bytes(data[:table_at]))
    recording = open_recording(tmp_path / 'a.aedat4')
    assert (recording.end_ns, recording.count) == (None, None)
    assert concatenate(recording.batches()) == whole
    assert not recording.is_cut
    start_ns = int(whole.t[12_345])
    assert concatenate(recording.batches(start_ns=start_ns)) == whole.between(start_ns, 2**62)


def test_damaged_table_is_no_loss(tmp_path):
    write(tmp_path / 'a.aedat4', 'NONE')
    whole = read(tmp_path / 'a.aedat4')
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    (table_at,) = struct.unpack('<q', data[TABLE_PLACE])
    data[table_at + 60 : table_at + 100] = b'\xff' * 40
    (tmp_path / 'a.aedat4').write_bytes(bytes(data))
    recording = open_recording(tmp_path / 'a.aedat4')
    assert recording.count is None
    assert concatenate(recording.batches()) == whole


def write_sessions(path, *starts_ns):
    """Write sessions of three packets, a second apart; return the events of the first."""
    spans = [(seed, seed * 10**9) for seed in (1, 2, 3)]
    packets = [
        random_batch(seed, 1000, start_ns=start_ns + offset_ns, span_ns=5_000_000)
        for start_ns in starts_ns
        for seed, offset_ns in spans
    ]
    aedat4.write(str(path), packets, 346, 260)
    return concatenate(packets[:3])


@pytest.mark.parametrize('has_table', [True, False])
def test_clock_that_begins_anew_goes_on(tmp_path, monkeypatch, has_table):
    monkeypatch.setattr(aedat4, 'PACKET_EVENTS', 1000)
    session = write_sessions(tmp_path / 'a.aedat4', 10**15, 10**15 - 10**13)
    if not has_table:
        data = bytearray((tmp_path / 'a.aedat4').read_bytes())
        (table_at,) = struct.unpack('<q', data[TABLE_PLACE])
        (tmp_path / 'a.aedat4').write_bytes(bytes(data[:table_at]))
    recording = open_recording(tmp_path / 'a.aedat4')
    whole = concatenate(recording.batches())
    t = session.t // 1000 * 1000
    assert whole.t.tolist() == t.tolist() + (t + t[-1] - t[0]).tolist()
    assert (recording.clock_resets, recording.time_reversed) == (1, 0)
    assert recording.end_ns is None
    for at in (1500, 3500):
        start_ns = int(whole.t[at])
        part = concatenate(recording.batches(start_ns=start_ns))
        assert part == whole.between(start_ns, 2**62)


def test_clock_that_begins_anew_beyond_all_time_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(aedat4, 'PACKET_EVENTS', 1000)
    write_sessions(tmp_path / 'a.aedat4', 9 * 10**18, 0, 9 * 10**18)
    with pytest.raises(RecordingError, match='is damaged: its clock begins anew'):
        read(tmp_path / 'a.aedat4')


@pytest.mark.parametrize('size', [0, 1, 14, 50, 600])
def test_file_cut_in_its_header_is_refused(tmp_path, size):
    write_recording(tmp_path / 'whole.aedat4', [random_batch(1, 5000)], 346, 260)
    data = (tmp_path / 'whole.aedat4').read_bytes()
    (tmp_path / 'cut.aedat4').write_bytes(data[:size])
    with pytest.raises(RecordingError, match='no whole AEDAT 4'):
        open_recording(tmp_path / 'cut.aedat4')


@pytest.mark.parametrize('packing', PACKINGS)
def test_events_before_a_cut_are_read(tmp_path, packing):
    write(tmp_path / 'a.aedat4', packing)
    whole = read(tmp_path / 'a.aedat4')
    data = (tmp_path / 'a.aedat4').read_bytes()
    (table_at,) = struct.unpack('<q', data[TABLE_PLACE])
    (tmp_path / 'a.aedat4').write_bytes(data[: table_at - 5])
    recording = open_recording(tmp_path / 'a.aedat4')
    part = concatenate(recording.batches())
    assert recording.is_cut
    assert part == whole[: len(part)]
    assert 0.5 * len(whole) < len(part) < len(whole)


def test_cut_within_a_packet_of_another_stream_is_told(shared_data, tmp_path):
    data = (shared_data / 'recordings' / 'davis346_slice_none.aedat4').read_bytes()
    (tmp_path / 'a.aedat4').write_bytes(data[:211_250])
    recording = open_recording(tmp_path / 'a.aedat4')
    list(recording.batches())
    assert recording.is_cut


def test_packet_that_unpacks_beyond_reason_is_refused(tmp_path):
    zstandard = pytest.importorskip('zstandard')
    frame = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    write(tmp_path / 'a.aedat4')
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    packets_at = 18 + struct.unpack_from('<I', data, 14)[0]
    data[TABLE_PLACE] = struct.pack('<q', -1)
    for payload in (frame, bomb):
        packet = struct.pack('<ii', 0, len(payload)) + payload
        (tmp_path / 'b.aedat4').write_bytes(bytes(data[:packets_at]) + packet)
        with pytest.raises(RecordingError, match='more than 128 MiB'):
            open_recording(tmp_path / 'b.aedat4')


def test_lz4_packet_that_unpacks_beyond_reason_is_refused(tmp_path):
    frame = pytest.importorskip('lz4.frame')
    write(tmp_path / 'a.aedat4', 'LZ4')
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    packets_at = 18 + struct.unpack_from('<I', data, 14)[0]
    data[TABLE_PLACE] = struct.pack('<q', -1)
    payload = frame.compress(bytes(1 << 28))
    packet = struct.pack('<ii', 0, len(payload)) + payload
    (tmp_path / 'b.aedat4').write_bytes(bytes(data[:packets_at]) + packet)
    with pytest.raises(RecordingError, match='more than 128 MiB'):
        open_recording(tmp_path / 'b.aedat4')


@pytest.mark.parametrize(
    'old, new, words',
    [
        (b'"sizeX" type="int">346', b'"sizeX" type="int">abc', 'sensor size'),
        (b'"sizeX" type="int">346', b'"sizeX" type="int">000', 'sensor size'),
        (b'>EVTS<', b'>FRME<', 'no event stream, only FRME'),
        (b'<dv version="2.0">', b'<!DOCTYPE version>', 'document type'),
        (b'</dv>', b'</pv>', 'no whole AEDAT 4 file'),
        (b'IOHE', b'IOHO', 'no whole AEDAT 4 file'),
        (b'DAT4.0', b'DAT4.9', 'no whole AEDAT 4 file'),
    ],
)
def test_header_that_tells_no_events_is_refused(tmp_path, old, new, words):
    write(tmp_path / 'a.aedat4')
    data = (tmp_path / 'a.aedat4').read_bytes()
    assert data.count(old) == 1
    (tmp_path / 'a.aedat4').write_bytes(data.replace(old, new))
    with pytest.raises(RecordingError, match=words):
        open_recording(tmp_path / 'a.aedat4')


def test_times_that_leave_int64_are_refused(tmp_path):
    write(tmp_path / 'a.aedat4', 'NONE', count=10)
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    packets_at = 18 + struct.unpack_from('<I', data, 14)[0]
    struct.pack_into('<q', data, packets_at + 8 + 32, 2**62)
    (tmp_path / 'a.aedat4').write_bytes(bytes(data))
    with pytest.raises(RecordingError, match='64 bits of ns'):
        read(tmp_path / 'a.aedat4')


def test_negative_coordinates_lie_outside(tmp_path):
    batch = write(tmp_path / 'a.aedat4', 'NONE', count=10)
    data = bytearray((tmp_path / 'a.aedat4').read_bytes())
    packets_at = 18 + struct.unpack_from('<I', data, 14)[0]
    struct.pack_into('<h', data, packets_at + 8 + 32 + 8, -1)
    (tmp_path / 'a.aedat4').write_bytes(bytes(data))
    recording = open_recording(tmp_path / 'a.aedat4')
    assert concatenate(recording.batches()).x.tolist() == batch.x[1:].tolist()
    assert recording.out_of_bounds == 1


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-3, 3), st.integers(-(2**53), 2**53)),
            st.one_of(st.integers(-1, 5), st.integers(-(2**15), 2**15 - 1)),
            st.integers(-1, 4),
            st.integers(0, 255),
        ),
        max_size=30,
    ),
    st.integers(0, 7),
    st.integers(-1000, 1000),
)
def test_kernel_decodes_as_its_slow_twin(events, start, last_ns):
    data = b''.join(struct.pack('<qhhBxxx', *event) for event in events)
    columns = [np.zeros(len(events), kind) for kind in ('u2', 'u2', 'i8', 'u1')]
    raw = np.frombuffer(bytes(start) + data + b'\0', np.uint8)
    kept, outside, backwards, beyond = _aedat4.decode_events(
        raw, start, len(events), 5, 4, last_ns, *columns
    )
    expected = decode_aedat4(data, 5, 4, last_ns)
    rows = list(zip(*(column[:kept].tolist() for column in columns)))
    assert (rows, outside, backwards) == expected
    assert beyond == 0


@pytest.fixture(scope='module', params=['NONE', 'LZ4', 'ZSTD'])
def small(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('small') / 'a.aedat4'
    write(path, request.param, count=300, span_ns=30_000_000)
    return path.read_bytes()


@pytest.mark.parametrize('value', [0, 1, 127, 128, 255])
def test_no_byte_before_the_description_does_harm(small, tmp_path, value):
    for at in range(small.index(b'<dv')):
        (tmp_path / 'a.aedat4').write_bytes(small[:at] + bytes([value]) + small[at + 1 :])
        assert read_or_refuse(tmp_path / 'a.aedat4') <= 10_000


@fuzzed
@given(
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5),
    st.integers(0, 5000),
)
def test_damage_gives_valid_events_or_an_error(small, tmp_path, changes, cut):
    data = bytearray(small)
    for at, value in changes:
        data[at % len(data)] = value
    (tmp_path / 'a.aedat4').write_bytes(bytes(data[: max(0, len(data) - cut)]))
    assert read_or_refuse(tmp_path / 'a.aedat4') <= 10_000


@fuzzed
@given(st.integers(0, 10_000), st.sampled_from([2**31 - 1, -(2**31), -1, 2**30]))
def test_absurd_numbers_give_valid_events_or_an_error(small, tmp_path, at, value):
    data = bytearray(small)
    struct.pack_into('<i', data, at % (len(data) - 4), value)
    (tmp_path / 'a.aedat4').write_bytes(bytes(data))
    assert read_or_refuse(tmp_path / 'a.aedat4') <= 10_000
