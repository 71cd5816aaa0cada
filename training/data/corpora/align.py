"""
From a video of a person to the upright face square that the networks read, picture by picture.

The paper crops by landmarks, turns the face upright and scales it to 112 x 112 before events are
made. The square is the robot's: ``box_of_landmarks`` and ``face_square`` of cs3d_ros.face. It
follows the face slowly (FOLLOW_S): on a robot the camera stands still and the head moves in it,
so nods and speech must stay in the picture, and the jitter of landmarks must not move all edges of
it, which would fire every pixel that has one.
"""

from typing import Iterable

import cv2
import numpy as np

from cs3d_ros.face import box_of_landmarks, face_square
from training.data.corpora.facemesh import FaceMesh
from training.data.corpora.samples import MisfitError

SIZE = 112  # px, of the paper's frames and the networks'
FOLLOW_S = 0.5  # standard deviation of the Gaussian over which the square's path is averaged
STEADY_S = 0.05  # the same for landmarks: their jitter goes, a blink of 0.15 s stays
MOST_UNSEEN = 0.2  # of a clip's pictures; over fewer the landmarks go in straight lines


def find_landmarks(pictures: Iterable[np.ndarray], mesh: FaceMesh) -> np.ndarray:
    """
    Return the landmarks (F, 68, 2) px of a clip's face, interpolated where it was not found.

    Raises
    ------
    MisfitError
        If it is not found in too many pictures.
    """
    mesh.reset()
    found = [mesh.landmarks(picture) for picture in pictures]
    seen = np.array([points is not None for points in found], bool)
    if not seen.any() or seen.mean() < 1 - MOST_UNSEEN:
        raise MisfitError('a face in {} of {} pictures only'.format(seen.sum(), len(seen)))
    landmarks = np.empty((len(found), 68, 2))
    landmarks[seen] = [points for points in found if points is not None]
    at = np.arange(len(found))
    for column in landmarks.reshape(len(found), -1).T:
        column[~seen] = np.interp(at[~seen], at[seen], column[seen])
    return landmarks


def smoothed(values: np.ndarray, fps: float, sigma_s: float) -> np.ndarray:
    """Return values (F, ...) averaged over time by a Gaussian, which is cut off at both ends."""
    reach = int(np.ceil(4 * sigma_s * fps))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (sigma_s * fps)) ** 2)
    flat = values.reshape(len(values), -1)
    kept = slice(reach, reach + len(values))
    weight = np.convolve(np.ones(len(values)), kernel)[kept]
    columns = [np.convolve(column, kernel)[kept] / weight for column in flat.T]
    return np.stack(columns, axis=1).reshape(values.shape)


def squares_of(landmarks: np.ndarray) -> np.ndarray:
    """Return the upright face squares (F, 4) of landmarks (F, 68, 2): cx, cy, side, roll."""
    return np.array([_square_of(points) for points in landmarks])


def _square_of(points):
    across = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    roll = np.arctan2(across[1], across[0])
    cos, sin = np.cos(roll), np.sin(roll)
    turn = np.array(((cos, -sin), (sin, cos)))  # from the upright face to the picture
    square = face_square(box_of_landmarks(points @ turn))
    return (*(turn @ (square.cx, square.cy)), square.side, roll)


def path_of(landmarks: np.ndarray, fps: float) -> np.ndarray:
    """Return the squares (F, 4) that the crop goes through, following the face slowly."""
    squares = squares_of(landmarks)
    squares[:, 3] = np.unwrap(squares[:, 3])
    return smoothed(squares, fps, FOLLOW_S)


def cut_square(picture: np.ndarray, square: np.ndarray) -> np.ndarray:
    """
    Return what a square of a picture shows, (112, 112) float32 DN.

    Float, since grey levels rounded after a turn would flicker at edges and fire pixels.
    """
    finer = max(1, int(np.ceil(square[2] / SIZE)))  # samples per pixel and axis, against aliasing
    size = SIZE * finer
    patch = cv2.warpAffine(
        picture.astype(np.float32),
        _to_picture(square, size),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return patch if finer == 1 else cv2.resize(patch, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def into_squares(landmarks: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return landmarks (F, 68, 2) in the pixels of their crops."""
    out = np.empty_like(landmarks)
    for i, square in enumerate(squares):
        matrix = cv2.invertAffineTransform(_to_picture(square, SIZE))
        out[i] = landmarks[i] @ matrix[:, :2].T + matrix[:, 2]
    return out


def _to_picture(square, size):
    """Return the matrix (2, 3) from pixels of a crop to pixels of the picture."""
    cx, cy, side, roll = square
    scale = side / size
    linear = scale * np.array(((np.cos(roll), -np.sin(roll)), (np.sin(roll), np.cos(roll))))
    return np.column_stack((linear, (cx, cy) - linear @ np.full(2, (size - 1) / 2)))
