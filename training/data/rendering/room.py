"""What stands and moves behind a face: clutter, a camera that pans, people who pass by."""

from math import floor

import cv2
import numpy as np
from numba import njit

from training.data.rendering.textures import blurred, noise

PAD_PX = 40  # how much larger than the picture the clutter is, on each side
PAN_SHARE, PASSING_SHARE = 0.15, 0.15  # of clips
PAN_PX_S = 14.0  # deviation of a pan's speed


class Room:
    """
    The background of a clip, as light per frame; 1 is as bright as the face.

    Parameters
    ----------
    size : tuple
        (height, width) of the picture.
    frames : int
    rate_hz : float
    rng : np.random.Generator
        Draws the same whether the background moves or not.
    moving : bool
    """

    def __init__(self, size: tuple, frames: int, rate_hz: float, rng, moving: bool = True):
        height, width = size
        t = np.arange(frames) / rate_hz
        self._size = size
        self.picture = clutter(rng, (height + 2 * PAD_PX, width + 2 * PAD_PX))
        self._drift = _pan(t, rng)
        self._passers = tuple(_passer(t, size, rng) for _ in range(rng.integers(1, 3)))
        if rng.random() > PASSING_SHARE:
            self._passers = ()
        if not moving:
            self._drift, self._passers = np.zeros((frames, 2)), ()
        self._out = np.zeros(size, np.float32)

    def behind(self, k: int, shift_px=(0.0, 0.0)) -> np.ndarray:
        """
        Return the light behind the face in frame k; the next call overwrites it.

        Parameters
        ----------
        k : int
        shift_px : sequence of float
            By which the picture is shifted as a whole: a camera that shakes.
        """
        x, y = PAD_PX - np.asarray(shift_px) - self._drift[k]
        _crop(self.picture, np.float32(x), np.float32(y), self._out)
        for sprite, level, path in self._passers:
            left, top = path[k] + shift_px
            _lay(sprite, np.float32(level), np.float32(left), np.float32(top), self._out)
        return self._out


def clutter(rng: np.random.Generator, size: tuple) -> np.ndarray:
    """Return a picture (height, width) of a room, linear light, out of focus."""
    height, width = size
    level = float(np.exp(rng.uniform(np.log(0.08), np.log(1.6))))
    light = np.full(size, level, np.float32)
    for scale, depth in ((70.0, 0.5), (20.0, 0.2), (5.0, 0.06)):
        light *= np.exp(
            rng.uniform(0.1, 1.0) * depth * noise(rng, max(size), scale)[:height, :width]
        )
    for _ in range(rng.integers(0, 5)):  # cupboards, frames, doors
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        corners = (int(x), int(y)), (int(x + rng.uniform(10, 120)), int(y + rng.uniform(10, 150)))
        cv2.rectangle(light, *corners, float(level * np.exp(rng.normal(0.0, 0.7))), -1)
    if rng.random() < 0.35:
        _shelf(light, level, rng)
    if rng.random() < 0.25:
        _window(light, rng)
    for _ in range(rng.integers(0, 3) if rng.random() < 0.25 else 0):
        person = figure(int(height * rng.uniform(0.6, 1.1)))
        x, y = int(rng.uniform(-40, width - 20)), int(rng.uniform(0.1, 0.5) * height)
        part = light[y : y + person.shape[0], max(0, x) : x + person.shape[1]]
        alpha = person[: part.shape[0], max(0, -x) : max(0, -x) + part.shape[1]]
        part += alpha * (level * float(np.exp(rng.normal(0.0, 0.8))) - part)
    return blurred(np.clip(light, 0.01, 2.5), rng.uniform(0.6, 3.0))


def _shelf(light: np.ndarray, level: float, rng: np.random.Generator):
    """Draw boards with books: many upright edges."""
    height, width = light.shape
    left, right = sorted(int(v) for v in rng.uniform(0, width, 2))
    y, step = int(rng.uniform(10, 60)), int(rng.uniform(40, 80))
    while y < height:
        x = left
        while x < right:
            wide, tall = int(rng.uniform(4, 14)), int(step * rng.uniform(0.55, 0.9))
            shade = float(level * np.exp(rng.normal(0.0, 0.6)))
            cv2.rectangle(light, (x, y - tall), (min(x + wide, right), y), shade, -1)
            x += wide
        cv2.rectangle(light, (left, y), (right, y + 4), 0.5 * level, -1)
        y += step


