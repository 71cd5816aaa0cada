"""
Finder of faces, from events alone.

A moving face fires at eyes, brows, nostrils, mouth and outline and leaves cheeks and forehead
blank. A small network, taught on rendered faces by ``training.finder``, tells of every place in a
map of that activity how sure a face box around it is, and how far the box reaches. The box is
smoothed in time, and held while nothing moves.
"""

import os
from typing import NamedTuple, Optional

import numpy as np

from cs3d_ros.events import EventBatch
from cs3d_ros.face.activity import ActivityMap, image_of
from cs3d_ros.face.track import Box, FaceTrack
from cs3d_ros.runtime import BundleError, open_session

NS_PER_S = 1e9
MODEL = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'models', 'face_finder.onnx'
)
STRIDE = 4  # cells between two places that the network tells of
SIDES = 4  # of a box, to which it tells the distance: left, top, right, bottom
INPUT = 'activity'  # (1, 2, rows, columns)
OUTPUTS = ('quality', 'reach')  # (1, 1, r, c), 0 to 1, and (1, 4, r, c), cells, of r x c places
THREADS = 1  # the network is too small for more


class FinderSettings(NamedTuple):
    """How readily a face is believed, and how it is held."""

    smoothing_s: float = 0.25  # time constant of the box
    quality_to_find: float = 0.6  # expected overlap with the face, 0 to 1
    quality_to_keep: float = 0.4
    find_after_s: float = 0.3  # a face must be seen this long before it is believed
    lose_after_s: float = 1.5  # and moved without being seen this long to be given up


class FaceFinder:
    """
    Finder of the one main face: add the events of a period, then step to its end.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : FinderSettings
    model : str
        ONNX file of the network, made by ``training.finder``.

    Raises
    ------
    BundleError
        If the file is no such network.

    Examples
    --------
    >>> finder = FaceFinder(346, 260)
    >>> finder.add(EventBatch.empty(346, 260))
    >>> print(finder.step(33_333_333))
    None
    """

    def __init__(
        self,
        width: int,
        height: int,
        settings: FinderSettings = FinderSettings(),
        model: str = MODEL,
    ):
        self._settings = settings
        self._activity = ActivityMap(width, height)
        self._session = open_session(model, THREADS)
        found = tuple(output.name for output in self._session.get_outputs())
        if found != OUTPUTS:
            raise BundleError(
                '{} is no network of the face finder: it puts out {} instead of {}'.format(
                    model, ', '.join(found), ', '.join(OUTPUTS)
                )
            )
        self._faces_so_far = 0
        self.reset()
        self._search()  # the first run allocates and is slow; better here than at the first face

    def reset(self):
        """Forget what was seen."""
        self._activity.reset()
        self._last_ns = None
        self._box = None
        self._is_found = False
        self._seen_s = self._unseen_s = self._age_s = 0.0
        self._quality = 0.0

    def add(self, batch: EventBatch):
        """Count the events of the present period."""
        self._activity.add(batch)

    def step(self, end_ns: int) -> Optional[FaceTrack]:
        """Close the period that ends at ``end_ns``; return the face, if one is believed."""
        elapsed_s = 0.0 if self._last_ns is None else (end_ns - self._last_ns) / NS_PER_S
        self._last_ns = end_ns
        self._age_s += elapsed_s
        if self._activity.close(elapsed_s):
            self._follow(elapsed_s)
        if not self._is_found:
            return None
        return FaceTrack(self._faces_so_far, self._box, self._quality, int(self._age_s * NS_PER_S))

    def _follow(self, elapsed_s):
        """Look for the face in the activity and bring the track up to date."""
        settings = self._settings
        box, quality = self._search()
        if self._is_found:
            is_same = quality > settings.quality_to_keep and box.overlap(self._box) > 0.3
        else:
            is_same = quality > settings.quality_to_find and (
                self._box is None or box.overlap(self._box) > 0.5
            )
        if is_same:
            share = 1.0 if self._box is None else 1 - np.exp(-elapsed_s / settings.smoothing_s)
            self._box = (
                box
                if self._box is None
                else Box(*(old + share * (new - old) for old, new in zip(self._box, box)))
            )
            self._quality, self._age_s, self._unseen_s = quality, 0.0, 0.0
            self._seen_s += elapsed_s
        else:
            self._seen_s = 0.0
            self._unseen_s += elapsed_s
        if not self._is_found:
            if not is_same:
                self._box = None
            elif self._seen_s >= settings.find_after_s:
                self._is_found = True
                self._faces_so_far += 1
        elif self._unseen_s > settings.lose_after_s:
            self._is_found, self._box = False, None

    def _search(self):
        """Return the box that looks most like a face, and its quality."""
        image = image_of(self._activity.counts)
        quality, reach = self._session.run(list(OUTPUTS), {INPUT: image[None]})
        row, column = np.unravel_index(int(quality.argmax()), quality.shape[2:])
        left, top, right, bottom = (float(side) for side in reach[0, :, row, column])
        x, y = (STRIDE * (float(place) + 0.5) for place in (column, row))
        cells = (x - left, y - top, left + right, top + bottom)
        return Box(*(self._activity.cell * side for side in cells)), float(quality.max())


class FixedFace:
    """A face that stands where a parameter says, behind the interface of the finder."""

    def __init__(self, box: Box):
        if not (box.width > 0 and box.height > 0):
            raise ValueError('roi needs a width and a height above 0, got {}'.format(box))
        self._box = box

    def reset(self):
        """Do nothing: the face stays where it is."""

    def add(self, batch: EventBatch):
        """Do nothing: events do not move it."""

    def step(self, end_ns: int) -> FaceTrack:
        """Return the face."""
        return FaceTrack(1, self._box, 1.0, 0)
