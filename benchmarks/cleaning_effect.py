"""
What cleaning does to what is recognised: faces with and without noise, lamps and hot pixels.

    python -m benchmarks.cleaning_effect            the tables of docs/cleaning.md, some minutes
    python -m benchmarks.cleaning_effect --quick    the recording that the package ships alone
"""

import argparse
import json
import os
from typing import List, NamedTuple, Tuple

import numpy as np

from benchmarks.measure import machine, time_work
from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch, concatenate, open_recording
from cs3d_ros.inference import SHIPPED_BUNDLE, OnnxRuntimeEngine
from cs3d_ros.pipeline import recognize
from cs3d_ros.simulator import open_source

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, '..', 'shared', 'data')
DEMO = os.path.join(ROOT, 'cs3d_ros', 'models', 'demo_face')
NS_PER_S = 1e9
PART_NS = 10_000_000  # of the batches that are pushed
SETTLING_S = 0.5  # after an expression that its name may still stand

CLEANINGS = {
    'off': CleaningSettings(),
    'background activity 5 ms': CleaningSettings(background_activity_ns=5_000_000),
    'background activity 10 ms': CleaningSettings(background_activity_ns=10_000_000),
    'background activity 20 ms': CleaningSettings(background_activity_ns=20_000_000),
    'hot pixels': CleaningSettings(hot_pixels=True),
    'flicker 100 Hz': CleaningSettings(flicker_hz=100.0),
    'refractory 1 ms': CleaningSettings(refractory_ns=1_000_000),
    'rate 0.1 M/s': CleaningSettings(rate_hz=100_000.0),
    'hot, flicker, background 5 ms': CleaningSettings(
        hot_pixels=True, flicker_hz=100.0, background_activity_ns=5_000_000
    ),
}
BACKGROUND = (
    'off',
    'background activity 5 ms',
    'background activity 10 ms',
    'background activity 20 ms',
)
ALL = 'hot, flicker, background 5 ms'

SCENES = {
    'davis346_bench.aedat4': 'robot arm under lamps, DAVIS346',
    'davis346_slice_zstd.aedat4': 'street, DAVIS346',
    'libcaer_cmp_davis346_mcap': 'board of tags, DAVIS346',
    'evt3_vga_rosbag2': 'object in the hand, Gen3',
    'evt3_hd_trigger_rosbag2': 'noise alone, 1280 x 720',
}
SCENE_CLEANINGS = BACKGROUND[1:] + ('hot pixels', 'flicker 100 Hz', 'refractory 1 ms')


class Face(NamedTuple):
    """Events of a face, and what is true of it; times in s."""

    name: str
    events: EventBatch
    shown: List[Tuple[float, float, str]]  # begin, end, expression
    boxes: np.ndarray  # rows of time, x, y, width, height


class Replay:
    """Events as a recording that recognize() takes."""

    def __init__(self, events: EventBatch):
        self.width, self.height = events.width, events.height
        self.start_ns = int(events.t[0])
        self._events = events

    def batches(self):
        """Yield the events in parts."""
        t = self._events.t
        cuts = np.searchsorted(t, np.arange(t[0], t[-1] + PART_NS, PART_NS)).tolist() + [len(t)]
        for first, last in zip(cuts, cuts[1:]):
            if last > first:
                yield self._events[first:last]


def read_faces(quick: bool) -> List[Face]:
    """Return the shipped recording, and the simulated videos of people if they are there."""
    with open(DEMO + '.json') as file:
        truth = json.load(file)
    shown = [(s['onset_start_s'], s['offset_end_s'], s['expression']) for s in truth['segments']]
    boxes = np.array(truth['boxes_t_x_y_w_h'])
    faces = [Face('demo_face', read(DEMO + '.aedat4'), shown, boxes)]
    folder = os.path.join(DATA, 'videos')
    if quick or not os.path.isdir(folder):
        return faces
    with open(os.path.join(folder, 'labels.json')) as file:
        clips = json.load(file)['clips']
    with open(os.path.join(folder, 'boxes.json')) as file:
        boxes = json.load(file)['boxes']
    for name, clip in sorted(clips.items()):
        shown = [
            (part['start'], part['end'], part['expression'])
            for part in clip['intervals']
            if part['expression'] != 'neutral'
        ]
        rows = [[i / clip['fps']] + box for i, box in enumerate(boxes[name])]
        faces.append(Face(name, read(os.path.join(folder, name)), shown, np.array(rows)))
    return faces


def read(path: str) -> EventBatch:
    """Return all events of a recording or video."""
    with open_source(path) as recording:
        return concatenate(recording.batches())


# What disturbs: functions of (events of a face, random generator) -> columns x, y, t, p.


