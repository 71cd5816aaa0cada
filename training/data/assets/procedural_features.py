"""Brows and irises painted without any picture, hair by hair and fibre by fibre."""

import zlib

import cv2
import numpy as np

from training.data.assets.face_maps import SKIN_TEXELS
from training.data.rendering.textures import noise

BROWS = tuple('procedural_brow_{:02d}'.format(k) for k in range(12))
IRISES = tuple(
    'procedural_iris_{:02d}_{}'.format(k, colour)
    for k, colour in enumerate(('brown', 'darkbrown', 'hazel', 'green', 'blue', 'grey') * 2)
)
# Luminance of an iris before its fibres, of display values 0..1.
COLOURS = {
    'darkbrown': 0.22,
    'brown': 0.32,
    'hazel': 0.40,
    'green': 0.44,
    'blue': 0.48,
    'grey': 0.60,
}
BROW_LANDMARKS = ((21, 20, 19, 18, 17), (22, 23, 24, 25, 26))  # from the nose outwards
BROW_LOWER = 5.5  # texels (3 mm): the landmarks run along the upper edge
FINE = 4  # hairs are drawn at this many times the size
IRIS_TEXELS, IRIS_EDGE = 128, 1.2  # of the picture: its side; its half side in limbus radii
SCLERA = 0.63  # display value around the iris
DISPLAY_GAMMA = 2.2


def paint_brows(name: str, marks: np.ndarray) -> np.ndarray:
    """
    Return the coverage (512, 512) float32, 0..1, of a pair of brows; the same for a name.

    Parameters
    ----------
    name : str
    marks : np.ndarray [shape=(68, 2)]
        Landmarks on the skin, texels.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shape = {
        'half': rng.uniform(2.0, 7.5),  # half width, texels
        'arch': rng.uniform(-2.0, 4.0),  # texels
        'taper': rng.uniform(0.5, 1.1),
        'tail': rng.uniform(0.88, 1.05),  # how far out it reaches
        'hairs': int(rng.uniform(150, 480)),
        'long': rng.uniform(9.0, 14.0),  # texels
        'steep': np.radians(rng.uniform(55.0, 85.0)),  # of the hairs next to the nose
    }
    out = np.zeros((SKIN_TEXELS * FINE, SKIN_TEXELS * FINE), np.uint8)
    for ids in BROW_LANDMARKS:
        for hair, light in _hairs(marks[list(ids)], shape, rng):
            points = np.rint(FINE * 16 * hair).astype(np.int32)
            cv2.polylines(out, [points], False, light, 1, cv2.LINE_AA, 4)
    hairs = cv2.resize(out, (SKIN_TEXELS, SKIN_TEXELS), interpolation=cv2.INTER_AREA) / 255.0
    down = cv2.GaussianBlur(hairs, (0, 0), 2.0)  # what is too fine to be drawn
    return np.clip(0.95 * hairs + 0.2 * down, 0.0, 0.95).astype(np.float32)


def _hairs(marks: np.ndarray, shape: dict, rng):
    """Yield (points (5, 2) in texels, lightness) of the hairs of one brow."""
    t = np.arange(len(marks))
    curve = [np.polyfit(t, marks[:, k], 3) for k in (0, 1)]
    outward = np.sign(marks[-1, 0] - marks[0, 0])
    for _ in range(shape['hairs']):
        s = rng.beta(1.05, 1.25)  # 0 next to the nose, 1 at the tail
        where = s * (len(marks) - 1) * shape['tail']
        tangent = np.array([np.polyval(np.polyder(c), where) for c in curve])
        tangent /= np.linalg.norm(tangent)
        normal = np.array([-tangent[1], tangent[0]]) * outward  # downwards
        half = shape['half'] * min(1.0, 0.6 + 3.0 * s) * (1.02 - s) ** shape['taper']
        off = np.clip(rng.normal(0.0, 0.5), -1.0, 1.0)
        root = np.array([np.polyval(c, where) for c in curve]) + off * half * normal
        root[1] += BROW_LOWER - shape['arch'] * np.sin(np.pi * s)
        rise = shape['steep'] * np.exp(-3.5 * s) + 0.25 * off + rng.normal(0.0, 0.12)
        length = shape['long'] * rng.uniform(0.6, 1.1) * (1.0 - 0.45 * s) * (0.75 + 0.1 * half)
        bend = -0.9 * rise + 0.25  # it lies down along the brow
        along = np.linspace(0.0, 1.0, 5)[:, None]
        angle = rise + bend * along
        step = np.cos(angle) * tangent - np.sin(angle) * normal
        yield root + np.cumsum(step, axis=0) * length / 5, int(rng.uniform(70, 230))


def paint_iris(name: str) -> np.ndarray:
    """Return the linear luminance (128, 128) float32 of an iris; the same for a name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    grid = ((np.arange(IRIS_TEXELS) + 0.5) / IRIS_TEXELS * 2 - 1) * IRIS_EDGE
    x, y = np.meshgrid(grid, grid)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    base = COLOURS[name.rsplit('_', 1)[1]] * rng.uniform(0.92, 1.08)
    fibres = 0.4 * _spokes(rng, radius, angle, 170, 5) + 0.3 * _spokes(rng, radius, angle, 90, 3)
    crypts = np.clip(_spokes(rng, radius, angle, 56, 6) - 0.3, 0.0, 1.2)
    zone = np.exp(-(((radius - 0.55) / 0.22) ** 2))
    ring = rng.uniform(0.4, 0.5) + 0.025 * _spokes(rng, radius, angle, 30, 1)  # collarette
    light = base * np.exp(0.3 * fibres - 0.5 * crypts * zone)
    light *= 1 + 0.15 * np.exp(-(((radius - ring) / 0.07) ** 2))
    light *= 1 - rng.uniform(0.1, 0.3) * np.clip((ring - radius) / 0.08 + 0.5, 0.0, 1.0)
    light *= 1 - rng.uniform(0.45, 0.7) * np.exp(-(((radius - 0.98) / 0.1) ** 2))  # limbal ring
    white = np.clip((radius - 0.97) / 0.1, 0.0, 1.0)
    light = light * (1 - white) + SCLERA * (1 + 0.03 * noise(rng, IRIS_TEXELS, 12.0)) * white
    pupil = np.clip((rng.uniform(0.25, 0.3) - radius) / 0.04, 0.0, 1.0)
    light = light * (1 - pupil) + 0.03 * pupil
    return np.clip(light, 0.0, 1.0).astype(np.float32) ** DISPLAY_GAMMA


def _spokes(rng, radius, angle, count: int, rings: int) -> np.ndarray:
    """Return noise stretched along the radius, of unit deviation before it is looked up."""
    turns = rng.standard_normal((rings + 2, count)).astype(np.float32)
    turns = np.concatenate([turns, turns[:, :3]], axis=1)  # it closes
    column = ((angle / (2 * np.pi)) % 1.0 * count).astype(np.float32) + 1.0
    row = np.clip(radius * (rings + 1), 0, rings + 1).astype(np.float32)
    return cv2.remap(turns, column, row, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
