import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import random_batch, read_or_refuse

from cs3d_ros.events import EventBatch, RecordingError, concatenate, open_recording
from cs3d_ros.events.recordings import prophesee_raw

# Width, height, ON, OFF and sums of x, y and t in us as faery 0.7.1 decodes them
REAL = {
    'prophesee_sparklers_evt2.raw': (640, 480, 57_453, 113_473),
    'imx636_evt3.raw': (1280, 720, 35_418, 37_342),
}
HEADER = '% evt 2.0\n% geometry 346x260\n% end\n'


def evt2_words(batch):
    """Return EVT 2.0: a word with the upper bits of the time, then a word for an event, each."""
    words = []
    for x, y, t, p in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist(), batch.p.tolist()):
        t_us = t // 1000
        words.append(8 << 28 | t_us >> 6)
        words.append(p << 28 | (t_us & 63) << 22 | x << 11 | y)
    return words


def pack(words, layout='<I'):
    return b''.join(struct.pack(layout, word) for word in words)


def write(path, header=HEADER, data=None):
    data = pack(evt2_words(random_batch(1))) if data is None else data
    path.write_bytes(header.encode() + data)
    return path


def whole_us(batch):
    """Return the events with times cut to whole microseconds, as the format has them."""
    t = batch.t // 1000 * 1000
    return EventBatch(batch.x, batch.y, t, batch.p, batch.width, batch.height)


@pytest.mark.parametrize('name', sorted(REAL))
def test_real_recording_is_read_completely(shared_data, name):
    recording = open_recording(shared_data / 'recordings' / name)
    whole = concatenate(recording.batches())
    width, height, on, off = REAL[name]
    assert (whole.on_count, len(whole) - whole.on_count) == (on, off)
    assert (recording.kind, recording.width, recording.height) == ('prophesee_raw', width, height)
    assert recording.start_ns == whole.t[0]
    assert (recording.out_of_bounds, recording.time_reversed, recording.is_cut) == (0, 0, False)


