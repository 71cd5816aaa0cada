"""The chain without ROS: events to face frames to emotions; nodes and CLI call just this."""

import operator
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from cs3d_ros.events import (
    Cleaner,
    CleaningCounts,
    CleaningSettings,
    EventBatch,
    FrameSettings,
    PeriodCutter,
    SquareAccumulator,
    check_sensor,
)
from cs3d_ros.events.recordings import Recording
from cs3d_ros.face import Box, FaceFinder, FaceTrack, FixedFace, face_square
from cs3d_ros.inference import (
    Bundle,
    Emotion,
    EmotionFilter,
    EmotionSettings,
    make_estimator,
)

LONGEST_FADE = 300  # periods without a face after which nothing is left to forget


class FaceFrame:
    """
    What one period of sensor time showed.

    Attributes
    ----------
    t_ns : int
        End of the period.
    image : np.ndarray [shape=(size, size), dtype=uint8] or None
        Event frame of the face square; None without a face.
    track : FaceTrack or None
        The face at the start of the period, which the frame was made with.
    events : int
        Events of the whole sensor in the period that cleaning kept.
    cleaned : int
        Those that it dropped.
    """

    __slots__ = ('t_ns', 'image', 'track', 'events', 'cleaned')

    def __init__(
        self,
        t_ns: int,
        image: Optional[np.ndarray],
        track: Optional[FaceTrack],
        events: int,
        cleaned: int = 0,
    ):
        self.t_ns = t_ns
        self.image = image
        self.track = track
        self.events = events
        self.cleaned = cleaned


class PreprocessorCounts(NamedTuple):
    """What a :class:`Preprocessor` has seen since it was made."""

    events: int = 0  # those that cleaning dropped too
    frames: int = 0  # periods closed
    face_frames: int = 0  # of them with a face
    late: int = 0  # events dropped: their period was closed already
    restarts: int = 0  # times the clock went back or leapt ahead, and the chain began anew
    cleaned: CleaningCounts = CleaningCounts()  # events dropped of periods that are closed


class Preprocessor:
    """
    Events in, one :class:`FaceFrame` per period out, however the stream is cut.

    Periods are aligned to absolute sensor time. The face of a period is what was known at its
    start, so its events are counted as they come and none are kept, unless there is a limit to
    their rate, which is held over a period.

    Parameters
    ----------
    width, height : int
        Sensor size in pixels.
    bundle : Bundle
        Tells frame size, period, step and the margin of the face square.
    roi : Box, optional
        A face that stands here, instead of the finder's.
    cleaning : CleaningSettings
        What the events go through before anything looks at them.
    on_kept : callable, optional
        Called with each batch of events that cleaning kept.

    Attributes
    ----------
    cleaner : Cleaner
    counts : PreprocessorCounts
    """

    def __init__(
        self,
        width: int,
        height: int,
        bundle: Bundle,
        roi: Optional[Box] = None,
        cleaning: CleaningSettings = CleaningSettings(),
        on_kept: Optional[Callable[[EventBatch], None]] = None,
    ):
        self.width, self.height = width, height
        # slices that end with the periods: what is held of one never comes too late for its frame
        self.cleaner = Cleaner(width, height, cleaning, bundle.period_ns)
        self._noted = self.cleaner.counts  # of it that are part of ours
        self._on_kept = on_kept
        self.counts = PreprocessorCounts()
        self._cutter = PeriodCutter(bundle.period_ns)
        self._margin = bundle.margin
        self._frame = SquareAccumulator(FrameSettings(bundle.size, bundle.period_ns, bundle.step))
        self._finder = FixedFace(roi) if roi else FaceFinder(width, height)
        self.reset()

    def reset(self):
        """Forget the stream; the next events start a new one."""
        self._cutter.reset()
        self._forget()

    def _forget(self):
        self.cleaner.reset()
        self._finder.reset()
        self._frame.take()
        self._is_open = False  # a period, whose face was looked for
        self._track = self._square = None
        self._events = self._received = 0

    def push(self, batch: EventBatch) -> List[FaceFrame]:
        """
        Take events that follow the earlier ones in time; return the periods they close.

        Raises
        ------
        ValueError
            If the batch is of another sensor size.
        """
        check_sensor(batch, self.width, self.height, type(self).__name__)
        frames = []
        for cut in self._cutter.push(batch):
            frames += self._turn(cut)
            present = batch[cut.first : cut.last]
            self.counts = self.counts._replace(
                late=self.counts.late + cut.late, events=self.counts.events + len(present)
            )
            self._received += len(present)
            # cut first: time goes on where all events are dropped
            self._count(self.cleaner.push(present))
        return frames

    def advance(self, t_ns: int) -> List[FaceFrame]:
        """Close the periods that end by ``t_ns``, as no event before it will come."""
        return self._turn(self._cutter.advance(t_ns))

    def _turn(self, cut) -> List[FaceFrame]:
        """Close the periods that a cut ends, and open the one after them."""
        frames = [self._close(end_ns) for end_ns in cut.ends_ns]
        if cut.restart:
            self._forget()
            self.counts = self.counts._replace(restarts=self.counts.restarts + 1)
        if not self._is_open and cut.start_ns is not None:
            self._is_open = True
            self._follow(cut.start_ns)
        return frames

    def _count(self, batch):
        if self._on_kept and len(batch):
            self._on_kept(batch)
        self._events += len(batch)
        self._finder.add(batch)
        if self._square:
            self._frame.add(batch, self._square)

    def _close(self, end_ns) -> FaceFrame:
        self._count(self.cleaner.flush())
        image = self._frame.take() if self._track else None
        cleaned = self._received - self._events
        frame = FaceFrame(end_ns, image, self._track, self._events, cleaned)
        self.counts = self.counts._replace(
            frames=self.counts.frames + 1,
            face_frames=self.counts.face_frames + (image is not None),
        )
        self._note_cleaned()
        self._events = self._received = 0
        self._follow(end_ns)
        return frame

    def _note_cleaned(self):
        counts = self.cleaner.counts
        new = map(operator.sub, counts, self._noted)
        self._noted = counts
        cleaned = CleaningCounts(*map(operator.add, self.counts.cleaned, new))
        self.counts = self.counts._replace(cleaned=cleaned)

    def _follow(self, start_ns):
        """Take the face at the start of the open period from the finder."""
        self._track = self._finder.step(start_ns)
        self._square = face_square(self._track.box, self._margin) if self._track else None


