"""Frames: what a period of sensor time showed, as an array."""

from typing import List, NamedTuple

import numpy as np

from cs3d_ros.events import _frames
from cs3d_ros.events.batch import EventBatch, check_sensor, check_size
from cs3d_ros.events.periods import PeriodCutter

STILL = 128  # grey level of a pixel without events
DEFAULT_PERIOD_NS = 33_333_333  # 30 frames per second, rounded down to whole ns
LARGEST_PART = 16384  # events a call, so that counts of 16 bits are seen to grow
LONGEST_TAU_NS = 10**15  # eleven days; FADED times as many are still int64
NEVER_NS = np.iinfo(np.int64).min
FADED = 150  # exp of minus this is 0 in float32, and NumPy finds it sooner than that of -inf


class Frame:
    """
    What one period showed.

    Attributes
    ----------
    t_ns : int
        End of the period.
    image : np.ndarray
        Read-only; shape and dtype are told by the stage that made it.
    """

    __slots__ = ('t_ns', 'image')

    def __init__(self, t_ns: int, image: np.ndarray):
        self.t_ns = t_ns
        self.image = image


class _Frames:
    """What all frames of the whole sensor share: a frame per period, also of an empty one."""

    def __init__(self, width: int, height: int, period_ns: int):
        check_size(width, height)
        self.width, self.height = width, height
        self._cutter = PeriodCutter(period_ns)
        self.reset()

    def reset(self):
        """Forget the stream; the next events start a new one."""
        self._cutter.reset()
        self._clear()

    def push(self, batch: EventBatch) -> List[Frame]:
        """
        Take events that follow the earlier ones in time; return the frames they complete.

        Raises
        ------
        ValueError
            If the batch is of another sensor size.
        """
        check_sensor(batch, self.width, self.height, type(self).__name__)
        frames = []
        for cut in self._cutter.push(batch):
            frames += self._close(cut)
            self._add(batch, cut.first, cut.last)
        return frames

    def advance(self, t_ns: int) -> List[Frame]:
        """Return the frames of the periods that end by ``t_ns``: no event before it will come."""
        return self._close(self._cutter.advance(t_ns))

    def _close(self, cut):
        frames = []
        for end_ns in cut.ends_ns:
            image = self._take(end_ns)
            image.flags.writeable = False
            frames.append(Frame(end_ns, image))
        if cut.restart:
            self._clear()
        return frames


class EventFrames(_Frames):
    """
    Event frames of the whole sensor: uint8 (height, width), ``clip(128 + step * (ON - OFF))``.

    Frames without events are all one array.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    period_ns : int
    step : int
        Grey levels per event, 1 to 127.

    Examples
    --------
    >>> frames = EventFrames(346, 260)
    >>> frames.push(EventBatch.empty(346, 260))
    []
    """

    def __init__(
        self, width: int, height: int, period_ns: int = DEFAULT_PERIOD_NS, step: int = 32
    ):
        if not 0 < step < 128:
            raise ValueError('step must be 1 to 127, got {}'.format(step))
        self._step = step
        self._narrow = np.zeros((height, width), np.int16)
        self._still = np.full((height, width), STILL, np.uint8)
        super().__init__(width, height, period_ns)

    def _clear(self):
        self._narrow[:] = 0
        self._counts = self._narrow
        self._is_still = True

    def _add(self, batch, first, last):
        self._is_still = self._is_still and first == last
        for start in range(first, last, LARGEST_PART):
            stop = min(start + LARGEST_PART, last)
            if _frames.count_signed(batch.x, batch.y, batch.p, start, stop, self._counts):
                self._counts = self._counts.astype(np.int32)  # for the rest of the period

    def _take(self, end_ns):
        if self._is_still:
            return self._still
        frame = np.empty((self.height, self.width), np.uint8)
        _frames.take_frame(self._counts, self._step, frame)
        if self._counts is not self._narrow:
            self._narrow[:] = 0
            self._counts = self._narrow
        self._is_still = True
        return frame


class CountFrames(_Frames):
    """
    Events per pixel and polarity: uint16 (2, height, width), OFF first; 65535 means no fewer.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    period_ns : int
    """

    def __init__(self, width: int, height: int, period_ns: int = DEFAULT_PERIOD_NS):
        self._still = np.zeros((2, height, width), np.uint16)
        super().__init__(width, height, period_ns)

    def _clear(self):
        self._counts = None  # made with the first event

    def _add(self, batch, first, last):
        if first == last:
            return
        if self._counts is None:
            self._counts = np.zeros(self._still.shape, np.uint16)
        _frames.count_by_polarity(batch.x, batch.y, batch.p, first, last, self._counts)

    def _take(self, end_ns):
        frame, self._counts = self._counts, None
        return self._still if frame is None else frame


