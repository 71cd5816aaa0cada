"""Maps of activity with the true box of the face: collected from rendered clips, and varied."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cs3d_ros.events.frames import DEFAULT_PERIOD_NS
from cs3d_ros.face.activity import GRID_ROWS, MEMORIES_S, ActivityMap, image_of
from training.data.clips import ClipSet, DataError

COLUMNS = 88  # of a canvas: a 4:3 sensor's, in whole strides
FIRST_PERIOD = 5  # before, too little was seen to tell a face
CLIPS_PER_TASK = 50

# How maps are varied.
SCALED, MOST_SHRUNK, MOST_GROWN = 0.8, 0.5, 2.5  # share of the maps; factors
SMALLEST, LARGEST = 0.15, 0.95  # height of a face over the canvas's
STRETCH = 0.05  # deviation of the logarithm of the aspect
# What is shown: a face, or none, since it is out of view, upside down, or its parts are shuffled.
SHOWN = {'face': 0.72, 'absent': 0.16, 'upside down': 0.04, 'shuffled': 0.08}
PARTS = 3  # rows, and columns, of a shuffled face
CLUTTERED, MOST_SHAPES = 0.3, 40  # share with drawn shapes around the face; number
LEAST_CLUTTER, MOST_CLUTTER = 2.0, 30.0  # events per cell of a shape over the map's mean
NOISY, LEAST_NOISE, MOST_NOISE = 0.4, 0.2, 5.0  # share; events per cell over the map's mean
HOT, HOT_CELLS, MOST_HEAT = 0.1, 4, 50.0  # share; number; events over the map's mean


class Example(NamedTuple):
    """A map and the face in it."""

    counts: np.ndarray  # (2, rows, columns) float32, of ActivityMap
    box: np.ndarray  # (4,) float32: x, y, width, height in cells


def periods_of(recorded):
    """
    Yield (end_ns, events, box) of the periods of a clip of training.data.

    Boxes are (4,) float, x, y, width, height in pixels.
    """
    truth = recorded.truth
    ends = np.arange(DEFAULT_PERIOD_NS, int(truth.t_ns[-1]), DEFAULT_PERIOD_NS)
    boxes = np.stack([np.interp(ends, truth.t_ns, side) for side in truth.box.T], 1)
    for end_ns, box in zip(ends.tolist(), boxes):
        yield end_ns, recorded.events.between(end_ns - DEFAULT_PERIOD_NS, end_ns), box


def examples_of(recorded, count: int, rng: np.random.Generator) -> list[Example]:
    """Return the maps after so many periods of a clip, picked at random; fewer of a short one."""
    events = recorded.events
    activity = ActivityMap(events.width, events.height)
    periods = list(periods_of(recorded))
    later = np.arange(min(FIRST_PERIOD, len(periods)), len(periods))
    picked = set(rng.choice(later, min(count, len(later)), replace=False).tolist())
    examples = []
    for number, (_, batch, box) in enumerate(periods):
        activity.add(batch)
        activity.close(DEFAULT_PERIOD_NS / 1e9)
        counts = activity.counts
        # a real corpus may not tell where the face is
        if number in picked and counts.any() and np.isfinite(box).all():
            box = (box / activity.cell).astype(np.float32)
            examples.append(Example(counts, box))
    return examples


def collect(folder: Path, split: str, count: int, seed: int, workers: int, say) -> list[Example]:
    """
    Return so many examples of each clip of a split.

    Raises
    ------
    DataError
        If there are none.
    """
    entries = ClipSet(folder).entries
    own = [number for number, entry in enumerate(entries) if entry['split'] == split]
    parts = [own[k : k + CLIPS_PER_TASK] for k in range(0, len(own), CLIPS_PER_TASK)]
    found = []
    # spawned, as threads of the libraries do not outlive a fork
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        tasks = [pool.submit(_collected, folder, part, count, seed) for part in parts]
        for done, task in enumerate(tasks, 1):
            found += task.result()
            say(
                '{} maps of {} of {} clips'.format(
                    len(found), split, min(done * CLIPS_PER_TASK, len(own))
                )
            )
    if not found:
        raise DataError('{} has no clips of {} in which anything moves'.format(folder, split))
    return found


def _collected(folder, numbers, count, seed):
    clips, found = ClipSet(folder), []
    for number in numbers:
        found += examples_of(clips[number], count, np.random.default_rng([seed, number]))
    return found


def varied(example: Example, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
    """
    Return a varied map as the network reads it, the box in it, and whether it shows a face.

    The face is put anywhere, in any size; the map is mirrored; shapes and noise come on top.
    """
    shown = rng.choice(list(SHOWN), p=list(SHOWN.values()))
    counts, box = _placed(example, shown != 'absent', rng)
    if shown == 'upside down':
        counts = counts[:, ::-1]
    elif shown == 'shuffled':
        counts = _shuffled(counts, box, rng)
    mean = float(example.counts[0].mean())
    if rng.random() < CLUTTERED:
        counts = counts + _clutter(mean, box, rng)
    return image_of(_disturbed(counts, mean, rng)), box, shown == 'face'


def _placed(example, is_seen, rng):
    """Return the counts on a canvas, anew in place and size, and the box in them."""
    scale_y = _scale(example, rng)
    scale_x = scale_y * np.exp(rng.normal(0, STRETCH))
    width, height = example.box[2] * scale_x, example.box[3] * scale_y
    if is_seen:
        x = _anywhere(width, COLUMNS, rng)
    else:
        x = rng.choice([-0.8 * width, COLUMNS + 0.8 * width])
    y = _anywhere(height, GRID_ROWS, rng)
    centre = example.box[:2] + 0.5 * example.box[2:]
    if rng.random() < 0.5:
        scale_x = -scale_x
    # OpenCV counts from the centre of the first cell, boxes from its corner
    shift_x = x - 0.5 - scale_x * (centre[0] - 0.5)
    shift_y = y - 0.5 - scale_y * (centre[1] - 0.5)
    turned = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]], np.float32)
    size = COLUMNS, GRID_ROWS
    counts = np.stack([cv2.warpAffine(part, turned, size) for part in example.counts])
    return counts, np.array([x - 0.5 * width, y - 0.5 * height, width, height], np.float32)


def _shuffled(counts, box, rng):
    """Return counts with the parts of the face in another order."""
    # a face may be larger than the canvas
    height, width = (
        min(int(side / PARTS), space // PARTS)
        for side, space in ((box[3], GRID_ROWS), (box[2], COLUMNS))
    )
    top = np.clip(int(box[1]), 0, GRID_ROWS - PARTS * height)
    left = np.clip(int(box[0]), 0, COLUMNS - PARTS * width)
    rows, columns = top + height * np.arange(PARTS), left + width * np.arange(PARTS)
    places = [np.s_[:, y : y + height, x : x + width] for y in rows for x in columns]
    mixed = counts.copy()
    for place, other in zip(places, rng.permutation(len(places))):
        mixed[place] = counts[places[other]]
    return mixed


def _clutter(mean, box, rng):
    """Return the counts of edges that move around a face: lines, ovals, rectangles."""
    drawn = np.zeros((len(MEMORIES_S), GRID_ROWS, COLUMNS), np.float32)
    for _ in range(int(np.exp(rng.uniform(0, np.log(MOST_SHAPES))))):
        rate = mean * np.exp(rng.uniform(np.log(LEAST_CLUTTER), np.log(MOST_CLUTTER)))
        shape = np.zeros((GRID_ROWS, COLUMNS), np.float32)
        _draw(shape, rng)
        drawn += shape * np.float32([rate, rate * rng.uniform(0, 1)])[:, None, None]
    drawn = np.stack([cv2.GaussianBlur(part, (0, 0), rng.uniform(0.4, 1.0)) for part in drawn])
    y, x = np.mgrid[:GRID_ROWS, :COLUMNS] + 0.5
    u, v = (x - box[0]) / box[2] - 0.5, (y - box[1]) / box[3] - 0.5
    return rng.poisson(drawn * (np.hypot(u, v) > 0.5))  # what is behind the face is hidden


def _draw(picture, rng):
    ends = (rng.uniform(-0.2, 1.2, (2, 2)) * (COLUMNS, GRID_ROWS)).astype(int)
    first, last = (tuple(int(value) for value in end) for end in ends)
    kind = rng.integers(3)
    if kind == 0:
        cv2.line(picture, first, last, 1.0, int(rng.integers(1, 3)))
    elif kind == 1:
        cv2.rectangle(picture, first, last, 1.0, 1)
    else:
        sides = tuple(int(side) for side in rng.uniform(2, GRID_ROWS / 2, 2))
        cv2.ellipse(picture, first, sides, rng.uniform(0, 180), 0, rng.uniform(90, 360), 1.0, 1)


def _scale(example, rng):
    if rng.random() >= SCALED:
        return 1.0
    height = example.box[3] / GRID_ROWS
    least, most = max(SMALLEST / height, MOST_SHRUNK), min(LARGEST / height, MOST_GROWN)
    return np.exp(rng.uniform(np.log(least), np.log(max(most, least))))


def _anywhere(side, space, rng):
    """Return a centre at which a side lies within a space, or covers it."""
    margin = min(0.45 * side, 0.5 * space)
    return rng.uniform(margin, space - margin)


def _disturbed(counts, mean, rng):
    """Return counts with noise and hot cells on top, in proportion to a mean."""
    counts, just_now = counts.astype(np.float64), MEMORIES_S[1] / MEMORIES_S[0]
    if rng.random() < NOISY:
        rate = mean * np.exp(rng.uniform(np.log(LEAST_NOISE), np.log(MOST_NOISE)))
        noise = rng.poisson(rate, counts.shape[1:])
        counts += np.stack([noise, rng.binomial(noise, just_now)])
    if rng.random() < HOT:
        rows, columns = (rng.integers(0, side, HOT_CELLS) for side in counts.shape[1:])
        heat = MOST_HEAT * mean * rng.uniform(0, 1, HOT_CELLS)
        counts[:, rows, columns] += np.outer([1.0, just_now], heat)
    return counts
