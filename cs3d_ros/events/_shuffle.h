/* Copy marked events eight at a time, where the processor can shuffle bytes: on x86-64 all but the
   oldest can, which is asked when the module is loaded, as packages are built for all of them.
   Elsewhere, and with CS3D_PORTABLE, nothing is copied and the caller does it one by one. */
#ifndef CS3D_SHUFFLE_H
#define CS3D_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(CS3D_PORTABLE)
#include <tmmintrin.h>

static int can_shuffle = 0;

/* For every eight marks, the numbers of those that are set, at the front. */
static uint8_t front[256][8];

static void prepare_shuffles(void)
{
    for (int marks = 0; marks < 256; marks++) {
        int k = 0;
        for (int bit = 0; bit < 8; bit++)
            if (marks >> bit & 1)
                front[marks][k++] = (uint8_t)bit;
    }
    can_shuffle = __builtin_cpu_supports("ssse3") != 0;
}

/* Columns out need room for eight more than are marked. Returns how many events were looked at,
   a multiple of eight, and adds to *kept those that were copied. */
__attribute__((target("ssse3"))) static ptrdiff_t shuffle_marked(
    const uint8_t *keep, ptrdiff_t n, const uint16_t *x, const uint16_t *y, const int64_t *t,
    const uint8_t *p, uint16_t *out_x, uint16_t *out_y, int64_t *out_t, uint8_t *out_p,
    ptrdiff_t *kept)
{
#define LOAD(at) _mm_loadu_si128((const __m128i *)(at))
#define LOAD_HALF(at) _mm_loadl_epi64((const __m128i *)(at))
#define STORE(at, value) _mm_storeu_si128((__m128i *)(at), value)
#define STORE_HALF(at, value) _mm_storel_epi64((__m128i *)(at), value)
    /* the second of a pair of times comes to the front where the first is not marked */
    const __m128i first = _mm_set_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m128i second = _mm_unpackhi_epi64(first, first);
    const __m128i orders[4] = {first, first, second, first};
    ptrdiff_t i = 0, k = *kept;
    for (; i + 8 <= n; i += 8) {
        uint64_t bytes;
        memcpy(&bytes, keep + i, 8);
        /* the product brings the lowest bits of all bytes together at the top */
        unsigned marks = (unsigned)((bytes * 0x0102040810204080u) >> 56);
        __m128i order = LOAD_HALF(front[marks]);
        __m128i low = _mm_add_epi8(order, order);
        __m128i words = _mm_unpacklo_epi8(low, _mm_add_epi8(low, _mm_set1_epi8(1)));
        STORE(out_x + k, _mm_shuffle_epi8(LOAD(x + i), words));
        STORE(out_y + k, _mm_shuffle_epi8(LOAD(y + i), words));
        STORE_HALF(out_p + k, _mm_shuffle_epi8(LOAD_HALF(p + i), order));
        for (int pair = 0; pair < 4; pair++) {
            unsigned two = marks >> 2 * pair & 3;
            STORE(out_t + k, _mm_shuffle_epi8(LOAD(t + i + 2 * pair), LOAD(&orders[two])));
            k += (two & 1) + (two >> 1);
        }
    }
    *kept = k;
    return i;
#undef LOAD
#undef LOAD_HALF
#undef STORE
#undef STORE_HALF
}

#else

enum { can_shuffle = 0 };

static void prepare_shuffles(void) {}

static ptrdiff_t shuffle_marked(
    const uint8_t *keep, ptrdiff_t n, const uint16_t *x, const uint16_t *y, const int64_t *t,
    const uint8_t *p, uint16_t *out_x, uint16_t *out_y, int64_t *out_t, uint8_t *out_p,
    ptrdiff_t *kept)
{
    (void)keep, (void)n, (void)x, (void)y, (void)t, (void)p;
    (void)out_x, (void)out_y, (void)out_t, (void)out_p, (void)kept;
    return 0;
}

#endif
#endif
