"""
How an example departs from its recording: events as other sensors, trackers and rooms make them.

What a kind of augmentation does is a property that tests hold: a mirrored window is the window of
mirrored events; a stretched one has the same events at other times; a sensor of another threshold
gives every pixel as many times more or fewer; edges move behind a face, never before it.
"""

from typing import NamedTuple

import numba
import numpy as np

from cs3d_ros.events import EventBatch
from cs3d_ros.face.align import FaceSquare

AUGMENTATIONS = (
    'mirror',
    'stretch',
    'drop',
    'noise',
    'crop',
    'rotation',
    'threshold',
    'background',
    'blank',
)

WANDER_FRAMES = 15  # in which a tracker's error becomes another one: half a second
LONGEST_BLANK = 8  # frames
MOST_EDGE_EVENTS = 200_000  # of one edge; a faster or longer one is thinned
BOX_TIMES = 32  # at which an example's face is looked up, to know what is behind it
# Of a square that is cut anew out of cut frames: half of what a tracker errs by, which they have
# in them already.
CROPPED_SHIFT, CROPPED_SCALE = 0.03, 0.05
HEAD = 1.15  # height and width of a head with its hair, over those of the face box


class Variation(NamedTuple):
    """How an example departs from the recording; the default is not at all."""

    shift_x: float = 0.0  # of the face square, in its sides
    shift_y: float = 0.0
    scale: float = 1.0
    wander: float = 0.0  # deviation of the shift that comes and goes, in sides
    roll: float = 0.0  # rad
    mirror: bool = False
    on_gain: float = 1.0  # ON events that a sensor of another threshold sees for one
    off_gain: float = 1.0
    drop: float = 0.0  # share of events lost
    noise: float = 0.0  # events per cell and frame that nothing caused
    pace: float = 1.0  # of time; above 1 the face moves faster
    blank: int = 0  # leading frames that nothing was seen in, as in a new clip
    edges: int = 0  # that move behind the face


def draw_variation(rng: np.random.Generator, kinds=AUGMENTATIONS) -> Variation:
    """Return a variation such as trackers, sensors and people make, of some kinds only."""
    # All are drawn, so that leaving out one kind changes nothing of the others.
    gain = np.exp(rng.uniform(np.log(0.4), np.log(3.0)))
    balance = np.exp(rng.normal(0, 0.15))
    drawn = {
        # as the finder's boxes depart from true ones on rendered faces, its worst quarter apart
        'crop': {
            'shift_x': rng.normal(0, 0.06),
            'shift_y': rng.normal(-0.02, 0.06),
            'scale': float(np.exp(rng.normal(-0.03, 0.1))),
            'wander': 0.015,
        },
        'rotation': {'roll': rng.normal(0, np.radians(5))},
        'mirror': {'mirror': bool(rng.random() < 0.5)},
        # contrast thresholds of sensors and their biases lie within a factor of 7, and those of ON
        # and OFF apart by one of 1.35, a standard deviation, as both take the balance
        'threshold': {'on_gain': float(gain * balance), 'off_gain': float(gain / balance)},
        'drop': {'drop': float(rng.choice([0.0, 0.0, 0.1, 0.3]))},
        'noise': {'noise': float(rng.choice([0.0, 0.0, 0.003, 0.01]))},
        'stretch': {'pace': float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))},
        'background': {'edges': int(rng.choice([0, 0, 1, 2, 4]))},
        'blank': {
            'blank': int(rng.integers(0, LONGEST_BLANK)) if rng.random() < 0.05 else 0,
        },
    }
    chosen = {}
    for kind in kinds:
        chosen.update(drawn[kind])
    return Variation(**chosen)


def varied_square(square: FaceSquare, variation: Variation, wander=(0.0, 0.0)) -> FaceSquare:
    """Return a face square as a tracker that errs gives it; wander in sides."""
    return square._replace(
        cx=square.cx + (variation.shift_x + wander[0]) * square.side,
        cy=square.cy + (variation.shift_y + wander[1]) * square.side,
        side=square.side * variation.scale,
        roll=square.roll + variation.roll,
    )


