"""
A first finder of faces, from events alone.

A moving face fires at eyes, brows, nostrils, mouth and outline and leaves cheeks and forehead
blank. Wherever the activity of the last half second correlates with that pattern, at any size, a
face is seen; it is smoothed in time, and held while nothing moves.
"""

from typing import NamedTuple, Optional

import cv2
import numpy as np

from cs3d_ros.events import EventBatch, count_in_cells
from cs3d_ros.face.track import Box, FaceTrack

NS_PER_S = 1e9
GRID_ROWS = 64  # cells over the height of the sensor: eyes of the smallest face fill one
PATTERN_WIDTH, PATTERN_HEIGHT = 20, 26  # cells of the face pattern; 0.77 is a face box's aspect
SMOOTHING = 1.1  # cells, deviation of the Gaussian that the activity is smoothed with
NOISE_DEVIATIONS = 2.0  # above the level of the noise from which activity counts
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
SURROUND = 0.1  # blank frame around the pattern, of its size
VARIANCE_FLOOR = 0.1  # of a window, over the mean square of the whole activity map
SCALE_STEP = 1.12  # ratio of neighbouring face sizes searched

# Where a face box fires: (x, y, radius x, radius y) of its size, weight; negative where skin is
# smooth. Proportions of FaceMesh boxes (hairline to chin), as read off activity maps of people.
_PATTERN_BLOBS = (
    (0.25, 0.32, 0.10, 0.045, 1.0),
    (0.75, 0.32, 0.10, 0.045, 1.0),  # eyes
    (0.24, 0.21, 0.14, 0.035, 0.4),
    (0.76, 0.21, 0.14, 0.035, 0.4),  # brows
    (0.50, 0.55, 0.12, 0.05, 0.5),  # nostrils
    (0.50, 0.74, 0.18, 0.055, 1.0),  # mouth
    (0.18, 0.55, 0.12, 0.12, -0.4),
    (0.82, 0.55, 0.12, 0.12, -0.4),  # cheeks
    (0.50, 0.08, 0.25, 0.08, -0.4),  # forehead
    (0.50, 0.30, 0.06, 0.10, -0.3),  # between the eyes
)
_OUTLINE_WEIGHT, _OUTLINE_WIDTH = 0.35, 0.09


class FinderSettings(NamedTuple):
    """How readily a face is believed, and how it is held."""

    smallest: float = 0.2  # height of a face box over the sensor's
    largest: float = 0.95
    memory_s: float = 0.5  # activity is forgotten with this time constant
    smoothing_s: float = 0.25  # time constant of the box
    quality_to_find: float = 0.36  # correlation with the pattern, 0 to 1
    quality_to_keep: float = 0.3
    find_after_s: float = 0.3  # a face must be seen this long before it is believed
    lose_after_s: float = 1.5  # and moved without being seen this long to be given up
    least_rate_hz: float = 0.02  # events per pixel and second below which nothing moves


def _face_pattern() -> np.ndarray:
    """Return how strongly each cell of a face box with its blank surround should fire."""
    border_x, border_y = round(SURROUND * PATTERN_WIDTH), round(SURROUND * PATTERN_HEIGHT)
    rows, columns = np.mgrid[
        -border_y : PATTERN_HEIGHT + border_y, -border_x : PATTERN_WIDTH + border_x
    ]
    u, v = (columns + 0.5) / PATTERN_WIDTH, (rows + 0.5) / PATTERN_HEIGHT
    pattern = np.zeros(u.shape)
    for x, y, radius_x, radius_y, weight in _PATTERN_BLOBS:
        pattern += weight * np.exp(-0.5 * (((u - x) / radius_x) ** 2 + ((v - y) / radius_y) ** 2))
    radius = np.hypot((u - 0.5) / 0.60, (v - 0.42) / 0.66)
    pattern += _OUTLINE_WEIGHT * np.exp(-0.5 * ((radius - 1.0) / _OUTLINE_WIDTH) ** 2)
    return pattern.astype(np.float32)


