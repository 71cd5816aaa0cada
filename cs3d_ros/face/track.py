"""The face as the chain knows it: who, where, how sure, how long ago seen."""

from typing import NamedTuple, Optional

import numpy as np


class Box(NamedTuple):
    """
    Rectangle in sensor pixels; (x, y) is the top left corner.

    A face box reaches from ear to ear along the jaw and from the hairline to the chin.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def cx(self) -> float:
        """Column of the centre."""
        return self.x + 0.5 * self.width

    @property
    def cy(self) -> float:
        """Row of the centre."""
        return self.y + 0.5 * self.height

    def overlap(self, other: 'Box') -> float:
        """Return the intersection over union with another box, 0 to 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(width, 0.0) * max(height, 0.0)
        whole = self.width * self.height + other.width * other.height - shared
        return shared / whole if whole > 0 else 0.0


class FaceTrack:
    """
    One face at one time.

    Parameters
    ----------
    identity : int
        Counts up with every face that is found anew.
    box : Box
        Where it is.
    quality : float
        0 to 1: how much what is seen looks like a face.
    age_ns : int
        Sensor time since the face was last seen to move.
    landmarks : np.ndarray [shape=(n, 2), dtype=float32], optional
        Points in sensor pixels, where a tracker finds them.
    """

    __slots__ = ('identity', 'box', 'quality', 'age_ns', 'landmarks')

    def __init__(
        self,
        identity: int,
        box: Box,
        quality: float,
        age_ns: int,
        landmarks: Optional[np.ndarray] = None,
    ):
        self.identity = identity
        self.box = box
        self.quality = quality
        self.age_ns = age_ns
        self.landmarks = landmarks

    def __repr__(self) -> str:
        return 'FaceTrack({}, {}, quality={:.2f}, age={:.2f} s)'.format(
            self.identity, self.box, self.quality, self.age_ns * 1e-9
        )
