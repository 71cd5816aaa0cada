"""What a person looks like: skin, brows, eyes, hair, beard, spectacles, clothes, furrows."""

from dataclasses import dataclass

import cv2
from numba import njit
import numpy as np

from training.data.faces import (ATLAS_SHAPE, CLOTH_PATCH, EYE_PATCH, EYE_PATCH_RADIUS, FaceModel,
                                 GUMS_PATCH, HAIR_PATCH, hairline_distance, IDENTITY_SIGMA,
                                 SKIN_TEXELS, SOCKET_PATCH, TEETH_PATCH)

IRIS_TEXELS_PER_LIMBUS = 53.3  # skins/README.md, section 2
DARK_SKIN = 0.08  # linear albedo: below it hair, beard and brows are black
FAR_MM = 1e3  # position of texels that no triangle covers


@dataclass(frozen=True)
class Look:
    """One person: everything that stays the same from clip to clip."""

    identity: str
    skin: str
    coefficients: np.ndarray  # (100,) standard deviations
    brow: str
    brow_width: float  # widening of the brow texture, texels
    brow_albedo: float
    iris: str
    sclera: float  # albedo
    skin_gain: float
    hair_mm: float
    hair_albedo: float
    hairline_mm: float  # lower is positive: a fringe
    long_hair: bool
    beard: float  # 0..1
    spectacles: float  # thickness of the frame, mm; 0 = none
    wrinkles: float  # depth of the furrows, 0..1
    seed: int


def draw_look(identity: str, skins: tuple, model: FaceModel, rng: np.random.Generator) -> Look:
    """Return a person with a skin out of `skins`."""
    assets = model.assets
    skin = str(rng.choice(skins))
    male = 'female' not in skin
    dark, old = 'darkskinned' in skin, 'old' in skin
    return Look(
        identity=identity, skin=skin, coefficients=rng.normal(0.0, IDENTITY_SIGMA, 100),
        brow=str(rng.choice(assets.brows)), brow_width=float(rng.uniform(0.0, 3.5 + male)),
        brow_albedo=float(rng.uniform(0.008, 0.03 if dark else 0.12)),
        iris=str(rng.choice(assets.irises)), sclera=float(rng.uniform(0.26, 0.42)),
        skin_gain=float(rng.uniform(0.8, 1.15)), hair_mm=float(rng.uniform(2.0, 26.0)),
        hair_albedo=float(np.exp(rng.uniform(np.log(0.008), np.log(
            0.03 if dark else (0.3 if old else 0.16))))),
        hairline_mm=float(rng.normal(0.0, 5.0) + (rng.random() < 0.3) * rng.uniform(5.0, 24.0)),
        long_hair=bool(rng.random() < (0.12 if male else 0.65)),
        beard=float(male and rng.random() < 0.4) * float(rng.uniform(0.2, 0.85)),
        spectacles=float(rng.random() < 0.17) * float(rng.uniform(1.0, 3.2)),
        wrinkles=float(rng.uniform(0.7, 1.0) if old else rng.uniform(0.25, 0.85)),
        seed=int(rng.integers(1 << 31)))


