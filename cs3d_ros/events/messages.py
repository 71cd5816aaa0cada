"""
Bytes of driver messages to events and back, without message objects.

``dv_ros2_msgs/EventArray`` (dvs_msgs and prophesee_event_msgs have the same fields) arrives as the
CDR bytes of a raw subscription. In XCDR1 a struct has no alignment of its own: every member aligns
to its own size, counted from the end of the four encapsulation bytes. So ``Event[]`` has a stride
of 16 bytes, but x and y of the first element sit elsewhere than those of all others.

Source: OMG CDR (formal/2004-03-15, 15.3.1); checked against rclpy's own serializer in the tests.
"""

import struct
from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import _kernels
from cs3d_ros.events.batch import MAX_SIDE, EventBatch

ENCAPSULATION_SIZE = 4
ELEMENT_SIZE = 16  # stride of Event[] on the wire, bytes
LAST_ELEMENT_SIZE = 13  # nothing pads the last polarity
CLOCK_RESET_NS = 1_000_000_000  # a message this far back is a new clock, not jitter
NO_TIME = np.iinfo(np.int64).min


class MessageError(Cs3dError):
    """Bytes that are not the message they should be."""


class EventCounts(NamedTuple):
    """What an :class:`EventArrayDecoder` has seen since it was made."""

    messages: int = 0
    events: int = 0  # handed on
    malformed: int = 0  # messages refused
    out_of_bounds: int = 0  # events dropped: outside the sensor
    time_reversed: int = 0  # events dropped: older than their predecessor
    clock_resets: int = 0  # times a message began over a second back, and the stream anew


class _Layout(NamedTuple):
    """Where a message keeps what; offsets in bytes from the start of the buffer."""

    swap: bool
    width: int
    height: int
    count: int
    frame_id: bytes
    events_at: int


def _layout(data: memoryview) -> _Layout:
    """Return the layout of an EventArray, having checked that all of it is there."""

    def need(end, what):
        if end > len(data):
            raise MessageError(
                'EventArray ends inside its {}: {} of {} bytes; is the topic of another type, or '
                'was the message cut?'.format(what, len(data), end)
            )

    need(ENCAPSULATION_SIZE, 'encapsulation')
    if data[0] != 0 or data[1] > 1:
        raise MessageError(
            'EventArray must be plain CDR (00 00 or 00 01), got {:02x} {:02x}: is the topic of '
            'another type?'.format(data[0], data[1])
        )
    order = '<' if data[1] else '>'
    need(16, 'header')
    (frame_id_size,) = struct.unpack_from(order + 'I', data, 12)
    sizes_at = 16 + frame_id_size + -frame_id_size % 4
    need(sizes_at + 12, 'header')
    height, width, count = struct.unpack_from(order + '3I', data, sizes_at)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MessageError(
            'EventArray tells a sensor of {} x {}, 1 to {} expected: set width and height in the '
            'driver'.format(width, height, MAX_SIDE)
        )
    events_at = sizes_at + 12
    if count:
        need(events_at + ELEMENT_SIZE * (count - 1) + LAST_ELEMENT_SIZE, 'events')
    frame_id = bytes(data[16 : 16 + max(0, frame_id_size - 1)])  # its NUL counts
    return _Layout(order == '>', width, height, count, frame_id, events_at)


class EventArrayDecoder:
    """
    Decoder of one topic of ``EventArray`` messages; times never decrease across messages.

    A message that begins more than a second before the last event means a clock that was reset
    (a driver restarted, a recording looped): it is counted and the stream starts anew.

    Examples
    --------
    >>> decoder = EventArrayDecoder()
    >>> decoder.push(encode_event_array(EventBatch.empty(346, 260)))
    EventBatch(0 events, 346 x 260)
    """

    def __init__(self):
        self.counts = EventCounts()
        self.frame_id = ''  # of the last whole message
        self._last_ns = NO_TIME

    def push(self, data: bytes) -> EventBatch:
        """
        Return the events of one message, given its CDR bytes with encapsulation.

        Raises
        ------
        MessageError
            If the bytes are no whole EventArray; the decoder goes on with the next message.
        """
        counts = self.counts
        try:
            layout = _layout(memoryview(data))
        except MessageError:
            self.counts = counts._replace(
                messages=counts.messages + 1, malformed=counts.malformed + 1
            )
            raise
        self.frame_id = layout.frame_id.decode(errors='replace')
        if not layout.count:
            self.counts = counts._replace(messages=counts.messages + 1)
            return EventBatch.empty(layout.width, layout.height)

        raw = np.frombuffer(data, np.uint8)
        first_ns = _kernels.element_time(raw, layout.events_at, layout.swap)
        reset = self._last_ns != NO_TIME and first_ns < self._last_ns - CLOCK_RESET_NS
        if reset:
            self._last_ns = NO_TIME
        x, y = (np.empty(layout.count, np.uint16) for _ in 'xy')
        t, p = np.empty(layout.count, np.int64), np.empty(layout.count, np.uint8)
        kept, outside, backwards = _kernels.decode_event_array(
            raw,
            layout.events_at,
            layout.count,
            layout.swap,
            layout.width,
            layout.height,
            self._last_ns,
            x,
            y,
            t,
            p,
        )
        if kept:
            self._last_ns = int(t[kept - 1])
        self.counts = counts._replace(
            messages=counts.messages + 1,
            events=counts.events + kept,
            out_of_bounds=counts.out_of_bounds + outside,
            time_reversed=counts.time_reversed + backwards,
            clock_resets=counts.clock_resets + reset,
        )
        return EventBatch.trusted(
            x[:kept], y[:kept], t[:kept], p[:kept], layout.width, layout.height
        )


def encode_event_array(batch: EventBatch, stamp_ns: int = 0, frame_id: str = '') -> bytes:
    """
    Return the little-endian CDR bytes of an ``EventArray`` with these events.

    Raises
    ------
    ValueError
        If a time does not fit ``builtin_interfaces/Time`` (int32 seconds).
    """
    bounds = [stamp_ns] + ([int(batch.t[0]), int(batch.t[-1])] if len(batch) else [])
    if not all(-(1 << 31) <= ns // 1_000_000_000 < 1 << 31 for ns in bounds):
        raise ValueError('times must fit int32 seconds, got {} ns'.format(bounds))
    name = frame_id.encode() + b'\0'
    header = (
        struct.pack(
            '<4BiII', 0, 1, 0, 0, stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000, len(name)
        )
        + name
    )
    header += b'\0' * (-len(header) % 4)
    header += struct.pack('<3I', batch.height, batch.width, len(batch))
    size = len(header)
    if len(batch):
        size += ELEMENT_SIZE * (len(batch) - 1) + LAST_ELEMENT_SIZE
    out = np.zeros(size, np.uint8)
    out[: len(header)] = np.frombuffer(header, np.uint8)
    if len(batch):
        _kernels.encode_event_array(batch.x, batch.y, batch.t, batch.p, out, len(header))
    return out.tobytes()
