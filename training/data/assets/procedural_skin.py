"""
Skins painted without any picture: tones, blood, pores, lips, lids, creases, moles, stubble.

A skin is an optical density that darkens one tone; it depends on nothing but the skin's name and
the face's mesh. Hair on the head and brows are no part of it. Where something goes is said in mm
on the neutral head (x to the person's left, y up, z to the viewer) or by the face's landmarks;
sizes of grain are in texels, of 0.5 mm.
"""

import types
import zlib

import cv2
import numpy as np

from training.data.assets.face_maps import SKIN_TEXELS, pull_push
from training.data.assets.procedural_features import BROWS, IRISES, paint_brows, paint_iris
from training.data.rendering.textures import noise

# Words that rendering.looks reads in MakeHuman's names, too: hair, beards and age follow.
SKINS = tuple(
    'procedural_{:02d}_{}_{}skinned_{}male'.format(k, *words)
    for k, words in enumerate(
        (age, tone, sex)
        for age in ('young', 'young', 'middleage', 'old')
        for tone in ('light', 'dark')
        for sex in ('fe', '')
    )
)
AGES = {'young': 0.1, 'middleage': 0.45, 'old': 1.0}  # depth of the wrinkles
LIGHT, DARK = (0.24, 0.52), (0.035, 0.14)  # linear albedo, from the darkest to the lightest
LATTICE = 6  # samples along a triangle's side
SEAM = 0.3  # triangles wider than this share of the skin cross its cut at the back
EYE_MM, MOUTH_MM = (31.0, 35.0), (0.0, -34.0)  # x and y of a neutral eye and mouth
NOSTRIL_TEXELS = (1.0, -7.0)  # from between the landmarks below it; mirrored on the left
OUTER_LIPS, INNER_LIPS = slice(48, 60), slice(60, 68)
LIDS = ((36, 37, 38, 39), (45, 44, 43, 42)), ((36, 41, 40, 39), (45, 46, 47, 42))


class Paintbox:
    """Skins, brows and irises by name, for one mesh; its parameters are SkinPainter's."""

    names = types.MappingProxyType({'skins': SKINS, 'brows': BROWS, 'irises': IRISES})

    def __init__(self, neutral, triangles, skin_uv, landmarks):
        self._painter = SkinPainter(neutral, triangles, skin_uv, landmarks)
        self._done = {}

    def skin(self, name: str) -> np.ndarray:
        """Return the linear albedo (512, 512) float32, 0..1, of a skin."""
        return self._paint('skins', name, self._painter.paint)

    def brow(self, name: str) -> np.ndarray:
        """Return the coverage (512, 512) float32, 0..1, of a pair of brows."""
        return self._paint('brows', name, lambda n: paint_brows(n, self._painter.marks))

    def iris(self, name: str) -> np.ndarray:
        """Return the linear luminance (128, 128) float32 of an iris."""
        return self._paint('irises', name, paint_iris)

    def _paint(self, kind: str, name: str, paint) -> np.ndarray:
        if name not in self.names[kind]:
            raise ValueError('no painted {} is called {!r}'.format(kind, name))
        if name not in self._done:
            self._done[name] = paint(name)
        return self._done[name].copy()


