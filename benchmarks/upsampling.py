"""
What frames between frames do to simulated events: drawn heads of which all is known, real clips.

    python -m benchmarks.upsampling          the tables and the picture of docs/video-to-events.md
    python -m benchmarks.upsampling --quick  the tables of drawn heads alone
"""

import argparse
import os
import time
from typing import List, NamedTuple, Tuple
from unittest import mock

import cv2
import numpy as np

from benchmarks.measure import machine
from cs3d_ros.events import EventBatch, concatenate
from cs3d_ros.simulator import AUTO, OFF, EventCamera, PixelModel, Video, upsample

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VIDEOS = os.path.join(ROOT, '..', 'shared', 'data', 'videos')
PICTURE = os.path.join(ROOT, 'docs', 'upsampling.png')

WIDTH, HEIGHT, FINER = 346, 260, 3  # drawn so much larger, then scaled down
TRUE_HZ = 960  # the head moves half a pixel from frame to frame at most
EVERY = 32  # of the true frames the video has one: 30 fps
TRUE_COUNT = 24 * EVERY + 1
BIN_NS = 5_000_000
EXPOSURE = 11  # true frames that a blurred one averages: 11 ms
NS_PER_S = 1e9
BEGIN_NS, SHOWN_MS = 250_000_000, 150  # of the picture
ROWS, X_PX = (118, 120), (80, 266)


class Head:
    """An oval face with brows, eyes that blink and a mouth that opens, before a cluttered room."""

    def __init__(self, speed: float, seed: int = 0):
        rng = np.random.default_rng(seed)
        self._speed = speed
        room = _clouds((HEIGHT + 60) * FINER, (WIDTH + 60) * FINER, (8, 24, 70, 200), rng)
        self._room = np.clip(110 + 40 * np.tanh(1.5 * room), 5, 250)
        height, width = 200 * FINER, 150 * FINER
        y, x = np.mgrid[:height, :width].astype(np.float32)
        far = ((x - width / 2) / (width * 0.45)) ** 2 + ((y - height / 2) / (height * 0.47)) ** 2
        self._mask = np.clip((1 - far) * 60, 0, 1)
        self._skin = 150 * (1 - 0.35 * far) + 6 * _clouds(height, width, (3, 9, 30), rng)

    def frame(self, t_s: float) -> np.ndarray:
        """Return the picture at a time, float DN without noise or steps."""
        sway, speed = _wave(t_s), self._speed
        shift = 30 + 6 * sway(0.7) * speed, 30 + 4 * sway(0.5, 1.0) * speed
        move = np.array([[1, 0, shift[0] * FINER], [0, 1, shift[1] * FINER]], np.float32)
        size = WIDTH * FINER, HEIGHT * FINER
        room = cv2.warpAffine(self._room, move, size, flags=cv2.INTER_LINEAR | 16)  # inverse
        place = self._placement(sway)
        mask = cv2.warpAffine(self._mask, place, size)
        picture = room * (1 - mask) + cv2.warpAffine(self._face(t_s, sway), place, size) * mask
        picture *= 1 + 0.15 * sway(0.6)  # the light changes as well
        return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)

    def _placement(self, sway):
        angle = np.radians(7 * sway(0.9) * min(self._speed, 2.0))
        c, s = np.cos(angle), np.sin(angle)
        height, width = self._skin.shape
        x = (WIDTH / 2 + 14 * sway(1.1) * self._speed) * FINER
        y = (HEIGHT / 2 + 8 * sway(0.8, 0.5) * self._speed) * FINER
        return np.array(
            [
                [c, -s, x - c * width / 2 + s * height / 2],
                [s, c, y - s * width / 2 - c * height / 2],
            ]
        )

    def _face(self, t_s, sway):
        face = self._skin.copy()

        def ellipse(x, y, width, height, grey):
            centre = int(x * FINER * 16), int(y * FINER * 16)
            axes = int(width * FINER * 16), int(max(0.1, height) * FINER * 16)
            cv2.ellipse(face, centre, axes, 0, 0, 360, float(grey), -1, cv2.LINE_8, 4)

        opened = np.clip(abs((t_s % 0.9) - 0.45) / 0.08, 0, 1)  # of the eyes
        for side in (-1, 1):
            x = 75 + side * 28
            ellipse(x, 80, 13, 7 * opened + 0.3, 230)
            if opened > 0.1:
                ellipse(x, 80, 5.5, min(5.5, 7 * opened), 40)
            ellipse(x, 62 - 4 * max(0, sway(0.8)), 15, 2.5, 45)
        smile = 0.5 + 0.5 * sway(0.9)
        ellipse(75, 140, 22 + 8 * smile, 3 + 7 * smile, 60)
        ellipse(75, 140, 17 + 8 * smile, 1 + 4 * smile, 190)
        ellipse(75, 108, 7, 4, 110)
        return face


