# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Decode ECF, the Event Compression Format within Prophesee's HDF5 files.

A chunk tells its events column by column, little-endian, without gaps:

- 4 bytes: number of events << 2 | coordinates and polarity packed << 1 | x and polarity packed
- 8 bytes: time of the first event, us
- times: a byte whose high half is the step from the time before and whose low half counts the
  events of this time, 15 for "in the next two bytes"; a high half of 15 is no step, its low half
  continues a larger one, lowest half first, until a byte of another kind
- all packed: four events in three words of 32 bits, event = y << 12 | x << 1 | polarity
- else rows: a word of 16 bits, y << 5 | count, 31 for "in the next word"; then
- x and polarity packed: four events in three words of 16 bits, event = x << 1 | polarity
- or else x: a word of 16 bits, x << 5 | which of the next five columns fired as well; then
  polarities: a byte, polarity << 7 | count, 127 for "in the next two bytes"

A packed group of four is always whole, what is too much is no event.

Source: the format as prophesee-ai/hdf5_ecf (Apache-2.0), version 1.0.1, reads and writes it.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

DEF DAMAGED = -1


cdef inline uint32_t load_u16(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8


cdef inline uint32_t load_u32(const uint8_t *at) noexcept nogil:
    return load_u16(at) | load_u16(at + 2) << 16


cdef Py_ssize_t read_times(const uint8_t *data, Py_ssize_t at, Py_ssize_t size,
                           int64_t *t, Py_ssize_t n) noexcept nogil:
    """Return the place behind the times; so do the readers of the other columns."""
    cdef Py_ssize_t i = 0, j, count
    cdef uint64_t now, step
    cdef int shift
    if size - at < 8:
        return DAMAGED
    now = load_u32(data + at) | <uint64_t>load_u32(data + at + 4) << 32
    at += 8
    while i < n:
        if at >= size:
            return DAMAGED
        if data[at] < 0xf0:
            now += data[at] >> 4
            count = data[at] & 15
            at += 1
            if count == 15:
                if size - at < 2:
                    return DAMAGED
                count = load_u16(data + at)
                at += 2
            if count > n - i:
                return DAMAGED
            if n - i >= 4:  # most counts are small: write four, keep some
                t[i] = t[i + 1] = t[i + 2] = t[i + 3] = <int64_t>now
                j = 4
            else:
                j = 0
            for j in range(j, count):
                t[i + j] = <int64_t>now
            i += count
        else:
            step = 0
            shift = 0
            while at < size and data[at] >= 0xf0:
                if shift >= 64:
                    return DAMAGED
                step |= <uint64_t>(data[at] & 15) << shift
                shift += 4
                at += 1
            now += step
    return at


cdef Py_ssize_t read_packed(const uint8_t *data, Py_ssize_t at, Py_ssize_t size, uint16_t *x,
                            uint16_t *y, uint8_t *p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, j, left
    cdef uint32_t a, b, c
    cdef uint32_t events[4]
    if (size - at) // 12 < (n + 3) // 4:
        return DAMAGED
    for i in range(0, n, 4):
        a, b, c = load_u32(data + at), load_u32(data + at + 4), load_u32(data + at + 8)
        at += 12
        events[0] = a >> 8
        events[1] = (a & 0xff) | b >> 16 << 8
        events[2] = (b & 0xffff) | c >> 24 << 16
        events[3] = c & 0xffffff
        left = n - i if n - i < 4 else 4
        for j in range(left):
            y[i + j] = events[j] >> 12 & 0x7ff
            x[i + j] = events[j] >> 1 & 0x7ff
            p[i + j] = events[j] & 1
    return at


cdef Py_ssize_t read_rows(const uint8_t *data, Py_ssize_t at, Py_ssize_t size,
                          uint16_t *y, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0, j, count
    cdef uint16_t row
    while i < n:
        if size - at < 2:
            return DAMAGED
        row = load_u16(data + at) >> 5
        count = data[at] & 31
        at += 2
        if count == 31:
            if size - at < 2:
                return DAMAGED
            count = load_u16(data + at)
            at += 2
        if count > n - i:
            return DAMAGED
        if n - i >= 8:
            for j in range(8):
                y[i + j] = row
            j = 8
        else:
            j = 0
        for j in range(j, count):
            y[i + j] = row
        i += count
    return at


cdef Py_ssize_t read_columns_packed(const uint8_t *data, Py_ssize_t at, Py_ssize_t size,
                                    uint16_t *x, uint8_t *p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, j, left
    cdef uint32_t a, b, c
    cdef uint32_t events[4]
    if (size - at) // 6 < (n + 3) // 4:
        return DAMAGED
    for i in range(0, n, 4):
        a, b, c = load_u16(data + at), load_u16(data + at + 2), load_u16(data + at + 4)
        at += 6
        events[0] = a >> 4
        events[1] = (a & 0xf) | b >> 8 << 4
        events[2] = (b & 0xff) | c >> 12 << 8
        events[3] = c & 0xfff
        left = n - i if n - i < 4 else 4
        for j in range(left):
            x[i + j] = events[j] >> 1
            p[i + j] = events[j] & 1
    return at


cdef Py_ssize_t read_columns(const uint8_t *data, Py_ssize_t at, Py_ssize_t size,
                             uint16_t *x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0, j
    cdef uint32_t word
    while i < n:
        if size - at < 2:
            return DAMAGED
        word = load_u16(data + at)
        at += 2
        x[i] = word >> 5
        i += 1
        if n - i > 5:  # without branches: write each, keep those whose bit is set
            for j in range(5):
                x[i] = (word >> 5) + 1 + j
                i += word >> (4 - j) & 1
        else:
            for j in range(5):
                if word >> (4 - j) & 1 and i < n:
                    x[i] = (word >> 5) + 1 + j
                    i += 1
    return at


cdef Py_ssize_t read_polarities(const uint8_t *data, Py_ssize_t at, Py_ssize_t size,
                                uint8_t *p, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0, j, count
    cdef uint8_t value
    while i < n:
        if at >= size:
            return DAMAGED
        value = data[at] >> 7
        count = data[at] & 127
        at += 1
        if count == 127:
            if size - at < 2:
                return DAMAGED
            count = load_u16(data + at)
            at += 2
        if count > n - i:
            return DAMAGED
        if n - i >= 8:
            for j in range(8):
                p[i + j] = value
            j = 8
        else:
            j = 0
        for j in range(j, count):
            p[i + j] = value
        i += count
    return at


def decode(const uint8_t[::1] data, uint16_t[::1] x, uint16_t[::1] y, int64_t[::1] t,
           uint8_t[::1] p):
    """Write the events of a chunk into the columns, times in us.

    Returns how many, or -1 if the chunk is damaged: its parts do not fill it exactly, or it holds
    more events than the shortest column.
    """
    cdef Py_ssize_t size = data.shape[0], at = 4, n
    cdef uint32_t head
    if size < 4:
        return DAMAGED
    head = load_u32(&data[0])
    n = head >> 2
    if n > min(x.shape[0], y.shape[0], t.shape[0], p.shape[0]):
        return DAMAGED
    if n == 0:
        return 0
    with nogil:
        at = read_times(&data[0], at, size, &t[0], n)
        if at >= 0 and head & 2:
            at = read_packed(&data[0], at, size, &x[0], &y[0], &p[0], n)
        elif at >= 0:
            at = read_rows(&data[0], at, size, &y[0], n)
            if at >= 0 and head & 1:
                at = read_columns_packed(&data[0], at, size, &x[0], &p[0], n)
            elif at >= 0:
                at = read_columns(&data[0], at, size, &x[0], n)
                if at >= 0:
                    at = read_polarities(&data[0], at, size, &p[0], n)
    return n if at == size else DAMAGED
