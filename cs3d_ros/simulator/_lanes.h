/* Loops over all pixels of a frame, written so that compilers vectorise them.
 *
 * C and not Cython, as a function of Cython cannot be built for several processors at once: these
 * take the widest registers that the processor has. All builds give the same results, bit by bit,
 * as long as products and sums are not contracted (setup.py says so to the compiler).
 */
#ifndef CS3D_SIMULATOR_LANES_H
#define CS3D_SIMULATOR_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) \
    && !defined(__SANITIZE_ADDRESS__) && !defined(CS3D_PORTABLE)
#define CS3D_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CS3D_WIDE
#endif

#define CS3D_LINEAR_BELOW_DN 20.0             /* v2e, section 4.2 */
#define CS3D_LINEAR_SLOPE 0.14978661367769955 /* ln(20) / 20 per DN */
#define CS3D_DARK_DN 20.0                     /* v2e: bandwidth in the dark is that of so much */

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

/* By which light the low pass goes between two frames. What a pixel gathers of a straight line
 * grows with the time, so that the light at the end weighs twice that at the beginning: half as
 * wrong as the mean. */
static inline double cs3d_light_of(float before, float after)
{
    return (before + 2.0 * after) * (1.0 / 3.0);
}

/* ln(DN), continued by a line through 0 below 20 DN; what is below 0 by rounding is 0. */
CS3D_WIDE static void cs3d_levels(ptrdiff_t n, const double *restrict dn, double *restrict level)
{
    ptrdiff_t i;
    for (i = 0; i < n; ++i) {
        double above = dn[i] - CS3D_LINEAR_BELOW_DN;
        double bright = CS3D_LINEAR_BELOW_DN + 0.5 * (above + __builtin_fabs(above));
        double dark = dn[i] - 0.5 * (above + __builtin_fabs(above));
        dark = 0.5 * (dark + __builtin_fabs(dark));
        level[i] = cs3d_log(bright) - (CS3D_LINEAR_BELOW_DN - dark) * CS3D_LINEAR_SLOPE;
    }
}

/* Low-passed levels; rate is the span over the time constant of 1 DN. */
CS3D_WIDE static void cs3d_low_pass(
    ptrdiff_t n, double rate, const float *restrict glow, const float *restrict next_glow,
    const double *restrict level, const double *restrict next_level,
    const double *restrict before, double *restrict after)
{
    double slow = rate < 17.5 ? rate : 17.5; /* so that the darkest is within what exp takes */
    float brightest = (float)(700.0 / slow - CS3D_DARK_DN); /* beyond, nothing is left anyway */
    ptrdiff_t i;
    for (i = 0; i < n; ++i) {
        double light = cs3d_light_of(glow[i], next_glow[i]);
        double x = rate * (light + CS3D_DARK_DN);
        double left = cs3d_exp_of_minus(
            slow * (cs3d_at_most((float)light, brightest) + CS3D_DARK_DN));
        after[i] = next_level[i] + (before[i] - level[i]) * left
            - (next_level[i] - level[i]) * ((1.0 - left) / x);
    }
}

/* By how much references sink. */
CS3D_WIDE static void cs3d_sink(
    ptrdiff_t n, double span, const float *restrict dark, const float *restrict lit,
    const float *restrict glow, const float *restrict next_glow, double *restrict leak)
{
    ptrdiff_t i;
    for (i = 0; i < n; ++i)
        leak[i] = span * (dark[i] + lit[i] * (0.5 * (glow[i] + next_glow[i])));
}

/* Mark the pixels that may fire, by low-passed levels before and after.
 *
 * A low-passed level that turns round in between does so where it meets the level, so that it
 * stays within the levels of both frames. */
CS3D_WIDE static void cs3d_look(
    ptrdiff_t n, const double *restrict level, const double *restrict next_level,
    const double *restrict before, const double *restrict after,
    const double *restrict reference, const double *restrict on, const double *restrict off,
    const double *restrict leak, uint8_t *restrict may_fire)
{
    ptrdiff_t i;
    for (i = 0; i < n; ++i) {
        double high = reference[i] + on[i] - leak[i], low = reference[i] - off[i];
        int turns = (level[i] - before[i]) * (next_level[i] - after[i]) < 0;
        int outside = (after[i] >= high) | (after[i] <= low);
        int between = (level[i] >= high) | (level[i] <= low) | (next_level[i] >= high)
            | (next_level[i] <= low);
        may_fire[i] = (uint8_t)(outside | (turns & between));
    }
}

#endif
