"""
MCAP files, as far as reading the messages of one topic needs them.

A file is a magic word and records (kind, size, content); messages lie in compressed chunks. A
summary at the end tells topics, counts and where the chunks are. Where a recorder was killed there
is none, and the records are read one after the other.

Source: mcap.dev/spec. The mcap package needs a newer Python than the 3.6 of a Jetson Nano; it is
the oracle of the tests.
"""

import collections
import os
import struct
import zlib
from typing import Collection, Dict, Iterator, NamedTuple, Optional, Tuple

from cs3d_ros.events.recordings import compression
from cs3d_ros.events.recordings.compression import PackingError
from cs3d_ros.events.recordings.recording import RecordingError

MAGIC = b'\x89MCAP0\r\n'
RECORD = struct.Struct('<BQ')  # kind, size of content
FOOTER_SIZE = 20  # bytes
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = (
    2,
    3,
    4,
    5,
    6,
    8,
    11,
    15,
)
PACKINGS = {'': 'none', 'lz4': 'lz4', 'zstd': 'zstd'}


class _Chunk(NamedTuple):
    """A chunk as the summary tells it."""

    at: int
    last_log_ns: int
    channels: Tuple[int, ...]  # that it has messages of; empty where that is not told


class McapFile:
    """
    One MCAP file of a bag.

    Parameters
    ----------
    path : str
    types : collection of str
        Message types that are looked for.

    Attributes
    ----------
    progress : float
        Share of the file that was read, 0 to 1.
    is_cut : bool
        Whether the file ended within a record.
    """

    def __init__(self, path: str, types: Collection[str]):
        self._path = path
        self._size = os.path.getsize(path)
        self.progress, self.is_cut = 0.0, False
        self._forget()
        self._file = open(path, 'rb')
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise PackingError('it does not begin as MCAP does')
            if not self._read_summary():
                self._forget()
                self._read_until_one_of(types)
        except PackingError as error:
            self.close()
            raise self._damaged(error) from error

    def _forget(self):
        self._schemas, self._channels = {}, {}  # by number: type; (topic, type)
        self._counts, self._chunks = {}, []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _damaged(self, error):
        return RecordingError('{} is damaged: {}'.format(self._path, error))

    @property
    def topics(self) -> Dict[str, str]:
        """Types of the messages in CDR, by topic."""
        return dict(self._channels.values())

    def count(self, topic: str) -> int:
        """Return the number of messages of a topic; 0 without a summary."""
        return sum(count for channel, count in self._counts.items() if self._is(channel, topic))

    def messages(self, topic: str, start_ns: Optional[int] = None) -> Iterator[Tuple[int, bytes]]:
        """
        Yield (log time, bytes) of the messages of a topic in the order of the file.

        With ``start_ns`` only those logged from then on, by the summary where there is one.
        """
        self.progress, self.is_cut = 0.0, False
        try:
            for kind, content in self._records_of(topic, start_ns):
                for channel, log_ns, data in self._take(kind, content):
                    if self._is(channel, topic) and (start_ns is None or log_ns >= start_ns):
                        yield log_ns, data
        except PackingError as error:
            raise self._damaged(error) from error

    def last_message(self, topic: str) -> Optional[Tuple[int, bytes]]:
        """Return (log time, bytes) of the last one; None without a summary to find it by."""
        chunks = self._chunks_of(topic)
        if not chunks:
            return None
        start_ns = max(chunk.last_log_ns for chunk in chunks)
        return next(iter(collections.deque(self.messages(topic, start_ns), 1)), None)

    def _is(self, channel, topic):
        return channel in self._channels and self._channels[channel][0] == topic

    def _chunks_of(self, topic):
        return [
            chunk
            for chunk in self._chunks
            if not chunk.channels or any(self._is(channel, topic) for channel in chunk.channels)
        ]

    def _records_of(self, topic, start_ns):
        if not self._chunks:
            yield from self._records(len(MAGIC))
            return
        for chunk in self._chunks_of(topic):
            if start_ns is None or chunk.last_log_ns >= start_ns:
                for record in self._records(chunk.at):
                    yield record
                    break

    def _records(self, at):
        """Yield (kind, content) of what is of use, from an offset to the end of the data."""
        while True:
            self._file.seek(at)
            head = self._file.read(RECORD.size)
            kind, size = RECORD.unpack(head) if len(head) == RECORD.size else (0, 0)
            if kind in (DATA_END, FOOTER):
                return
            self.is_cut = len(head) < RECORD.size or at + RECORD.size + size > self._size
            if self.is_cut:
                return
            if not kind:
                raise PackingError('no record begins at byte {}'.format(at))
            self.progress = at / self._size
            if kind in (SCHEMA, CHANNEL, MESSAGE, CHUNK):
                if size > compression.LARGEST:
                    raise PackingError('a record at byte {} claims {} bytes'.format(at, size))
                yield kind, self._file.read(size)
            at += RECORD.size + size

    def _take(self, kind, content):
        """Yield (channel, log time, bytes) of the messages of a record; learn what it tells."""
        fields = _Fields(content)
        if kind == SCHEMA:
            number, name = fields.take('H'), fields.text()
            self._schemas[number] = name
        elif kind == CHANNEL:
            number, schema = fields.take('HH')
            topic, encoding = fields.text(), fields.text()
            if encoding == 'cdr':
                self._channels[number] = topic, self._schemas.get(schema, '')
        elif kind == MESSAGE:
            channel, _, log_ns, _ = fields.take('HIQQ')
            yield channel, log_ns, bytes(fields.rest())
        elif kind == CHUNK:
            for inner in _split(_unpacked(fields)):
                yield from self._take(*inner)

    def _read_until_one_of(self, types):
        for record in self._records(len(MAGIC)):
            for _ in self._take(*record):
                pass
            if any(kind in types for _, kind in self._channels.values()):
                return

    def _read_summary(self):
        """Return whether there was a summary that tells where the messages are."""
        footer_at = self._size - len(MAGIC) - FOOTER_SIZE - RECORD.size
        if footer_at < len(MAGIC):
            return False
        self._file.seek(footer_at)
        footer = _Fields(self._file.read())
        kind, size, summary_at, _, _ = footer.take('BQQQI')
        is_footer = (kind, size, footer.rest()) == (FOOTER, FOOTER_SIZE, MAGIC)
        if not (is_footer and len(MAGIC) < summary_at < footer_at):
            return False
        if footer_at - summary_at > compression.LARGEST:
            return False
        self._file.seek(summary_at)
        try:
            for kind, content in _split(self._file.read(footer_at - summary_at)):
                self._learn(kind, content)
        except PackingError:
            return False  # the records are there all the same
        self._chunks.sort()
        return bool(self._channels)

    def _learn(self, kind, content):
        if kind in (SCHEMA, CHANNEL):
            for _ in self._take(kind, content):
                pass
        elif kind == STATISTICS:
            fields = _Fields(content)
            fields.take('QHIIIIQQ')
            self._counts = dict(fields.pairs('HQ'))
        elif kind == CHUNK_INDEX:
            fields = _Fields(content)
            _, last_log_ns, at, _ = fields.take('QQQQ')
            if at >= self._size:
                raise PackingError('a chunk lies behind the end of the file')
            channels = tuple(channel for channel, _ in fields.pairs('HQ'))
            self._chunks.append(_Chunk(at, last_log_ns, channels))


