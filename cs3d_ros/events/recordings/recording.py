"""What all recordings share: passes over checked events, cut into batches, seek, progress."""

import os
from typing import Iterable, Iterator, Optional

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events.batch import COLUMN_TYPES, MAX_SIDE, NO_TIME, EventBatch, join, keep_valid
from cs3d_ros.events.codecs import CLOCK_RESET_NS

DEFAULT_BATCH_NS = 10_000_000
NS_PER_US = 1000
LAST_NS = np.iinfo(np.int64).max
WIDEST = MAX_SIDE - 1  # px; so that as a coordinate it lies outside of every sensor


class RecordingError(Cs3dError):
    """A file that cannot be read, or written, as a recording."""


class Recording:
    """
    Events of one file, iterated in batches of absolute time; ``with`` closes the file.

    A format derives from it: its constructor hands over what the file tells without being read to
    the end, and ``_packets`` yields the events. Every pass opens the file anew.

    Attributes
    ----------
    path, kind : str
        Where it lies, and its format, such as ``aedat4``.
    width, height : int
        Sensor size in pixels.
    start_ns : int
        Sensor time of the first event.
    end_ns, count : int or None
        Sensor time of the last event and number of events; None where only reading all tells.
    progress : float
        Share of the file that the present pass has read, 0 to 1.
    out_of_bounds, time_reversed : int
        Events that the last pass dropped, by reason.
    malformed : int
        Messages that the last pass left out because they are none.
    clock_resets : int
        Times that the last pass met a clock that began anew, as after a restart of the camera: a
        whole packet more than a second back. From there on times are shifted so that they go on.
    is_cut : bool
        Whether the last pass met the end of the file in the middle of an event or packet, as when
        a recorder was killed; all before it was handed on.
    """

    kind = ''
    progress = 0.0
    out_of_bounds = time_reversed = malformed = clock_resets = 0
    is_cut = False

    def __init__(
        self,
        path: str,
        width: int,
        height: int,
        start_ns: int,
        end_ns: Optional[int] = None,
        count: Optional[int] = None,
    ):
        check_size(path, width, height)
        self.path = str(path)
        self.width, self.height = int(width), int(height)
        self.start_ns = int(start_ns)
        self.end_ns = None if end_ns is None else int(end_ns)
        self.count = None if count is None else int(count)
        self._start_pass()

    def _start_pass(self):
        self.progress, self.is_cut = 0.0, False
        self.out_of_bounds = self.time_reversed = self.malformed = self.clock_resets = 0

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(self, *_):
        pass

    @property
    def duration_ns(self) -> Optional[int]:
        """Time from the first to the last event; None where ``end_ns`` is."""
        return None if self.end_ns is None else self.end_ns - self.start_ns

    def _packets(self, start_ns: Optional[int]):
        """
        Yield (x, y, t_ns, p) arrays of integers in the order of the file, up to 1 M events each.

        Or batches, each of one packet, of which nothing is to be checked but that they follow each
        other in time. Columns have no packets, so in them no clock begins anew.
        ``start_ns`` allows a format with an index to leave out packets that end before it; what is
        too early all the same is dropped here. Sets ``progress`` and ``is_cut`` on the way.
        """
        raise NotImplementedError

    def _readable(self, packets):
        """Yield what comes; the file may have become unreadable since it was opened."""
        try:
            yield from packets
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _valid(self, start_ns, end_ns) -> Iterator[EventBatch]:
        self._start_pass()
        last_ns = NO_TIME
        for packet in self._on_one_clock(self._readable(self._packets(start_ns))):
            batch = self._checked(packet, last_ns)
            if not len(batch):
                continue
            last_ns = int(batch.t[-1])
            if start_ns is not None and batch.t[0] < start_ns:
                batch = batch[int(np.searchsorted(batch.t, start_ns)) :]
            if end_ns is not None and last_ns >= end_ns:
                yield batch[: int(np.searchsorted(batch.t, end_ns))]
                break
            yield batch
        self.progress = 1.0

    def _on_one_clock(self, packets):
        """Yield what comes, with times that go on where a packet is one of a new clock."""
        last_ns, shift_ns = NO_TIME, 0
        for packet in packets:
            if isinstance(packet, EventBatch) and len(packet):
                start_ns, end_ns = (int(t) + shift_ns for t in (packet.t[0], packet.t[-1]))
                if end_ns < last_ns and start_ns < last_ns - CLOCK_RESET_NS:
                    self.clock_resets += 1
                    shift_ns += last_ns - start_ns
                    end_ns += last_ns - start_ns
                if shift_ns:
                    packet = _shifted(self.path, packet, shift_ns)
                last_ns = max(last_ns, end_ns)
            yield packet

    def _checked(self, packet, last_ns) -> EventBatch:
        if isinstance(packet, EventBatch):
            if not len(packet) or packet.t[0] >= last_ns:
                return packet
            packet = packet.x, packet.y, packet.t, packet.p
        x, y, t, p = packet
        batch, outside, backwards = keep_valid(
            _coordinates(x), _coordinates(y), t, _polarities(p), self.width, self.height, last_ns
        )
        self.out_of_bounds += outside
        self.time_reversed += backwards
        return batch

    def batches(
        self,
        duration_ns: Optional[int] = None,
        count: Optional[int] = None,
        start_ns: Optional[int] = None,
        end_ns: Optional[int] = None,
    ) -> Iterator[EventBatch]:
        """
        Yield the events in batches; none is empty.

        Parameters
        ----------
        duration_ns : int, optional
            Cut at multiples of it; 10 ms unless ``count`` is given.
        count : int, optional
            Cut after so many events.
        start_ns, end_ns : int, optional
            Only events with ``start_ns <= t < end_ns``. A format with an index goes there at once,
            another one is read up to there.

        Raises
        ------
        RecordingError
            If the file turns out to be damaged, or becomes unreadable, on the way.
        """
        for name, value in (('duration_ns', duration_ns), ('count', count)):
            if value is not None and value < 1:
                raise ValueError('{} must be positive, got {}'.format(name, value))
        if duration_ns is None and count is None:
            duration_ns = DEFAULT_BATCH_NS
        return cut(self._valid(start_ns, end_ns), duration_ns, count)


