"""
Bytes of driver messages to events and back, without message objects.

``EventArray`` (of dv_ros2_msgs; dvs_msgs and prophesee_event_msgs have the same fields) and
``event_camera_msgs/EventPacket`` arrive as the CDR bytes of a raw subscription. In XCDR1 a struct
has no alignment of its own: every member aligns to its own size, counted from the end of the four
encapsulation bytes. So ``Event[]`` has a stride of 16 bytes, but x and y of the first element sit
elsewhere than those of all others.

Event times are the sensor's. ``header.stamp`` never is: EventPacket's is the host's time of
arrival, and that of dv-ros2's EventArray is wrong.

Source: OMG CDR (formal/2004-03-15, 15.3.1); checked against rclpy's own serializer in the tests.
"""

import struct
from typing import NamedTuple

import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import _kernels
from cs3d_ros.events.batch import MAX_SIDE, NO_TIME, EventBatch, empty_columns
from cs3d_ros.events.codecs import (
    CLOCK_RESET_NS,
    CODECS,
    CodecCounts,
    encode_evt3,
    open_codec,
)

ELEMENT_SIZE = 16  # stride of Event[] on the wire, bytes
LAST_ELEMENT_SIZE = 13  # nothing pads the last polarity
TRIGGER_SIZE = 8  # bytes of a trigger in an EventPacket of that encoding
ENCODINGS = ('evt3', 'libcaer_cmp', 'libcaer', 'mono', 'trigger')  # that drivers send
LATEST_TIME_BASE_NS = 1 << 62  # 146 years; what a payload adds to it still fits int64
LONGEST_LOSS_NS = 24 * 3600 * 10**9  # beyond it the host's clock was set, and tells nothing
NS_PER_S = 1_000_000_000


class MessageError(Cs3dError):
    """Bytes that are not the message they should be."""


class EventCounts(NamedTuple):
    """What a decoder of messages has seen since it was made."""

    messages: int = 0
    events: int = 0  # handed on
    malformed: int = 0  # messages refused
    lost: int = 0  # messages that their own numbers say are missing
    out_of_bounds: int = 0  # events dropped: outside the sensor
    time_reversed: int = 0  # events dropped: older than their predecessor
    triggers: int = 0  # edges of external signals, skipped
    unknown: int = 0  # words skipped: no known kind, or before time and place were told
    clock_resets: int = 0  # times the stream began anew, further back or with a new driver


class MessageDecoder:
    """
    Decoder of one topic of messages; event times never decrease across them.

    A message of nothing but old events, the first of them more than a second before the last one,
    means a clock that was reset (a driver restarted, a recording looped): it is counted and the
    stream starts anew.

    Attributes
    ----------
    counts : EventCounts
    frame_id : str
        Of the last whole message.
    stamp_ns : int
        ``header.stamp`` of the last whole message, ns. No time of events.
    """

    TYPE = ''

    def __init__(self):
        self.counts = EventCounts()
        self.frame_id = ''
        self.stamp_ns = 0

    def push(self, data: bytes) -> EventBatch:
        """
        Return the events of one message, given its CDR bytes with encapsulation.

        Raises
        ------
        MessageError
            If the bytes are no whole message; the decoder goes on with the next one.
        """
        self._part = 'header'  # that is read; for the error if the bytes end
        try:
            return self._decode(_Message(data, self.TYPE))
        except (IndexError, MessageError) as error:
            counts = self.counts
            self.counts = counts._replace(
                messages=counts.messages + 1, malformed=counts.malformed + 1
            )
            if isinstance(error, MessageError):
                raise
            raise MessageError(
                '{} ends inside its {}: {} of {} bytes; is the topic of another type, or was the '
                'message cut?'.format(self.TYPE, self._part, len(data), error)
            ) from error

    def _decode(self, cdr: '_Message') -> EventBatch:
        raise NotImplementedError


