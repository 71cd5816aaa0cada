# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops over events: check, decode, encode, count.

Callers own all checks of lengths and dtypes; nothing here allocates or raises. Slow obvious twins
stand in ``test/naive.py``.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint8_t, INT64_MIN
from libc.string cimport memcpy

# Byte offsets of an element of ``Event[]`` in XCDR1, counted from the first element; every member
# aligns to its own size, so x and y of elements 1, 2, ... follow the polarity of their predecessor.
DEF STRIDE = 16
DEF NS_PER_S = 1000000000


cdef inline uint16_t load_u16(const uint8_t *at, bint swap) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return <uint16_t>((value << 8) | (value >> 8)) if swap else value


cdef inline uint32_t load_u32(const uint8_t *at, bint swap) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    if swap:
        value = ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >> 8) & 0xff00) | (value >> 24)
    return value


def first_fault(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                const uint8_t[::1] p, int width, int height):
    """Return (kind, index) of the first event that breaks the rules, kind 0 when none does.

    Kinds: 1 outside the sensor, 2 time decreases, 3 polarity is neither 0 nor 1.
    """
    cdef Py_ssize_t i, n = x.shape[0]
    cdef int64_t last = INT64_MIN
    cdef int kind = 0
    with nogil:
        for i in range(n):
            if x[i] >= width or y[i] >= height:
                kind = 1
            elif t[i] < last:
                kind = 2
            elif p[i] > 1:
                kind = 3
            if kind:
                break
            last = t[i]
    return kind, (i if kind else n)


def keep_valid(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
               const uint8_t[::1] p, int width, int height, int64_t last,
               uint16_t[::1] out_x, uint16_t[::1] out_y, int64_t[::1] out_t, uint8_t[::1] out_p):
    """Copy the events inside the sensor that do not go back in time.

    Returns (kept, outside, reversed); ``last`` is the time that the first event must reach.
    """
    cdef Py_ssize_t i, n = x.shape[0], kept = 0, outside = 0, backwards = 0
    with nogil:
        for i in range(n):
            if x[i] >= width or y[i] >= height:
                outside += 1
            elif t[i] < last:
                backwards += 1
            else:
                last = t[i]
                out_x[kept] = x[i]
                out_y[kept] = y[i]
                out_t[kept] = last
                out_p[kept] = p[i] != 0
                kept += 1
    return kept, outside, backwards


cdef inline int64_t decode_time(const uint8_t *element, bint swap) noexcept nogil:
    return (<int64_t><int32_t>load_u32(element + 4, swap)) * NS_PER_S + load_u32(element + 8, swap)


def element_time(const uint8_t[::1] data, Py_ssize_t start, bint swap):
    """Return the time in ns of the ``Event`` that begins at byte ``start``."""
    return decode_time(&data[start], swap)


cdef (Py_ssize_t, Py_ssize_t, Py_ssize_t) decode_elements(
        const uint8_t *first, Py_ssize_t n, bint swap, uint32_t width, uint32_t height,
        int64_t last, uint16_t *out_x, uint16_t *out_y, int64_t *out_t,
        uint8_t *out_p) noexcept nogil:
    cdef Py_ssize_t k, kept = 0, outside = 0, backwards = 0
    cdef const uint8_t *element = first
    cdef const uint8_t *place = first
    cdef uint16_t x, y
    cdef int64_t t
    for k in range(n):
        x = load_u16(place, swap)
        y = load_u16(place + 2, swap)
        t = decode_time(element, swap)
        out_x[kept] = x
        out_y[kept] = y
        out_t[kept] = t
        out_p[kept] = element[12] != 0
        if x >= width or y >= height:
            outside += 1
        elif t < last:
            backwards += 1
        else:
            last = t
            kept += 1
        element += STRIDE
        place = element - 2
    return kept, outside, backwards


def decode_event_array(const uint8_t[::1] data, Py_ssize_t start, Py_ssize_t n, bint swap,
                       uint32_t width, uint32_t height, int64_t last, uint16_t[::1] out_x,
                       uint16_t[::1] out_y, int64_t[::1] out_t, uint8_t[::1] out_p):
    """Decode ``n`` >= 1 elements of ``Event[]`` that begin at byte ``start``.

    Returns (kept, outside, reversed) as ``keep_valid`` does.
    """
    cdef Py_ssize_t kept, outside, backwards
    with nogil:
        # Two calls, so that the compiler specialises the loop for the common byte order.
        if swap:
            kept, outside, backwards = decode_elements(
                &data[start], n, True, width, height, last,
                &out_x[0], &out_y[0], &out_t[0], &out_p[0])
        else:
            kept, outside, backwards = decode_elements(
                &data[start], n, False, width, height, last,
                &out_x[0], &out_y[0], &out_t[0], &out_p[0])
    return kept, outside, backwards


def encode_event_array(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                       const uint8_t[::1] p, uint8_t[::1] out, Py_ssize_t start):
    """Write the events as little-endian ``Event[]`` elements from byte ``start`` on."""
    cdef Py_ssize_t i, n = x.shape[0]
    cdef uint8_t *element
    cdef uint8_t *place
    cdef int64_t second
    cdef int32_t sec
    cdef uint32_t nanosec
    cdef uint16_t value
    with nogil:
        for i in range(n):
            element = &out[start] + i * STRIDE
            place = element if i == 0 else element - 2
            second = t[i] // NS_PER_S
            if second * NS_PER_S > t[i]:
                second -= 1  # floor, as cdivision truncates: nanosec is never negative
            sec = <int32_t>second
            nanosec = <uint32_t>(t[i] - second * NS_PER_S)
            value = x[i]
            memcpy(place, &value, 2)
            value = y[i]
            memcpy(place + 2, &value, 2)
            memcpy(element + 4, &sec, 4)
            memcpy(element + 8, &nanosec, 4)
            element[12] = p[i]


def count_in_square(const uint16_t[::1] x, const uint16_t[::1] y, const uint8_t[::1] p,
                    double cx, double cy, double cos_roll, double sin_roll, double scale,
                    int32_t[:, ::1] counts):
    """Add ON minus OFF of the events inside an upright square to ``counts``; return how many.

    A pixel centre maps to ``u = ((x - cx) cos + (y - cy) sin) scale + size / 2`` and likewise
    ``v`` with the perpendicular axis; the cell is ``floor(u), floor(v)``.
    """
    cdef Py_ssize_t i, n = x.shape[0], inside = 0
    cdef int size = counts.shape[0], column, row
    cdef double dx, dy, u, v, half = 0.5 * size
    with nogil:
        for i in range(n):
            dx = x[i] + 0.5 - cx
            dy = y[i] + 0.5 - cy
            u = (dx * cos_roll + dy * sin_roll) * scale + half
            v = (dy * cos_roll - dx * sin_roll) * scale + half
            # Truncation is floor above 0; so it is one instruction instead of a call.
            if u < 0 or v < 0 or u >= size or v >= size:
                continue
            column, row = <int>u, <int>v
            counts[row, column] += 2 * p[i] - 1
            inside += 1
    return inside


def count_in_cells(const uint16_t[::1] x, const uint16_t[::1] y, int cell, int32_t[:, ::1] counts):
    """Add one per event to the square cell of ``cell`` pixels that it falls into."""
    cdef Py_ssize_t i, n = x.shape[0]
    with nogil:
        for i in range(n):
            counts[y[i] // cell, x[i] // cell] += 1
