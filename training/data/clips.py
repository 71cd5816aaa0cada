"""
Recorded clips with their ground truth, and the shards that keep them.

A shard is an HDF5 file of whole clips: ``entries`` holds what is known of each clip as JSON, group
``0``, ``1``, … of clip ``i`` the columns ``events/x y t p`` and the arrays of ``Truth`` under
``truth/``; ``events/first`` is the first event at or after each frame of the truth. All is
chunked, compressed by gzip, which every HDF5 library reads, and checksummed.
"""

import contextlib
import json
import os
import uuid
from dataclasses import dataclass, fields
from pathlib import Path

import h5py
import numpy as np

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventBatch
from training.data.acting.action_units import ACTION_UNITS
from training.data.world import ACTED

SCHEMA = 2  # 1 were single .npz files
FORMAT = b'clips of cs3d_ros'
SPLITS = ('train', 'val', 'test')
ENTRY_KEYS = frozenset(
    'index seed identity skin split condition expressions label duration_s segments nuisances '
    'sensor source'.split()
)
# Measured on rendered clips: 4.5 bytes and 27 ns an event to read, 85 ns to write. Blosc reads in
# 12 ns and is no smaller, but needs a plugin in whatever reads the file.
PACKED = {'compression': 'gzip', 'compression_opts': 1, 'shuffle': True, 'fletcher32': True}
CHUNK = 1 << 15  # values; what is read at least of a column
CURE = 'delete it and run the command that made it again: it makes only what is missing'


class DataError(Cs3dError):
    """A data set that cannot be read, or written, as one."""


@dataclass(frozen=True)
class Truth:
    """Ground truth per frame; F frames. What a source cannot tell is NaN (intensity: 1)."""

    t_ns: np.ndarray  # (F,) int64, sensor time
    expression: np.ndarray  # (F,) uint8, index into training.data.world.ACTED: the target
    intensity: np.ndarray  # (F,) float32, 0..1 of the expression shown or left
    action_units: np.ndarray  # (F, A) float32, 0..1, in the order of action_units.ACTION_UNITS
    landmarks: np.ndarray  # (F, 68, 2) float32 px, Multi-PIE order
    box: np.ndarray  # (F, 4) float32 px, x, y, width, height of cs3d_ros.face.box_of_landmarks
    pose: np.ndarray  # (F, 3) float32 degrees: yaw (to the person's left), pitch (down), roll
    visible: np.ndarray  # (F,) float32, share of the 68 landmarks that nothing hides


# Shape behind the first axis, and dtype, of each array of Truth.
TRUTH_ARRAYS = {
    't_ns': ((), np.int64),
    'expression': ((), np.uint8),
    'intensity': ((), np.float32),
    'action_units': ((len(ACTION_UNITS),), np.float32),
    'landmarks': ((68, 2), np.float32),
    'box': ((4,), np.float32),
    'pose': ((3,), np.float32),
    'visible': ((), np.float32),
}
assert list(TRUTH_ARRAYS) == [field.name for field in fields(Truth)]


@dataclass(frozen=True)
class RecordedClip:
    """A clip as it was recorded: what is known of it, its events, its ground truth."""

    entry: dict  # of JSON; has at least ENTRY_KEYS, docs/synthetic-data.md tells them
    events: EventBatch
    truth: Truth


def write_shard(path: str | Path, clips) -> int:
    """
    Write clips into a shard, which is there whole or not at all; return how many bytes it has.

    Parameters
    ----------
    path : str or Path
        Ends in .h5.
    clips : iterable of RecordedClip
        At least one. The packed shard stays in memory until it is whole.

    Raises
    ------
    ValueError
        If there is no clip, or one breaks the rules of entries and truths.
    DataError
        If the file cannot be written, as on a full disk. What was there before is kept.
    """
    shard = pack_shard(clips)
    write_whole(Path(path), shard)
    return len(shard)


