"""Videos of real people with labels, and what an event camera in front of them would see."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch, concatenate
from cs3d_ros.face import Box
from cs3d_ros.inference import EXPRESSIONS
from cs3d_ros.inference.emotion import NEUTRAL
from cs3d_ros.simulator import PRESETS, FrameSource, Video, simulate_frames
from training.data.clips import DataError
from training.targets import Transition

OTHER = 'other'  # a label of what no class of the networks names; it is not judged
HELD_S = 1.2  # a clip's last frame stands so long, in which a smile that has gone may be let go


class Interval(NamedTuple):
    """A face wears an expression from one time to another, s from the first frame."""

    start_s: float
    end_s: float
    expression: str


class Change(NamedTuple):
    """A face moves to an expression; s from the first frame."""

    start_s: float
    end_s: float
    expression: str


class RealClip(NamedTuple):
    """A labelled video."""

    path: Path
    name: str
    duration_s: float
    intervals: tuple
    changes: tuple
    boxes: np.ndarray | None  # (F, 4) px, x, y, width, height of the face per frame
    fps: float

    @property
    def end_ns(self) -> int:
        """Until when it is watched, its last frame held, ns from the first."""
        return round(1e9 * (self.duration_s + HELD_S))

    def worn(self, t_s: float) -> str | None:
        """Return the expression that the face wears, None between two and after the end."""
        for interval in self.intervals:
            if interval.start_s <= t_s <= interval.end_s:
                return interval.expression
        return None

    def box(self, t_ns: int) -> Box:
        """Return the face box of a time."""
        frames = np.arange(len(self.boxes)) * (1e9 / self.fps)
        return Box(*(float(np.interp(t_ns, frames, column)) for column in self.boxes.T))

    def transitions(self) -> list:
        """Return the changes as training tells them, in ns from the first frame."""
        return [
            Transition(
                round(1e9 * c.start_s),
                round(1e9 * c.end_s),
                EXPRESSIONS.index(c.expression) if c.expression != OTHER else None,
            )
            for c in self.changes
        ]


def read_clips(folder: Path) -> list:
    """
    Return the labelled videos of a folder.

    Parameters
    ----------
    folder : Path
        Holds ``labels.json``: ``clips`` by file name, each with ``fps``, ``duration_s``,
        ``intervals`` (start, end, expression) and, if the face moves, ``transitions`` (start, end,
        kind ``onset`` or ``offset``). And ``boxes.json``, if faces are known: ``boxes`` by file
        name, x, y, width, height per frame.

    Raises
    ------
    DataError
        If the labels are not there, name no clip, or say what no label says.
    """
    folder = Path(folder)
    try:
        labels = json.loads((folder / 'labels.json').read_text())['clips']
        boxes = folder / 'boxes.json'
        boxes = json.loads(boxes.read_text())['boxes'] if boxes.exists() else {}
        if not labels:
            raise ValueError('labels.json names no clip')
        return [_clip(folder, name, label, boxes.get(name)) for name, label in labels.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError('{} is no folder of labelled videos: {}'.format(folder, error)) from error


def _clip(folder, name, label, boxes):
    intervals = tuple(
        Interval(float(i['start']), float(i['end']), _known(i['expression']))
        for i in label['intervals']
    )
    changes = tuple(_change(entry, intervals) for entry in label.get('transitions', []))
    return RealClip(
        folder / name,
        name,
        float(label['duration_s']),
        intervals,
        changes,
        None if boxes is None else np.array(boxes, float).reshape(-1, 4),
        float(label['fps']),
    )


def _change(entry, intervals):
    after = [i.expression for i in intervals if i.end_s > entry['end']]
    is_onset = {'onset': True, 'offset': False}[entry['kind']]
    expression = after[0] if is_onset and after else NEUTRAL
    return Change(float(entry['start']), float(entry['end']), expression)


def _known(expression):
    names = EXPRESSIONS + (OTHER,)
    if expression not in names:
        raise ValueError('it names {!r}, not one of {}'.format(expression, ', '.join(names)))
    return expression


class _Held(FrameSource):
    """A video whose last frame stands for a while."""

    def __init__(self, frames: FrameSource, held_s: float):
        self.name, self.info = frames.name, frames.info
        self._source, self._held_ns = frames, round(1e9 * held_s)

    def _frames(self):
        step_ns = t_ns = 0
        for frame, time_ns in self._source:
            step_ns, t_ns = time_ns - t_ns, time_ns
            yield frame, t_ns
        for k in range(1, self._held_ns // step_ns + 1):
            yield frame, t_ns + k * step_ns


def watch(
    clip: RealClip, preset: str, cleaning: CleaningSettings = CleaningSettings()
) -> EventBatch:
    """
    Return the events of a video through the pixel model, its last frame held.

    Times are ns from the first frame. They are cleaned as the robot would clean them.

    Raises
    ------
    VideoError
        If the file is no video.
    """
    with Video(str(clip.path)) as frames:
        held = _Held(frames, HELD_S)
        events = concatenate(list(simulate_frames(held, settings=PRESETS[preset])))
    return Cleaner(events.width, events.height, cleaning).push(events)
