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
from libc.stdint cimport UINT32_MAX, int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
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
    cdef uint32_t now, start
    cdef uint64_t pair
    cdef uint8_t supported
    # Plain pointers, as the compiler would look up those of the views anew for every event: for
    # all it knows, a store into ``keep`` may have changed them.
    cdef const uint16_t *column = &x[0]
    cdef const uint16_t *row = &y[0]
    cdef const int64_t *time = &t[0]
    cdef uint8_t *mark = &keep[0]
    with nogil:
        while i < n:
            stop = end_of_stretch(time, i, n, base, UINT32_MAX - reach)
            if stop == i:
                move_base(times, <uint64_t>time[i] - <uint64_t>base)
                base = time[i]
            start = <uint32_t>base - reach
            for i in range(i, stop):
                now = <uint32_t>time[i] - start
                cell = origin + row[i] * stride + column[i]
                supported = now - cell[0] < reach
                mark[i] = supported
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


cdef extern from "_shuffle.h":
    int can_shuffle
    void prepare_shuffles()
    Py_ssize_t shuffle_marked(
        const uint8_t *keep, Py_ssize_t n, const uint16_t *x, const uint16_t *y, const int64_t *t,
        const uint8_t *p, uint16_t *out_x, uint16_t *out_y, int64_t *out_t, uint8_t *out_p,
        Py_ssize_t *kept) noexcept nogil


prepare_shuffles()


def copy_marked(const uint8_t[::1] keep, const uint16_t[::1] x, const uint16_t[::1] y,
                const int64_t[::1] t, const uint8_t[::1] p, uint16_t[::1] out_x,
                uint16_t[::1] out_y, int64_t[::1] out_t, uint8_t[::1] out_p, bint by_one=False):
    """Copy the marked events to columns that have room for eight more than are marked.

    ``by_one`` is how processors other than x86-64 do it, which shuffles eight at a time.
    """
    cdef Py_ssize_t i = 0, n = x.shape[0], k = 0
    with nogil:
        if can_shuffle and not by_one:
            i = shuffle_marked(&keep[0], n, &x[0], &y[0], &t[0], &p[0],
                               &out_x[0], &out_y[0], &out_t[0], &out_p[0], &k)
        for i in range(i, n):
            out_x[k] = x[i]
            out_y[k] = y[i]
            out_t[k] = t[i]
            out_p[k] = p[i]
            k += keep[i]


def mark_rested(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                uint32_t[:, ::1] times, int64_t base, uint32_t reach, uint8_t[::1] keep):
    """Mark events that come at least ``reach`` after the last marked one of their pixel.

    Returns (marked, base).
    """
    cdef Py_ssize_t i = 0, stop, n = x.shape[0], marked = 0, stride = times.shape[1]
    cdef uint32_t *origin = &times[1, 1]
    cdef uint32_t *cell
    cdef uint32_t now
    cdef uint8_t rested
    with nogil:
        while i < n:
            stop = end_of_stretch(&t[0], i, n, base, UINT32_MAX - reach)
            if stop == i:
                move_base(times, <uint64_t>t[i] - <uint64_t>base)
                base = t[i]
            for i in range(i, stop):
                now = <uint32_t>(<uint64_t>t[i] - <uint64_t>base) + reach
                cell = origin + y[i] * stride + x[i]
                rested = now - cell[0] >= reach
                keep[i] = rested
                marked += rested
                cell[0] = now if rested else cell[0]
            i = stop
    return marked, base


def mark_cool(const uint16_t[::1] x, const uint16_t[::1] y, Py_ssize_t first, Py_ssize_t last,
              uint32_t[:, ::1] counts, const uint8_t[:, ::1] hot, uint8_t[::1] keep):
    """Mark the events [first, last) of pixels that are not hot, and count all; return marked."""
    cdef Py_ssize_t i, marked = 0, stride = counts.shape[1], width = hot.shape[1]
    cdef uint32_t *cells = &counts[2, 2]
    cdef const uint8_t *pixels = &hot[0, 0]
    cdef uint8_t cool
    with nogil:
        for i in range(first, last):
            cells[y[i] * stride + x[i]] += 1
            cool = not pixels[y[i] * width + x[i]]
            keep[i] = cool
            marked += cool
    return marked