class SkinPainter:
    """
    Paints skins for one mesh.

    Parameters
    ----------
    neutral : np.ndarray [shape=(V, 3)]
        mm.
    triangles : np.ndarray [shape=(T, 3)]
        Of all parts; those of the skin are the ones whose vertices have texture coordinates.
    skin_uv : np.ndarray [shape=(n, 2)]
        0..1, of the first n vertices.
    landmarks : np.ndarray [shape=(68,)]
        Multi-PIE order.
    """

    def __init__(self, neutral, triangles, skin_uv, landmarks):
        self.place = texel_places(neutral, triangles, skin_uv)
        self.marks = skin_uv[landmarks] * SKIN_TEXELS  # texels
        self._front = np.clip((self.place[..., 2] - 20.0) / 25.0, 0.0, 1.0)
        x, y = np.abs(self.place[..., 0]), self.place[..., 1]
        above_bust = np.clip((y + 105.0) / 20.0, 0.0, 1.0)  # where the mesh ends it has no shape
        self._concave = (
            concavity(self.place) * above_bust * np.clip(self.place[..., 2] / 20.0, 0.0, 1.0)
        )
        ears = ((x > 73.0) & (y > -30.0) & (y < 60.0)).astype(np.float32)
        self._ears = cv2.GaussianBlur(ears, (0, 0), 3.0)
        self._lips = self._polygon(OUTER_LIPS)
        self._mouth = self._polygon(INNER_LIPS)
        self._lids = [[self._line(ids) for ids in pair] for pair in LIDS]  # upper, lower

    def paint(self, name: str) -> np.ndarray:
        """Return the linear albedo (512, 512) float32, 0..1, of a skin; the same for a name."""
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        words = name.split('_')
        age = AGES[words[-3]] * rng.uniform(0.85, 1.1)
        dark, male = words[-2] == 'darkskinned', words[-1] == 'male'
        tone = np.exp(rng.uniform(*np.log(DARK if dark else LIGHT)))
        blood = np.clip(tone / 0.3, 0.25, 1.0) * rng.uniform(0.7, 1.2)  # melanin hides it
        density = self._mottle(rng)
        density += blood * self._blood(rng)
        density += self._hollows(age)
        density += self._lines(rng, age)
        density += self._pores(rng, age)
        density += self._marks(rng, 0.0 if dark else float(rng.random() < 0.3))
        if male:
            density += rng.uniform(0.1, 1.0) * self._stubble(rng)
        density += self._mouth_density(rng, dark)
        return np.clip(tone * np.exp(-density), 0.004, 0.9).astype(np.float32)

    def _mottle(self, rng) -> np.ndarray:
        depth = rng.uniform(0.7, 1.3)
        return depth * sum(
            d * noise(rng, SKIN_TEXELS, scale)
            for scale, d in (
                (90.0, 0.035),
                (34.0, 0.03),
                (13.0, 0.028),
                (6.0, 0.022),
                (3.5, 0.014),
            )
        )

    def _blood(self, rng) -> np.ndarray:
        out = sum(
            self._spread(x, y, wide, high, depth * rng.uniform(0.5, 1.5))
            for x, y, wide, high, depth in (
                (42, 2, 18, 16, 0.13),  # cheeks
                (0, 6, 11, 10, 0.10),  # tip of the nose
                (14, -6, 6, 6, 0.14),  # wings of the nose
                (0, -62, 13, 9, 0.07),  # chin
                (*EYE_MM, 19, 10, 0.10),  # lids
            )
        )
        out += 0.15 * self._ears
        return out * np.exp(0.25 * noise(rng, SKIN_TEXELS, 18.0))

    def _hollows(self, age: float) -> np.ndarray:
        """Return the soft shadow where little light reaches: at eyes, nose, lips, ears, chin."""
        y = self.place[..., 1]
        out = sum(
            self._spread(*where)
            for where in (
                (*EYE_MM, 22, 11, 0.14),
                (17, 40, 8, 10, 0.30),  # inner corners
                (30, 24, 15, 4, 0.04 + 0.12 * age),  # bags
                (15, 14, 5, 16, 0.12),  # sides of the nose
                (0, -15, 12, 4, 0.15),
                (0, -50, 15, 4, 0.14),
                (26, -36, 5, 5, 0.16),  # corners of the mouth
            )
        )
        out += (1.0 + 0.3 * age) * self._concave
        for rim, middle in ((31, 32), (35, 34)):
            x, y0 = self.marks[[rim, middle]].mean(axis=0) + NOSTRIL_TEXELS
            _dab(out, x, y0, 2.6, 0.9)
        return out + 0.25 * np.clip((-62.0 - y) / 25.0, 0.0, 1.0) * self._front  # below the jaw

    def _lines(self, rng, age: float) -> np.ndarray:
        """Return lids' creases and wrinkles."""
        wave = 2.2 * noise(rng, SKIN_TEXELS, 40.0)
        fade = np.clip(0.75 + 0.4 * noise(rng, SKIN_TEXELS, 22.0), 0.0, 1.4)
        x, y = np.abs(self.place[..., 0]), self.place[..., 1]
        out = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
        for upper, lower in zip(*self._lids):
            out += self._stroke(upper + (0.0, -7.0), 1.6, 0.22 + 0.1 * age)
            out += self._stroke(upper + (0.0, -1.0), 1.6, 0.35)
            out += self._stroke(lower + (0.0, 1.0), 1.4, 0.2)
            out += age * self._stroke(lower + (0.0, 9.0), 2.0, 0.12)
        forehead = np.exp(-(((y - 84.0) / 14.0) ** 4) - (x / 46.0) ** 4)
        rows = np.cos(2 * np.pi * (y + 0.004 * x**2 + wave) / rng.uniform(7.5, 10.5))
        out += 0.17 * age * forehead * fade * np.clip(rows - 0.35, 0.0, 1.0) / 0.65
        angle = np.arctan2(y - EYE_MM[1] + 0.6 * wave, x - 38.0)
        away = np.hypot(x - 38.0, y - EYE_MM[1])
        feet = np.exp(-(((away - 19.0) / 8.0) ** 2)) * np.clip(1 - np.abs(angle) / 0.8, 0.0, 1.0)
        out += 0.28 * age * feet * fade * np.clip(np.cos(angle * 17.0) - 0.3, 0.0, 1.0)
        fold = x - 17.0 - 0.011 * (6.0 - y) ** 2 - 0.12 * (6.0 - y) + 0.6 * wave
        reach = np.clip((8.0 - y) / 16.0, 0.0, 1.0) * np.clip((y + 44.0) / 22.0, 0.0, 1.0)
        out += (0.04 + 0.17 * age) * fade * reach * np.exp(-((fold / 2.8) ** 2))
        frown = np.exp(-(((x - 6.0 + 0.4 * wave) / 1.3) ** 2) - ((y - 61.0) / 7.0) ** 2)
        return (out + 0.15 * age * fade * frown) * self._front

    def _pores(self, rng, age: float) -> np.ndarray:
        """Return pores at two scales, widest on nose and cheeks, and the fine grain."""
        x, y = np.abs(self.place[..., 0]), self.place[..., 1]
        oily = np.exp(-((x / 38.0) ** 2) - ((y - 10.0) / 30.0) ** 2) + 0.35
        coarse = np.maximum(0.0, noise(rng, SKIN_TEXELS, 2.6) - 0.6)
        fine = np.maximum(0.0, noise(rng, SKIN_TEXELS, 1.3) - 0.5)
        grain = noise(rng, SKIN_TEXELS, 1.0)
        rough = rng.uniform(0.7, 1.3) * (1 + 0.6 * age)
        return rough * (oily * (0.05 * coarse + 0.055 * fine) + 0.018 * grain)

    def _marks(self, rng, freckled: float) -> np.ndarray:
        out = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
        for _ in range(rng.integers(1, 8)):  # moles
            x, y = rng.uniform(120, 392), rng.uniform(110, 400)
            _dab(out, x, y, rng.uniform(0.8, 1.9), rng.uniform(0.3, 1.0))
        spots = np.clip(noise(rng, SKIN_TEXELS, 3.2) - 1.3, 0.0, 0.6)
        return out + 0.5 * freckled * spots * self._spread(28, 14, 26, 16, 1.0)

    def _stubble(self, rng) -> np.ndarray:
        x, y, z = np.abs(self.place[..., 0]), self.place[..., 1], self.place[..., 2]
        edge = 3.0 * noise(rng, SKIN_TEXELS, 14.0)
        jaw = np.clip((-16.0 - y + 0.45 * x - 6.0 * (x < 26) + edge) / 14.0, 0.0, 1.0)
        jaw *= np.clip((y + 100.0) / 20.0, 0.0, 1.0) * (z > 10.0) * (x < 74.0)
        hairs = np.maximum(0.0, noise(rng, SKIN_TEXELS, 1.4) - 0.3)
        return self._front * jaw * (0.10 + 0.11 * hairs)

    def _mouth_density(self, rng, dark: bool) -> np.ndarray:
        ragged = 1.0 + 0.1 * noise(rng, SKIN_TEXELS, 4.0)
        lips = np.clip(1.35 * (cv2.GaussianBlur(self._lips, (0, 0), 3.0) * ragged - 0.22), 0, 1)
        folds = cv2.resize(
            rng.standard_normal((SKIN_TEXELS // 14, SKIN_TEXELS // 2)).astype(np.float32),
            (SKIN_TEXELS, SKIN_TEXELS),
            interpolation=cv2.INTER_CUBIC,
        )
        red = rng.uniform(-0.05, 0.25) if dark else rng.uniform(0.35, 0.65)
        upper = np.clip((self.place[..., 1] - MOUTH_MM[1]) / 4.0, 0.0, 1.0)
        inside = cv2.GaussianBlur(self._mouth, (0, 0), 2.5)
        return lips * (red + 0.12 * upper + 0.04 * folds) + 0.3 * inside

    def _spread(self, x, y, wide, high, depth) -> np.ndarray:
        """Return a soft blot, and its mirror image if it lies off the middle."""
        place = self.place
        across = (np.abs(place[..., 0]) - x) / wide
        return depth * self._front * np.exp(-(across**2) - ((place[..., 1] - y) / high) ** 2)

    def _stroke(self, line: np.ndarray, width: float, depth: float) -> np.ndarray:
        """Return a soft line, fading towards its ends; width is its sigma in texels."""
        out = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
        strength = np.sin(np.linspace(0.15, np.pi - 0.15, len(line)))
        for here, there, s in zip(line[:-1], line[1:], strength):
            ends = [tuple(int(v) for v in np.rint(16 * (p - 0.5))) for p in (here, there)]
            cv2.line(out, *ends, float(s), 2, cv2.LINE_AA, 4)
        return depth * np.minimum(1.0, 2.2 * width / 2 * cv2.GaussianBlur(out, (0, 0), width))

    def _line(self, ids: tuple) -> np.ndarray:
        """Return a smooth line of 24 points through landmarks, texels."""
        points = self.marks[list(ids)]
        curve = [np.polyfit(np.arange(len(ids)), points[:, k], len(ids) - 1) for k in (0, 1)]
        t = np.linspace(0, len(ids) - 1, 24)
        return np.stack([np.polyval(c, t) for c in curve], axis=-1)

    def _polygon(self, ids: slice) -> np.ndarray:
        out = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
        corners = np.rint(16 * (self.marks[ids] - 0.5)).astype(np.int32)
        cv2.fillPoly(out, [corners], 1.0, cv2.LINE_AA, 4)
        return out


def texel_places(neutral, triangles, skin_uv) -> np.ndarray:
    """Return where on the neutral head each texel of the skin lies, (512, 512, 3) float32, mm."""
    skin = triangles[(triangles < len(skin_uv)).all(axis=1)]
    skin = skin[np.ptp(skin_uv[skin, 0], axis=1) < SEAM]
    a, b = (v.ravel() / LATTICE for v in np.mgrid[: LATTICE + 1, : LATTICE + 1])
    inside = a + b < 1.0 + 1e-6
    share = np.stack([1 - a - b, a, b], axis=-1)[inside]  # barycentric
    texel = np.floor(np.einsum('sk,tkc->tsc', share, skin_uv[skin]) * SKIN_TEXELS)
    texel = np.clip(texel, 0, SKIN_TEXELS - 1).astype(int).reshape(-1, 2)
    points = np.einsum('sk,tkc->tsc', share, neutral[skin]).reshape(-1, 3)
    index = texel[:, 1] * SKIN_TEXELS + texel[:, 0]
    count = np.bincount(index, minlength=SKIN_TEXELS**2)
    total = [np.bincount(index, p, SKIN_TEXELS**2) for p in points.T]
    mean = np.stack(total, axis=-1) / np.maximum(count, 1)[:, None]
    square = (SKIN_TEXELS, SKIN_TEXELS)
    filled = pull_push(mean.reshape(*square, 3), (count > 0).astype(float).reshape(square))
    return filled.astype(np.float32)


def concavity(place: np.ndarray) -> np.ndarray:
    """Return how much darker (density, 0..1.2) the mesh's hollows are than what is around."""
    across, down = np.gradient(place, axis=1), np.gradient(place, axis=0)
    normal = np.cross(down, across)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
    out = np.zeros(place.shape[:2], np.float32)
    for sigma, depth in ((2.5, 0.5), (7.0, 0.16)):  # per mm below the smoothed surface
        below = ((cv2.GaussianBlur(place, (0, 0), sigma) - place) * normal).sum(axis=-1)
        out += depth * np.clip(below, -0.15, 2.0)
    return cv2.GaussianBlur(np.clip(out, -0.1, 1.2), (0, 0), 1.2)


def _dab(density: np.ndarray, x: float, y: float, radius: float, depth: float):
    reach = int(4 * radius) + 1
    rows = slice(int(y) - reach, int(y) + reach + 1)
    columns = slice(int(x) - reach, int(x) + reach + 1)
    yy, xx = np.mgrid[rows, columns]
    density[rows, columns] += depth * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 2 / radius**2)
