import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import random_batch, random_cuts

from cs3d_ros.events import EventBatch, concatenate, encode_evt3, open_codec
from cs3d_ros.events.codecs import CODECS

HEAD = [0x8001, 0x6002]  # time 0x1002 us


def words(*values):
    return np.array(values, '<u2').tobytes()


def columns(batch):
    return list(zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist(), batch.p.tolist()))


def test_evt3_single_event_has_row_column_time_and_polarity():
    batch = open_codec('evt3', 640, 480).push(words(*HEAD, 0x0005, 0x2807))
    assert columns(batch) == [(7, 5, 0x1002 * 1000, 1)]


def test_evt3_vectors_go_on_where_the_last_one_ended():
    batch = open_codec('evt3', 640, 480).push(
        words(*HEAD, 0x0001, 0x3000 | 100, 0x4801, 0x4002, 0x5080)
    )
    assert batch.x.tolist() == [100, 111, 113, 131]
    assert batch.p.tolist() == [0, 0, 0, 0]


def test_evt3_events_before_the_time_is_told_are_counted_as_unknown():
    codec = open_codec('evt3', 640, 480)
    batch = codec.push(words(0x6002, 0x0001, 0x2001, 0x8001, 0x2002, 0x6003, 0x2003))
    assert columns(batch) == [(3, 1, 0x1003 * 1000, 0)]
    assert codec.counts.unknown == 2


def test_evt3_clock_turns_after_16_seconds():
    batch = open_codec('evt3', 640, 480).push(
        words(0x8FFF, 0x6FFF, 0x0001, 0x2001, 0x8000, 0x6000, 0x2002)
    )
    assert batch.t.tolist() == [((1 << 24) - 1) * 1000, (1 << 24) * 1000]


def test_evt3_small_step_back_is_jitter_and_no_turn():
    codec = open_codec('evt3', 640, 480)
    batch = codec.push(words(0x8064, 0x6000, 0x0001, 0x2001, 0x8063, 0x6000, 0x2002))
    assert batch.x.tolist() == [1]
    assert codec.counts.time_reversed == 1


