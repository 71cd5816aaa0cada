"""From a face box to the upright square that becomes an event frame."""

from typing import NamedTuple

import numpy as np

from cs3d_ros.face.track import Box

MARGIN = 1.15  # square side over the longer side of the face box; a bundle tells its own

EYES_TO_CHIN = 0.685  # of a face box's height: median of FaceMesh boxes (hairline to chin)


class FaceSquare(NamedTuple):
    """Square around a face in sensor pixels, turned by ``roll`` radians."""

    cx: float
    cy: float
    side: float
    roll: float


def face_square(box: Box, margin: float = MARGIN) -> FaceSquare:
    """
    Return the upright square of ``margin`` times the longer side of a face box.

    Raises
    ------
    ValueError
        If the box is empty or the margin not positive.
    """
    side = margin * max(box.width, box.height)
    if not side > 0:
        raise ValueError(
            'a face square needs a box and a margin above 0, got {}, {}'.format(box, margin)
        )
    return FaceSquare(box.cx, box.cy, side, 0.0)


def box_of_landmarks(landmarks: np.ndarray) -> Box:
    """
    Return the face box of one face.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(68, 2), dtype=float]
        The 68 points of Multi-PIE in sensor pixels: 0-16 jaw, 36-47 eyes.
    """
    left, right = float(landmarks[:, 0].min()), float(landmarks[:, 0].max())
    eyes, chin = float(landmarks[36:48, 1].mean()), float(landmarks[:17, 1].max())
    height = (chin - eyes) / EYES_TO_CHIN
    return Box(left, chin - height, right - left, height)
