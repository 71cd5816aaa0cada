"""Video files as grey frames with times, and as events."""

import os
from typing import Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventBatch, Recording, RecordingError, open_recording
from cs3d_ros.events.recordings import identify
from cs3d_ros.simulator.pixel import PixelModel, PixelSettings


class VideoError(Cs3dError):
    """A video that cannot be read as one."""


class VideoInfo(NamedTuple):
    """What the container says of a video."""

    width: int
    height: int
    fps: float
    frame_count: int  # 0 where the container does not tell


class Video:
    """
    Grey frames of a video file, in order, with their times from the first frame on.

    Iterate once; ``with`` closes the file.

    Raises
    ------
    VideoError
        If the file does not open, has no frame rate, or holds fewer than two frames.
    """

    def __init__(self, path: str):
        self._path = str(path)
        if not os.path.isfile(self._path):
            raise VideoError('{} is not there: is the path right?'.format(path))
        self._capture = cv2.VideoCapture(self._path)
        if not self._capture.isOpened():
            raise VideoError(
                '{} does not open as a video: is the path right, and is it a format that OpenCV '
                'reads (mp4, avi, mkv, mpg)?'.format(path)
            )
        get = self._capture.get
        self.info = VideoInfo(
            int(get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(get(cv2.CAP_PROP_FRAME_HEIGHT)),
            get(cv2.CAP_PROP_FPS),
            max(0, int(get(cv2.CAP_PROP_FRAME_COUNT))),
        )
        if not (0.1 < self.info.fps < 1e5):
            raise VideoError(
                '{} tells a frame rate of {}: re-encode it with a constant one'.format(
                    path, self.info.fps
                )
            )

    def __enter__(self) -> 'Video':
        return self

    def __exit__(self, *_):
        self._capture.release()

    def __iter__(self) -> Iterator[Tuple[np.ndarray, int]]:
        count = 0
        while True:
            is_read, frame = self._capture.read()
            if not is_read:
                break
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), round(count * 1e9 / self.info.fps)
            count += 1
        if count < 2:
            raise VideoError(
                '{} holds {} readable frame(s), and events need at least two: is the '
                'file whole?'.format(self._path, count)
            )


def simulate_video(
    path: str, size: Optional[Tuple[int, int]] = None, settings: PixelSettings = PixelSettings()
) -> Iterator[EventBatch]:
    """
    Return the events of a video, a batch per frame after the first.

    Parameters
    ----------
    path : str
        Video file.
    size : (int, int), optional
        Width and height of the sensor in pixels; the video's own by default.
    settings : PixelSettings

    Raises
    ------
    VideoError
        If the file is no video of at least two frames.
    """
    with Video(path) as video:
        width, height = size or video.info[:2]
        pixels = PixelModel(width, height, settings)
        for frame, t_ns in video:
            if frame.shape != (height, width):
                frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            batch = pixels.push(frame, t_ns)
            if t_ns:
                yield batch


class _SimulatedRecording(Recording):
    """A video behind the interface of a recording: its events are made while it is read."""

    kind = 'video'

    def __init__(self, path, settings):
        with Video(path) as video:
            info = video.info
        self._settings = settings
        end_ns = round(max(info.frame_count - 1, 0) * 1e9 / info.fps)
        super().__init__(path, info.width, info.height, 0, end_ns)

    def _packets(self, start_ns):
        for batch in simulate_video(self.path, settings=self._settings):
            if len(batch):
                self.progress = min(1.0, int(batch.t[-1]) / max(1, self.end_ns))
            yield batch.x, batch.y, batch.t, batch.p


def open_source(path: str, settings: PixelSettings = PixelSettings()) -> Recording:
    """
    Open an event recording, or a video as if an event camera had watched it.

    Raises
    ------
    RecordingError, VideoError
        If the file is neither.
    """
    if identify(path) or not os.path.isfile(str(path)):
        return open_recording(path)
    try:
        return _SimulatedRecording(path, settings)
    except VideoError as video_error:
        try:
            return open_recording(path)  # which tells what the file looks like
        except RecordingError as error:
            raise RecordingError('{}; nor as a video: {}'.format(error, video_error)) from error
