"""Furrows: where the skin darkens as the face moves."""

import numpy as np
from numba import njit

from training.data.rendering.faces import Blendshapes
from training.data.rendering.sheets import SKIN_TEXELS
from training.data.rendering.textures import blurred, noise

FAR_MM = 1e3  # position of texels that no triangle covers


class FurrowLayer:
    """Darkens the skin of one atlas along its furrows, frame by frame."""

    def __init__(
        self, furrows: tuple, shapes: Blendshapes, atlas: np.ndarray, wrinkles: float, blur: float
    ):
        self._atlas = atlas
        self._drive = np.stack([shapes.weights(drivers) for _, drivers, _, _ in furrows])
        self._bias = np.array([bias for _, _, bias, _ in furrows], np.float32)
        self._depth = np.array([depth * wrinkles for _, _, _, depth in furrows], np.float32)
        masks = np.stack([blurred(mask, blur).ravel() for mask, *_ in furrows])
        union = np.flatnonzero(np.abs(masks).max(axis=0) > 0.01)
        self._rows, self._columns = (v.astype(np.int32) for v in np.divmod(union, SKIN_TEXELS))
        self._base = atlas[self._rows, self._columns].copy()
        self._dark = np.empty(len(union), np.float32)
        where = [np.flatnonzero(np.abs(m) > 0.01) for m in masks[:, union]]
        self._start = np.concatenate([[0], np.cumsum([len(w) for w in where])])
        self._texel = np.concatenate(where).astype(np.int32)
        self._mask = np.concatenate(
            [m[w] for m, w in zip(masks[:, union], where)], dtype=np.float32
        )

    def apply(self, weights: np.ndarray):
        """Paint the furrows for weights (57,) of the blendshapes."""
        depth = np.clip(self._drive @ weights + self._bias, 0.0, 1.2) * self._depth
        _darken(
            self._atlas, self._rows, self._columns, self._base, self._start, self._texel,
            self._mask, depth, self._dark,
        )  # fmt: skip


def furrows(place: np.ndarray) -> tuple:
    """Return (mask (512, 512), {shape: share}, bias, depth): what darkens where and when."""

    def line(points, width, rim=0.35):
        return crease(place, points, width, rim)

    out = []
    for side, s in (('_L', 1.0), ('_R', -1.0)):
        own = [
            # From the nose to the corner of the mouth, first the fold, then its wide shade.
            ([(18, -2), (27, -13), (33, -26), (36, -38)], 2.0, 0.35, 0.0, 0.58,
             {'mouthSmile': 1.0, 'mouthUpperUp': 0.7, 'noseSneer': 0.5, 'mouthStretch': 0.3}),
            ([(20, -4), (31, -16), (38, -30), (40, -42)], 6.0, 0.6, 0.0, 0.42,
             {'mouthSmile': 1.0, 'mouthUpperUp': 0.6}),
            ([(44, -22), (47, -34), (45, -46)], 2.4, 0.35, -0.4, 0.35,
             {'mouthSmile': 1.0, 'mouthDimple': 1.0}),
            ([(14, 25), (24, 20), (36, 20), (47, 25)], 2.2, 0.35, 0.0, 0.38,
             {'cheekSquint': 0.8, 'eyeSquint': 0.6}),
            ([(26, -38), (31, -47), (33, -57)], 2.2, 0.35, 0.0, 0.42,
             {'mouthFrown': 1.0, 'mouthStretch': 0.4}),
            ([(7.5, 46), (6, 56), (6.5, 68)], 1.5, 0.35, 0.0, 0.6, {'browDown': 1.0}),
            ([(14, 47), (26, 50), (40, 52)], 3.5, 0.2, 0.0, 0.3, {'browDown': 1.0}),
        ]  # fmt: skip
        for points, width, rim, bias, depth, drivers in own:
            mask = line([(s * x, y) for x, y in points], width, rim)
            out.append((mask, {n + side: v for n, v in drivers.items()}, bias, depth))
        feet = [line([(s * 50, 34 + d / 3), (s * 62, 33 + d)], 1.1) for d in (-9, 0, 8)]
        drivers = {'cheekSquint' + side: 1.0, 'mouthSmile' + side: 0.3}
        out.append((np.maximum.reduce(feet), drivers, -0.2, 0.45))
    return tuple(out) + _middle(place, line)


def _middle(place: np.ndarray, line) -> tuple:
    """Return the furrows that cross the middle: forehead, nose, chin."""

    def all_of(lines):
        return np.maximum.reduce(lines)

    forehead = all_of(
        [
            line([(-46, y - 5), (-25, y), (0, y - 2), (25, y), (46, y - 5)], 1.5)
            for y in (74, 83, 92)
        ]
    )
    nose = all_of(
        [line([(-10, y + 3), (0, y), (10, y + 3)], 1.2) for y in (30, 36, 42)]
        + [line([(s * 8, 22), (s * 13, 30)], 1.3) for s in (-1, 1)]
    )
    omega = all_of([line([(-20, y - 2), (0, y), (20, y - 2)], 1.4) for y in (70, 78)])
    chin = line([(-17, -52), (0, -49), (17, -52)], 2.4)
    # A name without side stands for both of its shapes: half of each is their mean.
    return (
        (forehead, {'browOuterUp': 0.25, 'browInnerUp': 0.25, 'browDown': -0.05}, 0.0, 0.5),
        (omega, {'browInnerUp': 0.5, 'browOuterUp': -0.15}, 0.0, 0.35),
        (nose, {'noseSneer': 0.5}, 0.0, 0.5),
        (chin, {'mouthShrugLower': 1.0, 'mouthFrown': 0.15}, 0.0, 0.4),
        (_dimples(place), {'mouthShrugLower': 1.0}, -0.1, 0.4),
    )


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


@njit(fastmath=True, error_model='numpy', cache=True)
def _darken(atlas, rows, columns, base, start, texel, mask, depth, dark):
    dark[:] = 1.0
    for k in range(depth.shape[0]):
        d = depth[k]
        if d < 1e-3:
            continue
        for n in range(start[k], start[k + 1]):
            dark[texel[n]] -= d * mask[n]
    for i in range(rows.shape[0]):
        atlas[rows[i], columns[i]] = base[i] * min(
            np.float32(1.25), max(np.float32(0.15), dark[i])
        )
