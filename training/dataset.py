"""From folders of recorded clips to labelled windows of event frames.

A window is one clip of the network: as many consecutive periods as it reads. Frames are made by
the very functions of the robot, around the true face box, shifted and scaled as a tracker would.
The label says what the window shows *changing*: the expression that the face moves to, or that
its expression does not change (it is still, holds an apex, blinks, talks, moves its head).
"""

import threading
from functools import partial
from typing import Callable, NamedTuple

import numpy as np

from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator
from cs3d_ros.face import Box, face_square
from cs3d_ros.face.align import MARGIN
from cs3d_ros.inference.emotion import EXPRESSIONS, NEUTRAL
from training.data.clips import ClipSet, DataError, Truth

CLIP_FRAMES = 16
LABELS = EXPRESSIONS + ('unchanged',)
UNCHANGED = len(EXPRESSIONS)

# A window shows a transition when it holds at least half of it and ends at most 0.2 s after it;
# it shows no change when it holds at most a tenth; the rest is neither trained on nor judged.
SHOWN, HIDDEN = 0.5, 0.1
LINGER_NS = 200_000_000
TRACKER_LAG_NS = 130_000_000
SHORTEST_LEAD_NS = 130_000_000  # of a window before whose start nothing was recorded: 4 periods
EVENTS_IN_MEMORY = 300_000_000  # 4 GB, 13 bytes each; a set of 4,000 clips may have more


class Transition(NamedTuple):
    """The face moves to an expression between two times of the sensor."""

    start_ns: int
    end_ns: int
    target: int | None  # index into LABELS, never UNCHANGED; None where no label names it

    def shown(self, start_ns: int, end_ns: int) -> float:
        """Return the share of the transition that lies within [start_ns, end_ns)."""
        overlap = min(end_ns, self.end_ns) - max(start_ns, self.start_ns)
        return max(0, overlap) / (self.end_ns - self.start_ns)


def transitions_of(segments) -> list[Transition]:
    """
    Return what the segments of a clip show changing, in order.

    A segment rises from ``onset_start_ns`` to ``apex_start_ns`` and falls back to neutral from
    ``offset_start_ns`` to ``offset_end_ns``, unless the next one begins before it has fallen: then
    the face goes directly from one expression to the other. Expressions that no label names
    (contempt) are moved to all the same, so that their windows are not taken for unchanged ones.
    """
    transitions = []
    segments = sorted(
        (s for s in segments if s['expression'] != NEUTRAL),
        key=lambda segment: segment['onset_start_ns'],
    )
    for segment, following in zip(segments, segments[1:] + [None]):
        named = segment['expression'] in EXPRESSIONS
        target = EXPRESSIONS.index(segment['expression']) if named else None
        transitions.append(Transition(segment['onset_start_ns'], segment['apex_start_ns'], target))
        if following is None or following['onset_start_ns'] >= segment['offset_end_ns']:
            transitions.append(
                Transition(
                    segment['offset_start_ns'],
                    segment['offset_end_ns'],
                    EXPRESSIONS.index(NEUTRAL),
                )
            )
    return [t for t in transitions if t.end_ns > t.start_ns]


def label_of(transitions, start_ns: int, end_ns: int) -> int | None:
    """Return the label of the window [start_ns, end_ns), None where it is neither one nor other.

    Of two transitions in one window the later counts.
    """
    label = UNCHANGED
    for transition in transitions:
        shown = transition.shown(start_ns, end_ns)
        if shown >= SHOWN and end_ns <= transition.end_ns + LINGER_NS:
            label = transition.target
        elif shown > HIDDEN:
            label = None
    return label


def tells_windows(entry: dict, truth: Truth) -> bool:
    """
    Tell whether windows of a clip can be cut and labelled.

    Real corpora may not know when their expression happens (no segments, though it is not neutral
    all the time) or where the face is (NaN).
    """
    is_timed = bool(entry['segments']) or entry['label'] == NEUTRAL
    return is_timed and bool(np.isfinite(truth.box).all())


