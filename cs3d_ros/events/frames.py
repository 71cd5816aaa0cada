"""Event frames: what the networks read, one per period of sensor time."""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events import _kernels
from cs3d_ros.events.batch import EventBatch

STILL = 128  # grey level of a pixel without events
DEFAULT_PERIOD_NS = 33_333_333  # 30 frames per second, rounded down to whole ns


class FrameSettings(NamedTuple):
    """How events become a frame; a bundle tells them for its network."""

    size: int = 112  # px, side of the face square in the frame
    period_ns: int = DEFAULT_PERIOD_NS
    step: int = 32  # grey levels per event


def period_index(t_ns: int, period_ns: int) -> int:
    """Return the number of the period [index * period_ns, (index + 1) * period_ns) of a time."""
    return int(t_ns) // period_ns


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
        self._counts = np.zeros((settings.size, settings.size), np.int32)

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
        return _kernels.count_in_square(
            batch.x,
            batch.y,
            batch.p,
            square.cx,
            square.cy,
            np.cos(square.roll),
            np.sin(square.roll),
            len(self._counts) / square.side,
            self._counts,
        )

    def take(self) -> np.ndarray:
        """Return the frame (size, size) uint8 of what was added, and begin the next one."""
        frame = np.clip(STILL + self._step * self._counts, 0, 255).astype(np.uint8)
        self._counts[:] = 0
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
    _kernels.count_in_cells(batch.x, batch.y, cell, counts)
