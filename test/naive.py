"""Slow obvious twins of the compiled kernels, and random input for both."""

import math
import struct

import numpy as np

from cs3d_ros.events import EventBatch


def random_batch(seed, count=500, width=346, height=260, start_ns=0, span_ns=100_000_000):
    """Return a batch of events drawn evenly over sensor and time."""
    rng = np.random.default_rng(seed)
    return EventBatch(
        rng.integers(0, width, count).astype(np.uint16),
        rng.integers(0, height, count).astype(np.uint16),
        start_ns + np.sort(rng.integers(0, span_ns, count)).astype(np.int64),
        rng.integers(0, 2, count).astype(np.uint8),
        width,
        height,
    )


def random_cuts(batch, seed, parts=6):
    """Return the same events in a random number of pieces, some of them empty."""
    rng = np.random.default_rng(seed)
    cuts = [0] + sorted(rng.integers(0, len(batch) + 1, parts).tolist()) + [len(batch)]
    return [batch[first:last] for first, last in zip(cuts, cuts[1:])]


class CdrWriter:
    """CDR as its standard tells it: every primitive aligns to its own size, from byte 4 on."""

    def __init__(self, order='<'):
        self.data = bytearray(b'\0\1\0\0' if order == '<' else b'\0\0\0\0')
        self._order = order

    def put(self, kind, value):
        """Append one primitive of a struct format letter."""
        size = struct.calcsize(kind)
        self.data += b'\0' * (-(len(self.data) - 4) % size)
        self.data += struct.pack(self._order + kind, value)

    def put_string(self, text):
        """Append length, bytes and the closing zero."""
        raw = text.encode() + b'\0'
        self.put('I', len(raw))
        self.data += raw


def encode_event_array(batch, stamp_ns=0, frame_id='', order='<'):
    """Return the CDR bytes of an EventArray, member by member."""
    cdr = CdrWriter(order)
    cdr.put('i', stamp_ns // 10**9)
    cdr.put('I', stamp_ns % 10**9)
    cdr.put_string(frame_id)
    cdr.put('I', batch.height)
    cdr.put('I', batch.width)
    cdr.put('I', len(batch))
    for x, y, t, p in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist(), batch.p.tolist()):
        cdr.put('H', x)
        cdr.put('H', y)
        cdr.put('i', t // 10**9)
        cdr.put('I', t % 10**9)
        cdr.put('?', p)
    return bytes(cdr.data)


def event_frame(batch, cx, cy, side, roll, size, step):
    """Return the event frame of a square, event by event."""
    counts = np.zeros((size, size), int)
    for x, y, p in zip(batch.x.tolist(), batch.y.tolist(), batch.p.tolist()):
        dx, dy = x + 0.5 - cx, y + 0.5 - cy
        u = (dx * math.cos(roll) + dy * math.sin(roll)) * size / side + size / 2
        v = (dy * math.cos(roll) - dx * math.sin(roll)) * size / side + size / 2
        if 0 <= math.floor(u) < size and 0 <= math.floor(v) < size:
            counts[math.floor(v), math.floor(u)] += 1 if p else -1
    return np.clip(128 + step * counts, 0, 255).astype(np.uint8)


def pixel_events(levels, times_ns, on_threshold, off_threshold):
    """Return [(t_ns, p), ...] of one pixel whose log intensity is a polyline."""
    events = []
    reference = levels[0]
    for (t0, v0), (t1, v1) in zip(zip(times_ns, levels), zip(times_ns[1:], levels[1:])):
        while v1 - reference >= on_threshold:
            reference += on_threshold
            events.append((t0 + (t1 - t0) * (reference - v0) / (v1 - v0), 1))
        while reference - v1 >= off_threshold:
            reference -= off_threshold
            events.append((t0 + (t1 - t0) * (reference - v0) / (v1 - v0), 0))
    return events
