# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops over events: check, decode, encode.

Callers own all checks of lengths and dtypes; nothing here allocates or raises. Slow obvious twins
stand in ``test/naive.py``.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t, INT64_MIN
from libc.string cimport memcpy

# Byte offsets of an element of ``Event[]`` in XCDR1, counted from the first element; every member
# aligns to its own size, so x and y of elements 1, 2, ... follow the polarity of their predecessor.
DEF STRIDE = 16
DEF NS_PER_S = 1000000000
DEF BLOCK = 256  # elements that are decoded anew, one by one, where one of them is to be dropped

cdef extern from '_event_elements.h' nogil:
    enum: CS3D_ELEMENTS_AT_ONCE
    bint decode_within_second(const uint8_t *place, long count, int32_t sec, uint32_t width,
                              uint32_t height, int64_t last_ns, uint16_t *x, uint16_t *y,
                              int64_t *t, uint8_t *p)


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


cdef class CdrReader:
    """
    Reader of the plain CDR bytes of a message, in either byte order, from its header on.

    Every read raises ``IndexError`` with the end it needed if the bytes end before; ``at`` is the
    offset in bytes from the start of the buffer, that of the encapsulation.
    """
    cdef const uint8_t[::1] data
    cdef readonly Py_ssize_t at
    cdef readonly bint is_swapped

    def __init__(self, const uint8_t[::1] data):
        self.data = data
        self.at = 0
        self.need(4)
        self.is_swapped = data[1] == 0
        self.at = 4

    cpdef Py_ssize_t need(self, Py_ssize_t size) except -1:
        """Return the offset after as many more bytes, which must be there."""
        if size > self.data.shape[0] - self.at:
            raise IndexError(self.at + size)
        return self.at + size

    cdef int align(self, Py_ssize_t size) except -1:
        # Members align to their own size, counted from the end of the encapsulation.
        self.at += -(self.at - 4) & (size - 1)
        self.need(size)
        return 0

    def uint8(self):
        self.need(1)
        self.at += 1
        return self.data[self.at - 1]

    cdef uint32_t load(self) except? 0:
        self.align(4)
        self.at += 4
        return load_u32(&self.data[self.at - 4], self.is_swapped)

    def uint32(self):
        return self.load()

    def uint64(self):
        cdef uint64_t low, high
        self.align(8)
        low = self.load()
        high = self.load()
        return low << 32 | high if self.is_swapped else high << 32 | low

    def header(self):
        """Return the stamp in ns, and the frame id, of a ``std_msgs/Header``."""
        cdef int64_t sec = <int32_t>self.load(), nanosec = self.load()
        return sec * NS_PER_S + nanosec, self.string()

    def string(self):
        """Return the bytes of a string, without its closing zero, which counts."""
        cdef Py_ssize_t size = self.load(), start = self.at
        self.need(size)
        self.at += size
        if size <= 1:
            return b''
        return (<const char *>&self.data[start])[: size - 1]


cdef inline int64_t decode_time(const uint8_t *element, bint swap) noexcept nogil:
    return (<int64_t><int32_t>load_u32(element + 4, swap)) * NS_PER_S + load_u32(element + 8, swap)


cdef struct Dropped:
    Py_ssize_t outside
    Py_ssize_t backwards


cdef Py_ssize_t decode_each(const uint8_t *place, Py_ssize_t n, bint swap, uint32_t width,
                            uint32_t height, int64_t last, uint16_t *out_x, uint16_t *out_y,
                            int64_t *out_t, uint8_t *out_p, Dropped *dropped) noexcept nogil:
    """Decode elements that are not the first of a message; return how many were kept."""
    cdef Py_ssize_t k, kept = 0
    cdef uint16_t x, y
    cdef int64_t t
    for k in range(n):
        x = load_u16(place, swap)
        y = load_u16(place + 2, swap)
        t = decode_time(place + 2, swap)
        out_x[kept] = x
        out_y[kept] = y
        out_t[kept] = t
        out_p[kept] = place[14] != 0
        if x >= width or y >= height:
            dropped.outside += 1
        elif t < last:
            dropped.backwards += 1
        else:
            last = t
            kept += 1
        place += STRIDE
    return kept


def decode_event_array(const uint8_t[::1] data, Py_ssize_t start, Py_ssize_t n, bint swap,
                       uint32_t width, uint32_t height, int64_t last, uint16_t[::1] out_x,
                       uint16_t[::1] out_y, int64_t[::1] out_t, uint8_t[::1] out_p):
    """Decode ``n`` >= 1 elements of ``Event[]`` that begin at byte ``start``.

    Returns (kept, outside, reversed) as ``keep_valid`` does.
    """
    cdef Py_ssize_t k = 1, kept = 0, size, more
    cdef const uint8_t *place
    cdef uint8_t first[STRIDE]
    cdef Dropped dropped
    with nogil:
        dropped.outside = dropped.backwards = 0
        # The first element, laid out as the others are.
        place = &data[start]
        memcpy(first, place, 4)
        memcpy(first + 6, place + 4, 9)
        kept = decode_each(first, 1, swap, width, height, last, &out_x[0], &out_y[0], &out_t[0],
                           &out_p[0], &dropped)
        while k < n:
            place = &data[start] + k * STRIDE - 2
            if kept:
                last = out_t[kept - 1]
            # The last element may end with the buffer, before its padding.
            size = min(BLOCK, (n - 1 - k) // CS3D_ELEMENTS_AT_ONCE * CS3D_ELEMENTS_AT_ONCE)
            if not swap and size and decode_within_second(
                    place, size, <int32_t>load_u32(place + 6, False), width, height, last,
                    &out_x[kept], &out_y[kept], &out_t[kept], &out_p[kept]):
                more = size
            else:
                size = min(BLOCK, n - k)
                more = decode_each(place, size, swap, width, height, last, &out_x[kept],
                                   &out_y[kept], &out_t[kept], &out_p[kept], &dropped)
            kept += more
            k += size
    return kept, dropped.outside, dropped.backwards


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
