"""Driver bytes and recordings to columns: every encoding, beside what PyPI has for it."""

import os
import tempfile

import numpy as np

from benchmarks.measure import print_rates, time_work
from benchmarks.scene import HEIGHT, WIDTH, moving_scene
from cs3d_ros.events import (
    EventArrayDecoder,
    EventBatch,
    concatenate,
    encode_event_array,
    encode_evt3,
    open_codec,
    open_recording,
    write_recording,
)

COUNT = 8_000_000
PER_MESSAGE = 10_000
PEER_MESSAGES = 5  # message objects are so slow that a few will do
PACKET = 1 << 18  # bytes of a raw file at a time
REAL = os.path.join(
    os.path.dirname(__file__), '..', '..', 'shared', 'data', 'recordings', 'imx636_evt3.raw'
)


def by_message_objects(data: bytes):
    """Return the columns the way a common rclpy subscriber gets them."""
    from dv_ros2_msgs.msg import EventArray
    from rclpy.serialization import deserialize_message

    events = deserialize_message(data, EventArray).events
    columns = np.array(
        [(e.x, e.y, e.ts.sec * 10**9 + e.ts.nanosec, e.polarity) for e in events], np.int64
    )
    return columns.T


def copy_bound(messages):
    """Return work that moves as many bytes, 16 in and 13 out an event, and nothing else."""
    raw = [np.frombuffer(message, np.uint8) for message in messages]
    size = 13 * PER_MESSAGE

    def work():
        for message in raw:
            target = np.empty(size, np.uint8)
            target[:] = message[:size]
            message[size:].max()  # the three bytes that are read and not written

    return work


def event_array(batch: EventBatch) -> None:
    """Print the table of EventArray."""
    messages = [
        encode_event_array(batch[first : first + PER_MESSAGE])
        for first in range(0, COUNT, PER_MESSAGE)
    ]

    def decode():
        decoder = EventArrayDecoder()
        for message in messages:
            decoder.push(message)

    decoder = EventArrayDecoder()
    assert concatenate(decoder.push(message) for message in messages) == batch
    rows = [('EventArrayDecoder', time_work(decode), None)]
    try:
        x, y, t, p = by_message_objects(messages[0])
    except ImportError:
        print('peer left out: rclpy is not there, run make bench')
    else:
        ours = EventArrayDecoder().push(messages[0])
        columns = ours.x, ours.y, ours.t, ours.p
        assert all(np.array_equal(a, b) for a, b in zip(columns, (x, y, t, p)))

        def objects():
            for message in messages[:PEER_MESSAGES]:
                by_message_objects(message)

        amount = PEER_MESSAGES * PER_MESSAGE
        rows.append(('rclpy message objects to arrays', time_work(objects, 3), amount))
    rows.append(('copy bound (16 B in, 13 B out)', time_work(copy_bound(messages)), None))
    print_rates(
        'EventArray bytes to columns, {:,} events a message'.format(PER_MESSAGE),
        'events/s',
        COUNT,
        rows,
    )


def vector_words(groups: int, seed: int = 0) -> bytes:
    """Return EVT3 as of a busy scene: rows of 32 pixels at once, a single event now and then."""
    rng = np.random.default_rng(seed)
    us = np.cumsum(rng.integers(0, 30, groups))
    y, x = rng.integers(0, HEIGHT, groups), rng.integers(0, WIDTH - 46, groups)
    sign = rng.integers(0, 2, groups) << 11
    density = rng.choice([0.1, 0.3, 0.8], groups)[:, np.newaxis]
    bits = rng.random((groups, 32)) < density
    masks = [
        bits[:, first:last] @ (1 << np.arange(last - first))
        for first, last in ((0, 12), (12, 24), (24, 32))
    ]
    is_single = rng.random(groups) < 0.3
    is_new = np.concatenate([[True], np.diff(us >> 12) > 0])
    columns = [
        (0x8000 | us >> 12 & 0xFFF, is_new),
        (0x6000 | us & 0xFFF, True),
        (y, True),
        (np.where(is_single, 0x2000, 0x3000) | sign | x, True),
        (0x4000 | masks[0], ~is_single),
        (0x4000 | masks[1], ~is_single),
        (0x5000 | masks[2], ~is_single),
    ]
    words = np.stack([column for column, _ in columns], 1)
    is_there = np.stack([np.broadcast_to(there, groups) for _, there in columns], 1)
    return words[is_there].astype('<u2').tobytes()