def test_evt3_new_high_time_does_not_keep_the_old_low_time():
    batch = open_codec('evt3', 640, 480).push(
        words(0x8001, 0x6FFF, 0x0001, 0x2001, 0x8002, 0x2002, 0x6001, 0x2003)
    )
    assert (batch.t // 1000).tolist() == [0x1FFF, 0x2000, 0x2001]


def test_evt3_words_of_no_known_type_are_counted_and_skipped():
    codec = open_codec('evt3', 640, 480)
    batch = codec.push(words(*HEAD, 0x0001, 0x9999, 0xB000, 0x2001, 0xA001))
    assert len(batch) == 1
    assert (codec.counts.unknown, codec.counts.triggers) == (2, 1)


def test_after_loss_events_wait_until_their_row_is_told_again():
    codec = open_codec('evt3', 640, 480)
    codec.push(words(*HEAD, 0x0001, 0x3005, 0x2001))
    codec.lost()
    batch = codec.push(words(0x2002, 0x5001, 0x0003, 0x2004, 0x5001, 0x3009, 0x5001))
    assert columns(batch) == [(4, 3, 4_098_000, 0), (9, 3, 4_098_000, 0)]
    assert codec.counts.unknown == 3


def test_unknown_row_is_no_row_even_of_the_largest_sensor():
    codec = open_codec('evt3', 65536, 65536)
    assert len(codec.push(words(*HEAD, 0x3005, 0x4001, 0x2001))) == 0
    assert codec.counts.unknown == 2


def test_libcaer_cmp_begins_its_time_anew_in_each_payload():
    codec = open_codec('libcaer_cmp', 346, 260)
    first = codec.push(words(0x0001, 0x1002, 0x2007, 0x3805), 10**9 + 7)
    second = codec.push(words(0x3006), 2 * 10**9)
    assert columns(first) == [(7, 5, 10**9 + 7 + 0x1002 * 1000, 1)]
    assert columns(second) == [(7, 6, 2 * 10**9, 0)]


def test_libcaer_cmp_vectors_run_down_a_column():
    batch = open_codec('libcaer_cmp', 346, 260).push(words(0x2007, 0x4810, 0x5081, 0x5001))
    assert columns(batch) == [(7, 16, 0, 1), (7, 23, 0, 1), (7, 24, 0, 1)]


def libcaer(events):
    """Return bytes of (x, y, t_us, p, is_valid)."""
    return np.array(
        [[valid | p << 1 | y << 2 | x << 17, t] for x, y, t, p, valid in events], '<u4'
    ).tobytes()


def test_libcaer_times_count_from_the_time_base():
    codec = open_codec('libcaer', 640, 480)
    batch = codec.push(libcaer([(600, 400, 5, 1, 1), (1, 2, 6, 0, 0), (3, 4, 7, 0, 1)]), 11)
    assert columns(batch) == [(600, 400, 5011, 1), (3, 4, 7011, 0)]
    assert codec.counts.unknown == 1


def test_libcaer_clock_turns_within_a_payload():
    batch = open_codec('libcaer', 640, 480).push(
        libcaer([(1, 1, 2**31 - 1, 0, 1), (1, 1, 0, 0, 1)])
    )
    assert np.diff(batch.t).tolist() == [1000]


def test_mono_times_are_nanoseconds_from_the_time_base():
    word = 123 | 345 << 32 | 259 << 48 | 1 << 63
    batch = open_codec('mono', 346, 260).push(np.array([word], '<u8').tobytes(), 1000)
    assert columns(batch) == [(345, 259, 1123, 1)]


def evt2(events):
    """Return EVT2 words of (x, y, t_us, p), with a high time before each."""
    return np.array(
        [
            word
            for x, y, t, p in events
            for word in (8 << 28 | t >> 6 & 0xFFFFFFF, p << 28 | (t & 63) << 22 | x << 11 | y)
        ],
        '<u4',
    )


def test_evt2_clock_turns_after_five_hours():
    late = (1 << 34) - 1
    batch = open_codec('evt2', 640, 480).push(evt2([(1, 2, late, 1), (3, 4, 0, 0)]).tobytes())
    assert columns(batch) == [(1, 2, late * 1000, 1), (3, 4, (late + 1) * 1000, 0)]


@pytest.mark.parametrize('encoding, swap', [('evt21', False), ('evt21_legacy', True)])
def test_evt21_word_holds_32_columns_of_a_row(encoding, swap):
    values = [8 << 60 | 3 << 32, 1 << 60 | 5 << 54 | 64 << 43 | 7 << 32 | 0x80000001, 10 << 60]
    if swap:
        values = [value >> 32 | (value & 0xFFFFFFFF) << 32 for value in values]
    codec = open_codec(encoding, 640, 480)
    batch = codec.push(np.array(values, '<u8').tobytes())
    assert columns(batch) == [(64, 7, 197_000, 1), (95, 7, 197_000, 1)]
    assert codec.counts.triggers == 1


# Words as streams have them, with some of every kind that is rare.
def typed_words(is_evt3):
    usual = [0x0, 0x2, 0x6] if is_evt3 else [0x2, 0x3, 0x1]
    rare = list(range(16))

    def draw_words(seed):
        rng = np.random.default_rng(seed)
        share = rng.choice([0.0, 0.02, 0.3, 1.0])
        count = int(rng.integers(0, 900))
        kinds = np.where(rng.random(count) < share, rng.choice(rare, count), 0)
        kinds = np.where(kinds == 0, rng.choice(usual, count), kinds)
        values = rng.integers(0, 4096, count)
        values &= np.where(rng.random(count) < 0.9, 0x8FF, 0xFFF)
        low, high = (0x6, 0x8) if is_evt3 else (0x1, 0x0)
        values = np.where(kinds == low, np.sort(values), values)
        values = np.where(kinds == high, count % 3 * rng.integers(0, 2, count), values)
        return (kinds << 12 | values).astype('<u2')

    return st.integers(0, 2**32).map(draw_words)


@pytest.mark.parametrize('encoding', ['evt3', 'libcaer_cmp'])
@settings(max_examples=150)
@given(st.data())
def test_words_decode_as_by_their_naive_twin(encoding, data):
    is_evt3 = encoding == 'evt3'
    codec, twin = open_codec(encoding, 400, 380), naive.WordDecoder(400, 380, is_evt3)
    parts = []
    for _ in range(3):
        stream = data.draw(typed_words(is_evt3))
        parts.append(codec.push(stream.tobytes()))
        twin.push(stream.tolist())
    got = [event for part in parts for event in columns(part)]
    assert got == [(x, y, t * 1000, p) for x, y, t, p in twin.events]
    counts = codec.counts
    assert (counts.out_of_bounds, counts.time_reversed) == (twin.outside, twin.backwards)
    assert (counts.triggers, counts.unknown) == (twin.triggers, twin.unknown)


@settings(max_examples=40)
@given(typed_words(True), st.integers(0, 10**6))
def test_evt3_stream_does_not_depend_on_how_it_is_cut(stream, seed):
    cuts = [0] + sorted(np.random.default_rng(seed).integers(0, len(stream) + 1, 5)) + [None]
    whole, parts = open_codec('evt3', 1280, 720), open_codec('evt3', 1280, 720)
    pieces = [parts.push(stream[a:b].tobytes()) for a, b in zip(cuts, cuts[1:])]
    assert concatenate(pieces) == whole.push(stream.tobytes())
    assert parts.counts == whole.counts


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_evt3_round_trip_is_exact_in_whole_microseconds(seed, span_us):
    batch = random_batch(seed, 700, span_ns=span_us * 40_000)
    batch = EventBatch(batch.x, batch.y, batch.t // 1000 * 1000, batch.p, 346, 260)
    codec = open_codec('evt3', 346, 260)
    assert concatenate(codec.push(encode_evt3(part)) for part in random_cuts(batch, seed)) == batch


def test_evt3_cannot_tell_a_larger_sensor():
    with pytest.raises(ValueError, match='below 2048, the sensor is 2049 x 10'):
        encode_evt3(EventBatch.empty(2049, 10))


@pytest.mark.parametrize('encoding', ['libcaer', 'mono', 'libcaer_cmp'])
def test_payload_over_a_second_back_is_a_new_clock(encoding):
    codec = open_codec(encoding, 346, 260)
    one = {'libcaer': libcaer([(1, 1, 0, 1, 1)]), 'mono': bytes(8), 'libcaer_cmp': words(0x3001)}
    if encoding == 'libcaer_cmp':
        codec.push(words(0x2001))
    codec.push(one[encoding], 5 * 10**9)
    assert len(codec.push(one[encoding], 4 * 10**9 + 1)) == 0
    assert codec.push(one[encoding], 7).t.tolist() == [7]
    assert codec.counts.clock_resets == 1


@pytest.mark.parametrize('encoding', sorted(CODECS))
def test_payload_that_ends_within_a_word_is_refused(encoding):
    codec = open_codec(encoding, 346, 260)
    with pytest.raises(ValueError, match='ends within a word'):
        codec.push(bytes(codec.word_size + 1))


def test_unknown_encoding_is_refused_by_name():
    with pytest.raises(ValueError, match="'evt4': known are evt2"):
        open_codec('evt4', 346, 260)


@pytest.mark.parametrize('encoding', sorted(CODECS))
@settings(max_examples=60)
@given(st.lists(st.binary(max_size=2000), max_size=3), st.integers(0, 2**62))
def test_any_bytes_give_valid_events(encoding, payloads, time_base_ns):
    codec = open_codec(encoding, 700, 500)
    last_ns = -(1 << 63)
    for payload in payloads:
        payload = payload[: len(payload) // codec.word_size * codec.word_size]
        resets = codec.counts.clock_resets
        batch = codec.push(payload, time_base_ns)
        EventBatch(batch.x, batch.y, batch.t, batch.p, batch.width, batch.height)  # checks all
        assert len(batch.x.base) <= 16 + 12 * len(payload) // 2
        if len(batch):
            assert batch.t[0] >= last_ns or codec.counts.clock_resets > resets
            last_ns = batch.t[-1]
