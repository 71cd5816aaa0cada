"""The pixel of an event camera: fires when log intensity has moved by a threshold."""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events.batch import EventBatch
from cs3d_ros.simulator import _kernels

LINEAR_BELOW_DN = 20.0  # below it the logarithm gives way to a line, as in v2e's lin-log
MIN_THRESHOLD = 0.01  # bounds the events of one frame; real thresholds lie above 0.1


class PixelSettings(NamedTuple):
    """Contrast thresholds, in units of natural-log intensity."""

    on_threshold: float = 0.2  # v2e's default; DVS cameras are set to 0.1 to 0.5
    off_threshold: float = 0.2


def log_intensity(frame: np.ndarray) -> np.ndarray:
    """
    Return ln(DN), continued by a line through 0 below 20 DN.

    Parameters
    ----------
    frame : np.ndarray [shape=(height, width), dtype=uint8 or float]
        Intensity in DN, 0 to 255.

    Source: Hu, Liu, Delbruck, v2e: From Video Frames to Realistic DVS Events, 2021, section 4.2.
    """
    frame = frame.astype(np.float64)
    return np.where(
        frame < LINEAR_BELOW_DN,
        frame * (np.log(LINEAR_BELOW_DN) / LINEAR_BELOW_DN),
        np.log(np.maximum(frame, LINEAR_BELOW_DN)),
    )


class PixelModel:
    """
    Ideal event camera: frames in, events out, each with its own interpolated crossing time.

    The first frame sets every pixel's reference and fires nothing. State is kept between frames,
    so what stays below a threshold is not lost.

    Parameters
    ----------
    width, height : int
        Size of the frames and the sensor in pixels.
    settings : PixelSettings

    Raises
    ------
    ValueError
        If a threshold lies below 0.01.

    Examples
    --------
    >>> pixels = PixelModel(1, 1, PixelSettings(0.2, 0.2))
    >>> len(pixels.push(np.full((1, 1), 100.0), 0))
    0
    >>> pixels.push(np.full((1, 1), 100.0 * np.exp(0.5)), 5_000_000).t.tolist()
    [2000000, 4000000]
    """

    def __init__(self, width: int, height: int, settings: PixelSettings = PixelSettings()):
        if not (
            settings.on_threshold >= MIN_THRESHOLD and settings.off_threshold >= MIN_THRESHOLD
        ):
            raise ValueError(
                'contrast thresholds must be at least {}, got {}'.format(MIN_THRESHOLD, settings)
            )
        EventBatch.empty(width, height)  # checks the size
        self.width, self.height = width, height
        self._settings = settings
        self.reset()

    def reset(self):
        """Forget all; the next frame is a first frame."""
        self._reference = self._level = None
        self._time_ns = None

    def push(self, frame: np.ndarray, t_ns: int) -> EventBatch:
        """
        Return the events between the previous frame and this one.

        Parameters
        ----------
        frame : np.ndarray [shape=(height, width), dtype=uint8 or float]
            Intensity in DN, 0 to 255; floats spare the 8-bit steps that make false events.
        t_ns : int
            Time of the frame, later than the previous one's.

        Raises
        ------
        ValueError
            If the shape is another, a value is not finite, or time does not increase.
        """
        if frame.shape != (self.height, self.width):
            raise ValueError(
                'frame must have shape ({}, {}), got {}'.format(
                    self.height, self.width, frame.shape
                )
            )
        level = log_intensity(frame)
        if not np.isfinite(level).all():
            raise ValueError('frame holds NaN or infinity: intensities must be 0 to 255 DN')
        if self._level is None:
            self._reference, self._level, self._time_ns = level.copy(), level, int(t_ns)
            return EventBatch.empty(self.width, self.height)
        if t_ns <= self._time_ns:
            raise ValueError(
                'frame times must increase: {} ns after {} ns'.format(t_ns, self._time_ns)
            )
        thresholds = self._settings.on_threshold, self._settings.off_threshold
        count = _kernels.count_crossings(level, self._reference, *thresholds)
        x, y = (np.empty(count, np.uint16) for _ in 'xy')
        t, p = np.empty(count, np.int64), np.empty(count, np.uint8)
        _kernels.fire(
            self._level, level, self._reference, *thresholds, self._time_ns, int(t_ns), x, y, t, p
        )
        self._level, self._time_ns = level, int(t_ns)
        order = np.argsort(t, kind='stable')
        return EventBatch.trusted(x[order], y[order], t[order], p[order], self.width, self.height)
