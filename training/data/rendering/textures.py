"""Random textures: noise, hair, cloth."""

import cv2
import numpy as np

from training.data.rendering.sheets import CLOTH_PATCH


def noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Return smooth noise of unit deviation, (size, size) float32, `scale` texels wide."""
    cells = max(2, int(np.ceil(size / scale)) + 1)
    smooth = cv2.resize(
        rng.standard_normal((cells, cells)).astype(np.float32),
        (size, size),
        interpolation=cv2.INTER_CUBIC,
    )
    return smooth / (smooth.std() + 1e-6)


def strands(rng: np.random.Generator, size: int, depth: float) -> np.ndarray:
    """Return streaks along the rows' direction, about 1."""
    fine = rng.standard_normal((max(2, size // 14), size)).astype(np.float32)
    streaks = cv2.GaussianBlur(cv2.resize(fine, (size, size)), (0, 0), 1.0)
    streaks /= streaks.std() + 1e-6
    return np.exp(depth * np.clip(streaks + 0.5 * noise(rng, size, 20.0), -2, 2) * 0.6)


def cloth(rng: np.random.Generator) -> np.ndarray:
    """Return cloth: plain, striped or checked, with folds."""
    size = CLOTH_PATCH[2]
    grid = np.arange(size)
    light = np.full((size, size), np.exp(rng.uniform(np.log(0.015), np.log(0.35))), np.float32)
    kind, period = rng.integers(4), rng.uniform(8, 40)
    stripes = 1 + rng.uniform(-0.5, 0.8) * (np.sin(2 * np.pi * grid / period) > 0)
    if kind in (1, 3):
        light *= stripes[:, None]
    if kind in (2, 3):
        light *= stripes[None, :]
    light *= np.exp(0.18 * noise(rng, size, 35.0) + 0.05 * noise(rng, size, 2.0))
    return np.clip(light, 0.01, 0.8).astype(np.float32)


def spot(skin, x, y, radius, albedo):
    yy, xx = np.mgrid[: skin.shape[0], : skin.shape[1]]
    mask = np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / radius**2)
    return skin * (1 - mask * (1 - albedo))


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return picture if sigma < 0.3 else cv2.GaussianBlur(picture, (0, 0), float(sigma))
