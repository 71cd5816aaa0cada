# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Compiled loops over streams of 16-bit words, EVT3 and libcaer_cmp: decode, count, encode.

Their type stands in the top four bits: an event tells one coordinate, and shares the other, and
its time, with those before it. As in ``_codecs.pyx``, callers own all checks, and output columns
need ``SLACK`` rows more than events.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t

from cs3d_ros.events._codecs cimport (
    BASE_AT, EPOCH_US, HIGH_BITS, IS_TIMED, LAST_NS, LOW_BITS, NOWHERE, NS_PER_US, POLARITY, ROW_AT,
    STRANGE, TRIGGERS, bits_in, is_valid)

cdef extern from '_event_words.h' nogil:
    enum: CS3D_WORDS_AT_ONCE

    ctypedef struct word_types:
        uint64_t single
        uint64_t row
        uint64_t low
        uint64_t plain

    word_types types_of_words(const uint16_t *words, unsigned single, unsigned row, unsigned low,
                              uint16_t same, bint has_fill)
    int lowest_bit(uint64_t bits)
    int highest_bit(uint64_t bits)
    void fill_bit_tables()
    long write_byte(unsigned byte, unsigned first, unsigned row, int64_t t, unsigned polarity,
                    uint16_t *own_out, uint16_t *row_out, int64_t *t_out, uint8_t *p_out)

fill_bit_tables()

DEF HIGH_WRAP_US = 1 << 24  # after the 12 high and the 12 low bits
DEF JITTER = 10  # steps of the high bits that they may fall back by without having wrapped
DEF WORTHWHILE = 16  # words that are decoded faster together than one by one

# What a type of word means; the index of each in the table of types, in codecs.py.
cpdef enum:
    SINGLE = 0  # an event: its own coordinate and polarity
    ROW = 1  # the coordinate that the next events share
    LOW = 2  # low bits of the time
    HIGH = 3  # high bits of the time
    BASE = 4  # first own coordinate, and polarity, of a vector of events
    VECTOR_12 = 5
    VECTOR_8 = 6
    TRIGGER = 7
    FILL = 8  # says nothing about events
    UNKNOWN = 9

cdef struct Columns:
    uint16_t *own  # the coordinate that each event tells
    uint16_t *row  # the one that events share
    int64_t *t
    uint8_t *p


def count_in_words(const uint16_t[::1] words, unsigned single, unsigned vector_12,
                   unsigned vector_8):
    """Return how many events the words tell at most; vectors are counted exactly."""
    cdef Py_ssize_t start, i, end, n = words.shape[0], total = 0
    cdef uint16_t singles, vectors, kind
    with nogil:
        # Sums in 16 bits, over no more words than they hold, so that the compiler adds eight at once.
        for start in range(0, n, 256):
            end = min(start + 256, n)
            singles = vectors = 0
            for i in range(start, end):
                kind = words[i] >> 12
                singles += kind == single
                vectors += (kind == vector_12) | (kind == vector_8)
            total += singles
            if not vectors:
                continue
            vectors = 0
            for i in range(start, end):
                kind = words[i] >> 12
                vectors += bits_in(words[i] & <uint16_t>(
                    (0xfff if kind == vector_12 else 0) | (0xff if kind == vector_8 else 0)))
            total += vectors
    return total


cdef inline int64_t time_of(int64_t start_ns, const int64_t *state) noexcept nogil:
    # Unsigned: what a damaged stream adds up to may run over.
    return <int64_t>(<uint64_t>start_ns + NS_PER_US * (
        <uint64_t>state[EPOCH_US] + (<uint64_t>state[HIGH_BITS] << 12)
        + <uint64_t>state[LOW_BITS]))