class FaceFinder:
    """
    Finder of the one main face: add the events of a period, then step to its end.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    settings : FinderSettings

    Examples
    --------
    >>> finder = FaceFinder(346, 260)
    >>> finder.add(EventBatch.empty(346, 260))
    >>> print(finder.step(33_333_333))
    None
    """

    def __init__(self, width: int, height: int, settings: FinderSettings = FinderSettings()):
        self._settings = settings
        self._cell = max(1, round(height / GRID_ROWS))
        self._pixels = width * height
        rows, columns = -(-height // self._cell), -(-width // self._cell)
        self._counts = np.zeros((rows, columns), np.int32)
        self._pattern = _face_pattern()
        sizes = np.arange(np.log(settings.smallest), np.log(settings.largest), np.log(SCALE_STEP))
        self._heights = rows * np.exp(sizes)  # of the face boxes searched, in cells
        self._faces_so_far = 0
        self.reset()

    def reset(self):
        """Forget what was seen."""
        self._activity = np.zeros(self._counts.shape, np.float32)
        self._counts[:] = 0
        self._last_ns = None
        self._box = None
        self._is_found = False
        self._seen_s = self._unseen_s = self._age_s = 0.0
        self._quality = 0.0

    def add(self, batch: EventBatch):
        """Count the events of the present period."""
        count_in_cells(batch, self._cell, self._counts)

    def step(self, end_ns: int) -> Optional[FaceTrack]:
        """Close the period that ends at ``end_ns``; return the face, if one is believed."""
        events = int(self._counts.sum())
        elapsed_s = 0.0 if self._last_ns is None else (end_ns - self._last_ns) / NS_PER_S
        self._last_ns = end_ns
        is_moving = events > self._settings.least_rate_hz * self._pixels * elapsed_s
        self._age_s += elapsed_s
        if is_moving:
            self._activity *= np.exp(-elapsed_s / self._settings.memory_s)
            self._activity += self._counts
            self._follow(elapsed_s)
        self._counts[:] = 0
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

    def _image(self):
        """
        Return the activity above the noise, on a logarithmic scale.

        No cell counts for more than its busiest neighbour, as a hot pixel has none. Most cells see
        no edge: the median is the level of the noise. Of its deviation, a Poisson process's,
        smoothing by a Gaussian leaves the part 1 / (2 sigma sqrt(pi)).
        """
        busiest = cv2.dilate(
            self._activity, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        smooth = cv2.GaussianBlur(np.minimum(self._activity, busiest), (0, 0), SMOOTHING)
        noise = float(np.median(smooth))
        floor = noise + NOISE_DEVIATIONS * np.sqrt(noise / np.pi) / (2 * SMOOTHING)
        above = np.maximum(smooth - floor, 0)
        return np.log1p(above / max(float(above.mean()), 1e-6)).astype(np.float32)

    def _search(self):
        """Return the box that looks most like a face, and its correlation with the pattern."""
        image = self._image()
        if not image.any():
            return Box(0.0, 0.0, 1.0, 1.0), 0.0
        least_variance = VARIANCE_FLOOR * float(np.square(image).mean())
        best_quality, best = 0.0, None
        pattern_rows, pattern_columns = self._pattern.shape
        for height in self._heights:
            scale = PATTERN_HEIGHT / height
            small = cv2.resize(
                image,
                None,
                fx=scale,
                fy=scale,
                interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
            )
            pad_y, pad_x = pattern_rows // 3, pattern_columns // 3
            small = cv2.copyMakeBorder(small, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT)
            if small.shape[0] < pattern_rows or small.shape[1] < pattern_columns:
                continue
            _, score, _, (column, row) = cv2.minMaxLoc(self._correlate(small, least_variance))
            if score > best_quality:
                best_quality, best = score, (column - pad_x, row - pad_y, scale)
        if best is None:
            return Box(0.0, 0.0, 1.0, 1.0), 0.0
        column, row, scale = best
        border_x, border_y = round(SURROUND * PATTERN_WIDTH), round(SURROUND * PATTERN_HEIGHT)
        to_px = self._cell / scale
        return Box(
            (column + border_x) * to_px,
            (row + border_y) * to_px,
            PATTERN_WIDTH * to_px,
            PATTERN_HEIGHT * to_px,
        ), best_quality

    def _correlate(self, image, least_variance):
        """
        Return the correlation of every window of the image with the pattern.

        The window's variance has a floor, or a few stray events in a blank corner would score 1.
        """
        rows, columns = self._pattern.shape
        valid = np.s_[: image.shape[0] - rows + 1, : image.shape[1] - columns + 1]
        window = {'ddepth': cv2.CV_32F, 'ksize': (columns, rows), 'anchor': (0, 0)}
        mean = cv2.boxFilter(image, **window)[valid]
        variance = cv2.sqrBoxFilter(image, **window)[valid] - mean * mean
        covariance = cv2.matchTemplate(image, self._pattern, cv2.TM_CCOEFF) / self._pattern.size
        deviation = np.sqrt(np.maximum(variance, 0.0) + least_variance)
        return covariance / (float(self._pattern.std()) * deviation)


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
