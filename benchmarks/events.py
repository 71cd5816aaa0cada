"""Events in: driver bytes to columns, and columns to event frames."""

import numpy as np

from benchmarks.measure import print_rates, time_work
from cs3d_ros.events import EventArrayDecoder, EventBatch, SquareAccumulator, encode_event_array
from cs3d_ros.face import FaceSquare

COUNT = 2_000_000
PER_MESSAGE = 10_000
PEER_MESSAGES = 5  # message objects are so slow that a few will do
WIDTH, HEIGHT = 346, 260


def stream(count: int) -> EventBatch:
    """Return random events of a DAVIS346 at 1 M events/s."""
    rng = np.random.default_rng(1)
    return EventBatch(
        rng.integers(0, WIDTH, count).astype(np.uint16),
        rng.integers(0, HEIGHT, count).astype(np.uint16),
        np.sort(rng.integers(0, count * 1000, count)),
        rng.integers(0, 2, count).astype(np.uint8),
        WIDTH,
        HEIGHT,
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


def copy_bound(count: int):
    """Return work that moves as many bytes: 16 in, 13 out, an event."""
    source, target = np.zeros(16 * count, np.uint8), np.zeros(13 * count, np.uint8)

    def work():
        np.copyto(target, source[: len(target)])
        source[len(target) :].max()  # the three bytes that are read and not written

    return work


def main() -> None:
    """Print the tables of this part."""
    batch = stream(COUNT)
    messages = [
        encode_event_array(batch[first : first + PER_MESSAGE])
        for first in range(0, COUNT, PER_MESSAGE)
    ]

    def decode():
        decoder = EventArrayDecoder()
        for message in messages:
            decoder.push(message)

    rows = [('EventArrayDecoder', time_work(decode), None)]
    try:
        x, y, t, p = by_message_objects(messages[0])
    except ImportError:
        print('peer left out: rclpy is not there, run make bench')
    else:
        ours = EventArrayDecoder().push(messages[0])
        assert all(
            np.array_equal(a, b) for a, b in zip((ours.x, ours.y, ours.t, ours.p), (x, y, t, p))
        )

        def objects():
            for message in messages[:PEER_MESSAGES]:
                by_message_objects(message)

        amount = PEER_MESSAGES * PER_MESSAGE
        rows.append(('rclpy message objects to arrays', time_work(objects, 3), amount))
    rows.append(('copy bound (16 B in, 13 B out)', time_work(copy_bound(COUNT)), None))
    print_rates(
        'EventArray bytes to columns, {:,} events a message'.format(PER_MESSAGE),
        'events/s',
        COUNT,
        rows,
    )

    square = FaceSquare(WIDTH / 2, HEIGHT / 2, 200.0, 0.0)
    accumulator = SquareAccumulator()

    def frame():
        accumulator.add(batch, square)
        accumulator.take()

    def frame_numpy():
        u = np.floor((batch.x + 0.5 - square.cx) * (112 / square.side) + 56).astype(np.int64)
        v = np.floor((batch.y + 0.5 - square.cy) * (112 / square.side) + 56).astype(np.int64)
        inside = (u >= 0) & (u < 112) & (v >= 0) & (v < 112)
        signs = 2.0 * batch.p[inside] - 1
        counts = np.bincount(v[inside] * 112 + u[inside], signs, 112 * 112).reshape(112, 112)
        return np.clip(128 + 32 * counts, 0, 255).astype(np.uint8)

    accumulator.add(batch, square)
    assert np.array_equal(accumulator.take(), frame_numpy())
    print_rates(
        'Events to the frame of a face square',
        'events/s',
        COUNT,
        [
            ('SquareAccumulator', time_work(frame), None),
            ('NumPy bincount', time_work(frame_numpy), None),
        ],
    )
