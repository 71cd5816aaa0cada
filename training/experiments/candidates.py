"""
What makes one network better than another: rendered strangers, and real people who are neutral.

The synthetic score alone is no guide to real people, so a candidate is judged on both: the
recall on strangers under the hardest conditions, less the share of loudly wrong answers to real
neutral faces.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch
from cs3d_ros.inference import OnnxRuntimeEngine
from cs3d_ros.inference.emotion import NEUTRAL
from training.data.clips import ClipSet, DataError
from training.experiments.chain import answers_to, boxed_frames
from training.experiments.judgement import heard_of, judge_clip, judge_heard, together
from training.experiments.real_clips import RealClip, read_clips, watch
from training.experiments.rendered import as_labelled
from training.targets import tells_windows

HARD = ('low_light_3', 'pose', 'micro', 'occlusion')  # the ends of light, pose, size and sight
PRESETS = ('clean', 'noisy')
STRANGERS = 12  # rendered test clips per hard condition that go through the whole chain
BASELINE_ESTIMATES = 8  # of a person, taken for neutral: half a second
RULE = (
    'The score is the mean recall on rendered strangers under the hardest conditions ({}), less '
    'the share of loudly wrong answers to real talkers with a neutral face; both as shares, more '
    'is better. Real clips are watched in {}, at true boxes. With clips this few the score '
    'chooses between candidates, it proves nothing.'.format(', '.join(HARD), ' and '.join(PRESETS))
)


class Watched(NamedTuple):
    """A labelled clip, real or rendered, and its events."""

    clip: RealClip
    events: EventBatch
    end_ns: int


def watch_all(videos: Path) -> list:
    """
    Return the real clips that have boxes, in every preset, to be answered by many networks.

    Raises
    ------
    DataError
        If none has, or the folder is none of labelled videos.
    """
    clips = [clip for clip in read_clips(videos) if clip.boxes is not None]
    if not clips:
        raise DataError(
            'no video of {} has true boxes, at which networks are compared: add boxes.json'.format(
                videos
            )
        )
    return [
        Watched(clip, watch(clip, preset), clip.end_ns) for preset in PRESETS for clip in clips
    ]


def strangers(folder: Path, count: int = STRANGERS) -> list:
    """Return rendered test clips under each of the hardest conditions, the first in the set."""
    clips, found = ClipSet(folder), []
    for condition in HARD:
        own = [
            index
            for index, entry in enumerate(clips.entries)
            if (entry['split'], entry['condition']) == ('test', condition)
        ]
        for recorded in map(clips.__getitem__, own[:count]):
            if tells_windows(recorded.entry, recorded.truth):
                clip = as_labelled(recorded)
                found.append(Watched(clip, recorded.events, int(recorded.truth.t_ns[-1])))
    return found


def settled_on(
    bundle: Path, watched: list, settling: dict, baseline: bool, background_ms: float = 0.0
) -> dict:
    """
    Return what the robot's chain says of people at true boxes.

    Parameters
    ----------
    bundle : Path
    watched : list of Watched
    settling : dict
        Fields of EmotionSettings in which settling differs from the bundle's own.
    baseline : bool
        Whether a person's first answers, taken for neutral, are what later ones count from.
    background_ms : float
        Reach of the filter that events go through, as those did that the network learnt from.

    Returns
    -------
    dict
        ``auc``: mean over the expressions shown, of the network alone; ``onsets``,
        ``found_right``, ``returns``, ``returned_right``: of the settled answers; ``loud_share``:
        ``loud`` of the answers to people who are ``neutral`` throughout.
    """
    engine = OnnxRuntimeEngine(str(bundle))
    settings = engine.bundle.settling._replace(**settling)
    cleaning = CleaningSettings(background_activity_ns=round(1e6 * background_ms))
    heard, verdicts = [], []
    for clip, events, end_ns in watched:
        clean = Cleaner(events.width, events.height, cleaning).push(events)
        frames = boxed_frames(clean, end_ns, engine.bundle, clip.box)
        own = FromBaseline(engine) if baseline else engine
        answers = answers_to(frames, own, settings)
        heard.append(heard_of(clip, answers, engine.bundle))
        verdicts.append((clip, judge_clip(clip, answers, engine.bundle.classes)))
    by_name = judge_heard(together(heard))['auc']
    areas = [area for name, area in by_name.items() if name != NEUTRAL and area is not None]
    onsets = [onset for _, verdict in verdicts for onset in verdict.onsets]
    returns = [back for _, verdict in verdicts for back in verdict.returns]
    still = [verdict for clip, verdict in verdicts if not clip.changes]
    neutral = sum(verdict.neutral for verdict in still)
    loud = sum(sum(verdict.loud.values()) for verdict in still)
    return {
        'auc': float(np.mean(areas)) if areas else None,
        'onsets': len(onsets),
        'found_right': sum(onset.is_right for onset in onsets),
        'returns': len(returns),
        'returned_right': sum(back.is_right for back in returns),
        'loud': loud,
        'neutral': neutral,
        'loud_share': loud / neutral if neutral else None,
    }


def score(hard: float | None, real: dict | None) -> float | None:
    """Return the score of RULE; None where one of its halves was not measured."""
    if hard is None or not real or real['loud_share'] is None:
        return None
    return hard - real['loud_share']


class FromBaseline:
    """
    An engine whose answers count from what a person's neutral face brings.

    The first answers to a person are taken for those to a neutral face. An emotion that they hold
    for likelier than chance is divided by that much ever after.

    Parameters
    ----------
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns; one person's clip is run through it.
    """

    def __init__(self, engine):
        self._engine, self.bundle = engine, engine.bundle
        self._first = []

    def run(self, *tensors):
        """Return the probabilities, and the state where there is one."""
        probabilities, *rest = self._engine.run(*tensors)
        if len(self._first) < BASELINE_ESTIMATES:
            self._first.append(np.array(probabilities))
        usual = np.mean(self._first, 0) * len(probabilities)
        excess = np.maximum(1.0, usual)
        excess[self.bundle.classes.index(NEUTRAL)] = 1.0
        if self.bundle.unchanged:
            excess[-1] = 1.0
        left = probabilities / excess
        return (left / left.sum(), *rest)
