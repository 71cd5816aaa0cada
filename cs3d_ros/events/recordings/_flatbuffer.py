"""
The little of FlatBuffers that AEDAT 4 needs, every offset checked against the buffer.

A buffer is size-prefixed and names its content: uint32 size, then the offset of the root table and
four letters. A table begins with the distance back to its vtable, which lists where fields are.
Source: flatbuffers.dev, "FlatBuffer Internals".
"""

import struct

import numpy as np


class FlatBufferError(Exception):
    """An offset or length that leaves the buffer."""


class Table:
    """A table within a buffer; fields go by their number in the schema."""

    def __init__(self, data, at):
        self._data = data
        self._at = at
        self._vtable = at - unpack(data, '<i', at)
        self._vtable_size = unpack(data, '<H', self._vtable)

    def _field_at(self, number):
        """Return where a field begins, or None where it has its default."""
        slot = 4 + 2 * number
        if slot + 2 > self._vtable_size:
            return None
        offset = unpack(self._data, '<H', self._vtable + slot)
        return self._at + offset if offset else None

    def number(self, number, kind, default=0):
        """Return a scalar of a struct format letter."""
        at = self._field_at(number)
        return default if at is None else unpack(self._data, '<' + kind, at)

    def vector(self, number, item_size):
        """Return (offset of the first item, number of items); checked to lie in the buffer."""
        at = self._field_at(number)
        if at is None:
            return 0, 0
        at += unpack(self._data, '<I', at)
        count = unpack(self._data, '<I', at)
        if at + 4 + count * item_size > len(self._data):
            raise FlatBufferError('{} items leave the buffer'.format(count))
        return at + 4, count

    def text(self, number):
        """Return a string."""
        at, size = self.vector(number, 1)
        return bytes(self._data[at : at + size]).decode('utf-8', 'replace')

    def rows(self, number, dtype, fields):
        """
        Return a vector of tables as a structured array, without a loop over the tables.

        Parameters
        ----------
        dtype : np.dtype
            Its bytes are those of the fields one after the other.
        fields : sequence of int
            Numbers of the fields, each of 8 bytes; 0 where a table leaves one out.
        """
        data = np.frombuffer(self._data, np.uint8)
        first, count = self.vector(number, 4)
        places = first + 4 * np.arange(count)
        tables = places + _gather(data, places, '<u4')
        vtables = tables - _gather(data, tables, '<i4')
        out = np.zeros((count, len(fields)), '<i8')
        for vtable in np.unique(vtables).tolist():
            chosen = np.flatnonzero(vtables == vtable)
            size = unpack(self._data, '<H', vtable)
            for column, field in enumerate(fields):
                slot = 4 + 2 * field
                offset = unpack(self._data, '<H', vtable + slot) if slot + 2 <= size else 0
                if offset:
                    out[chosen, column] = _gather(data, tables[chosen] + offset, '<i8')
        return out.view(dtype)[:, 0] if count else np.zeros(0, dtype)


def _gather(data, places, layout):
    """Return the numbers at the given offsets, as int64."""
    size = np.dtype(layout).itemsize
    if len(places) and (places.min() < 0 or places.max() + size > len(data)):
        raise FlatBufferError(
            'offsets {} to {} of {}'.format(places.min(), places.max(), len(data))
        )
    return data[places[:, np.newaxis] + np.arange(size)].view(layout)[:, 0].astype(np.int64)


def unpack(data, layout, at):
    """Return one number, or raise a FlatBufferError where it is not all there."""
    # struct would count a negative offset from the end
    if at < 0 or at + struct.calcsize(layout) > len(data):
        raise FlatBufferError('offset {} of {} bytes'.format(at, len(data)))
    return struct.unpack_from(layout, data, at)[0]


def root(data, identifier):
    """Return the root table of a size-prefixed buffer."""
    if bytes(data[8:12]) != identifier:
        raise FlatBufferError('expected {!r}, found {!r}'.format(identifier, bytes(data[8:12])))
    if unpack(data, '<I', 0) + 4 > len(data):
        raise FlatBufferError('{} bytes of {}'.format(len(data) - 4, unpack(data, '<I', 0)))
    return Table(data, 4 + unpack(data, '<I', 4))


def prefixed(content):
    """Return a buffer behind its size."""
    return struct.pack('<I', len(content)) + content
