# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops over the words of event cameras that hold whole events: EVT2, EVT2.1, libcaer, mono.

Callers own all checks of lengths and dtypes; nothing here allocates or raises. Output columns need
``SLACK`` rows more than events: rows are written before it is known whether they hold an event.
Slow obvious twins stand in ``test/naive.py``.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t

cdef extern from '_event_words.h' nogil:
    int lowest_bit(uint64_t bits)

SLACK = 16


cdef enum:
    EVT2_OFF = 0
    EVT2_ON = 1
    EVT2_HIGH = 8
    EVT2_TRIGGER = 10
    EVT2_OTHERS = 14
    EVT2_CONTINUED = 15


cdef inline void set_high_of_evt2(int64_t value, int64_t *state) noexcept nogil:
    # Further back than half a turn, it has wrapped; these clocks turn every 4.8 hours.
    if state[IS_TIMED] and state[HIGH_BITS] - value > 1 << 27:
        state[EPOCH_US] += <int64_t>1 << 34  # 28 high and 6 low bits
    state[HIGH_BITS] = value
    state[IS_TIMED] = 2


cdef inline int64_t high_ns_of_evt2(const int64_t *state) noexcept nogil:
    return <int64_t>(NS_PER_US * (<uint64_t>state[EPOCH_US] + (<uint64_t>state[HIGH_BITS] << 6)))


cdef inline void count_other_of_evt2(uint32_t kind, int64_t *state) noexcept nogil:
    if kind == EVT2_TRIGGER:
        state[TRIGGERS] += 1
    elif kind != EVT2_OTHERS and kind != EVT2_CONTINUED:
        state[STRANGE] += 1


def decode_evt2(const uint32_t[::1] words, int64_t width, int64_t height, int64_t[::1] state,
                uint16_t[::1] out_x, uint16_t[::1] out_y, int64_t[::1] out_t,
                uint8_t[::1] out_p):
    """Decode EVT2 words; return how many events were written."""
    cdef Py_ssize_t i, n = words.shape[0], kept = 0
    cdef uint32_t word, x, y
    cdef int64_t t, high, last
    cdef int64_t *s = &state[0]
    cdef bint is_good, is_timed = s[IS_TIMED] == 2
    with nogil:
        high, last = high_ns_of_evt2(s), s[LAST_NS]
        for i in range(n):
            word = words[i]
            if word >> 29:  # neither OFF nor ON
                if word >> 28 == EVT2_HIGH:
                    set_high_of_evt2(word & 0xfffffff, s)
                    high, is_timed = high_ns_of_evt2(s), True
                else:
                    count_other_of_evt2(word >> 28, s)
                continue
            x = (word >> 11) & 0x7ff
            y = word & 0x7ff
            t = high + <int64_t>((word >> 22) & 0x3f) * NS_PER_US
            out_x[kept] = x
            out_y[kept] = y
            out_t[kept] = t
            out_p[kept] = word >> 28
            is_good = (x < width) & (y < height) & (t >= last) & is_timed
            if is_good:
                last = t
                kept += 1
            else:
                s[LAST_NS] = last
                is_valid(x, y, t, width, height, s)
        s[LAST_NS] = last
    return kept


def count_in_evt21(const uint64_t[::1] words, int type_shift, int mask_shift):
    """Return how many events the words of EVT2.1 tell at most."""
    cdef Py_ssize_t i, total = 0
    cdef uint64_t word
    cdef uint32_t bits
    with nogil:
        for i in range(words.shape[0]):
            word = words[i]
            if (word >> type_shift) & 0xf <= EVT2_ON:
                bits = <uint32_t>(word >> mask_shift)
                total += bits_in(bits & 0xffff) + bits_in(bits >> 16)
    return total