class Evt3Peer:
    """The package evt3."""

    encodings = ('evt3',)

    def __init__(self):
        import evt3

        self._evt3 = evt3

    def whole(self, path):
        events = self._evt3.decode_file(path)
        return events.x, events.y, events.p

    def pieces(self, path):
        decoder = self._evt3.Decoder()
        with open(path, 'rb') as file:
            for piece in iter(lambda: file.read(PACKET), b''):
                decoder.feed(piece)


class FaeryPeer:
    """The package faery."""

    encodings = ('evt3', 'evt2')

    def __init__(self):
        import faery

        self._faery = faery

    def whole(self, path):
        events = self._faery.events_stream_from_file(path).to_array()
        return events['x'], events['y'], events['on']

    def pieces(self, path):
        for _ in self._faery.events_stream_from_file(path):
            pass


class EventcvPeer:
    """The package eventcv, which has only whole streams."""

    encodings = ('evt3', 'evt2')

    def __init__(self):
        import eventcv

        self._eventcv = eventcv

    def whole(self, path):
        return self._eventcv.load(path).numpy().T[[0, 1, 3]]

    pieces = None


def peers_of(encoding: str):
    """Return name and object of each peer that is installed and reads this encoding."""
    found = []
    for name, kind in (('evt3', Evt3Peer), ('faery', FaeryPeer), ('eventcv', EventcvPeer)):
        try:
            if encoding in kind.encodings:
                found.append((name, kind()))
        except ImportError:
            print('peer left out: {}'.format(name))
    return found


def write_raw(folder: str, encoding: str, payload: bytes, width: int, height: int) -> str:
    """Write a Prophesee file; return its path."""
    version = {'evt3': '3.0', 'evt2': '2.0'}[encoding]
    path = os.path.join(folder, encoding + '.raw')
    with open(path, 'wb') as file:
        file.write(
            '% date 2026-01-01 00:00:00\n% evt {0}\n% format EVT{0[0]};height={2};width={1}\n'
            '% geometry {1}x{2}\n% end\n'.format(version, width, height).encode()
        )
        file.write(payload)
    return path


def raw_table(folder: str, title: str, encoding: str, payload: bytes, width: int, height: int):
    """Print the table of one raw stream: piece by piece, and the whole file at once."""
    path = write_raw(folder, encoding, payload, width, height)

    def pieces():
        codec = open_codec(encoding, width, height)
        with open(path, 'rb') as file:
            while file.readline() != b'% end\n':
                pass
            for piece in iter(lambda: file.read(PACKET), b''):
                codec.push(piece)

    def whole():
        return next(open_recording(path).batches(count=1 << 30))

    ours = whole()
    rivals = peers_of(encoding)
    for name, peer in rivals:
        x, y, p = peer.whole(path)
        assert np.array_equal(x, ours.x) and np.array_equal(y, ours.y), name
        assert np.array_equal(p > 0, ours.p > 0), name
    in_pieces = [('open_codec', time_work(pieces), None)]
    in_pieces += [
        (name, time_work(lambda peer=peer: peer.pieces(path)), None)
        for name, peer in rivals
        if peer.pieces
    ]
    at_once = [('open_recording, one batch', time_work(whole), None)]
    at_once += [
        (name, time_work(lambda peer=peer: peer.whole(path), 3), None) for name, peer in rivals
    ]
    title = '{} {}'.format(encoding.upper(), title)
    print_rates(title + ', piece by piece', 'events/s', len(ours), in_pieces)
    print_rates(title + ', the whole file at once', 'events/s', len(ours), at_once)


def evt2_words(batch: EventBatch) -> bytes:
    """Return EVT2, the high bits of the time where they change."""
    us = batch.t // 1000
    p, x, low = (column.astype(np.uint32) for column in (batch.p, batch.x, us & 63))
    high = 8 << 28 | us >> 6 & 0xFFFFFFF
    is_new = np.concatenate([[True], np.diff(us >> 6) > 0])
    words = np.stack([high, p << 28 | low << 22 | x << 11 | batch.y], 1)
    return words[np.stack([is_new, np.ones(len(batch), bool)], 1)].astype('<u4').tobytes()


def libcaer_words(batch: EventBatch) -> bytes:
    """Return `libcaer` from the first event's time on."""
    us = (batch.t - batch.t[0]) // 1000
    x, y, p = (column.astype(np.uint32) for column in (batch.x, batch.y, batch.p))
    return np.stack([1 | p << 1 | y << 2 | x << 17, us], 1).astype('<u4').tobytes()


