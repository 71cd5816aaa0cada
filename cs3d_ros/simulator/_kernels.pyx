# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
The pixel array, compiled; a slow obvious twin stands in ``test/simulator/naive_pixel.py``.

docs/simulator.md has the equations. A frame goes through three passes: one that vectorises and
finds the few pixels that may fire, one over those that solves for the crossings, and a radix sort
of the events by their time. Times within a frame are offsets from the frame before, in ns.
"""
import numpy as np

from libc.math cimport M_PI, cos, exp, fabs, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from cs3d_ros.simulator._curve cimport (
    DARK_DN, Curve, cs3d_levels, cs3d_light_of, cs3d_log, cs3d_look, cs3d_low_pass, cs3d_sink,
    find_turn, look, next_crossing, value_at)

DEF CHUNK = 512  # pixels whose intermediate results stay in the first cache
DEF DIGIT = 11  # bits of a pass of the sort: its counters stay in the first cache as well
DEF WHITE_DN = 255.0
DEF NS = 1e-9
DEF ROUNDING_DN = 1e-3  # below 0 by no more than that is darkness
DEF MIN_THRESHOLD = 0.01


cdef struct Event:
    int64_t t  # offset in ns from the frame before
    uint16_t x
    uint16_t y
    uint8_t p


cdef uint64_t scramble(uint64_t z) noexcept nogil:
    """Return the output function of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef uint64_t draw(uint64_t *state) noexcept nogil:
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    return scramble(state[0])


cdef double uniform(uint64_t *state) noexcept nogil:
    """Return a number above 0, at most 1."""
    return ((draw(state) >> 11) + 1) * (1.0 / 9007199254740992.0)


cdef double gaussian(uint64_t *state) noexcept nogil:
    cdef double radius = sqrt(-2.0 * log(uniform(state)))
    return radius * cos(2.0 * M_PI * uniform(state))


