"""
Bags of ROS 2: a folder of SQLite or MCAP files, or one such file alone, perhaps packed by zstd.

Event times are those within the messages; the times of the log only tell where to look.
"""

import contextlib
import json
import os
import re
import tempfile

from cs3d_ros.events.codecs import CLOCK_RESET_NS
from cs3d_ros.events.messages import (
    DECODERS,
    EventArrayDecoder,
    MessageError,
    encode_event_array,
    open_decoder,
)
from cs3d_ros.events.recordings import bag_sqlite3, compression, mcap
from cs3d_ros.events.recordings.compression import PackingError
from cs3d_ros.events.recordings.recording import (
    DEFAULT_BATCH_NS,
    Recording,
    RecordingError,
    check_written_size,
    cut,
)

METADATA = 'metadata.yaml'
SUFFIXES = ('.db3', '.mcap', '.db3.zstd', '.mcap.zstd')
ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
SQLITE_MAGIC = b'SQLite format 3\0'
SEEK_NS = 1_000_000  # of log time, that seeking comes near to before it reads on
TOPIC, TYPE = '/events', 'dv_ros2_msgs/msg/EventArray'  # of the bags written here
MESSAGE_EVENTS = 20_000  # most of a message: 320 kB, below the 512 KiB that Fast DDS passes


class BagRecording(Recording):
    """
    The events of one topic of a bag.

    Of several topics with events the one with the most messages, unless ``topic`` names another.

    Attributes
    ----------
    topic : str
        The topic that is read.
    """

    kind = 'rosbag2'

    def __init__(self, path, topic=None):
        self._paths = _find_files(path)
        self.topic, self._type = _choose_topic(self._paths, topic, path)
        first = next(self._decoded(None), None)
        if first is None:
            raise RecordingError(
                '{} holds no events in {}, {} malformed messages'.format(
                    path, self.topic, self.malformed
                )
            )
        super().__init__(path, first.width, first.height, first.t[0], self._find_end())

    def _find_end(self):
        """Return the last time; None where only reading all tells it, or clocks began anew."""
        # the times of other types are not whole in a message by itself
        is_absolute = DECODERS[self._type] is EventArrayDecoder
        if not is_absolute or len(self._paths) > 1 and any(map(_is_packed, self._paths)):
            return None
        try:
            spans = [span for path in self._paths for span in self._spans(path)]
        except RecordingError:  # damage is told where reading comes to it
            return None
        if None in spans:
            return None
        # where the clock of the events falls back, that of the log goes on
        lags = [log_ns - start_ns for log_ns, start_ns, _ in spans]
        falls = [end_ns - start_ns for (_, _, end_ns), (_, start_ns, _) in zip(spans, spans[1:])]
        is_one_clock = max([max(lags) - min(lags)] + falls) <= CLOCK_RESET_NS
        return spans[-1][2] if is_one_clock else None

    def _spans(self, path):
        """Return log time, first and last event time of a file's first and last message."""
        with _open_file(path) as file:
            if self.topic not in file.topics:
                return []
            first = next(filter(None, map(self._span, file.messages(self.topic))), None)
            last = self._span(file.last_message(self.topic))
        return [first] if first == last else [first, last]

    def _span(self, message):
        times = self._times(message)
        return None if times is None else (message[0], int(times[0]), int(times[-1]))

    def _times(self, message):
        """Return the times of the events of a (log time, bytes), None without any."""
        with contextlib.suppress(MessageError, PackingError, TypeError):
            times = open_decoder(self._type).push(_plain(message[1])).t
            return times if len(times) else None
        return None

    def _packets(self, start_ns):
        for batch in self._decoded(start_ns):
            if (batch.width, batch.height) != (self.width, self.height):
                raise RecordingError(
                    '{} changes its sensor from {} x {} to {} x {}: cut it there'.format(
                        self.path, self.width, self.height, batch.width, batch.height
                    )
                )
            yield batch

    def _decoded(self, start_ns):
        decoder = open_decoder(self._type)
        for number, path in enumerate(self._paths):
            with _open_file(path) as file:
                if self.topic not in file.topics:
                    continue
                for _, data in file.messages(self.topic, self._seek(file, start_ns)):
                    self.progress = (number + file.progress) / len(self._paths)
                    batch = self._decode(decoder, data)
                    if len(batch):
                        yield batch
                self.is_cut |= file.is_cut

    def _decode(self, decoder, data):
        before = decoder.counts
        try:
            batch = decoder.push(_plain(data))
        except (MessageError, PackingError):
            self.malformed += 1
            return ()
        self.out_of_bounds += decoder.counts.out_of_bounds - before.out_of_bounds
        self.time_reversed += decoder.counts.time_reversed - before.time_reversed
        return batch

    def _seek(self, file, start_ns):
        """Return a log time before which all events are older; None where that is not known."""
        if start_ns is None or self.end_ns is None:
            return None
        last = file.last_message(self.topic)
        if last is None:
            return None
        low, high = next(file.messages(self.topic))[0], last[0]
        while high - low > SEEK_NS:
            middle = (low + high) // 2
            times = self._times(next(file.messages(self.topic, middle), None))
            if times is not None and times[0] < start_ns:
                low = middle
            else:
                high = middle
        return low


def _plain(data):
    """Return a message as it was sent: bags may pack each by itself."""
    return compression.unpack('zstd', data) if data.startswith(ZSTD_MAGIC) else data


