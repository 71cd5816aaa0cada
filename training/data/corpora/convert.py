"""From one sample of a corpus to a recorded clip: what an event camera would have seen of it."""

import zlib
from typing import NamedTuple

import cv2
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventBatch, concatenate
from cs3d_ros.events.recordings import identify, open_recording
from cs3d_ros.face import box_of_landmarks
from cs3d_ros.inference.emotion import NEUTRAL
from cs3d_ros.simulator import PRESETS, EventCamera, dimmed
from training.data.acting.action_units import ACTION_UNITS
from training.data.clips import RecordedClip, Truth
from training.data.corpora.align import (
    SIZE,
    STEADY_S,
    cut_square,
    find_landmarks,
    into_squares,
    path_of,
    smoothed,
)
from training.data.corpora.facemesh import FaceMesh
from training.data.corpora.pictures import Pictures
from training.data.corpora.samples import MisfitError, Sample, Timing, check_timing
from training.data.world import ACTED, Condition

NS = 1e9
TRUTH_HZ = 30.0  # of a recording's truth, which has no pictures
MOST_EVENTS = 50_000_000  # of a clip: 650 MB, several minutes of a face
MICRO_S = 0.5  # shorter expressions are micro-expressions (Yan et al. 2013)
NEUTRAL_LEAD_S = 0.5  # before the onset, in the films of ADFES
ONSET_S = (0.2, 3.0)  # how long an onset can be, where the end of a film tells it


class Place(NamedTuple):
    """Where a clip stands in the data set."""

    index: int
    split: str
    corpus: str
    condition: Condition
    seed: int


def convert(sample: Sample, place: Place, mesh: FaceMesh | None) -> RecordedClip:
    """
    Return the clip of a sample; the same for the same seed, whatever else is converted.

    Parameters
    ----------
    mesh : FaceMesh
        Finds the face in videos; event recordings do without.

    Raises
    ------
    MisfitError
        If the file cannot be read as what it is, or shows no face.
    """
    try:
        if is_recording(sample):
            return _take_recording(sample, place)
        return _film(sample, place, mesh)
    except MisfitError:
        raise
    except (Cs3dError, cv2.error, ValueError) as error:
        raise MisfitError(str(error).replace('\n', ' ').strip()) from error


def is_recording(sample: Sample) -> bool:
    """Tell whether a sample is a recording of events, by content and name."""
    path = sample.path
    if path.is_dir():
        return any(path.glob('metadata.yaml')) or any(path.glob('*.mcap'))
    return identify(path) is not None


def _film(sample, place, mesh):
    """Return what the event camera of the condition sees of a video's face."""
    pictures = Pictures(sample)
    landmarks = find_landmarks((picture for picture, _ in pictures), mesh)
    t_ns = np.array([t for _, t in pictures], np.int64)
    fps = (len(t_ns) - 1) * NS / (t_ns[-1] - t_ns[0])
    path = path_of(landmarks, fps)
    rng = np.random.default_rng([place.seed, zlib.crc32(sample.name.encode())])
    preset = str(rng.choice(place.condition.presets))
    settings = dimmed(PRESETS[preset], place.condition.light)
    camera = EventCamera(SIZE, SIZE, settings, seed=int(rng.integers(1 << 31)))
    crops = ((cut_square(picture, square), t) for (picture, t), square in zip(pictures, path))
    events = concatenate([camera.push(crop, t) for crop, t in crops])
    sensor = {'preset': preset, 'settings': settings._asdict()}
    steady = into_squares(smoothed(landmarks, fps, STEADY_S), path)
    return _clip(sample, place, events, t_ns, int(t_ns[-1]), sensor, steady)


def _take_recording(sample, place):
    """Return the events of a recording, or of a span of it, with times from its start on."""
    batches, count = [], 0
    with open_recording(str(sample.path)) as recording:
        start_s, end_s = sample.span_s or (0.0, None)
        start_ns = recording.start_ns + round(start_s * NS)
        end_ns = None if end_s is None else recording.start_ns + round(end_s * NS)
        for batch in recording.batches(count=1 << 20, start_ns=start_ns, end_ns=end_ns):
            batches.append(batch)
            count += len(batch)
            if count > MOST_EVENTS:
                raise MisfitError(
                    'more than {} events: cut it by start and end in a manifest'.format(
                        MOST_EVENTS
                    )
                )
    if not batches:
        raise MisfitError('no events in it, or not between start and end')
    whole = concatenate(batches)
    events = EventBatch(whole.x, whole.y, whole.t - start_ns, whole.p, whole.width, whole.height)
    end_ns = int(events.t[-1]) if end_ns is None else end_ns - start_ns
    t_ns = np.arange(max(2, int(end_ns * TRUTH_HZ / NS) + 1)) * round(NS / TRUTH_HZ)
    return _clip(sample, place, events, t_ns, end_ns, {'preset': 'recorded', 'settings': {}})


