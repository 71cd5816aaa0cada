"""The grey pictures of a sample with their times, of a video or of a folder of numbered files."""

from pathlib import Path
from typing import Iterator

import cv2
import numpy as np

from cs3d_ros.simulator import Video
from training.data.corpora.samples import MisfitError, Sample, list_pictures, picture_number

MOST_PICTURES = 20_000  # of a clip: 100 s at 200 Hz
LARGEST_SIDE = 8192  # px


class Pictures:
    """
    Grey pictures (height, width) uint8 of a sample, with their times in ns from the first one on.

    May be gone through several times; every pass reads the files anew.

    Raises
    ------
    MisfitError
        While it is gone through: if a picture cannot be read or has another size, or if there
        are fewer than two, or too many.
    """

    def __init__(self, read, span_s):
        self._read, self._span_s = read, span_s

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        first_ns, size, count = None, None, 0
        start_ns, end_ns = ((None if t is None else t * 1e9) for t in self._span_s or (0.0, None))
        for picture, t_ns in self._read():
            if t_ns < start_ns:
                continue
            if end_ns is not None and t_ns >= end_ns:
                break
            size = size or picture.shape
            count += 1
            self._check(picture, size, count)
            first_ns = t_ns if first_ns is None else first_ns
            yield picture, t_ns - first_ns
        if count < 2:
            raise MisfitError('events need at least two pictures, found {}'.format(count))

    def _check(self, picture, size, count):
        if picture.shape != size:
            raise MisfitError(
                'picture {} has {} x {} pixels, those before {} x {}'.format(
                    count, *picture.shape[::-1], *size[::-1]
                )
            )
        if max(size) > LARGEST_SIDE or count > MOST_PICTURES:
            raise MisfitError(
                'more than {} pictures, or above {} px: cut it by start and end in a '
                'manifest'.format(MOST_PICTURES, LARGEST_SIDE)
            )


def open_pictures(sample: Sample) -> Pictures:
    """Return the pictures of a sample; MisfitError if it is neither video nor pictures."""
    if sample.path.is_dir():
        if sample.fps is None:
            raise MisfitError('a folder of pictures needs fps in the manifest')
        return Pictures(lambda: _read_folder(sample.path, sample.fps), sample.span_s)
    return Pictures(lambda: _read_video(sample.path, sample.fps), sample.span_s)


def _read_video(path: Path, fps):
    with Video(str(path)) as video:
        stretch = 1.0 if fps is None else video.info.fps / fps
        for picture, t_ns in video:
            yield picture, round(t_ns * stretch)


def _read_folder(folder: Path, fps):
    paths = list_pictures(folder)
    numbers = [picture_number(path) for path in paths]
    if None in numbers:
        raise MisfitError('the names of the pictures do not end in numbers')
    for before, after in zip(numbers, numbers[1:]):
        if after != before + 1:
            raise MisfitError('picture {} is followed by {}'.format(before, after))
    for path, number in zip(paths, numbers):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise MisfitError('{} cannot be read as a picture'.format(path.name))
        yield picture, round((number - numbers[0]) * 1e9 / fps)
