"""The robot's chain on one clip: every answer, beside what the network itself said."""

from typing import NamedTuple

import numpy as np

from cs3d_ros.events import EventBatch, FrameSettings, SquareAccumulator
from cs3d_ros.face import FaceTrack, face_square
from cs3d_ros.inference import Emotion
from cs3d_ros.pipeline import FaceFrame, Preprocessor, Recognizer


class Answer(NamedTuple):
    """What the chain said at the end of a period."""

    t_s: float
    emotion: Emotion  # settled
    estimate: np.ndarray | None  # the network's own probabilities, None where it did not run
    has_face: bool
    events_hz: float


class _Listener:
    """An engine that remembers what its network answered last."""

    def __init__(self, engine):
        self._engine, self.bundle, self.heard = engine, engine.bundle, None

    def run(self, *tensors):
        answer = self._engine.run(*tensors)
        self.heard = np.array(answer[0])
        return answer

    def take(self):
        heard, self.heard = self.heard, None
        return heard


def found_frames(events: EventBatch, end_ns: int, bundle) -> list:
    """Return the face frames of a clip up to a time as the robot makes them, by its finder."""
    chain = Preprocessor(events.width, events.height, bundle)
    return chain.push(events.between(0, end_ns)) + chain.advance(end_ns)


def boxed_frames(events: EventBatch, end_ns: int, bundle, box_at) -> list:
    """Return the face frames of a clip with the boxes that ``box_at(t_ns)`` tells."""
    accumulator = SquareAccumulator(FrameSettings(bundle.size, bundle.period_ns, bundle.step))
    frames = []
    for start_ns in range(0, end_ns - bundle.period_ns + 1, bundle.period_ns):
        box = box_at(start_ns)
        shown = events.between(start_ns, start_ns + bundle.period_ns)
        accumulator.add(shown, face_square(box, bundle.margin))
        track = FaceTrack(1, box, 1.0, 0)
        end_ns = start_ns + bundle.period_ns
        frames.append(FaceFrame(end_ns, accumulator.take(), track, len(shown)))
    return frames


def answers_to(frames: list, engine, settings=None) -> list:
    """
    Return the answers of a bundle to the face frames of one clip.

    Parameters
    ----------
    frames : list of FaceFrame
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns.
    settings : EmotionSettings, optional
        How answers settle; as on the robot by default.
    """
    listener, answers = _Listener(engine), []
    recognizer = Recognizer(listener, *([settings] if settings else []))
    for frame in frames:
        emotion = recognizer.push(frame.image, frame.t_ns)
        estimate = listener.take()
        if emotion is not None:
            answers.append(
                Answer(
                    frame.t_ns * 1e-9,
                    emotion,
                    estimate,
                    frame.track is not None,
                    frame.events * 1e9 / engine.bundle.period_ns,
                )
            )
    return answers