def unreadable(path: str, error: OSError) -> RecordingError:
    """Return the error to raise where the system refuses to read a file."""
    return RecordingError(
        '{} cannot be read: {}: is it still there, and may you read it?'.format(
            path, error.strerror or error
        )
    )


def check_size(path: str, width: int, height: int) -> None:
    """Raise a RecordingError where no sensor has such a size."""
    if not (0 < width <= WIDEST and 0 < height <= WIDEST):
        raise RecordingError(
            '{} tells a sensor of {} x {}: the file is damaged'.format(path, width, height)
        )


def check_written_size(path: str, width: int, height: int, widest: int = WIDEST) -> None:
    """Raise a RecordingError where a format cannot tell such a size."""
    if not (0 < width <= widest and 0 < height <= widest):
        raise RecordingError(
            '{} cannot tell a sensor of {} x {}, 1 to {} expected: crop the events, or choose '
            'another format'.format(os.path.basename(path), width, height, widest)
        )


def cut(
    batches: Iterable[EventBatch], duration_ns: Optional[int] = None, count: Optional[int] = None
) -> Iterator[EventBatch]:
    """
    Yield the same events, cut anew at multiples of a duration, after a count, or at both.

    Parameters
    ----------
    batches : iterable of EventBatch
        Of one sensor, following each other in time.
    duration_ns, count : int, optional
        At least one of them, positive.
    """
    held, size, edge_ns = [], 0, LAST_NS
    for batch in batches:
        first = 0
        while first < len(batch):
            if not held and duration_ns:
                edge_ns = (int(batch.t[first]) // duration_ns + 1) * duration_ns
            last = len(batch)
            if batch.t[-1] >= edge_ns:
                last = first + int(np.searchsorted(batch.t[first:], edge_ns))
            if count:
                last = min(last, first + count - size)
            if last > first:
                held.append(batch[first:last])
                size += last - first
            first = last
            if size == count or first < len(batch):
                yield join(held)
                held, size = [], 0
    if held:
        yield join(held)


def _shifted(path, batch, shift_ns):
    if shift_ns + max(0, int(batch.t[-1])) > LAST_NS:
        raise RecordingError(
            '{} is damaged: its clock begins anew after times beyond 146 years'.format(path)
        )
    return EventBatch.trusted(
        batch.x, batch.y, batch.t + shift_ns, batch.p, batch.width, batch.height
    )


def _coordinates(column):
    """Return uint16; what does not fit must end outside the sensor, not wrap around into it."""
    if column.dtype == COLUMN_TYPES['x']:
        return column
    return np.where((column < 0) | (column >= MAX_SIDE), WIDEST, column).astype(np.uint16)


def _polarities(column):
    """Return 1 where positive: some files write OFF as -1."""
    return column if column.dtype == COLUMN_TYPES['p'] else column > 0


def to_ns(path: str, t: np.ndarray, unit_ns: int = NS_PER_US) -> np.ndarray:
    """
    Return times in ns, given in another unit, as int64.

    Raises
    ------
    RecordingError
        If a time does not fit.
    """
    limit = LAST_NS // unit_ns
    if len(t) and not (-limit <= int(t.min()) and int(t.max()) <= limit):
        raise RecordingError(
            '{} is damaged: it tells times of {} to {} x {} ns'.format(
                path, t.min(), t.max(), unit_ns
            )
        )
    return t.astype(np.int64) * unit_ns
