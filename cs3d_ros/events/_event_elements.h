/* Eight elements of Event[] at a time, little-endian CDR, in GCC's vectors: SSE2 and NEON alike. */
#ifndef CS3D_EVENT_ELEMENTS_H
#define CS3D_EVENT_ELEMENTS_H

#include <stdint.h>
#include <string.h>

#define CS3D_ELEMENTS_AT_ONCE 8
#define CS3D_AHEAD 4096 /* bytes to fetch ahead of use: a message comes from memory, not from cache */

typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int64_t i64x2 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));

/* Decode `count` elements, a multiple of 8; `place` is where x of the first one lies, as it does in
   all but the very first of a message, and one more element follows. Return whether all lie inside
   the sensor, within the second `sec`, and none goes back before its predecessor or `last_ns`. If
   not, what was written is void; x of the one that follows is written and checked as well. */
static inline int decode_within_second(const uint8_t *place, long count, int32_t sec,
                                       uint32_t width, uint32_t height, int64_t last_ns,
                                       uint16_t *x, uint16_t *y, int64_t *t, uint8_t *p) {
#if defined(__GNUC__) && !defined(__clang__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const int64_t start = (int64_t)sec * 1000000000;
    const int64_t ahead = last_ns - start;
    const i64x2 starts = {start, start};
    const i32x4 zero = {0, 0, 0, 0}, secs = zero + sec;
    const u16x8 none = {0, 0, 0, 0, 0, 0, 0, 0};
    const u16x8 last_x = none + (uint16_t)(width - 1), last_y = none + (uint16_t)(height - 1);
    i32x4 before = zero + (int32_t)(ahead > 0 ? ahead : 0), wrong = zero;
    u16x8 outside = none;
    uint64_t faults[4];
    memcpy(x, place, 2);
    if (ahead > INT32_MAX || x[0] >= width) {
        return 0;
    }
    for (long i = 0; i < count; i += CS3D_ELEMENTS_AT_ONCE) {
        i32x4 y_and_padding[2], p_and_next_x[2];
        __builtin_prefetch(place + 16 * i + CS3D_AHEAD);
        __builtin_prefetch(place + 16 * i + CS3D_AHEAD + 64);
        for (int half = 0; half < 2; half++) {
            /* Rows are y and padding, sec, nanosec, polarity and padding and the next x: transpose
               4 x 4. */
            const uint8_t *row = place + 16 * (i + 4 * half) + 2;
            i32x4 r0, r1, r2, r3, low[2], high[2], ns;
            i64x2 times[2];
            memcpy(&r0, row, 16);
            memcpy(&r1, row + 16, 16);
            memcpy(&r2, row + 32, 16);
            memcpy(&r3, row + 48, 16);
            low[0] = __builtin_shuffle(r0, r1, (i32x4){0, 4, 1, 5});
            low[1] = __builtin_shuffle(r2, r3, (i32x4){0, 4, 1, 5});
            high[0] = __builtin_shuffle(r0, r1, (i32x4){2, 6, 3, 7});
            high[1] = __builtin_shuffle(r2, r3, (i32x4){2, 6, 3, 7});
            y_and_padding[half] = __builtin_shuffle(low[0], low[1], (i32x4){0, 1, 4, 5});
            wrong |= __builtin_shuffle(low[0], low[1], (i32x4){2, 3, 6, 7}) ^ secs;
            ns = __builtin_shuffle(high[0], high[1], (i32x4){0, 1, 4, 5});
            p_and_next_x[half] = __builtin_shuffle(high[0], high[1], (i32x4){2, 3, 6, 7});
            wrong |= (i32x4)(ns < __builtin_shuffle(ns, (i32x4){0, 0, 1, 2}));
            wrong |= (i32x4)(ns < __builtin_shuffle(before, (i32x4){3, 3, 3, 3}));
            before = ns;
            times[0] = (i64x2)__builtin_shuffle(ns, zero, (i32x4){0, 4, 1, 5}) + starts;
            times[1] = (i64x2)__builtin_shuffle(ns, zero, (i32x4){2, 6, 3, 7}) + starts;
            memcpy(t + i + 4 * half, times, 32);
        }
        {
            const u16x8 ys = __builtin_shuffle((u16x8)y_and_padding[0], (u16x8)y_and_padding[1],
                                               (u16x8){0, 2, 4, 6, 8, 10, 12, 14});
            const u16x8 xs = __builtin_shuffle((u16x8)p_and_next_x[0], (u16x8)p_and_next_x[1],
                                               (u16x8){1, 3, 5, 7, 9, 11, 13, 15});
            const u16x8 ps = __builtin_shuffle((u16x8)p_and_next_x[0], (u16x8)p_and_next_x[1],
                                               (u16x8){0, 2, 4, 6, 8, 10, 12, 14});
            u64x2 on = (u64x2)((u16x8)((ps & 0xff) != 0) & 1);
            i32x4 bytes;
            on = (on | on >> 8) & 0x0000ffff0000ffffull; /* every other byte is 0: close the gaps */
            bytes = (i32x4)(on | on >> 16);
            bytes = __builtin_shuffle(bytes, (i32x4){0, 2, 0, 2});
            memcpy(y + i, &ys, 16);
            memcpy(x + i + 1, &xs, 16);
            memcpy(p + i, &bytes, 8);
            outside |= (u16x8)(xs > last_x) | (u16x8)(ys > last_y);
        }
    }
    memcpy(faults, &wrong, 16);
    memcpy(faults + 2, &outside, 16);
    return !(faults[0] | faults[1] | faults[2] | faults[3]);
#else
    return 0; /* the caller decodes one by one */
#endif
}
#endif
