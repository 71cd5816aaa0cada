import sqlite3

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import random_batch, random_cuts

from cs3d_ros.events import (
    EventBatch,
    EventPacketDecoder,
    MessageError,
    concatenate,
    encode_event_packet,
    encode_evt3,
    open_decoder,
)

TURN_NS = (1 << 24) * 1000

# Of the real recordings: ON, OFF, triggers, sum of times in us (README beside them and upstream).
REAL = {
    'evt3_vga_rosbag2/test_events_1.db3': (125_183, 218_291, 4_157, 2_851_601_611_994),
    'evt3_hd_trigger_rosbag2/test_data_evt3_trigger_0.db3': (41_439, 41_030, 2, 1222326831810),
    'libcaer_vga_rosbag2/libcaer_vga_rosbag2.db3': (14_696, 11_801, 0, None),
    'mono_rosbag2/test_data_mono_cd_0.db3': (50, 50, 0, sum(range(100))),
}


def whole_us(batch):
    return EventBatch(batch.x, batch.y, batch.t // 1000 * 1000, batch.p, batch.width, batch.height)


@pytest.mark.parametrize('name', sorted(REAL))
def test_real_bag_decodes_completely(shared_data, name):
    with sqlite3.connect(str(shared_data / 'recordings' / name)) as bag:
        type_name = bag.execute('select type from topics').fetchone()[0]
        rows = bag.execute('select data from messages order by id').fetchall()
    decoder = open_decoder(type_name)
    whole = concatenate(decoder.push(row[0]) for row in rows)
    on, off, triggers, time_sum_us = REAL[name]
    assert (whole.on_count, len(whole) - whole.on_count) == (on, off)
    assert time_sum_us in (None, int((whole.t // 1000).sum()))
    counts = decoder.counts._asdict()
    assert counts.pop('messages') == len(rows)
    assert (counts.pop('events'), counts.pop('triggers')) == (on + off, triggers)
    assert not any(counts.values())


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera'])
@pytest.mark.parametrize('count', [0, 1, 2, 3, 500])
def test_round_trip_is_exact(count, frame_id):
    batch = whole_us(random_batch(count, count))
    decoder = EventPacketDecoder()
    assert decoder.push(encode_event_packet(batch, 5, frame_id)) == batch
    assert (decoder.frame_id, decoder.stamp_ns) == (frame_id, 5)


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera'])
def test_encoder_writes_what_the_standard_says(frame_id):
    batch = random_batch(1)
    assert encode_event_packet(batch, 3_000_000_005, frame_id, 7) == naive.encode_event_packet(
        encode_evt3(batch), 346, 260, 'evt3', 7, 0, 3_000_000_005, frame_id
    )


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera'])
def test_both_byte_orders_of_the_message_decode(order, frame_id):
    batch = whole_us(random_batch(1))
    data = naive.encode_event_packet(
        encode_evt3(batch), 346, 260, 'evt3', 2**40, 2**41, 9, frame_id, order
    )
    assert EventPacketDecoder().push(data) == batch


def payload_of(batch, encoding):
    """Return the events in the fields that a byte order applies to."""
    x, y, p = (column.astype(np.uint64) for column in (batch.x, batch.y, batch.p))
    t = batch.t.astype(np.uint64)
    if encoding == 'evt3':
        return np.frombuffer(encode_evt3(batch), '<u2')
    if encoding == 'mono':
        return t | x << np.uint64(32) | y << np.uint64(48) | p << np.uint64(63)
    # libcaer: two fields of 32 bits
    data = np.uint64(1) | p << np.uint64(1) | y << np.uint64(2) | x << np.uint64(17)
    return np.stack([data, t // np.uint64(1000)], 1).astype('<u4')


@pytest.mark.parametrize('encoding', ['evt3', 'mono', 'libcaer'])
def test_bigendian_events_decode(encoding):
    batch = whole_us(random_batch(1))
    payload = payload_of(batch, encoding)
    data = bytearray(naive.encode_event_packet(payload.byteswap().tobytes(), 346, 260, encoding))
    data[data.index(encoding.encode() + b'\0') + len(encoding) + 1] = 1  # is_bigendian
    assert EventPacketDecoder().push(bytes(data)) == batch
    little = naive.encode_event_packet(payload.tobytes(), 346, 260, encoding)
    assert EventPacketDecoder().push(little) == batch


@pytest.mark.parametrize('seed', range(5))
def test_stream_does_not_depend_on_how_it_is_cut(seed):
    batch = whole_us(random_batch(seed))
    decoder = EventPacketDecoder()
    parts = [
        decoder.push(encode_event_packet(part, seq=seq))
        for seq, part in enumerate(random_cuts(batch, seed))
    ]
    assert concatenate(parts) == batch
    assert (decoder.counts.events, decoder.counts.lost) == (len(batch), 0)


def one_event(t_us, seq, stamp_ns=0):
    words = [0x8000 | t_us >> 12 & 0xFFF, 0x6000 | t_us & 0xFFF, 3, 0x2004]
    payload = np.array(words, '<u2').tobytes()
    return naive.encode_event_packet(payload, 346, 260, 'evt3', seq, 0, stamp_ns)


def test_gap_in_the_numbers_is_counted_as_lost():
    decoder = EventPacketDecoder()
    for seq in (5, 6, 9):
        decoder.push(one_event(seq, seq))
    assert decoder.counts.lost == 2


def test_row_from_before_a_loss_is_not_used():
    decoder = EventPacketDecoder()
    decoder.push(one_event(5, 0))
    payload = np.array([0x2005, 0x0007, 0x2006], '<u2').tobytes()
    batch = decoder.push(naive.encode_event_packet(payload, 346, 260, 'evt3', 2))
    assert (batch.x.tolist(), batch.y.tolist()) == ([6], [7])
    assert decoder.counts.unknown == 1


@pytest.mark.parametrize('turns', [0, 1, 3])
def test_turns_of_the_clock_within_a_loss_are_found_by_the_stamps(turns):
    decoder = EventPacketDecoder()
    first = decoder.push(one_event(1000, 0, 10**9))
    elapsed_ns = 5_000_000 + turns * TURN_NS
    last = decoder.push(one_event(6000, 9, 10**9 + elapsed_ns + 3_000_000))
    assert int(last.t[0] - first.t[0]) == elapsed_ns
    again = decoder.push(one_event(7000, 10, 10**9 + elapsed_ns + 4_000_000))
    assert int(again.t[0] - last.t[0]) == 1_000_000


def test_numbers_that_go_back_are_a_new_stream():
    decoder = EventPacketDecoder()
    decoder.push(one_event(10**6, 50))
    assert decoder.push(one_event(7, 0)).t.tolist() == [7000]
    counts = decoder.counts
    assert (counts.clock_resets, counts.lost, counts.time_reversed) == (1, 0, 0)


def test_sensor_that_changes_starts_anew():
    decoder = EventPacketDecoder()
    decoder.push(one_event(10**6, 0))
    payload = encode_evt3(EventBatch.empty(640, 480))
    assert decoder.push(naive.encode_event_packet(payload, 640, 480, 'evt3', 1)).width == 640
    assert decoder.counts.events == 1


def test_trigger_packets_are_skipped_and_counted():
    decoder = EventPacketDecoder()
    decoder.push(one_event(5, 0))
    data = naive.encode_event_packet(bytes(24), 346, 260, 'trigger', 0)
    assert len(decoder.push(data)) == 0
    assert decoder.counts.triggers == 3
    assert len(decoder.push(one_event(6, 1))) == 1


@pytest.mark.parametrize(
    'change, words',
    [
        ({'encoding': 'evt4'}, "encoding 'evt4', known are evt3"),
        ({'width': 0}, 'set width and height'),
        ({'height': 70_000}, 'set width and height'),
        ({'payload': b'abc'}, 'no multiple of 2'),
        ({'time_base_ns': 2**63, 'encoding': 'mono', 'payload': bytes(8)}, 'time base'),
    ],
)
def test_impossible_packet_is_refused_and_counted(change, words):
    fields = dict({'payload': b'', 'width': 4, 'height': 4, 'encoding': 'evt3'}, **change)
    decoder = EventPacketDecoder()
    with pytest.raises(MessageError, match=words):
        decoder.push(naive.encode_event_packet(**fields))
    assert (decoder.counts.malformed, decoder.counts.messages) == (1, 1)


@pytest.mark.parametrize('cut', [0, 1, 3, 4, 11, 15, 20, 30, 40, 47, 55, 60, -1])
def test_truncated_packet_is_refused_and_counted(cut):
    data = encode_event_packet(random_batch(1, 10))
    decoder = EventPacketDecoder()
    with pytest.raises(MessageError, match='EventPacket ends inside its'):
        decoder.push(data[:cut])
    assert decoder.counts.malformed == 1
    assert len(decoder.push(data)) == 10


def test_foreign_type_is_refused_with_those_that_are_known():
    with pytest.raises(MessageError, match='std_msgs/msg/String carries no events'):
        open_decoder('std_msgs/msg/String')


@settings(max_examples=200)
@given(
    st.integers(0, 10**6),
    st.sampled_from(['evt3', 'libcaer', 'libcaer_cmp', 'mono', 'trigger']),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 300),
)
def test_damaged_packets_give_valid_events_or_an_error(seed, encoding, changes, cut):
    payload = np.random.default_rng(seed).integers(0, 256, 160).astype(np.uint8).tobytes()
    data = bytearray(naive.encode_event_packet(payload, 640, 480, encoding))
    for at, value in changes:
        data[at % len(data)] = value
    decoder = EventPacketDecoder()
    for piece in (data, data[: len(data) - cut], data):
        try:
            batch = decoder.push(bytes(piece))
        except MessageError:
            continue
        EventBatch(batch.x, batch.y, batch.t, batch.p, batch.width, batch.height)  # checks all
