"""Prophesee's ECF beside a slow twin; chunks of Prophesee's own encoder are in test_hdf5.py."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import decode_ecf, encode_ecf, random_batch

from cs3d_ros.events import EventBatch
from cs3d_ros.events.recordings import _ecf

COUNTS = [1, 2, 3, 4, 5, 14, 15, 16, 30, 31, 32, 126, 127, 128, 5000]


def decode(data, room):
    columns = [np.zeros(room, kind) for kind in ('u2', 'u2', 'i8', 'u1')]
    n = _ecf.decode(np.frombuffer(data, np.uint8), *columns)
    return n, [column[: max(0, n)].tolist() for column in columns]


def as_lists(batch):
    return [batch.x.tolist(), batch.y.tolist(), (batch.t // 1000).tolist(), batch.p.tolist()]


def rows_batch(seed, count):
    """Return events as a sensor reads them out: many of one time, row by row, bunched."""
    rng = np.random.default_rng(seed)
    return EventBatch(
        np.cumsum(rng.integers(1, 4, count)).astype(np.uint16) % 1280,
        np.repeat(rng.integers(0, 720, count), 50)[:count].astype(np.uint16),
        np.cumsum(np.where(rng.random(count) < 0.01, 200_000, 0)) // 1000 * 1000,
        np.repeat(rng.integers(0, 2, count), 150)[:count].astype(np.uint8),
        1280,
        720,
    )


@pytest.mark.parametrize('packing', [0, 1, 2])
@pytest.mark.parametrize('count', COUNTS)
@pytest.mark.parametrize('make', [random_batch, rows_batch])
def test_every_packing_is_decoded(packing, count, make):
    batch = make(count, count)
    data = encode_ecf(batch, packing)
    assert decode(data, count) == (count, as_lists(batch))
    assert list(decode_ecf(data, count)) == as_lists(batch)


@pytest.mark.parametrize('step', [0, 1, 14, 15, 16, 255, 256, 2**32, 2**52])
def test_steps_of_any_size_are_decoded(step):
    ones, us = np.ones(3, np.uint16), np.array([7, 7 + step, 7 + step])
    batch = EventBatch(ones, ones, us * 1000, ones.astype(np.uint8), 4, 4)
    assert decode(encode_ecf(batch, 2), 3) == (3, as_lists(batch))


def test_chunk_larger_than_the_room_is_refused():
    data = encode_ecf(random_batch(1, 100), 2)
    assert decode(data, 99)[0] == -1
    assert decode(data, 101)[0] == 100


@pytest.mark.parametrize('packing', [0, 1, 2])
def test_chunk_that_is_cut_or_too_long_is_refused(packing):
    data = encode_ecf(rows_batch(1, 200), packing)
    results = {decode(data[:size], 200)[0] for size in range(len(data))}
    assert results | {decode(data + b'\0', 200)[0]} == {-1}


def test_count_beyond_the_events_is_refused():
    batch = random_batch(1, 20)
    data = bytearray(encode_ecf(batch, 2))
    data[12] = data[12] & 0xF0 | 14
    assert (
        decode(bytes(data), 20)[0] == decode(data[:12] + b'\x0f\xff\xff' + data[13:], 20)[0] == -1
    )


def test_no_bytes_and_no_events_are_told_apart():
    assert [decode(bytes(size), 5)[0] for size in (0, 3, 4)] == [-1, -1, 0]


@settings(max_examples=300)
@given(
    st.integers(0, 2),
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    st.integers(0, 3),
)
def test_twin_judges_a_damaged_chunk_alike(packing, count, changes, cut):
    data = bytearray(encode_ecf(rows_batch(count, count), packing))
    for at, value in changes:
        data[at % len(data)] = value
    assert_alike(bytes(data[: len(data) - cut]))


@settings(max_examples=300)
@given(st.integers(0, 80), st.integers(0, 2), st.binary(max_size=300))
def test_twin_judges_any_bytes_alike(count, packing, data):
    assert_alike(struct.pack('<I', count << 2 | packing) + data)


def assert_alike(data):
    expected = decode_ecf(data, 64)
    n, columns = decode(data, 64)
    assert n == (-1 if expected is None else len(expected[0]))
    if expected is not None:
        assert columns == list(expected)
