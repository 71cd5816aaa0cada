"""Faces from events: find, track, align."""

from cs3d_ros.face.align import FaceSquare, face_square
from cs3d_ros.face.track import Box, FaceTrack

__all__ = ['Box', 'FaceSquare', 'FaceTrack', 'face_square']
