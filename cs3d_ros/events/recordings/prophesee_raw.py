"""
Prophesee ``.raw``: lines of text, then what the camera sent, in EVT 2.0, 2.1 or 3.0.

Source: docs.prophesee.ai, "RAW File Format"; the sensors of old headers by system_ID and the rule
for the byte order of EVT 2.1 from prophesee-ai/openeb, psee_raw_file_header.cpp.
"""

import os
import re
from typing import Dict, NamedTuple

from cs3d_ros.events.codecs import open_codec
from cs3d_ros.events.recordings.recording import Recording, RecordingError, check_size

PIECE = 1 << 20  # bytes; EVT 3.0 tells up to 6 events a byte
LONGEST_HEADER = 1 << 16  # bytes; real ones have some hundreds
LINE = re.compile(rb'% ([\t\r -~\x80-\xff]{0,1000})\n')

VGA, HD, SQUARE = (640, 480), (1280, 720), (320, 320)
# (size, encoding unless told) of the cameras by their system_ID
SYSTEMS = {
    (VGA, 'evt2'): (21, 23, 25, 28, 29, 33, 34, 35, 41, 151, 153, 161, 162),
    (VGA, 'evt3'): (40,),
    (HD, 'evt2'): (26, 31, 39, 154),
    (HD, 'evt3'): (30, 32, 46, 48, 49, 50, 53, 58, 66),
    (SQUARE, 'evt3'): (59, 64),
}
# (size) by words in sensor_name, plugin_name or sensor_generation, the first that fits
SENSORS = (
    (re.compile('genx320'), SQUARE),
    (re.compile('imx636|imx646|gen4|^4'), HD),
    (re.compile('gen3|^3'), VGA),
)
FIRST_LITTLE = 55  # system_ID from which on EVT 2.1 is little-endian in whole words
ENCODINGS = {
    'EVT2': 'evt2',
    '2.0': 'evt2',
    'EVT21': 'evt21',
    '2.1': 'evt21',
    'EVT3': 'evt3',
    '3.0': 'evt3',
}


class _Header(NamedTuple):
    """What the text tells."""

    encoding: str  # as open_codec calls it
    width: int
    height: int
    events_at: int  # bytes


class RawRecording(Recording):
    """What a Prophesee camera sent, as its software wrote it down."""

    kind = 'prophesee_raw'

    def __init__(self, path):
        self._path = path
        self._size = os.path.getsize(path)
        self._header = header = _read_header(path)
        first = next((batch for batch in self._decoded() if len(batch)), None)
        if first is None:
            raise RecordingError('{} holds no events'.format(path))
        super().__init__(path, header.width, header.height, first.t[0])

    def _packets(self, start_ns):
        return self._decoded()

    def _decoded(self):
        codec = open_codec(*self._header[:3])
        rest = b''
        with open(self._path, 'rb') as file:
            file.seek(self._header.events_at)
            while True:
                data = file.read(PIECE)
                if not data:
                    break
                self.progress = file.tell() / self._size
                data = rest + data
                whole = len(data) - len(data) % codec.word_size
                rest = data[whole:]
                before = codec.counts
                batch = codec.push(data[:whole])
                self.out_of_bounds += codec.counts.out_of_bounds - before.out_of_bounds
                self.time_reversed += codec.counts.time_reversed - before.time_reversed
                yield batch
        self.is_cut = bool(rest)


def _read_header(path) -> _Header:
    with open(path, 'rb') as file:
        data = file.read(LONGEST_HEADER)
    lines = _find_lines(data)
    texts = [line.group(1).decode('utf-8', 'replace').strip() for line in lines]
    fields = {key: value.strip() for key, _, value in (text.partition(' ') for text in texts)}
    if not fields:
        raise RecordingError(
            '{} does not begin with lines like "% evt 3.0": it is no Prophesee file'.format(path)
        )
    options = _options(fields)
    encoding = _encoding(path, fields, options)
    width, height = _size(path, fields, options)
    check_size(path, width, height)
    return _Header(encoding, width, height, lines[-1].end())


def _find_lines(data):
    """Return the matches of the header's lines."""
    lines = []
    line = LINE.match(data)
    while line:
        lines.append(line)
        is_last = line.group(1).split()[:1] == [b'end']
        line = None if is_last else LINE.match(data, line.end())
    # without `% end` events may look like a line, but hardly like one of text
    while lines and not _is_text(lines[-1].group(1)):
        lines.pop()
    return lines


def _is_text(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _options(fields) -> Dict[str, str]:
    """Return what ``format`` holds beside the name, such as EVT3;height=720;width=1280."""
    pairs = [option.partition('=') for option in fields.get('format', '').split(';')[1:]]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _encoding(path, fields, options):
    told = fields.get('format', '').split(';')[0] or fields.get('evt', '')
    if told:
        encoding = ENCODINGS.get(told)
    else:
        encoding = {number: kind for (_, kind), ids in SYSTEMS.items() for number in ids}.get(
            _system(fields)
        )
    if encoding is None:
        raise RecordingError(
            '{} tells {!r} as its format, but EVT 2.0, 2.1 or 3.0 is read: convert a .dat file to '
            'HDF5 with metavision_file_to_hdf5'.format(path, told)
        )
    if encoding != 'evt21':
        return encoding
    order = options.get('endianness') or fields.get('endianness')
    if not order:
        order = 'legacy' if 0 < _system(fields) < FIRST_LITTLE else 'little'
    if order not in ('legacy', 'little'):
        raise RecordingError(
            '{} holds EVT 2.1 in {}-endian words, which are not read'.format(path, order)
        )
    return 'evt21' if order == 'little' else 'evt21_legacy'


def _size(path, fields, options):
    """Return width and height: as told, or else those of the sensor."""
    candidates = (
        (options.get('width'), options.get('height')),
        fields.get('geometry', '').lower().split('x'),
        (fields.get('width'), fields.get('height')),
    )
    for candidate in candidates:
        if len(candidate) == 2 and all(side and side.isdigit() for side in candidate):
            return int(candidate[0]), int(candidate[1])
    names = [fields.get(key, '').lower() for key in ('sensor_name', 'plugin_name')]
    for word, size in SENSORS:
        if any(word.search(name) for name in names + [fields.get('sensor_generation', '')]):
            return size
    for (size, _), numbers in SYSTEMS.items():
        if _system(fields) in numbers:
            return size
    raise RecordingError(
        '{} does not tell the size of its sensor: write a line like "% geometry 1280x720" into '
        'its header'.format(path)
    )


def _system(fields):
    number = fields.get('system_ID', '')
    return int(number) if number.isdigit() else 0