def _window(light: np.ndarray, rng: np.random.Generator):
    """Draw a bright window with a cross."""
    height, width = light.shape
    wide, tall = int(rng.uniform(50, 130)), int(rng.uniform(60, 160))
    x, y = int(rng.uniform(-20, width - 30)), int(rng.uniform(-20, height / 2))
    cv2.rectangle(light, (x, y), (x + wide, y + tall), float(rng.uniform(1.2, 2.5)), -1)
    bar = int(rng.uniform(3, 8))
    cv2.rectangle(light, (x + wide // 2, y), (x + wide // 2 + bar, y + tall), 0.2, -1)
    cv2.rectangle(light, (x, y + tall // 2), (x + wide, y + tall // 2 + bar), 0.2, -1)


def figure(height: int) -> np.ndarray:
    """Return the outline of a person, head and shoulders, coverage (height, width) float32."""
    width = max(8, int(0.55 * height))
    out = np.zeros((height, width), np.float32)
    middle = width // 2
    cv2.ellipse(out, (middle, int(0.14 * height)), (int(0.09 * height), int(0.12 * height)),
                0, 0, 360, 1.0, -1)  # fmt: skip
    cv2.ellipse(out, (middle, int(0.62 * height)), (int(0.24 * height), int(0.36 * height)),
                0, 0, 360, 1.0, -1)  # fmt: skip
    cv2.rectangle(out, (int(middle - 0.2 * height), int(0.62 * height)),
                  (int(middle + 0.2 * height), height), 1.0, -1)  # fmt: skip
    return blurred(out, max(1.0, 0.012 * height))


def _pan(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (F, 2) px of a camera that follows the face while the room glides by."""
    speed, begin = rng.normal(0.0, PAN_PX_S, 2) * (1.0, 0.3), rng.uniform(0.0, 0.6) * t[-1]
    still = rng.random() > PAN_SHARE
    way = speed * np.maximum(0.0, t - begin)[:, None]
    return np.zeros((len(t), 2)) if still else np.clip(way, 12 - PAD_PX, PAD_PX - 12)


def _passer(t: np.ndarray, size: tuple, rng: np.random.Generator) -> tuple:
    """Return (coverage, light, path (F, 2) px of its corner) of one who walks past."""
    height, width = size
    sprite = blurred(figure(int(height * rng.uniform(0.8, 1.6))), rng.uniform(0.5, 3.0))
    sprite = np.pad(sprite, 3)
    speed = rng.uniform(40.0, 220.0) * rng.choice([-1.0, 1.0]) * width / 256
    moment, level = rng.uniform(0.0, t[-1]), np.exp(rng.uniform(np.log(0.05), np.log(1.5)))
    x = rng.uniform(0.2, 0.8) * width - sprite.shape[1] / 2 + speed * (t - moment)
    y = rng.uniform(-0.1, 0.4) * height + 3.0 * np.sin(2 * np.pi * 1.8 * t)  # the gait
    return sprite, float(level), np.stack([x, y], axis=-1)


@njit(fastmath=True, error_model='numpy', cache=True)
def _crop(picture, left, top, out):
    """Write the part of a picture that begins at a place between its pixels."""
    height, width = out.shape
    x0, y0 = int(floor(left)), int(floor(top))
    x0 = max(0, min(picture.shape[1] - width - 1, x0))
    y0 = max(0, min(picture.shape[0] - height - 1, y0))
    fx = min(np.float32(1.0), max(np.float32(0.0), left - np.float32(x0)))
    fy = min(np.float32(1.0), max(np.float32(0.0), top - np.float32(y0)))
    for y in range(height):
        upper, lower = picture[y0 + y], picture[y0 + y + 1]
        for x in range(width):
            a = upper[x0 + x] + fx * (upper[x0 + x + 1] - upper[x0 + x])
            b = lower[x0 + x] + fx * (lower[x0 + x + 1] - lower[x0 + x])
            out[y, x] = a + fy * (b - a)


@njit(fastmath=True, error_model='numpy', cache=True)
def _lay(cover, level, left, top, out):
    """Lay a shape of one light over the picture; its corner lies between pixels."""
    x0, y0 = int(floor(left)), int(floor(top))
    fx, fy = left - np.float32(x0), top - np.float32(y0)
    for y in range(max(0, y0 + 1), min(out.shape[0], y0 + cover.shape[0])):
        upper, lower = cover[y - y0], cover[y - y0 - 1]
        for x in range(max(0, x0 + 1), min(out.shape[1], x0 + cover.shape[1])):
            k = x - x0
            a = upper[k] + fx * (upper[k - 1] - upper[k])
            b = lower[k] + fx * (lower[k - 1] - lower[k])
            out[y, x] += (a + fy * (b - a)) * (level - out[y, x])
