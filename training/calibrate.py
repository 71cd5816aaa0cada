"""What validation identities tell about a network: its temperature, and how its answers settle.

Both are found on whole validation clips, seen by the robot's own chain: a bundle in ONNX Runtime,
its estimator, its emotion filter. The settling that is best by ``worth`` goes into the bundle.
"""

from typing import NamedTuple

import numpy as np
import torch

from cs3d_ros.inference import Emotion, EmotionFilter, EmotionSettings, make_estimator
from cs3d_ros.inference.emotion import EXPRESSIONS, NEUTRAL
from training.examination import temperature_of
from training.metrics import calibration_error
from training.settings import TrainSettings
from training.train import data_of

LOUD = 0.5  # confidence above which a wrong answer is loud
# One loud wrong answer costs as much as so many frames: 2 % of them, the most that is allowed of
# a bundle, then weigh as much as 10 % of accuracy.
LOUD_COST = 5.0
MOST_CLIPS = 120  # of validation: settling has few parameters
SMALLEST = 1e-12  # probability whose logarithm is taken for a logit

# What is tried of each parameter, one after the other, ROUNDS times. Of those left out, hold_s is
# longer than any clip, and absent_s is about faces that are lost.
OF_STATES = {
    'rate_hz': (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 20.0, 30.0),
    'least_confidence': (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    'dwell_s': (0.0, 0.07, 0.15, 0.25, 0.4),
    'prior_neutral': (0.5, 0.7, 0.9),
}
OF_TRANSITIONS = {
    **OF_STATES,
    'change_prior': (0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
    'forget_s': (2.0, 4.0, 8.0, 20.0, 50.0),
}
ROUNDS = 2


class Watched(NamedTuple):
    """A sequence of frames with what the face wears in them."""

    frames: np.ndarray  # (T, size, size) uint8
    worn: np.ndarray  # (T,), index into EXPRESSIONS
    is_clear: np.ndarray  # (T,) bool: whether anyone could tell


class Timeline(NamedTuple):
    """What a bundle estimated of a sequence, where an estimate was due."""

    t_ns: np.ndarray  # (n,) int64
    probabilities: np.ndarray  # (n, outputs)
    worn: np.ndarray  # (n,)
    is_clear: np.ndarray  # (n,) bool


def watch(engine, sequences) -> list[Timeline]:
    """Return the estimates of an engine's bundle on sequences, each from its beginning."""
    timelines = []
    for frames, worn, is_clear in sequences:
        estimator = make_estimator(engine)
        answers = [estimator.push(frame) for frame in frames]
        due = np.array([k for k, answer in enumerate(answers) if answer is not None], int)
        rows = np.array([answers[k] for k in due], np.float64)
        t_ns = (due + 1) * engine.bundle.period_ns
        timelines.append(Timeline(t_ns, rows, worn[due], is_clear[due]))
    return timelines


def fit_temperature(timelines) -> tuple[float, dict]:
    """
    Return the temperature that fits state answers best, and the error before and after.

    Answers about what changes are calibrated by the training, on windows balanced over them.
    """
    logits, truth = _clear_logits(timelines)
    temperature = temperature_of(torch.from_numpy(logits), truth)
    errors = {
        'ece_before': calibration_error(truth, _softmax(logits)),
        'ece': calibration_error(truth, _softmax(logits / temperature)),
        'frames': len(truth),
    }
    return temperature, errors


def _clear_logits(timelines):
    rows = np.concatenate([line.probabilities[line.is_clear] for line in timelines])
    truth = np.concatenate([line.worn[line.is_clear] for line in timelines])
    return np.log(np.maximum(rows, SMALLEST)), truth.astype(np.int64)


def _softmax(logits):
    rows = np.exp(logits - logits.max(1, keepdims=True))
    return rows / rows.sum(1, keepdims=True)


def tempered(timelines, temperature: float) -> list[Timeline]:
    """Return timelines as they were if logits were divided by a temperature."""
    return [
        line._replace(
            probabilities=_softmax(np.log(np.maximum(line.probabilities, SMALLEST)) / temperature)
        )
        for line in timelines
    ]


def settle(timeline: Timeline, unchanged: bool, settings: EmotionSettings) -> list[Emotion]:
    """Return what the robot says at each estimate of a timeline."""
    settled = EmotionFilter(EXPRESSIONS, unchanged, settings)
    return [settled.push(row, t) for row, t in zip(timeline.probabilities, timeline.t_ns)]


def score(timelines, unchanged: bool, settings: EmotionSettings) -> dict:
    """
    Return how good settled answers are, over the frames that are clear.

    Returns
    -------
    dict
        ``accuracy``, the share of frames whose expression is named; ``loud_wrong``, the share of
        neutral frames in which another is named with a confidence above LOUD; ``worth``, accuracy
        less LOUD_COST times loud wrong answers.
    """
    named, confidence, worn = [], [], []
    for line in timelines:
        emotions = settle(line, unchanged, settings)
        named += [EXPRESSIONS.index(emotion.expression) for emotion in emotions]
        confidence += [emotion.confidence for emotion in emotions]
        worn += list(np.where(line.is_clear, line.worn, -1))
    named, confidence, worn = np.array(named), np.array(confidence), np.array(worn)
    at_rest = EXPRESSIONS.index(NEUTRAL)
    loud = (named != at_rest) & (confidence > LOUD)
    accuracy = float((named == worn)[worn >= 0].mean())
    loud_wrong = float(loud[worn == at_rest].mean()) if (worn == at_rest).any() else 0.0
    return {
        'accuracy': accuracy,
        'loud_wrong': loud_wrong,
        'worth': accuracy - LOUD_COST * loud_wrong,
        'frames': int((worn >= 0).sum()),
    }


def fit_settling(timelines, unchanged: bool) -> tuple[EmotionSettings, dict]:
    """
    Return the settings that are worth most on timelines, and their score.

    One parameter after the other is set to the best of its values while the others stay.

    Raises
    ------
    ValueError
        If no frame is clear.
    """
    if not any(line.is_clear.any() for line in timelines):
        raise ValueError('no frame of the sequences tells what is worn')
    best = EmotionSettings()
    result = score(timelines, unchanged, best)
    for _ in range(ROUNDS):
        before = best
        for name, values in (OF_TRANSITIONS if unchanged else OF_STATES).items():
            for value in values:
                other = best._replace(**{name: value})
                found = score(timelines, unchanged, other)
                if found['worth'] > result['worth']:
                    best, result = other, found
        if best == before:
            break
    return best, result


def validation_sequences(
    folders, train_settings: dict, size: int, most: int = MOST_CLIPS
) -> list[Watched]:
    """
    Return whole validation clips, evenly picked.

    Parameters
    ----------
    folders : list of paths
        Sets of clips.
    train_settings : dict
        Of the training that the network comes from: they tell how frames are made.
    size : int
        Of a frame, px.
    """
    # cut out of the events themselves: what was cut for a training may be gone since
    settings = TrainSettings(**{**train_settings, 'learns': 'sequences', 'cuts': ''})
    data = data_of(folders, 'val', settings, size)
    sequences = data.fixed_sequences()
    watched = []
    for sequence in sequences[:: -(-len(sequences) // most)]:
        worn, weight, *_ = sequence.targets(data.settings.period_ns, 0.0)
        frames = data.cut(sequence)
        watched.append(Watched(frames, worn, weight > 0))
    return watched