class Painter:
    """Turns looks into atlases: linear albedo of all surfaces of one person in one picture."""

    def __init__(self, model: FaceModel):
        self._model = model
        self.position = _positions(model)  # (512, 512, 3) mm on the neutral head
        self.furrows = _furrows(self.position)

    def atlas(self, look: Look, cloth: np.random.Generator, blur: float) -> np.ndarray:
        """
        Return the atlas, float32 linear albedo.

        Parameters
        ----------
        look : Look
        cloth : np.random.Generator
            Draws the clothes, which a person changes.
        blur : float
            Sigma in texels: textures finer than the picture would sparkle.
        """
        rng = np.random.default_rng(look.seed)
        atlas = np.full(ATLAS_SHAPE, 0.1, np.float32)
        skin, tone = self._skin(look, rng)
        dress = _pattern(cloth)
        collar = -128.0 - cloth.uniform(0.0, 26.0) - 12.0 * cloth.random() * np.cos(
            np.minimum(np.abs(self.position[..., 0]) / 40.0, np.pi / 2))
        collar = collar + 0.45 * np.maximum(0.0, np.abs(self.position[..., 0]) - 42.0)
        covered = np.clip((collar - self.position[..., 1]) / 2.0, 0.0, 1.0)
        skin = skin * (1 - covered) + covered * cv2.resize(dress, (SKIN_TEXELS, SKIN_TEXELS))
        atlas[:, :SKIN_TEXELS] = _blurred(skin.astype(np.float32), blur)
        _paste(atlas, CLOTH_PATCH, dress)
        _paste(atlas, HAIR_PATCH, look.hair_albedo * _strands(rng, HAIR_PATCH[2], 0.6))
        _paste(atlas, EYE_PATCH, _blurred(self._eye(look, rng, tone), 0.6 + 0.8 * blur))
        for (x, y, side), albedo in ((SOCKET_PATCH, 0.05), (GUMS_PATCH, 0.12),
                                     (TEETH_PATCH, min(0.5, 0.25 + 1.2 * tone))):
            atlas[y:y + side, x:x + side] = albedo
        return atlas

    def _skin(self, look: Look, rng: np.random.Generator) -> tuple:
        assets, place = self._model.assets, self.position
        skin = assets.skin(look.skin)
        tone = float(np.median(skin[230:330, 180:330]))
        skin = tone * (skin / tone) ** rng.uniform(0.85, 1.15) * look.skin_gain  # own contrast
        skin *= np.exp(rng.uniform(0.01, 0.04) * _noise(rng, SKIN_TEXELS, 9.0)
                       + rng.uniform(0.005, 0.03) * _noise(rng, SKIN_TEXELS, 2.0))
        for _ in range(rng.integers(0, 7)):  # moles
            x, y = rng.uniform(160, 350), rng.uniform(130, 400)
            skin = _spot(skin, x, y, rng.uniform(1.0, 2.5), 0.45)
        tone *= look.skin_gain
        hair = min(look.brow_albedo, 0.5 * tone)
        brow = assets.brow(look.brow)
        brow = np.clip(_blurred(brow, look.brow_width / 2) * (1 + 0.55 * look.brow_width), 0, 0.95)
        skin = skin * (1 - brow) + brow * hair * _strands(rng, SKIN_TEXELS, 0.4)
        beard = _beard_mask(place) * look.beard * np.clip(
            0.75 + 0.35 * _noise(rng, SKIN_TEXELS, 1.5), 0.0, 1.0)
        skin = skin * (1 - beard) + beard * hair
        skin *= 1 - 0.5 * _lash_line(self._model, place)
        edge = (hairline_distance(place) + look.hairline_mm
                + 2.5 * _noise(rng, SKIN_TEXELS, 6.0) + 1.5 * _noise(rng, SKIN_TEXELS, 2.0))
        ear = (np.abs(place[..., 0]) > 74.0) & (place[..., 1] < 75.0)
        scalp = np.clip(edge / 11.0, 0.0, 1.0) * (place[..., 0] < FAR_MM) * ~ear
        scalp *= min(1.0, 0.3 + look.hair_mm / 6.0)
        strands = look.hair_albedo * _strands(rng, SKIN_TEXELS, 0.55)
        return skin * (1 - scalp) + scalp * strands, tone

    def _eye(self, look: Look, rng: np.random.Generator, tone: float) -> np.ndarray:
        side = EYE_PATCH[2]
        grid = (np.arange(side) + 0.5) / side * 2 - 1
        x, y = np.meshgrid(grid * EYE_PATCH_RADIUS, grid * EYE_PATCH_RADIUS)
        radius = np.hypot(x, y)
        iris = self._model.assets.iris(look.iris)
        half = iris.shape[0] / 2 - 0.5
        looked_up = cv2.remap(iris, (half + x * IRIS_TEXELS_PER_LIMBUS).astype(np.float32),
                              (half + y * IRIS_TEXELS_PER_LIMBUS).astype(np.float32),
                              cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        looked_up = looked_up * rng.uniform(0.35, 1.0)  # brown eyes are darker than these
        corner = np.clip((np.abs(x) - 1.4) / 1.0, 0.0, 1.0)  # pink towards the corners
        sclera = min(look.sclera, 0.1 + 2.0 * tone) * (1 - 0.35 * corner) * (
            1 + 0.05 * _noise(rng, side, 5.0))
        white = np.clip((radius - 0.97) / 0.1, 0.0, 1.0)
        pupil = np.clip((rng.uniform(0.28, 0.45) - radius) / 0.06, 0.0, 1.0)
        return ((looked_up * (1 - white) + sclera * white) * (1 - pupil)
                + 0.01 * pupil).astype(np.float32)


class FurrowLayer:
    """Darkens the skin of one atlas along its furrows, frame by frame."""

    def __init__(self, furrows: tuple, atlas: np.ndarray, wrinkles: float, blur: float):
        self._atlas = atlas
        self._drivers = [(driver, depth * wrinkles) for _, driver, depth in furrows]
        masks = [_blurred(mask, blur) for mask, _, _ in furrows]
        union = np.flatnonzero(np.max([np.abs(m) for m in masks], axis=0).ravel() > 0.01)
        self._rows, self._columns = (v.astype(np.int32) for v in np.divmod(union, SKIN_TEXELS))
        self._masks = np.stack([m.ravel()[union] for m in masks]).astype(np.float32)
        self._base = atlas[self._rows, self._columns].copy()

    def apply(self, weights: dict):
        """Paint the furrows for blendshape weights by name, sides apart."""
        depth = np.array([min(1.2, max(0.0, driver(weights))) * d for driver, d in self._drivers],
                         np.float32)
        _darken(self._atlas, self._rows, self._columns, self._base, self._masks, depth)


def spectacles(thickness: float, rng: np.random.Generator) -> tuple:
    """Return the lines of a pair of glasses: (points (n, 3) mm, thickness mm, albedo)."""
    wide, high = rng.uniform(22.0, 27.0), rng.uniform(15.0, 21.0)
    power = rng.uniform(2.0, 4.0)  # from round to square
    albedo = float(rng.uniform(0.01, 0.15))
    angle = np.linspace(0.0, 2 * np.pi, 49)
    lines = []
    for side in (-1.0, 1.0):
        x, y = np.cos(angle), np.sin(angle)
        x, y = (np.sign(v) * np.abs(v) ** (2 / power) for v in (x, y))
        points = np.stack([side * (33.0 + wide * x), 33.0 + high * y,
                           109.0 - 0.004 * (33.0 + wide * x) ** 2], axis=-1)
        lines.append((points.astype(np.float32), thickness, albedo))
        outer = side * (33.0 + wide)
        arm = np.array([[outer, 38.0, 95.0], [1.05 * outer, 38.0, 88.0]], np.float32)
        lines.append((arm, thickness, albedo))
    bridge = np.array([[-33.0 + wide, 36.0, 108.0], [0.0, 39.0, 111.0],
                       [33.0 - wide, 36.0, 108.0]], np.float32)
    return tuple(lines + [(bridge, thickness, albedo)])


def background(rng: np.random.Generator, size: tuple) -> np.ndarray:
    """Return smooth clutter (height, width), linear light; 1 is as bright as the face."""
    height, width = size
    light = np.full(size, np.exp(rng.uniform(np.log(0.08), np.log(1.6))), np.float32)
    level = light[0, 0]
    for scale, depth in ((70.0, 0.5), (20.0, 0.2), (5.0, 0.06)):
        light *= np.exp(rng.uniform(0.1, 1.0) * depth * _noise(rng, max(size), scale)[
            :height, :width])
    for _ in range(rng.integers(0, 6)):  # shelves, frames, windows
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        corners = (int(x), int(y)), (int(x + rng.uniform(10, 120)), int(y + rng.uniform(10, 150)))
        cv2.rectangle(light, *corners, float(level * np.exp(rng.normal(0.0, 0.7))), -1)
    return _blurred(np.clip(light, 0.01, 2.5), rng.uniform(0.8, 3.0))


def _furrows(place: np.ndarray) -> tuple:
    """Return (mask (512, 512), driver, depth): what darkens where, driven by which shapes."""
    def line(points, width, rim=0.35):
        return _crease(place, points, width, rim)

    def side(name, left):
        return name + ('_L' if left else '_R')

    out = []
    for left in (True, False):
        s = 1.0 if left else -1.0

        def value(weights, name, left=left):
            return weights.get(side(name, left), 0.0)
        out += [
            (line([(s * 18, -2), (s * 27, -13), (s * 33, -26), (s * 36, -38)], 2.0),
             lambda w, v=value: 1.0 * v(w, 'mouthSmile') + 0.7 * v(w, 'mouthUpperUp')
             + 0.5 * v(w, 'noseSneer') + 0.3 * v(w, 'mouthStretch'), 0.5),
            (line([(s * 20, -4), (s * 31, -16), (s * 38, -30), (s * 40, -42)], 6.0, 0.6),
             lambda w, v=value: v(w, 'mouthSmile') + 0.6 * v(w, 'mouthUpperUp'), 0.34),
            (line([(s * 44, -22), (s * 47, -34), (s * 45, -46)], 2.4),
             lambda w, v=value: v(w, 'mouthSmile') + v(w, 'mouthDimple') - 0.4, 0.35),
            (line([(s * 14, 25), (s * 24, 20), (s * 36, 20), (s * 47, 25)], 2.2),
             lambda w, v=value: 0.8 * v(w, 'cheekSquint') + 0.6 * v(w, 'eyeSquint'), 0.38),
            (np.maximum.reduce([line([(s * 50, 34 + d / 3), (s * 62, 33 + d)], 1.1)
                                for d in (-9, 0, 8)]),
             lambda w, v=value: v(w, 'cheekSquint') + 0.3 * v(w, 'mouthSmile') - 0.2, 0.45),
            (line([(s * 26, -38), (s * 31, -47), (s * 33, -57)], 2.2),
             lambda w, v=value: v(w, 'mouthFrown') + 0.4 * v(w, 'mouthStretch'), 0.42),
            (line([(s * 7.5, 46), (s * 6, 56), (s * 6.5, 68)], 1.5),
             lambda w, v=value: v(w, 'browDown'), 0.6),
            (line([(s * 14, 47), (s * 26, 50), (s * 40, 52)], 3.5, 0.2),
             lambda w, v=value: v(w, 'browDown'), 0.3),
        ]
    def both(weights, name):
        return 0.5 * (weights.get(name + '_L', 0.0) + weights.get(name + '_R', 0.0))
    forehead = np.maximum.reduce([line([(-46, y - 5), (-25, y), (0, y - 2), (25, y), (46, y - 5)],
                                       1.5) for y in (74, 83, 92)])
    nose = np.maximum.reduce([line([(-10, y + 3), (0, y), (10, y + 3)], 1.2)
                              for y in (30, 36, 42)]
                             + [line([(s * 8, 22), (s * 13, 30)], 1.3) for s in (-1, 1)])
    omega = np.maximum.reduce([line([(-20, y - 2), (0, y), (20, y - 2)], 1.4) for y in (70, 78)])
    out += [
        (forehead, lambda w: 0.5 * both(w, 'browOuterUp') + 0.5 * both(w, 'browInnerUp')
         - 0.1 * both(w, 'browDown'), 0.5),
        (omega, lambda w: both(w, 'browInnerUp') - 0.3 * both(w, 'browOuterUp'), 0.35),
        (nose, lambda w: both(w, 'noseSneer'), 0.5),
        (line([(-17, -52), (0, -49), (17, -52)], 2.4), lambda w: w.get('mouthShrugLower', 0.0)
         + 0.3 * both(w, 'mouthFrown'), 0.4),
        (_dimples(place), lambda w: w.get('mouthShrugLower', 0.0) - 0.1, 0.4),
    ]
    return tuple(out)


def _crease(place: np.ndarray, points: list, width: float, rim: float) -> np.ndarray:
    """Return a groove along a line on the front of the face: dark, beside it a paler rim."""
    flat = place[..., :2]
    best = np.full(place.shape[:2], FAR_MM, np.float32)
    taper = np.zeros_like(best)
    points = [np.array(p, float) for p in points]
    total = sum(np.linalg.norm(b - a) for a, b in zip(points, points[1:]))
    done = 0.0
    for a, b in zip(points, points[1:]):
        length = np.linalg.norm(b - a)
        along = np.clip(((flat - a) @ (b - a)) / length ** 2, 0.0, 1.0)
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
    noise = np.clip(_noise(np.random.default_rng(3), SKIN_TEXELS, 3.5), 0.0, 2.0)
    span = ((place[..., 0] / 13.0) ** 2 + ((place[..., 1] + 61.0) / 9.0) ** 2)
    return (noise * np.exp(-span) * (place[..., 2] > 70.0)).astype(np.float32)


def _beard_mask(place: np.ndarray) -> np.ndarray:
    x, y = np.abs(place[..., 0]), place[..., 1]
    jaw = np.clip((-12.0 - y - 0.3 * np.maximum(0.0, 30.0 - x) + 0.35 * x) / 10.0, 0.0, 1.0)
    neck = np.clip((y + 98.0) / 14.0, 0.0, 1.0)
    mouth = np.exp(-((x / 24.0) ** 4 + ((y + 35.0) / 11.0) ** 4))
    cheek = np.clip((x - 20.0) / 12.0, 0.0, 1.0) * np.clip((y + 34.0) / 12.0, 0.0, 1.0) * (
        x < 58.0)
    return (jaw * neck * (1 - mouth) * (1 - cheek) * (x < 78.0) * (place[..., 2] > 15.0))


def _lash_line(model: FaceModel, place: np.ndarray) -> np.ndarray:
    out = np.zeros(place.shape[:2], np.float32)
    for ids in ((36, 37, 38, 39), (42, 43, 44, 45)):
        out = np.maximum(out, _crease(place, [model.neutral[model.landmarks[i], :2] for i in ids],
                                      1.6, 0.0))
    return np.clip(out, 0.0, 1.0)


def _positions(model: FaceModel) -> np.ndarray:
    """Return where on the neutral head each texel of the skin lies, mm."""
    place = np.full((SKIN_TEXELS, SKIN_TEXELS, 3), FAR_MM, np.float32)
    skin = model.triangles[(model.triangles < model.skin_count).all(axis=1)]
    _fill(model.uv, model.neutral, skin, place)
    return place


def _noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Return smooth noise of unit deviation, (size, size) float32, `scale` texels wide."""
    cells = max(2, int(np.ceil(size / scale)) + 1)
    noise = cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (size, size),
                       interpolation=cv2.INTER_CUBIC)
    return noise / (noise.std() + 1e-6)


def _strands(rng: np.random.Generator, size: int, depth: float) -> np.ndarray:
    """Return streaks along the rows' direction, about 1."""
    fine = rng.standard_normal((max(2, size // 14), size)).astype(np.float32)
    streaks = cv2.GaussianBlur(cv2.resize(fine, (size, size)), (0, 0), 1.0)
    streaks /= streaks.std() + 1e-6
    return np.exp(depth * np.clip(streaks + 0.5 * _noise(rng, size, 20.0), -2, 2) * 0.6)


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Return cloth: plain, striped or checked, with folds."""
    size = CLOTH_PATCH[2]
    grid = np.arange(size)
    cloth = np.full((size, size), np.exp(rng.uniform(np.log(0.015), np.log(0.35))), np.float32)
    kind, period = rng.integers(4), rng.uniform(8, 40)
    stripes = 1 + rng.uniform(-0.5, 0.8) * (np.sin(2 * np.pi * grid / period) > 0)
    if kind in (1, 3):
        cloth *= stripes[:, None]
    if kind in (2, 3):
        cloth *= stripes[None, :]
    cloth *= np.exp(0.18 * _noise(rng, size, 35.0) + 0.05 * _noise(rng, size, 2.0))
    return np.clip(cloth, 0.01, 0.8).astype(np.float32)


def _spot(skin, x, y, radius, albedo):
    yy, xx = np.mgrid[:skin.shape[0], :skin.shape[1]]
    mask = np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / radius ** 2)
    return skin * (1 - mask * (1 - albedo))


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return picture if sigma < 0.3 else cv2.GaussianBlur(picture, (0, 0), float(sigma))


def _paste(atlas: np.ndarray, patch: tuple, picture: np.ndarray):
    x, y, side = patch
    atlas[y:y + side, x:x + side] = picture


@njit(cache=True)
def _fill(uv, position, triangles, place):
    size = place.shape[0]
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1 = uv[a, 0], uv[a, 1], uv[b, 0], uv[b, 1]
        x2, y2 = uv[c, 0], uv[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(min(y0, y1, y2))), min(size - 1, int(max(y0, y1, y2)) + 1) + 1):
            for x in range(max(0, int(min(x0, x1, x2))),
                           min(size - 1, int(max(x0, x1, x2)) + 1) + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                if w1 >= -0.02 and w2 >= -0.02 and w1 + w2 <= 1.02:
                    for k in range(3):
                        place[y, x, k] = ((1 - w1 - w2) * position[a, k] + w1 * position[b, k]
                                          + w2 * position[c, k])


@njit(fastmath=True, cache=True)
def _darken(atlas, rows, columns, base, masks, depth):
    for i in range(rows.shape[0]):
        dark = np.float32(1.0)
        for k in range(depth.shape[0]):
            dark -= depth[k] * masks[k, i]
        atlas[rows[i], columns[i]] = base[i] * min(np.float32(1.25), max(np.float32(0.15), dark))
