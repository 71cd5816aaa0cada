"""A data set like those of training.synthesize, of dots instead of faces: made in no time."""

from dataclasses import replace

import numpy as np

from cs3d_ros.events import EventBatch
from cs3d_ros.face import box_of_landmarks
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.data.acting.action_units import ACTION_UNITS
from training.data.clips import RecordedClip, Truth, write_shard
from training.data.world import ACTED

MS = 1_000_000
PLACES = {
    'happy': (0.5, 0.8),
    'surprised': (0.5, 0.2),
    'angry': (0.2, 0.2),
    'disgusted': (0.5, 0.5),
    'sad': (0.2, 0.8),
    'scared': (0.8, 0.5),
    'proud': (0.8, 0.8),
}
ONSET, APEX, OFFSET, OVER = 600 * MS, 1000 * MS, 1800 * MS, 2200 * MS


def make_set(clips_per_expression=2, seed=0, suffix=''):
    """Return clips in which an expression is a cloud of events at its own place of the face."""
    rng = np.random.default_rng(seed)
    clips = []
    for split in ('train', 'val', 'test'):
        for expression in EXPRESSIONS:
            for number in range(clips_per_expression):
                identity = '{}{}{}'.format(split, number, suffix)
                clips.append(make_clip(len(clips), split, identity, expression, rng))
    return clips


def write_set(folder, clips_per_expression=2, seed=0, suffix=''):
    """Write such clips into a folder, two shards; return it."""
    folder.mkdir(parents=True)
    clips = make_set(clips_per_expression, seed, suffix)
    write_shard(folder / 'a.h5', clips[::2])
    write_shard(folder / 'b.h5', clips[1::2])
    return folder


def make_clip(index, split, identity, expression, rng):
    """Return one clip."""
    return RecordedClip(
        {
            'index': index,
            'seed': 0,
            'identity': identity,
            'skin': 'skin of ' + identity,
            'split': split,
            'condition': 'standard',
            'expressions': [] if expression == 'neutral' else [expression],
            'label': expression,
            'duration_s': 2.8,
            'segments': [] if expression == 'neutral' else [make_segment(expression)],
            'nuisances': [],
            'sensor': {'preset': 'clean', 'settings': {}},
            'source': 'rendered',
        },
        _events(expression, rng),
        make_truth(expression),
    )


def make_segment(expression):
    """Return the one segment of such a clip."""
    return {
        'expression': expression,
        'recipe': 'dots',
        'onset_start_ns': ONSET,
        'apex_start_ns': APEX,
        'offset_start_ns': OFFSET,
        'offset_end_ns': OVER,
        'intensity': 1.0,
        'micro': False,
    }


def slow_clip(clip, move_ms):
    """Return a clip that is told to move for so long, from 300 ms on and from 1600 ms on."""
    times = {
        'onset_start_ns': 300 * MS,
        'apex_start_ns': (300 + move_ms) * MS,
        'offset_start_ns': 1600 * MS,
        'offset_end_ns': (1600 + move_ms) * MS,
    }
    segments = [{**segment, **times} for segment in clip.entry['segments']]
    return replace(clip, entry={**clip.entry, 'segments': segments})


def make_truth(expression):
    """Return the truth of a face that does not move."""
    t_ns = np.arange(0, 2800 * MS, 16_666_667)
    count = len(t_ns)
    # jaw from ear to ear, chin and eyes: the box that they span is (40, 30, 80, 100)
    landmarks = np.full((count, 68, 2), 80.0, np.float32)
    landmarks[:, 0, 0], landmarks[:, 16, 0], landmarks[:, 8, 1] = 40.0, 120.0, 130.0
    landmarks[:, 36:48, 1] = 130.0 - 68.5
    shown = (t_ns >= ONSET) & (t_ns < OFFSET)
    return Truth(
        t_ns=t_ns,
        expression=np.where(shown, ACTED.index(expression), 0).astype(np.uint8),
        intensity=shown.astype(np.float32),
        action_units=np.zeros((count, len(ACTION_UNITS)), np.float32),
        landmarks=landmarks,
        box=np.tile(np.array(box_of_landmarks(landmarks[0]), np.float32), (count, 1)),
        pose=np.zeros((count, 3), np.float32),
        visible=np.ones(count, np.float32),
    )


def _events(expression, rng):
    parts = [
        _cloud(
            rng.uniform(0, 1, 3000),
            rng.uniform(0, 1, 3000),
            rng.integers(0, 2800 * MS, 3000),
            rng.integers(0, 2, 3000),
        )
    ]
    if expression != 'neutral':
        u, v = PLACES[expression]
        for start, end, polarity in ((ONSET, APEX, 1), (OFFSET, OVER, 0)):
            parts.append(
                _cloud(
                    rng.normal(u, 0.06, 2000),
                    rng.normal(v, 0.06, 2000),
                    rng.integers(start, end, 2000),
                    np.full(2000, polarity),
                )
            )
    x, y, t, p = (np.concatenate(columns) for columns in zip(*parts))
    order = np.argsort(t, kind='stable')
    kinds = (np.uint16, np.uint16, np.int64, np.uint8)
    return EventBatch(*(c[order].astype(k) for c, k in zip((x, y, t, p), kinds)), 160, 160)


def _cloud(u, v, t, p):
    """Return x, y, t, p of events at (u, v) of the face box."""
    return np.clip(40 + 80 * u, 0, 159), np.clip(30 + 100 * v, 0, 159), t, p
