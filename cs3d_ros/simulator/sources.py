"""Where grey frames and their times come from: a video file, a folder of images, a camera."""

import os
import re
import sys
import time
from glob import glob
from typing import Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from cs3d_ros import Cs3dError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.pgm', '.ppm', '.webp')
WHITE_DN = 255.0
WHITE_16_BIT = 65535.0
BRIGHTEST = 16.0  # times white, of float images: four stops of highlights
SLOWEST_HZ, FASTEST_HZ = 0.1, 1e5
STAMP_MS = 1.1  # two stamps in whole milliseconds, as Matroska has, are this far off at most


class VideoError(Cs3dError):
    """A video that cannot be read as one."""


class VideoInfo(NamedTuple):
    """What is known of a video before it is read."""

    width: int
    height: int
    fps: float  # on average; 0 where it is not known
    frame_count: int  # 0 where it is not known

    @property
    def end_ns(self) -> int:
        """Time of the last frame, as far as is known."""
        return round(max(self.frame_count - 1, 0) * 1e9 / self.fps) if self.fps else 0


class FrameSource:
    """
    Grey frames with their times from the first frame on, in order; ``with`` closes the source.

    Iterate once. A frame is uint8, or float32 in DN of 0 to 255 where the source has more than
    8 bits. Times increase, the first is 0. A child sets ``name`` and ``info``, and yields frames
    from ``_frames``.

    Raises
    ------
    VideoError
        On the way: at a frame of another size, or at the end if there were fewer than two.
    """

    name = ''
    info = VideoInfo(0, 0, 0.0, 0)

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self) -> Iterator[Tuple[np.ndarray, int]]:
        count, last_ns = 0, -1
        for frame, t_ns in self._frames():
            if frame.shape != (self.info.height, self.info.width):
                raise VideoError(
                    '{} changes its size from {} x {} to {} x {} at frame {}: split or scale it '
                    'first'.format(self.name, *self.info[:2], *frame.shape[::-1], count)
                )
            if t_ns <= last_ns:
                raise VideoError(
                    '{} tells times that do not increase, {:.3f} ms after {:.3f} ms at frame {}: '
                    'write it anew with a constant rate, ffmpeg -i IN -r 30 OUT.mp4'.format(
                        self.name, t_ns * 1e-6, last_ns * 1e-6, count
                    )
                )
            yield frame, t_ns
            count, last_ns = count + 1, t_ns
        if count < 2:
            raise VideoError(
                '{} holds {} readable frame(s), and events need at least two: is it whole?'.format(
                    self.name, count
                )
            )

    def _frames(self) -> Iterator[Tuple[np.ndarray, int]]:
        raise NotImplementedError


class Video(FrameSource):
    """
    A video file.

    Times are those of the container where they vary; a constant rate gives exact ones, to which
    the container's are rounded. Frames are 8 bit, whatever the file holds.

    Raises
    ------
    VideoError
        If the file does not open or holds no frame.
    """

    def __init__(self, path: str):
        self.name = str(path)
        if not os.path.isfile(self.name):
            raise VideoError('{} is not there: is the path right?'.format(path))
        # a name with a colon, as in a time, would be taken for a protocol
        self._capture = cv2.VideoCapture(os.path.abspath(self.name))
        is_read, frame = self._capture.read()
        if not is_read:
            raise VideoError(
                '{} does not open as a video: is the path right, and is it a format that OpenCV '
                'reads (mp4, avi, mkv, mpg)?'.format(path)
            )
        self._first = frame, self._capture.get(cv2.CAP_PROP_POS_MSEC)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.info = VideoInfo(
            frame.shape[1],
            frame.shape[0],
            fps if SLOWEST_HZ <= fps <= FASTEST_HZ else 0.0,
            # what a container without a count makes of it may be far below zero
            max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))),
        )

    def __exit__(self, *_):
        self._capture.release()

    def _frames(self):
        frame, first_ms = self._first
        times = _FrameTimes(self.name, self.info.fps, first_ms)
        is_read, stamp_ms = True, first_ms
        while is_read:
            yield _grey(frame), times.of_next(stamp_ms)
            is_read, frame = self._capture.read()
            stamp_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)


class _FrameTimes:
    """Times of one file's frames: a constant rate until the container's stamps leave it."""

    def __init__(self, name: str, fps: float, first_ms: float):
        self._name, self._fps, self._first_ms = name, fps, first_ms
        self._is_constant = fps > 0
        self._count = self._last_ns = self._step_ns = 0

    def of_next(self, stamp_ms: float) -> int:
        elapsed_ms = stamp_ms - self._first_ms
        t_ns = self._time(elapsed_ms)
        self._step_ns, self._last_ns = t_ns - self._last_ns, t_ns
        self._count += 1
        return t_ns

    def _time(self, elapsed_ms):
        if not self._count:
            return 0
        # OpenCV up to 4.6 has no stamps for the last frames of codecs that reorder them
        has_stamp = elapsed_ms > 0
        if self._is_constant:
            grid_ms = self._count * 1e3 / self._fps
            if not has_stamp or abs(elapsed_ms - grid_ms) <= STAMP_MS:
                return round(self._count * 1e9 / self._fps)
            self._is_constant = False
        if has_stamp:
            return round(elapsed_ms * 1e6)
        if not self._step_ns:
            raise VideoError(
                '{} tells neither times nor a frame rate: write it anew with one, '
                'ffmpeg -r 30 -i IN OUT.mp4'.format(self._name)
            )
        return self._last_ns + self._step_ns