def _find_files(path):
    """Return the files of a bag in order."""
    if not os.path.isdir(path):
        return [path]
    names = [name for name in os.listdir(path) if name.lower().endswith(SUFFIXES)]
    if not names:
        raise RecordingError(
            '{} holds no file of a bag ({}): is it the folder with {}?'.format(
                path, ', '.join(SUFFIXES), METADATA
            )
        )
    # bag_2 comes before bag_10
    names.sort(key=lambda name: [int(part) if part.isdigit() else part for part in _PARTS(name)])
    return [os.path.join(path, name) for name in names]


_PARTS = re.compile('([0-9]+)').split


def _choose_topic(paths, wanted, path):
    """Return (topic, type) from the first file that has one with events."""
    seen = {}
    for each in paths:
        with _open_file(each) as file:
            seen.update(file.topics)
            chosen = [
                topic
                for topic, kind in sorted(file.topics.items())
                if kind in DECODERS and wanted in (None, topic)
            ]
            if len(chosen) > 1:
                chosen.sort(key=file.count, reverse=True)
            if chosen:
                return chosen[0], file.topics[chosen[0]]
    raise RecordingError(
        '{} has no topic {}with events, only {}'.format(
            path,
            wanted + ' ' if wanted else '',
            ', '.join('{} ({})'.format(*each) for each in sorted(seen.items())) or 'none',
        )
    )


@contextlib.contextmanager
def _open_file(path):
    """Open one file of a bag, unpacked into a temporary one if it must be."""
    with contextlib.ExitStack() as stack:
        if _is_packed(path):
            plain = stack.enter_context(tempfile.NamedTemporaryFile(prefix='cs3d-bag-'))
            compression.unpack_file(path, plain)
            path = plain.name
        with open(path, 'rb') as file:
            head = file.read(len(SQLITE_MAGIC))
        if head == SQLITE_MAGIC:
            bag = bag_sqlite3.SqliteFile(path)
        elif head.startswith(mcap.MAGIC):
            bag = mcap.McapFile(path, DECODERS)
        else:
            raise RecordingError('{} is no file of a bag: neither SQLite nor MCAP'.format(path))
        stack.callback(bag.close)
        yield bag


def _is_packed(path):
    with open(path, 'rb') as file:
        return file.read(len(ZSTD_MAGIC)) == ZSTD_MAGIC


def write(path, batches, width, height):
    """Write a bag folder, or the file alone for a path that ends in ``.db3``."""
    check_written_size(path, width, height)
    if path.lower().endswith('.db3'):
        return _write_file(path, batches)[1]
    name = os.path.basename(path) + '_0.db3'
    quoted = _quoted(name)
    os.mkdir(path)
    messages, count, first_ns, last_ns = _write_file(os.path.join(path, name), batches)
    with open(os.path.join(path, METADATA), 'w', encoding='utf-8') as file:
        file.write(
            _METADATA_TEXT.format(
                start=first_ns,
                duration=last_ns - first_ns,
                messages=messages,
                topic=TOPIC,
                type=TYPE,
                name=quoted,
            )
        )
    return count


def _quoted(name):
    """Return a file name as YAML, which is in UTF-8 whatever the locale."""
    try:
        return json.dumps(os.fsencode(name).decode('utf-8'), ensure_ascii=False)
    except UnicodeDecodeError:
        raise RecordingError(
            'a bag tells the names of its files in UTF-8, got {!r}: choose another'.format(name)
        ) from None


def _write_file(path, batches):
    """Return (messages, events, first and last log time) of what was written."""
    logged, count = [0, 0, 0], 0

    def messages():
        nonlocal count
        for batch in cut(batches, DEFAULT_BATCH_NS, MESSAGE_EVENTS):
            start_ns = int(batch.t[0])
            if start_ns < 0:
                raise RecordingError('a bag has no time before 0, got {} ns'.format(start_ns))
            try:
                data = encode_event_array(batch, start_ns)
            except ValueError as error:
                raise RecordingError('a bag cannot tell these times: {}'.format(error)) from error
            if not logged[0]:
                logged[1] = start_ns
            logged[0] += 1
            logged[2] = start_ns
            count += len(batch)
            yield start_ns, data

    bag_sqlite3.write(path, TOPIC, TYPE, _DEFINITION, messages())
    return (logged[0], count, logged[1], logged[2])


# Version 5 is what Humble writes; later distributions read it, and Humble reads no later one.
# Source: ros2/rosbag2, rosbag2_storage/yaml.hpp.
_METADATA_TEXT = """rosbag2_bagfile_information:
  version: 5
  storage_identifier: sqlite3
  duration:
    nanoseconds: {duration}
  starting_time:
    nanoseconds_since_epoch: {start}
  message_count: {messages}
  topics_with_message_count:
    - topic_metadata:
        name: {topic}
        type: {type}
        serialization_format: cdr
        offered_qos_profiles: ""
      message_count: {messages}
  compression_format: ""
  compression_mode: ""
  relative_file_paths:
    - {name}
  files:
    - path: {name}
      starting_time:
        nanoseconds_since_epoch: {start}
      duration:
        nanoseconds: {duration}
      message_count: {messages}
"""
_RULE = '=' * 80 + '\n'
_DEFINITION = (
    'std_msgs/Header header\nuint32 height\nuint32 width\nEvent[] events\n'
    + _RULE
    + 'MSG: dv_ros2_msgs/Event\n'
    'uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity\n'
    + _RULE
    + 'MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n'
    + _RULE
    + 'MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
)
