"""Furrows: where the skin darkens as the face moves."""

import numpy as np
from numba import njit

from training.data.faces import SKIN_TEXELS
from training.data.textures import blurred, noise

FAR_MM = 1e3  # position of texels that no triangle covers


class FurrowLayer:
    """Darkens the skin of one atlas along its furrows, frame by frame."""

    def __init__(self, furrows: tuple, atlas: np.ndarray, wrinkles: float, blur: float):
        self._atlas = atlas
        self._drivers = [(driver, depth * wrinkles) for _, driver, depth in furrows]
        masks = [blurred(mask, blur) for mask, _, _ in furrows]
        union = np.flatnonzero(np.max([np.abs(m) for m in masks], axis=0).ravel() > 0.01)
        self._rows, self._columns = (v.astype(np.int32) for v in np.divmod(union, SKIN_TEXELS))
        self._masks = np.stack([m.ravel()[union] for m in masks]).astype(np.float32)
        self._base = atlas[self._rows, self._columns].copy()

    def apply(self, weights: dict):
        """Paint the furrows for blendshape weights by name, sides apart."""
        depth = np.array(
            [min(1.2, max(0.0, driver(weights))) * d for driver, d in self._drivers], np.float32
        )
        _darken(self._atlas, self._rows, self._columns, self._base, self._masks, depth)


def furrows(place: np.ndarray) -> tuple:
    """Return (mask (512, 512), driver, depth): what darkens where, driven by which shapes."""

    def line(points, width, rim=0.35):
        return crease(place, points, width, rim)

    def side(name, left):
        return name + ('_L' if left else '_R')

    out = []
    for left in (True, False):
        s = 1.0 if left else -1.0

        def value(weights, name, left=left):
            return weights.get(side(name, left), 0.0)

        out += [
            (
                line([(s * 18, -2), (s * 27, -13), (s * 33, -26), (s * 36, -38)], 2.0),
                lambda w, v=value: (
                    1.0 * v(w, 'mouthSmile')
                    + 0.7 * v(w, 'mouthUpperUp')
                    + 0.5 * v(w, 'noseSneer')
                    + 0.3 * v(w, 'mouthStretch')
                ),
                0.5,
            ),
            (
                line([(s * 20, -4), (s * 31, -16), (s * 38, -30), (s * 40, -42)], 6.0, 0.6),
                lambda w, v=value: v(w, 'mouthSmile') + 0.6 * v(w, 'mouthUpperUp'),
                0.34,
            ),
            (
                line([(s * 44, -22), (s * 47, -34), (s * 45, -46)], 2.4),
                lambda w, v=value: v(w, 'mouthSmile') + v(w, 'mouthDimple') - 0.4,
                0.35,
            ),
            (
                line([(s * 14, 25), (s * 24, 20), (s * 36, 20), (s * 47, 25)], 2.2),
                lambda w, v=value: 0.8 * v(w, 'cheekSquint') + 0.6 * v(w, 'eyeSquint'),
                0.38,
            ),
            (
                np.maximum.reduce(
                    [line([(s * 50, 34 + d / 3), (s * 62, 33 + d)], 1.1) for d in (-9, 0, 8)]
                ),
                lambda w, v=value: v(w, 'cheekSquint') + 0.3 * v(w, 'mouthSmile') - 0.2,
                0.45,
            ),
            (
                line([(s * 26, -38), (s * 31, -47), (s * 33, -57)], 2.2),
                lambda w, v=value: v(w, 'mouthFrown') + 0.4 * v(w, 'mouthStretch'),
                0.42,
            ),
            (
                line([(s * 7.5, 46), (s * 6, 56), (s * 6.5, 68)], 1.5),
                lambda w, v=value: v(w, 'browDown'),
                0.6,
            ),
            (
                line([(s * 14, 47), (s * 26, 50), (s * 40, 52)], 3.5, 0.2),
                lambda w, v=value: v(w, 'browDown'),
                0.3,
            ),
        ]

    def both(weights, name):
        return 0.5 * (weights.get(name + '_L', 0.0) + weights.get(name + '_R', 0.0))

    forehead = np.maximum.reduce(
        [
            line([(-46, y - 5), (-25, y), (0, y - 2), (25, y), (46, y - 5)], 1.5)
            for y in (74, 83, 92)
        ]
    )
    nose = np.maximum.reduce(
        [line([(-10, y + 3), (0, y), (10, y + 3)], 1.2) for y in (30, 36, 42)]
        + [line([(s * 8, 22), (s * 13, 30)], 1.3) for s in (-1, 1)]
    )
    omega = np.maximum.reduce([line([(-20, y - 2), (0, y), (20, y - 2)], 1.4) for y in (70, 78)])
    out += [
        (
            forehead,
            lambda w: (
                0.5 * both(w, 'browOuterUp')
                + 0.5 * both(w, 'browInnerUp')
                - 0.1 * both(w, 'browDown')
            ),
            0.5,
        ),
        (omega, lambda w: both(w, 'browInnerUp') - 0.3 * both(w, 'browOuterUp'), 0.35),
        (nose, lambda w: both(w, 'noseSneer'), 0.5),
        (
            line([(-17, -52), (0, -49), (17, -52)], 2.4),
            lambda w: w.get('mouthShrugLower', 0.0) + 0.3 * both(w, 'mouthFrown'),
            0.4,
        ),
        (_dimples(place), lambda w: w.get('mouthShrugLower', 0.0) - 0.1, 0.4),
    ]
    return tuple(out)


def crease(place: np.ndarray, points: list, width: float, rim: float) -> np.ndarray:
    """Return a groove along a line on the front of the face: dark, beside it a paler rim."""
    flat = place[..., :2]
    best = np.full(place.shape[:2], FAR_MM, np.float32)
    taper = np.zeros_like(best)
    points = [np.array(p, float) for p in points]
    total = sum(np.linalg.norm(b - a) for a, b in zip(points, points[1:]))
    done = 0.0
    for a, b in zip(points, points[1:]):
        length = np.linalg.norm(b - a)
        along = np.clip(((flat - a) @ (b - a)) / length**2, 0.0, 1.0)
        gap = np.linalg.norm(flat - (a + along[..., None] * (b - a)), axis=-1)
        near = gap < best
        position = (done + along * length) / total
        taper[near] = np.sin(np.pi * (0.12 + 0.76 * position[near]))
        best = np.minimum(best, gap)
        done += length
    front = np.clip((place[..., 2] - 30.0) / 15.0, 0.0, 1.0) * (np.abs(flat[..., 0]) < 75.0)
    groove = np.exp(-0.5 * (best / (0.5 * width)) ** 2)
    paler = np.exp(-0.5 * (best / (1.2 * width)) ** 2) - groove
    return ((groove - rim * 0.5 * paler) * taper * front).astype(np.float32)


def _dimples(place: np.ndarray) -> np.ndarray:
    bumps = np.clip(noise(np.random.default_rng(3), SKIN_TEXELS, 3.5), 0.0, 2.0)
    span = (place[..., 0] / 13.0) ** 2 + ((place[..., 1] + 61.0) / 9.0) ** 2
    return (bumps * np.exp(-span) * (place[..., 2] > 70.0)).astype(np.float32)


@njit(fastmath=True, cache=True)
def _darken(atlas, rows, columns, base, masks, depth):
    for i in range(rows.shape[0]):
        dark = np.float32(1.0)
        for k in range(depth.shape[0]):
            dark -= depth[k] * masks[k, i]
        atlas[rows[i], columns[i]] = base[i] * min(np.float32(1.25), max(np.float32(0.15), dark))
