"""From folders of recorded clips to labelled windows of event frames.

A window is one clip of the network: as many consecutive periods as it reads. Frames are made by
the very functions of the robot, around the true face box, shifted and scaled as a tracker would.
The label says what the window shows *changing*: the expression that the face moves to, or that
its expression does not change (it is still, holds an apex, blinks, talks, moves its head).
"""

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import torch

from cs3d_ros.events import (
    Cleaner,
    CleaningSettings,
    EventBatch,
    FrameSettings,
    SquareAccumulator,
)
from cs3d_ros.face import Box, face_square
from cs3d_ros.face.align import MARGIN
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.augment import (
    AUGMENTATIONS,
    Variation,
    changed_sensor,
    draw_variation,
    moving_edges,
    noisy,
    varied_square,
    wandering,
)
from training.data.clips import ClipSet, DataError
from training.fingerprint import digest
from training.settings import TrainSettings
from training.targets import (
    CLIP_FRAMES,
    LABELS,
    LINGER_NS,
    UNCHANGED,
    Transition,
    label_of,
    tells_windows,
    transitions_of,
    worn_at,
)

TRACKER_LAG_NS = 130_000_000
SHORTEST_LEAD_NS = 130_000_000  # of a window before whose start nothing was recorded: 4 periods
FILTER_LEAD_NS = 50_000_000  # of events that a filter sees before the first frame
EVENTS_IN_MEMORY = 300_000_000  # 4 GB, 13 bytes each; a set of 4,000 clips may have more
TRIES = 1000  # at a window of a label
BUSY, BUSIEST_OF = 0.5, 4  # share of unchanged windows that are the busiest of so many


class Examples(NamedTuple):
    """
    What a network learns from at once: n windows, with one target each, or sequences, with K = T.

    A weight of 0 leaves a target out.
    """

    frames: np.ndarray  # (n, T, s, s) uint8
    worn: np.ndarray  # (n, K) int64, index into EXPRESSIONS
    worn_weight: np.ndarray  # (n, K) float32
    changing: np.ndarray  # (n, K) int64, index into LABELS
    changing_weight: np.ndarray  # (n, K) float32


def to_input(frames) -> torch.Tensor:
    """Return clips (n, 1, T, h, w) float32 of frames (n, T, h, w) uint8, as the robot does."""
    return ((torch.as_tensor(frames).float() - 128) / 128).unsqueeze(1)


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
    key : str
        What tells the clip from all others, in its set and in views of it.
    condition : str
        It was recorded under, of training.data.world.CONDITIONS or a corpus' own.
    digest : str
        What tells it from the clips of other sets, too: that of its entry.
    """

    def __init__(
        self,
        read: Callable[[int, int], EventBatch],
        truth_t_ns: np.ndarray,
        boxes: np.ndarray,
        identity: str,
        transitions: list[Transition],
        key: str = '',
        condition: str = '',
        digest: str = '',
    ):
        self.events_between, self.truth_t_ns, self._boxes = read, truth_t_ns, boxes
        self.identity, self.transitions, self.key = identity, transitions, key
        self.condition, self.digest = condition, digest
        self.start_ns, self.end_ns = int(truth_t_ns[0]), int(truth_t_ns[-1])

    def boxes_at(self, t_ns: np.ndarray) -> np.ndarray:
        """Return the true face boxes (n, 4) at times (n,)."""
        columns = [np.interp(t_ns, self.truth_t_ns, column) for column in self._boxes.T]
        return np.stack(columns, -1)

    def box(self, t_ns: float) -> Box:
        """Return the true face box at a time."""
        return Box(*map(float, self.boxes_at(float(t_ns))))

    def label(self, end_ns: float, window_ns: float) -> int | None:
        """Return the label of the window that ends at end_ns, by what was recorded of it."""
        return label_of(self.transitions, max(self.start_ns, end_ns - window_ns), end_ns)


class Shelf:
    """
    Events of clips, in memory as long as there is room; threads may share it.

    Windows are drawn at random, so no clip deserves its place more than another: those that come
    first keep it. The first that finds no room closes the shelf, and of all others only the window
    is read: to learn that a shorter one fits, each would be read whole, again and again.
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
                elif key not in self._kept:
                    self._room = 0
        if key in self._kept:
            return self._kept[key].between(start_ns, end_ns)
        return clips.events(index, start_ns, end_ns)


