"""
Event recordings, read and written behind one door, whatever the file format.

A module per format, imported when a file of it is opened: what it needs is needed by nobody else.
"""

import contextlib
import importlib
import os
import shutil
from typing import Iterable, NamedTuple, Optional, Tuple

from cs3d_ros.events.batch import EventBatch
from cs3d_ros.events.recordings.recording import Recording, RecordingError, unreadable

__all__ = [
    'READABLE',
    'SUFFIXES',
    'WRITABLE',
    'Recording',
    'RecordingError',
    'identify',
    'open_recording',
    'write_recording',
]


class _Format(NamedTuple):
    """Where a format lives and how its files are known."""

    module: str  # beside this one
    reader: str  # its class
    suffixes: Tuple[str, ...]
    magic: Tuple[bytes, ...]  # what its files begin with
    written: Tuple[str, ...] = ()  # suffixes that its function write(path, ...) takes


_FORMATS = (
    _Format('aedat4', 'Aedat4Recording', ('.aedat4',), (b'#!AER-DAT4',), ('.aedat4',)),
    _Format('hdf5', 'Hdf5Recording', ('.h5', '.hdf5'), (b'\x89HDF\r\n\x1a\n',)),
    _Format('npz', 'NpzRecording', ('.npz',), (b'PK\3\4', b'PK\5\6'), ('.npz',)),
    _Format('prophesee_raw', 'RawRecording', ('.raw',), (b'% ',)),
    _Format(
        'rosbag2',
        'BagRecording',
        ('.db3', '.mcap', '.db3.zstd', '.mcap.zstd'),
        (b'SQLite format 3\0', b'\x89MCAP0'),
        ('.db3', ''),
    ),
)
SUFFIXES = tuple(suffix for each in _FORMATS for suffix in each.suffixes)
# What help texts and messages say of them.
READABLE = ', '.join(SUFFIXES) + ', or the folder of a bag'
WRITABLE = ', '.join(filter(None, (suffix for each in _FORMATS for suffix in each.written)))
_HEAD_SIZE = 16  # bytes that tell one format from another


def _find_format(path: str) -> Optional[_Format]:
    """Return the format by what the file begins with, or else by its name."""
    if os.path.isdir(path):
        return next(each for each in _FORMATS if '' in each.written)
    head = _read_head(path)
    for each in _FORMATS:
        if head.startswith(each.magic):
            return each
    for each in _FORMATS:
        if path.lower().endswith(each.suffixes):
            return each
    return None


def _read_head(path):
    if not os.path.isfile(path):
        return b''
    try:
        with open(path, 'rb') as file:
            return file.read(_HEAD_SIZE)
    except OSError as error:
        raise unreadable(path, error) from error


def identify(path: str) -> Optional[str]:
    """
    Return the format of an event recording, by content and name; None if it is none.

    Raises
    ------
    RecordingError
        If the file cannot be read.
    """
    known = _find_format(str(path))
    return known.module if known else None


def open_recording(path: str, topic: Optional[str] = None) -> Recording:
    """
    Open an event recording, whatever its format; what that is, its content tells.

    Parameters
    ----------
    path : str
        A file, or the folder of a bag.
    topic : str, optional
        Which one of a bag; that with the most messages of events by default.

    Raises
    ------
    RecordingError
        If the file is missing, unreadable, of another kind, damaged, or empty.

    Examples
    --------
    >>> with open_recording('face.aedat4') as recording:  # doctest: +SKIP
    ...     for batch in recording.batches(duration_ns=33_333_333):
    ...         print(len(batch), recording.progress)
    """
    path = str(path)
    if not os.path.exists(path):
        raise RecordingError('{} is not there: is the path right?'.format(path))
    known = _find_format(path)
    if known is None:
        raise RecordingError(
            '{} is no recording that is known ({}){}'.format(
                path, READABLE, _guess(_read_head(path))
            )
        )
    module = importlib.import_module('{}.{}'.format(__name__, known.module))
    if topic and '' not in known.written:
        raise RecordingError('{} has no topics to choose {} from'.format(path, topic))
    try:
        return getattr(module, known.reader)(path, *([topic] if topic else []))
    except OSError as error:
        raise unreadable(path, error) from error


# What else lies in folders of event data, and the way out.
_FOREIGN = (
    (b'#!AER-DAT', 'an AEDAT file before version 4, convert it with iniVation DV'),
    (b'#ROSBAG', 'a bag of ROS 1, convert it with rosbags-convert (pip install rosbags)'),
    (b'\x93NUMPY', 'a single NumPy array, save columns x, y, t, p with numpy.savez'),
    (b'\x1f\x8b', 'a gzip archive, unpack it first'),
    (b'RIFF', 'a video, make events of it with cs3d simulate'),
    (b'\x1aE\xdf\xa3', 'a video, make events of it with cs3d simulate'),
    (b'\0\0\x01\xba', 'a video, make events of it with cs3d simulate'),
)


def _guess(head: bytes) -> str:
    """Say what a foreign file looks like, as a hint to the cure."""
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return ': it looks like ' + what
    if head[4:8] == b'ftyp':
        return ': it looks like a video, make events of it with cs3d simulate'
    return ''


def write_recording(path: str, batches: Iterable[EventBatch], width: int, height: int) -> int:
    """
    Write events to ``.aedat4`` (whole microseconds), ``.npz`` or a bag of ROS 2; return how many.

    A path without suffix becomes the folder of a bag, as ``ros2 bag record -o`` makes it; one in
    ``.db3`` becomes its file alone. All is written aside and renamed when it is whole; memory is
    bounded.

    Raises
    ------
    RecordingError
        If the format is unknown, there are no events, or the file cannot be written.
    ValueError
        If a batch is of another sensor, or time goes back between two batches.
    """
    path = os.path.realpath(str(path))  # a link stays, and what it leads to is written
    suffix = os.path.splitext(path)[1].lower()
    writers = {suffix: each for each in _FORMATS for suffix in each.written}
    if suffix not in writers:
        raise RecordingError(
            '{} must end in one of {}, or have no suffix to become a bag of ROS 2'.format(
                path, WRITABLE
            )
        )
    if os.path.isdir(path):
        raise RecordingError('{} is there already: remove it, or write elsewhere'.format(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise RecordingError('{} is a pipe or a device: write to a file'.format(path))
    module = importlib.import_module('{}.{}'.format(__name__, writers[suffix].module))
    aside = '{}.{}.part'.format(path, os.getpid())
    part = os.path.join(aside, os.path.basename(path))
    try:
        os.mkdir(aside)
        count = module.write(part, _checked(batches, width, height), width, height)
        if not count:
            raise RecordingError('{} would hold no events: nothing was written'.format(path))
        if suffix == '.db3':
            _remove_logs(path)
        os.replace(part, path)
    except OSError as error:
        raise RecordingError('{} cannot be written: {}'.format(path, error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def _remove_logs(path):
    """Remove what SQLite would play back into the file that takes the place of an older one."""
    for suffix in ('-wal', '-shm', '-journal'):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + suffix)


def _checked(batches, width, height):
    last_ns = None
    for batch in batches:
        if (batch.width, batch.height) != (width, height):
            raise ValueError(
                'the recording is of {} x {} pixels, got events of {} x {}'.format(
                    width, height, batch.width, batch.height
                )
            )
        if not len(batch):
            continue
        if last_ns is not None and batch.t[0] < last_ns:
            raise ValueError(
                'time goes back from {} to {} ns between two batches'.format(last_ns, batch.t[0])
            )
        last_ns = int(batch.t[-1])
        yield batch
