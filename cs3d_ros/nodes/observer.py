"""Watches a running graph from outside, as any subscriber could, and keeps what it saw."""

import bisect
import collections
import time
from typing import Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from hri_msgs.msg import Expression, NormalizedRegionOfInterest2D
from rclpy.node import Node
from sensor_msgs.msg import Image
from statistics_msgs.msg import MetricsMessage, StatisticDataType
from vision_msgs.msg import Classification

from cs3d_ros.draw import EventCanvas
from cs3d_ros.events import EventBatch
from cs3d_ros.face import Box
from cs3d_ros.inference import EXPRESSIONS, Emotion
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.event_input import EventInput

PERIOD_NS = 33_333_333  # of the pictures: 30 per second
DEPTH = 1000  # messages that may wait while a picture is drawn
SENDERS = ('player', 'webcam')  # nodes of ours that publish events
RATE_WINDOW = 15  # pictures over which the event rate shown is averaged


class Moment:
    """Events of one period: when it ended (sensor time), how many, and their picture as PNG."""

    __slots__ = ('end_ns', 'events', 'png')

    def __init__(self, end_ns: int, events: int, png: bytes):
        self.end_ns = end_ns
        self.events = events
        self.png = png

    def picture(self) -> np.ndarray:
        """Return the picture (height, width, 3)."""
        return cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_COLOR)