class Window(NamedTuple):
    """One example: where it ends in which clip, and what it shows."""

    clip: Clip
    end_ns: int
    label: int


def cut_frames(
    clip: Clip,
    edges_ns: np.ndarray,
    settings: FrameSettings = FrameSettings(),
    variation: Variation = Variation(),
    rng: np.random.Generator | None = None,
    cleaning: CleaningSettings = CleaningSettings(),
) -> np.ndarray:
    """
    Return the event frames (T, size, size) uint8 between edges (T + 1,) of the clip's time.

    A frame uses the true box of TRACKER_LAG_NS before, as a tracker that averages lags behind.
    What a variation does to whole frames, noise and mirroring, is left to ``finished``.
    """
    times = np.round(edges_ns).astype(np.int64)
    start_ns, end_ns = int(times[0]), int(times[-1])
    lead_ns = FILTER_LEAD_NS if any(cleaning) else 0
    events = clip.events_between(start_ns - lead_ns, end_ns)
    events = changed_sensor(events, variation, rng)
    if variation.edges:
        size = events.width, events.height
        moving = moving_edges(*size, start_ns, end_ns, clip.boxes_at, variation.edges, rng)
        events = _merged(events, moving)
    events = Cleaner(events.width, events.height, cleaning).push(events)
    cuts = np.searchsorted(events.t, times)
    boxes = clip.boxes_at(edges_ns[:-1] - TRACKER_LAG_NS)
    wander = wandering(len(boxes), variation.wander, rng)
    accumulator = SquareAccumulator(settings)
    frames = np.empty((len(boxes), settings.size, settings.size), np.uint8)
    for i, box in enumerate(boxes):
        if i >= variation.blank:
            square = varied_square(face_square(Box(*box), MARGIN), variation, wander[i])
            accumulator.add(events[int(cuts[i]) : int(cuts[i + 1])], square)
        frames[i] = accumulator.take()
    return frames


def _merged(one, other):
    """Return the events of two batches of one sensor in the order of their times."""
    columns = [np.concatenate([getattr(one, n), getattr(other, n)]) for n in 'xytp']
    order = np.argsort(columns[2], kind='stable')
    return EventBatch.trusted(*(column[order] for column in columns), one.width, one.height)


def finished(frames, variation: Variation, step: int, rng) -> np.ndarray:
    """Return frames with the noise and the mirroring of a variation."""
    if variation.noise:
        frames = noisy(frames, variation.noise, step, rng)
    return frames[:, :, ::-1] if variation.mirror else frames


def cut_window(
    window: Window,
    settings: FrameSettings = FrameSettings(),
    variation: Variation = Variation(),
    rng: np.random.Generator | None = None,
    cleaning: CleaningSettings = CleaningSettings(),
) -> np.ndarray:
    """Return the event frames (16, size, size) uint8 of a window."""
    period_ns = settings.period_ns * variation.pace
    edges = window.end_ns + period_ns * np.arange(-CLIP_FRAMES, 1)
    frames = cut_frames(window.clip, edges, settings, variation, rng, cleaning)
    return finished(frames, variation, settings.step, rng)


