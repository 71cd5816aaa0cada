"""What a network is to answer: to which expression a face moves, and which one it wears.

A camera of events sees only change, so there are two questions. *Changing*: to which expression
does the face move in the last half second, or is its expression unchanged (8 labels)? *Worn*:
which of the seven expressions does the face wear now? The second cannot be answered where the
change that led to it was not seen: such frames weigh nothing in training.
"""

from typing import NamedTuple

import numpy as np

from cs3d_ros.inference.emotion import EXPRESSIONS, NEUTRAL
from training.data.clips import DataError, Truth
from training.data.world import ACTED

CLIP_FRAMES = 16
LABELS = EXPRESSIONS + ('unchanged',)
UNCHANGED = len(EXPRESSIONS)
AT_REST = EXPRESSIONS.index(NEUTRAL)

# A window shows a transition when it holds at least half of it and ends at most 0.2 s after it;
# it shows no change when it holds at most a tenth; the rest is neither trained on nor judged.
SHOWN, HIDDEN = 0.5, 0.1
LINGER_NS = 200_000_000
# Around the middle of a transition, in its lengths to both sides, nobody can tell what is worn.
DOUBT = 0.25


class Transition(NamedTuple):
    """The face moves to an expression between two times of the sensor."""

    start_ns: int
    end_ns: int
    target: int | None  # index into LABELS, never UNCHANGED; None where no label names it

    def shown(self, start_ns: int, end_ns: int) -> float:
        """Return the share of the transition that lies within [start_ns, end_ns)."""
        overlap = min(end_ns, self.end_ns) - max(start_ns, self.start_ns)
        return max(0, overlap) / (self.end_ns - self.start_ns)

    @property
    def switch_ns(self) -> float:
        """The middle, from which on the face counts as wearing the target."""
        return 0.5 * (self.start_ns + self.end_ns)


def transitions_of(segments) -> list[Transition]:
    """
    Return what the segments of a clip show changing, in order.

    A segment rises from ``onset_start_ns`` to ``apex_start_ns`` and falls back to neutral from
    ``offset_start_ns`` to ``offset_end_ns``, unless the next one begins before it has fallen: then
    the face goes directly from one expression to the other. Expressions that no label names
    (contempt) are moved to all the same, so that their windows are not taken for unchanged ones.

    Raises
    ------
    DataError
        If an expression is none that a face may act.
    """
    for segment in segments:
        if segment['expression'] not in ACTED:
            raise DataError(
                'a segment names the expression {!r}, which is none of {}: correct the '
                'labels'.format(segment['expression'], ', '.join(ACTED))
            )
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
                Transition(segment['offset_start_ns'], segment['offset_end_ns'], AT_REST)
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


def changing_at(transitions, times_ns, window_ns: float, seen_from_ns: float):
    """
    Return what the window before each time shows changing, int64 (n,), and whether that is clear.

    Where it is not, the second array, float32 (n,), is 0, else 1. Nothing was seen before
    ``seen_from_ns``.
    """
    labels = [label_of(transitions, max(seen_from_ns, t - window_ns), t) for t in times_ns]
    return (
        np.array([UNCHANGED if label is None else label for label in labels], np.int64),
        np.array([label is not None for label in labels], np.float32),
    )


def worn_at(transitions, times_ns, seen_from_ns: float, doubt_weight: float = 0.0):
    """
    Return what the face wears at each time, int64 (n,) into EXPRESSIONS, and its weight (n,).

    A face is neutral before its first transition, and wears a transition's target from its middle
    on. The weight, float32, is ``doubt_weight`` around that middle; it is 0 where no label names
    what is worn, and where an expression is worn whose switch came before ``seen_from_ns``: from
    a still apex alone nobody can tell which it is, nor that there is one. A face that is neutral
    when first seen weighs 1, as neutral is what to believe of a face that nothing is known of.
    """
    times_ns = np.asarray(times_ns, np.float64)
    worn = np.full(len(times_ns), AT_REST, np.int64)
    weight = np.ones(len(times_ns), np.float32)
    for transition in transitions:
        named, switch_ns = transition.target is not None, transition.switch_ns
        after = times_ns >= switch_ns
        worn[after] = transition.target if named else AT_REST
        is_seen = switch_ns >= seen_from_ns or transition.target == AT_REST
        weight[after] = float(named and is_seen)
        if not named:
            weight[(times_ns >= transition.start_ns)] = 0
    at_start = [t for t in transitions if t.switch_ns < seen_from_ns]
    if at_start and at_start[-1].target != AT_REST:
        weight[times_ns < seen_from_ns] = 0
    for transition in transitions:
        reach_ns = DOUBT * (transition.end_ns - transition.start_ns)
        weight[np.abs(times_ns - transition.switch_ns) < reach_ns] *= doubt_weight
    return worn, weight


def tells_windows(entry: dict, truth: Truth) -> bool:
    """
    Tell whether windows of a clip can be cut and labelled.

    Real corpora may not know when their expression happens (no segments, though it is not neutral
    all the time) or where the face is (NaN).
    """
    is_timed = bool(entry['segments']) or entry['label'] == NEUTRAL
    return is_timed and bool(np.isfinite(truth.box).all())
