"""Lamps: where they stand, how they move, dim and flicker, what passes before them."""

from dataclasses import dataclass

import numpy as np

TOTAL = 1.15  # light of all lamps and the room at a clip's start; albedo times it is the picture
AMBIENT = (0.14, 0.5)
SOFTNESS = (0.05, 0.45)  # of a lamp: how far round its light reaches
MANNERS = ('steady', 'drift', 'dim', 'screen')
MANNER_SHARES = (0.7, 0.12, 0.1, 0.08)
SWEEP_SHARE = 0.08  # of clips: a soft shadow passes over the face
SWEEP_WIDTH_MM = (50.0, 160.0)


@dataclass(frozen=True)
class Lights:
    """All light of a clip, F frames, L lamps; the first casts shadows and shines."""

    lamps: np.ndarray  # (F, L, 5) float32: direction (camera axes), strength, softness
    ambient: np.ndarray  # (F,) float32: what the room sends back
    shine: float = 0.06  # sheen of the skin
    sweep: np.ndarray | None = None  # (F, 5): direction, place and width in mm, depth

    @property
    def room(self) -> np.ndarray:
        """Return (F,) the brightness of what stands behind the face, against the first frame."""
        total = self.ambient + self.lamps[..., 3].sum(axis=1)
        return 0.5 + 0.5 * total / total[0]


def lamp(direction: tuple, strength: float = 0.6, ambient: float = 0.4, softness: float = 0.2):
    """Return the steady light of one lamp, for one frame."""
    toward = np.array(direction, np.float64)
    row = np.append(toward / np.linalg.norm(toward), [strength, softness])
    return Lights(row.astype(np.float32)[None, None], np.full(1, ambient, np.float32), 0.0)


def draw_lights(frames: int, rate_hz: float, rng: np.random.Generator, moving: bool) -> Lights:
    """
    Return two to four lamps.

    Parameters
    ----------
    frames : int
    rate_hz : float
        Frames per second.
    rng : np.random.Generator
        Draws the same whether lights move or not.
    moving : bool
        Else every lamp stays as it is in the first frame.
    """
    t = np.arange(frames) / rate_hz
    count = int(rng.integers(2, 5))
    ambient = float(rng.uniform(*AMBIENT))
    shares = rng.dirichlet([5.0] + [1.2] * (count - 1))
    shares[0], shares[1:] = max(shares[0], 0.4), shares[1:] * min(1.0, 0.6 / shares[1:].sum())
    shares = shares / shares.sum() * (TOTAL - ambient)
    lamps = np.stack([_lamp(t, share, k == 0, rng) for k, share in enumerate(shares)], axis=1)
    sweep = _sweep(t, rng)
    if not moving:
        lamps, sweep = np.repeat(lamps[:1], frames, axis=0), None
    return Lights(
        lamps.astype(np.float32),
        np.full(frames, ambient, np.float32),
        float(rng.uniform(0.0, 0.12)),
        sweep,
    )


def _lamp(t: np.ndarray, strength: float, key: bool, rng: np.random.Generator) -> np.ndarray:
    """Return (F, 5) of one lamp; the key light stands before the face, others anywhere."""
    wide, low, high = (65.0, -5.0, 62.0) if key else (115.0, -20.0, 75.0)
    azimuth = np.full(len(t), rng.uniform(-wide, wide))
    height = np.full(len(t), rng.uniform(low, high))
    softness = rng.uniform(*SOFTNESS)
    manner = str(rng.choice(MANNERS, p=MANNER_SHARES))
    speed, start, length = rng.normal(0.0, 7.0), rng.uniform(0.1, 0.7), rng.uniform(0.4, 2.0)
    depth, rate = rng.uniform(-0.45, 0.45), rng.uniform(1.0, 4.0)
    noise = rng.normal(0.0, 1.0, 2 + int(t[-1] * rate))
    level = np.ones(len(t))
    if manner == 'drift':  # a lamp carried by, the sun through leaves
        azimuth += speed * t
        height += 0.4 * speed * (t - t[0])
    elif manner == 'dim':
        x = np.clip((t - start * t[-1]) / length, 0.0, 1.0)
        level += depth * x * x * (3 - 2 * x)
    elif manner == 'screen':  # pictures on a screen change in steps of a tenth of a second
        x = t * rate
        k = x.astype(int)
        f = np.clip((x - k) / 0.3, 0.0, 1.0)
        f = f * f * (3 - 2 * f)
        level = np.clip(1 + 0.2 * (noise[k] * (1 - f) + noise[k + 1] * f), 0.3, 1.7)
    a, h = np.radians(azimuth), np.radians(height)
    direction = [np.sin(a) * np.cos(h), np.sin(h), np.cos(a) * np.cos(h)]
    return np.stack([*direction, strength * level, np.full(len(t), softness)], axis=-1)


def _sweep(t: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return the path of a soft shadow over the face, for some clips."""
    angle, width = rng.normal(0.0, 0.3), rng.uniform(*SWEEP_WIDTH_MM)
    speed, middle = rng.uniform(150.0, 700.0) * rng.choice([-1, 1]), rng.uniform(0.0, t[-1])
    depth, shown = rng.uniform(0.2, 0.7), rng.random() < SWEEP_SHARE
    if not shown:
        return None
    path = np.empty((len(t), 5), np.float32)
    path[:, 0], path[:, 1] = np.cos(angle), np.sin(angle)
    path[:, 2], path[:, 3], path[:, 4] = speed * (t - middle), width, depth
    return path
