# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
The compiled loop of AEDAT 4: events as they lie on disk to columns.

The caller owns all checks of lengths and dtypes; a slow obvious twin stands in ``test/naive.py``.
"""
from libc.stdint cimport INT64_MAX, int16_t, int64_t, uint16_t, uint8_t
from libc.string cimport memcpy

DEF STRIDE = 16  # bytes: int64 time in us, int16 x, int16 y, bool polarity, padding
DEF NS_PER_US = 1000


def decode_events(const uint8_t[::1] data, Py_ssize_t start, Py_ssize_t n, int width, int height,
                  int64_t last_ns, uint16_t[::1] out_x, uint16_t[::1] out_y, int64_t[::1] out_t,
                  uint8_t[::1] out_p):
    """Decode ``n`` events from byte ``start`` on; keep those inside that do not go back in time.

    Returns (kept, outside, backwards, beyond): the last counts times that do not fit int64 ns.
    """
    cdef Py_ssize_t i, kept = 0, outside = 0, backwards = 0, beyond = 0
    cdef const uint8_t *event = &data[0] + start
    cdef int64_t t, latest_us = INT64_MAX // NS_PER_US
    cdef int16_t x, y
    with nogil:
        for i in range(n):
            memcpy(&t, event, 8)
            memcpy(&x, event + 8, 2)
            memcpy(&y, event + 10, 2)
            if t > latest_us or t < -latest_us:
                beyond += 1
                t = 0
            t *= NS_PER_US
            out_x[kept] = <uint16_t>x
            out_y[kept] = <uint16_t>y
            out_t[kept] = t
            out_p[kept] = event[12] != 0
            if x < 0 or y < 0 or x >= width or y >= height:
                outside += 1
            elif t < last_ns:
                backwards += 1
            else:
                last_ns = t
                kept += 1
            event += STRIDE
    return kept, outside, backwards, beyond
