# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops of the frames: count, and remember times.

Callers own all checks of lengths and dtypes; nothing here allocates or raises. Slow obvious twins
stand in ``test/naive.py``.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t

ctypedef fused count_t:
    int16_t
    int32_t

cdef enum:
    ALARM = 16384  # half of what int16 holds
    PART = 256  # events a step


def count_signed(const uint16_t[::1] x, const uint16_t[::1] y, const uint8_t[::1] p,
                 Py_ssize_t first, Py_ssize_t last, count_t[:, ::1] counts):
    """Add ON minus OFF of the events [first, last); return whether a count of int16 grows large.

    At most 16384 events at a time, and none after a warning: so no int16 overflows.
    """
    cdef Py_ssize_t i, width = counts.shape[1]
    cdef count_t *cells = &counts[0, 0]
    cdef count_t *cell
    cdef int count, alarm = 0
    with nogil:
        for i in range(first, last):
            cell = cells + y[i] * width + x[i]
            count = cell[0] + 2 * p[i] - 1
            cell[0] = <count_t>count
            alarm |= count + ALARM
    return (alarm & ~(2 * ALARM - 1)) != 0


def take_frame(count_t[:, ::1] counts, int16_t step, uint8_t[:, ::1] frame):
    """Write ``clip(128 + step * count, 0, 255)`` to the frame, and set the counts to 0."""
    cdef Py_ssize_t i, n = counts.shape[0] * counts.shape[1]
    cdef count_t *cells = &counts[0, 0]
    cdef uint8_t *levels = &frame[0, 0]
    cdef count_t count
    cdef int16_t level
    with nogil:
        for i in range(n):
            count = cells[i]
            cells[i] = 0
            # A step is at least 1, so 128 of them reach the end of the greys: 16 bits will do.
            count = -128 if count < -128 else count
            count = 127 if count > 127 else count
            level = <int16_t>(<int16_t>count * step)
            level = <int16_t>(level + 128)
            level = 0 if level < 0 else level
            level = 255 if level > 255 else level
            levels[i] = <uint8_t>level


def count_by_polarity(const uint16_t[::1] x, const uint16_t[::1] y, const uint8_t[::1] p,
                      Py_ssize_t first, Py_ssize_t last, uint16_t[:, :, ::1] counts):
    """Add one per event [first, last) to its pixel in the channel of its polarity, up to 65535."""
    cdef Py_ssize_t i, width = counts.shape[2], area = counts.shape[1] * counts.shape[2]
    cdef uint16_t *cell
    with nogil:
        for i in range(first, last):
            cell = &counts[0, 0, 0] + p[i] * area + y[i] * width + x[i]
            cell[0] += cell[0] != 0xffff


def note_times(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
               const uint8_t[::1] p, Py_ssize_t first, Py_ssize_t last, int64_t[:, :, ::1] times):
    """Write the times of the events [first, last) to their pixels, by polarity."""
    cdef Py_ssize_t i, width = times.shape[2], area = times.shape[1] * times.shape[2]
    cdef int64_t *cells = &times[0, 0, 0]
    with nogil:
        for i in range(first, last):
            cells[p[i] * area + y[i] * width + x[i]] = t[i]


def write_ages(const int64_t[:, :, ::1] times, int64_t t_ns, double tau_ns, int64_t oldest_ns,
               float[:, :, ::1] ages):
    """Write minus the age of every pixel in units of tau, where none is more than the oldest.

    INT64_MIN, for a pixel that never fired, is older than any.
    """
    cdef Py_ssize_t i, n = times.shape[0] * times.shape[1] * times.shape[2]
    cdef const int64_t *cells = &times[0, 0, 0]
    cdef float *values = &ages[0, 0, 0]
    cdef uint64_t age
    with nogil:
        for i in range(n):
            age = <uint64_t>t_ns - <uint64_t>cells[i]
            age = age if age < <uint64_t>oldest_ns else <uint64_t>oldest_ns
            # signed, which processors make a double of in one step
            values[i] = <float>(<double><int64_t>age / -tau_ns)


def count_in_square(const uint16_t[::1] x, const uint16_t[::1] y, const uint8_t[::1] p,
                    double cx, double cy, double cos_roll, double sin_roll, double scale,
                    int size, int32_t[::1] counts):
    """Add ON minus OFF of the events inside an upright square to ``counts``; return how many.

    A pixel centre maps to ``u = ((x - cx) cos + (y - cy) sin) scale + size / 2`` and likewise
    ``v`` with the perpendicular axis; the cell is ``floor(u), floor(v)``. ``counts`` has the
    size * size cells and one more, for what falls outside.
    """
    cdef Py_ssize_t i, first = 0, many, n = x.shape[0], inside = 0
    cdef uint32_t width = size
    cdef int column, row, ok, outside = size * size
    cdef int32_t at[PART]
    cdef double dx, dy, u, v, half = 0.5 * size
    cdef int32_t *cells = &counts[0]
    with nogil:
        while first < n:
            many = PART if n - first > PART else n - first
            # Where to count first, then to count: only apart, and without a branch, do the
            # compilers turn the arithmetic into vector instructions. It is four times as fast.
            for i in range(many):
                dx = x[first + i] + 0.5 - cx
                dy = y[first + i] + 0.5 - cy
                u = (dx * cos_roll + dy * sin_roll) * scale + half
                v = (dy * cos_roll - dx * sin_roll) * scale + half
                # Truncation is floor above 0; what it makes of a place outside is not used.
                column, row = <int>u, <int>v
                ok = (<uint32_t>column < width) & (<uint32_t>row < width) & (u >= 0) & (v >= 0)
                at[i] = row * size + column if ok else outside
                inside += ok
            for i in range(many):
                cells[at[i]] += 2 * p[first + i] - 1
            first += many
    return inside


def count_in_cells(const uint16_t[::1] x, const uint16_t[::1] y, int cell, int32_t[:, ::1] counts):
    """Add one per event to the square cell of ``cell`` pixels that it falls into."""
    cdef Py_ssize_t i, n = x.shape[0]
    with nogil:
        for i in range(n):
            counts[y[i] // cell, x[i] // cell] += 1
