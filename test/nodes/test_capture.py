"""How the webcam keeps the newest frame; without ROS."""

import threading
import time

import numpy as np
import pytest

from cs3d_ros.nodes.capture import Capture
from cs3d_ros.simulator import FrameSource, VideoError, VideoInfo

STEP_NS = 20_000_000


class Clip(FrameSource):
    """Frames whose grey is their number; what breaks does so at the end."""

    name = 'clip'
    info = VideoInfo(4, 3, 50.0, 0)

    def __init__(self, count, error=None):
        self._count, self._error = count, error

    def _frames(self):
        for index in range(self._count):
            yield np.full((3, 4), index, np.float32), index * STEP_NS
        if self._error:
            raise self._error


def numbers(capture, work_s=0.0):
    seen = []
    for frame, t_ns in capture:
        assert t_ns == int(frame[0, 0]) * STEP_NS
        seen.append(int(frame[0, 0]))
        time.sleep(work_s)  # as a slow machine would
    return seen


def test_quick_reader_gets_every_frame_in_its_time():
    begin_s = time.monotonic()
    with Capture(Clip(10), threading.Event()) as capture:
        assert numbers(capture) == list(range(10))
    assert 0.17 < time.monotonic() - begin_s < 1.0
    assert (capture.frames, capture.dropped, capture.time_ns) == (10, 0, 9 * STEP_NS)


def test_slow_reader_gets_the_newest_and_the_others_are_counted():
    begin_s = time.monotonic()
    with Capture(Clip(20), threading.Event()) as capture:
        seen = numbers(capture, 0.09)
    assert seen == sorted(set(seen))
    assert 2 <= len(seen) <= 8
    assert capture.frames == 20
    assert capture.dropped == 20 - len(seen)
    assert time.monotonic() - begin_s < 1.5  # it lags by no more than the work of one frame


def test_what_breaks_is_raised_after_what_was_whole():
    with Capture(Clip(3, VideoError('unplugged')), threading.Event()) as capture:
        heard = iter(capture)
        with pytest.raises(VideoError, match='unplugged'):
            while True:
                next(heard)
    assert capture.frames == 3


def test_stop_ends_the_iteration_at_once():
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    begin_s = time.monotonic()
    with Capture(Clip(500), stop) as capture:
        numbers(capture)
    assert time.monotonic() - begin_s < 1.0


def test_leaving_ends_the_thread():
    with Capture(Clip(500), threading.Event()) as capture:
        next(iter(capture))
    assert capture.frames < 100
