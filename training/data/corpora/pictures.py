"""The grey pictures of a sample with their times, of a video or of a folder of numbered files."""

from typing import Iterator

import numpy as np

from cs3d_ros.simulator import ImageFolder, Video
from training.data.corpora.samples import MisfitError, Sample, list_pictures, picture_number

MOST_PICTURES = 20_000  # of a clip: 100 s at 200 Hz
LARGEST_SIDE = 8192  # px
NS = 1e9


class Pictures:
    """
    Grey pictures of a sample, with their times in ns from the first one on.

    May be gone through several times; every pass reads the files anew.

    Raises
    ------
    MisfitError, VideoError
        While it is gone through: if a picture cannot be read or has another size, or if there
        are fewer than two, or too many.
    """

    def __init__(self, sample: Sample):
        self._sample = sample
        if sample.path.is_dir():
            _check_numbers(sample)

    def _open(self):
        if self._sample.path.is_dir():
            return ImageFolder(str(self._sample.path), self._sample.fps)
        return Video(str(self._sample.path))

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        start_s, end_s = self._sample.span_s or (0.0, None)
        fps, first_ns, count = self._sample.fps, None, 0
        with self._open() as source:
            for number, (picture, t_ns) in enumerate(source):
                t_ns = t_ns if fps is None else round(number * NS / fps)
                if end_s is not None and t_ns >= end_s * NS:
                    break
                if t_ns >= start_s * NS:
                    first_ns = t_ns if first_ns is None else first_ns
                    count += 1
                    _check_bounds(picture, count)
                    yield picture, t_ns - first_ns
        if count < 2:
            raise MisfitError('events need two pictures, found {}'.format(count))


def _check_numbers(sample):
    if sample.fps is None:
        raise MisfitError('a folder of pictures needs fps in the manifest')
    numbers = [picture_number(path) for path in list_pictures(sample.path)]
    if None in numbers:
        raise MisfitError('the names of the pictures do not end in numbers')
    for before, after in zip(numbers, numbers[1:]):
        if after != before + 1:
            raise MisfitError('picture {} is followed by {}'.format(before, after))


def _check_bounds(picture, count):
    if max(picture.shape) > LARGEST_SIDE or count > MOST_PICTURES:
        raise MisfitError(
            'more than {} pictures, or above {} px: cut it by start and end in a manifest'.format(
                MOST_PICTURES, LARGEST_SIDE
            )
        )
