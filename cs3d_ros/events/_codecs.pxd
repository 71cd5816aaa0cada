# cython: language_level=3
"""What the kernels of all codecs share: the state of a stream, and which events it keeps."""
from libc.stdint cimport int64_t, uint16_t

cdef enum:
    NS_PER_US = 1000
    NOWHERE = 0xffff  # a coordinate that no stream has told yet: outside of every sensor

# State of a stream of words, in one array.
cpdef enum:
    EPOCH_US = 0  # whole turns of the high bits
    HIGH_BITS = 1
    LOW_BITS = 2
    ROW_AT = 3
    BASE_AT = 4
    POLARITY = 5
    LAST_NS = 6  # of the newest event
    OUTSIDE = 7  # events dropped, by reason, and words without events
    BACKWARDS = 8
    TRIGGERS = 9
    STRANGE = 10
    IS_TIMED = 11  # 1: the high bits were told, 2: the low bits, too
    STATE_SIZE = 12


cdef inline uint16_t bits_in(uint16_t bits) noexcept nogil:
    bits = bits - ((bits >> 1) & 0x5555)
    bits = (bits & 0x3333) + ((bits >> 2) & 0x3333)
    bits = (bits + (bits >> 4)) & 0x0f0f
    return (bits + (bits >> 8)) & 0x1f


cdef inline bint is_valid(int64_t own, int64_t row, int64_t t, int64_t own_limit,
                          int64_t row_limit, int64_t *state) noexcept nogil:
    """Return whether an event is to be kept; count it where not."""
    if state[IS_TIMED] < 2 or row == NOWHERE or own >= NOWHERE:
        state[STRANGE] += 1  # the stream began in its midst: time or place are not told yet
    elif own >= own_limit or row >= row_limit:
        state[OUTSIDE] += 1
    elif t < state[LAST_NS]:
        state[BACKWARDS] += 1
    else:
        state[LAST_NS] = t
        return True
    return False
