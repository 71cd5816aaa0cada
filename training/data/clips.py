"""Recorded clips with their ground truth."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Truth:
    """Ground truth per frame; F frames. What a source cannot tell is NaN (intensity: 1)."""

    t_ns: np.ndarray  # (F,) int64, sensor time
    expression: np.ndarray  # (F,) uint8, index into training.data.world.ACTED: the target
    intensity: np.ndarray  # (F,) float32, 0..1 of the expression shown or left
    action_units: np.ndarray  # (F, A) float32, 0..1, in the order of action_units.ACTION_UNITS
    landmarks: np.ndarray  # (F, 68, 2) float32 px, Multi-PIE order
    box: np.ndarray  # (F, 4) float32 px, x, y, width, height of cs3d_ros.face.box_of_landmarks
    pose: np.ndarray  # (F, 3) float32 degrees: yaw (to the person's left), pitch (down), roll
    visible: np.ndarray  # (F,) float32, share of the 68 landmarks that nothing hides
