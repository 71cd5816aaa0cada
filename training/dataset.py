"""From folders of recorded clips to labelled windows of event frames.

The label says what the window shows *changing*: the expression that the face moves to, or that
its expression does not change (it is still, holds an apex, blinks, talks, moves its head).
"""

from functools import partial

import numpy as np

from cs3d_ros.events import CleaningSettings, FrameSettings
from cs3d_ros.inference.emotion import EXPRESSIONS
from training.augment import AUGMENTATIONS, Variation, draw_variation
from training.batches import Examples
from training.data.clips import ClipSet, DataError
from training.fingerprint import clip_digest
from training.settings import TrainSettings
from training.targets import (
    CLIP_FRAMES,
    LABELS,
    LINGER_NS,
    UNCHANGED,
    tells_windows,
    transitions_of,
    worn_at,
)
from training.windows import Clip, Shelf, Window, cut_window

SHORTEST_LEAD_NS = 130_000_000  # of a window before whose start nothing was recorded: 4 periods
TRIES = 1000  # at a window of a label
BUSY, BUSIEST_OF = 0.5, 4  # share of unchanged windows that are the busiest of so many


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
        to a single one, not to all that the other splits show, or too slowly for any window.
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
        if is_learnt:
            self._check_windows()

    def _check_windows(self):
        """Raise DataError if nothing that is drawn can show one of the labels."""
        for label in (*self.shown, UNCHANGED):
            self.draw(label, np.random.default_rng(0))

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
        about = entry['identity'], transitions, key, entry['condition'], clip_digest(clips, index)
        clip = Clip(read, truth.t_ns, truth.box, *about, entry['source'])
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
        return self._searched(label, rng, window_ns)

    def _searched(self, label, rng, window_ns):
        """Return a window that ends with a move to a label; for moves that hardly fit into any."""
        moves = self._by_target[label] if label != UNCHANGED else []
        for number in rng.permutation(len(moves)):
            clip, transition = moves[number]
            end_ns = max(transition.end_ns, clip.start_ns + SHORTEST_LEAD_NS)
            end_ns = min(end_ns, clip.end_ns)
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
            window, variation = self._varied(int(label), rng)
            frames[i] = self.cut(window, variation, rng)
            clip, end_ns = window.clip, window.end_ns
            seen_from_ns = max(clip.start_ns, end_ns - self._seen_ns(variation))
            worn.append(worn_at(clip.transitions, [end_ns], seen_from_ns))
        targets, weights = (np.stack(column) for column in zip(*worn))
        clear = np.ones((size, 1), np.float32)
        return Examples(frames, targets, weights, labels[:, None], clear)

    def _varied(self, label, rng):
        """Return a window of a label and how it is varied."""
        variation = draw_variation(rng, self.kinds)
        is_busy = label == UNCHANGED and rng.random() < BUSY
        draw = self.draw_busy_unchanged if is_busy else partial(self.draw, label)
        try:
            window = draw(rng, self.window_ns * variation.pace)
        except DataError:  # slowed down, a window shows less: moves that fit in may not do so now
            variation = variation._replace(pace=1.0)
            window = draw(rng, self.window_ns)
        return window, self._less_blank(window, variation)

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
        self._check_moves(windows)
        for _ in range(len(windows) // len(self.shown)):
            drawn = self.draw(UNCHANGED, rng)
            end_ns = drawn.end_ns // period_ns * period_ns
            if drawn.clip.label(end_ns, self.window_ns) == UNCHANGED:
                windows.append(Window(drawn.clip, end_ns, UNCHANGED))
        return windows

    def _check_moves(self, found):
        """Raise DataError if there is no move to judge a network on."""
        if not found:
            raise DataError(
                'no window of split {} shows a move: are they longer than {:.1f} s?'.format(
                    self.split, 2e-9 * self.window_ns
                )
            )


def balanced(size: int, rng: np.random.Generator, shown=range(UNCHANGED)) -> np.ndarray:
    """Return labels (size,) int64, each of those shown as often, unchanged twice as often."""
    labels = np.array([*shown, UNCHANGED, UNCHANGED], np.int64)
    return labels[(np.arange(size) + rng.integers(len(labels))) % len(labels)]
