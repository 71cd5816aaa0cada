"""
A grey camera before the scenes of a set: the same people, acts, lamps and lenses, drawn again.

Nothing of the pictures is stored with a set. A clip is decided by the plan of its set and its
number, so the studio films it once more, and a frame camera watches instead of event pixels.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cs3d_ros.face import Box, face_square
from cs3d_ros.face.align import FaceSquare
from training.data.clips import DataError
from training.data.plan import SetPlan
from training.data.studio import Studio, world_version
from training.data.world import CONDITIONS

# EMVA 1288 figures of 3.45 um global-shutter sensors, such as makers print them: saturation at
# about 10,500 electrons, 2.4 of them temporal noise in the dark.
FULL_WELL_E = 10_500.0  # at white, in a well lit room, exposed for a whole period
DARK_NOISE_E = 2.4
FRAMES_PER_EXPOSURE = 2  # pictures drawn, 60 a second, in a period
REACH = 1.35  # side of what is kept of a picture, over that of the face square
KEPT_PX = 152  # of a side; REACH times 112 and a little


class GreyClip(NamedTuple):
    """What a grey camera saw of a clip: pictures around the face, one per period."""

    pictures: np.ndarray  # (P, KEPT_PX, KEPT_PX) uint8
    squares: np.ndarray  # (P, 3) float32: centre x, y and side, sensor px, of what each shows


def plan_of(folder: Path) -> SetPlan:
    """
    Return the plan of a set, from which its scenes can be drawn again.

    Raises
    ------
    DataError
        If the set tells no plan, or another version of the world drew it.
    """
    path = Path(folder) / 'set.json'
    try:
        about = json.loads(path.read_text())
        plan = SetPlan(
            about['seed'], *about['size'], tuple(about['without']), tuple(about['conditions'])
        )
        world = about['world']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            '{} is no set of training.synthesize, whose scenes could be drawn again: {}'.format(
                folder, error
            )
        ) from error
    if world != world_version():
        raise DataError(
            '{} was drawn by version {} of the world, this is {}: its scenes would be others; '
            'make the set again'.format(folder, world, world_version())
        )
    return plan


def film(studio: Studio, index: int) -> GreyClip:
    """Return what a grey camera sees of a clip of the studio's set."""
    plan = studio.plan.clip(index)
    look, act = studio.look(plan), studio.performance(plan)
    condition = CONDITIONS[plan.condition]
    scene = studio.stage.set_up(
        look, act, np.random.default_rng([plan.seed, 5, index]), condition, studio.plan.ingredients
    )
    noise = np.random.default_rng([plan.seed, 6, index])
    pictures, squares, light, boxes = [], [], [], []
    for picture, box, _, _ in studio.stage.film(scene, act):
        light.append((picture / 255.0) ** scene.gamma)
        boxes.append(box)
        if len(light) == FRAMES_PER_EXPOSURE:
            square = face_square(Box(*map(float, np.mean(boxes, 0))))
            side = REACH * square.side
            seen = expose(np.mean(light, 0), condition.light, scene.gamma, noise)
            pictures.append(cut_out(seen, square._replace(side=side), KEPT_PX))
            squares.append((square.cx, square.cy, side))
            light, boxes = [], []
    return GreyClip(np.stack(pictures), np.array(squares, np.float32))


def pack(clip: GreyClip) -> bytes:
    """Return a clip as a file's content."""
    content = io.BytesIO()
    np.savez(content, **clip._asdict())
    return content.getvalue()


def unpack(path: Path) -> GreyClip:
    """Return a clip of a file; DataError if it is none."""
    try:
        with np.load(path) as arrays:
            return GreyClip(arrays['pictures'], arrays['squares'])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError('{} holds no grey clip ({}): delete it'.format(path, error)) from error


def expose(light: np.ndarray, level: float, gamma: float, rng: np.random.Generator) -> np.ndarray:
    """
    Return the picture of a frame camera, uint8, that makes up for poor light by its gain.

    Parameters
    ----------
    light : np.ndarray [shape=(height, width)]
        0 to 1, linear, on the sensor in a well lit room.
    level : float
        Of a well lit room: photons are so many times fewer.
    gamma : float
        Of the display values, 1 for linear ones.
    rng : np.random.Generator

    Notes
    -----
    Electrons are Poisson, the dark adds normal noise; gain restores the brightness and what is
    noise with it. Exposure lasts the whole period already.

    Source: EMVA 1288, Standard for Characterization of Image Sensors and Cameras, release 4.0,
    section 2: the linear model of sensor and noise.
    """
    electrons = rng.poisson(light * (FULL_WELL_E * level)) + rng.normal(
        0.0, DARK_NOISE_E, light.shape
    )
    share = np.clip(electrons / (FULL_WELL_E * level), 0.0, 1.0)
    return np.round(255.0 * share ** (1.0 / gamma)).astype(np.uint8)


def cut_out(picture: np.ndarray, square: FaceSquare, size: int) -> np.ndarray:
    """
    Return a square of a picture, uint8 (size, size), as SquareAccumulator lays its cells.

    What lies beyond the rim is black. Where it shrinks, what would alias is blurred first.
    """
    scale, half = size / square.side, size / 2
    if scale < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.5 * np.sqrt(1 / scale**2 - 1) + 1e-3)
    cos, sin = scale * np.cos(square.roll), scale * np.sin(square.roll)
    dx, dy = 0.5 - square.cx, 0.5 - square.cy  # a pixel's number is its left edge
    matrix = np.array(
        [
            [cos, sin, cos * dx + sin * dy + half - 0.5],
            [-sin, cos, cos * dy - sin * dx + half - 0.5],
        ]
    )
    return cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR)


def cut_again(kept: np.ndarray, kept_square, square: FaceSquare, size: int) -> np.ndarray:
    """Return another square, in sensor pixels, out of what a kept square (cx, cy, side) shows."""
    cx, cy, side = map(float, kept_square)
    scale = len(kept) / side
    place = FaceSquare(
        (square.cx - cx) * scale + len(kept) / 2,
        (square.cy - cy) * scale + len(kept) / 2,
        square.side * scale,
        square.roll,
    )
    return cut_out(kept, place, size)
