# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
The pixel array, compiled; a slow obvious twin stands in ``test/simulator/naive_pixel.py``.

docs/simulator.md has the equations. A frame goes through three passes: one that vectorises and
finds the few pixels that may fire, one over those that solves for the crossings, and a radix sort
of the events by their time. Times within a frame are offsets from the frame before, in ns.
"""
import numpy as np

from libc.math cimport M_PI, cos, exp, expm1, fabs, log, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* libm's log and exp, which no compiler vectorises without giving up IEEE rules elsewhere. */

    static inline double cs3d_log(double x) /* x >= 1 */
    {
        const double two52 = 4503599627370496.0;
        uint64_t bits, exponent;
        double e, m, s, z;
        memcpy(&bits, &x, 8);
        exponent = (bits - 0x3fe6a09e667f3bcdULL) >> 52; /* so that the rest is about 1 */
        bits -= exponent << 52;
        memcpy(&m, &bits, 8);
        bits = exponent | 0x4330000000000000ULL;
        memcpy(&e, &bits, 8);
        s = (m - 1.0) / (m + 1.0); /* log m = 2 artanh s, |s| <= 0.172 */
        z = s * s;
        z = s + s * z * (1. / 3 + z * (1. / 5 + z * (1. / 7 + z * (1. / 9 + z * (1. / 11
            + z * (1. / 13 + z * (1. / 15 + z * (1. / 17 + z * (1. / 19)))))))));
        return (e - two52) * 0.6931471805599453 + 2.0 * z;
    }

    static inline double cs3d_exp_of_minus(double x) /* x >= 0 */
    {
        const double shift = 6755399441055744.0; /* 1.5 * 2^52: leaves the integer in low bits */
        double n, r, scale;
        uint64_t bits;
        x = x < 700.0 ? x : 700.0;
        n = shift - x * 1.4426950408889634;
        memcpy(&bits, &n, 8);
        n -= shift;
        r = (-x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
        bits = (bits + 1023) << 52;
        memcpy(&scale, &bits, 8);
        r = 1 + r * (1 + r / 2 * (1 + r / 3 * (1 + r / 4 * (1 + r / 5 * (1 + r / 6 * (1 + r / 7
            * (1 + r / 8 * (1 + r / 9 * (1 + r / 10 * (1 + r / 11 * (1 + r / 12)))))))))));
        return r * scale;
    }
    """
    double cs3d_log(double) noexcept nogil
    double cs3d_exp_of_minus(double) noexcept nogil

DEF CHUNK = 512  # pixels whose intermediate results stay in the first cache
DEF DIGIT = 11  # bits of a pass of the sort: its counters stay in the first cache as well
DEF LINEAR_BELOW_DN = 20.0  # below it the logarithm gives way to a line (v2e, section 4.2)
DEF LINEAR_SLOPE = 0.14978661367769955  # ln(20) / 20 per DN
DEF DARK_DN = 20.0  # v2e: bandwidth that is left in the dark, as if of so much light
DEF WHITE_DN = 275.0  # 255 + DARK_DN
DEF NS = 1e-9
DEF SOLVED_NS = 0.05  # a twentieth of the resolution of the times
DEF MIN_THRESHOLD = 0.01


cdef struct Event:
    int64_t t  # offset in ns from the frame before
    uint16_t x
    uint16_t y
    uint8_t p


cdef struct Curve:  # what a pixel sees between two frames, and what its reference does
    double level  # at the frame before, ln
    double slope  # of the level, per ns
    double lag  # low-passed level minus level, at the frame before
    double rate  # 1 / time constant, per ns; 0 without low pass
    double leak  # by which the reference sinks, per ns
    double span  # ns
    double turn  # offset at which level and leak stop to rise or fall; -1 for never


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


cdef double level_of(double dn) noexcept nogil:
    """Return ln(DN), continued by a line through 0 below 20 DN."""
    cdef double bright = dn if dn > LINEAR_BELOW_DN else LINEAR_BELOW_DN
    cdef double value = cs3d_log(bright)
    return value if dn > LINEAR_BELOW_DN else dn * LINEAR_SLOPE


cdef double seen(const Curve *curve, double t) noexcept nogil:
    """Return the low-passed level at an offset."""
    cdef double gone
    if curve.rate == 0:
        return curve.level + curve.slope * t
    gone = -expm1(-curve.rate * t)
    return curve.level + curve.lag * (1.0 - gone) + curve.slope * (t - gone / curve.rate)