def _clip(sample, place, events, t_ns, duration_ns, sensor, landmarks=None):
    segments = segments_of(sample, duration_ns)
    entry = {
        'index': place.index,
        'seed': place.seed,
        'identity': '{}/{}'.format(place.corpus, sample.subject),
        'subject': sample.subject,
        'skin': '',
        'split': place.split,
        'condition': place.condition.name,
        'expressions': [] if sample.label == NEUTRAL else [sample.label],
        'label': sample.label,
        'duration_s': duration_ns / NS,
        'segments': segments,
        'nuisances': [],
        'sensor': sensor,
        'source': place.corpus,
        'file': sample.name,
        'details': sample.details,
    }
    return RecordedClip(entry, events, truth_of(sample.label, segments, t_ns, landmarks))


def segments_of(sample: Sample, duration_ns: int) -> list[dict]:
    """
    Return the segment of a clip as entries hold it; none where nobody knows when it is.

    Raises
    ------
    MisfitError
        If the expression happens after the clip has ended.
    """
    timing = sample.timing or _published_timing(sample, duration_ns)
    if timing is None:
        return []
    if sample.label == NEUTRAL:
        raise MisfitError('a neutral face has no onset, apex and offset')
    if max(t for t in timing if t is not None) * NS > duration_ns + NS / TRUTH_HZ:
        raise MisfitError(
            'the expression lasts until {:g} s, the clip only {:.3f} s'.format(
                max(t for t in timing if t is not None), duration_ns / NS
            )
        )
    onset, apex, fall, offset = (
        duration_ns if t is None else min(round(t * NS), duration_ns) for t in timing
    )
    return [
        {
            'expression': sample.label,
            'recipe': '',
            'onset_start_ns': onset,
            'apex_start_ns': apex,
            'offset_start_ns': fall,
            'offset_end_ns': offset,
            'intensity': 1.0,
            'micro': timing.offset_s is not None and offset - onset < MICRO_S * NS,
        }
    ]


def _published_timing(sample, duration_ns):
    """Return the timing of a film that ends with its apex; None where it was cut otherwise."""
    if sample.published_apex_s is None:
        return None
    apex_s = duration_ns / NS - sample.published_apex_s
    if not ONSET_S[0] <= apex_s - NEUTRAL_LEAD_S <= ONSET_S[1]:
        return None
    return check_timing(Timing(NEUTRAL_LEAD_S, apex_s, None, None))


def truth_of(label: str, segments: list, t_ns: np.ndarray, landmarks=None) -> Truth:
    """
    Return the truth per frame; NaN where a corpus says nothing.

    Without segments the label holds all the time. With one, the expression is the target from
    the onset until it begins to fade; its intensity rises and falls in straight lines.

    Parameters
    ----------
    landmarks : np.ndarray [shape=(F, 68, 2)], optional
        In sensor pixels.
    """
    frames = len(t_ns)
    index = ACTED.index(label)
    expression = np.full(frames, index, np.uint8)
    intensity = np.full(frames, 0.0 if label == NEUTRAL else 1.0, np.float32)
    for segment in segments:
        onset, apex, fall, offset = (
            segment[name + '_ns']
            for name in ('onset_start', 'apex_start', 'offset_start', 'offset_end')
        )
        expression[(t_ns < onset) | ((t_ns >= fall) & (fall < offset))] = ACTED.index(NEUTRAL)
        intensity = np.clip((t_ns - onset) / (apex - onset), 0, 1).astype(np.float32)
        if fall < offset:
            intensity *= np.clip((offset - t_ns) / (offset - fall), 0, 1).astype(np.float32)
    unknown = np.full((frames, 68, 2), np.nan)
    points = unknown if landmarks is None else landmarks
    boxes = [(np.nan,) * 4 if landmarks is None else box_of_landmarks(p) for p in points]
    return Truth(
        t_ns=t_ns.astype(np.int64),
        expression=expression,
        intensity=intensity,
        action_units=np.full((frames, len(ACTION_UNITS)), np.nan, np.float32),
        landmarks=points.astype(np.float32),
        box=np.array(boxes, np.float32),
        pose=np.full((frames, 3), np.nan, np.float32),
        visible=np.full(frames, np.nan, np.float32),
    )
