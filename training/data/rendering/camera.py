"""Where things fall in the picture: a pinhole, and the pose of head and body before it."""

from dataclasses import dataclass, field

import numpy as np

PIVOT_MM = np.array([0.0, -85.0, 5.0], np.float32)  # the head turns about the top of the neck


@dataclass(frozen=True)
class Camera:
    """A pinhole in front of the face; the picture's y looks down."""

    width: int
    height: int
    focal_px: float
    distance_mm: float  # from the face's centre
    centre: tuple  # px, where the face's centre falls at rest

    def moved(self, shift_px) -> 'Camera':
        """Return the camera a little turned: the whole picture shifts."""
        centre = (self.centre[0] + float(shift_px[0]), self.centre[1] + float(shift_px[1]))
        return Camera(self.width, self.height, self.focal_px, self.distance_mm, centre)


@dataclass
class Pose:
    """Where head and body are in one frame: degrees, and mm of shift."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    head_mm: np.ndarray = field(default_factory=lambda: np.zeros(3))
    body_mm: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def rotation(self) -> np.ndarray:
        """Return the matrix (3, 3): roll, then pitch (down is +), then yaw (to the left is +)."""
        yaw, pitch, roll = np.radians([self.yaw, self.pitch, self.roll])
        around_y = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        around_x = np.array(
            [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        )
        around_z = np.array(
            [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        )
        return (around_y @ around_x @ around_z).astype(np.float32)


def project(points, follow, pose: Pose, camera: Camera) -> tuple:
    """Return x, y in px and depth in mm of points in head axes."""
    turned = (points - PIVOT_MM) @ pose.rotation().T + PIVOT_MM + pose.head_mm
    place = follow * turned + (1 - follow) * (points + pose.body_mm)
    depth = camera.distance_mm - place[:, 2]
    scale = camera.focal_px / depth
    return camera.centre[0] + place[:, 0] * scale, camera.centre[1] - place[:, 1] * scale, depth
