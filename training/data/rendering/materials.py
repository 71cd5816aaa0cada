"""What a person's surfaces are made of: skin, brows, lips, eyes, hair, beard, cloth."""

import cv2
import numpy as np
from numba import njit

from training.data.rendering.faces import FaceModel
from training.data.rendering.furrows import FAR_MM, crease, furrows
from training.data.rendering.looks import Look
from training.data.rendering.sheets import (
    ATLAS_SHAPE,
    CLOTH_PATCH,
    EYE_PATCH,
    EYE_PATCH_RADIUS,
    GUMS_PATCH,
    HAIR_PATCH,
    HAND_PATCH,
    LASH_PATCH,
    LENS_PATCH,
    SKIN_TEXELS,
    SOCKET_PATCH,
    TEETH_PATCH,
    VISOR_PATCH,
    hairline_distance,
    is_ear,
)
from training.data.rendering.textures import blurred, cloth, noise, spot, strands
from training.data.rendering.wear import hat_cover, scarf_cover
from training.data.world import Ingredients

TONE_POWER = 0.75  # the dark skins are painted darker than skin is (0.06 and more)
IRIS_TEXELS_PER_LIMBUS = 53.3  # skins/README.md, section 2
LENS_ALBEDO = 0.02
FACE_TEXELS = (slice(230, 330), slice(180, 330))  # cheeks and nose: where the tone is taken


class Painter:
    """Turns looks into atlases: linear albedo of all surfaces of one person in one picture."""

    def __init__(self, model: FaceModel):
        self._model = model
        self.position = _positions(model)  # (512, 512, 3) mm on the neutral head
        self.furrows = furrows(self.position)
        self.lips = _lips(model)  # masks of the upper and the lower
        self._beard = _beard_mask(self.position)
        self._lash_line = _lash_line(model, self.position)

    def tone(self, look: Look) -> float:
        """Return the albedo of a person's skin, its median over cheeks and nose."""
        skin = self._model.assets.skin(look.skin)
        return float(np.median(skin[FACE_TEXELS])) ** TONE_POWER * look.skin_gain

    def atlas(
        self, look: Look, wardrobe: np.random.Generator, blur: float,
        ingredients: Ingredients = Ingredients(),
    ) -> np.ndarray:  # fmt: skip
        """
        Return the atlas, float32 linear albedo.

        Parameters
        ----------
        look : Look
        wardrobe : np.random.Generator
            Draws the clothes, which a person changes.
        blur : float
            Sigma in texels: textures finer than the picture would sparkle.
        ingredients : Ingredients
            skin_texture and soft_eyes count here; draws are the same with and without.
        """
        rng = np.random.default_rng(look.seed)
        tone = self.tone(look)
        atlas = np.full(ATLAS_SHAPE, 0.1, np.float32)
        skin = self._skin(look, rng, tone, ingredients.skin_texture)
        dress, hat, scarf = (cloth(wardrobe) for _ in range(3))
        skin = self._clothes(skin, look, tone, wardrobe, dress, hat, scarf)
        atlas[:, :SKIN_TEXELS] = blurred(skin.astype(np.float32), blur)
        _paste(atlas, CLOTH_PATCH, dress)
        hairs = look.hair_albedo * strands(rng, HAIR_PATCH[2], 0.6)
        _paste(atlas, HAIR_PATCH, hat if look.headwear == 'headscarf' else hairs)
        _paste(atlas, VISOR_PATCH, hat[: VISOR_PATCH[2], : VISOR_PATCH[2]])
        eye = self._eye(look, rng, tone, ingredients.soft_eyes)
        _paste(atlas, EYE_PATCH, blurred(eye, 0.6 + 0.8 * blur))
        palm = np.exp(
            0.06 * noise(rng, HAND_PATCH[2], 14.0) + 0.03 * noise(rng, HAND_PATCH[2], 3.0)
        )
        _paste(atlas, HAND_PATCH, 0.95 * tone * palm)
        mouth = (0.05, 0.12, min(0.42, 0.16 + 0.8 * tone))
        if look.face_scarf:  # what shows between the lips is more of it
            mouth = 3 * (float(min(scarf.mean(), 0.05 + 3.0 * tone)),)
        for (x, y, side), albedo in (
            *zip((SOCKET_PATCH, GUMS_PATCH, TEETH_PATCH), mouth),
            (LASH_PATCH, min(0.02, 0.2 * tone)),
            (LENS_PATCH, LENS_ALBEDO),
        ):
            atlas[y : y + side, x : x + side] = albedo
        return atlas

    def _clothes(self, skin, look: Look, tone: float, wardrobe, dress, hat, scarf) -> np.ndarray:
        """Paint the collar, headwear and a scarf onto the skin; their rims shade it."""
        place = self.position
        collar = (
            -128.0
            - wardrobe.uniform(0.0, 26.0)
            - 12.0
            * wardrobe.random()
            * np.cos(np.minimum(np.abs(place[..., 0]) / 40.0, np.pi / 2))
        )
        collar = collar + 0.45 * np.maximum(0.0, np.abs(place[..., 0]) - 42.0)
        for inside, picture in (
            (collar - place[..., 1], dress),
            (hat_cover(look.headwear, place), hat),
            (scarf_cover(look, place), scarf),
        ):
            cover = np.clip(inside / 2.0, 0.0, 1.0) * (place[..., 0] < FAR_MM)
            rim = 1 - 0.45 * np.exp(-0.5 * (np.minimum(inside, 0.0) / 3.0) ** 2)
            own = cv2.resize(picture, (SKIN_TEXELS, SKIN_TEXELS))
            own = np.minimum(own, 0.05 + 3.0 * tone)  # white cloth at a dark face is no mere glare
            skin = skin * rim * (1 - cover) + cover * own
        return skin

    def _skin(self, look: Look, rng, tone: float, textured: bool) -> np.ndarray:
        assets, place = self._model.assets, self.position
        skin = assets.skin(look.skin)
        skin = (skin / np.median(skin[FACE_TEXELS])) ** rng.uniform(0.85, 1.15)  # own contrast
        skin *= tone * np.exp(
            rng.uniform(0.01, 0.04) * noise(rng, SKIN_TEXELS, 9.0)
            + rng.uniform(0.005, 0.03) * noise(rng, SKIN_TEXELS, 2.0)
        )
        for _ in range(rng.integers(0, 7)):  # moles
            x, y = rng.uniform(160, 350), rng.uniform(130, 400)
            skin = spot(skin, x, y, rng.uniform(1.0, 2.5), 0.45)
        if not textured:
            skin = np.full_like(skin, tone)
        for mask, factor in zip(self.lips, look.lips):
            skin = skin * (1 - mask * (1 - factor))
        hair = min(look.brow_albedo, 0.5 * tone)
        brow = assets.brow(look.brow)
        brow = np.clip(blurred(brow, look.brow_width / 2) * (1 + 0.55 * look.brow_width), 0, 0.95)
        hairs = strands(rng, SKIN_TEXELS, 0.4)
        skin = skin * (1 - brow) + brow * hair * (hairs if textured else 1.0)
        stubble = np.clip(0.75 + 0.35 * noise(rng, SKIN_TEXELS, 1.5), 0.0, 1.0)
        beard = self._beard * look.beard * stubble
        skin = skin * (1 - beard) + beard * hair
        skin *= 1 - 0.5 * self._lash_line
        edge = (
            hairline_distance(place)
            + look.hairline_mm
            + 2.5 * noise(rng, SKIN_TEXELS, 6.0)
            + 1.5 * noise(rng, SKIN_TEXELS, 2.0)
        )
        scalp = np.clip(edge / 11.0, 0.0, 1.0) * (place[..., 0] < FAR_MM) * ~is_ear(place)
        scalp *= min(1.0, 0.3 + look.hair_mm / 6.0)
        hairs = look.hair_albedo * strands(rng, SKIN_TEXELS, 0.55)
        return skin * (1 - scalp) + scalp * hairs

    def _eye(self, look: Look, rng, tone: float, soft: bool) -> np.ndarray:
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
        # Irises are darker than the white about them, those of dark people much darker.
        own = looked_up[(radius > 0.5) & (radius < 0.9)].mean()
        share = rng.uniform(0.06, 0.2) if 'darkskinned' in look.skin else rng.uniform(0.12, 0.5)
        looked_up = looked_up * (share * look.sclera / own)
        corner = np.clip((np.abs(x) - 1.3) / 1.0, 0.0, 1.0)  # pink towards the corners
        veins = 1 + 0.05 * noise(rng, side, 5.0)
        sclera = look.sclera * veins
        if soft:  # else the white of the eyes outshines a dark face
            sclera = min(0.85 * look.sclera, 0.05 + 1.1 * tone) * (1 - 0.4 * corner) * veins
            looked_up = looked_up * (1 - 0.4 * np.exp(-0.5 * ((radius - 0.98) / 0.09) ** 2))
        white = np.clip((radius - 0.95) / 0.14, 0.0, 1.0)
        pupil = np.clip((rng.uniform(0.28, 0.45) - radius) / 0.06, 0.0, 1.0)
        return ((looked_up * (1 - white) + sclera * white) * (1 - pupil) + 0.01 * pupil).astype(
            np.float32
        )