class ImageFolder(FrameSource):
    """
    The images of a folder, in the order of their names, numbers in them by value.

    8 bit values are DN as they are, 16 bit ones are divided by 257 and floats, in which 1 is
    white, multiplied by 255. Colours become grey. Files that are no images are left alone.

    Parameters
    ----------
    path : str
    fps : float
        Images per second, for images tell no times.

    Raises
    ------
    VideoError
        If there is no image or no rate; on the way if an image is damaged or of another type.
    """

    def __init__(self, path: str, fps: Optional[float] = None):
        self.name = str(path)
        try:
            names = os.listdir(self.name)
        except OSError as error:
            raise VideoError('{} cannot be read: {}'.format(path, error.strerror)) from error
        names = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        self._paths = [
            os.path.join(self.name, name)
            for name in sorted(names, key=_natural)
            if not name.startswith('.')
        ]
        if not self._paths:
            raise VideoError(
                '{} holds no images: name a folder of {}'.format(path, ', '.join(IMAGE_SUFFIXES))
            )
        if fps is None:
            raise VideoError(
                '{} is a folder of images, which tell no times: give their rate, --fps HZ'.format(
                    path
                )
            )
        if not SLOWEST_HZ <= fps <= FASTEST_HZ:
            raise VideoError(
                '--fps must be {:g} to {:g} Hz, got {}'.format(SLOWEST_HZ, FASTEST_HZ, fps)
            )
        height, width = read_image(self._paths[0]).shape
        self.info = VideoInfo(width, height, float(fps), len(self._paths))

    def _frames(self):
        for index, path in enumerate(self._paths):
            yield read_image(path), round(index * 1e9 / self.info.fps)


def _natural(name: str):
    return [int(word) if word.isdigit() else word for word in re.split('([0-9]+)', name)]


def read_image(path: str) -> np.ndarray:
    """
    Return an image as grey DN: uint8, or float32 where it has more than 8 bits.

    Raises
    ------
    VideoError
        If it cannot be read, holds NaN or infinity, or values that are no intensities.
    """
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise VideoError('{} does not open as an image: is it whole?'.format(path))
    if image.dtype == np.uint8:
        return _grey(image)
    if image.dtype == np.uint16:
        return _grey(image.astype(np.float32)) * np.float32(WHITE_DN / WHITE_16_BIT)
    if image.dtype.kind != 'f':
        raise VideoError(
            '{} holds {} values: 8 or 16 bits without sign, or floats of 0 to 1 are read'.format(
                path, image.dtype
            )
        )
    image = _grey(image.astype(np.float32))
    if not np.isfinite(image).all():
        raise VideoError('{} holds NaN or infinity: replace it with a number'.format(path))
    if image.min() < 0 or image.max() > BRIGHTEST:
        raise VideoError(
            '{} holds values of {:.6g} to {:.6g}: in float images 0 is black and 1 is white, '
            'divide by the white'.format(path, image.min(), image.max())
        )
    return image * np.float32(WHITE_DN)


def _grey(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY)


class Camera(FrameSource):
    """
    A camera of this machine; times are when its frames came, by the steady clock.

    Parameters
    ----------
    index : int
        As the system numbers its cameras, from 0.

    Raises
    ------
    VideoError
        If there is none of this number; on the way when it sends nothing any more.
    """

    def __init__(self, index: int):
        self.name = 'camera {}'.format(index)
        present = sorted(glob('/dev/video*'))
        is_there = not sys.platform.startswith('linux') or '/dev/video{}'.format(index) in present
        is_read = False
        if is_there:  # else OpenCV would add words of its own to ours
            self._capture = cv2.VideoCapture(int(index))
            is_read, frame = self._capture.read()
        if not is_read:
            raise VideoError(
                '{} does not open, and this machine has {}: is it plugged in, free, and may you '
                'read it (group video)?'.format(self.name, ', '.join(present) or 'no camera')
            )
        self.info = VideoInfo(frame.shape[1], frame.shape[0], 0.0, 0)

    def __exit__(self, *_):
        self._capture.release()

    def _frames(self):
        start_ns, count = None, 0
        while True:
            is_read = self._capture.grab()
            now_ns = int(time.monotonic() * 1e9)
            start_ns = now_ns if start_ns is None else start_ns
            is_read, frame = self._capture.retrieve() if is_read else (False, None)
            if not is_read:
                raise VideoError(
                    '{} sends nothing any more after {} frames: is it still plugged in?'.format(
                        self.name, count
                    )
                )
            yield _grey(frame), now_ns - start_ns
            count += 1


def camera_index(source: str) -> Optional[int]:
    """
    Return the number of the camera that a source names, or None if it names a file.

    Examples
    --------
    >>> camera_index('/dev/video2'), camera_index('0'), camera_index('face.mp4')
    (2, 0, None)
    """
    found = re.match(r'(?:/dev/video)?([0-9]{1,4})$', str(source))
    if not found or os.path.isfile(str(source)) or os.path.isdir(str(source)):
        return None
    return int(found.group(1))


def open_frames(source: str, fps: Optional[float] = None) -> FrameSource:
    """
    Open a video file, a folder of images or, by its number, a camera.

    Parameters
    ----------
    source : str
    fps : float, optional
        Of a folder of images; the others tell their times.

    Raises
    ------
    VideoError
        If it cannot be read.
    """
    index = camera_index(source)
    if os.path.isdir(str(source)):
        return ImageFolder(source, fps)
    if fps is not None:
        raise VideoError('--fps is for folders of images: {} tells its times'.format(source))
    return Video(source) if index is None else Camera(index)
