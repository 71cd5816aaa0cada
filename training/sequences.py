"""From recorded clips to whole sequences with a target per frame, for networks with a memory.

A sequence is N consecutive frames of a clip, from any start, in which time may stand still for a
while: then frames are blank, as a still face sends no events, and the face goes on wearing what it
wears. So one second of recorded apex teaches to hold an expression for three, and a clip shorter
than a sequence is filled up. Near misses (a blink, a word, a nod) are neutral all along.

Sequences begin in the middle of expressions, too. From there to the next transition nothing tells
what is worn, and frames weigh nothing (``training.targets.worn_at``); a network that knows nothing
then keeps to what it begins with, neutral, and lets go when it sees the offset.
"""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events import CleaningSettings, FrameSettings, still_frame
from training.augment import AUGMENTATIONS, Variation, draw_variation
from training.batches import Examples
from training.dataset import DataSet, balanced
from training.settings import TrainSettings
from training.targets import (
    CLIP_FRAMES,
    UNCHANGED,
    Transition,
    changing_at,
    worn_at,
)
from training.windows import Clip, cut_frames, finished

NEAR_MISSES = 0.75  # of sequences drawn for no change: from clips without any expression
EDGE_FRAMES = 2  # between a sequence's ends and the switch that it was drawn for
CLIPS_PER_QUIET_MOMENT = 4  # as many unchanged moments are judged as of an expression, about


class Sequence(NamedTuple):
    """Frames of a clip and a stretch in which time stands still; see the module."""

    clip: Clip
    start_ns: float  # of the clip's time: where the first recorded frame begins
    recorded: int  # frames
    pause_at: int = 0  # recorded frames before the stretch
    pause: int = 0  # frames of it
    pace: float = 1.0  # recorded time over played time

    @property
    def frames(self) -> int:
        """Number of frames, recorded and still."""
        return self.recorded + self.pause

    def transitions(self, period_ns: int) -> list[Transition]:
        """Return the clip's transitions in played time, ns from the sequence's beginning."""
        found = []
        for transition in self.clip.transitions:
            start, end = ((t - self.start_ns) / self.pace for t in transition[:2])
            # what is under way at the beginning is wholly behind a stretch that comes first
            is_behind = end > 0 if not self.pause_at else start >= self.pause_at * period_ns
            shift = self.pause * period_ns if is_behind else 0
            found.append(Transition(start + shift, end + shift, transition.target))
        return found

    def seen_from_ns(self, period_ns: int, blank: int = 0) -> float:
        """Return the played time at which the first recorded frame that is seen begins."""
        leading = blank + (self.pause if self.pause_at <= blank else 0)
        return leading * period_ns

    def targets(self, period_ns: int, doubt_weight: float, blank: int = 0):
        """Return what each frame's end wears and shows changing, as in Examples, each (T,)."""
        transitions = self.transitions(period_ns)
        times = period_ns * np.arange(1, self.frames + 1)
        seen_from_ns = self.seen_from_ns(period_ns, blank)
        window_ns = CLIP_FRAMES * period_ns
        return (
            *worn_at(transitions, times, seen_from_ns, doubt_weight),
            *changing_at(transitions, times, window_ns, seen_from_ns),
        )


def cut_sequence(
    sequence: Sequence,
    settings: FrameSettings = FrameSettings(),
    variation: Variation = Variation(),
    rng: np.random.Generator | None = None,
    cleaning: CleaningSettings = CleaningSettings(),
) -> np.ndarray:
    """Return the event frames (T, size, size) uint8 of a sequence."""
    period_ns = settings.period_ns * sequence.pace
    edges = sequence.start_ns + period_ns * np.arange(sequence.recorded + 1)
    frames = cut_frames(sequence.clip, edges, settings, variation, rng, cleaning)
    if sequence.pause:
        still = np.broadcast_to(still_frame(settings.size), (sequence.pause, *frames.shape[1:]))
        before, after = frames[: sequence.pause_at], frames[sequence.pause_at :]
        frames = np.concatenate([before, still, after])
    return finished(frames, variation, settings.step, rng)