def wandering(frames: int, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Return an error (frames, 2) that wanders around 0, in sides of the square."""
    if not deviation:
        return np.zeros((frames, 2))
    knots = rng.normal(0, deviation, (frames // WANDER_FRAMES + 2, 2))
    at = np.arange(frames) / WANDER_FRAMES
    return np.stack([np.interp(at, np.arange(len(knots)), knots[:, k]) for k in (0, 1)], 1)


def mirrored(batch: EventBatch) -> EventBatch:
    """Return the events as a mirrored scene makes them: polarity stays what it was."""
    x = (batch.width - 1 - batch.x).astype(np.uint16)
    return EventBatch(x, batch.y, batch.t, batch.p, batch.width, batch.height)


def stretched(batch: EventBatch, pace: float, origin_ns: int) -> EventBatch:
    """Return the same events, ``pace`` times as fast, seen from a time that stays."""
    t = origin_ns + np.round((batch.t - origin_ns) / pace).astype(np.int64)
    return EventBatch(batch.x, batch.y, t, batch.p, batch.width, batch.height)


def changed_sensor(
    batch: EventBatch, variation: Variation, rng: np.random.Generator
) -> EventBatch:
    """
    Return the events of a sensor with other thresholds that loses some of them.

    A pixel whose threshold is k times as high fires after k times the change, so of its events
    every k-th is left; one of a lower threshold fires more often within the same change.
    """
    if (variation.on_gain, variation.off_gain, variation.drop) == (1.0, 1.0, 0.0):
        return batch
    copies = np.ones(len(batch), np.int64)
    if (variation.on_gain, variation.off_gain) != (1.0, 1.0):
        gains = np.array([variation.off_gain, variation.on_gain], np.float32)
        charge = rng.random((2, batch.height, batch.width), np.float32)
        _count_copies(batch.x, batch.y, batch.p, gains, charge, copies)
    if variation.drop:
        copies[rng.random(len(batch), np.float32) < variation.drop] = 0
    columns = [np.empty(copies.sum(), kind) for kind in (np.uint16, np.uint16, np.int64, np.uint8)]
    _repeat(batch.x, batch.y, batch.t, batch.p, copies, *columns)
    return EventBatch.trusted(*columns, batch.width, batch.height)


@numba.njit(nogil=True, cache=True)
def _count_copies(x, y, p, gains, charge, copies):
    for i in range(len(x)):
        full = charge[p[i], y[i], x[i]] + gains[p[i]]
        whole = int(full)
        charge[p[i], y[i], x[i]] = full - whole
        copies[i] = whole


@numba.njit(nogil=True, cache=True)
def _repeat(x, y, t, p, copies, to_x, to_y, to_t, to_p):
    k = 0
    for i in range(len(x)):
        for _ in range(copies[i]):
            to_x[k], to_y[k], to_t[k], to_p[k] = x[i], y[i], t[i], p[i]
            k += 1


def moving_edges(
    width: int,
    height: int,
    start_ns: int,
    end_ns: int,
    boxes,
    count: int,
    rng: np.random.Generator,
) -> EventBatch:
    """
    Return the events of straight edges that move behind a face within [start_ns, end_ns).

    Each fires as often per pixel swept as its contrast asks for, with the polarity of its step.

    Parameters
    ----------
    boxes : callable
        Takes times (n,) in ns, returns the face boxes (n, 4) then; nothing is seen behind them.
    """
    parts = [_edge(width, height, start_ns, end_ns, rng) for _ in range(count)]
    x, y, t, p = (np.concatenate(columns) for columns in zip(*parts))
    times = np.linspace(start_ns, end_ns, BOX_TIMES, endpoint=False)
    nearest = (t - start_ns) * BOX_TIMES // (end_ns - start_ns)
    left, top, wide, high = np.ascontiguousarray(boxes(times).T)[:, nearest]
    apart = ((x - left) / wide - 0.5) ** 2 + ((y - top) / high - 0.5) ** 2 > (0.5 * HEAD) ** 2
    order = np.flatnonzero(apart)[np.argsort(t[apart], kind='stable')]
    kinds = (np.uint16, np.uint16, np.int64, np.uint8)
    columns = (c[order].astype(kind) for c, kind in zip((x, y, t, p), kinds))
    return EventBatch(*columns, width, height)


def _edge(width, height, start_ns, end_ns, rng):
    """Return x, y, t, p, in no order, of an edge that passes a point of the sensor."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    speed = np.exp(rng.uniform(np.log(20), np.log(400)))  # px/s: someone passes, the robot turns
    length = rng.uniform(0.2, 1.0) * height
    per_px = rng.uniform(0.5, 2.0)  # events per pixel swept
    swept = length * speed * (end_ns - start_ns) * 1e-9
    n = min(int(rng.poisson(per_px * swept)), MOST_EDGE_EVENTS)
    t = rng.integers(start_ns, end_ns, n)
    way = speed * (t - rng.integers(start_ns, end_ns)) * 1e-9
    aside = length * rng.uniform(-0.5, 0.5, n)
    x = np.floor(rng.uniform(0, width) + along[0] * way - along[1] * aside)
    y = np.floor(rng.uniform(0, height) + along[1] * way + along[0] * aside)
    brighter = rng.random() < 0.5
    p = np.where(rng.random(n) < 0.05, not brighter, brighter)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return tuple(column[inside] for column in (x, y, t, p))


def cropped_anew(frames: np.ndarray, mirror: bool, rng: np.random.Generator) -> np.ndarray:
    """
    Return frames (T, s, s) uint8 as another square around the face shows them, mirrored or not.

    For frames that were cut before: cells are taken from where they lie, none is made.
    """
    cells = np.arange(frames.shape[1]) + 0.5
    middle = len(cells) / 2
    shifts = rng.normal(0, CROPPED_SHIFT * len(cells), 2)
    scale = np.exp(rng.normal(0, CROPPED_SCALE))
    rows, columns = (
        np.floor((cells - middle) * scale + middle + shift).astype(np.int64) for shift in shifts
    )
    return _taken(frames, rows, columns[::-1] if mirror else columns)


@numba.njit(nogil=True, cache=True)
def _taken(frames, rows, columns):
    side = len(rows)
    taken = np.full(frames.shape, 128, np.uint8)
    for t in range(len(frames)):
        for y in range(side):
            if 0 <= rows[y] < side:
                for x in range(side):
                    if 0 <= columns[x] < side:
                        taken[t, y, x] = frames[t, rows[y], columns[x]]
    return taken


def noisy(frames: np.ndarray, noise: float, step: int, rng: np.random.Generator) -> np.ndarray:
    """Return frames uint8 with so many events per cell more, of both polarities, by no cause."""
    count = rng.poisson(noise * frames.size)
    places = rng.integers(0, frames.size, count)
    flat = frames.reshape(-1).astype(np.int16)
    np.add.at(flat, places, np.where(rng.random(count) < 0.5, -step, step))
    return np.clip(flat, 0, 255).astype(np.uint8).reshape(frames.shape)