def _beard_mask(place: np.ndarray) -> np.ndarray:
    x, y = np.abs(place[..., 0]), place[..., 1]
    jaw = np.clip((-12.0 - y - 0.3 * np.maximum(0.0, 30.0 - x) + 0.35 * x) / 10.0, 0.0, 1.0)
    neck = np.clip((y + 98.0) / 14.0, 0.0, 1.0)
    mouth = np.exp(-((x / 24.0) ** 4 + ((y + 35.0) / 11.0) ** 4))
    cheek = (
        np.clip((x - 20.0) / 12.0, 0.0, 1.0)
        * np.clip((y + 34.0) / 12.0, 0.0, 1.0)
        * np.clip((70.0 - x) / 12.0, 0.0, 1.0)
    )
    return jaw * neck * (1 - mouth) * (1 - cheek) * (x < 78.0) * (place[..., 2] > 15.0)


def _lips(model: FaceModel) -> tuple:
    """Return masks (512, 512) of the upper and the lower lip, 0..1, soft at their rims."""
    uv = model.uv[model.landmarks]
    masks = []
    for outer, inner in (
        ((48, 49, 50, 51, 52, 53, 54), (64, 63, 62, 61, 60)),
        ((54, 55, 56, 57, 58, 59, 48), (60, 67, 66, 65, 64)),
    ):
        mask = np.zeros((SKIN_TEXELS, SKIN_TEXELS), np.float32)
        rim = uv[list(outer)]
        # The inner contour lies on the rim that is seen at rest: the lip goes on inwards.
        inside = uv[list(inner)] + 0.5 * (uv[list(inner)].mean(axis=0) - rim.mean(axis=0))
        cv2.fillPoly(mask, [np.round(np.concatenate([rim, inside]) * 16).astype(np.int32)], 1.0,
                     cv2.LINE_AA, 4)  # fmt: skip
        masks.append(blurred(mask, 1.6))
    return tuple(masks)


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
