"""Events in: batches, driver messages, recordings, event frames."""

from cs3d_ros.events.batch import EventBatch, concatenate
from cs3d_ros.events.codecs import CodecCounts, encode_evt3, open_codec
from cs3d_ros.events.frames import (
    FrameSettings,
    SquareAccumulator,
    count_in_cells,
    period_index,
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
from cs3d_ros.events.recordings import (
    Recording,
    RecordingError,
    open_recording,
    write_recording,
)

__all__ = [
    'CodecCounts',
    'DECODERS',
    'ENCODERS',
    'EventArrayDecoder',
    'EventBatch',
    'EventCounts',
    'EventPacketDecoder',
    'FrameSettings',
    'MessageDecoder',
    'MessageError',
    'Recording',
    'RecordingError',
    'SquareAccumulator',
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
