"""How a bundle does on real faces: ``python -m training.transfer BUNDLE --videos FOLDER``.

``FOLDER`` holds videos with ``labels.json`` (intervals and transitions, s) and ``boxes.json`` (a
face box per frame). Videos become events by ``cs3d_ros.simulator`` at their own size; the clip
before every period of the robot is judged.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import FrameSettings, concatenate
from cs3d_ros.inference import open_engine
from cs3d_ros.inference.emotion import NEUTRAL
from cs3d_ros.simulator.video import simulate_video
from training.data.clips import DataError
from training.dataset import (
    CLIP_FRAMES,
    LABELS,
    UNCHANGED,
    Clip,
    Transition,
    Window,
    cut_window,
)

LOUD = 0.5  # probability from which the robot lets an estimate move its belief
CLOCK_NS = 10**9  # videos start here, so that clips before their first frame have times, too


class VideoAnswers(NamedTuple):
    """A bundle's probabilities (n, 8) for the clips of one video, and what they should be."""

    name: str
    ends_s: np.ndarray  # of the clips, from the first frame of the video
    truth: list  # index into LABELS, None where the label is in doubt
    probabilities: np.ndarray


def load_video(folder: Path, name: str, labels: dict, boxes: list) -> Clip:
    """Return a labelled video as a clip of events with its boxes."""
    events = concatenate(simulate_video(folder / name))
    shifted = type(events)(
        events.x, events.y, events.t + CLOCK_NS, events.p, events.width, events.height
    )
    times = CLOCK_NS + np.round(np.arange(len(boxes)) * 1e9 / labels['fps']).astype(np.int64)
    transitions = [_transition(t, labels['intervals']) for t in labels.get('transitions', [])]
    return Clip(shifted.between, times, np.array(boxes, float), name, transitions)


def _transition(entry, intervals):
    after = [i for i in intervals if i['end'] > entry['end']]
    expression = after[0]['expression'] if entry['kind'] == 'onset' and after else NEUTRAL
    if expression not in LABELS:
        raise DataError(
            'labels.json names {!r}, not one of {}'.format(expression, ', '.join(LABELS[:-1]))
        )
    times = [CLOCK_NS + round(1e9 * entry[key]) for key in ('start', 'end')]
    return Transition(*times, LABELS.index(expression))


def answers_on(clip: Clip, engine) -> VideoAnswers:
    """Return the answers of a bundle to all clips of a video, one per period."""
    bundle = engine.bundle
    settings = FrameSettings(bundle.size, bundle.period_ns, bundle.step)
    first, last = (t // bundle.period_ns for t in (clip.start_ns, clip.end_ns))
    ends = [index * bundle.period_ns for index in range(first + 4, last + 1)]
    rows = []
    for end_ns in ends:
        frames = cut_window(Window(clip, end_ns, UNCHANGED), settings, bundle.margin)
        rows.append(engine.run(((frames.astype(np.float32) - 128) / 128)[None, None])[0])
    window_ns = CLIP_FRAMES * bundle.period_ns
    truth = [clip.label(end_ns, window_ns) for end_ns in ends]
    return VideoAnswers(clip.identity, (np.array(ends) - CLOCK_NS) * 1e-9, truth, np.array(rows))


def summary(answers: VideoAnswers) -> str:
    """Return one paragraph on a video: what was answered to each transition, and loud errors."""
    lines = ['{}:'.format(answers.name)]
    truth, probabilities = answers.truth, answers.probabilities
    for label in sorted({t for t in truth if t not in (None, UNCHANGED)}):
        rows = probabilities[[k for k, t in enumerate(truth) if t == label]]
        mean = rows.mean(0)
        lines.append(
            '  to {}: {} clips, {} right, mean probabilities {}'.format(
                LABELS[label],
                len(rows),
                int((rows.argmax(1) == label).sum()),
                ', '.join('{} {:.2f}'.format(LABELS[k], mean[k]) for k in np.argsort(-mean)[:3]),
            )
        )
    rows = probabilities[[k for k, t in enumerate(truth) if t == UNCHANGED]]
    if len(rows):
        loud = rows[:, :UNCHANGED].max(1) > LOUD
        named = {LABELS[k]: int((rows[loud].argmax(1) == k).sum()) for k in range(UNCHANGED)}
        lines.append(
            '  unchanged: {} clips, {} loudly wrong ({})'.format(
                len(rows),
                int(loud.sum()),
                ', '.join('{} {}'.format(n, c) for n, c in named.items() if c) or 'none',
            )
        )
    return '\n'.join(lines)


def main(argv=None):
    """Run the command."""
    p = argparse.ArgumentParser(
        prog='python -m training.transfer',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument('bundle', type=Path)
    p.add_argument('--videos', type=Path, required=True)
    args = p.parse_args(argv)
    try:
        labels = json.loads((args.videos / 'labels.json').read_text())['clips']
        boxes = json.loads((args.videos / 'boxes.json').read_text())['boxes']
        engine = open_engine(args.bundle)
        for name in labels:
            clip = load_video(args.videos, name, labels[name], boxes[name])
            print(summary(answers_on(clip, engine)), flush=True)
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(
            'error: {} is no folder of labelled videos: {}'.format(args.videos, error)
        ) from error
    except Cs3dError as error:
        raise SystemExit('error: {}'.format(error)) from error


if __name__ == '__main__':
    main()