class TimeSurfaces(_Frames):
    """
    Exponential time surface: float32 (2, height, width), OFF first, ``exp(-age / tau)``.

    The age is the time from the newest event of a pixel and polarity to the end of the period; a
    pixel that never fired is 0.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    period_ns : int
    tau_ns : int
        After which a pixel has faded to 37 %.

    Source
    ------
    X. Lagorce et al., "HOTS: A hierarchy of event-based time-surfaces", 2017.
    """

    def __init__(
        self,
        width: int,
        height: int,
        period_ns: int = DEFAULT_PERIOD_NS,
        tau_ns: int = 50_000_000,
    ):
        if not 0 < tau_ns <= LONGEST_TAU_NS:
            raise ValueError('tau_ns must be 1 to {} ns, got {}'.format(LONGEST_TAU_NS, tau_ns))
        self._tau_ns, self._oldest_ns = tau_ns, FADED * int(tau_ns)
        self._times = np.empty((2, height, width), np.int64)
        self._ages = np.empty((2, height, width), np.float32)
        super().__init__(width, height, period_ns)

    def _clear(self):
        self._times[:] = NEVER_NS

    def _add(self, batch, first, last):
        _frames.note_times(batch.x, batch.y, batch.t, batch.p, first, last, self._times)

    def _take(self, end_ns):
        _frames.write_ages(self._times, end_ns, self._tau_ns, self._oldest_ns, self._ages)
        return np.exp(self._ages)  # not in place, which NumPy 1.19 does one by one


class FrameSettings(NamedTuple):
    """How events become a frame; a bundle tells them for its network."""

    size: int = 112  # px, side of the face square in the frame
    period_ns: int = DEFAULT_PERIOD_NS
    step: int = 32  # grey levels per event


def still_frame(size: int) -> np.ndarray:
    """Return the frame (size, size) uint8 of a period without events."""
    return np.full((size, size), STILL, np.uint8)


class SquareAccumulator:
    """
    Event frame of one face square: push the events of a period, then take the frame.

    ``frame = clip(128 + step * (ON - OFF), 0, 255)`` per cell of the upright square.

    Examples
    --------
    >>> from cs3d_ros.face.align import FaceSquare
    >>> accumulator = SquareAccumulator(FrameSettings())
    >>> accumulator.add(EventBatch.empty(346, 260), FaceSquare(173., 130., 112., 0.))
    0
    >>> int(accumulator.take().min())
    128
    """

    def __init__(self, settings: FrameSettings = FrameSettings()):
        if settings.size < 1 or settings.period_ns < 1 or not 0 < settings.step < 128:
            raise ValueError(
                'size and period must be positive, step 1 to 127: {}'.format(settings)
            )
        self._step = settings.step
        self._size = settings.size
        # a cell more than the square has: what falls outside is counted there
        self._counts = np.zeros(settings.size * settings.size + 1, np.int32)

    def add(self, batch: EventBatch, square) -> int:
        """
        Count the events inside a square; return how many those are.

        Parameters
        ----------
        batch : EventBatch
            Events of the present period.
        square : FaceSquare
            ``cx``, ``cy``, ``side`` in sensor pixels (side > 0) and ``roll`` in radians, positive
            when the face's own right-hand x axis points below the sensor's.
        """
        return _frames.count_in_square(
            batch.x,
            batch.y,
            batch.p,
            square.cx,
            square.cy,
            np.cos(square.roll),
            np.sin(square.roll),
            self._size / square.side,
            self._size,
            self._counts,
        )

    def take(self) -> np.ndarray:
        """Return the frame (size, size) uint8 of what was added, and begin the next one."""
        frame = np.empty((self._size, self._size), np.uint8)
        counts = self._counts[:-1].reshape(self._size, self._size)
        _frames.take_frame(counts, self._step, frame)
        return frame


def count_in_cells(batch: EventBatch, cell: int, counts: np.ndarray):
    """
    Add one per event to the square cell of ``cell`` pixels that it falls into.

    Parameters
    ----------
    batch : EventBatch
    cell : int
        Side of a cell in pixels.
    counts : np.ndarray [shape=(ceil(height / cell), ceil(width / cell)), dtype=int32]

    Raises
    ------
    ValueError
        If the counts do not cover the sensor.
    """
    expected = -(-batch.height // cell), -(-batch.width // cell)
    if counts.shape != expected:
        raise ValueError('counts must have shape {}, got {}'.format(expected, counts.shape))
    _frames.count_in_cells(batch.x, batch.y, cell, counts)
