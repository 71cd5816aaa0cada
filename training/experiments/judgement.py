"""
Whether answers to a clip of a real person are right: the figures that the robot is held to.

Times count from the first frame of the video. An answer is the settled one, as on ``/emotion``.
"""

from typing import NamedTuple

import numpy as np

from cs3d_ros.inference.emotion import NEUTRAL
from training.experiments.statistics import auc
from training.targets import CLIP_FRAMES, LABELS, UNCHANGED, label_of

LOUD = 0.5  # confidence above which a wrong answer is a loud one
FOUND_S = 0.7  # from the beginning of an onset until its expression is to be named
RETURN_S = 1.0  # from the end of an offset until neutral is to be named
LOUD_SHARE = 0.02  # of the answers to a neutral face that may be loudly wrong


class Onset(NamedTuple):
    """What was answered to the rise of an expression."""

    expression: str
    start_s: float
    found_s: float | None  # from the start until it was named; None if it never was
    held: float  # share of the answers from then to the end of the expression that name it
    other: float  # highest belief in another emotion before it was named

    @property
    def is_right(self) -> bool:
        """Whether it was named in time, and nothing else loudly before."""
        return self.found_s is not None and self.found_s <= FOUND_S and self.other <= LOUD


class Return(NamedTuple):
    """What was answered to the way back to neutral."""

    end_s: float
    was_named: bool  # whether there was anything to come back from
    back_s: float | None  # from the end until neutral was named; 0 if it was already

    @property
    def is_right(self) -> bool:
        """Whether what was named before was let go in time."""
        return self.was_named and self.back_s is not None and self.back_s <= RETURN_S


class Verdict(NamedTuple):
    """The figures of one clip."""

    answers: int  # with a face, within the video
    neutral: int  # of the answers, those to a neutral face that has had time to return
    loud: dict  # how often which emotion was named loudly among these
    onsets: tuple
    returns: tuple


def judge_clip(clip, answers: list, classes) -> Verdict:
    """
    Return the figures of a clip.

    Parameters
    ----------
    clip : RealClip
    answers : list of Answer
    classes : sequence of str
        Of the bundle, in the order of the probabilities.
    """
    seen = [a for a in answers if a.has_face and a.t_s <= clip.duration_s]
    neutral = [a for a in seen if clip.worn(a.t_s) == NEUTRAL and not _may_return(clip, a.t_s)]
    loud = {}
    for answer in neutral:
        name = answer.emotion.expression
        if name != NEUTRAL and answer.emotion.confidence > LOUD:
            loud[name] = loud.get(name, 0) + 1
    rising = [c for c in clip.changes if c.expression in classes and c.expression != NEUTRAL]
    return Verdict(
        len(seen),
        len(neutral),
        loud,
        tuple(_onset(clip, change, answers, list(classes)) for change in rising),
        tuple(_return(clip, c, answers) for c in clip.changes if c.expression == NEUTRAL),
    )


def _may_return(clip, t_s):
    return any(
        c.expression == NEUTRAL and c.start_s <= t_s <= c.end_s + RETURN_S for c in clip.changes
    )


def _onset(clip, change, answers, classes):
    end_s = _end_of(clip, change)
    shown = [a for a in answers if change.start_s <= a.t_s <= end_s]
    named = [a for a in shown if a.emotion.expression == change.expression]
    found_s = named[0].t_s if named else None
    after = [a for a in shown if named and a.t_s >= found_s]
    own = (NEUTRAL, change.expression)
    others = [k for k, name in enumerate(classes) if name not in own]
    earlier = [c.end_s + RETURN_S for c in clip.changes if c.end_s <= change.start_s]
    begin_s, until_s = max(earlier, default=0.0), found_s if named else end_s
    before = [a for a in answers if begin_s <= a.t_s < until_s]
    return Onset(
        change.expression,
        change.start_s,
        None if found_s is None else found_s - change.start_s,
        len(named) / len(after) if after else 0.0,
        max((a.emotion.probabilities[k] for a in before for k in others), default=0.0),
    )


def _end_of(clip, change):
    """Return until when an expression is worn: the next change, or the end of the video."""
    following = [c.start_s for c in clip.changes if c.start_s > change.start_s]
    return min(following, default=clip.duration_s)


def _return(clip, change, answers):
    worn = [i for i in clip.intervals if i.start_s < change.start_s][-1]
    was_named = any(
        a.emotion.expression == worn.expression
        for a in answers
        if worn.start_s <= a.t_s <= change.end_s
    )
    following = [c.start_s for c in clip.changes if c.start_s > change.start_s]
    until_s = min(following, default=float('inf'))
    back = [
        a.t_s
        for a in answers
        if change.start_s <= a.t_s <= until_s and a.emotion.expression == NEUTRAL
    ]
    back_s = max(0.0, back[0] - change.end_s) if back else None
    return Return(change.end_s, was_named, back_s)


class Heard(NamedTuple):
    """A network's own estimates, before they settle, and what they should be."""

    truth: np.ndarray  # (n,) int64, index into LABELS
    estimates: np.ndarray  # (n, classes or classes + 1)


def heard_of(clip, answers: list, bundle) -> Heard:
    """
    Return a network's estimates within a clip, those in doubt left out.

    A network that answers transitions is to say what its 16 frames show changing, by the rule of
    training; one that answers states what the face wears.
    """
    rows = []
    window_ns = CLIP_FRAMES * bundle.period_ns
    for answer in answers:
        if answer.estimate is None or answer.t_s > clip.duration_s:
            continue
        if bundle.unchanged:
            end_ns = round(answer.t_s * 1e9)
            truth = label_of(clip.transitions(), max(0, end_ns - window_ns), end_ns)
        else:
            worn = clip.worn(answer.t_s)
            truth = LABELS.index(worn) if worn in LABELS else None
        if truth is not None:
            rows.append((truth, answer.estimate))
    truth = np.array([row[0] for row in rows], np.int64)
    estimates = np.array([row[1] for row in rows]).reshape(len(rows), bundle.output_count)
    return Heard(truth, estimates)


def together(parts) -> Heard:
    """Return the estimates of several clips as one."""
    return Heard(*(np.concatenate(columns) for columns in zip(*parts)))


def judge_heard(heard: Heard) -> dict:
    """
    Return how a network alone did.

    Returns
    -------
    dict
        ``right`` and ``of`` per label that occurs, ``auc`` per expression that occurs, against
        everything else; ``loud``: estimates above 0.5 for an emotion while there is none, of
        ``calm``.
    """
    truth, estimates = heard
    calm = (truth == UNCHANGED) | (truth == LABELS.index(NEUTRAL))
    emotions = [k for k, name in enumerate(LABELS[:UNCHANGED]) if name != NEUTRAL]
    shown = [int(k) for k in np.unique(truth)]
    answer = estimates.argmax(1) if len(truth) else truth
    return {
        'right': {LABELS[k]: int((answer[truth == k] == k).sum()) for k in shown},
        'of': {LABELS[k]: int((truth == k).sum()) for k in shown},
        'auc': {LABELS[k]: auc(estimates[:, k], truth == k) for k in shown if k < UNCHANGED},
        'loud': int((estimates[calm][:, emotions] > LOUD).any(1).sum()),
        'calm': int(calm.sum()),
    }