class DataSet:
    """
    The clips of one split of one or more data-set folders.

    Parameters
    ----------
    folders : path or list of paths
        Each holds shards, as training.synthesize writes them, and may still be growing; or a
        ClipSet that is open already.
    split : str
        ``train``, ``val`` or ``test``; no identity is in two of them.
    settings : FrameSettings
    kinds : sequence of str
        Of training.augment.AUGMENTATIONS, which batches are varied by.
    cleaning : CleaningSettings
        What events go through before they become frames.

    Raises
    ------
    DataError
        If there are no shards or one is damaged, the split is empty, a label is unknown, an
        identity stands in two splits, or expressions are lacking: faces move to none, in ``train``
        to a single one, or not to all that the other splits show.
    """

    SHELF = Shelf

    def __init__(
        self,
        folders,
        split: str,
        settings: FrameSettings = FrameSettings(),
        kinds=AUGMENTATIONS,
        cleaning: CleaningSettings = CleaningSettings(),
    ):
        folders = list(folders) if isinstance(folders, (list, tuple)) else [folders]
        self.split, self.settings, self.kinds, self.cleaning = split, settings, kinds, cleaning
        self.window_ns = CLIP_FRAMES * settings.period_ns
        self.clips = []
        self._sets = [f if isinstance(f, ClipSet) else ClipSet(f) for f in folders]
        self._taken = [0] * len(folders)  # entries of each set
        self._split_of = {}  # identity -> split
        self._shelf = self.SHELF()
        self._by_target = [[] for _ in range(UNCHANGED)]
        self.take_in()
        self._check('{}, split {}'.format(', '.join(map(str, folders)), split))

    def _check(self, where):
        if not self.clips:
            raise DataError('{}: there is no clip with times and boxes: make more'.format(where))
        is_learnt = self.split == 'train'
        if len(self.shown) < (2 if is_learnt else 1):
            names = ', '.join(EXPRESSIONS[label] for label in self.shown)
            raise DataError(
                '{}: faces move to {}, which is too little to tell apart: make more clips'.format(
                    where, names or 'no expression'
                )
            )
        lacking = self._shown_elsewhere() if is_learnt and len(self.shown) < UNCHANGED else []
        if lacking:
            raise DataError(
                '{}: no face moves to {}, as in other splits: make more clips'.format(
                    where, ', '.join(EXPRESSIONS[label] for label in lacking)
                )
            )

    def _shown_elsewhere(self):
        """Return the expressions that other splits of the folders show, and this one does not."""
        found = {
            transition.target
            for clips in self._sets
            for index, entry in enumerate(clips.entries)
            if entry['split'] != self.split and tells_windows(entry, clips.truth(index))
            for transition in self._transitions(clips, index)
        }
        return sorted(found.difference(self.shown, [None]))

    @property
    def shown(self) -> list[int]:
        """Expressions that faces move to, indices into LABELS."""
        return [label for label, found in enumerate(self._by_target) if found]

    @classmethod
    def of(cls, folders, split: str, settings: TrainSettings, size: int, **others):
        """Return a split as a training asks for it, in frames of a size in px."""
        reach_ns = int(1e6 * settings.background_activity_ms)
        return cls(
            folders,
            split,
            settings=settings.frame_settings(size),
            kinds=settings.augment,
            cleaning=CleaningSettings(background_activity_ns=reach_ns),
            **others,
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
        transitions = self._transitions(clips, index)
        key = '{identity} {seed} {index}'.format(**entry)
        about = entry['identity'], transitions, key, entry['condition'], digest(entry)
        clip = Clip(read, truth.t_ns, truth.box, *about)
        self.clips.append(clip)
        for transition in transitions:
            if transition.target is not None:
                self._by_target[transition.target].append((clip, transition))

    @staticmethod
    def _transitions(clips, index):
        try:
            return transitions_of(clips.entries[index]['segments'])
        except DataError as error:
            raise DataError('{}, clip {}: {}'.format(clips.folder, index, error)) from error

    def draw(self, label: int, rng: np.random.Generator, window_ns: float | None = None) -> Window:
        """Return a random window of a label."""
        window_ns = window_ns or self.window_ns
        for _ in range(TRIES):
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
        """Return the busiest of some unchanged windows: a talker, a nod, a blink."""
        windows = [self.draw(UNCHANGED, rng, window_ns) for _ in range(BUSIEST_OF)]
        return max(
            windows,
            key=lambda w: len(w.clip.events_between(int(w.end_ns - window_ns), w.end_ns)),
        )

    def batch(self, size: int, rng: np.random.Generator) -> Examples:
        """
        Return varied windows, balanced over the labels that the split shows.

        Unchanged windows come twice as often, as there are more kinds of them, and half of them
        are busy ones; a quiet one is soon learnt.
        """
        labels = balanced(size, rng, self.shown)
        side = self.settings.size
        frames = np.empty((size, CLIP_FRAMES, side, side), np.uint8)
        worn = []
        for i, label in enumerate(labels):
            variation = draw_variation(rng, self.kinds)
            window_ns = self.window_ns * variation.pace
            if label == UNCHANGED and rng.random() < BUSY:
                window = self.draw_busy_unchanged(rng, window_ns)
            else:
                window = self.draw(int(label), rng, window_ns)
            variation = self._less_blank(window, variation)
            frames[i] = self.cut(window, variation, rng)
            clip, end_ns = window.clip, window.end_ns
            seen_from_ns = max(clip.start_ns, end_ns - self._seen_ns(variation))
            worn.append(worn_at(clip.transitions, [end_ns], seen_from_ns))
        targets, weights = (np.stack(column) for column in zip(*worn))
        clear = np.ones((size, 1), np.float32)
        return Examples(frames, targets, weights, labels[:, None], clear)

    def _seen_ns(self, variation):
        """Return how much of the recording a window shows."""
        return self.window_ns * variation.pace * (1 - variation.blank / CLIP_FRAMES)

    def _less_blank(self, window, variation):
        """Return a variation with as many of its blank frames as leave a window's label true."""
        while window.clip.label(window.end_ns, self._seen_ns(variation)) != window.label:
            variation = variation._replace(blank=variation.blank - 1)
        return variation

    def cut(
        self,
        window: Window,
        variation: Variation = Variation(),
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Return the frames (16, size, size) uint8 of a window."""
        return cut_window(
            window, self.settings, variation=variation, rng=rng, cleaning=self.cleaning
        )

    def fixed_windows(self, rng: np.random.Generator) -> list[Window]:
        """
        Return windows to judge a network on, aligned to absolute periods as on the robot.

        One per transition, ending with the first period after it; as many unchanged ones as an
        expression has on average, from random places of random clips.

        Raises
        ------
        DataError
            If none shows a transition, as all of them take too long.
        """
        period_ns = self.settings.period_ns
        windows = []
        for clip in self.clips:
            for transition in clip.transitions:
                end_ns = -(-transition.end_ns // period_ns) * period_ns
                label = clip.label(end_ns, self.window_ns)
                if end_ns <= clip.end_ns and label is not None and label == transition.target:
                    windows.append(Window(clip, end_ns, label))
        if not windows:
            raise DataError(
                'no window of split {} shows a move: are they longer than {:.1f} s?'.format(
                    self.split, 2e-9 * self.window_ns
                )
            )
        for _ in range(len(windows) // len(self.shown)):
            drawn = self.draw(UNCHANGED, rng)
            end_ns = drawn.end_ns // period_ns * period_ns
            if drawn.clip.label(end_ns, self.window_ns) == UNCHANGED:
                windows.append(Window(drawn.clip, end_ns, UNCHANGED))
        return windows


def balanced(size: int, rng: np.random.Generator, shown=range(UNCHANGED)) -> np.ndarray:
    """Return labels (size,) int64, each of those shown as often, unchanged twice as often."""
    labels = np.array([*shown, UNCHANGED, UNCHANGED], np.int64)
    return labels[(np.arange(size) + rng.integers(len(labels))) % len(labels)]


class Batches:
    """
    An epoch's batches, made by threads ahead of the one who asks for them, in a fixed order.

    Parameters
    ----------
    make : callable
        Takes the number of a batch, returns Examples.
    numbers : range
    loaders : int
        Threads; cutting frees the interpreter, so that they run side by side.

    Attributes
    ----------
    waited_s : float
        Spent so far by the one who asked, waiting for data.
    """

    AHEAD = 2  # batches per thread

    def __init__(self, make: Callable[[int], Examples], numbers: range, loaders: int = 1):
        self._make, self._numbers, self._loaders = make, numbers, loaders
        self.waited_s = 0.0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self):
        numbers, waiting = iter(self._numbers), deque()
        with ThreadPoolExecutor(self._loaders) as pool:
            try:
                while True:
                    while len(waiting) < self.AHEAD * self._loaders + 1:
                        number = next(numbers, None)
                        if number is None:
                            break
                        waiting.append(pool.submit(self._make, number))
                    if not waiting:
                        return
                    began = time.monotonic()
                    examples = waiting.popleft().result()
                    self.waited_s += time.monotonic() - began
                    yield Examples(*map(torch.from_numpy, examples))
            finally:
                for future in waiting:
                    future.cancel()
