# cython: language_level=3, cdivision=True
"""
What a pixel sees between two frames: levels, the low pass, the leak, and when it crosses.

Everything is a function of the offset from the frame before, in ns. The straight line of the
level, its low pass and the leak add up to one curve, a + b t + c exp(-t / tau), which turns round
at most once.
"""
from libc.math cimport fabs
from libc.stdint cimport uint8_t

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

    static inline double cs3d_exp_of_minus(double x) /* 0 <= x <= 700; right to 3e-13 */
    {
        const double shift = 6755399441055744.0; /* 1.5 * 2^52: leaves an integer in low bits */
        double n = shift - x * 1.4426950408889634, r, scale;
        uint64_t bits;
        memcpy(&bits, &n, 8);
        n -= shift;
        r = (-x - n * 0.6931471803691238) - n * 1.9082149292705877e-10; /* ln 2 in two parts */
        bits = (bits + 1023) << 52;
        memcpy(&scale, &bits, 8);
        r = 1 + r * (1 + r * (1. / 2 + r * (1. / 6 + r * (1. / 24 + r * (1. / 120 + r * (1. / 720
            + r * (1. / 5040 + r * (1. / 40320 + r * (1. / 362880 + r / 3628800)))))))));
        return r * scale;
    }

    static inline float cs3d_at_most(float value, float highest) /* both >= 0 */
    {
        int32_t a, b; /* whose order is that of the floats; gcc vectorises no min of floats */
        memcpy(&a, &value, 4);
        memcpy(&b, &highest, 4);
        a = a < b ? a : b;
        memcpy(&value, &a, 4);
        return value;
    }
    """
    double cs3d_log(double) noexcept nogil
    double cs3d_exp_of_minus(double) noexcept nogil
    float cs3d_at_most(float, float) noexcept nogil

DEF LINEAR_BELOW_DN = 20.0  # below it the logarithm gives way to a line (v2e, section 4.2)
DEF LINEAR_SLOPE = 0.14978661367769955  # ln(20) / 20 per DN
DEF SOLVED_NS = 0.05  # a twentieth of the resolution of the times

cdef enum:
    DARK_DN = 20  # bandwidth that is left in the dark, as if of so much light (v2e)


cdef struct Curve:  # contrast that a pixel gathers between two frames, if its reference stays
    double level  # at the frame before, ln
    double slope  # of the level, per ns
    double lag  # low-passed level minus level, there
    double rate  # 1 / time constant, per ns; 0 without low pass
    double leak  # per ns
    double turn  # offset at which it stops to rise or fall, ns; 0 for never
    double turn_is  # its value there
    double end  # offset of the frame to come
    double end_is


cdef inline double level_of(double dn) noexcept nogil:
    """Return ln(DN), continued by a line through 0 below 20 DN."""
    cdef double bright = dn if dn > LINEAR_BELOW_DN else LINEAR_BELOW_DN
    cdef double value = cs3d_log(bright)
    return value if dn > LINEAR_BELOW_DN else dn * LINEAR_SLOPE


cdef inline double gone_after(double x) noexcept nogil:
    """Return 1 - exp(-x) for x >= 0."""
    if x < 0.02:  # where the difference would lose digits
        return x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5 * (1 - x / 6)))))
    return 1.0 - cs3d_exp_of_minus(x if x < 700.0 else 700.0)


cdef inline double value_at(const Curve *curve, double t) noexcept nogil:
    """Return the low-passed level plus what the reference has sunk."""
    cdef double gone
    if curve.rate == 0:
        return curve.level + (curve.slope + curve.leak) * t
    gone = gone_after(curve.rate * t)
    return (curve.level + curve.lag * (1.0 - gone) + curve.slope * (t - gone / curve.rate)
            + curve.leak * t)


cdef inline void find_turn(Curve *curve) noexcept nogil:
    """Find the only extremum within the frame, where the curve has one."""
    cdef double ratio = 0.0, t, pull = curve.slope + curve.rate * curve.lag
    curve.turn = 0.0
    if curve.rate > 0 and pull != 0:
        ratio = (curve.slope + curve.leak) / pull
    if 0.0 < ratio < 1.0:
        t = cs3d_log(1.0 / ratio) / curve.rate
        if t < curve.end:
            curve.turn, curve.turn_is = t, value_at(curve, t)


cdef inline double solve(const Curve *curve, double wanted, double low, double low_is, double high,
                         double high_is) noexcept nogil:
    """Return where the curve is ``wanted``, on a stretch where it only rises or falls.

    ``low_is`` and ``high_is`` are its values at the ends. Halley's steps, and where they would
    leave the stretch, halves of it.
    """
    cdef double t = low + (high - low) * ((wanted - low_is) / (high_is - low_is))
    cdef double left, off, steepness, bend, better, step
    cdef int k
    if curve.rate == 0:
        return t
    for k in range(100):
        left = 1.0 - gone_after(curve.rate * t)
        off = value_at(curve, t) - wanted
        if (off > 0) == (high_is > wanted):
            high = t
        else:
            low = t
        steepness = curve.slope + curve.leak - (curve.slope + curve.rate * curve.lag) * left
        bend = (curve.slope + curve.rate * curve.lag) * curve.rate * left
        if steepness == 0:
            better = -1.0
        else:
            better = t - off / (steepness - 0.5 * off * bend / steepness)
        step = fabs(better - t)
        if not low <= better <= high:
            t = 0.5 * (low + high)
            if high - low < SOLVED_NS:
                return t
            continue
        t = better
        # A step of Newton's leaves an error of bend / steepness / 2 * step ** 2, one of Halley's
        # less; within a time constant the bend changes by a factor of e at the most.
        if step < SOLVED_NS or (step * curve.rate < 1.0
                                and 3.0 * fabs(bend) * step * step < SOLVED_NS * fabs(steepness)):
            return t
    return t


cdef inline double next_crossing(const Curve *curve, double t, double t_is, double on, double off,
                                 bint *is_on) noexcept nogil:
    """Return the first offset from t on at which the curve reaches ``on`` or ``off``, or -1."""
    is_on[0] = t_is >= on
    if is_on[0] or t_is <= off:
        return t  # by rounding alone: what was crossed as the frame before ended
    if t < curve.turn:
        is_on[0] = curve.turn_is >= on
        if is_on[0] or curve.turn_is <= off:
            return solve(curve, on if is_on[0] else off, t, t_is, curve.turn, curve.turn_is)
        t, t_is = curve.turn, curve.turn_is
    is_on[0] = curve.end_is >= on
    if is_on[0] or curve.end_is <= off:
        return solve(curve, on if is_on[0] else off, t, t_is, curve.end, curve.end_is)
    return -1.0


cdef inline double light_of(float before, float after) noexcept nogil:
    """Return by which light the low pass goes between two frames.

    What a pixel gathers of a straight line grows with the time, so that the bandwidth at the end
    weighs twice that at the beginning; half as wrong as the mean, found by small steps.
    """
    return (before + 2.0 * after) * (1.0 / 3.0)


cdef inline void low_pass(Py_ssize_t n, double rate, const float *glow, const float *next_glow,
                          const double *level, const double *next_level, const double *before,
                          double *after) noexcept nogil:
    """Find the low-passed levels; ``rate`` is the span over the time constant of 1 DN."""
    cdef double slow = min(rate, 17.5), x, left, light
    cdef float brightest = <float>(700.0 / slow - DARK_DN)  # beyond, nothing is left anyway
    cdef Py_ssize_t i
    for i in range(n):
        light = light_of(glow[i], next_glow[i])
        left = cs3d_exp_of_minus(slow * (cs3d_at_most(<float>light, brightest) + DARK_DN))
        x = rate * (light + DARK_DN)
        after[i] = (next_level[i] + (before[i] - level[i]) * left
                    - (next_level[i] - level[i]) * ((1.0 - left) / x))


cdef inline void sink(Py_ssize_t n, double span, const float *dark, const float *lit,
                      const float *glow, const float *next_glow, double *leak) noexcept nogil:
    """Find by how much the references sink."""
    cdef Py_ssize_t i
    for i in range(n):
        leak[i] = span * (dark[i] + lit[i] * 0.5 * (glow[i] + next_glow[i]))


cdef inline void look(Py_ssize_t n, const double *level, const double *reference, const double *on,
                      const double *off, uint8_t *may_fire) noexcept nogil:
    """Mark the pixels that fire, without low pass and leak."""
    cdef Py_ssize_t i
    cdef double contrast
    for i in range(n):
        contrast = level[i] - reference[i]
        may_fire[i] = (contrast >= on[i]) | (contrast <= -off[i])


cdef inline void look_closely(Py_ssize_t n, const double *level, const double *next_level,
                              const double *before, const double *after, const double *reference,
                              const double *on, const double *off, const double *leak,
                              uint8_t *may_fire) noexcept nogil:
    """Mark the pixels that may fire, by low-passed levels before and after.

    A low-passed level that turns round in between does so where it meets the level, so that it
    stays within the levels of both frames.
    """
    cdef double high, low
    cdef bint turns
    cdef Py_ssize_t i
    for i in range(n):
        high, low = reference[i] + on[i] - leak[i], reference[i] - off[i]
        turns = (level[i] - before[i]) * (next_level[i] - after[i]) < 0
        may_fire[i] = (after[i] >= high) | (after[i] <= low) | turns & (
            (level[i] >= high) | (level[i] <= low)
            | (next_level[i] >= high) | (next_level[i] <= low))
