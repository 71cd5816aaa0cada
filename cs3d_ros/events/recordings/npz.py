"""
NumPy archives: columns ``x, y, t, p`` and the scalars ``width, height``, perhaps ``end_ns``.

Read and written in pieces, so that a file larger than the memory is no problem.
"""

import ast
import contextlib
import os
import shutil
import struct
import tempfile
import zipfile

import numpy as np

from cs3d_ros.events.batch import COLUMN_TYPES
from cs3d_ros.events.recordings.recording import Recording, RecordingError, check_written_size

PIECE = 1 << 18  # events read at a time
COPY_SIZE = 1 << 20  # bytes
MAGIC = b'\x93NUMPY'
LONGEST_HEADER = 1 << 14  # bytes; the header of a column has 128


class NpzRecording(Recording):
    """Columns x, y, t (ns), p and the scalars width, height; more is ignored."""

    kind = 'npz'

    def __init__(self, path):
        self._path = path
        with self._archive() as archive:
            width, height = _scalar(archive, 'width'), _scalar(archive, 'height')
            lengths = [_Column(archive, name).length for name in 'xytp']
            if len(set(lengths)) > 1:
                raise RecordingError(
                    'x, y, t, p must be columns of one length, got {}'.format(lengths)
                )
            if not lengths[0]:
                raise RecordingError('it holds no events')
            start_ns = _Column(archive, 't').read(1)[0]
            end_ns = _scalar(archive, 'end_ns') if 'end_ns.npy' in archive.namelist() else None
        super().__init__(path, width, height, start_ns, end_ns, lengths[0])

    @contextlib.contextmanager
    def _archive(self):
        """Open the archive; errors in the block become a RecordingError that names the file."""
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except RecordingError as error:
            raise RecordingError('{}: {}'.format(self._path, error)) from error
        # zlib.error, struct.error, NotImplementedError: zipfile lets whatever breaks escape
        except Exception as error:
            raise RecordingError(
                '{} is no readable .npz archive: {}'.format(self._path, error)
            ) from error

    def _packets(self, start_ns):
        with self._archive() as archive:
            columns = [_Column(archive, name) for name in 'xytp']
            for first in range(0, self.count, PIECE):
                size = min(PIECE, self.count - first)
                piece = [column.read(size) for column in columns]
                self.progress = first / self.count
                yield piece


class _Column:
    """A one-dimensional array of integers within the archive, read from its start on."""

    def __init__(self, archive, name):
        self._name = name
        try:
            info = archive.getinfo(name + '.npy')
        except KeyError:
            raise RecordingError(
                'it lacks an array that a recording has (x, y, t, p, width, height): ' + name
            ) from None
        # of the others zipfile unpacks as much as comes, be it gigabytes; NumPy uses these two
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RecordingError('{} is packed in a way that NumPy never does'.format(name))
        self._stream = archive.open(info)
        self.dtype, self.shape = _read_header(self._stream, name)

    @property
    def length(self):
        if len(self.shape) != 1:
            raise RecordingError(
                '{} must be a column, got the shape {}'.format(self._name, self.shape)
            )
        return self.shape[0]

    def read(self, count):
        """Return the next ``count`` values."""
        data = self._stream.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise RecordingError('it ends inside ' + self._name)
        values = np.frombuffer(data, self.dtype)
        return values.astype(np.int64) if self._name == 't' else values


def _read_header(stream, name):
    """
    Return dtype and shape of a .npy stream, leaving it at the first value.

    Source: numpy.lib.format, versions 1.0 to 3.0.
    """
    head = stream.read(len(MAGIC) + 2)
    version = head[-2] if len(head) == len(MAGIC) + 2 and head.startswith(MAGIC) else 0
    if version not in (1, 2, 3):
        raise RecordingError('{} is no array that NumPy wrote'.format(name))
    (size,) = (
        struct.unpack('<H', stream.read(2))
        if version == 1
        else struct.unpack('<I', stream.read(4))
    )
    if size > LONGEST_HEADER:
        raise RecordingError('the header of {} claims {} bytes'.format(name, size))
    try:
        fields = ast.literal_eval(stream.read(size).decode('latin1').strip())
        dtype, shape = np.dtype(fields['descr']), tuple(int(side) for side in fields['shape'])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise RecordingError('the header of {} is damaged: {}'.format(name, error)) from error
    if dtype.kind not in 'iub' or any(side < 0 for side in shape):
        raise RecordingError(
            '{} must hold integers (t in ns), got {} of shape {}: save plain arrays'.format(
                name, dtype, shape
            )
        )
    return dtype, shape


def _scalar(archive, name):
    column = _Column(archive, name)
    if column.shape not in ((), (1,)):
        raise RecordingError('{} must be a number, got the shape {}'.format(name, column.shape))
    return int(column.read(1)[0])


def write(path, batches, width, height):
    """Write an archive; columns wait in nameless files beside it until their length is known."""
    check_written_size(path, width, height)
    folder = os.path.dirname(path) or '.'
    count = end_ns = 0
    with contextlib.ExitStack() as stack:
        spools = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in 'xytp'}
        for batch in batches:
            for name, spool in spools.items():
                spool.write(getattr(batch, name).tobytes())
            count += len(batch)
            end_ns = int(batch.t[-1])
        archive = stack.enter_context(zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED))
        for name, value in (('width', width), ('height', height), ('end_ns', end_ns)):
            with _new_member(archive, name, np.int64, ()) as member:
                member.write(np.int64(value).tobytes())
        for name, spool in spools.items():
            spool.seek(0)
            with _new_member(archive, name, COLUMN_TYPES[name], (count,)) as member:
                shutil.copyfileobj(spool, member, COPY_SIZE)
    return count


def _new_member(archive, name, dtype, shape):
    """Return a new array of the archive, open behind its header."""
    # a column may be larger than 2 GiB, and must say so before its size is known
    member = archive.open(name + '.npy', 'w', force_zip64=True)
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(
        member, {'descr': descr, 'fortran_order': False, 'shape': shape}
    )
    return member
