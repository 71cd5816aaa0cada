"""
AEDAT 4: what iniVation's cameras and software record; whole microseconds.

A magic line, a FlatBuffer that tells compression, streams (as XML) and where the table of all
packets lies; then packets, each compressed as a whole; then that table. A recorder that was killed
leaves no table: such a file is read through, up to the cut.

Source: docs.inivation.com, "AEDAT 4.0", and its FlatBuffer schemas IOHeader, EventPacket and
FileDataTable; checked against dv-processing in both directions by the tests.
"""

import os
import struct
import xml.etree.ElementTree
from typing import NamedTuple

import numpy as np

from cs3d_ros.events.batch import NO_TIME, EventBatch, empty_columns
from cs3d_ros.events.codecs import CLOCK_RESET_NS
from cs3d_ros.events.recordings import _aedat4, _flatbuffer, compression
from cs3d_ros.events.recordings._flatbuffer import FlatBufferError
from cs3d_ros.events.recordings.compression import PackingError
from cs3d_ros.events.recordings.recording import (
    DEFAULT_BATCH_NS,
    LAST_NS,
    NS_PER_US,
    Recording,
    RecordingError,
    check_written_size,
    cut,
)

MAGIC = b'#!AER-DAT4.0\r\n'
LARGEST_HEADER = 1 << 24  # bytes; real ones have some thousands
PACKET = struct.Struct('<ii')  # stream, size of the payload
EVENT = np.dtype(
    {
        'names': ['t', 'x', 'y', 'p'],
        'formats': ['<i8', '<u2', '<u2', 'u1'],
        'offsets': [0, 8, 10, 12],
        'itemsize': 16,
    }
)
WIDEST = 1 << 15  # pixels, coordinates being int16
PIECE = 1 << 20  # events handed on at a time, as a packet may hold many more
# By their numbers in the header: how to unpack, level to pack with.
COMPRESSIONS = (
    ('NONE', 'none', 0),
    ('LZ4', 'lz4', 0),
    ('LZ4_HIGH', 'lz4', 9),
    ('ZSTD', 'zstd', 3),
    ('ZSTD_HIGH', 'zstd', 9),
)
# A packet as the table tells it: one row of five fields, the second a struct of two.
ENTRY = np.dtype(
    [
        ('at', '<i8'),  # of the payload, behind its header
        ('stream', '<i4'),
        ('size', '<i4'),
        ('count', '<i8'),
        ('start_us', '<i8'),
        ('end_us', '<i8'),
    ]
)
PACKET_EVENTS = 20_000  # most events of a packet written here; some 10 ms of a busy camera


class _Header(NamedTuple):
    """What stands before the packets."""

    packing: str  # as compression.unpack calls it
    stream: int  # of the events
    streams: frozenset
    width: int
    height: int
    packets_at: int  # bytes
    table_at: int  # -1: none


