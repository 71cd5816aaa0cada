"""From a face box to the upright square that becomes an event frame."""

from typing import NamedTuple

from cs3d_ros.face.track import Box

MARGIN = 1.15  # square side over the longer side of the face box; a bundle tells its own


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
