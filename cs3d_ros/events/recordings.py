"""Event recordings, read and written behind one door, whatever the file format."""

import os
import zipfile
from typing import Iterable, Iterator

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events.batch import MAX_SIDE, NO_TIME, EventBatch, concatenate, keep_valid

DEFAULT_BATCH_NS = 10_000_000
NS_PER_US = 1000  # AEDAT 4 counts microseconds


class RecordingError(Cs3dError):
    """A file that cannot be read, or written, as a recording."""


class Recording:
    """
    Events of one file, iterated in batches of absolute time; ``with`` closes the file.

    Attributes
    ----------
    path, kind : str
        Where it lies, and its format: ``aedat4`` or ``npz``.
    width, height : int
        Sensor size in pixels.
    start_ns, end_ns : int
        Sensor time of the first and of the last event.
    out_of_bounds, time_reversed : int
        Events that the last pass dropped, by reason.
    """

    kind = ''

    def __init__(self, path: str, width: int, height: int, start_ns: int, end_ns: int):
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise RecordingError(
                '{} tells a sensor of {} x {}: the file is damaged'.format(path, width, height)
            )
        self.path = str(path)
        self.width, self.height = int(width), int(height)
        self.start_ns, self.end_ns = int(start_ns), int(end_ns)
        self.out_of_bounds = self.time_reversed = 0

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(self, *_):
        pass

    @property
    def duration_ns(self) -> int:
        """Time from the first to the last event."""
        return self.end_ns - self.start_ns

    def _packets(self):
        """Yield (x, y, t_ns, p) arrays in the order of the file."""
        raise NotImplementedError

    def _valid(self) -> Iterator[EventBatch]:
        self.out_of_bounds = self.time_reversed = 0
        last_ns = NO_TIME
        for columns in self._packets():
            batch, outside, backwards = keep_valid(*columns, self.width, self.height, last_ns)
            self.out_of_bounds += outside
            self.time_reversed += backwards
            if len(batch):
                last_ns = int(batch.t[-1])
                yield batch

    def batches(self, duration_ns: int = DEFAULT_BATCH_NS) -> Iterator[EventBatch]:
        """
        Yield the events from the start, cut at multiples of ``duration_ns``; no batch is empty.

        Raises
        ------
        RecordingError
            If the file turns out to be damaged on the way.
        """
        if duration_ns < 1:
            raise ValueError('duration_ns must be positive, got {}'.format(duration_ns))
        held = []
        held_bin = None
        for batch in self._valid():
            bins = batch.t // duration_ns
            cuts = np.flatnonzero(np.diff(bins)) + 1
            for first, last in zip([0] + list(cuts), list(cuts) + [len(batch)]):
                if held and bins[first] != held_bin:
                    yield concatenate(held)
                    held = []
                held.append(batch[int(first) : int(last)])
                held_bin = bins[first]
        if held:
            yield concatenate(held)


class _NpzRecording(Recording):
    """Columns x, y, t, p and the scalars width, height of a NumPy archive; more is ignored."""

    kind = 'npz'

    def __init__(self, path):
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = [archive[name] for name in 'xytp']
                width, height = (int(archive[name]) for name in ('width', 'height'))
        except KeyError as error:
            raise RecordingError(
                '{} lacks an array that a recording has (x, y, t, p, width, height): {}'.format(
                    path, error
                )
            ) from error
        # zlib.error and struct.error are neither: NumPy lets whatever the archive breaks escape
        except Exception as error:
            raise RecordingError(
                '{} is no readable .npz archive of plain arrays: {}'.format(path, error)
            ) from error
        lengths = {column.shape for column in columns}
        if len(lengths) > 1 or len(columns[0].shape) != 1:
            raise RecordingError(
                '{}: x, y, t, p must be columns of one length, got {}'.format(
                    path, sorted(lengths)
                )
            )
        for name, column in zip('xytp', columns):
            if column.dtype.kind not in 'iub':
                raise RecordingError(
                    '{}: {} must hold integers (t in ns), got {}'.format(path, name, column.dtype)
                )
        if not len(columns[0]):
            raise RecordingError('{} holds no events'.format(path))
        # a coordinate beyond uint16 must be dropped as outside, not wrap around into the sensor
        for column in columns[:2]:
            column[(column < 0) | (column >= MAX_SIDE)] = MAX_SIDE - 1
        self._columns = columns
        super().__init__(path, width, height, columns[2].min(), columns[2].max())

    def _packets(self):
        yield self._columns