cdef Py_ssize_t decode_each(const uint16_t *words, Py_ssize_t n, const uint8_t *roles, bint turns,
                            int64_t own_limit, int64_t row_limit, int64_t start_ns,
                            int64_t *state, Columns out) noexcept nogil:
    """Decode words one by one; return how many events were written."""
    cdef Py_ssize_t i, kept = 0
    cdef uint32_t word, value, role
    cdef int64_t t = time_of(start_ns, state), row = state[ROW_AT]
    for i in range(n):
        word = words[i]
        value = word & 0xfff
        role = roles[word >> 12]
        if role == SINGLE:
            out.own[kept] = value & 0x7ff
            out.row[kept] = <uint16_t>row
            out.t[kept] = t
            out.p[kept] = value >> 11
            kept += is_valid(value & 0x7ff, row, t, own_limit, row_limit, state)
        elif role == ROW:
            row = value & 0x7ff
        elif role == LOW:
            state[LOW_BITS] = value
            if state[IS_TIMED]:
                state[IS_TIMED] = 2
            t = time_of(start_ns, state)
        elif role == HIGH:
            if state[HIGH_BITS] != value or not state[IS_TIMED]:
                if turns and state[IS_TIMED] and state[HIGH_BITS] > value + JITTER:
                    state[EPOCH_US] += HIGH_WRAP_US
                state[HIGH_BITS] = value
                state[LOW_BITS] = 0  # those that are known belong to the last high bits
                state[IS_TIMED] |= 1
                t = time_of(start_ns, state)
        elif role == BASE:
            state[BASE_AT] = value & 0x7ff
            state[POLARITY] = value >> 11
        elif role == VECTOR_12:
            kept += expand(value, True, state[BASE_AT], row, t, own_limit, row_limit, state, out,
                           kept)
            state[BASE_AT] += 12
        elif role == VECTOR_8:
            kept += expand(value & 0xff, False, state[BASE_AT], row, t, own_limit, row_limit,
                           state, out, kept)
            state[BASE_AT] += 8
        elif role == TRIGGER:
            state[TRIGGERS] += 1
        elif role == UNKNOWN:
            state[STRANGE] += 1
    state[ROW_AT] = row
    return kept


cdef inline Py_ssize_t expand(uint32_t bits, bint is_long, int64_t own, int64_t row, int64_t t,
                              int64_t own_limit, int64_t row_limit, int64_t *state, Columns out,
                              Py_ssize_t at) noexcept nogil:
    """Write an event for each bit; return how many were kept."""
    cdef Py_ssize_t kept = 0
    cdef int64_t last = state[LAST_NS]
    cdef int i
    if (state[IS_TIMED] == 2 and own + 12 <= own_limit and row < row_limit and row != NOWHERE
            and t >= last):
        state[LAST_NS] = t if bits else last
        kept = write_byte(bits & 0xff, own, row, t, state[POLARITY], out.own + at, out.row + at,
                          out.t + at, out.p + at)
        if is_long:
            at += kept
            kept += write_byte(bits >> 8, own + 8, row, t, state[POLARITY], out.own + at,
                               out.row + at, out.t + at, out.p + at)
        return kept
    for i in range(12):
        if (bits >> i) & 1:
            out.own[at + kept] = <uint16_t>(own + i)
            out.row[at + kept] = <uint16_t>row
            out.t[at + kept] = t
            out.p[at + kept] = <uint8_t>state[POLARITY]
            kept += is_valid(own + i, row, t, own_limit, row_limit, state)
    return kept


cdef Py_ssize_t decode_plain(const uint16_t *words, word_types types, int64_t own_limit,
                             int64_t row_limit, int64_t start_ns, int64_t *state,
                             Columns out) noexcept nogil:
    """
    Decode a block of nothing but single events, rows and low times; return how many, or -1.

    Where row and time of an event were told is found by bit scans instead of by going through the
    words, whose order no branch predictor knows. -1, with the state as it was: an event is to be
    dropped, and ``decode_each`` must tell why.
    """
    cdef Py_ssize_t kept = 0
    cdef uint64_t left = types.single, until
    cdef int32_t row = <int32_t>state[ROW_AT], low = <int32_t>state[LOW_BITS], low_before = low
    # Differences that are negative if an event is to be dropped: their sign bits are gathered.
    cdef int32_t fault = 0, own_last = <int32_t>own_limit - 1, row_last = <int32_t>row_limit - 1
    cdef int64_t high = time_of(start_ns, state) - NS_PER_US * low
    if high + NS_PER_US * low < state[LAST_NS]:
        return -1
    # Until row and time were both told in this block, they may be those from before it.
    while left:
        until = left ^ (left - 1)
        if types.row & until:
            row = words[highest_bit(types.row & until)] & 0x7ff
        if types.low & until:
            low = words[highest_bit(types.low & until)] & 0xfff
        fault |= write_event(words[lowest_bit(left)], row, low, low_before, own_last, row_last,
                             high, out, kept)
        low_before = low
        kept += 1
        left &= left - 1
        if types.row & until and types.low & until:
            break
    while left:
        until = left ^ (left - 1)
        row = words[highest_bit(types.row & until)] & 0x7ff
        low = words[highest_bit(types.low & until)] & 0xfff
        fault |= write_event(words[lowest_bit(left)], row, low, low_before, own_last, row_last,
                             high, out, kept)
        low_before = low
        kept += 1
        left &= left - 1
    if fault < 0:
        return -1
    if kept:
        state[LAST_NS] = out.t[kept - 1]
    if types.row:
        state[ROW_AT] = words[highest_bit(types.row)] & 0x7ff
    if types.low:
        state[LOW_BITS] = words[highest_bit(types.low)] & 0xfff
    return kept


