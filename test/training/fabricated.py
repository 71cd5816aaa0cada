"""A data set in the format of training.synthesize, of dots instead of faces: made in no time."""

import json

import numpy as np

from cs3d_ros.inference.emotion import EXPRESSIONS

MS = 1_000_000
PLACES = {
    'happy': (0.5, 0.8),
    'surprised': (0.5, 0.2),
    'angry': (0.2, 0.2),
    'disgusted': (0.5, 0.5),
    'sad': (0.2, 0.8),
    'scared': (0.8, 0.5),
}


def write_set(folder, clips_per_expression=2, seed=0):
    """Write clips in which an expression is a cloud of ON events at its own place of the face."""
    rng = np.random.default_rng(seed)
    (folder / 'clips').mkdir(parents=True)
    entries = []
    for split in ('train', 'val', 'test'):
        for expression in EXPRESSIONS:
            for number in range(clips_per_expression):
                name = 'clips/{:05d}.npz'.format(len(entries))
                segments = write_clip(folder / name, expression, rng)
                entries.append(
                    {
                        'file': name,
                        'seed': seed,
                        'split': split,
                        'skin': 0,
                        'identity': '{}{}'.format(split, number),
                        'segments': segments,
                        'nuisances': [],
                    }
                )
    (folder / 'manifest.json').write_text(json.dumps({'clips': entries}))
    return folder


def write_clip(path, expression, rng):
    """Write one clip and return its segments."""
    onset, apex, offset, over = (600 * MS, 1000 * MS, 1800 * MS, 2200 * MS)
    head = _events(
        rng,
        3000,
        0,
        2800 * MS,
        rng.uniform(0, 1, 3000),
        rng.uniform(0, 1, 3000),
        rng.integers(0, 2, 3000),
    )
    parts, segments = [head], []
    if expression != 'neutral':
        u, v = PLACES[expression]
        for start, end, polarity in ((onset, apex, 1), (offset, over, 0)):
            parts.append(
                _events(
                    rng,
                    2000,
                    start,
                    end,
                    rng.normal(u, 0.06, 2000),
                    rng.normal(v, 0.06, 2000),
                    np.full(2000, polarity),
                )
            )
        segments = [
            {
                'expression': expression,
                'onset_start_ns': onset,
                'apex_start_ns': apex,
                'offset_start_ns': offset,
                'offset_end_ns': over,
            }
        ]
    t, x, y, p = (np.concatenate(columns) for columns in zip(*parts))
    order = np.argsort(t)
    truth_t = np.arange(0, 2800 * MS, 16_666_667)
    # jaw from ear to ear, chin and eyes: the box that they span is (40, 30, 80, 100)
    landmarks = np.full((len(truth_t), 68, 2), 80.0, np.float32)
    landmarks[:, 0, 0], landmarks[:, 16, 0], landmarks[:, 8, 1] = 40.0, 120.0, 130.0
    landmarks[:, 36:48, 1] = 130.0 - 68.5
    np.savez(
        path,
        x=x[order].astype(np.uint16),
        y=y[order].astype(np.uint16),
        t=t[order],
        p=p[order].astype(np.uint8),
        width=160,
        height=160,
        truth_t_ns=truth_t,
        truth_landmarks=landmarks,
    )
    return segments


def _events(rng, count, start, end, u, v, p):
    """Return t, x, y, p of events at (u, v) of the face box."""
    t = rng.integers(start, end, count)
    x = np.clip(40 + 80 * u, 0, 159).astype(int)
    y = np.clip(30 + 100 * v, 0, 159).astype(int)
    return t, x, y, p