class _Aedat4Recording(Recording):
    """The event stream of an AEDAT 4 file, by way of dv-processing."""

    kind = 'aedat4'

    def __init__(self, path):
        reader = self._open(path)
        if not reader.isEventStreamAvailable():
            raise RecordingError('{} holds no event stream'.format(path))
        resolution = reader.getEventResolution()
        if resolution is None:
            raise RecordingError('{} does not tell its sensor size'.format(path))
        start_us, end_us = self._time_range_us(path)
        super().__init__(path, *resolution, start_us * NS_PER_US, end_us * NS_PER_US)

    @staticmethod
    def _open(path):
        try:
            import dv_processing
        except ImportError as error:
            raise RecordingError(
                'AEDAT 4 needs dv-processing: pip install dv-processing'
            ) from error
        try:
            return dv_processing.io.MonoCameraRecording(str(path))
        except RuntimeError as error:
            raise RecordingError(
                '{} is no whole AEDAT 4 file: {}'.format(path, str(error).strip().splitlines()[-1])
            ) from error

    @classmethod
    def _time_range_us(cls, path):
        """Return the times of the first and the last event, as frames and IMU start elsewhere."""
        first = last = None
        for packet in cls._stores(path):
            first = packet.getLowestTime() if first is None else first
            last = packet.getHighestTime()
        if first is None:
            raise RecordingError('{} holds no events'.format(path))
        return first, last

    @classmethod
    def _stores(cls, path):
        reader = cls._open(path)
        while True:
            try:
                store = reader.getNextEventBatch()
            except RuntimeError as error:
                raise RecordingError(
                    '{} is damaged: {}'.format(path, str(error).strip().splitlines()[-1])
                ) from error
            if store is None:
                return
            if not store.isEmpty():
                yield store

    def _packets(self):
        for store in self._stores(self.path):
            events = store.numpy()
            yield (events['x'], events['y'], events['timestamp'] * NS_PER_US, events['polarity'])


_READERS = {'.npz': _NpzRecording, '.aedat4': _Aedat4Recording}
SUFFIXES = tuple(_READERS)


def open_recording(path: str) -> Recording:
    """
    Open an event recording: AEDAT 4 or ``.npz``.

    Raises
    ------
    RecordingError
        If the file is missing, of another kind, damaged, or empty.

    Examples
    --------
    >>> with open_recording('face.aedat4') as recording:  # doctest: +SKIP
    ...     for batch in recording.batches():
    ...         print(len(batch))
    """
    path = str(path)
    if not os.path.isfile(path):
        raise RecordingError('{} is not there: is the path right?'.format(path))
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _READERS:
        raise RecordingError(
            '{} is no recording that is known ({}){}'.format(
                path, ', '.join(sorted(_READERS)), _guess(path)
            )
        )
    return _READERS[suffix](path)


def _guess(path: str) -> str:
    """Say what a foreign file looks like, as a hint to the cure."""
    with open(path, 'rb') as file:
        head = file.read(16)
    if head.startswith(b'#!AER-DAT4'):
        return ': it looks like AEDAT 4, rename it to end in .aedat4'
    if zipfile.is_zipfile(path):
        return ': it looks like a zip archive; if NumPy made it, rename it to end in .npz'
    if head[4:8] == b'ftyp' or head.startswith((b'RIFF', b'\x1aE\xdf\xa3', b'\0\0\x01\xba')):
        return ': it looks like a video, make events of it with cs3d simulate'
    return ''


def write_recording(path: str, batches: Iterable[EventBatch], width: int, height: int) -> int:
    """
    Write events to ``.aedat4`` (whole microseconds) or ``.npz``; return how many.

    The file is written aside and renamed when it is whole.

    Raises
    ------
    RecordingError
        If the format is unknown, there are no events, or the file cannot be written.
    """
    path = str(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _WRITERS:
        raise RecordingError('{} must end in one of {}'.format(path, ', '.join(sorted(_WRITERS))))
    aside = '{}.{}.part{}'.format(path[: -len(suffix)], os.getpid(), suffix)
    try:
        count = _WRITERS[suffix](aside, batches, width, height)
        if not count:
            raise RecordingError('{} would hold no events: nothing was written'.format(path))
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:
        raise RecordingError('{} cannot be written: {}'.format(path, error)) from error
    finally:
        if os.path.exists(aside):
            os.remove(aside)
    return count


def _write_npz(path, batches, width, height):
    whole = concatenate([EventBatch.empty(width, height)] + list(batches))
    np.savez_compressed(
        path, x=whole.x, y=whole.y, t=whole.t, p=whole.p, width=width, height=height
    )
    return len(whole)


def _write_aedat4(path, batches, width, height):
    import dv_processing as dv

    config = dv.io.MonoCameraWriter.Config('cs3d', dv.CompressionType.ZSTD)
    config.addEventStream((width, height))
    writer = dv.io.MonoCameraWriter(path, config)
    count = 0
    for batch in batches:
        store = dv.EventStore()
        for t, x, y, p in zip(
            (batch.t // NS_PER_US).tolist(), batch.x.tolist(), batch.y.tolist(), batch.p.tolist()
        ):
            store.push_back(t, x, y, bool(p))
        writer.writeEvents(store)
        count += len(batch)
    del writer  # its destructor writes the table of contents
    return count


_WRITERS = {'.npz': _write_npz, '.aedat4': _write_aedat4}
