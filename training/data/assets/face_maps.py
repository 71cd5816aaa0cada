"""Our own numbers about the morphable face: where its vertices lie on a picture of skin."""

from functools import lru_cache
from pathlib import Path

import numpy as np

MAPS_FILE = Path(__file__).with_name('face_maps.npz')  # face_maps.md tells what is in it
SKIN_TEXELS = 512
LIMBUS_MM = 6.0  # radius of the painted iris
BEHIND = 20.0  # what lies behind the eyeball's centre is pushed this far out of the iris


@lru_cache
def face_maps() -> dict:
    """Return the arrays of face_maps.npz by name; face_maps.md says what they are."""
    with np.load(MAPS_FILE) as maps:
        return {name: maps[name] for name in maps.files}


def eye_disc(vertices: np.ndarray) -> np.ndarray:
    """
    Return where vertices of the neutral eyeballs lie on the plane of the iris.

    Parameters
    ----------
    vertices : np.ndarray [shape=(n, 3)]
        mm; those with x > 0 are the person's left.

    Returns
    -------
    np.ndarray [shape=(n, 2), dtype=float32]
        Limbus radii, x to the image's right, y down.
    """
    maps = face_maps()
    right = (vertices[:, 0] < 0).astype(int)
    arm = vertices - 10.0 * maps['eye_center'][right]  # the file is in cm
    axis = maps['eye_axis'][right]
    across = np.cross([0.0, 1.0, 0.0], axis)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(axis, across)
    disc = np.stack([(arm * across).sum(1), -(arm * up).sum(1)], axis=-1) / LIMBUS_MM
    disc[(arm * axis).sum(axis=1) <= 0] *= BEHIND
    return disc.astype(np.float32)


def pull_push(picture: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """
    Return a picture whose holes are filled smoothly from what is around them.

    Parameters
    ----------
    picture : np.ndarray [shape=(S, S) or (S, S, C)]
        S a power of two; 0 where `coverage` is 0.
    coverage : np.ndarray [shape=(S, S)]
        0 in the holes, 1 elsewhere.

    Source: Gortler, Grzeszczuk, Szeliski, Cohen, The Lumigraph, SIGGRAPH 1996, section 3.3.
    """
    layers = picture.reshape(*coverage.shape, -1)
    return _pull_push(layers, coverage[..., None]).reshape(picture.shape)


def _pull_push(layers: np.ndarray, weight: np.ndarray) -> np.ndarray:
    size = len(layers)
    if size == 1:
        return layers / np.maximum(weight, 1e-9)
    half = (size // 2, 2, size // 2, 2, -1)
    total = weight.reshape(half).sum(axis=(1, 3))
    low = layers.reshape(half).sum(axis=(1, 3)) / np.maximum(total, 1e-9)
    total = np.minimum(total, 1.0)
    return layers + (1 - weight) * _enlarged(_pull_push(low * total, total))


def _enlarged(layers: np.ndarray) -> np.ndarray:
    """Return layers at twice the size, interpolated between texel centres."""
    for axis in (0, 1):
        edge = np.concatenate([layers.take([0], axis), layers, layers.take([-1], axis)], axis=axis)
        count = layers.shape[axis]
        before, here = edge.take(range(count), axis), layers
        after = edge.take(range(2, count + 2), axis)
        pair = np.stack([0.75 * here + 0.25 * before, 0.75 * here + 0.25 * after], axis + 1)
        shape = list(layers.shape)
        shape[axis] *= 2
        layers = pair.reshape(shape)
    return layers
