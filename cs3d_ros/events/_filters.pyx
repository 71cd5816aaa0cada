# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops of the filters: which events to keep, and the copy of those.

Callers own all checks of lengths and dtypes; nothing here allocates or raises. Slow obvious twins
stand in ``test/naive.py``.

Maps of times hold 32 bits a pixel, so that those of a small sensor stay in the second cache. A
cell is ``t - base + reach``, where ``reach`` is the age in ns from which on an event no longer
counts; 0 stands for never and for too long ago alike. ``base`` moves before the 32 bits are full.
Maps have a border of one cell, so that no loop asks for the edge of the sensor.
"""
from libc.stdint cimport UINT32_MAX, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy


cdef Py_ssize_t end_of_stretch(const int64_t *t, Py_ssize_t i, Py_ssize_t n, int64_t base,
                               uint64_t room) noexcept nogil:
    """Return where the times from i on no longer fit 32 bits."""
    if <uint64_t>t[n - 1] - <uint64_t>base <= room:
        return n
    while <uint64_t>t[i] - <uint64_t>base <= room:
        i += 1
    return i


cdef void move_base(uint32_t[:, ::1] times, uint64_t shift) noexcept nogil:
    """Make all times smaller by a shift; those that it outruns are too long ago to count."""
    cdef Py_ssize_t i, n = times.shape[0] * times.shape[1]
    cdef uint32_t *cells = &times[0, 0]
    cdef uint32_t step = <uint32_t>shift
    if shift > UINT32_MAX:
        step = UINT32_MAX
    for i in range(n):
        cells[i] = cells[i] - step if cells[i] > step else 0


def mark_supported(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                   uint32_t[:, ::1] times, int64_t base, uint32_t reach, uint8_t[::1] keep):
    """Mark events that one of the 8 neighbours preceded by less than ``reach``.

    A cell of ``times`` is the newest event among the neighbours of its pixel: every event writes
    itself to the cells around it, so that to look is one load. Returns (marked, base).
    """
    cdef Py_ssize_t i = 0, stop, n = x.shape[0], marked = 0, stride = times.shape[1]
    cdef uint32_t *origin = &times[1, 1]
    cdef uint32_t *cell
    cdef uint32_t now
    cdef uint64_t pair
    cdef uint8_t supported
    with nogil:
        while i < n:
            stop = end_of_stretch(&t[0], i, n, base, UINT32_MAX - reach)
            if stop == i:
                move_base(times, <uint64_t>t[i] - <uint64_t>base)
                base = t[i]
            for i in range(i, stop):
                now = <uint32_t>(<uint64_t>t[i] - <uint64_t>base) + reach
                cell = origin + y[i] * stride + x[i]
                supported = now - cell[0] < reach
                keep[i] = supported
                marked += supported
                # Two cells by one store: the stores are what bounds this loop.
                pair = (<uint64_t>now << 32) | now
                memcpy(cell - stride - 1, &pair, 8)
                (cell - stride + 1)[0] = now
                (cell - 1)[0] = now
                cell[1] = now
                memcpy(cell + stride - 1, &pair, 8)
                cell[stride + 1] = now
            i = stop
    return marked, base


def copy_marked(const uint8_t[::1] keep, const uint16_t[::1] x, const uint16_t[::1] y,
                const int64_t[::1] t, const uint8_t[::1] p, uint16_t[::1] out_x,
                uint16_t[::1] out_y, int64_t[::1] out_t, uint8_t[::1] out_p):
    """Copy the marked events to columns that have room for one more than are marked."""
    cdef Py_ssize_t i, n = x.shape[0], k = 0
    with nogil:
        for i in range(n):
            out_x[k] = x[i]
            out_y[k] = y[i]
            out_t[k] = t[i]
            out_p[k] = p[i]
            k += keep[i]