def test_sums_of_a_real_recording_are_those_of_an_independent_decoder(shared_data):
    whole = concatenate(open_recording(shared_data / 'recordings' / 'imx636_evt3.raw').batches())
    sums = [int(column.astype(np.int64).sum()) for column in (whole.x, whole.y, whole.t // 1000)]
    assert sums == [35_350_166, 21_392_490, 818_633_463_259]  # faery 0.7.1


def test_events_are_those_that_were_written(tmp_path):
    recording = open_recording(write(tmp_path / 'a.raw'))
    assert concatenate(recording.batches()) == whole_us(random_batch(1))
    assert recording.progress == 1


@pytest.mark.parametrize('piece', [1, 3, 4, 7, 1000])
def test_events_do_not_depend_on_the_pieces_read(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(prophesee_raw, 'PIECE', piece)
    recording = open_recording(write(tmp_path / 'a.raw'))
    assert concatenate(recording.batches()) == whole_us(random_batch(1))


@pytest.mark.parametrize('extra', [1, 2, 3])
def test_broken_last_word_is_left_out(tmp_path, extra):
    data = pack(evt2_words(random_batch(1)))
    recording = open_recording(write(tmp_path / 'a.raw', data=data + b'\x10' * extra))
    assert concatenate(recording.batches()) == whole_us(random_batch(1))
    assert recording.is_cut


@pytest.mark.parametrize('header', [HEADER, HEADER.replace('% end\n', '')])
@pytest.mark.parametrize('time', [0x002025, 0x802025])
def test_events_that_look_like_a_line_are_events(tmp_path, header, time):
    # a time whose bytes begin with '% ', then 0x0a416820, an OFF event that ends a line
    words = [8 << 28 | time, 0x0A416820]
    recording = open_recording(write(tmp_path / 'a.raw', header, pack(words)))
    assert concatenate(recording.batches()).t.tolist() == [(time << 6 | 0x29) * 1000]


@pytest.mark.parametrize('line', ['% operator Jörg\n', '% operator Jörg\n% end\n'])
def test_header_may_hold_any_text(shared_data, tmp_path, line):
    data = (shared_data / 'recordings' / 'imx636_evt3.raw').read_bytes()
    end = data.index(b'% system_ID 49\n') + len(b'% system_ID 49\n')
    (tmp_path / 'a.raw').write_bytes(data[:end] + line.encode() + data[end:])
    recording = open_recording(tmp_path / 'a.raw')
    assert sum(map(len, recording.batches())) == sum(REAL['imx636_evt3.raw'][2:])
    assert recording.out_of_bounds == 0


@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1'])
@pytest.mark.parametrize('end', ['', '% end\n'])
def test_header_goes_on_after_a_line_in_any_encoding(tmp_path, encoding, end):
    header = '% operator Jörg\n% evt 2.0\n% geometry 346x260\n' + end
    data = header.encode(encoding) + pack(evt2_words(random_batch(1)))
    (tmp_path / 'a.raw').write_bytes(data)
    whole = concatenate(open_recording(tmp_path / 'a.raw').batches())
    assert whole == whole_us(random_batch(1))


@pytest.mark.parametrize(
    'header, size',
    [
        ('% format EVT2;height=480;width=640\n', (640, 480)),
        ('% format EVT2;width=400;height=300\n% geometry 400x300\n', (400, 300)),
        ('% evt 2.0\n% geometry 1280x720\n', (1280, 720)),
        ('% evt 2.0\n% width 400\n% height 300\n', (400, 300)),
        ('% evt 2.0\n% sensor_generation 3.1\n', (640, 480)),
        ('% evt 2.0\n% sensor_generation 4.2\n', (1280, 720)),
        ('% evt 2.0\n% plugin_name hal_plugin_gen3_fx3\n', (640, 480)),
        ('% evt 2.0\n% plugin_name hal_plugin_gen41_evk3\n', (1280, 720)),
        ('% evt 2.0\n% sensor_name GenX320\n', (320, 320)),
        ('% evt 2.0\n% sensor_name IMX636\n', (1280, 720)),
        ('% Date 2020-09-25 07:48:31\r\n% system_ID 21\r\n', (640, 480)),
        ('% system_ID 26\n% serial_number 00000157\n', (1280, 720)),
    ],
)
def test_header_tells_size_and_encoding(tmp_path, header, size):
    batch = random_batch(1, width=320, height=260)
    path = write(tmp_path / 'a.raw', header, pack(evt2_words(batch)))
    recording = open_recording(path)
    assert (recording.width, recording.height) == size
    assert concatenate(recording.batches()).t.tolist() == whole_us(batch).t.tolist()


@pytest.mark.parametrize(
    'header, is_swapped',
    [
        ('% format EVT21;height=260;width=346;endianness=legacy\n', True),
        ('% format EVT21;height=260;width=346\n% endianness legacy\n', True),
        ('% evt 2.1\n% geometry 346x260\n% system_ID 49\n', True),
        ('% format EVT21;height=260;width=346;endianness=little\n', False),
        ('% format EVT21;height=260;width=346\n% system_ID 64\n', False),
        ('% evt 2.1\n% geometry 346x260\n', False),
    ],
)
def test_evt21_is_read_in_both_orders_of_its_halves(tmp_path, header, is_swapped):
    # a time of 3 x 64 us, then ON at 3 x 64 + 5 us in row 7 at columns 32, 33 and 63
    words = [8 << 60 | 3 << 32, 1 << 60 | 5 << 54 | 32 << 43 | 7 << 32 | 0x80000003]
    if is_swapped:
        words = [(word & 0xFFFFFFFF) << 32 | word >> 32 for word in words]
    recording = open_recording(write(tmp_path / 'a.raw', header, pack(words, '<Q')))
    whole = concatenate(recording.batches())
    assert whole.x.tolist() == [32, 33, 63]
    assert whole.y.tolist() == [7] * 3
    assert whole.t.tolist() == [197_000] * 3
    assert whole.p.tolist() == [1] * 3


@pytest.mark.parametrize(
    'header, words',
    [
        ('', 'no Prophesee file'),
        ('% evt 2.0\n', 'write a line like "% geometry 1280x720"'),
        ('% evt 4.0\n% geometry 346x260\n', "tells '4.0' as its format"),
        ('% format HISTO3D;height=320;width=320\n', "tells 'HISTO3D' as its format"),
        ('% Data file containing CD events.\n% Version 2\n', 'metavision_file_to_hdf5'),
        ('% format EVT21;height=2;width=2;endianness=big\n', 'big-endian words'),
        ('% evt 2.0\n% geometry 0x260\n', 'sensor of 0 x 260'),
        ('% evt 2.0\n% geometry 99999x260\n', 'sensor of 99999 x 260'),
    ],
)
def test_header_that_does_not_tell_is_refused(tmp_path, header, words):
    with pytest.raises(RecordingError, match=words):
        open_recording(write(tmp_path / 'a.raw', header))


def test_file_without_events_is_refused(tmp_path):
    with pytest.raises(RecordingError, match='holds no events'):
        open_recording(write(tmp_path / 'a.raw', data=b''))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(['evt 2.0', 'evt 2.1', 'evt 3.0', 'format EVT21;endianness=legacy']),
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_any_bytes_give_valid_events_or_an_error(tmp_path, encoding, data, changes):
    header = '% {}\n% geometry 346x260\n'.format(encoding)
    content = bytearray(write(tmp_path / 'a.raw', header, data).read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    (tmp_path / 'a.raw').write_bytes(bytes(content))
    assert read_or_refuse(tmp_path / 'a.raw') <= 6 * len(content)