class Variation(NamedTuple):
    """How a window departs from the recording; the default is not at all."""

    shift_x: float = 0.0  # of the face square, in its sides
    shift_y: float = 0.0
    scale: float = 1.0
    roll: float = 0.0  # rad
    mirror: bool = False
    gain: float = 1.0  # events kept, or, above 1, seen more than once
    noise: float = 0.0  # events per cell and frame that nothing caused
    pace: float = 1.0  # of time; above 1 the face moves faster
    blank: int = 0  # leading frames that nothing was seen in, as in a new clip


def draw_variation(rng: np.random.Generator) -> Variation:
    """Return a variation such as trackers, sensors and people make."""
    return Variation(
        # as the finder's boxes depart from true ones on rendered faces, its worst quarter apart
        shift_x=rng.normal(0, 0.06),
        shift_y=rng.normal(-0.02, 0.06),
        scale=float(np.exp(rng.normal(-0.03, 0.1))),
        roll=rng.normal(0, np.radians(5)),
        mirror=bool(rng.random() < 0.5),
        gain=float(np.exp(rng.uniform(np.log(0.4), np.log(3.0)))),
        noise=float(rng.choice([0.0, 0.0, 0.003, 0.01])),
        pace=float(np.exp(rng.uniform(np.log(0.8), np.log(1.25)))),
        blank=int(rng.integers(0, CLIP_FRAMES // 2)) if rng.random() < 0.05 else 0,
    )


class Clip:
    """
    One recording with its truth.

    Parameters
    ----------
    read : callable
        Takes the start and end of a range in ns, returns its EventBatch.
    truth_t_ns : np.ndarray [shape=(F,), dtype=int64]
    boxes : np.ndarray [shape=(F, 4)]
        The face at those times.
    identity : str
    transitions : list of Transition
    """

    def __init__(
        self,
        read: Callable[[int, int], EventBatch],
        truth_t_ns: np.ndarray,
        boxes: np.ndarray,
        identity: str,
        transitions: list[Transition],
    ):
        self.events_between, self.truth_t_ns, self._boxes = read, truth_t_ns, boxes
        self.identity, self.transitions = identity, transitions
        self.start_ns, self.end_ns = int(truth_t_ns[0]), int(truth_t_ns[-1])

    def box(self, t_ns: float) -> Box:
        """Return the true face box at a time."""
        return Box(*(float(np.interp(t_ns, self.truth_t_ns, column)) for column in self._boxes.T))

    def label(self, end_ns: float, window_ns: float) -> int | None:
        """Return the label of the window that ends at end_ns, by what was recorded of it."""
        return label_of(self.transitions, max(self.start_ns, end_ns - window_ns), end_ns)


class Shelf:
    """
    Events of clips, in memory as long as there is room; threads may share it.

    Windows are drawn at random, so no clip deserves its place more than another: those that come
    first keep it, and of the others only the window is read.
    """

    def __init__(self, most_events: int = EVENTS_IN_MEMORY):
        self._room, self._kept, self._lock = most_events, {}, threading.Lock()

    @property
    def kept_events(self) -> int:
        """Number of events in memory."""
        return sum(len(events) for events in self._kept.values())

    def read(self, clips: ClipSet, index: int, start_ns: int, end_ns: int) -> EventBatch:
        """Return the events of a clip within a range of time."""
        key = (clips.folder, index)
        if key not in self._kept and self._room > 0:
            events = clips[index].events
            with self._lock:
                if key not in self._kept and len(events) <= self._room:
                    self._kept[key] = events
                    self._room -= len(events)
        if key in self._kept:
            return self._kept[key].between(start_ns, end_ns)
        return clips.events(index, start_ns, end_ns)


class Window(NamedTuple):
    """One example: where it ends in which clip, and what it shows."""

    clip: Clip
    end_ns: int
    label: int


def cut_window(
    window: Window,
    settings: FrameSettings = FrameSettings(),
    margin: float = MARGIN,
    variation: Variation = Variation(),
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """
    Return the event frames (16, size, size) uint8 of a window.

    A frame uses the true box of TRACKER_LAG_NS before, as a tracker that averages lags behind.
    """
    clip, period_ns = window.clip, settings.period_ns * variation.pace
    start_ns = window.end_ns - CLIP_FRAMES * period_ns
    edges = start_ns + period_ns * np.arange(CLIP_FRAMES + 1)
    times = np.round(edges).astype(np.int64)
    events = clip.events_between(int(times[0]), int(times[-1]))
    cuts = np.searchsorted(events.t, times)
    accumulator = SquareAccumulator(settings)
    frames = np.empty((CLIP_FRAMES, settings.size, settings.size), np.uint8)
    for i, (first, last) in enumerate(zip(cuts[:-1], cuts[1:])):
        if i >= variation.blank:
            box = clip.box(edges[i] - TRACKER_LAG_NS)
            square = _varied(face_square(box, margin), variation)
            for batch in _gained(events[int(first) : int(last)], variation.gain, rng):
                accumulator.add(batch, square)
        frames[i] = accumulator.take()
    if variation.noise:
        frames = _noisy(frames, variation.noise, settings.step, rng)
    return frames[:, :, ::-1] if variation.mirror else frames


def _varied(square, variation):
    return square._replace(
        cx=square.cx + variation.shift_x * square.side,
        cy=square.cy + variation.shift_y * square.side,
        side=square.side * variation.scale,
        roll=square.roll + variation.roll,
    )


def _gained(batch, gain, rng):
    """Yield batches that together hold each event ``gain`` times on average."""
    for _ in range(int(gain)):
        yield batch
    share = gain % 1
    if share and len(batch):
        kept = rng.random(len(batch), np.float32) < share
        yield EventBatch.trusted(
            *(getattr(batch, name)[kept] for name in 'xytp'), batch.width, batch.height
        )


def _noisy(frames, noise, step, rng):
    count = rng.poisson(noise * frames.size)
    places = rng.integers(0, frames.size, count)
    flat = frames.reshape(-1).astype(np.int16)
    np.add.at(flat, places, np.where(rng.random(count) < 0.5, -step, step))
    return np.clip(flat, 0, 255).astype(np.uint8).reshape(frames.shape)


class DataSet:
    """
    The clips of one split of one or more data-set folders.

    Parameters
    ----------
    folders : path or list of paths
        Each holds shards, as training.synthesize writes them, and may still be growing.
    split : str
        ``train``, ``val`` or ``test``; no identity is in two of them.

    Raises
    ------
    DataError
        If there are no shards or one is damaged, an identity stands in two splits, or an
        expression is never moved to.
    """

    def __init__(self, folders, split: str, settings: FrameSettings = FrameSettings()):
        folders = list(folders) if isinstance(folders, (list, tuple)) else [folders]
        self.split, self.settings = split, settings
        self.window_ns = CLIP_FRAMES * settings.period_ns
        self.clips = []
        self._sets = [ClipSet(folder) for folder in folders]
        self._taken = [0] * len(folders)  # entries of each set
        self._split_of = {}  # identity -> split
        self._shelf = Shelf()
        self._by_target = [[] for _ in range(UNCHANGED)]
        self.take_in()
        for name, found in zip(EXPRESSIONS, self._by_target):
            if not found:
                raise DataError(
                    '{}, split {}: no face moves to {}: make more clips'.format(
                        ', '.join(map(str, folders)), split, name
                    )
                )

    def take_in(self) -> int:
        """Take in the clips that the folders hold by now; return how many of them were new."""
        before = len(self.clips)
        for k, clips in enumerate(self._sets):
            clips.take_in()
            for index in range(self._taken[k], len(clips)):
                self._check_identity(clips.folder, clips.entries[index])
                if clips.entries[index]['split'] == self.split:
                    self._add(clips, index)
            self._taken[k] = len(clips)
        return len(self.clips) - before

    def _check_identity(self, folder, entry):
        identity, split = entry['identity'], entry['split']
        if self._split_of.setdefault(identity, split) != split:
            raise DataError(
                '{}: identity {} stands in two splits, {} and {}: leave out one of the '
                'sets'.format(folder, identity, self._split_of[identity], split)
            )

    def _add(self, clips, index):
        entry, truth = clips.entries[index], clips.truth(index)
        if not tells_windows(entry, truth):
            return
        read = partial(self._shelf.read, clips, index)
        transitions = transitions_of(entry['segments'])
        clip = Clip(read, truth.t_ns, truth.box, entry['identity'], transitions)
        self.clips.append(clip)
        for transition in transitions:
            if transition.target is not None:
                self._by_target[transition.target].append((clip, transition))

    def draw(self, label: int, rng: np.random.Generator, window_ns: float | None = None) -> Window:
        """Return a random window of a label."""
        window_ns = window_ns or self.window_ns
        for _ in range(1000):
            if label == UNCHANGED:
                clip = self.clips[rng.integers(len(self.clips))]
                low, high = clip.start_ns + SHORTEST_LEAD_NS, clip.end_ns
            else:
                found = self._by_target[label]
                clip, transition = found[rng.integers(len(found))]
                low = max(transition.start_ns, clip.start_ns + SHORTEST_LEAD_NS)
                high = transition.end_ns + LINGER_NS
            end_ns = int(rng.uniform(low, max(low, min(high, clip.end_ns))))
            if clip.label(end_ns, window_ns) == label:
                return Window(clip, end_ns, label)
        raise DataError(
            'no window shows {}: are the transitions longer than {:.1f} s?'.format(
                LABELS[label], 2e-9 * window_ns
            )
        )

    def draw_busy_unchanged(self, rng: np.random.Generator, window_ns: float) -> Window:
        """Return the busiest of four unchanged windows: a talker, a nod, a blink."""
        windows = [self.draw(UNCHANGED, rng, window_ns) for _ in range(4)]
        return max(
            windows,
            key=lambda w: len(w.clip.events_between(int(w.end_ns - window_ns), w.end_ns)),
        )

    def batch(self, size: int, rng: np.random.Generator, vary: bool = True):
        """
        Return frames (size, 16, s, s) uint8 and labels (size,) int64, balanced over the labels.

        Unchanged windows come twice as often, as there are more kinds of them, and half of them
        are busy ones; a quiet one is soon learnt.
        """
        labels = (np.arange(size) + rng.integers(len(LABELS) + 1)) % (len(LABELS) + 1)
        labels = np.minimum(labels, UNCHANGED)
        side = self.settings.size
        frames = np.empty((size, CLIP_FRAMES, side, side), np.uint8)
        for i, label in enumerate(labels):
            variation = draw_variation(rng) if vary else Variation()
            window_ns = self.window_ns * variation.pace
            if label == UNCHANGED and rng.random() < 0.5:
                window = self.draw_busy_unchanged(rng, window_ns)
            else:
                window = self.draw(int(label), rng, window_ns)
            frames[i] = cut_window(window, self.settings, variation=variation, rng=rng)
        return frames, labels.astype(np.int64)

    def fixed_windows(self, rng: np.random.Generator) -> list[Window]:
        """
        Return windows to judge a network on, aligned to absolute periods as on the robot.

        One per transition, ending with the first period after it; as many unchanged ones as an
        expression has on average, from random places of random clips.
        """
        period_ns = self.settings.period_ns
        windows = []
        for clip in self.clips:
            for transition in clip.transitions:
                end_ns = -(-transition.end_ns // period_ns) * period_ns
                label = clip.label(end_ns, self.window_ns)
                if end_ns <= clip.end_ns and label is not None and label == transition.target:
                    windows.append(Window(clip, end_ns, label))
        for _ in range(len(windows) // UNCHANGED):
            drawn = self.draw(UNCHANGED, rng)
            end_ns = drawn.end_ns // period_ns * period_ns
            if drawn.clip.label(end_ns, self.window_ns) == UNCHANGED:
                windows.append(Window(drawn.clip, end_ns, UNCHANGED))
        return windows