def _wave(t_s):
    return lambda rate_hz, phase=0.0: float(np.sin(2 * np.pi * rate_hz * t_s + phase))


def _clouds(height, width, grains, rng):
    total = np.zeros((height, width), np.float32)
    for grain in grains:
        coarse = rng.normal(0, 1, (height // grain + 3, width // grain + 3)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * grain**0.5
    return total / total.std()


class Case(NamedTuple):
    """True events, and what a video of 30 fps has of the same scene."""

    true: EventBatch
    frames: List[np.ndarray]  # uint8
    stepped: EventBatch  # of all true frames, in 8 bits


def drawn_case(speed: float, exposure: int = 1) -> Case:
    """Return a drawn head that moves so fast; a video frame averages this many true ones."""
    head = Head(speed)
    exact = PixelModel(WIDTH, HEIGHT)
    stepped = PixelModel(WIDTH, HEIGHT)
    true, rough, frames, window = [], [], [], []
    for index in range(TRUE_COUNT + exposure // 2):
        picture = head.frame(index / TRUE_HZ)
        if index < TRUE_COUNT:
            true.append(exact.push(picture, _true_ns(index)))
            rough.append(stepped.push(_byte(picture), _true_ns(index)))
        window = (window + [picture])[-exposure:]
        if index % EVERY == exposure // 2:  # the time of a frame is the middle of its exposure
            frames.append(_byte(np.mean(window, axis=0)))
    return Case(concatenate(true), frames, concatenate(rough))


def _true_ns(index: int) -> int:
    return round(index * NS_PER_S / TRUE_HZ)


def _byte(picture):
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def watch(frames: List[np.ndarray], times_ns: List[int], factor: int) -> EventBatch:
    """Return the events of frames."""
    height, width = frames[0].shape
    camera = EventCamera(width, height, upsample=factor)
    return concatenate([camera.push(*pair) for pair in zip(frames, times_ns)])


def bilinear(frames, times_ns) -> EventBatch:
    """Return the same upsampled, but with pixels between pixels by the straight line."""
    with mock.patch.object(upsample, 'WARP', cv2.INTER_LINEAR):
        return watch(frames, times_ns, AUTO)


WAYS = {
    'off': lambda frames, times_ns: watch(frames, times_ns, OFF),
    'auto': lambda frames, times_ns: watch(frames, times_ns, AUTO),
    'auto, bilinear': bilinear,
    '4': lambda frames, times_ns: watch(frames, times_ns, 4),
    '16': lambda frames, times_ns: watch(frames, times_ns, 16),
}


class Score(NamedTuple):
    """How far events are from the true ones."""

    total: float  # events, as a share of the true ones
    error_ms: float  # mean distance in time of an event from the true one of its rank
    matched: float  # share of the true events that have a counterpart in the same frame
    distance: float  # of event-count images of 5 ms, as a share of the true events
    rhythm: float  # highest event rate within the frame interval over its mean; true is 1
    rate: float  # RMS error of the event rate in bins of 2 ms, as a share of its mean


def score(events: EventBatch, true: EventBatch, frame_ns: int) -> Score:
    """Return how far events are from the true ones."""
    mine, truth = _ranked(events, frame_ns), _ranked(true, frame_ns)
    _, i, j = np.intersect1d(mine[0], truth[0], return_indices=True)
    phases = [np.histogram(batch.t % frame_ns, 8, (0, frame_ns))[0] for batch in (events, true)]
    rhythm = phases[0] / phases[1]
    edges = np.arange(0, true.t[-1], 2_000_000)
    rates = [np.histogram(batch.t, edges)[0] for batch in (events, true)]
    return Score(
        len(events) / len(true),
        float(np.abs(mine[1][i] - truth[1][j]).mean()) * 1e-6,
        len(i) / len(true),
        distance(events, true, BIN_NS),
        float(rhythm.max() / rhythm.mean()),
        float(np.std(rates[0] / rates[0].mean() - rates[1] / rates[1].mean())),
    )


def _ranked(events: EventBatch, frame_ns: int) -> Tuple[np.ndarray, np.ndarray]:
    """Return keys of frame, pixel, polarity and rank among those of the same, and times."""
    pixel = events.y.astype(np.int64) * events.width + events.x
    key = ((events.t // frame_ns) * 2 + events.p) * (events.width * events.height) + pixel
    order = np.lexsort((events.t, key))
    key, t = key[order], events.t[order]
    starts = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    ranks = np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))
    return key * 64 + np.minimum(ranks, 63), t


def distance(events: EventBatch, true: EventBatch, bin_ns: int) -> float:
    """Return the sum over pixels, polarities and bins of |events - true|, per true event."""
    bins = max(int(batch.t[-1]) for batch in (events, true)) // bin_ns + 1
    counts = np.zeros((bins, 2, true.height, true.width), np.int16)
    np.add.at(counts, (true.t // bin_ns, true.p, true.y, true.x), 1)
    np.subtract.at(counts, (events.t // bin_ns, events.p, events.y, events.x), 1)
    return float(np.abs(counts, out=counts).sum(dtype=np.int64)) / len(true)


def print_drawn(name: str, case: Case) -> None:
    """Print a row per way of upsampling, and one of all true frames in 8 bits: the floor."""
    frame_ns = _true_ns(EVERY)
    times_ns = [_true_ns(EVERY * index) for index in range(len(case.frames))]
    print('\n## {}: {:,} events in {:.1f} s\n'.format(name, len(case.true), times_ns[-1] / 1e9))
    print(
        '| upsampling | events | time error | matched | 5 ms images | rhythm | rate | frames/s |'
    )
    print('|---|---|---|---|---|---|---|---|')
    rows = [('960 fps, 8 bit', lambda *_: case.stepped)] + list(WAYS.items())
    for way, make in rows:
        begin = time.process_time()
        events = make(case.frames, times_ns)
        spent_s = time.process_time() - begin
        result = score(events, case.true, frame_ns)
        speed = '' if way == rows[0][0] else '{:.0f}'.format(len(times_ns) / spent_s)
        print(
            '| {} | {:.1%} | {:.2f} ms | {:.1%} | {:.2f} | {:.2f} | {:.3f} | {} |'.format(
                way, *result, speed
            ),
            flush=True,
        )


def print_real() -> None:
    """Print how far events of every second frame are from those of all, in real clips."""
    print('\n## Real clips, every second frame left out, against all of them\n')
    print('| clip | upsampling | events | images of a frame |')
    print('|---|---|---|---|')
    for folder, _, names in sorted(os.walk(VIDEOS)):
        for name in sorted(name for name in names if name.endswith(('.mp4', '.mpg'))):
            with Video(os.path.join(folder, name)) as video:
                pairs = list(video)
            pairs = pairs[: len(pairs) // 2 * 2 - 1]
            frames, times_ns = (list(column) for column in zip(*pairs))
            true = watch(frames, times_ns, OFF)
            for way in ('off', 'auto', 'auto, bilinear'):
                events = WAYS[way](frames[::2], times_ns[::2])
                far = distance(events, true, times_ns[1])
                print(
                    '| {} | {} | {:.1%} | {:.2f} |'.format(
                        name, way, len(events) / len(true), far
                    ),
                    flush=True,
                )


def draw(case: Case, path: str) -> None:
    """Draw what is seen in 5 ms, some rows of pixels over time, and the event rates."""
    from matplotlib.figure import Figure

    times_ns = [_true_ns(EVERY * index) for index in range(len(case.frames))]
    shown = {
        'true: 960 fps': case.true,
        '30 fps, upsampling off': WAYS['off'](case.frames, times_ns),
        '30 fps, upsampling auto': WAYS['auto'](case.frames, times_ns),
    }
    end_ns = BEGIN_NS + SHOWN_MS * 1_000_000
    figure = Figure(figsize=(9.6, 7.2), dpi=80)
    panels = figure.subplots(3, 3, sharex='row', gridspec_kw={'height_ratios': (5, 5, 3)})
    for (snapshot, rows, rate), (name, events) in zip(panels.T, shown.items()):
        part = events.between(end_ns - 4 * BIN_NS, end_ns - 3 * BIN_NS)
        snapshot.imshow(_painted(part, False)[40:220])
        snapshot.set(title=name, xlim=X_PX, xticks=[], yticks=[])
        part = events.between(BEGIN_NS, end_ns)
        rows.imshow(_painted(part, True), aspect='auto', extent=(0, WIDTH, SHOWN_MS, 0))
        rows.set(xlabel='x / px', xlim=X_PX)
        for batch, colour in ((case.true, 'black'), (events, 'tab:red')):
            times_ms = (batch.between(BEGIN_NS, end_ns).t - BEGIN_NS) * 1e-6
            per_ms = np.histogram(times_ms, SHOWN_MS, (0, SHOWN_MS))[0]
            rate.plot(per_ms * 1e-3, color=colour, lw=1.2)
        rate.set(xlabel='t / ms', ylim=(0, 0.7))
    panels[0, 0].set_ylabel('events of 5 ms, at 130 ms')
    panels[1, 0].set_ylabel('rows {} to {}: t / ms'.format(*ROWS))
    panels[2, 0].set_ylabel('M events/s')
    figure.tight_layout()
    figure.savefig(path)
    print('\n{}: {:.0f} kB'.format(os.path.relpath(path, ROOT), os.path.getsize(path) / 1e3))


def _painted(events: EventBatch, is_over_time: bool) -> np.ndarray:
    """Return a white picture of y, or of half milliseconds of some rows; ON blue, OFF orange."""
    down, height = events.y.astype(np.int64), HEIGHT
    shown = np.ones(len(events), bool)
    if is_over_time:
        shown = (down >= ROWS[0]) & (down <= ROWS[1])
        down, height = (events.t - BEGIN_NS) // 500_000, 2 * SHOWN_MS
    picture = np.full((height, WIDTH, 3), 255, np.uint8)
    colours = np.where(events.p[:, None] == 1, (31, 119, 180), (255, 127, 14))
    picture[down[shown], events.x[shown]] = colours[shown]
    return picture


def main() -> None:
    """Print the tables; draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='drawn heads alone, no picture')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    fast = drawn_case(3.0)
    print_drawn('Head that moves 9 px per frame at most', fast)
    print_drawn('The same, exposed for 11 ms', drawn_case(3.0, EXPOSURE))
    print_drawn('Head that moves 3 px per frame at most', drawn_case(1.0))
    if not args.quick:
        print_real()
        draw(fast, PICTURE)


if __name__ == '__main__':
    main()
