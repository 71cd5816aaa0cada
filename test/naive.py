"""Slow obvious twins of the compiled kernels, and random input for both."""

import math
import struct

import numpy as np
from hypothesis import strategies as st

from cs3d_ros.events import EventBatch, RecordingError, open_recording


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


def read_or_refuse(path):
    """Read a recording that may be damaged: what comes must be valid, or a RecordingError."""
    count = 0
    try:
        for batch in open_recording(path).batches():
            EventBatch(batch.x, batch.y, batch.t, batch.p, batch.width, batch.height)
            count += len(batch)
    except RecordingError as error:
        assert '\n' not in str(error)
    return count


def decode_aedat4(data, width, height, last_ns):
    """Return ([(x, y, t_ns, p)], outside, backwards) of events as AEDAT 4 keeps them."""
    kept, outside, backwards = [], 0, 0
    for t_us, x, y, p in struct.iter_unpack('<qhhBxxx', data):
        if not (0 <= x < width and 0 <= y < height):
            outside += 1
        elif t_us * 1000 < last_ns:
            backwards += 1
        else:
            last_ns = t_us * 1000
            kept.append((x, y, last_ns, int(p != 0)))
    return kept, outside, backwards


def encode_ecf(batch, packing):
    """
    Return a chunk of Prophesee's ECF; times in whole us, one step and one count at a time.

    ``packing``: 0 for every column by itself, 1 for x with polarity, 2 for x, y and polarity.
    """
    times, ps = (batch.t // 1000).tolist(), batch.p.tolist()
    xs, ys = batch.x.tolist(), batch.y.tolist()
    out = bytearray(struct.pack('<IQ', len(batch) << 2 | packing, times[0] % 2**64))
    now = times[0]
    for t, count in _runs(times):
        step, now = t - now, t
        if step >= 15:
            out += bytes(0xF0 | step >> at & 15 for at in range(0, step.bit_length(), 4))
            step = 0
        out += bytes([step << 4 | min(count, 15)])
        out += struct.pack('<H', count) if count >= 15 else b''
    if packing == 2:
        return bytes(out) + _in_fours([y << 12 | x << 1 | p for x, y, p in zip(xs, ys, ps)], 24)
    for y, count in _runs(ys):
        out += struct.pack('<H', y << 5 | min(count, 31))
        out += struct.pack('<H', count) if count >= 31 else b''
    if packing == 1:
        return bytes(out) + _in_fours([x << 1 | p for x, p in zip(xs, ps)], 12)
    while xs:
        first, mask = xs.pop(0), 0
        for step in range(1, 6):
            if xs and xs[0] == first + step:
                mask |= 1 << (5 - step)
                xs.pop(0)
        out += struct.pack('<H', first << 5 | mask)
    for p, count in _runs(ps):
        out += bytes([p << 7 | min(count, 127)])
        out += struct.pack('<H', count) if count >= 127 else b''
    return bytes(out)


def _runs(values):
    """Return (value, how often it follows itself), at most 65,535 times."""
    runs = []
    for value in values:
        if runs and runs[-1][0] == value and runs[-1][1] < 65_535:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return runs


def _in_fours(values, bits):
    """
    Return values of some bits, four in three words: word k tells the upper bits of value k + 1.

    Each word holds the rest of a value above and the low end of the next one below.
    """
    out, part = b'', bits // 3
    for first in range(0, len(values), 4):
        a, b, c, d = (values[first : first + 4] + [0, 0, 0])[:4]
        words = [
            a << part | b & (1 << part) - 1,
            b >> part << 2 * part | c & (1 << 2 * part) - 1,
            c >> 2 * part << 3 * part | d,
        ]
        out += struct.pack('<3' + ('I' if bits == 24 else 'H'), *words)
    return out


def decode_ecf(data, room):
    """Return lists x, y, t (us), p of a chunk, or None if it is damaged or has no room."""
    try:
        return _decode_ecf(list(data), room)
    except IndexError:
        return None


def _decode_ecf(data, room):
    def take(count):
        taken = [data.pop(0) for _ in range(count)]
        return sum(byte << 8 * at for at, byte in enumerate(taken))

    def take_fours(bits):
        size, part, out = bits // 6, bits // 3, []
        for _ in range((n + 3) // 4):
            a, b, c = take(size), take(size), take(size)
            low = [(1 << part * k) - 1 for k in range(4)]
            out += [
                a >> part,
                b >> 2 * part << part | a & low[1],
                c >> 3 * part << 2 * part | b & low[2],
                c & low[3],
            ]
        return out[:n]

    head = take(4)
    n = head >> 2
    if n > room:
        return None
    if n == 0:
        return [], [], [], []
    now, t, shift, y, x, p = take(8), [], 0, [], [], []
    step = 0
    while len(t) < n:
        token = take(1)
        if token >> 4 == 15:
            if shift == 64:
                return None
            step, shift = step | (token & 15) << shift, shift + 4
            continue
        count = take(2) if token & 15 == 15 else token & 15
        now, step, shift = now + step + (token >> 4), 0, 0
        t += [(now + 2**63) % 2**64 - 2**63] * count
    if head & 2:
        events = take_fours(24)
        x, y, p = (
            [e >> at & mask for e in events] for at, mask in ((1, 2047), (12, 2047), (0, 1))
        )
    else:
        while len(y) < n:
            word = take(2)
            y += [word >> 5] * (take(2) if word & 31 == 31 else word & 31)
        if head & 1:
            events = take_fours(12)
            x, p = [e >> 1 for e in events], [e & 1 for e in events]
        else:
            while len(x) < n:
                word = take(2)
                x += [(word >> 5) + k for k in range(6) if k == 0 or word >> (5 - k) & 1]
            while len(p) < n:
                token = take(1)
                p += [token >> 7] * (take(2) if token & 127 == 127 else token & 127)
    x = x[:n]  # the mask of the last word may tell too much, a count may not
    return (x, y, t, p) if not data and len(y) == len(t) == len(p) == n else None


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


def encode_event_packet(
    payload, width, height, encoding, seq=0, time_base_ns=0, stamp_ns=0, frame_id='', order='<'
):
    """Return the CDR bytes of an EventPacket, member by member."""
    cdr = CdrWriter(order)
    cdr.put('i', stamp_ns // 10**9)
    cdr.put('I', stamp_ns % 10**9)
    cdr.put_string(frame_id)
    cdr.put('I', height)
    cdr.put('I', width)
    cdr.put('Q', seq)
    cdr.put('Q', time_base_ns)
    cdr.put_string(encoding)
    cdr.put('?', False)
    cdr.put('I', len(payload))
    return bytes(cdr.data) + payload


class WordDecoder:
    """
    EVT3, or `libcaer_cmp`, word by word, as their documentation tells it.

    ``events`` fills with (x, y, t_us, p) of everything that lies inside the sensor and does not go
    back in time; before the time is known, and a coordinate, nothing is told.
    """

    def __init__(self, width, height, is_evt3=True):
        self.width, self.height, self.is_evt3 = width, height, is_evt3
        self.turns = 0
        self.high = self.low = self.row = self.base = None
        self.sign = 0
        self.events = []
        self.outside = self.backwards = self.triggers = self.unknown = 0

    def push(self, words):
        """Take the next words; a payload of `libcaer_cmp` begins its time anew."""
        if not self.is_evt3:
            self.high = self.low = 0
        meaning = (
            ['row', '', 'one', 'base', 'v12', 'v8', 'low', 'fill', 'high', '', 'trigger']
            + ['', '', '', 'fill', 'fill']
            if self.is_evt3
            else ['high', 'low', 'row', 'one', 'base', 'v8', 'v12'] + [''] * 9
        )
        for word in words:
            getattr(self, '_' + (meaning[word >> 12] or 'strange'))(word & 0xFFF)

    def _strange(self, _):
        self.unknown += 1

    def _fill(self, _):
        pass

    def _trigger(self, _):
        self.triggers += 1

    def _high(self, value):
        if value == self.high:
            return
        if self.is_evt3 and self.high is not None and self.high - value > 10:
            self.turns += 1
        self.high = value
        self.low = None if self.low is None else 0

    def _low(self, value):
        self.low = value if self.high is not None else None

    def _row(self, value):
        self.row = value & 0x7FF

    def _base(self, value):
        self.base, self.sign = value & 0x7FF, value >> 11

    def _one(self, value):
        self._emit(value & 0x7FF, value >> 11)

    def _v12(self, value, size=12):
        for bit in range(size):
            if value >> bit & 1:
                self._emit(None if self.base is None else self.base + bit, self.sign)
        if self.base is not None:
            self.base += size

    def _v8(self, value):
        self._v12(value & 0xFF, 8)

    def _emit(self, own, p):
        if None in (own, self.row, self.high, self.low):
            self.unknown += 1
            return
        x, y = (own, self.row) if self.is_evt3 else (self.row, own)
        t = (self.turns << 24) + (self.high << 12) + self.low
        if x >= self.width or y >= self.height:
            self.outside += 1
        elif self.events and t < self.events[-1][2]:
            self.backwards += 1
        else:
            self.events.append((x, y, t, p))


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


@st.composite
def streams(draw, longest_gap_ns=4 * 3_600_000_000_000):
    """Draw a batch of a tiny sensor and cuts through it: equal times, and silences of hours."""
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    gaps = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, longest_gap_ns))
    events = draw(
        st.lists(
            st.tuples(
                st.integers(0, width - 1), st.integers(0, height - 1), gaps, st.integers(0, 1)
            ),
            max_size=60,
        )
    )
    x, y, gap, p = np.array(events, np.int64).reshape(-1, 4).T
    start_ns = draw(st.sampled_from([0, -(10**15), 1_700_000_000_000_000_000]))
    batch = EventBatch(
        x.astype(np.uint16),
        y.astype(np.uint16),
        start_ns + np.cumsum(gap),
        p.astype(np.uint8),
        width,
        height,
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(batch)), max_size=6)))
    cuts = [0] + cuts + [len(batch)]
    return batch, [batch[first:last] for first, last in zip(cuts, cuts[1:])]