class _Fields:
    """The content of a record, field by field."""

    def __init__(self, content):
        self._content = memoryview(content)
        self._at = 0

    def take(self, layout):
        """Return one or several numbers of a struct layout."""
        numbers = struct.unpack('<' + layout, self._raw(struct.calcsize('<' + layout)))
        return numbers[0] if len(numbers) == 1 else numbers

    def text(self):
        """Return a string."""
        return bytes(self._raw(self.take('I'))).decode('utf-8', 'replace')

    def pairs(self, layout):
        """Return the pairs of a map."""
        data = self._raw(self.take('I'))
        if len(data) % struct.calcsize('<' + layout):
            raise PackingError('a map of {} bytes'.format(len(data)))
        return list(struct.iter_unpack('<' + layout, data))

    def rest(self):
        """Return the bytes that are left."""
        return self._content[self._at :]

    def _raw(self, size):
        data = self._content[self._at : self._at + size]
        if len(data) < size:
            raise PackingError('a record ends inside a field')
        self._at += size
        return data


def _split(data):
    """Yield (kind, content) of the records that fill a buffer."""
    data = memoryview(data)
    at = 0
    while at < len(data):
        if at + RECORD.size > len(data):
            raise PackingError('a record has no size')
        kind, size = RECORD.unpack_from(data, at)
        at += RECORD.size
        if size > len(data) - at:
            raise PackingError('a record claims {} bytes of {}'.format(size, len(data) - at))
        yield kind, data[at : at + size]
        at += size


def _unpacked(fields):
    """Return the records of a chunk."""
    _, _, _, crc = fields.take('QQQI')
    packing = fields.text()
    if packing not in PACKINGS:
        raise PackingError('a chunk is packed with {!r}, which is not known'.format(packing))
    size = fields.take('Q')
    data = fields.rest()
    if size > len(data):
        raise PackingError('a chunk claims {} bytes of {}'.format(size, len(data)))
    records = compression.unpack(PACKINGS[packing], bytes(data[:size]))
    if crc and zlib.crc32(records) != crc:
        raise PackingError('the checksum of a chunk is wrong')
    return records
