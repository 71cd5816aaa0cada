"""
Columns cleaned and framed, and the whole chain from bytes to frames.

    python -m benchmarks.chain          the tables
    python -m benchmarks.chain --rate   the chain's events/s alone, for another Python to compare
"""

import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.measure import print_rates, time_work
from benchmarks.scene import HEIGHT, WIDTH, moving_scene
from cs3d_ros.events import (
    BackgroundActivityFilter,
    BackgroundActivitySettings,
    EventArrayDecoder,
    EventFrames,
    SquareAccumulator,
    concatenate,
    encode_event_array,
    encode_event_packet,
    open_decoder,
)
from cs3d_ros.events.recordings import aedat4
from cs3d_ros.face import FaceSquare

COUNT = 8_000_000
PER_MESSAGE = 20_000
TAU_NS = 5_000_000
PERIOD_US = 33_333
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLD_PYTHON = os.path.join(ROOT, '.venv-3.6', 'bin', 'python')


def clean(parts):
    """Return what background activity leaves of batches."""
    stage = BackgroundActivityFilter(WIDTH, HEIGHT, BackgroundActivitySettings(TAU_NS))
    return [stage.push(part) for part in parts]


def frame(parts):
    """Return the event frames of batches."""
    stage = EventFrames(WIDTH, HEIGHT, PERIOD_US * 1000)
    return [frame for part in parts for frame in stage.push(part)]


def chain(messages, decoder):
    """Return the event frames of messages, cleaned, as a node would."""
    filtered = BackgroundActivityFilter(WIDTH, HEIGHT, BackgroundActivitySettings(TAU_NS))
    frames = EventFrames(WIDTH, HEIGHT, PERIOD_US * 1000)
    return [frame for data in messages for frame in frames.push(filtered.push(decoder.push(data)))]