def supported(batch, tau_ns):
    """Return which events one of the 8 neighbours preceded by at most tau."""
    newest = {}
    keep = []
    for x, y, t in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist()):
        keep.append(any(t - newest[near] <= tau_ns for near in around((x, y)) if near in newest))
        newest[x, y] = t
    return keep


def select(batch, keep):
    """Return the batch of the events that a list of truths names."""
    keep = np.array(keep, bool)
    columns = (column[keep] for column in (batch.x, batch.y, batch.t, batch.p))
    return EventBatch(*columns, batch.width, batch.height)


def by_period(batch, period_ns):
    """Return [(end_ns, events)] of all periods before the one that the last event falls into."""
    if not len(batch):
        return []
    first, last = (int(t) // period_ns for t in batch.t[[0, -1]])
    ends = [(index + 1) * period_ns for index in range(first, last)]
    return [(end, batch.between(end - period_ns, end)) for end in ends]


def whole_frame(batch, step):
    """Return the event frame of the whole sensor, event by event."""
    counts = np.zeros((batch.height, batch.width), int)
    for x, y, p in zip(batch.x.tolist(), batch.y.tolist(), batch.p.tolist()):
        counts[y, x] += 1 if p else -1
    return np.clip(128 + step * counts, 0, 255).astype(np.uint8)


def counts_by_polarity(batch):
    """Return the events per polarity and pixel, event by event."""
    counts = np.zeros((2, batch.height, batch.width), int)
    for x, y, p in zip(batch.x.tolist(), batch.y.tolist(), batch.p.tolist()):
        counts[p, y, x] += 1
    return np.minimum(counts, 65535).astype(np.uint16)


def time_surface(batch, end_ns, tau_ns):
    """Return exp(-age / tau) of the newest event before a time, pixel by pixel."""
    surface = np.zeros((2, batch.height, batch.width))
    for x, y, t, p in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist(), batch.p.tolist()):
        if t < end_ns:
            surface[p, y, x] = math.exp(-(end_ns - t) / tau_ns)
    return surface


