"""Events in: batches, driver messages, recordings, event frames."""

from cs3d_ros.events.batch import EventBatch, concatenate
from cs3d_ros.events.frames import FrameSettings, SquareAccumulator, period_index, still_frame
from cs3d_ros.events.messages import (
    EventArrayDecoder,
    EventCounts,
    MessageError,
    encode_event_array,
)

__all__ = [
    'EventArrayDecoder',
    'EventBatch',
    'EventCounts',
    'FrameSettings',
    'MessageError',
    'SquareAccumulator',
    'concatenate',
    'encode_event_array',
    'period_index',
    'still_frame',
]