def decode_evt21(const uint64_t[::1] words, bint halves_swapped, int64_t width, int64_t height,
                 int64_t[::1] state, uint16_t[::1] out_x, uint16_t[::1] out_y,
                 int64_t[::1] out_t, uint8_t[::1] out_p):
    """Decode EVT2.1 words, whose halves some sensors swap; return how many events were written."""
    cdef Py_ssize_t i, kept = 0
    cdef uint64_t word
    cdef uint32_t kind, bits, x, y
    cdef int64_t t
    cdef int64_t *s = &state[0]
    with nogil:
        for i in range(words.shape[0]):
            word = words[i]
            if halves_swapped:
                word = word << 32 | word >> 32
            kind = <uint32_t>(word >> 60)
            if kind > EVT2_ON:
                if kind == EVT2_HIGH:
                    set_high_of_evt2(<int64_t>((word >> 32) & 0xfffffff), s)
                else:
                    count_other_of_evt2(kind, s)
                continue
            x = (word >> 43) & 0x7ff
            y = (word >> 32) & 0x7ff
            t = high_ns_of_evt2(s) + <int64_t>((word >> 54) & 0x3f) * NS_PER_US
            bits = <uint32_t>word
            while bits:
                out_x[kept] = <uint16_t>(x + lowest_bit(bits))
                out_y[kept] = y
                out_t[kept] = t
                out_p[kept] = kind
                kept += is_valid(x + lowest_bit(bits), y, t, width, height, s)
                bits &= bits - 1
    return kept


def decode_libcaer(const uint64_t[::1] words, int64_t start_ns, int64_t width, int64_t height,
                   int64_t[::1] state, uint16_t[::1] out_x, uint16_t[::1] out_y,
                   int64_t[::1] out_t, uint8_t[::1] out_p):
    """
    Decode libcaer's polarity events; return how many were written.

    A word holds, from bit 0 on: valid, polarity, y (15 bits), x (15), time in us (31). Within one
    payload the time may wrap.
    """
    cdef Py_ssize_t i, n = words.shape[0], kept = 0
    cdef uint64_t word, turn = 0
    cdef uint32_t x, y, us, us_before = 0
    cdef int64_t t, last
    cdef int64_t *s = &state[0]
    with nogil:
        last = s[LAST_NS]
        for i in range(n):
            word = words[i]
            x = (word >> 17) & 0x7fff
            y = (word >> 2) & 0x7fff
            us = (word >> 32) & 0x7fffffff
            if us + (1 << 30) < us_before:
                turn += <uint64_t>1 << 31
            us_before = us
            t = <int64_t>(<uint64_t>start_ns + NS_PER_US * (turn + us))
            out_x[kept] = x
            out_y[kept] = y
            out_t[kept] = t
            out_p[kept] = (word >> 1) & 1
            if (word & 1) & (x < width) & (y < height) & (t >= last):
                last = t
                kept += 1
            elif not word & 1:
                s[STRANGE] += 1  # a filter of the driver took it out
            else:
                s[LAST_NS] = last
                is_valid(x, y, t, width, height, s)
        s[LAST_NS] = last
    return kept


def decode_mono(const uint64_t[::1] words, int64_t start_ns, int64_t width, int64_t height,
                int64_t[::1] state, uint16_t[::1] out_x, uint16_t[::1] out_y,
                int64_t[::1] out_t, uint8_t[::1] out_p):
    """
    Decode mono words; return how many events were written.

    A word holds, from bit 0 on: time in ns (32 bits), x (16), y (15), polarity.
    """
    cdef Py_ssize_t i, n = words.shape[0], kept = 0
    cdef uint64_t word
    cdef uint32_t x, y
    cdef int64_t t, last
    cdef int64_t *s = &state[0]
    with nogil:
        last = s[LAST_NS]
        for i in range(n):
            word = words[i]
            x = (word >> 32) & 0xffff
            y = (word >> 48) & 0x7fff
            t = <int64_t>(<uint64_t>start_ns + <uint32_t>word)
            out_x[kept] = x
            out_y[kept] = y
            out_t[kept] = t
            out_p[kept] = word >> 63
            if (x < width) & (y < height) & (t >= last):
                last = t
                kept += 1
            else:
                s[LAST_NS] = last
                is_valid(x, y, t, width, height, s)
        s[LAST_NS] = last
    return kept