def rested(batch, period_ns):
    """Return which events come at least a period after the last such one of their pixel."""
    kept = {}
    keep = []
    for x, y, t in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist()):
        keep.append((x, y) not in kept or t - kept[x, y] >= period_ns)
        if keep[-1]:
            kept[x, y] = t
    return keep


def cool(batch, window_ns, least, ratio, longest_gap_ns):
    """Return which events are of pixels that were not hot in the last window with events."""
    hot, counts, window = set(), {}, None
    keep = []
    for x, y, t in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist()):
        if window is not None and t - window * window_ns > longest_gap_ns:
            counts, window = {}, None
        if window is not None and t // window_ns > window:
            hot = {pixel for pixel, count in counts.items() if is_hot(pixel, counts, least, ratio)}
            counts = {}
        window = t // window_ns
        counts[x, y] = counts.get((x, y), 0) + 1
        keep.append((x, y) not in hot)
    return keep


def is_hot(pixel, counts, least, ratio):
    """Return whether a pixel outdoes its neighbours, or a pair with its busiest one does."""
    if counts[pixel] < least:
        return False
    order = sorted(around(pixel), key=lambda other: counts.get(other, 0))
    most, second = counts.get(order[-1], 0), counts.get(order[-2], 0)
    beyond = sorted(counts.get(other, 0) for other in around(order[-1]))
    return counts[pixel] > ratio * most or (
        counts[pixel] > ratio * second and most > ratio * beyond[-2]
    )


