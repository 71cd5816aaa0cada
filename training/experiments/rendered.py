"""Clips of rendered strangers before the robot's chain, judged as those of real people are."""

from pathlib import Path

import numpy as np

from training.experiments.real_clips import OTHER, Change, Interval, RealClip
from training.targets import LABELS, transitions_of


def as_labelled(recorded) -> RealClip:
    """Return what is known of a recorded clip as labels of a video."""
    entry, truth = recorded.entry, recorded.truth
    duration_s = float(truth.t_ns[-1]) * 1e-9
    changes = tuple(
        Change(1e-9 * t.start_ns, 1e-9 * t.end_ns, OTHER if t.target is None else LABELS[t.target])
        for t in transitions_of(entry['segments'])
    )
    borders = [0.0] + [time for change in changes for time in change[:2]] + [duration_s]
    worn = [LABELS[0]] + [change.expression for change in changes]
    intervals = tuple(
        Interval(max(0.0, start), min(end, duration_s), name)
        for start, end, name in zip(borders[::2], borders[1::2], worn)
        if start < end
    )
    return RealClip(
        Path(entry['identity']),
        entry['identity'],
        duration_s,
        intervals,
        tuple(change for change in changes if change.start_s >= 0),
        np.array(truth.box, float),
        1e9 / float(np.median(np.diff(truth.t_ns))),
    )