class EventcvPeer:
    """eventcv, from a stream of its own that holds all events already."""

    name = 'eventcv'

    def __init__(self, parts):
        import eventcv

        batch = concatenate(parts)
        columns = [batch.x.astype(np.int64), batch.y, batch.t // 1000, batch.p]
        self._stream = eventcv.from_numpy(
            np.stack(columns, 1), order='xytp', sensor_size=(WIDTH, HEIGHT), time_unit='us'
        )

    def clean(self):
        return self._stream.background_activity_filter(TAU_NS // 1000)

    def count(self, cleaned):
        return len(cleaned)


class DvPeer:
    """dv-processing, from event stores of its own, as many as we have batches."""

    name = 'dv-processing'

    def __init__(self, parts):
        import dv_processing

        self._dv = dv_processing
        self._stores = []
        for part in parts:
            store = dv_processing.EventStore()
            columns = ((part.t // 1000).tolist(), part.x.tolist(), part.y.tolist())
            for t, x, y, p in zip(*columns, part.p.tolist()):
                store.push_back(t, x, y, bool(p))
            self._stores.append(store)

    def clean(self, stores=None):
        stage = self._dv.noise.BackgroundActivityNoiseFilter(
            (WIDTH, HEIGHT),
            backgroundActivityDuration=datetime.timedelta(microseconds=TAU_NS // 1000),
        )
        return [self._one(stage, store) for store in stores or self._stores]

    @staticmethod
    def _one(stage, store):
        stage.accept(store)
        return stage.generateEvents()

    def count(self, cleaned):
        return sum(store.size() for store in cleaned)

    def frame(self, stores=None):
        accumulator, frames = self._dv.EdgeMapAccumulator((WIDTH, HEIGHT)), []
        slicer = self._dv.EventStreamSlicer()

        def take(events):
            accumulator.accept(events)
            frames.append(accumulator.generateFrame())

        slicer.doEveryTimeInterval(datetime.timedelta(microseconds=PERIOD_US), take)
        for store in stores or self._stores:
            slicer.accept(store)
        return frames

    def chain(self, stores=None):
        return self.frame(self.clean(stores))

    def chain_from(self, path):
        """Do the same from the bytes of an AEDAT 4 file, uncompressed."""
        reader, stores = self._dv.io.MonoCameraRecording(path), []
        while reader.isRunning():
            store = reader.getNextEventBatch()
            if store is not None:
                stores.append(store)
        return self.chain(stores)


def peers(parts):
    """Return those peers that are installed."""
    found = []
    for kind in (EventcvPeer, DvPeer):
        try:
            found.append(kind(parts))
        except ImportError:
            print('peer left out: {}'.format(kind.name))
    return found


def bincount_frames(batch):
    """Return event frames by NumPy's bincount, one period after the other."""
    frames = []
    index = batch.t // (PERIOD_US * 1000)
    cuts = np.flatnonzero(np.diff(index)) + 1
    for first, last in zip([0] + list(cuts), list(cuts) + [len(batch)]):
        pixels = batch.y[first:last].astype(np.int64) * WIDTH + batch.x[first:last]
        signs = 2.0 * batch.p[first:last] - 1
        counts = np.bincount(pixels, signs, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
        frames.append(np.clip(128 + 32 * counts, 0, 255).astype(np.uint8))
    return frames


def cleaning_table(parts, rivals) -> None:
    """Print the table of the background activity filter."""
    ours = sum(map(len, clean(parts)))
    rows = [('BackgroundActivityFilter', time_work(lambda: clean(parts)), None)]
    kept = ['ours {:,}'.format(ours)]
    for peer in rivals:
        kept.append('{} {:,}'.format(peer.name, peer.count(peer.clean())))
        rows.append((peer.name, time_work(peer.clean, 3), None))
    print_rates('Background activity, 5 ms', 'events/s', COUNT, rows)
    print('\nkept of {:,}: {}'.format(COUNT, ', '.join(kept)))


def framing_table(parts, rivals) -> None:
    """Print the table of event frames of the whole sensor."""
    batch = concatenate(parts)
    theirs = bincount_frames(batch)
    ours = frame(parts)
    assert all(np.array_equal(a.image, b) for a, b in zip(ours, theirs))
    rows = [
        ('EventFrames', time_work(lambda: frame(parts)), None),
        ("NumPy's bincount", time_work(lambda: bincount_frames(batch), 3), None),
    ]
    rows += [
        (peer.name + ' edge map', time_work(peer.frame, 3), None)
        for peer in rivals
        if hasattr(peer, 'frame')
    ]
    print_rates('Event frames of 33 ms', 'events/s', COUNT, rows)


def chain_table(parts, rivals) -> None:
    """Print the table of the whole chain; a peer's own stores need no decoding any more."""
    messages = [encode_event_array(part) for part in parts]
    packets = [encode_event_packet(part, seq=seq) for seq, part in enumerate(parts)]
    expected = frame(clean(parts))
    for bytes_of, type_name in (
        (messages, 'dv_ros2_msgs/msg/EventArray'),
        (packets, 'event_camera_msgs/msg/EventPacket'),
    ):
        got = chain(bytes_of, open_decoder(type_name))
        assert all(np.array_equal(a.image, b.image) for a, b in zip(got, expected)), type_name
    rows = [
        ('from EventArray', time_work(lambda: chain(messages, EventArrayDecoder())), None),
        (
            'from EventPacket (EVT3)',
            time_work(lambda: chain(packets, open_decoder('event_camera_msgs/msg/EventPacket'))),
            None,
        ),
    ]
    for peer in rivals:
        if not hasattr(peer, 'chain'):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'scene.aedat4')
            aedat4.write(path, parts, WIDTH, HEIGHT, 'NONE')
            from_file = time_work(lambda peer=peer, path=path: peer.chain_from(path), 3)
        rows.append((peer.name + ', from an AEDAT 4 file, uncompressed', from_file, None))
        rows.append((peer.name + ', from its own stores', time_work(peer.chain, 3), None))
    print_rates(
        'Bytes to background activity to event frames, {:,} events a message'.format(PER_MESSAGE),
        'events/s',
        COUNT,
        rows,
    )


def square_table(batch) -> None:
    """Print the table of the frame of a face square, which the networks read."""
    square = FaceSquare(WIDTH / 2, HEIGHT / 2, 200.0, 0.0)
    accumulator = SquareAccumulator()

    def by_us():
        accumulator.add(batch, square)
        return accumulator.take()

    def by_numpy():
        u = np.floor((batch.x + 0.5 - square.cx) * (112 / square.side) + 56).astype(np.int64)
        v = np.floor((batch.y + 0.5 - square.cy) * (112 / square.side) + 56).astype(np.int64)
        inside = (u >= 0) & (u < 112) & (v >= 0) & (v < 112)
        signs = 2.0 * batch.p[inside] - 1
        counts = np.bincount(v[inside] * 112 + u[inside], signs, 112 * 112).reshape(112, 112)
        return np.clip(128 + 32 * counts, 0, 255).astype(np.uint8)

    assert np.array_equal(by_us(), by_numpy())
    rows = [
        ('SquareAccumulator', time_work(by_us), None),
        ("NumPy's bincount", time_work(by_numpy, 3), None),
    ]
    print_rates('Events to the frame of a face square', 'events/s', len(batch), rows)


def chain_rate() -> float:
    """Return the events/s of the chain from EventArray on this Python."""
    batch = moving_scene(COUNT)
    messages = [
        encode_event_array(batch[first : first + PER_MESSAGE])
        for first in range(0, COUNT, PER_MESSAGE)
    ]
    return COUNT / time_work(lambda: chain(messages, EventArrayDecoder())).median_s


def run_rate(python: str) -> float:
    """Return the chain's events/s on another Python, in a process of its own."""
    command = [python, '-m', 'benchmarks.chain', '--rate']
    return float(subprocess.check_output(command, cwd=ROOT, universal_newlines=True))


def old_python_table() -> None:
    """Print the chain on Python 3.6 beside this one, runs of both in turn."""
    if not os.path.exists(OLD_PYTHON):
        print('\nPython 3.6 left out: scripts/bootstrap.py floor makes its environment')
        return
    rates = [(run_rate(sys.executable), run_rate(OLD_PYTHON)) for _ in range(3)]
    new, old = (statistics.median(column) for column in zip(*rates))
    print('\n## The chain on Python 3.6\n')
    print('| | events/s, median of 3 | ratio |\n|---|---|---|')
    print(
        '| this Python | {:.3g} | 1 |\n| Python 3.6 | {:.3g} | {:.3g} |'.format(
            new, old, old / new
        )
    )


def import_time() -> None:
    """Print what importing the chain takes, beyond the start of Python."""
    seconds = {}
    for code in ('pass', 'import numpy', 'import cs3d_ros.events', 'import cs3d_ros.pipeline'):
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            subprocess.check_call([sys.executable, '-c', code], cwd=ROOT)
            times.append(time.perf_counter() - begin)
        seconds[code] = statistics.median(times)
    print('\n## Start\n\n| | s beyond the start of Python |\n|---|---|')
    for code, value in seconds.items():
        if code != 'pass':
            print('| {} | {:.3f} |'.format(code, value - seconds['pass']))


def main() -> None:
    """Print the tables of this part."""
    batch = moving_scene(COUNT)
    parts = [batch[first : first + PER_MESSAGE] for first in range(0, COUNT, PER_MESSAGE)]
    rivals = peers(parts)
    cleaning_table(parts, rivals)
    framing_table(parts, rivals)
    chain_table(parts, rivals)
    square_table(batch[:2_000_000])
    old_python_table()
    import_time()


if __name__ == '__main__':
    if sys.argv[1:] == ['--rate']:
        print(chain_rate())
    else:
        main()