class Aedat4Recording(Recording):
    """The first event stream of an AEDAT 4 file; frames, IMU and triggers are passed over."""

    kind = 'aedat4'

    def __init__(self, path):
        self._path = path
        self._size = os.path.getsize(path)
        with open(path, 'rb') as file:
            self._header = header = _read_header(file, path, self._size)
            self._table = _read_table(file, header, self._size)
            first = next(self._events(file, None), None)
        if first is None:
            raise RecordingError('{} holds no events'.format(path))
        end_ns = count = None
        if self._table is not None:
            if not _has_clock_resets(self._table):
                end_ns = int(self._table['end_us'].max()) * NS_PER_US
            count = int(self._table['count'].sum())
        super().__init__(path, header.width, header.height, first.t[0], end_ns, count)

    def _packets(self, start_ns):
        with open(self._path, 'rb') as file:
            yield from self._events(file, start_ns)

    def _events(self, file, start_ns):
        """Yield batches of what is within the sensor and does not go back within its packet."""
        for at, size in self._places(file, start_ns):
            try:
                if size > compression.LARGEST:
                    raise PackingError('it claims {} bytes'.format(size))
                file.seek(at)
                payload = file.read(size)
                if len(payload) < size:
                    self.is_cut = True
                    return
                data = compression.unpack(self._header.packing, payload)
                first, count = _flatbuffer.root(data, b'EVTS').vector(0, EVENT.itemsize)
            except (PackingError, FlatBufferError) as error:
                raise self._damaged(at, error) from error
            self.progress = at / self._size
            raw, last_ns = np.frombuffer(data, np.uint8), NO_TIME
            for skipped in range(0, count, PIECE):
                start = first + skipped * EVENT.itemsize
                batch = self._decode(at, raw, start, min(PIECE, count - skipped), last_ns)
                if len(batch):
                    last_ns = int(batch.t[-1])
                    yield batch

    def _decode(self, at, raw, start, count, last_ns) -> EventBatch:
        width, height = self._header.width, self._header.height
        x, y, t, p = empty_columns(count)
        kept, outside, backwards, beyond = _aedat4.decode_events(
            raw, start, count, width, height, last_ns, x, y, t, p
        )
        if beyond:
            raise self._damaged(at, 'it tells times that 64 bits of ns do not hold')
        self.out_of_bounds += outside
        self.time_reversed += backwards
        return EventBatch.trusted(x[:kept], y[:kept], t[:kept], p[:kept], width, height)

    def _damaged(self, at, what):
        return RecordingError(
            '{} is damaged in the packet at byte {}: {}'.format(self._path, at, what)
        )

    def _places(self, file, start_ns):
        """Yield (offset, size of payload) of the packets of events that may reach the time."""
        if self._table is None:
            yield from self._walk(file)
            return
        first = 0
        if start_ns is not None and self.end_ns is not None:
            # latest end so far: never falls, whatever single packets tell
            ends = np.maximum.accumulate(self._table['end_us'])
            first = int(np.searchsorted(ends, start_ns // NS_PER_US))
        for entry in self._table[first:]:
            yield int(entry['at']), int(entry['size'])

    def _walk(self, file):
        """Go from packet to packet up to the table, or to where the file was cut."""
        header, at = self._header, self._header.packets_at
        end = header.table_at if at <= header.table_at < self._size else self._size
        while at < end:
            file.seek(at)
            head = file.read(PACKET.size)
            if len(head) < PACKET.size:
                self.is_cut = True
                return
            stream, size = PACKET.unpack(head)
            if size < 0 or stream not in header.streams:
                raise self._damaged(at, 'it is of stream {} with {} bytes'.format(stream, size))
            self.is_cut = at + PACKET.size + size > self._size
            if stream == header.stream:
                yield at + PACKET.size, size
            at += PACKET.size + size


def _read_header(file, path, file_size):
    try:
        if file.read(len(MAGIC)) != MAGIC:
            raise FlatBufferError('it does not begin with {!r}'.format(MAGIC[:-2].decode()))
        prefix = file.read(4)
        size = _flatbuffer.unpack(prefix, '<I', 0)
        if size > min(LARGEST_HEADER, file_size):
            raise FlatBufferError('the header claims {} bytes'.format(size))
        table = _flatbuffer.root(prefix + file.read(size), b'IOHE')
        packing, table_at = table.number(0, 'i'), table.number(1, 'q', -1)
        if not 0 <= packing < len(COMPRESSIONS):
            raise FlatBufferError('it tells of compression {}, known are 0 to 4'.format(packing))
        streams, events = _read_streams(table.text(2))
    except (FlatBufferError, xml.etree.ElementTree.ParseError) as error:
        raise RecordingError('{} is no whole AEDAT 4 file: {}'.format(path, error)) from error
    if not events:
        raise RecordingError(
            '{} holds no event stream, only {}'.format(path, ', '.join(streams.values()) or 'none')
        )
    stream, width, height = events[0]
    if not (0 < width <= WIDEST and 0 < height <= WIDEST):
        raise RecordingError(
            '{} does not tell its sensor size, but {} x {}'.format(path, width, height)
        )
    return _Header(
        COMPRESSIONS[packing][1],
        stream,
        frozenset(streams),
        width,
        height,
        len(MAGIC) + 4 + size,
        table_at,
    )


def _read_streams(text):
    """Return ({number: kind}, [(number, width, height) of the event streams]) of the XML."""
    # a recorder declares no entities, and expanding them can fill the memory
    if '<!' in text:
        raise FlatBufferError('its description declares a document type')
    kinds, events = {}, []
    for node in xml.etree.ElementTree.fromstring(text).findall("./node[@name='outInfo']/node"):
        number = _integer(node.get('name'))
        kinds[number] = _attribute(node, 'typeIdentifier')
        info = node.find("./node[@name='info']")
        if kinds[number] == 'EVTS' and info is not None:
            sides = [_integer(_attribute(info, name)) for name in ('sizeX', 'sizeY')]
            events.append((number, *sides))
    return kinds, sorted(events)


def _attribute(node, key):
    found = node.find("./attr[@key='{}']".format(key))
    return '' if found is None else (found.text or '').strip()


def _integer(text):
    try:
        return int(text)
    except (TypeError, ValueError):
        return -1


def _read_table(file, header, file_size):
    """Return the packets of events, in the order of the file; None if the table is of no use."""
    if not header.packets_at <= header.table_at < file_size:
        return None
    file.seek(header.table_at)
    try:
        data = compression.unpack(header.packing, file.read(compression.LARGEST))
        rows = _flatbuffer.root(data, b'FTAB').rows(0, ENTRY, (0, 1, 2, 3, 4))
    except (PackingError, FlatBufferError):
        return None  # the packets are there all the same
    rows = rows[(rows['stream'] == header.stream) & (rows['count'] != 0)]
    rows = rows[np.argsort(rows['at'], kind='stable')]
    ends = rows['at'] + rows['size']
    is_sound = (
        (rows['size'] >= 0)
        & (rows['at'] >= np.append(header.packets_at, ends[:-1]) + PACKET.size)
        & (ends <= header.table_at)
        & (rows['count'] > 0)
        & (rows['count'] <= compression.LARGEST // EVENT.itemsize)
        & (rows['start_us'] <= rows['end_us'])
        & (abs(rows['end_us']) <= LAST_NS // NS_PER_US)
    )
    return rows if len(rows) and is_sound.all() else None


def _has_clock_resets(table):
    """Return whether packets show that the clock began anew, so that times do not tell places."""
    ends = np.maximum.accumulate(table['end_us'])
    return bool(np.any(table['start_us'][1:] < ends[:-1] - CLOCK_RESET_NS // NS_PER_US))


def write(path, batches, width, height, packing='ZSTD'):
    """Write a file with one event stream and the table of its packets; return how many events."""
    number = [each[0] for each in COMPRESSIONS].index(packing)
    _, kind, level = COMPRESSIONS[number]
    check_written_size(path, width, height, WIDEST)
    entries, count = [], 0
    with open(path, 'wb') as file:
        file.write(_header_bytes(number, -1, width, height))
        for batch in cut(batches, DEFAULT_BATCH_NS, PACKET_EVENTS):
            events = np.zeros(len(batch), EVENT)
            for name in 'xyp':
                events[name] = getattr(batch, name)
            events['t'] = batch.t // NS_PER_US
            payload = compression.pack(kind, _packet_bytes(events), level)
            times = int(events['t'][0]), int(events['t'][-1])
            entries.append((file.tell() + PACKET.size, 0, len(payload), len(batch)) + times)
            file.write(PACKET.pack(0, len(payload)) + payload)
            count += len(batch)
        table_at = file.tell()
        file.write(compression.pack(kind, _table_bytes(np.array(entries, ENTRY)), level))
        file.seek(0)
        file.write(_header_bytes(number, table_at, width, height))
    return count


def _header_bytes(packing, table_at, width, height):
    text = _description(COMPRESSIONS[packing][0], width, height).encode()
    # a vtable of three fields, then the table: compression, text, place of the table of packets
    content = struct.pack('<I4s6x5H', 24, b'IOHE', 10, 20, 4, 12, 8)
    content += struct.pack('<iiIq', 10, packing, 12, table_at)
    content += struct.pack('<I', len(text)) + text + b'\0'
    return MAGIC + _flatbuffer.prefixed(content + b'\0' * (-len(content) % 8))


def _description(packing, width, height):
    """Return the XML of one stream as dv-processing expects it."""
    nodes = (
        '<dv version="2.0"><node name="outInfo" path="/outInfo/">'
        '<node name="0" path="/outInfo/0/">{}<node name="info" path="/outInfo/0/info/">{}</node>'
        '</node></node></dv>'
    )
    attribute = '<attr key="{}" type="{}">{}</attr>'
    stream = (
        ('compression', 'string', packing),
        ('originalModuleName', 'string', 'cs3d_ros'),
        ('originalOutputName', 'string', 'events'),
        ('typeDescription', 'string', 'Array of events (polarity ON/OFF).'),
        ('typeIdentifier', 'string', 'EVTS'),
    )
    info = (('sizeX', 'int', width), ('sizeY', 'int', height), ('source', 'string', 'cs3d'))
    return nodes.format(
        ''.join(attribute.format(*each) for each in stream),
        ''.join(attribute.format(*each) for each in info),
    )


def _packet_bytes(events):
    # a vtable of one field, then the table: a vector
    head = struct.pack('<I4s2x3HiII', 16, b'EVTS', 6, 8, 4, 6, 4, len(events))
    return _flatbuffer.prefixed(head + events.tobytes())


def _table_bytes(entries):
    """Return the table of packets; one vtable serves all of its rows."""
    head = struct.pack('<I4s7H', 28, b'FTAB', 14, 44, 4, 12, 20, 28, 36)
    head += struct.pack('<3HiII', 6, 8, 4, 6, 4, len(entries))
    places = len(head) + 4 * np.arange(len(entries))
    first = len(head) + 4 * len(entries)
    first += -first % 8  # int64 fields lie on multiples of 8, counted from the size prefix
    rows = np.zeros(len(entries), [('vtable', '<i4'), ('entry', ENTRY), ('pad', '<i4')])
    rows_at = first + rows.itemsize * np.arange(len(entries))
    rows['vtable'] = rows_at - 8
    rows['entry'] = entries
    content = head + (rows_at - places).astype('<u4').tobytes()
    return _flatbuffer.prefixed(content + b'\0' * (first - len(content)) + rows.tobytes())