cdef inline int32_t write_event(uint32_t word, int32_t row, int32_t low, int32_t low_before,
                                int32_t own_last, int32_t row_last, int64_t high, Columns out,
                                Py_ssize_t at) noexcept nogil:
    """Write a single event; return a negative number if it is to be dropped."""
    cdef int32_t own = word & 0x7ff
    out.own[at] = <uint16_t>own
    out.row[at] = <uint16_t>row
    out.t[at] = high + <int64_t>low * NS_PER_US
    out.p[at] = (word >> 11) & 1
    return (own_last - own) | (row_last - row) | (low - low_before)


cdef inline Py_ssize_t plain_words(word_types *types) noexcept nogil:
    """Return how many words are plain before the first that is not; forget the types after it."""
    cdef uint64_t before
    if types.plain == <uint64_t>-1:
        return CS3D_WORDS_AT_ONCE
    before = (~types.plain & (types.plain + 1)) - 1  # all bits below the lowest zero
    types.single &= before
    types.row &= before
    types.low &= before
    return lowest_bit(~types.plain)


def decode_words(const uint16_t[::1] words, const uint8_t[::1] roles, unsigned single,
                 unsigned row, unsigned low, unsigned high, bint has_fill, bint turns,
                 int64_t own_limit, int64_t row_limit, int64_t start_ns, int64_t[::1] state,
                 uint16_t[::1] out_own, uint16_t[::1] out_row, int64_t[::1] out_t,
                 uint8_t[::1] out_p):
    """
    Decode a stream of 16-bit words; return how many events were written.

    ``roles`` tells what each type of word means; ``single``, ``row``, ``low`` and ``high`` are the
    types with those roles, ``has_fill`` whether types 7, 14 and 15 are fill, and ``turns`` whether
    high bits that fall back have wrapped.
    """
    cdef Py_ssize_t i = 0, n = words.shape[0], kept = 0, step, more, plain
    cdef bint was_plain = False
    cdef const uint16_t *at
    cdef const uint8_t *role_of = &roles[0]
    cdef int64_t *s = &state[0]
    cdef word_types types
    cdef Columns out
    if not n:
        return 0
    at = &words[0]
    with nogil:
        while i < n:
            out.own, out.row = &out_own[kept], &out_row[kept]
            out.t, out.p = &out_t[kept], &out_p[kept]
            step, more, plain = min(<Py_ssize_t>CS3D_WORDS_AT_ONCE, n - i), -1, 0
            if step == CS3D_WORDS_AT_ONCE and s[IS_TIMED] == 2 and s[ROW_AT] != NOWHERE:
                types = types_of_words(at + i, single, row, low,
                                       <uint16_t>(high << 12 | s[HIGH_BITS]), has_fill)
                plain = plain_words(&types)
                if plain >= WORTHWHILE:
                    step = plain
                    more = decode_plain(at + i, types, own_limit, row_limit, start_ns, s, out)
                elif was_plain:
                    step = WORTHWHILE  # a trigger or new high bits, and then go on as before
                was_plain = plain >= WORTHWHILE
            if more < 0:
                more = decode_each(at + i, step, role_of, turns, own_limit, row_limit, start_ns,
                                   s, out)
            kept += more
            i += step
    return kept


def encode_evt3(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                const uint8_t[::1] p, uint16_t[::1] out):
    """
    Write events as EVT3 words, times and rows where they change; return how many words.

    Four words an event are enough, or two more after each 4,096 us.
    """
    cdef Py_ssize_t i, n = x.shape[0], at = 0
    cdef int64_t us, high, last_us = -1, last_high = -1
    cdef int32_t last_y = -1
    with nogil:
        for i in range(n):
            us = t[i] // NS_PER_US
            if us * NS_PER_US > t[i]:
                us -= 1  # floor, as cdivision truncates
            us &= HIGH_WRAP_US - 1
            high = us >> 12
            if high != last_high:
                out[at] = <uint16_t>(0x8000 | high)
                at += 1
                last_us = -1
            if us != last_us:
                out[at] = <uint16_t>(0x6000 | (us & 0xfff))
                at += 1
            if y[i] != last_y:
                out[at] = y[i]
                at += 1
            out[at] = <uint16_t>(0x2000 | p[i] << 11 | x[i])
            at += 1
            last_us, last_high, last_y = us, high, y[i]
    return at