class EventArrayDecoder(MessageDecoder):
    """
    Decoder of one topic of ``EventArray`` messages.

    Examples
    --------
    >>> decoder = EventArrayDecoder()
    >>> decoder.push(encode_event_array(EventBatch.empty(346, 260)))
    EventBatch(0 events, 346 x 260)
    """

    TYPE = 'EventArray'

    def __init__(self):
        super().__init__()
        self._last_ns = NO_TIME

    def _decode(self, message):
        cdr, raw = message.cdr, message.raw
        width, height = message.sensor()
        count = cdr.uint32()
        start, self._part = cdr.at, 'events'
        if count:
            cdr.need(ELEMENT_SIZE * (count - 1) + LAST_ELEMENT_SIZE)
        self.frame_id, self.stamp_ns = message.frame_id, message.stamp_ns
        counts = self.counts
        if not count:
            self.counts = counts._replace(messages=counts.messages + 1)
            return EventBatch.empty(width, height)

        place = raw, start, count, cdr.is_swapped, width, height
        columns = x, y, t, p = empty_columns(count)
        (kept, outside, backwards), is_reset = self._decode_events(place, columns)
        if kept:
            self._last_ns = int(t[kept - 1])
        self.counts = counts._replace(
            messages=counts.messages + 1,
            events=counts.events + kept,
            out_of_bounds=counts.out_of_bounds + outside,
            time_reversed=counts.time_reversed + backwards,
            clock_resets=counts.clock_resets + is_reset,
        )
        return EventBatch.trusted(x[:kept], y[:kept], t[:kept], p[:kept], width, height)

    def _decode_events(self, place, columns):
        """Fill the columns; return what the kernel counted, and whether the clock is a new one."""
        found = kept, _, backwards = _kernels.decode_event_array(*place, self._last_ns, *columns)
        if kept or not backwards:
            return found, False
        as_new = _kernels.decode_event_array(*place, NO_TIME, *columns)
        is_reset = bool(columns[2][0] < self._last_ns - CLOCK_RESET_NS)
        return as_new if is_reset else found, is_reset


class EventPacketDecoder(MessageDecoder):
    """
    Decoder of one topic of ``EventPacket`` messages, in any encoding that drivers send.

    Numbers (``seq``) that were left out count as lost. What the decoder then knows no longer, such
    as the row of the next events, it waits for. Numbers that go back mean another driver.

    Examples
    --------
    >>> decoder = EventPacketDecoder()
    >>> decoder.push(encode_event_packet(EventBatch.empty(346, 260)))
    EventBatch(0 events, 346 x 260)
    """

    TYPE = 'EventPacket'

    def __init__(self):
        super().__init__()
        self._codec, self._codec_counts = None, CodecCounts()
        self._sensor = None  # encoding, width, height
        self._seq = None
        self._last_stamp_ns = 0

    def _decode(self, message):
        cdr, raw = message.cdr, message.raw
        width, height = message.sensor()
        seq, time_base_ns = cdr.uint64(), cdr.uint64()
        encoding = cdr.string().decode(errors='replace')
        is_bigendian = cdr.uint8()
        size = cdr.uint32()
        self._part = 'events'
        payload = raw[cdr.at : cdr.need(size)]
        if encoding not in ENCODINGS:
            raise MessageError(
                'EventPacket has the encoding {!r}, known are {}: set one of these in the '
                'driver'.format(encoding, ', '.join(ENCODINGS))
            )
        word_size = TRIGGER_SIZE if encoding == 'trigger' else CODECS[encoding].word_size
        if size % word_size:
            raise MessageError(
                'EventPacket of {} has {} bytes of events, no multiple of {}: was it cut?'.format(
                    encoding, size, word_size
                )
            )
        if time_base_ns >= LATEST_TIME_BASE_NS:
            raise MessageError(
                'EventPacket has the time base {} ns, below {} expected: is the clock of the '
                "driver's host right?".format(time_base_ns, LATEST_TIME_BASE_NS)
            )
        self.frame_id, self.stamp_ns = message.frame_id, message.stamp_ns
        if encoding == 'trigger':
            counts = self.counts
            self.counts = counts._replace(
                messages=counts.messages + 1, triggers=counts.triggers + size // word_size
            )
            return EventBatch.empty(width, height)
        if is_bigendian:
            field_size = CODECS[encoding].field_size
            payload = payload.reshape(-1, field_size)[:, ::-1].copy().ravel()
        missed = self._follow(seq, encoding, width, height)
        return self._decode_payload(payload, time_base_ns, missed)

    def _follow(self, seq, encoding, width, height) -> int:
        """Make the codec ready for the packet with this number; return how many are missing."""
        missed = 0 if self._seq is None else seq - self._seq - 1
        self._seq = seq
        if (encoding, width, height) != self._sensor:
            self._sensor = encoding, width, height
            self._codec, self._codec_counts = open_codec(*self._sensor), CodecCounts()
        elif missed < 0:
            self._codec.reset()
        elif missed:
            self._codec.lost()
        return max(0, missed)

    def _decode_payload(self, payload, time_base_ns, missed):
        last_ns, elapsed_ns = self._codec.last_ns, self.stamp_ns - self._last_stamp_ns
        batch = self._codec.push(payload, time_base_ns)
        if missed and len(batch) and elapsed_ns < LONGEST_LOSS_NS:
            batch = self._codec.follow_turns(batch, last_ns + elapsed_ns)
        self._last_stamp_ns = self.stamp_ns
        counts = self.counts._asdict()
        for name, now, then in zip(CodecCounts._fields, self._codec.counts, self._codec_counts):
            counts[name] += now - then
        counts['messages'] += 1
        counts['lost'] += missed
        self.counts, self._codec_counts = EventCounts(**counts), self._codec.counts
        return batch