def mono_words(batch: EventBatch) -> bytes:
    """Return `mono` from the first event's time on."""
    x, y, t, p = (
        column.astype(np.uint64) for column in (batch.x, batch.y, batch.t - batch.t[0], batch.p)
    )
    return (t | x << np.uint64(32) | y << np.uint64(48) | p << np.uint64(63)).tobytes()


def libcaer_cmp_words(batch: EventBatch) -> bytes:
    """Return `libcaer_cmp` from the first event's time on, without vectors."""
    us = (batch.t - batch.t[0]) // 1000
    p, x = batch.p.astype(np.uint16), batch.x.astype(int)
    changes = [np.diff(us >> 12) != 0, np.diff(us) != 0, np.diff(x) != 0, np.ones(len(us) - 1)]
    words = np.stack([us >> 12, 0x1000 | us & 0xFFF, 0x2000 | x, 0x3000 | p << 11 | batch.y], 1)
    is_there = np.stack([np.concatenate([[True], change]) for change in changes], 1)
    return words[is_there.astype(bool)].astype('<u2').tobytes()


PAYLOADS = {
    'evt2': evt2_words,
    'libcaer_cmp': libcaer_cmp_words,
    'libcaer': libcaer_words,
    'mono': mono_words,
}


def payload_table(batch: EventBatch) -> None:
    """Print the speed of the other encodings, packets as drivers send them."""
    rows = []
    parts = [batch[first : first + PER_MESSAGE] for first in range(0, COUNT, PER_MESSAGE)]
    for encoding, encode in PAYLOADS.items():
        packets = [(encode(part), int(part.t[0])) for part in parts]
        codec = open_codec(encoding, WIDTH, HEIGHT)
        assert concatenate(codec.push(*packet) for packet in packets) == batch, encoding

        def decode(encoding=encoding, packets=packets):
            codec = open_codec(encoding, WIDTH, HEIGHT)
            for payload, time_base_ns in packets:
                codec.push(payload, time_base_ns)

        rows.append((encoding, time_work(decode), None))
    print_rates(
        'Other payloads to columns, {:,} events each'.format(PER_MESSAGE),
        'events/s',
        COUNT,
        rows,
    )


def aedat4_table(folder: str, batch: EventBatch) -> None:
    """Print the speed of an AEDAT 4 file in LZ4."""
    path = os.path.join(folder, 'scene.aedat4')
    write_recording(
        path, (batch[i : i + PER_MESSAGE] for i in range(0, COUNT, PER_MESSAGE)), WIDTH, HEIGHT
    )

    def read():
        return next(open_recording(path).batches(count=1 << 30))

    assert read() == batch
    rows = [('open_recording, one batch', time_work(read, 3), None)]
    try:
        import dv_processing
    except ImportError:
        print('peer left out: dv-processing')
    else:

        def by_dv():
            reader = dv_processing.io.MonoCameraRecording(path)
            stores = []
            while reader.isRunning():
                store = reader.getNextEventBatch()
                if store is not None:
                    stores.append(store.numpy())
            return np.concatenate(stores)

        assert np.array_equal(by_dv()['timestamp'] * 1000, batch.t)
        rows.append(('dv-processing', time_work(by_dv, 3), None))
    print_rates('AEDAT 4 to columns', 'events/s', COUNT, rows)


def main() -> None:
    """Print the tables of this part."""
    batch = moving_scene(COUNT)
    event_array(batch)
    with tempfile.TemporaryDirectory() as folder:
        raw_table(folder, 'scene', 'evt3', encode_evt3(batch), WIDTH, HEIGHT)
        raw_table(folder, 'vectors', 'evt3', vector_words(COUNT // 9), WIDTH, HEIGHT)
        if os.path.exists(REAL):
            with open(REAL, 'rb') as file:
                data = file.read()
            payload = data[data.index(b'system_ID 49\n') + 13 :][: -(len(data) % 2) or None]
            payload = payload[: len(payload) // 2 * 2]
            raw_table(folder, 'imx636_evt3.raw, 20 times', 'evt3', 20 * payload, 1280, 720)
        raw_table(folder, 'scene', 'evt2', evt2_words(batch), WIDTH, HEIGHT)
        aedat4_table(folder, batch)
    payload_table(batch)


if __name__ == '__main__':
    main()
