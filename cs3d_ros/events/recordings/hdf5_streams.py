"""Streams of events in an HDF5 file: found, and checked before libhdf5 allocates for them."""

import numpy as np

from cs3d_ros.events.recordings import _ecf
from cs3d_ros.events.recordings.recording import RecordingError

ECF_FILTER = 36559  # 0x8ECF, Prophesee's own choice, not registered with the HDF Group
LARGEST_CHUNK = 1 << 22  # events; libhdf5 unpacks a chunk as a whole: 200 MB of memory in all
LARGEST_ECF_CHUNK = (1 << 16) - 1  # events, the limit of Prophesee's encoder
ECF_EVENT_BYTES = 24  # at most: a time of 17, row of 2 and 2, column of 2, polarity of 1
COLUMN_NAMES = (('x', 'y', 't', 'p'), ('xs', 'ys', 'ts', 'ps'))
LARGEST_EVENT = 64  # bytes of a record or of a value of a column
DEEPEST = 4  # groups above the events
CROWD = 100  # members of a group, above which it is one of images and no step on the way
CONTIGUOUS_STEP = 1 << 16  # events
KINDS = {'x': 'iu', 'y': 'iu', 't': 'iuf', 'p': 'iub'}  # of NumPy types that can be meant


def import_h5py(path):
    """Return the module, or raise a RecordingError that tells how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise RecordingError(
            '{} is an HDF5 file, which needs h5py: pip install h5py hdf5plugin'.format(path)
        ) from error
    return h5py


def find_streams(file):
    """Return place -> names of the columns, None for a dataset of records."""
    h5py = import_h5py(file.filename)
    found, waiting, seen = {}, [(file, '', 0)], set()
    while waiting:
        group, path, depth = waiting.pop()
        if group.id in seen:  # hard links can lead round and round
            continue
        seen.add(group.id)
        members = set(group) if len(group) <= CROWD else set()
        for names in COLUMN_NAMES:
            if all(isinstance(group.get(name), h5py.Dataset) for name in names):
                found[path or '/'] = names
                members = set()  # below it lie calibrations
                break
        for name in sorted(members):
            # soft links lead to what is found anyhow, or round and round, or to another file
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            member, place = group.get(name), (path + '/' + name).lstrip('/')
            if isinstance(member, h5py.Group) and depth < DEEPEST:
                waiting.append((member, place, depth + 1))
            elif isinstance(member, h5py.Dataset):
                if set(COLUMN_NAMES[0]) <= set(member.dtype.names or ()):
                    found[place] = None
    return found


def rank_stream(place):
    return place != 'events', 'left' not in place, place


class ColumnStream:
    """Four datasets of one length in a group."""

    def __init__(self, group, names):
        self._columns = [group[name] for name in names]
        counts = [_check(column) for column in self._columns]
        if len(set(counts)) > 1:
            raise RecordingError(
                'its columns {} must be of one length, got {}'.format(', '.join(names), counts)
            )
        for kind, column in zip('xytp', self._columns):
            _check_kind(kind, column.dtype, column.name)
        self.count = counts[0]
        times = self._columns[2]
        self.time_attrs, self.time_kind = times.attrs, times.dtype.kind
        self.step = _step(times)
        self.largest_chunk = max(_chunk_bytes(column) for column in self._columns)

    def times(self, first, last):
        """Return the raw times of some events."""
        return self._columns[2][first:last]

    def read(self, first, last):
        """Return raw columns x, y, t, p of some events."""
        return [column[first:last] for column in self._columns]


class RecordStream:
    """One dataset with a field per column, as Prophesee has it, packed by ECF or not."""

    def __init__(self, dataset, _names=None):
        self._dataset = dataset
        self._is_packed = _filters(dataset) == [ECF_FILTER]
        self.count = _check(dataset)
        for kind in 'xytp':
            _check_kind(kind, dataset.dtype[kind], dataset.name + ' ' + kind)
        self.time_attrs, self.time_kind = dataset.attrs, dataset.dtype['t'].kind
        self.step = _step(dataset)
        self.largest_chunk = _chunk_bytes(dataset)
        if self._is_packed and self.step > LARGEST_ECF_CHUNK:
            raise RecordingError(
                'a chunk of {} claims {} events, ECF knows at most {}'.format(
                    dataset.name, self.step, LARGEST_ECF_CHUNK
                )
            )

    def times(self, first, last):
        """Return the raw times of some events."""
        return self.read(first, last)[2]

    def read(self, first, last):
        """Return raw columns x, y, t, p of some events."""
        if not self._is_packed:
            records = self._dataset[first:last]
            return [records[name] for name in 'xytp']
        start = first // self.step * self.step
        size = -(-(last - start) // self.step) * self.step
        columns = [np.empty(size, kind) for kind in ('<u2', '<u2', '<i8', 'u1')]
        for at in range(start, last, self.step):
            place = at - start
            self._read_chunk(at, [column[place : place + self.step] for column in columns])
        return [column[first - start : last - start] for column in columns]

    def _read_chunk(self, at, columns):
        raw, is_plain = self._raw_chunk(at)
        expected = min(self.step, self.count - at)
        if is_plain:
            if len(raw) != self.step * self._dataset.dtype.itemsize:
                raise RecordingError('the chunk of event {} has another size'.format(at))
            records = np.frombuffer(raw, self._dataset.dtype)
            for name, column in zip('xytp', columns):
                column[:] = records[name] if name != 'p' else records[name] > 0
        # the last chunk may be filled up with zeros, by others than Prophesee
        elif _ecf.decode(np.frombuffer(raw, np.uint8), *columns) < expected:
            raise RecordingError(
                'it is damaged: the chunk of event {} does not hold {} events'.format(at, expected)
            )

    def _raw_chunk(self, at):
        """Return the bytes of a chunk and whether the filter was left out when it was written."""
        info = self._dataset.id.get_chunk_info_by_coord((at,))
        limit = 12 + self.step * max(ECF_EVENT_BYTES, self._dataset.dtype.itemsize)
        if info.byte_offset is None or not 0 < info.size <= limit:
            raise RecordingError(
                'it is damaged: the chunk of event {} has {} bytes'.format(at, info.size)
            )
        mask, raw = self._dataset.id.read_direct_chunk((at,))
        return raw, bool(mask & 1)


def _check(dataset):
    """Return the length of a dataset that can be read; refuse what would read as endless zeros."""
    h5py = import_h5py(dataset.file.filename)
    if len(dataset.shape or ()) != 1 or not dataset.shape[0]:
        raise RecordingError(
            '{} must be a column of events, got the shape {}'.format(dataset.name, dataset.shape)
        )
    if dataset.dtype.itemsize > LARGEST_EVENT:
        raise RecordingError(
            '{} has {} bytes an event, expected at most {}'.format(
                dataset.name, dataset.dtype.itemsize, LARGEST_EVENT
            )
        )
    count = dataset.shape[0]
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5py.h5d.CHUNKED:
        if dataset.chunks[0] > LARGEST_CHUNK:
            raise RecordingError(
                'a chunk of {} claims {} events, at most {} are read: write it anew with '
                'h5repack -l CHUNK=1000000'.format(dataset.name, dataset.chunks[0], LARGEST_CHUNK)
            )
        needed = -(-count // dataset.chunks[0])
        is_whole = dataset.id.get_num_chunks() >= needed
    elif layout in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) and not dataset.external:
        is_whole = dataset.id.get_storage_size() >= count * dataset.dtype.itemsize
    else:
        raise RecordingError(
            '{} lies in other files: copy them into one with h5repack'.format(dataset.name)
        )
    if not is_whole:
        raise RecordingError(
            '{} claims {} events, but holds fewer: was its writer stopped?'.format(
                dataset.name, count
            )
        )
    _check_filters(h5py, dataset)
    return count


def _check_filters(h5py, dataset):
    filters = _filters(dataset)
    if filters == [ECF_FILTER] and dataset.dtype.names:
        return
    missing = [number for number in filters if not h5py.h5z.filter_avail(number)]
    if missing:
        try:
            import hdf5plugin  # noqa: F401  registers its filters with libhdf5
        except ImportError as error:
            raise RecordingError(
                '{} is packed by HDF5 filter {}: pip install hdf5plugin'.format(
                    dataset.name, missing[0]
                )
            ) from error
    for number in missing:
        if not h5py.h5z.filter_avail(number):
            raise RecordingError(
                '{} is packed by HDF5 filter {}, which hdf5plugin does not have: write it anew '
                'with gzip'.format(dataset.name, number)
            )


def _filters(dataset):
    settings = dataset.id.get_create_plist()
    return [settings.get_filter(at)[0] for at in range(settings.get_nfilters())]


def _check_kind(kind, dtype, name):
    if dtype.kind not in KINDS[kind] or dtype.shape:
        raise RecordingError(
            '{} must hold {}, got {}'.format(name, 'numbers' if kind == 't' else 'integers', dtype)
        )


def _step(dataset):
    """Return how many events are best read at once."""
    return dataset.chunks[0] if dataset.chunks else CONTIGUOUS_STEP


def _chunk_bytes(dataset):
    return dataset.chunks[0] * dataset.dtype.itemsize if dataset.chunks else 0