def noise(rate_hz: float):
    """Return what makes single events, evenly over sensor and time."""

    def disturb(events, rng):
        count = int(rate_hz * (events.t[-1] - events.t[0]) / NS_PER_S)
        return (
            rng.integers(0, events.width, count),
            rng.integers(0, events.height, count),
            rng.integers(events.t[0], events.t[-1], count),
            rng.integers(0, 2, count),
        )

    return disturb


def hot_pixels(count: int, rate_hz: float):
    """Return what makes some pixels fire at a rate, at random times."""

    def disturb(events, rng):
        fired = int(count * rate_hz * (events.t[-1] - events.t[0]) / NS_PER_S)
        pixel = rng.integers(0, count, fired)
        return (
            rng.integers(0, events.width, count)[pixel],
            rng.integers(0, events.height, count)[pixel],
            rng.integers(events.t[0], events.t[-1], fired),
            rng.integers(0, 2, fired),
        )

    return disturb


def lamp(light_hz: float, radius: float = 0.12, x: float = 0.12, y: float = 0.15):
    """Return what lights a disc, sizes as shares of the height: two ON, two OFF events a cycle."""

    def disturb(events, rng):
        rows, columns = np.mgrid[: events.height, : events.width]
        radius_px = radius * events.height
        far = np.hypot(columns - x * events.width, rows - y * events.height)
        ys, xs = np.nonzero(far < radius_px)
        cycles = np.arange(events.t[0], events.t[-1], NS_PER_S / light_hz)
        phases = np.array([0.1, 0.2, 0.6, 0.7]) * NS_PER_S / light_hz
        t = (cycles[:, None, None] + phases[:, None]) + rng.normal(
            0, 3e5, (len(cycles), len(phases), len(xs))
        )
        p = np.broadcast_to(np.array([1, 1, 0, 0])[:, None], t.shape)
        return (
            np.broadcast_to(xs, t.shape).ravel(),
            np.broadcast_to(ys, t.shape).ravel(),
            t.ravel().astype(np.int64).clip(events.t[0]),
            p.ravel(),
        )

    return disturb


def together(*disturbances):
    """Return what disturbs in several ways at once."""

    def disturb(events, rng):
        added = [each(events, rng) for each in disturbances]
        return [np.concatenate(columns) for columns in zip(*added)]

    return disturb


DISTURBANCES = {
    'nothing': None,
    'noise 0.05 M/s': noise(50_000),
    'noise 0.1 M/s': noise(100_000),
    'noise 0.3 M/s': noise(300_000),
    '30 hot pixels of 500 Hz': hot_pixels(30, 500.0),
    'lamp of 100 Hz': lamp(100.0),
    'noise 0.1 M/s, hot pixels, lamp': together(
        noise(100_000), hot_pixels(30, 500.0), lamp(100.0)
    ),
}
# Which cleaning is of interest against what.
AGAINST = {
    'nothing': tuple(CLEANINGS),
    '30 hot pixels of 500 Hz': ('off', 'hot pixels', 'background activity 5 ms', ALL),
    'lamp of 100 Hz': ('off', 'flicker 100 Hz', 'background activity 5 ms', ALL),
    'noise 0.3 M/s': BACKGROUND + ('rate 0.1 M/s',),
    'noise 0.1 M/s, hot pixels, lamp': ('off', 'background activity 5 ms', ALL),
}


def mix(events: EventBatch, disturb, seed: int = 1) -> Tuple[EventBatch, np.ndarray]:
    """
    Return the events with what disturbs them, and which of them are of the face.

    No two are of the same time, so that each is known again after cleaning.
    """
    columns = [events.x, events.y, events.t, events.p]
    if disturb:
        added = disturb(events, np.random.default_rng(seed))
        columns = [np.concatenate(pair) for pair in zip(columns, added)]
    order = np.argsort(columns[2], kind='stable')
    x, y, t, p = [column[order] for column in columns]
    steps = np.arange(len(t))
    t = np.maximum.accumulate(t.astype(np.int64) - steps) + steps
    batch = EventBatch(
        x.astype(np.uint16),
        y.astype(np.uint16),
        t,
        p.astype(np.uint8),
        events.width,
        events.height,
    )
    return batch, order < len(events)


def kept_shares(batch: EventBatch, is_face: np.ndarray, settings: CleaningSettings) -> List[int]:
    """Return [of the face kept, of the face, of what disturbs kept, of what disturbs]."""
    cleaner = Cleaner(batch.width, batch.height, settings)
    parts = [cleaner.push(part) for part in Replay(batch).batches()] + [cleaner.flush()]
    kept = is_face[np.searchsorted(batch.t, np.concatenate([part.t for part in parts]))]
    return [int(kept.sum()), int(is_face.sum()), int((~kept).sum()), int((~is_face).sum())]


class Score(NamedTuple):
    """How a face was recognised, in counts that add up over faces."""

    shown: int = 0  # expressions
    named: int = 0  # of them while shown
    wrong: int = 0  # names that came up when nothing like it was shown
    periods: int = 0
    found: int = 0  # of them with a box that overlaps the true one by half or more
    elsewhere: int = 0  # with a box that does not


