import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import random_batch, random_cuts

from cs3d_ros.events import (
    EventArrayDecoder,
    EventBatch,
    MessageError,
    concatenate,
    encode_event_array,
)

FRAME_IDS = ('', 'a', 'ab', 'abc', 'camera', 'dvs_optical_frame')


@pytest.mark.parametrize('frame_id', FRAME_IDS)
@pytest.mark.parametrize('count', [0, 1, 2, 3, 100])
@pytest.mark.parametrize('order', ['<', '>'])
def test_both_byte_orders_decode(order, count, frame_id):
    batch = random_batch(count, count)
    data = naive.encode_event_array(batch, 7, frame_id, order)
    assert EventArrayDecoder().push(data) == batch


@pytest.mark.parametrize('frame_id', FRAME_IDS)
@pytest.mark.parametrize('count', [0, 1, 2, 3, 100])
def test_encoder_writes_what_the_standard_says(count, frame_id):
    batch = random_batch(count, count)
    assert encode_event_array(batch, 3_000_000_005, frame_id) == naive.encode_event_array(
        batch, 3_000_000_005, frame_id
    )


def test_times_before_the_epoch_survive():
    batch = random_batch(1, start_ns=-(10**9))
    assert EventArrayDecoder().push(encode_event_array(batch)) == batch


def test_time_beyond_int32_seconds_is_refused():
    with pytest.raises(ValueError, match='int32 seconds'):
        encode_event_array(random_batch(1, start_ns=10**19 // 2))


def test_extra_bytes_at_the_end_do_no_harm():
    batch = random_batch(1)
    assert EventArrayDecoder().push(encode_event_array(batch) + b'\0\0\0') == batch


@pytest.mark.parametrize('seed', range(5))
def test_stream_does_not_depend_on_how_it_is_cut(seed):
    batch = random_batch(seed)
    decoder = EventArrayDecoder()
    parts = [decoder.push(encode_event_array(part)) for part in random_cuts(batch, seed)]
    assert concatenate(parts) == batch
    assert decoder.counts.events == len(batch)


def raw_message(events, width=10, height=10):
    """Return a message whose events may break every rule."""
    batch = EventBatch.empty(width, height)
    cdr = naive.CdrWriter()
    cdr.data = bytearray(naive.encode_event_array(batch))
    cdr.data[-4:] = len(events).to_bytes(4, 'little')
    for x, y, t, p in events:
        for kind, value in zip('HHiIB', (x, y, t // 10**9, t % 10**9, p)):
            cdr.put(kind, value)
    return bytes(cdr.data)


def test_event_outside_the_sensor_is_dropped_and_counted():
    decoder = EventArrayDecoder()
    batch = decoder.push(
        raw_message([(1, 1, 5, 1), (10, 1, 6, 1), (1, 65535, 7, 0), (2, 2, 8, 0)])
    )
    assert batch.t.tolist() == [5, 8]
    assert decoder.counts.out_of_bounds == 2


def test_event_that_goes_back_in_time_is_dropped_and_counted():
    decoder = EventArrayDecoder()
    decoder.push(raw_message([(1, 1, 100, 1)]))
    assert decoder.push(raw_message([(1, 1, 99, 1), (1, 1, 100, 1)])).t.tolist() == [100]
    assert decoder.counts.time_reversed == 1
    assert decoder.counts.clock_resets == 0


def test_message_over_a_second_back_is_a_new_clock():
    decoder = EventArrayDecoder()
    decoder.push(raw_message([(1, 1, 5 * 10**9, 1)]))
    assert decoder.push(raw_message([(1, 1, 7, 1)])).t.tolist() == [7]
    assert decoder.counts.clock_resets == 1


@pytest.mark.parametrize('x, counter', [(1, 'time_reversed'), (10, 'out_of_bounds')])
def test_stray_old_event_is_no_new_clock(x, counter):
    decoder = EventArrayDecoder()
    decoder.push(raw_message([(1, 1, 100 * 10**9, 1)]))
    later_ns = list(range(100 * 10**9 + 1, 100 * 10**9 + 6))
    batch = decoder.push(raw_message([(x, 1, 5, 1)] + [(1, 1, t, 1) for t in later_ns]))
    assert batch.t.tolist() == later_ns
    assert (decoder.counts.clock_resets, getattr(decoder.counts, counter)) == (0, 1)


def test_old_message_that_begins_outside_the_sensor_is_a_new_clock():
    decoder = EventArrayDecoder()
    decoder.push(raw_message([(1, 1, 5 * 10**9, 1)]))
    assert decoder.push(raw_message([(10, 1, 6, 1), (1, 1, 7, 1)])).t.tolist() == [7]
    counts = decoder.counts
    assert (counts.clock_resets, counts.out_of_bounds, counts.time_reversed) == (1, 1, 0)


def test_time_that_leapt_ahead_once_does_not_silence_the_stream():
    decoder = EventArrayDecoder()
    decoder.push(raw_message([(1, 1, 2 * 10**18, 1)]))
    assert len(decoder.push(raw_message([(1, 1, 10, 1)]))) == 1


@pytest.mark.parametrize('cut', [0, 1, 3, 4, 11, 15, 17, 27, 31, 40, -1])
def test_truncated_message_is_refused_and_counted(cut):
    data = encode_event_array(random_batch(1, 10))
    decoder = EventArrayDecoder()
    with pytest.raises(MessageError, match='ends inside'):
        decoder.push(data[:cut])
    assert decoder.counts.malformed == 1
    assert len(decoder.push(data)) == 10


def test_foreign_encapsulation_is_refused():
    with pytest.raises(MessageError, match='plain CDR'):
        EventArrayDecoder().push(b'\0\7\0\0' + bytes(40))


def test_absurd_count_is_refused_without_the_memory_for_it():
    data = bytearray(encode_event_array(EventBatch.empty(4, 4)))
    data[-4:] = b'\xff\xff\xff\xff'
    with pytest.raises(MessageError, match='ends inside its events'):
        EventArrayDecoder().push(bytes(data))


def test_sensor_without_pixels_is_refused():
    data = bytearray(encode_event_array(EventBatch.empty(4, 4)))
    data[-12:-8] = bytes(4)
    with pytest.raises(MessageError, match='set width and height'):
        EventArrayDecoder().push(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_valid_events_or_an_error(data):
    check_survives(data)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
)
def test_damaged_messages_give_valid_events_or_an_error(seed, changes, cut):
    data = bytearray(encode_event_array(random_batch(seed, 20)))
    for at, value in changes:
        data[at % len(data)] = value
    check_survives(bytes(data[: len(data) - cut]))


def check_survives(data):
    decoder = EventArrayDecoder()
    try:
        batch = decoder.push(data)
    except MessageError:
        return
    EventBatch(batch.x, batch.y, batch.t, batch.p, batch.width, batch.height)  # checks all
    counts = decoder.counts
    assert 16 * (counts.events + counts.out_of_bounds + counts.time_reversed) <= len(data) + 3


def test_decoded_events_hold_no_view_of_the_message():
    data = bytearray(encode_event_array(random_batch(1)))
    batch = EventArrayDecoder().push(data)
    before = batch.x.copy()
    data[:] = bytes(len(data))
    assert np.array_equal(batch.x, before)