cdef const uint32_t *two_busiest(const uint32_t *cell, Py_ssize_t stride,
                                 uint32_t *second) noexcept nogil:
    """Return the busiest of 8 neighbours, and the count of the one after it."""
    cdef Py_ssize_t i, j
    cdef const uint32_t *other
    cdef const uint32_t *busiest = cell - stride - 1
    second[0] = 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            other = cell + i * stride + j
            if other == cell or other == busiest:
                continue
            if other[0] > busiest[0]:
                second[0] = busiest[0]
                busiest = other
            elif other[0] > second[0]:
                second[0] = other[0]
    return busiest


def find_hot(const uint32_t[:, ::1] counts, uint32_t least, double ratio, uint8_t[:, ::1] hot):
    """Mark pixels of ``least`` events that stand alone, or are one of a pair that does.

    Alone means more than ``ratio`` times the events of any neighbour. The border of ``counts`` is
    two wide, as a neighbour's neighbours are looked at.
    """
    cdef Py_ssize_t row, column, stride = counts.shape[1]
    cdef const uint32_t *cell
    cdef const uint32_t *mate
    cdef uint32_t second, other
    with nogil:
        for row in range(hot.shape[0]):
            for column in range(hot.shape[1]):
                hot[row, column] = 0
                cell = &counts[row + 2, column + 2]
                if cell[0] < least:
                    continue
                mate = two_busiest(cell, stride, &second)
                if cell[0] > ratio * mate[0]:
                    hot[row, column] = 1
                elif cell[0] > ratio * second:
                    two_busiest(mate, stride, &other)
                    hot[row, column] = mate[0] > ratio * other


def mark_steady(const uint16_t[::1] x, const uint16_t[::1] y, const int64_t[::1] t,
                const uint8_t[::1] p, uint32_t[:, ::1] times, uint8_t[:, ::1] streaks,
                int64_t base, uint32_t reach, const uint32_t[::1] bands, uint8_t cycles,
                uint8_t[::1] keep):
    """Mark events of pixels that do not flicker.

    ``times`` has the last turn from OFF to ON of a pixel, ``streaks`` 128 for a last polarity of
    ON plus how many times in a row the time between two turns lay in one of the two ``bands``
    (lowest, highest, lowest, highest, in ns, the shorter first). Returns (marked, base).
    """
    cdef Py_ssize_t i = 0, stop, n = x.shape[0], marked = 0, stride = times.shape[1], at
    cdef uint32_t *cells = &times[0, 0]
    cdef uint8_t *states = &streaks[0, 0]
    cdef uint32_t now, age, low = bands[0], high = bands[1], low2 = bands[2], high2 = bands[3]
    cdef uint8_t steady, streak
    with nogil:
        while i < n:
            stop = end_of_stretch(&t[0], i, n, base, UINT32_MAX - reach)
            if stop == i:
                move_base(times, <uint64_t>t[i] - <uint64_t>base)
                base = t[i]
            for i in range(i, stop):
                now = <uint32_t>(<uint64_t>t[i] - <uint64_t>base) + reach
                at = (y[i] + 1) * stride + x[i] + 1
                age = now - cells[at]
                streak = states[at] & 127
                if age >= reach:
                    streak = 0
                # Light does not turn twice in half a cycle: what does is noise on top of it.
                if p[i] and states[at] < 128 and age > low // 2:
                    if low <= age <= high or low2 <= age <= high2:
                        streak += streak < cycles
                    else:
                        streak = 0
                    cells[at] = now
                states[at] = streak | (p[i] << 7)
                steady = streak < cycles
                keep[i] = steady
                marked += steady
            i = stop
    return marked, base


def mark_shares(const uint16_t[::1] x, const uint16_t[::1] y, int cell, Py_ssize_t columns,
                const int32_t[::1] counts, const int32_t[::1] shares, int32_t[::1] seen,
                uint8_t[::1] keep):
    """Mark as many events of each cell as its share, evenly among those it has; return marked."""
    cdef Py_ssize_t i, at, marked = 0
    cdef int64_t k
    cdef uint8_t chosen
    with nogil:
        for i in range(x.shape[0]):
            at = y[i] // cell * columns + x[i] // cell
            k = seen[at]
            seen[at] += 1
            # products of 32 bits fit 64
            chosen = (k + 1) * shares[at] // counts[at] != k * shares[at] // counts[at]
            keep[i] = chosen
            marked += chosen
    return marked
