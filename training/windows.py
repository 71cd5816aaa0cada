"""A clip of a set, and windows of event frames cut out of it.

A window is one clip of the network: as many consecutive periods as it reads. Frames are made by
the very functions of the robot, around the true face box, shifted and scaled as a tracker would.
"""

import threading
from typing import Callable, NamedTuple

import numpy as np

from cs3d_ros.events import (
    Cleaner,
    CleaningSettings,
    EventBatch,
    FrameSettings,
    SquareAccumulator,
)
from cs3d_ros.face import Box, face_square
from cs3d_ros.face.align import MARGIN
from training.augment import (
    Variation,
    changed_sensor,
    moving_edges,
    noisy,
    varied_square,
    wandering,
)
from training.data.clips import ClipSet
from training.targets import CLIP_FRAMES, Transition, label_of

TRACKER_LAG_NS = 130_000_000
FILTER_LEAD_NS = 50_000_000  # of events that a filter sees before the first frame
EVENTS_IN_MEMORY = 300_000_000  # 4 GB, 13 bytes each; a set of 4,000 clips may have more


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
        What tells it from the clips of other sets, too, as training.fingerprint has it.
    source : str
        ``rendered``, or the corpus it is of.
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
        source: str = '',
    ):
        self.events_between, self.truth_t_ns, self._boxes = read, truth_t_ns, boxes
        self.identity, self.transitions, self.key = identity, transitions, key
        self.condition, self.digest, self.source = condition, digest, source
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