def pack_shard(clips) -> bytes:
    """Return the content of a shard of clips, which are taken one by one; same errors."""
    entries = []
    # In memory, as HDF5 has no way out of a file that it can neither write to nor close; by a name
    # of its own, as two threads must not open one.
    name = str(uuid.uuid4())
    with h5py.File(name, 'w', driver='core', backing_store=False, libver='v110') as shard:
        for clip in clips:
            _check_clip(clip)
            _write_clip(shard.create_group(str(len(entries))), clip)
            entries.append(clip.entry)
        if not entries:
            raise ValueError('a shard holds at least one clip, got none')
        _pack(shard, 'entries', np.frombuffer(json.dumps(entries).encode(), np.uint8))
        # Bytes of fixed length: HDF5 puts no checksum on others, and damaged ones hang it.
        shard.attrs.update(
            format=np.bytes_(FORMAT),
            schema=SCHEMA,
            expressions=np.bytes_(json.dumps(ACTED)),
            action_units=np.bytes_(json.dumps(list(ACTION_UNITS))),
        )
        shard.flush()
        return shard.id.get_file_image()


def write_whole(path: Path, content: bytes):
    """Write a file aside, down to the disk, and rename it; DataError if that cannot be done."""
    aside = path.with_name('.{}.{}.part'.format(path.name, os.getpid()))
    try:
        with open(aside, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise DataError(
            '{} cannot be written ({}): make room or name another folder, then run the command '
            'again'.format(path, error)
        ) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _write_clip(group, clip):
    events = clip.events
    group.attrs.update(width=events.width, height=events.height)
    for name in 'xytp':
        _pack(group, 'events/' + name, getattr(events, name))
    _pack(group, 'events/first', np.searchsorted(events.t, clip.truth.t_ns).astype(np.int64))
    for name in TRUTH_ARRAYS:
        _pack(group, 'truth/' + name, getattr(clip.truth, name))


def _pack(group, name, array):
    row = max(1, int(np.prod(array.shape[1:])))
    chunk = (max(1, min(len(array), CHUNK // row)),) + array.shape[1:]
    limit = None if len(array) else (None,) + array.shape[1:]  # HDF5 chunks nothing that is empty
    dataset = group.create_dataset(name, data=array, chunks=chunk, maxshape=limit, **PACKED)
    dataset.flush()  # else chunks would lie in the file in the order in which they are let go


def _check_clip(clip):
    fault = entry_fault(clip.entry)
    if fault:
        raise ValueError('an entry ' + fault)
    for name, (shape, dtype) in TRUTH_ARRAYS.items():
        array = getattr(clip.truth, name)
        wanted = (len(clip.truth.t_ns),) + shape
        if array.shape != wanted or array.dtype != dtype:
            raise ValueError(
                'truth.{} must be {} {}, got {} {}'.format(
                    name, np.dtype(dtype), wanted, array.dtype, array.shape
                )
            )
    fault = truth_fault(clip.truth)
    if fault:
        raise ValueError(fault)


def entry_fault(entry) -> str | None:
    """Return what is wrong with an entry, None if nothing is."""
    if not isinstance(entry, dict):
        return 'must be a dict, got {}'.format(type(entry).__name__)
    lacking = sorted(ENTRY_KEYS - set(entry))
    if lacking:
        return 'lacks ' + ', '.join(lacking)
    if entry['split'] not in SPLITS:
        return 'is of split {!r}, not one of {}'.format(entry['split'], ', '.join(SPLITS))
    return None


def truth_fault(truth: Truth) -> str | None:
    """Return what is wrong with the values of a truth, None if nothing is."""
    if len(truth.t_ns) < 2 or (np.diff(truth.t_ns) <= 0).any():
        return 'truth.t_ns must hold two or more times that increase'
    if truth.expression.max() >= len(ACTED):
        return 'truth.expression must index {} names, got {}'.format(
            len(ACTED), truth.expression.max()
        )
    return None


class ClipSet:
    """
    The clips of a folder of shards, read one by one; only the entries stay in memory.

    It keeps no file open, so that threads and processes may share one, by fork or by pickle.

    Parameters
    ----------
    folder : str or Path
        Holds shards (.h5); may still grow.

    Raises
    ------
    DataError
        If there is no shard, or one is damaged, foreign or of another schema.

    Examples
    --------
    >>> clips = ClipSet('data/faces')  # doctest: +SKIP
    >>> happy = [i for i, entry in enumerate(clips.entries) if entry['label'] == 'happy']
    >>> clips[happy[0]].events
    EventBatch(75640 events, 346 x 260, t 2213901..3032871034 ns)
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.entries = []  # a dict per clip, in the order of the shards
        self._places = []  # (path of the shard, number in it) per clip
        self._known = set()
        self.take_in()
        if not self.entries:
            raise DataError(
                '{} holds no shards (.h5): make them by python -m training.synthesize or '
                'training.data.corpora'.format(self.folder)
            )

    def take_in(self) -> int:
        """Take in the shards that are new in the folder; return the number of new clips."""
        before = len(self.entries)
        for path in sorted(self.folder.glob('*.h5')):
            if path not in self._known:
                found = read_entries(path)
                self._known.add(path)
                self.entries += found
                self._places += [(path, number) for number in range(len(found))]
        return len(self.entries) - before

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> RecordedClip:
        """Return a clip; DataError if its part of the shard is damaged."""
        path, number = self._places[index]
        with _open_shard(path) as shard:
            group = shard[str(number)]
            events, truth = _read_events(group, slice(None)), _read_truth(group)
        return RecordedClip(self.entries[index], events, truth)

    def events(self, index: int, start_ns: int, end_ns: int) -> EventBatch:
        """Return the events of a clip with ``start_ns <= t < end_ns``; little else is read."""
        path, number = self._places[index]
        with _open_shard(path) as shard:
            group = shard[str(number)]
            t_ns, first = group['truth/t_ns'][:], group['events/first'][:]
            begin = int(np.searchsorted(t_ns, start_ns, 'right')) - 1
            end = int(np.searchsorted(t_ns, end_ns))
            rows = slice(
                int(first[begin]) if begin >= 0 else 0,
                int(first[end]) if end < len(first) else None,
            )
            return _read_events(group, rows).between(start_ns, end_ns)

    def truth(self, index: int) -> Truth:
        """Return a clip's ground truth alone."""
        path, number = self._places[index]
        with _open_shard(path) as shard:
            return _read_truth(shard[str(number)])


def read_entries(path: Path) -> list[dict]:
    """Return the entries of a shard, checked; DataError if it is none."""
    with _open_shard(path) as shard:
        entries = json.loads(shard['entries'][:].tobytes())
        for number, entry in enumerate(entries):
            fault = entry_fault(entry)
            if fault or str(number) not in shard:
                raise ValueError('clip {} {}'.format(number, fault or 'is not there'))
        return entries


def _read_events(group, rows) -> EventBatch:
    size = int(group.attrs['width']), int(group.attrs['height'])
    return EventBatch(*(group['events/' + name][rows] for name in 'xytp'), *size)


def _read_truth(group) -> Truth:
    arrays = {}
    for name, (shape, dtype) in TRUTH_ARRAYS.items():
        found = group['truth/' + name]
        if found.shape[1:] != shape or found.dtype != dtype:
            raise ValueError('truth/{} is {} {}'.format(name, found.dtype, found.shape))
        arrays[name] = found[:]
    lengths = {len(array) for array in arrays.values()}
    truth = Truth(**arrays)
    fault = 'arrays of truth differ in length' if len(lengths) > 1 else truth_fault(truth)
    if fault:
        raise ValueError(fault)
    return truth


@contextlib.contextmanager
def _open_shard(path):
    """Open a shard to read; whatever breaks in the block becomes a DataError with its name."""
    try:
        # no locks: a data set may lie on a read-only or network file system
        with h5py.File(path, 'r', locking=False) as shard:
            _check_kind(path, shard)
            yield shard
    except (DataError, IndexError):
        raise
    # OSError, KeyError, ValueError, RuntimeError, MemoryError: h5py has no error of its own
    except Exception as error:
        if not Path(path).exists():
            raise DataError('{} is not there any more: open the set again'.format(path)) from error
        raise DataError('{} is no whole shard ({}): {}'.format(path, error, CURE)) from error


def _check_kind(path, shard):
    if shard.attrs.get('format') != FORMAT:
        raise DataError(
            '{} is an HDF5 file, but no shard of clips: keep other files out of the folder'.format(
                path
            )
        )
    made = int(shard.attrs['schema'])
    if made != SCHEMA:
        raise DataError(
            '{} is of schema {}, this version reads {}: make the set again'.format(
                path, made, SCHEMA
            )
        )
    for name, own in (('expressions', ACTED), ('action_units', ACTION_UNITS)):
        found = json.loads(shard.attrs[name])
        if found != list(own):
            raise DataError(
                '{} was made with other {} ({}): make the set again with this version'.format(
                    path, name.replace('_', ' '), found
                )
            )
