"""Frames as they come, the newest first and the others dropped; no ROS in here."""

import threading
import time
from typing import Iterator, Tuple

import numpy as np

from cs3d_ros.simulator import Camera, FrameSource


class Capture:
    """
    The newest frame of a source, read by a thread while earlier ones are worked on.

    A camera sets the pace; a file is read at the pace of its times. ``with`` ends the thread.

    Parameters
    ----------
    source : FrameSource
        What it raises comes out of the iteration, at its place.
    stop : threading.Event
        Ends the iteration.

    Attributes
    ----------
    frames, dropped : int
        How many came, and how many of them nobody took before the next one.
    time_ns : int
        Of the last one.
    """

    def __init__(self, source: FrameSource, stop: threading.Event):
        self._source, self._stop = source, stop
        self._is_live = isinstance(source, Camera)
        self._newest = self._error = None
        self._is_done = self._is_closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._read, name='capture', daemon=True)
        self.frames = self.dropped = self.time_ns = 0

    def __enter__(self) -> 'Capture':
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_closed = True
        self._thread.join()

    def __iter__(self) -> Iterator[Tuple[np.ndarray, int]]:
        while not self._stop.is_set():
            with self._change:
                # now and then, since the event to stop wakes nobody here
                if not self._change.wait_for(lambda: self._newest or self._is_done, 0.1):
                    continue
                pair, self._newest = self._newest, None
            if pair is None:
                if self._error is not None:
                    raise self._error
                return
            yield pair

    def _read(self) -> None:
        start_s = None
        try:
            for frame, t_ns in self._source:
                start_s = time.monotonic() if start_s is None else start_s
                if not self._is_live:
                    self._stop.wait(max(0.0, start_s + t_ns * 1e-9 - time.monotonic()))
                if self._stop.is_set() or self._is_closed:
                    return
                with self._change:
                    self.frames += 1
                    self.dropped += self._newest is not None
                    self._newest, self.time_ns = (frame, t_ns), t_ns
                    self._change.notify_all()
        except Exception as error:  # the edge of the thread
            self._error = error
        finally:
            with self._change:
                self._is_done = True
                self._change.notify_all()