class Observer(Node):
    """
    Subscriber of every topic of the graph; options as `rclpy.node.Node` takes them.

    What carries a ROS stamp is kept by sensor time, as the messages of events map it.

    Attributes
    ----------
    classes : tuple of str
        Names of the probabilities.
    moments : list of Moment
        Every period since the first event.
    emotions : list of Emotion
        Every answer.
    is_over : bool
        Whether what sends is at the end, and what follows is silence.
    latencies_ms : list of float
        From the end of the period to the arrival of its answer here, until then.
    statuses : dict
        Node name to level, words and values of its last diagnostics.
    heard_s : dict
        Node name to when that came, steady seconds.
    watts : dict
        Rail (W), or energy per inference (J), to its averages.
    """

    def __init__(self, **options):
        super().__init__('observer', **options)
        self.classes = EXPRESSIONS
        self.moments = []  # type: List[Moment]
        self.emotions = []  # type: List[Emotion]
        self.is_over = False
        self.latencies_ms = []  # type: List[float]
        self.statuses = {}  # type: Dict[str, Tuple[int, str, Dict[str, str]]]
        self.heard_s = {}  # type: Dict[str, float]
        self.watts = collections.defaultdict(list)  # type: Dict[str, List[float]]
        self._times = {'face': [], 'box': [], 'emotion': []}  # type: Dict[str, List[int]]
        self._faces, self._boxes = [], []
        self._halves = {}  # type: Dict[int, List]
        self._canvas = None
        self._sensor = 1, 1
        self._end_ns, self._events_in_period = 0, 0
        self._stream_number = None  # how often the events began anew
        self._events = EventInput(self, 'events', self._on_events, DEPTH)
        for kind, topic, callback in (
            (Image, 'face/image', self._on_face),
            (NormalizedRegionOfInterest2D, 'face/roi', self._on_box),
            (Expression, 'emotion', self._on_expression),
            (Classification, 'emotion/distribution', self._on_distribution),
            (MetricsMessage, 'power', self._on_power),
            (DiagnosticArray, '/diagnostics', self._on_diagnostics),
        ):
            self.create_subscription(kind, topic, callback, DEPTH)

    @property
    def counts(self) -> Dict[str, int]:
        """What came on events, as the preprocessing node counts it."""
        return self._events.stream.counts()

    @property
    def start_ns(self) -> int:
        """Begin of the first period, sensor time."""
        return self.moments[0].end_ns - PERIOD_NS if self.moments else 0

    def event_rate_hz(self) -> float:
        """Return the events per second of the last half second."""
        last = self.moments[-RATE_WINDOW:]
        return sum(moment.events for moment in last) * 1e9 / PERIOD_NS / max(1, len(last))

    def at(self, end_ns: int) -> Tuple[Optional[np.ndarray], Optional[Box], Optional[Emotion]]:
        """Return face image and box of the period that ends here, and the answer that stood."""
        face = self._latest('face', self._faces, end_ns, 0.5 * PERIOD_NS)
        box = self._latest('box', self._boxes, end_ns, 0.5 * PERIOD_NS)
        return face, box, self._latest('emotion', self.emotions, end_ns, None)

    def timed_emotions(self) -> List[Tuple[Emotion, int]]:
        """Return every answer with its sensor time."""
        return list(zip(self.emotions, self._times['emotion']))

    def _latest(self, kind, values: Sequence, end_ns: int, tolerance_ns: Optional[float]):
        # The two maps to ROS time, here and in preprocessing, differ by the ways of one message.
        index = bisect.bisect_right(self._times[kind], end_ns + PERIOD_NS // 2) - 1
        if index < 0:
            return None
        is_old = tolerance_ns is not None and self._times[kind][index] < end_ns - tolerance_ns
        return None if is_old else values[index]

    @property
    def position(self) -> Optional[str]:
        """Where what sends is, in its own words; None before it said anything."""
        return next(
            (
                self.statuses[node][2].get('position_s')
                for node in SENDERS
                if node in self.statuses
            ),
            None,
        )

    def finish(self) -> None:
        """Close the last period, if it holds events: no more will come."""
        if self._events_in_period:
            self.close_moments(self._end_ns)

    def close_moments(self, end_ns: int) -> None:
        """Close the periods until this sensor time; without events there is nothing else to."""
        while self._canvas is not None and self._end_ns <= end_ns:
            png = cv2.imencode('.png', self._canvas.take(), (cv2.IMWRITE_PNG_COMPRESSION, 1))[1]
            self.moments.append(Moment(self._end_ns, self._events_in_period, png.tobytes()))
            self._end_ns += PERIOD_NS
            self._events_in_period = 0

    def _on_events(self, batch: EventBatch) -> None:
        counts, size = self.counts, (batch.width, batch.height)
        number = counts['clock_resets'] + counts['type_changes'], size
        if number != self._stream_number:
            self.finish()
            self._stream_number, self._sensor = number, size
            self._canvas = EventCanvas(*size)
            self._end_ns = (int(batch.t[0]) // PERIOD_NS + 1) * PERIOD_NS
        while len(batch):
            self.close_moments(int(batch.t[0]))
            batch = self._paint(batch)

    def _paint(self, batch: EventBatch) -> EventBatch:
        present = batch.between(int(batch.t[0]), self._end_ns)
        self._canvas.add(present)
        self._events_in_period += len(present)
        return batch[len(present) :]

    def _keep(self, kind: str, values: List, stamp_ns: int, value) -> None:
        if self._canvas is not None:  # before the first event no stamp has a sensor time
            self._times[kind].append(self._events.stream.clock.to_sensor(stamp_ns))
            values.append(value)

    def _on_face(self, message: Image) -> None:
        face = messages.image_array(message, message.width)
        self._keep('face', self._faces, messages.time_ns(message.header.stamp), face)

    def _on_box(self, message: NormalizedRegionOfInterest2D) -> None:
        width, height = self._sensor
        box = Box(
            message.xmin * width,
            message.ymin * height,
            (message.xmax - message.xmin) * width,
            (message.ymax - message.ymin) * height,
        )
        self._keep('box', self._boxes, messages.time_ns(message.header.stamp), box)

    def _on_expression(self, message: Expression) -> None:
        stamp_ns = messages.time_ns(message.header.stamp)
        if not self.is_over:
            self.latencies_ms.append((self.get_clock().now().nanoseconds - stamp_ns) * 1e-6)
        self._join(stamp_ns, 0, message)

    def _on_distribution(self, message: Classification) -> None:
        self.classes = tuple(result.class_id for result in message.results)
        self._join(messages.time_ns(message.header.stamp), 1, message)

    def _join(self, stamp_ns: int, index: int, message) -> None:
        """Make an Emotion of an expression and a distribution, whichever comes first."""
        halves = self._halves.setdefault(stamp_ns, [None, None])
        halves[index] = message
        if None in halves:
            return
        self._halves = {}  # older ones wait for what was lost
        expression, distribution = halves
        emotion = Emotion(
            stamp_ns,
            expression.expression,
            expression.confidence,
            expression.valence,
            expression.arousal,
            tuple(result.score for result in distribution.results),
        )
        self._keep('emotion', self.emotions, stamp_ns, emotion)

    def _on_power(self, message: MetricsMessage) -> None:
        for point in message.statistics:
            if point.data_type == StatisticDataType.STATISTICS_DATA_TYPE_AVERAGE:
                self.watts[message.metrics_source].append(point.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            level = status.level[0] if isinstance(status.level, bytes) else status.level
            values = {pair.key: pair.value for pair in status.values}
            node = status.name.rsplit('/', 1)[-1]
            self.statuses[node] = level, status.message, values
            self.heard_s[node] = time.monotonic()
            self.is_over |= node in SENDERS and status.message == 'at the end'
