"""
Events in HDF5 files: Prophesee, DSEC, M3ED, e2vid and their kin, told apart by their contents.

Where the events lie. Either four columns in one group, named ``x y t p`` (``events`` of DSEC,
``prophesee/left`` of M3ED) or ``xs ys ts ps`` (``events`` of e2vid), or one dataset of records
with fields ``x y t p`` (``CD/events`` of Prophesee). Of several streams the first is read, in this
order: ``events``, a name with ``left``, any other; all of them stand in ``streams``.

What the times count. An attribute ``unit`` (or ``units``, ``time_unit``) of the times or of the
group says s, ms, us or ns. Without it integers ``t`` are microseconds, as in DSEC, M3ED and
Prophesee, and fractions are seconds, as in e2vid. Nothing documents integers ``ts``, nor fractions
that are whole numbers: these are refused. A dataset ``t_offset`` beside the group is added (DSEC).

How large the sensor is, the first that is there: ``width`` and ``height`` (attributes, or numbers
in the group); the attribute ``geometry`` (Prophesee); ``calib/resolution`` (M3ED: width, height);
the attribute ``sensor_resolution`` (e2vid: height, width); 640 x 480 for DSEC, known by its
``ms_to_idx`` and ``t_offset``. The last two are conventions, so an event outside refutes them and
is an error. Otherwise the file is refused: the largest coordinate is no sensor size.

Times are sought by bisection, not by ``ms_to_idx``, ``ms_map_idx`` or ``CD/indexes``: twenty
chunks are read in any of these files, and an index that is wrong does no harm.

A damaged file is an error or gives valid events, as far as libhdf5 bears it: version 1.12, the
last for Python 3.6, can crash on a damaged text attribute (once in 5,500 files that were damaged
at random), 2.0 did not in 12,000.

Source: dsec.ifi.uzh.ch/data-format; M3ED, rosbag2hdf5.py; OpenEB, hdf5_event_file_writer.cpp;
event_cnn_minimal, data_loader/dataset.py.
"""

import contextlib
import re

import numpy as np

from cs3d_ros.events.recordings.hdf5_streams import (
    COLUMN_NAMES,
    ColumnStream,
    RecordStream,
    find_streams,
    import_h5py,
    rank_stream,
)
from cs3d_ros.events.recordings.recording import LAST_NS, Recording, RecordingError, to_ns

PIECE = 1 << 18  # events read at once; 2**16 and 2**20 were slower, the latter by caches missed
UNITS_NS = {
    **dict.fromkeys(('s', 'sec', 'second', 'seconds'), 10**9),
    **dict.fromkeys(('ms', 'millisecond', 'milliseconds'), 10**6),
    **dict.fromkeys(('us', 'µs', 'μs', 'microsecond', 'microseconds'), 10**3),
    **dict.fromkeys(('ns', 'nanosecond', 'nanoseconds'), 1),
}
DSEC_SIZE = 640, 480  # Prophesee Gen3.1, the only sensor of that data set
SIZE_CURE = 'python -c "import h5py; h5py.File({!r}, \'a\').attrs.update(width=640, height=480)"'
UNIT_CURE = "python -c \"import h5py; h5py.File({!r}, 'a')[{!r}].attrs['unit'] = 'us'\""


