# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Compiled loops of the pixel model; the slow obvious twin stands in ``test/naive.py``."""
from libc.math cimport floor
from libc.stdint cimport int64_t, uint16_t, uint8_t


def count_crossings(const double[:, ::1] level, const double[:, ::1] reference,
                    double on_threshold, double off_threshold):
    """Return how many events the new levels will fire."""
    cdef Py_ssize_t row, column, total = 0
    cdef double change
    with nogil:
        for row in range(level.shape[0]):
            for column in range(level.shape[1]):
                change = level[row, column] - reference[row, column]
                if change >= on_threshold:
                    total += <Py_ssize_t>floor(change / on_threshold)
                elif change <= -off_threshold:
                    total += <Py_ssize_t>floor(-change / off_threshold)
    return total


def fire(const double[:, ::1] before, const double[:, ::1] level, double[:, ::1] reference,
         double on_threshold, double off_threshold, int64_t before_ns, int64_t now_ns,
         uint16_t[::1] x, uint16_t[::1] y, int64_t[::1] t, uint8_t[::1] p):
    """Write the crossings of each pixel in turn and move the references along.

    Between two frames the level is a straight line in time, so a crossing has its own time:
    ``before_ns + (now_ns - before_ns) * (reference - before) / (level - before)``.
    """
    cdef Py_ssize_t row, column, k, n, at = 0
    cdef double change, step, rise, when, span = now_ns - before_ns
    cdef bint is_on
    with nogil:
        for row in range(level.shape[0]):
            for column in range(level.shape[1]):
                change = level[row, column] - reference[row, column]
                is_on = change >= on_threshold
                if is_on:
                    n = <Py_ssize_t>floor(change / on_threshold)
                    step = on_threshold
                elif change <= -off_threshold:
                    n = <Py_ssize_t>floor(-change / off_threshold)
                    step = -off_threshold
                else:
                    continue
                rise = level[row, column] - before[row, column]
                for k in range(1, n + 1):
                    # A level that came to rest an ulp below its threshold may cross it by rounding
                    # of the reference alone: the crossing then belongs to the interval's start.
                    when = 0.0
                    if rise * step > 0:
                        when = (reference[row, column] + k * step - before[row, column]) / rise
                        when = span * min(max(when, 0.0), 1.0)
                    x[at] = <uint16_t>column
                    y[at] = <uint16_t>row
                    t[at] = before_ns + <int64_t>(when + 0.5)
                    p[at] = is_on
                    at += 1
                reference[row, column] += n * step
    return at