cdef class PixelArray:
    """State of the pixels, and the loops over them; PixelModel checks what comes in."""

    cdef Py_ssize_t width, count
    cdef double rate, refractory, noise_half, noise_rate, light
    cdef uint64_t seed, noise_state
    cdef double next_noise
    cdef int64_t now
    cdef bint has_leak, is_filtered
    cdef double[::1] level, next_level, filtered, reference, on, off
    cdef float[::1] glow, next_glow, leak_dark, leak_lit
    cdef int64_t[::1] release
    cdef uint32_t[:, ::1] cells
    cdef int32_t[::1] first_noise
    cdef double[::1] level_of_byte
    cdef float[::1] glow_of_byte
    cdef Event *events
    cdef Event *spare
    cdef Py_ssize_t held, room, spare_room
    cdef Event *noise
    cdef int32_t *next_of
    cdef Py_ssize_t noise_held, noise_room
    cdef double expected_hz

    def __cinit__(self):
        self.events = self.spare = self.noise = NULL
        self.next_of = NULL

    def __dealloc__(self):
        free(self.events)
        free(self.spare)
        free(self.noise)
        free(self.next_of)

    def __init__(self, Py_ssize_t width, Py_ssize_t height, settings, const double[::1] bytes_dn,
                 uint64_t seed):
        cdef Py_ssize_t n = width * height, i
        self.width, self.count, self.seed = width, n, seed
        self.light = settings.light
        self.rate = 2.0 * M_PI * settings.cutoff_hz / (WHITE_DN + DARK_DN) * NS
        self.refractory = settings.refractory_us * 1e3
        self.noise_half = settings.shot_noise_half_dn
        self.noise_rate = settings.shot_noise_hz * n * NS
        self.level, self.next_level, self.filtered = (np.zeros(n) for _ in range(3))
        self.reference = np.zeros(n)
        self.glow, self.next_glow = (np.zeros(n, np.float32) for _ in range(2))
        self.release = np.zeros(n if self.refractory > 0 else 0, np.int64)
        has_lists = self.refractory > 0 and self.noise_rate > 0
        self.first_noise = np.full(n if has_lists else 0, -1, np.int32)
        self.on = self._thresholds(1, settings.on_threshold, settings.threshold_sigma)
        self.off = self._thresholds(2, settings.off_threshold, settings.threshold_sigma)
        self._set_leak(settings)
        self.is_filtered = self.rate > 0
        if self.noise_rate > 0:
            self._set_aliases()
        self.expected_hz += n * settings.shot_noise_hz
        self.level_of_byte, self.glow_of_byte = np.empty(256), np.empty(256, np.float32)
        cs3d_levels(256, &bytes_dn[0], &self.level_of_byte[0])
        for i in range(256):
            self.glow_of_byte[i] = <float>(bytes_dn[i] * self.light)

    cdef uint64_t stream(self, int purpose):
        """Return where the random numbers of a purpose begin."""
        return scramble(scramble(self.seed) + <uint64_t>purpose)

    def _thresholds(self, int purpose, double nominal, double sigma):
        cdef double[::1] values = np.full(self.count, nominal)
        cdef uint64_t state = self.stream(purpose)
        cdef Py_ssize_t i
        if sigma > 0:
            for i in range(self.count):
                values[i] = nominal + sigma * gaussian(&state)
                while values[i] < MIN_THRESHOLD:
                    values[i] = nominal + sigma * gaussian(&state)
        return values

    def _set_leak(self, settings):
        """Draw how fast each reference sinks: in the dark per ns, and per ns and DN of light."""
        cdef uint64_t state = self.stream(3)
        cdef double sigma = log(10.0) * settings.leak_spread, spread, dark
        cdef double dark_hz = settings.leak_rate_hz, lit_hz = settings.leak_light_hz / WHITE_DN
        cdef double hot_share = settings.hot_pixel_share, hot_hz = settings.hot_pixel_hz
        cdef Py_ssize_t i
        self.has_leak = dark_hz > 0 or lit_hz > 0 or (hot_share > 0 and hot_hz > 0)
        n = self.count if self.has_leak else 0
        self.leak_dark, self.leak_lit = np.zeros(n, np.float32), np.zeros(n, np.float32)
        for i in range(n):
            spread = exp(sigma * gaussian(&state) - 0.5 * sigma * sigma)
            dark = spread * dark_hz
            if uniform(&state) <= hot_share:
                dark += hot_hz
            self.leak_dark[i] = <float>(self.on[i] * dark * NS)
            self.leak_lit[i] = <float>(self.on[i] * spread * lit_hz * NS)
            self.expected_hz += dark + spread * lit_hz * WHITE_DN * self.light

    def _set_aliases(self):
        """Prepare to draw (pixel, polarity) in proportion to 1 / threshold (Vose 1991).

        Half of all draws is ON, whatever the nominal thresholds.
        """
        weights = [1.0 / np.asarray(self.on), 1.0 / np.asarray(self.off)]
        weights = np.concatenate([each / each.mean() for each in weights])
        cdef double[::1] left = weights
        cdef Py_ssize_t n = 2 * self.count, small, large
        # Of each cell the share that it keeps, of 2 ** 32, and the one that gets the rest.
        self.cells = np.stack([np.full(n, 2**32 - 1), np.arange(n)], 1).astype(np.uint32)
        poor = np.flatnonzero(weights < 1).astype(np.int32)
        cdef int32_t[::1] poor_ones = np.concatenate([poor, np.empty(n, np.int32)])
        cdef int32_t[::1] rich_ones = np.flatnonzero(weights >= 1).astype(np.int32)
        cdef Py_ssize_t poor_count = poor.size, rich = 0
        while poor_count and rich < rich_ones.shape[0]:
            poor_count -= 1
            small, large = poor_ones[poor_count], rich_ones[rich]
            self.cells[small, 0] = <uint32_t>(left[small] * 4294967295.0)
            self.cells[small, 1] = <uint32_t>large
            left[large] -= 1.0 - left[small]
            if left[large] < 1:
                poor_ones[poor_count] = <int32_t>large
                poor_count += 1
                rich += 1

    def spontaneous_hz(self):
        """Return how many events noise and leak are expected to make, at white and in the dark."""
        return self.expected_hz

    def load_bytes(self, const uint8_t[:, ::1] frame):
        """Take the next frame."""
        cdef const uint8_t *dn = &frame[0, 0]
        cdef double *level = &self.next_level[0]
        cdef float *glow = &self.next_glow[0]
        cdef const double *level_of_byte = &self.level_of_byte[0]
        cdef const float *glow_of_byte = &self.glow_of_byte[0]
        cdef Py_ssize_t i
        with nogil:
            for i in range(self.count):
                level[i] = level_of_byte[dn[i]]
            if self.needs_light():
                for i in range(self.count):
                    glow[i] = glow_of_byte[dn[i]]

    def load_floats(self, const double[:, ::1] frame, double highest):
        """Take the next frame, linear DN; return whether all lie between 0 and ``highest``."""
        cdef const double *dn = &frame[0, 0]
        cdef double *level = &self.next_level[0]
        cdef float *glow = &self.next_glow[0]
        cdef Py_ssize_t i, wrong = 0
        with nogil:
            for i in range(self.count):
                wrong += 0 if dn[i] >= -ROUNDING_DN and dn[i] <= highest else 1
            if not wrong:
                cs3d_levels(self.count, dn, level)
                if self.needs_light():
                    for i in range(self.count):
                        glow[i] = <float>(0.5 * (dn[i] + fabs(dn[i])) * self.light)
        return wrong == 0

    cdef bint needs_light(self) noexcept nogil:
        return self.is_filtered or self.has_leak or self.noise_rate > 0

    def begin(self):
        """Make the loaded frame the first one."""
        cdef uint64_t state = self.stream(4)
        cdef Py_ssize_t i
        self.swap()
        self.filtered[:] = self.level
        self.reference[:] = self.level
        if self.has_leak:
            # The camera has been on for long: a leaking reference is anywhere on its way down.
            for i in range(self.count):
                if self.leak_dark[i] > 0 or self.leak_lit[i] > 0:
                    self.reference[i] -= (1.0 - uniform(&state)) * self.on[i]
        self.release[:] = 0
        self.now = 0
        self.noise_state = self.stream(5)
        if self.noise_rate > 0:
            self.next_noise = cs3d_log(1.0 / uniform(&self.noise_state)) / self.noise_rate

    cdef void swap(self):
        self.level, self.next_level = self.next_level, self.level
        self.glow, self.next_glow = self.next_glow, self.glow

    def advance(self, int64_t span):
        """Make the events between the last frame and the loaded one; return how many."""
        cdef bint is_whole
        self.held = self.noise_held = 0
        with nogil:
            is_whole = self.noise_rate == 0 or self.make_noise(span)
            is_whole = is_whole and self.make_events(span)
        if not is_whole:
            raise MemoryError('no room for the events of one frame')
        self.swap()
        self.now += span
        return self.held

    cdef bint grow(self) noexcept nogil:
        """Make room for one more event; return whether there is."""
        cdef Py_ssize_t room = 2 * self.room + 1024
        cdef Event *bigger
        if self.held < self.room:
            return True
        bigger = <Event *>realloc(self.events, room * sizeof(Event))
        if bigger == NULL:
            return False
        self.events, self.room = bigger, room
        return True

    cdef void put(self, double when, int64_t span, Py_ssize_t i, bint is_on) noexcept nogil:
        """Write an event behind those that are held, without counting it yet."""
        cdef Event *event = &self.events[self.held]
        event.t = min(<int64_t>(when + 0.5), span)
        event.y = <uint16_t>(<uint32_t>i // <uint32_t>self.width)
        event.x = <uint16_t>(<uint32_t>i - event.y * <uint32_t>self.width)
        event.p = is_on

    cdef bint make_noise(self, int64_t span) noexcept nogil:
        """Draw the shot noise up to the loaded frame: one Poisson process over all pixels.

        Its rate is that of darkness; each of its events is kept with the probability that the
        light at its pixel and time leaves. The clock runs on from frame to frame, so that the
        same noise comes however often frames do.
        """
        cdef double frame_ns = <double>span, half = self.noise_half, glow
        cdef uint64_t bits, ways = 2 * <uint64_t>self.count, state = self.noise_state
        cdef const uint32_t *cell
        cdef Py_ssize_t way, i
        cdef double when = self.next_noise
        cdef bint is_kept, has_lists = self.first_noise.shape[0] > 0
        while when < frame_ns:
            bits = draw(&state)
            way = <Py_ssize_t>(((bits >> 32) * ways) >> 32)
            cell = &self.cells[way, 0]
            way = cell[1] if <uint32_t>bits > cell[0] else way
            i = way - self.count if way >= self.count else way
            glow = self.glow[i] + (self.next_glow[i] - self.glow[i]) * (when / frame_ns)
            is_kept = uniform(&state) * (half + glow) <= half
            if has_lists:
                if is_kept and not self.list_noise(when, i, way < self.count):
                    return False
            elif not self.grow():
                return False
            else:  # no branch on what is a toss of a coin
                self.put(when, span, i, way < self.count)
                self.held += is_kept
            when += cs3d_log(1.0 / uniform(&state)) / self.noise_rate
        self.next_noise = when - frame_ns
        self.noise_state = state
        return True

    cdef bint list_noise(self, double when, Py_ssize_t i, bint is_on) noexcept nogil:
        """Hang a noise event to its pixel, which may be blind by then."""
        cdef Event *bigger
        cdef int32_t *longer
        cdef int32_t *at = &self.first_noise[i]
        cdef Py_ssize_t room = 2 * self.noise_room + 1024
        if self.noise_held == self.noise_room:
            bigger = <Event *>realloc(self.noise, room * sizeof(Event))
            if bigger == NULL:
                return False
            self.noise = bigger
            longer = <int32_t *>realloc(self.next_of, room * sizeof(int32_t))
            if longer == NULL:
                return False
            self.next_of, self.noise_room = longer, room
        while at[0] >= 0:
            at = &self.next_of[at[0]]
        at[0] = <int32_t>self.noise_held
        self.next_of[self.noise_held] = -1
        self.noise[self.noise_held].t = <int64_t>(when + 0.5)
        self.noise[self.noise_held].p = is_on
        self.noise_held += 1
        return True

    cdef bint make_events(self, int64_t span) noexcept nogil:
        cdef uint8_t[CHUNK] may_fire
        cdef double[CHUNK] after, leak
        cdef Py_ssize_t first, i, n
        cdef double[::1] before = self.filtered if self.is_filtered else self.level
        for first in range(0, self.count, CHUNK):
            n = min(<Py_ssize_t>CHUNK, self.count - first)
            if self.is_filtered:
                cs3d_low_pass(n, self.rate * <double>span, &self.glow[first],
                              &self.next_glow[first], &self.level[first],
                              &self.next_level[first], &before[first], after)
            else:
                memcpy(after, &self.next_level[first], n * sizeof(double))
            if self.has_leak:
                cs3d_sink(n, <double>span, &self.leak_dark[first], &self.leak_lit[first],
                          &self.glow[first], &self.next_glow[first], leak)
            else:
                memset(leak, 0, n * sizeof(double))
            if self.is_filtered or self.has_leak:
                cs3d_look(n, &self.level[first], &self.next_level[first], &before[first], after,
                          &self.reference[first], &self.on[first], &self.off[first], leak,
                          may_fire)
            else:
                look(n, after, &self.reference[first], &self.on[first], &self.off[first],
                     may_fire)
            if self.release.shape[0]:
                for i in range(n):
                    may_fire[i] |= self.release[first + i] > self.now
            if self.first_noise.shape[0]:
                for i in range(n):
                    may_fire[i] |= self.first_noise[first + i] >= 0
            for i in range(n):
                if may_fire[i]:
                    if not self.fire(first + i, span, after[i]):
                        return False
                elif self.has_leak:
                    self.reference[first + i] -= leak[i]
            if self.is_filtered:
                memcpy(&self.filtered[first], after, n * sizeof(double))
        return True

    cdef double leak_between(self, Py_ssize_t i) noexcept nogil:
        """Return how fast a reference sinks up to the loaded frame, per ns."""
        return self.leak_dark[i] + self.leak_lit[i] * 0.5 * (self.glow[i] + self.next_glow[i])

    cdef bint fire(self, Py_ssize_t i, int64_t span, double after) noexcept nogil:
        """Write the events of a pixel and move its reference along, in order of time."""
        cdef Curve curve
        cdef double t = 0.0, t_is, crossing, on = self.on[i], off = self.off[i]
        cdef double reference = self.reference[i]  # as it would be at t = 0
        cdef int32_t noise = -1
        cdef bint is_on
        curve.level, curve.end = self.level[i], <double>span
        curve.slope = (self.next_level[i] - curve.level) / curve.end
        curve.rate = curve.lag = curve.leak = 0.0
        if self.has_leak:
            curve.leak = self.leak_between(i)
        if self.is_filtered:
            curve.rate = self.rate * (cs3d_light_of(self.glow[i], self.next_glow[i]) + DARK_DN)
            curve.lag = self.filtered[i] - curve.level
        curve.end_is = after + curve.leak * curve.end
        find_turn(&curve)
        t_is = curve.level + curve.lag
        if self.first_noise.shape[0]:
            noise = self.first_noise[i]
            self.first_noise[i] = -1
        if self.release.shape[0] and self.release[i] > self.now:
            reference += self.wait(&curve, &t, &t_is, <double>(self.release[i] - self.now))
        while t < curve.end:
            crossing = next_crossing(&curve, t, t_is, reference + on, reference - off, &is_on)
            while noise >= 0 and self.noise[noise].t < t:
                noise = self.next_of[noise]
            if noise >= 0 and (crossing < 0 or self.noise[noise].t <= crossing):
                t, is_on = <double>self.noise[noise].t, self.noise[noise].p
                noise = self.next_of[noise]
                t_is = value_at(&curve, t)
            elif crossing >= 0:
                # Exactly a threshold, not the level at the time solved for: no error adds up.
                reference += on if is_on else -off
                t, t_is = crossing, reference
            else:
                break
            if not self.grow():
                return False
            self.put(t, span, i, is_on)
            self.held += 1
            if self.release.shape[0]:
                self.release[i] = self.now + <int64_t>(t + self.refractory + 0.5)
                reference += self.wait(&curve, &t, &t_is, t + self.refractory)
        self.reference[i] = reference - curve.leak * curve.end
        return True

    cdef double wait(self, const Curve *curve, double *t, double *t_is,
                     double until) noexcept nogil:
        """Go to where a pixel sees again; return what its reference, held open, moves by."""
        cdef double start = t_is[0]
        t[0] = until if until < curve.end else curve.end
        t_is[0] = value_at(curve, t[0]) if until < curve.end else curve.end_is
        return t_is[0] - start

    def take(self, int64_t start_ns, uint16_t[::1] x, uint16_t[::1] y, int64_t[::1] t,
             uint8_t[::1] p):
        """Write the events in the order of their times, which begin at ``start_ns``."""
        cdef Py_ssize_t i
        cdef int64_t latest = 0
        cdef int shift = 0
        if self.spare_room < self.held:
            free(self.spare)
            self.spare = <Event *>malloc(self.room * sizeof(Event))
            self.spare_room = self.room if self.spare != NULL else 0
            if self.spare == NULL:
                raise MemoryError('no room to sort the events of one frame')
        with nogil:
            for i in range(self.held):
                latest = max(latest, self.events[i].t)
            while latest >> shift:
                self.sort_by(shift)
                shift += DIGIT
            for i in range(self.held):
                x[i], y[i], p[i] = self.events[i].x, self.events[i].y, self.events[i].p
                t[i] = start_ns + self.events[i].t

    cdef void sort_by(self, int shift) noexcept nogil:
        """Sort by a digit of the times, equals in the order they are in."""
        cdef Py_ssize_t[1 << DIGIT] starts
        cdef Py_ssize_t i, size, at = 0
        cdef int64_t digit
        memset(starts, 0, sizeof(starts))
        for i in range(self.held):
            starts[(self.events[i].t >> shift) & ((1 << DIGIT) - 1)] += 1
        for i in range(1 << DIGIT):
            size, starts[i] = starts[i], at
            at += size
        for i in range(self.held):
            digit = (self.events[i].t >> shift) & ((1 << DIGIT) - 1)
            self.spare[starts[digit]] = self.events[i]
            starts[digit] += 1
        self.events, self.spare = self.spare, self.events
        self.room, self.spare_room = self.spare_room, self.room