cdef double turning(const Curve *curve) noexcept nogil:
    """Return where seen() plus leak has its only extremum, or -1."""
    cdef double ratio, t, pull
    if curve.rate == 0:
        return -1.0
    pull = curve.slope + curve.rate * curve.lag
    if pull == 0:
        return -1.0
    ratio = (curve.slope + curve.leak) / pull
    if not 0.0 < ratio < 1.0:
        return -1.0
    t = -log(ratio) / curve.rate
    return t if t < curve.span else -1.0


cdef double solve(const Curve *curve, double wanted, double low, double low_is, double high,
                  double high_is) noexcept nogil:
    """Return where seen() plus leak is ``wanted``, on a stretch where it only rises or falls.

    ``low_is`` and ``high_is`` are what it is above ``wanted`` at the ends of the stretch. Newton's
    steps, halving the stretch where they would leave it.
    """
    cdef double t = low + (high - low) * (low_is / (low_is - high_is))
    cdef double gone, off, steepness, better
    cdef int k
    if curve.rate == 0:
        return t
    for k in range(100):
        gone = -expm1(-curve.rate * t)
        off = (curve.level + curve.lag * (1.0 - gone)
               + curve.slope * (t - gone / curve.rate) + curve.leak * t - wanted)
        if (off > 0) == (high_is > 0):
            high = t
        else:
            low = t
        steepness = curve.slope * gone - curve.rate * curve.lag * (1.0 - gone) + curve.leak
        better = t - off / steepness if steepness != 0 else -1.0
        if not low <= better <= high:
            better = 0.5 * (low + high)
        if fabs(better - t) < SOLVED_NS:
            return better
        t = better
    return t


cdef double next_crossing(const Curve *curve, double t, double contrast, double on, double off,
                          bint *is_on) noexcept nogil:
    """Return the next offset from t on at which a pixel fires, or -1.

    ``contrast`` is how far the level is above the reference at t.
    """
    cdef double end, there, begin = seen(curve, t) + curve.leak * t, wanted
    cdef int part
    for part in range(2):
        is_on[0] = contrast > 0
        if contrast >= on or contrast <= -off:
            return t  # by rounding alone: what was crossed at the end of the frame before
        end = curve.turn if part == 0 else curve.span
        if end <= t:
            continue
        there = contrast + (seen(curve, end) + curve.leak * end - begin)
        if there >= on or there <= -off:
            is_on[0] = there > 0
            wanted = on if is_on[0] else -off
            return solve(curve, begin + wanted - contrast, t, contrast - wanted, end,
                         there - wanted)
        begin, contrast, t = begin + (there - contrast), there, end
    return -1.0