class SequenceSet(DataSet):
    """
    The clips of one split, as sequences; the rest is as in DataSet.

    Parameters
    ----------
    frames : int
        Length of a sequence that is learnt from.
    still_share : float
        Of the sequences in which time stands still for an eighth to a half of them.
    doubt_weight : float
        Of frames in the middle of a transition.
    """

    def __init__(
        self,
        folders,
        split: str,
        settings: FrameSettings = FrameSettings(),
        kinds=AUGMENTATIONS,
        cleaning: CleaningSettings = CleaningSettings(),
        frames: int = 64,
        still_share: float = 0.3,
        doubt_weight: float = 0.25,
    ):
        self.frames, self.still_share, self.doubt_weight = frames, still_share, doubt_weight
        super().__init__(folders, split, settings, kinds, cleaning)

    @classmethod
    def of(cls, folders, split: str, settings: TrainSettings, size: int, **others):
        """Return a split as a training asks for it, in frames of a size in px."""
        return super().of(
            folders,
            split,
            settings,
            size,
            frames=settings.sequence_frames,
            still_share=settings.still_share,
            doubt_weight=settings.doubt_weight,
            **others,
        )

    def draw_sequence(self, label: int, rng: np.random.Generator, pace: float = 1.0) -> Sequence:
        """Return a random sequence around a move to a label, or of a face that expresses nothing.

        Its start, and thereby what of the expressions is seen, is random.
        """
        return self.sequence_around(*self._anchor(label, rng), rng, pace)

    def sequence_around(
        self, clip: Clip, anchor_ns: float | None, rng: np.random.Generator, pace: float = 1.0
    ) -> Sequence:
        """Return a random sequence of a clip that shows a time of it, any time if None."""
        period_ns = self.settings.period_ns * pace
        pause = 0
        if rng.random() < self.still_share:
            pause = int(rng.integers(self.frames // 8, self.frames // 2 + 1))
        whole = int((clip.end_ns - clip.start_ns) / period_ns)
        recorded = max(1, min(self.frames - pause, whole))
        latest_ns = clip.end_ns - recorded * period_ns
        if anchor_ns is None:
            start_ns = rng.uniform(clip.start_ns, max(clip.start_ns, latest_ns))
        else:
            before = rng.uniform(EDGE_FRAMES, max(EDGE_FRAMES, recorded - EDGE_FRAMES))
            start_ns = anchor_ns - before * period_ns
        start_ns = max(clip.start_ns, min(start_ns, latest_ns))
        pause = self.frames - recorded
        pause_at = self._stable_place(clip, start_ns, recorded, period_ns, rng) if pause else 0
        return Sequence(clip, start_ns, recorded, pause_at, pause, pace)

    def _anchor(self, label, rng):
        """Return a clip and the time that a sequence for a label is to show, or None."""
        if label != UNCHANGED:
            found = self._by_target[label]
            clip, transition = found[rng.integers(len(found))]
            return clip, transition.switch_ns
        if self._expressionless and rng.random() < NEAR_MISSES:
            return self._expressionless[rng.integers(len(self._expressionless))], None
        return self.clips[rng.integers(len(self.clips))], None

    def take_in(self) -> int:
        """Take in the clips that the folders hold by now; return how many of them were new."""
        new = super().take_in()
        self._expressionless = [clip for clip in self.clips if not clip.transitions]
        return new

    def _check_windows(self):
        """Sequences show moves however long they are."""

    @staticmethod
    def _stable_place(clip, start_ns, recorded, period_ns, rng):
        """Return a frame before which time may stand still: no transition is under way there."""
        edges = start_ns + period_ns * np.arange(recorded + 1)
        moves = [(t.start_ns < edges) & (edges < t.end_ns) for t in clip.transitions]
        stable = np.flatnonzero(~np.any(moves, 0)) if moves else np.arange(recorded + 1)
        return int(rng.choice(np.union1d(stable, [0])))

    def batch(self, size: int, rng: np.random.Generator) -> Examples:
        """Return varied sequences, balanced over what they are drawn for as windows are."""
        side = self.settings.size
        frames = np.empty((size, self.frames, side, side), np.uint8)
        rows = []
        for i, label in enumerate(balanced(size, rng, self.shown)):
            variation = draw_variation(rng, self.kinds)
            sequence = self.draw_sequence(int(label), rng, variation.pace)
            frames[i] = self.cut(sequence, variation, rng)
            rows.append(
                sequence.targets(self.settings.period_ns, self.doubt_weight, variation.blank)
            )
        return Examples(frames, *(np.stack(column) for column in zip(*rows)))

    def cut(
        self,
        sequence: Sequence,
        variation: Variation = Variation(),
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Return the frames (T, size, size) uint8 of a sequence."""
        return cut_sequence(
            sequence, self.settings, variation=variation, rng=rng, cleaning=self.cleaning
        )

    def fixed_sequences(self) -> list[Sequence]:
        """Return whole clips, in the periods of the robot."""
        return [self.whole(clip) for clip in self.clips]

    def whole(self, clip: Clip) -> Sequence:
        """Return all of a clip, in the periods of the robot."""
        period_ns = self.settings.period_ns
        start_ns = -(-clip.start_ns // period_ns) * period_ns
        return Sequence(clip, start_ns, (clip.end_ns - start_ns) // period_ns)

    def moments(self, sequences, rng: np.random.Generator) -> list[tuple[int, int]]:
        """
        Return where to judge: (sequence, frame) pairs, by the rule of DataSet.fixed_windows.

        The first period after each transition, as far as it was seen and has a name; and of every
        fourth sequence a frame before which nothing changed.

        Raises
        ------
        DataError
            If none is of a transition, as all of them take too long.
        """
        period_ns = self.settings.period_ns
        moves, quiet = [], []
        for number, sequence in enumerate(sequences):
            _, weight, changing, clear = sequence.targets(period_ns, 0.0)
            for transition in sequence.clip.transitions:
                frame = int(-(-(transition.end_ns - sequence.start_ns) // period_ns)) - 1
                is_inside = 0 <= frame < sequence.frames
                if is_inside and clear[frame] and changing[frame] == transition.target:
                    moves.append((number, frame))
            still = np.flatnonzero((changing == UNCHANGED) & (clear > 0) & (weight > 0))
            if number % CLIPS_PER_QUIET_MOMENT == 0 and len(still):
                quiet.append((number, int(rng.choice(still))))
        self._check_moves(moves)
        return moves + quiet