class _Message:
    """A reader of a message's bytes, past its header."""

    __slots__ = ('cdr', 'raw', 'type_name', 'stamp_ns', 'frame_id')

    def __init__(self, data, type_name):
        self.type_name = type_name
        self.raw = np.frombuffer(data, np.uint8)
        self.cdr = cdr = _kernels.CdrReader(self.raw)
        if self.raw[0] != 0 or self.raw[1] > 1:
            raise MessageError(
                '{} must be plain CDR (00 00 or 00 01), got {:02x} {:02x}: is the topic of '
                'another type?'.format(type_name, self.raw[0], self.raw[1])
            )
        self.stamp_ns, frame_id = cdr.header()
        self.frame_id = frame_id.decode(errors='replace')

    def sensor(self):
        """Return the sensor's width and height, which come next."""
        height, width = self.cdr.uint32(), self.cdr.uint32()
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise MessageError(
                '{} tells a sensor of {} x {}, 1 to {} expected: set width and height in the '
                'driver'.format(self.type_name, width, height, MAX_SIDE)
            )
        return width, height


def _pack_header(stamp_ns: int, frame_id: str) -> bytes:
    """Return encapsulation and header in little-endian CDR, padded for an integer to follow."""
    if not -(1 << 31) <= stamp_ns // NS_PER_S < 1 << 31:
        raise ValueError('times must fit int32 seconds, got {} ns'.format(stamp_ns))
    name = frame_id.encode() + b'\0'
    header = struct.pack(
        '<4BiII', 0, 1, 0, 0, stamp_ns // NS_PER_S, stamp_ns % NS_PER_S, len(name)
    )
    return header + name + b'\0' * (-len(name) % 4)


def encode_event_array(batch: EventBatch, stamp_ns: int = 0, frame_id: str = '') -> bytes:
    """
    Return the little-endian CDR bytes of an ``EventArray`` with these events.

    Raises
    ------
    ValueError
        If a time does not fit ``builtin_interfaces/Time`` (int32 seconds).
    """
    bounds = [int(batch.t[0]), int(batch.t[-1])] if len(batch) else []
    if not all(-(1 << 31) <= ns // NS_PER_S < 1 << 31 for ns in bounds):
        raise ValueError('times must fit int32 seconds, got {} ns'.format(bounds))
    header = _pack_header(stamp_ns, frame_id)
    header += struct.pack('<3I', batch.height, batch.width, len(batch))
    if not len(batch):
        return header
    out = bytearray(len(header) + ELEMENT_SIZE * (len(batch) - 1) + LAST_ELEMENT_SIZE)
    out[: len(header)] = header
    _kernels.encode_event_array(batch.x, batch.y, batch.t, batch.p, out, len(header))
    return bytes(out)


def encode_event_packet(
    batch: EventBatch, stamp_ns: int = 0, frame_id: str = '', seq: int = 0
) -> bytes:
    """
    Return the little-endian CDR bytes of an ``EventPacket`` with these events as EVT3.

    A decoder gets the times back in whole us from the first turn of EVT3's clock on, as from a
    sensor that started less than 2^24 us before the first event.

    Raises
    ------
    ValueError
        If the sensor is too large for EVT3, or the stamp does not fit int32 seconds.
    """
    payload = encode_evt3(batch)
    head = _pack_header(stamp_ns, frame_id)
    head += struct.pack('<2I', batch.height, batch.width)
    head += b'\0' * (-(len(head) - 4) % 8)
    head += struct.pack('<QQI5s?', seq, 0, 5, b'evt3\0', False)
    head += b'\0' * (-len(head) % 4)
    return head + struct.pack('<I', len(payload)) + payload


# ROS types of which a decoder knows the layout; both families were renamed over the years.
DECODERS = {
    'dv_ros2_msgs/msg/EventArray': EventArrayDecoder,
    'dvs_msgs/msg/EventArray': EventArrayDecoder,
    'prophesee_event_msgs/msg/EventArray': EventArrayDecoder,
    'event_camera_msgs/msg/EventPacket': EventPacketDecoder,
    'event_array_msgs/msg/EventArray': EventPacketDecoder,
}

# Of the types that a player publishes: by a short name the ROS type, and what makes its bytes.
ENCODERS = {
    'event_array': ('dv_ros2_msgs/msg/EventArray', encode_event_array),
    'event_packet': ('event_camera_msgs/msg/EventPacket', encode_event_packet),
}


def open_decoder(type_name: str) -> MessageDecoder:
    """
    Return a decoder for a topic of this ROS type.

    Raises
    ------
    MessageError
        If the type is none of ``DECODERS``.
    """
    if type_name not in DECODERS:
        raise MessageError(
            'type {} carries no events that are known: publish {}'.format(
                type_name, ' or '.join(sorted(DECODERS))
            )
        )
    return DECODERS[type_name]()