class Recognizer:
    """
    Event frames of one face in, emotions out, every ``hop_frames`` of the bundle.

    A period without a face, or a gap in the times, makes the network begin anew. It is not run
    where it could not change the answer, as on a face that is still.

    Parameters
    ----------
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns.
    settings : EmotionSettings, optional
        In place of those of the bundle.
    """

    def __init__(self, engine, settings: Optional[EmotionSettings] = None):
        bundle = engine.bundle
        self._period_ns = bundle.period_ns
        self._shape = (bundle.size, bundle.size)
        self._estimator = make_estimator(engine)
        self._filter = EmotionFilter(
            bundle.classes, bundle.unchanged, settings or bundle.settling, bundle.unproven
        )
        self.reset()

    @property
    def inferences(self) -> int:
        """Runs of the network."""
        return self._estimator.inferences

    @property
    def skipped(self) -> int:
        """Estimates that needed no run."""
        return self._estimator.skipped

    def reset(self):
        """Forget the face; the next frame is the first."""
        self._filter.reset()
        self._estimator.reset()
        self._last_ns = None

    def push(self, image: Optional[np.ndarray], t_ns: int) -> Optional[Emotion]:
        """
        Take the frame of the period that ends at ``t_ns``, or None where no face was.

        Returns
        -------
        Emotion or None
            What is believed, at every ``hop_frames``-th frame.

        Raises
        ------
        ValueError
            If the image has another shape or dtype.
        """
        if image is not None and (image.shape != self._shape or image.dtype != np.uint8):
            raise ValueError(
                'event frame must be uint8 {}, got {} {}'.format(
                    self._shape, image.dtype, image.shape
                )
            )
        self._live_through_gap(t_ns)
        self._last_ns = t_ns
        if image is None:
            return self._absent(t_ns)
        estimate = self._estimator.push(image)
        return None if estimate is None else self._filter.push(estimate, t_ns)

    def _live_through_gap(self, t_ns):
        """Take the periods since the last frame as without a face, as if each had been pushed."""
        missed = 1  # there was no face before the first one either
        if self._last_ns is not None:
            missed = round((t_ns - self._last_ns) / self._period_ns) - 1
            if missed < 0:
                self.reset()
                missed = 1
        for periods in range(min(missed, LONGEST_FADE), 0, -1):
            self._absent(t_ns - periods * self._period_ns)

    def _absent(self, t_ns) -> Emotion:
        self._estimator.reset()
        return self._filter.push(None, t_ns)


def recognize(
    recording: Recording,
    engine,
    roi: Optional[Box] = None,
    settings: Optional[EmotionSettings] = None,
    cleaning: CleaningSettings = CleaningSettings(),
) -> Iterator[Tuple[FaceFrame, Optional[Emotion]]]:
    """
    Yield every period of a recording with the emotion settled at its end, if one was due.

    Parameters
    ----------
    recording : Recording
        What :func:`cs3d_ros.simulator.open_source` returns.
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns.
    roi : Box, optional
        A face that stands here, instead of the finder's.
    settings : EmotionSettings, optional
        In place of those of the bundle.
    cleaning : CleaningSettings
        What the events go through before anything looks at them.

    Examples
    --------
    >>> for frame, emotion in recognize(open_recording('face.aedat4'),
    ...                                 open_engine('cs3d.onnx')):  # doctest: +SKIP
    ...     print(frame.t_ns, emotion)
    """
    preprocessor = Preprocessor(recording.width, recording.height, engine.bundle, roi, cleaning)
    recognizer = Recognizer(engine, settings)
    end_ns = recording.start_ns

    def answers(frames):
        for frame in frames:
            yield frame, recognizer.push(frame.image, frame.t_ns)

    for batch in recording.batches():
        yield from answers(preprocessor.push(batch))
        end_ns = int(batch.t[-1])
    yield from answers(preprocessor.advance(end_ns + engine.bundle.period_ns))