cdef class PixelArray:
    """State of the pixels, and the loops over them; PixelModel checks what comes in."""

    cdef Py_ssize_t width, count
    cdef double rate, refractory, noise_half, noise_rate, light, leak_light
    cdef uint64_t seed, noise_state
    cdef double next_noise
    cdef int64_t now
    cdef bint has_leak, is_filtered
    cdef double[::1] level, next_level, filtered, reference, on, off
    cdef float[::1] glow, next_glow, leak_dark, leak_lit
    cdef int64_t[::1] release
    cdef uint32_t[::1] keep_share
    cdef int32_t[::1] other, first_noise
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
        self.rate = 2.0 * M_PI * settings.cutoff_hz / WHITE_DN * NS
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
        for i in range(256):
            self.level_of_byte[i] = level_of(bytes_dn[i])
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
        cdef double dark_hz = settings.leak_rate_hz, lit_hz = settings.leak_light_hz / 255.0
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
            self.expected_hz += dark + spread * lit_hz * 255.0 * self.light

    def _set_aliases(self):
        """Prepare to draw (pixel, polarity) in proportion to 1 / threshold (Vose 1991).

        Half of all draws is ON, whatever the nominal thresholds.
        """
        weights = [1.0 / np.asarray(self.on), 1.0 / np.asarray(self.off)]
        weights = np.concatenate([each / each.mean() for each in weights])
        cdef double[::1] left = weights
        cdef Py_ssize_t n = 2 * self.count, small, large
        self.keep_share = np.full(n, 0xFFFFFFFF, np.uint32)
        self.other = np.arange(n, dtype=np.int32)
        poor = np.flatnonzero(weights < 1).astype(np.int32)
        cdef int32_t[::1] poor_ones = np.concatenate([poor, np.empty(n, np.int32)])
        cdef int32_t[::1] rich_ones = np.flatnonzero(weights >= 1).astype(np.int32)
        cdef Py_ssize_t poor_count = poor.size, rich = 0
        while poor_count and rich < rich_ones.shape[0]:
            poor_count -= 1
            small, large = poor_ones[poor_count], rich_ones[rich]
            self.keep_share[small] = <uint32_t>(left[small] * 4294967295.0)
            self.other[small] = <int32_t>large
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
        cdef Py_ssize_t i
        cdef uint64_t wrong = 0
        with nogil:
            for i in range(self.count):
                wrong += 0 if dn[i] >= 0 and dn[i] <= highest else 1
            if not wrong:
                for i in range(self.count):
                    level[i] = level_of(dn[i])
                if self.needs_light():
                    for i in range(self.count):
                        glow[i] = <float>(dn[i] * self.light)
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
            self.next_noise = -log(uniform(&self.noise_state)) / self.noise_rate

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

    cdef bint emit(self, double when, int64_t span, Py_ssize_t i, bint is_on) noexcept nogil:
        cdef Event *bigger
        if self.held == self.room:
            bigger = <Event *>realloc(self.events, (2 * self.room + 1024) * sizeof(Event))
            if bigger == NULL:
                return False
            self.events, self.room = bigger, 2 * self.room + 1024
        cdef Event *event = &self.events[self.held]
        event.t = <int64_t>(when + 0.5)
        if event.t > span:
            event.t = span
        event.x, event.y = <uint16_t>(i % self.width), <uint16_t>(i // self.width)
        event.p = is_on
        self.held += 1
        return True

    cdef bint make_noise(self, int64_t span) noexcept nogil:
        """Draw the shot noise up to the loaded frame: one Poisson process over all pixels.

        Its rate is that of darkness; each of its events is kept with the probability that the
        light at its pixel and time leaves. The clock runs on from frame to frame, so that the
        same noise comes however often frames do.
        """
        cdef double frame_ns = <double>span, half = self.noise_half, glow
        cdef uint64_t bits, cells = 2 * <uint64_t>self.count
        cdef uint64_t state = self.noise_state
        cdef Py_ssize_t cell, i
        cdef double when = self.next_noise
        while when < frame_ns:
            bits = draw(&state)
            cell = <Py_ssize_t>(((bits >> 32) * cells) >> 32)
            if <uint32_t>bits > self.keep_share[cell]:
                cell = self.other[cell]
            i = cell if cell < self.count else cell - self.count
            glow = self.glow[i] + (self.next_glow[i] - self.glow[i]) * (when / frame_ns)
            if uniform(&state) * (half + glow) <= half:
                if self.first_noise.shape[0]:
                    if not self.list_noise(when, i, cell < self.count):
                        return False
                elif not self.emit(when, span, i, cell < self.count):
                    return False
            when -= log(uniform(&state)) / self.noise_rate
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
        cdef double[CHUNK] after
        cdef Py_ssize_t first, i, n
        for first in range(0, self.count, CHUNK):
            n = min(<Py_ssize_t>CHUNK, self.count - first)
            if self.is_filtered or self.has_leak:
                self.look_at(first, n, <double>span, after, may_fire)
            else:
                self.look(first, n, after, may_fire)
            if self.release.shape[0]:
                for i in range(n):
                    may_fire[i] |= self.release[first + i] > self.now
            if self.first_noise.shape[0]:
                for i in range(n):
                    may_fire[i] |= self.first_noise[first + i] >= 0
            for i in range(n):
                if may_fire[i] and not self.fire(first + i, span, &after[i]):
                    return False
            if self.is_filtered:
                for i in range(n):
                    self.filtered[first + i] = after[i]
        return True

    cdef void look(self, Py_ssize_t first, Py_ssize_t n, double *after,
                   uint8_t *may_fire) noexcept nogil:
        """Mark the pixels that fire, without low pass and leak."""
        cdef const double *now = &self.next_level[first]
        cdef const double *reference = &self.reference[first]
        cdef const double *on = &self.on[first]
        cdef const double *off = &self.off[first]
        cdef Py_ssize_t i
        cdef double contrast
        for i in range(n):
            contrast = now[i] - reference[i]
            may_fire[i] = (contrast >= on[i]) | (contrast <= -off[i])

    cdef void look_at(self, Py_ssize_t first, Py_ssize_t n, double span, double *after,
                      uint8_t *may_fire) noexcept nogil:
        """Find the low-passed levels, let references leak, and mark the pixels that may fire.

        A low-passed level that turns round in between does so where it meets the level, so that
        it stays within the levels of both frames.
        """
        cdef const double *before = &self.level[first]
        cdef const double *now = &self.next_level[first]
        cdef const double *filtered = &self.filtered[first]
        cdef double *reference = &self.reference[first]
        cdef const double *on = &self.on[first]
        cdef const double *off = &self.off[first]
        cdef const float *glow = &self.glow[first]
        cdef const float *next_glow = &self.next_glow[first]
        cdef double x, left, leak, highest, lowest, was, lag, rate = self.rate * span
        cdef Py_ssize_t i
        if self.is_filtered:
            for i in range(n):
                x = rate * (0.5 * (glow[i] + next_glow[i]) + DARK_DN)
                left = cs3d_exp_of_minus(x)
                after[i] = (now[i] + (filtered[i] - before[i]) * left
                            - (now[i] - before[i]) * ((1.0 - left) / x))
        else:
            for i in range(n):
                after[i] = now[i]
        for i in range(n):
            leak = self.leak_between(first + i) * span if self.has_leak else 0.0
            was = filtered[i] if self.is_filtered else before[i]
            highest = lowest = after[i]
            lag = (before[i] - was) * (now[i] - after[i])
            if lag < 0:
                highest = max(highest, max(before[i], now[i]))
                lowest = min(lowest, min(before[i], now[i]))
            may_fire[i] = (highest - reference[i] + leak >= on[i]) | (
                lowest - reference[i] <= -off[i])
            reference[i] -= 0.0 if may_fire[i] else leak

    cdef double leak_between(self, Py_ssize_t i) noexcept nogil:
        """Return how fast a reference sinks up to the loaded frame, per ns."""
        return self.leak_dark[i] + self.leak_lit[i] * 0.5 * (self.glow[i] + self.next_glow[i])

    cdef bint fire(self, Py_ssize_t i, int64_t span, double *after) noexcept nogil:
        """Write the events of a pixel and move its reference along, in order of time."""
        cdef Curve curve
        cdef double t = 0.0, crossing, noise_at, contrast, event_at
        cdef double reference = self.reference[i], on = self.on[i], off = self.off[i]
        cdef int32_t noise = -1
        cdef bint is_on
        curve.level, curve.span = self.level[i], <double>span
        curve.slope = (self.next_level[i] - curve.level) / curve.span
        curve.rate = curve.lag = 0.0
        if self.is_filtered:
            curve.rate = self.rate * (0.5 * (self.glow[i] + self.next_glow[i]) + DARK_DN)
            curve.lag = self.filtered[i] - curve.level
        curve.leak = self.leak_between(i) if self.has_leak else 0.0
        curve.turn = turning(&curve)
        if self.first_noise.shape[0]:
            noise = self.first_noise[i]
            self.first_noise[i] = -1
        contrast = curve.level + curve.lag - reference
        if self.release.shape[0] and self.release[i] > self.now:
            reference += self.wait(&curve, &t, <double>(self.release[i] - self.now))
        while t < curve.span:
            crossing = next_crossing(&curve, t, contrast, on, off, &is_on)
            while noise >= 0 and self.noise[noise].t < t:
                noise = self.next_of[noise]
            if noise >= 0 and (crossing < 0 or self.noise[noise].t <= crossing):
                event_at = <double>self.noise[noise].t
                is_on = self.noise[noise].p
                noise = self.next_of[noise]
                reference -= curve.leak * (event_at - t)
                contrast = seen(&curve, event_at) - reference
            elif crossing >= 0:
                event_at = crossing
                # Exactly a threshold, not the level at the time solved for: no error adds up.
                reference += (on if is_on else -off) - curve.leak * (event_at - t)
                contrast = 0.0
            else:
                break
            if not self.emit(event_at, span, i, is_on):
                return False
            t = event_at
            if self.release.shape[0]:
                self.release[i] = self.now + <int64_t>(event_at + self.refractory + 0.5)
                reference += self.wait(&curve, &t, event_at + self.refractory)
        after[0] = seen(&curve, curve.span)
        self.reference[i] = reference - curve.leak * (curve.span - t)
        return True

    cdef double wait(self, const Curve *curve, double *t, double until) noexcept nogil:
        """Go to where a pixel sees again; return what its reference, held open, moves by."""
        cdef double start = seen(curve, t[0])
        t[0] = until if until < curve.span else curve.span
        return seen(curve, t[0]) - start

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