class Hdf5Recording(Recording):
    """
    Events of one stream of an HDF5 file; ``h5py`` is imported when it is opened.

    Parameters
    ----------
    path : str
        The file.
    stream : str, optional
        One of ``streams``, where the first is not what is wanted.

    Attributes
    ----------
    stream : str
        Place of the events in the file, such as ``prophesee/left``.
    streams : list of str
        All places of events, the present one among them.
    """

    kind = 'hdf5'

    def __init__(self, path, stream=None):
        self._path = str(path)
        self._cache_size = None
        with self._file() as file:
            found = find_streams(file)
            self.streams = sorted(found, key=rank_stream)
            self.stream = self._choose(stream)
            self._names = found[self.stream]
            events = self._events(file)
            self._cache_size = events.largest_chunk
            places = _places(file, self.stream)
            self._unit_ns = self._find_unit(events, places)
            self._offset_ns = self._find_offset(events, places)
            size, self._is_size_told = self._find_size(places)
            start_ns, end_ns = (
                int(self._times(events, at, at + 1)[0]) for at in (0, events.count - 1)
            )
        # times that run back end somewhere within, which only reading all tells
        super().__init__(
            path, *size, start_ns, end_ns if end_ns >= start_ns else None, events.count
        )

    @contextlib.contextmanager
    def _file(self):
        """Open the file; errors in the block become a RecordingError that names it."""
        h5py = import_h5py(self._path)
        try:
            with h5py.File(self._path, 'r', rdcc_nbytes=self._cache_size) as file:
                yield file
        except RecordingError as error:
            raise RecordingError('{}: {}'.format(self._path, error)) from error
        # h5py lets escape what libhdf5 finds in a damaged file, in whatever type fits
        except Exception as error:
            raise RecordingError(
                '{} is no readable HDF5 file: {}'.format(
                    self._path, ' '.join(str(error).split()) or type(error).__name__
                )
            ) from error

    def _choose(self, stream):
        if not self.streams:
            raise RecordingError(
                'it holds no events: looked for a group with x, y, t, p or xs, ys, ts, ps, or a '
                'dataset with these fields'
            )
        if stream is None:
            return self.streams[0]
        if stream not in self.streams:
            raise RecordingError(
                'it has no events at {}, only at {}'.format(stream, ', '.join(self.streams))
            )
        return stream

    def _events(self, file):
        node = file[self.stream]
        return (RecordStream if self._names is None else ColumnStream)(node, self._names)

    def _find_unit(self, events, places):
        """Return ns of one unit of time."""
        for attrs in [events.time_attrs] + [place.attrs for place in places[:1]]:
            for name in ('unit', 'units', 'time_unit'):
                if name in attrs:
                    unit = _text(attrs[name]).strip().lower()
                    if unit not in UNITS_NS:
                        raise RecordingError(
                            'its times are in {!r}, expected s, ms, us or ns'.format(unit)
                        )
                    return UNITS_NS[unit]
        if events.time_kind in 'iu' and self._names != COLUMN_NAMES[1]:
            return UNITS_NS['us']
        if events.time_kind == 'f':
            sample = events.times(0, min(events.count, events.step))
            if np.any(sample != np.rint(sample)):
                return UNITS_NS['s']
        raise RecordingError(
            'it does not tell the unit of its times, say it with {}'.format(
                UNIT_CURE.format(self._path, self.stream)
            )
        )

    def _find_offset(self, events, places):
        """Return what to add to all times, ns."""
        for place in places[:2]:
            offset = place.get('t_offset') if hasattr(place, 'keys') else None
            if offset is not None:
                kinds = 'iu' if events.time_kind in 'iu' else 'iuf'
                return int(self._to_ns(np.array([_number(offset, 't_offset', kinds)]))[0])
        return 0

    def _find_size(self, places):
        """Return (width, height) and whether the file tells it by itself."""
        for place in places[::-1]:
            for members in (place.attrs, place if hasattr(place, 'keys') else {}):
                if 'width' in members and 'height' in members:
                    return [_number(members[side], side) for side in ('width', 'height')], True
        root = places[-1]
        if 'geometry' in root.attrs:
            sides = re.match(r'\s*(\d{1,6})\s*x\s*(\d{1,6})\s*$', _text(root.attrs['geometry']))
            if not sides:
                raise RecordingError(
                    'its geometry should be like 640x480, got {!r}'.format(
                        _text(root.attrs['geometry'])
                    )
                )
            return [int(side) for side in sides.groups()], True
        resolution = places[0].get('calib/resolution') if hasattr(places[0], 'keys') else None
        if resolution is not None:
            return _two_numbers(resolution, 'calib/resolution'), True
        if 'sensor_resolution' in root.attrs:
            return _two_numbers(root.attrs['sensor_resolution'], 'sensor_resolution')[::-1], False
        if 'ms_to_idx' in root and 't_offset' in root:
            return DSEC_SIZE, False
        raise RecordingError(
            'it does not tell the size of its sensor, say it with {}'.format(
                SIZE_CURE.format(self._path)
            )
        )

    def _to_ns(self, t):
        if t.dtype.kind != 'f':
            return to_ns('it', t, self._unit_ns)
        t = t.astype(np.float64)
        if not np.all(np.abs(t) < LAST_NS // 2 / self._unit_ns):  # NaN is refused as well
            raise RecordingError('it is damaged: it tells times beyond 146 years')
        return np.rint(t * self._unit_ns).astype(np.int64)

    def _times(self, events, first, last):
        return self._shift(self._to_ns(events.times(first, last)))

    def _shift(self, t_ns):
        if not self._offset_ns or not len(t_ns):
            return t_ns
        ends = int(t_ns.min()) + self._offset_ns, int(t_ns.max()) + self._offset_ns
        if not -LAST_NS <= min(ends) <= max(ends) <= LAST_NS:
            raise RecordingError('it is damaged: t_offset moves its times beyond 292 years')
        return t_ns + self._offset_ns

    def _packets(self, start_ns):
        with self._file() as file:
            events = self._events(file)
            step = max(1, PIECE // events.step) * events.step
            for first in range(self._seek(events, start_ns), self.count, step):
                x, y, t, p = events.read(first, min(first + step, self.count))
                if not self._is_size_told:
                    self._check_size(x, y)
                self.progress = first / self.count
                yield x, y, self._shift(self._to_ns(t)), p

    def _seek(self, events, start_ns):
        """Return the place of a chunk, before which all events are earlier than the start."""
        if start_ns is None:
            return 0
        low, high = 0, -(-events.count // events.step)
        while low < high:
            middle = (low + high) // 2
            at = middle * events.step
            if self._times(events, at, at + 1)[0] < start_ns:
                low = middle + 1
            else:
                high = middle
        return max(0, low - 1) * events.step

    def _check_size(self, x, y):
        if int(x.max()) >= self.width or int(y.max()) >= self.height:
            raise RecordingError(
                'its sensor should be of {} x {} pixels by convention, but there is an event at '
                '({}, {}): say its size with {}'.format(
                    self.width, self.height, x.max(), y.max(), SIZE_CURE.format(self._path)
                )
            )


def _places(file, stream):
    """Return the nodes from a stream up to the file."""
    steps = stream.strip('/').split('/') if stream != '/' else []
    return [file['/'.join(steps[:n])] for n in range(len(steps), 0, -1)] + [file]


def _text(value):
    """Return a string attribute, of whichever of the many types of strings."""
    value = np.asarray(value).ravel()
    first = value[0] if len(value) else ''
    return first.decode('utf-8', 'replace') if isinstance(first, bytes) else str(first)


def _numbers(source, name, kinds, largest):
    """Return the numbers of an attribute or dataset."""
    if source.size > largest:
        raise RecordingError('{} should be {} numbers, got {}'.format(name, largest, source.size))
    values = np.asarray(source[()]).ravel()
    if values.dtype.kind not in kinds or not np.all(np.isfinite(values)):
        raise RecordingError('{} should be a number, got {!r}'.format(name, values.tolist()))
    return values


def _number(source, name, kinds='iu'):
    source = source if hasattr(source, 'size') else np.asarray(source)
    values = _numbers(source, name, kinds, 1)
    if not len(values):
        raise RecordingError('{} is empty'.format(name))
    return values[0]


def _two_numbers(source, name):
    """Return the first two; a third is the number of colours."""
    source = source if hasattr(source, 'size') else np.asarray(source)
    values = _numbers(source, name, 'iu', 3)
    if len(values) < 2:
        raise RecordingError('{} should be two numbers, got {}'.format(name, values.tolist()))
    return [int(value) for value in values[:2]]
