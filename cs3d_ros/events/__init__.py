"""Events in: batches, driver messages, recordings, event frames."""

from cs3d_ros.events.batch import EventBatch, concatenate
from cs3d_ros.events.frames import (
    FrameSettings,
    SquareAccumulator,
    count_in_cells,
    period_index,
    still_frame,
)
from cs3d_ros.events.messages import (
    EventArrayDecoder,
    EventCounts,
    MessageError,
    encode_event_array,
)
from cs3d_ros.events.recordings import (
    Recording,
    RecordingError,
    open_recording,
    write_recording,
)

__all__ = [
    'EventArrayDecoder',
    'EventBatch',
    'EventCounts',
    'FrameSettings',
    'MessageError',
    'Recording',
    'RecordingError',
    'SquareAccumulator',
    'concatenate',
    'count_in_cells',
    'encode_event_array',
    'open_recording',
    'period_index',
    'still_frame',
    'write_recording',
]
