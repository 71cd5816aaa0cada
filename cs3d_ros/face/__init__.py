"""Faces from events: find, track, align."""

from cs3d_ros.face.align import FaceSquare, box_of_landmarks, face_square
from cs3d_ros.face.finder import FaceFinder, FinderSettings, FixedFace
from cs3d_ros.face.track import Box, FaceTrack

__all__ = [
    'Box',
    'FaceFinder',
    'FaceSquare',
    'FaceTrack',
    'FinderSettings',
    'FixedFace',
    'box_of_landmarks',
    'face_square',
]
