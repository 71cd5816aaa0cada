"""What a person looks like: skin, brows, eyes, hair, beard, spectacles, clothes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from training.data.faces import (
    ATLAS_SHAPE,
    CLOTH_PATCH,
    EYE_PATCH,
    EYE_PATCH_RADIUS,
    GUMS_PATCH,
    HAIR_PATCH,
    IDENTITY_SIGMA,
    SKIN_TEXELS,
    SOCKET_PATCH,
    TEETH_PATCH,
    FaceModel,
    hairline_distance,
)
from training.data.furrows import FAR_MM, crease, furrows
from training.data.textures import blurred, cloth, noise, spot, strands

TONE_POWER = 0.75  # the dark skins are painted darker than skin is (0.06 and more)
DARK_SKIN = 0.18  # linear albedo: below it irises are brown, darker than those of the set
IRIS_TEXELS_PER_LIMBUS = 53.3  # skins/README.md, section 2


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
        identity=identity,
        skin=skin,
        coefficients=rng.normal(0.0, IDENTITY_SIGMA, 100),
        brow=str(rng.choice(assets.brows)),
        brow_width=float(rng.uniform(0.0, 3.5 + male)),
        brow_albedo=float(rng.uniform(0.008, 0.03 if dark else 0.12)),
        iris=str(rng.choice(assets.irises)),
        sclera=float(rng.uniform(0.26, 0.42)),
        skin_gain=float(rng.uniform(0.8, 1.15)),
        hair_mm=float(rng.uniform(2.0, 26.0)),
        hair_albedo=float(
            np.exp(rng.uniform(np.log(0.008), np.log(0.03 if dark else (0.3 if old else 0.16))))
        ),
        hairline_mm=float(rng.normal(0.0, 5.0) + (rng.random() < 0.3) * rng.uniform(5.0, 24.0)),
        long_hair=bool(rng.random() < (0.12 if male else 0.65)),
        beard=float(male and rng.random() < 0.4) * float(rng.uniform(0.2, 0.85)),
        spectacles=float(rng.random() < 0.17) * float(rng.uniform(1.0, 3.2)),
        wrinkles=float(rng.uniform(0.7, 1.0) if old else rng.uniform(0.25, 0.85)),
        seed=int(rng.integers(1 << 31)),
    )


class Painter:
    """Turns looks into atlases: linear albedo of all surfaces of one person in one picture."""

    def __init__(self, model: FaceModel):
        self._model = model
        self.position = _positions(model)  # (512, 512, 3) mm on the neutral head
        self.furrows = furrows(self.position)

    def atlas(self, look: Look, wardrobe: np.random.Generator, blur: float) -> np.ndarray:
        """
        Return the atlas, float32 linear albedo.

        Parameters
        ----------
        look : Look
        wardrobe : np.random.Generator
            Draws the clothes, which a person changes.
        blur : float
            Sigma in texels: textures finer than the picture would sparkle.
        """
        rng = np.random.default_rng(look.seed)
        atlas = np.full(ATLAS_SHAPE, 0.1, np.float32)
        skin, tone = self._skin(look, rng)
        dress = cloth(wardrobe)
        collar = (
            -128.0
            - wardrobe.uniform(0.0, 26.0)
            - 12.0
            * wardrobe.random()
            * np.cos(np.minimum(np.abs(self.position[..., 0]) / 40.0, np.pi / 2))
        )
        collar = collar + 0.45 * np.maximum(0.0, np.abs(self.position[..., 0]) - 42.0)
        covered = np.clip((collar - self.position[..., 1]) / 2.0, 0.0, 1.0)
        skin = skin * (1 - covered) + covered * cv2.resize(dress, (SKIN_TEXELS, SKIN_TEXELS))
        atlas[:, :SKIN_TEXELS] = blurred(skin.astype(np.float32), blur)
        _paste(atlas, CLOTH_PATCH, dress)
        _paste(atlas, HAIR_PATCH, look.hair_albedo * strands(rng, HAIR_PATCH[2], 0.6))
        _paste(atlas, EYE_PATCH, blurred(self._eye(look, rng, tone), 0.6 + 0.8 * blur))
        for (x, y, side), albedo in (
            (SOCKET_PATCH, 0.05),
            (GUMS_PATCH, 0.12),
            (TEETH_PATCH, min(0.5, 0.2 + 0.9 * tone)),
        ):
            atlas[y : y + side, x : x + side] = albedo
        return atlas

    def _skin(self, look: Look, rng: np.random.Generator) -> tuple:
        assets, place = self._model.assets, self.position
        skin = assets.skin(look.skin)
        tone = float(np.median(skin[230:330, 180:330]))
        skin = (skin / tone) ** rng.uniform(0.85, 1.15)  # own contrast
        tone = tone**TONE_POWER * look.skin_gain
        skin *= tone
        skin *= np.exp(
            rng.uniform(0.01, 0.04) * noise(rng, SKIN_TEXELS, 9.0)
            + rng.uniform(0.005, 0.03) * noise(rng, SKIN_TEXELS, 2.0)
        )
        for _ in range(rng.integers(0, 7)):  # moles
            x, y = rng.uniform(160, 350), rng.uniform(130, 400)
            skin = spot(skin, x, y, rng.uniform(1.0, 2.5), 0.45)
        hair = min(look.brow_albedo, 0.5 * tone)
        brow = assets.brow(look.brow)
        brow = np.clip(blurred(brow, look.brow_width / 2) * (1 + 0.55 * look.brow_width), 0, 0.95)
        skin = skin * (1 - brow) + brow * hair * strands(rng, SKIN_TEXELS, 0.4)
        beard = (
            _beard_mask(place)
            * look.beard
            * np.clip(0.75 + 0.35 * noise(rng, SKIN_TEXELS, 1.5), 0.0, 1.0)
        )
        skin = skin * (1 - beard) + beard * hair
        skin *= 1 - 0.5 * _lash_line(self._model, place)
        edge = (
            hairline_distance(place)
            + look.hairline_mm
            + 2.5 * noise(rng, SKIN_TEXELS, 6.0)
            + 1.5 * noise(rng, SKIN_TEXELS, 2.0)
        )
        ear = (np.abs(place[..., 0]) > 74.0) & (place[..., 1] < 75.0)
        scalp = np.clip(edge / 11.0, 0.0, 1.0) * (place[..., 0] < FAR_MM) * ~ear
        scalp *= min(1.0, 0.3 + look.hair_mm / 6.0)
        hairs = look.hair_albedo * strands(rng, SKIN_TEXELS, 0.55)
        return skin * (1 - scalp) + scalp * hairs, tone

    def _eye(self, look: Look, rng: np.random.Generator, tone: float) -> np.ndarray:
        side = EYE_PATCH[2]
        grid = (np.arange(side) + 0.5) / side * 2 - 1
        x, y = np.meshgrid(grid * EYE_PATCH_RADIUS, grid * EYE_PATCH_RADIUS)
        radius = np.hypot(x, y)
        iris = self._model.assets.iris(look.iris)
        half = iris.shape[0] / 2 - 0.5
        looked_up = cv2.remap(
            iris,
            (half + x * IRIS_TEXELS_PER_LIMBUS).astype(np.float32),
            (half + y * IRIS_TEXELS_PER_LIMBUS).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        looked_up = looked_up * rng.uniform(0.1, 0.3 if tone < DARK_SKIN else 0.8)
        corner = np.clip((np.abs(x) - 1.4) / 1.0, 0.0, 1.0)  # pink towards the corners
        sclera = (
            min(look.sclera, 0.07 + 1.6 * tone)
            * (1 - 0.35 * corner)
            * (1 + 0.05 * noise(rng, side, 5.0))
        )
        white = np.clip((radius - 0.97) / 0.1, 0.0, 1.0)
        pupil = np.clip((rng.uniform(0.28, 0.45) - radius) / 0.06, 0.0, 1.0)
        return ((looked_up * (1 - white) + sclera * white) * (1 - pupil) + 0.01 * pupil).astype(
            np.float32
        )


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
        points = np.stack(
            [side * (33.0 + wide * x), 33.0 + high * y, 109.0 - 0.004 * (33.0 + wide * x) ** 2],
            axis=-1,
        )
        lines.append((points.astype(np.float32), thickness, albedo))
        outer = side * (33.0 + wide)
        arm = np.array([[outer, 38.0, 95.0], [1.05 * outer, 38.0, 88.0]], np.float32)
        lines.append((arm, thickness, albedo))
    bridge = np.array(
        [[-33.0 + wide, 36.0, 108.0], [0.0, 39.0, 111.0], [33.0 - wide, 36.0, 108.0]], np.float32
    )
    return tuple(lines + [(bridge, thickness, albedo)])


def _beard_mask(place: np.ndarray) -> np.ndarray:
    x, y = np.abs(place[..., 0]), place[..., 1]
    jaw = np.clip((-12.0 - y - 0.3 * np.maximum(0.0, 30.0 - x) + 0.35 * x) / 10.0, 0.0, 1.0)
    neck = np.clip((y + 98.0) / 14.0, 0.0, 1.0)
    mouth = np.exp(-((x / 24.0) ** 4 + ((y + 35.0) / 11.0) ** 4))
    cheek = (
        np.clip((x - 20.0) / 12.0, 0.0, 1.0) * np.clip((y + 34.0) / 12.0, 0.0, 1.0) * (x < 58.0)
    )
    return jaw * neck * (1 - mouth) * (1 - cheek) * (x < 78.0) * (place[..., 2] > 15.0)


def _lash_line(model: FaceModel, place: np.ndarray) -> np.ndarray:
    out = np.zeros(place.shape[:2], np.float32)
    for ids in ((36, 37, 38, 39), (42, 43, 44, 45)):
        out = np.maximum(
            out, crease(place, [model.neutral[model.landmarks[i], :2] for i in ids], 1.6, 0.0)
        )
    return np.clip(out, 0.0, 1.0)


def _positions(model: FaceModel) -> np.ndarray:
    """Return where on the neutral head each texel of the skin lies, mm."""
    place = np.full((SKIN_TEXELS, SKIN_TEXELS, 3), FAR_MM, np.float32)
    skin = model.triangles[(model.triangles < model.skin_count).all(axis=1)]
    _fill(model.uv, model.neutral, skin, place)
    return place


def _paste(atlas: np.ndarray, patch: tuple, picture: np.ndarray):
    x, y, side = patch
    atlas[y : y + side, x : x + side] = picture


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
            for x in range(
                max(0, int(min(x0, x1, x2))), min(size - 1, int(max(x0, x1, x2)) + 1) + 1
            ):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
                if w1 >= -0.02 and w2 >= -0.02 and w1 + w2 <= 1.02:
                    for k in range(3):
                        place[y, x, k] = (
                            (1 - w1 - w2) * position[a, k]
                            + w1 * position[b, k]
                            + w2 * position[c, k]
                        )