def around(pixel):
    """Return the 8 neighbours, also those outside the sensor."""
    x, y = pixel
    return [(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


def steady(batch, bands, cycles):
    """Return which events are of pixels that have not kept turning to ON in step with a light."""
    turned, streaks, last = {}, {}, {}
    shortest, longest = min(low for low, _ in bands), max(high for _, high in bands)
    keep = []
    for x, y, t, p in zip(batch.x.tolist(), batch.y.tolist(), batch.t.tolist(), batch.p.tolist()):
        pixel = x, y
        age = t - turned.get(pixel, -(10**30))
        if age > longest:
            streaks[pixel] = 0
        if p and not last.get(pixel, 0) and age > shortest // 2:
            in_step = any(low <= age <= high for low, high in bands)
            streaks[pixel] = streaks[pixel] + 1 if in_step else 0
            turned[pixel] = t
        last[pixel] = p
        keep.append(streaks.get(pixel, 0) < cycles)
    return keep


def thinned(batch, budget, cell_px):
    """Return which events of one slice pass, cells taking one in turn, evenly over their own."""
    if len(batch) <= budget:
        return [True] * len(batch)
    cells = [(y // cell_px, x // cell_px) for x, y in zip(batch.x.tolist(), batch.y.tolist())]
    shares = dict.fromkeys(sorted(set(cells)), 0)
    while sum(shares.values()) < budget:
        for cell in shares:
            if shares[cell] < cells.count(cell) and sum(shares.values()) < budget:
                shares[cell] += 1
    keep = []
    for i, cell in enumerate(cells):
        before, count = cells[:i].count(cell), cells.count(cell)
        keep.append((before + 1) * shares[cell] // count > before * shares[cell] // count)
    return keep
