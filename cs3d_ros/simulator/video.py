"""Videos as an event camera would see them: as events, and behind the interface of a recording."""

import os
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from cs3d_ros.events import EventBatch, Recording, RecordingError, concatenate, open_recording
from cs3d_ros.events.recordings import identify
from cs3d_ros.simulator.pixel import PixelModel, PixelSettings
from cs3d_ros.simulator.sources import FrameSource, ImageFolder, Video, VideoError, open_frames
from cs3d_ros.simulator.upsample import AUTO, Upsampler


class EventCamera:
    """
    A sensor before frames of any size and rate: scaled to it, upsampled, watched by its pixels.

    Parameters
    ----------
    width, height : int
        Of the sensor in pixels; frames of another size are scaled to it.
    settings : PixelSettings
    seed : int
        Of the pixel model.
    upsample : int
        Frames made of each, as `Upsampler` takes it: AUTO, OFF or a number.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    def __init__(
        self,
        width: int,
        height: int,
        settings: PixelSettings = PixelSettings(),
        seed: int = 0,
        upsample: int = AUTO,
    ):
        self.width, self.height = width, height
        self._pixels = PixelModel(width, height, settings, seed)
        self._upsampler = Upsampler(upsample)

    def push(self, frame: np.ndarray, t_ns: int) -> EventBatch:
        """
        Return the events between the last frame and this one; none for the first.

        Parameters
        ----------
        frame : np.ndarray [dtype=uint8 or float]
            Grey, DN, 0 to 255.
        t_ns : int
            Later than the last one's.

        Raises
        ------
        ValueError
            If the frame or its time is none that a `PixelModel` takes.
        """
        if frame.shape != (self.height, self.width):
            is_smaller = self.width < frame.shape[1] and self.height < frame.shape[0]
            frame = cv2.resize(
                frame,
                (self.width, self.height),
                interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR,
            )
        try:
            pairs = self._upsampler.push(frame, t_ns)
            return concatenate([self._pixels.push(*pair) for pair in pairs])
        except ValueError:
            self._upsampler.reset()  # what was refused is no neighbour of the next frame
            raise


def simulate_video(
    source: str,
    size: Optional[Tuple[int, int]] = None,
    settings: PixelSettings = PixelSettings(),
    seed: int = 0,
    fps: Optional[float] = None,
    upsample: int = AUTO,
) -> Iterator[EventBatch]:
    """
    Return the events of a video, a batch per frame after the first.

    Parameters
    ----------
    source : str
        Video file, folder of images, or number of a camera.
    size : (int, int), optional
        Width and height of the sensor in pixels, to which the frames are scaled; the video's own
        by default.
    settings : PixelSettings
    seed : int
        Of the pixel model.
    fps : float, optional
        Of a folder of images.
    upsample : int
        Frames made of each, as `Upsampler` takes it.

    Raises
    ------
    VideoError
        If the source is no video of at least two frames.
    """
    with open_frames(source, fps) as frames:
        yield from simulate_frames(frames, size, settings, seed, upsample)


def simulate_frames(
    frames: FrameSource,
    size: Optional[Tuple[int, int]] = None,
    settings: PixelSettings = PixelSettings(),
    seed: int = 0,
    upsample: int = AUTO,
) -> Iterator[EventBatch]:
    """Return the events of an open source, as `simulate_video` does of a closed one."""
    camera = EventCamera(*(size or frames.info[:2]), settings, seed, upsample)
    for frame, t_ns in frames:
        batch = camera.push(frame, t_ns)
        if t_ns:
            yield batch


class _SimulatedRecording(Recording):
    """A video behind the interface of a recording: its events are made while it is read."""

    kind = 'video'

    def __init__(self, path, settings):
        with Video(path) as video:
            info = video.info
        self._settings = settings
        super().__init__(path, info.width, info.height, 0, info.end_ns)

    def _packets(self, start_ns):
        for batch in simulate_video(self.path, settings=self._settings):
            if len(batch):
                self.progress = min(1.0, int(batch.t[-1]) / max(1, self.end_ns))
            yield batch


def open_source(path: str, settings: PixelSettings = PixelSettings()) -> Recording:
    """
    Open an event recording, or a video as if an event camera had watched it.

    Raises
    ------
    RecordingError, VideoError
        If the file is neither.
    """
    path = str(path)
    if os.path.isdir(path):
        return _open_folder(path)
    if identify(path) or not os.path.isfile(path):
        return open_recording(path)
    try:
        return _SimulatedRecording(path, settings)
    except VideoError as video_error:
        try:
            return open_recording(path)  # which tells what the file looks like
        except RecordingError as error:
            raise RecordingError('{}; nor as a video: {}'.format(error, video_error)) from error


def _open_folder(path):
    """Return the bag that a folder is; images tell no times, and so make no recording."""
    try:
        return open_recording(path)
    except RecordingError:
        try:
            ImageFolder(path, 1.0)
        except VideoError:
            pass
        else:
            raise VideoError(
                '{0} is a folder of images, which tell no times: make events of them first, '
                'cs3d simulate {0} --fps HZ -o FILE'.format(path)
            ) from None
        raise