def score(face: Face, batch: EventBatch, engine, settings: CleaningSettings) -> Score:
    """Return how a face is recognised in a batch that holds its events."""
    result = Score(shown=len(face.shown))
    named, before = set(), 'neutral'
    for frame, emotion in recognize(Replay(batch), engine, cleaning=settings):
        t_s = frame.t_ns / NS_PER_S
        if frame.track:
            i = np.abs(face.boxes[:, 0] - t_s).argmin()
            is_right = overlap(frame.track.box, face.boxes[i, 1:]) >= 0.5
            result = result._replace(
                found=result.found + is_right, elsewhere=result.elsewhere + (not is_right)
            )
        result = result._replace(periods=result.periods + 1)
        if emotion is None:
            continue
        name = emotion.expression
        right = [
            i
            for i, (begin_s, end_s, shown) in enumerate(face.shown)
            if shown == name and begin_s <= t_s < end_s + SETTLING_S
        ]
        named.update(i for i in right if t_s < face.shown[i][1])
        if name not in ('neutral', before) and not right:
            result = result._replace(wrong=result.wrong + 1)
        before = name
    return result._replace(named=len(named))


def overlap(a, b) -> float:
    """Return the intersection of two boxes (x, y, width, height) over their union."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, high)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def print_effects(faces: List[Face], engine) -> None:
    """Print a row per disturbance and cleaning, summed over the faces."""
    print('\n## What is recognised of {} faces\n'.format(len(faces)))
    print(
        '| added | cleaning | face kept | added kept | named | wrong names | found | elsewhere |'
    )
    print('|---|---|---|---|---|---|---|---|')
    for added, disturb in DISTURBANCES.items():
        mixed = [mix(face.events, disturb) for face in faces]
        for cleaning in AGAINST.get(added, BACKGROUND):
            settings = CLEANINGS[cleaning]
            shares = np.sum([kept_shares(*pair, settings) for pair in mixed], axis=0)
            each = [score(f, batch, engine, settings) for f, (batch, _) in zip(faces, mixed)]
            total = Score(*np.sum(each, axis=0).tolist())
            print(
                '| {} | {} | {} | {} | {} of {} | {} | {:.0%} | {:.0%} |'.format(
                    added,
                    cleaning,
                    percent(*shares[:2]),
                    percent(*shares[2:]),
                    total.named,
                    total.shown,
                    total.wrong,
                    total.found / total.periods,
                    total.elsewhere / total.periods,
                ),
                flush=True,
            )


def percent(part: int, whole: int) -> str:
    """Return a share in words; nothing of nothing is a dash."""
    return '{:.0%}'.format(part / whole) if whole else '-'


def print_scenes(engine) -> None:
    """Print what is kept of real recordings without a face, and how often one is claimed."""
    folder = os.path.join(DATA, 'recordings')
    if not os.path.isdir(folder):
        return
    print('\n## Kept of real recordings without a face\n')
    print('| recording | {} | face claimed by any |'.format(' | '.join(SCENE_CLEANINGS)))
    print('|---' * (2 + len(SCENE_CLEANINGS)) + '|')
    for name, what in SCENES.items():
        with open_recording(os.path.join(folder, name)) as recording:
            batch = concatenate(recording.batches())
        cells, claimed = [], 0
        for cleaning in SCENE_CLEANINGS:
            answers = list(recognize(Replay(batch), engine, cleaning=CLEANINGS[cleaning]))
            cells.append(percent(sum(frame.events for frame, _ in answers), len(batch)))
            claimed = max(claimed, np.mean([frame.track is not None for frame, _ in answers]))
        print('| {} | {} | {:.0%} |'.format(what, ' | '.join(cells), claimed), flush=True)


def print_costs(events: EventBatch) -> None:
    """Print what each cleaning costs per event."""
    batch, _ = mix(events, noise(300_000))
    parts = list(Replay(batch).batches())
    print('\n## Cost: {:,} events, batches of 10 ms\n'.format(len(batch)))
    print('| cleaning | CPU ns per event |')
    print('|---|---|')
    for name, settings in CLEANINGS.items():

        def clean(settings=settings):
            cleaner = Cleaner(batch.width, batch.height, settings)
            for part in parts:
                cleaner.push(part)

        print('| {} | {:.1f} |'.format(name, time_work(clean).median_s * 1e9 / len(batch)))


def main(argv=None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description='what cleaning does to what is recognised')
    parser.add_argument('--quick', action='store_true', help='the shipped recording alone')
    args = parser.parse_args(argv)
    engine = OnnxRuntimeEngine(SHIPPED_BUNDLE)
    faces = read_faces(args.quick)
    print(machine())
    print_effects(faces, engine)
    print_scenes(engine)
    print_costs(faces[0].events)


if __name__ == '__main__':
    main()
