"""ROS messages from our types and back."""

import math
from typing import Dict, List, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from hri_msgs.msg import Expression, NormalizedRegionOfInterest2D
from sensor_msgs.msg import Image
from statistics_msgs.msg import MetricsMessage, StatisticDataPoint, StatisticDataType
from std_msgs.msg import Header
from vision_msgs.msg import Classification, ObjectHypothesis

from cs3d_ros.events import MessageError
from cs3d_ros.face import FaceTrack
from cs3d_ros.inference.emotion import Emotion
from cs3d_ros.power import RailStatistics

_NS = 1_000_000_000

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class LossCount:
    """How many messages of one publisher did not arrive, by the gaps in their numbers."""

    def __init__(self):
        self.lost = 0
        self._last = None

    def push(self, info) -> int:
        """
        Return how many messages are missing just before this one.

        Parameters
        ----------
        info : dict
            What came with it; before Jazzy that holds no number, and nothing is ever missing.
        """
        last, self._last = self._last, info.get('publication_sequence_number')
        if self._last is None or last is None:
            return 0
        missing = max(0, self._last - last - 1)
        self.lost += missing
        return missing

    def forget(self) -> None:
        """Begin anew with the next message: it may be of another publisher."""
        self._last = None


def time_message(ns: int) -> Time:
    """Return a stamp of int64 nanoseconds."""
    return Time(sec=int(ns) // _NS, nanosec=int(ns) % _NS)


def time_ns(stamp: Time) -> int:
    """Return the nanoseconds of a stamp."""
    return stamp.sec * _NS + stamp.nanosec


def _header(stamp_ns: int, frame_id: str) -> Header:
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def image_message(image: np.ndarray, stamp_ns: int, frame_id: str) -> Image:
    """Return the message of a mono8 (H, W) or bgr8 (H, W, 3) picture."""
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    message = Image(
        header=_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding='mono8' if channels == 1 else 'bgr8',
        step=width * channels,
    )
    message.data = np.ascontiguousarray(image).tobytes()
    return message


def image_array(message: Image, size: int) -> np.ndarray:
    """
    Return the event frame (size, size) uint8 of a message.

    Raises
    ------
    MessageError
        If it is another kind of picture than the bundle reads.
    """
    if (message.encoding, message.height, message.width) != ('mono8', size, size):
        raise MessageError(
            'face/image must be mono8 of {0} x {0}, got {1} of {2} x {3}: do preprocessing and '
            'inference use the same bundle?'.format(
                size, message.encoding, message.width, message.height
            )
        )
    step = message.step or size
    if step < size or len(message.data) < step * (size - 1) + size:
        raise MessageError(
            'face/image has {} bytes in rows of {}, {} x {} are needed'.format(
                len(message.data), message.step, size, size
            )
        )
    rows = np.zeros(step * size, np.uint8)
    data = np.frombuffer(message.data, np.uint8)[: len(rows)]
    rows[: len(data)] = data  # the last row needs no padding
    return rows.reshape(size, step)[:, :size].copy()


def roi_message(
    track: FaceTrack, width: int, height: int, stamp_ns: int, frame_id: str
) -> NormalizedRegionOfInterest2D:
    """Return the face box in parts of the sensor, cut at its borders; c is the quality."""
    box = track.box
    return NormalizedRegionOfInterest2D(
        header=_header(stamp_ns, frame_id),
        xmin=_unit(box.x / width),
        ymin=_unit(box.y / height),
        xmax=_unit((box.x + box.width) / width),
        ymax=_unit((box.y + box.height) / height),
        c=_unit(track.quality),
    )


def _unit(value: float) -> float:
    return min(1.0, max(0.0, float(value)))


def expression_message(emotion: Emotion, frame_id: str) -> Expression:
    """Return the settled answer; its time is ROS time, as the images it came from."""
    return Expression(
        header=_header(emotion.t_ns, frame_id),
        expression=emotion.expression,
        valence=float(emotion.valence),
        arousal=float(emotion.arousal),
        confidence=float(emotion.confidence),
    )


def distribution_message(
    emotion: Emotion, classes: Sequence[str], frame_id: str
) -> Classification:
    """Return the probability of every class, in the bundle's order."""
    return Classification(
        header=_header(emotion.t_ns, frame_id),
        results=[
            ObjectHypothesis(class_id=name, score=float(probability))
            for name, probability in zip(classes, emotion.probabilities)
        ],
    )


def statistics_message(
    node: str, source: str, unit: str, statistics: RailStatistics, start_ns: int, stop_ns: int
) -> MetricsMessage:
    """Return the statistics of one rail, or of another quantity, over a window of ROS time."""
    kinds = StatisticDataType
    points = [
        (kinds.STATISTICS_DATA_TYPE_AVERAGE, statistics.average),
        (kinds.STATISTICS_DATA_TYPE_MINIMUM, statistics.minimum),
        (kinds.STATISTICS_DATA_TYPE_MAXIMUM, statistics.maximum),
        (kinds.STATISTICS_DATA_TYPE_STDDEV, statistics.stddev),
        (kinds.STATISTICS_DATA_TYPE_SAMPLE_COUNT, statistics.count),
    ]
    return MetricsMessage(
        measurement_source_name=node,
        metrics_source=source,
        unit=unit,
        window_start=time_message(start_ns),
        window_stop=time_message(stop_ns),
        statistics=[
            StatisticDataPoint(data_type=kind, data=float(value))
            for kind, value in points
            if math.isfinite(value)
        ],
    )


def diagnostic_message(
    node: str, level: bytes, text: str, values: Dict[str, object], stamp_ns: int
) -> DiagnosticArray:
    """Return how a node does; numbers keep four digits, the rest its own words."""
    pairs = [
        KeyValue(key=key, value='{:.4g}'.format(value) if isinstance(value, float) else str(value))
        for key, value in values.items()
    ]
    status = DiagnosticStatus(
        level=level, name=node, message=text, hardware_id='cs3d', values=pairs
    )
    return DiagnosticArray(header=_header(stamp_ns, ''), status=[status])


def diagnostic_values(message: DiagnosticArray, node: str) -> List[Dict[str, str]]:
    """Return the values of every status in a message that is of this node."""
    return [
        {pair.key: pair.value for pair in status.values}
        for status in message.status
        if status.name == node
    ]
