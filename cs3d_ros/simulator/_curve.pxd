# cython: language_level=3, cdivision=True
"""
What a pixel sees between two frames: levels, the low pass, the leak, and when it crosses.

Everything is a function of the offset from the frame before, in ns. The straight line of the
level, its low pass and the leak add up to one curve, a + b t + c exp(-t / tau), which turns round
at most once.
"""
from libc.math cimport fabs
from libc.stdint cimport uint8_t

cdef extern from "_lanes.h" nogil:
    double cs3d_log(double)
    double cs3d_exp_of_minus(double)
    double cs3d_light_of(float, float)
    void cs3d_levels(Py_ssize_t, const double *, double *)
    void cs3d_low_pass(Py_ssize_t, double, const float *, const float *, const double *,
                       const double *, const double *, double *)
    void cs3d_sink(Py_ssize_t, double, const float *, const float *, const float *,
                   const float *, double *)
    void cs3d_look(Py_ssize_t, const double *, const double *, const double *, const double *,
                   const double *, const double *, const double *, const double *, uint8_t *)

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


cdef inline void look(Py_ssize_t n, const double *level, const double *reference, const double *on,
                      const double *off, uint8_t *may_fire) noexcept nogil:
    """Mark the pixels that fire, without low pass and leak."""
    cdef Py_ssize_t i
    cdef double contrast
    for i in range(n):
        contrast = level[i] - reference[i]
        may_fire[i] = (contrast >= on[i]) | (contrast <= -off[i])
