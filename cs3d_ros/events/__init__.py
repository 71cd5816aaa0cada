"""Events in: batches, driver messages, recordings, filters, frames."""

from cs3d_ros.events.batch import EventBatch, concatenate
from cs3d_ros.events.codecs import CodecCounts, encode_evt3, open_codec
from cs3d_ros.events.filters import (
    BackgroundActivityFilter,
    BackgroundActivitySettings,
    FilterCounts,
)
from cs3d_ros.events.frames import (
    CountFrames,
    EventFrames,
    Frame,
    FrameSettings,
    SquareAccumulator,
    TimeSurfaces,
    count_in_cells,
    still_frame,
)
from cs3d_ros.events.messages import (
    DECODERS,
    ENCODERS,
    EventArrayDecoder,
    EventCounts,
    EventPacketDecoder,
    MessageDecoder,
    MessageError,
    encode_event_array,
    encode_event_packet,
    open_decoder,
)
from cs3d_ros.events.periods import Cut, PeriodCutter, period_index
from cs3d_ros.events.recordings import (
    Recording,
    RecordingError,
    open_recording,
    write_recording,
)

__all__ = [
    'BackgroundActivityFilter',
    'BackgroundActivitySettings',
    'CodecCounts',
    'CountFrames',
    'Cut',
    'DECODERS',
    'ENCODERS',
    'EventArrayDecoder',
    'EventBatch',
    'EventCounts',
    'EventFrames',
    'EventPacketDecoder',
    'FilterCounts',
    'Frame',
    'FrameSettings',
    'MessageDecoder',
    'MessageError',
    'PeriodCutter',
    'Recording',
    'RecordingError',
    'SquareAccumulator',
    'TimeSurfaces',
    'concatenate',
    'count_in_cells',
    'encode_event_array',
    'encode_event_packet',
    'encode_evt3',
    'open_codec',
    'open_decoder',
    'open_recording',
    'period_index',
    'still_frame',
    'write_recording',
]
