/* Eight elements of Event[] at a time, little-endian CDR, in GCC's vectors: SSE2 and NEON alike. */
#ifndef CS3D_EVENT_ELEMENTS_H
#define CS3D_EVENT_ELEMENTS_H

#include <stdint.h>
#include <string.h>

#define CS3D_ELEMENTS_AT_ONCE 8

typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int64_t i64x2 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));

#define CS3D_LOW(a, b) __builtin_shuffle(a, b, (u16x8){0, 8, 1, 9, 2, 10, 3, 11})
#define CS3D_HIGH(a, b) __builtin_shuffle(a, b, (u16x8){4, 12, 5, 13, 6, 14, 7, 15})

/* Decode `count` elements, a multiple of 8; `place` is where x of the first one lies, as it does in
   all but the very first of a message, and 16 bytes of each can be read. Return whether all lie
   inside the sensor, within the second `sec`, and none goes back before its predecessor or
   `last_ns`. If not, what was written is void. */
static inline int decode_within_second(const uint8_t *place, long count, int32_t sec,
                                       uint32_t width, uint32_t height, int64_t last_ns,
                                       uint16_t *x, uint16_t *y, int64_t *t, uint8_t *p) {
#if defined(__GNUC__) && !defined(__clang__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const int64_t start = (int64_t)sec * 1000000000;
    const int64_t ahead = last_ns - start;
    const i64x2 starts = {start, start};
    const i32x4 zero = {0, 0, 0, 0};
    const u16x8 none = {0, 0, 0, 0, 0, 0, 0, 0};
    const u16x8 last_x = none + (uint16_t)(width - 1), last_y = none + (uint16_t)(height - 1);
    const u16x8 sec_low = none + (uint16_t)sec, sec_high = none + (uint16_t)((uint32_t)sec >> 16);
    u16x8 fault = none;
    i32x4 before = zero;
    if (ahead > INT32_MAX) {
        return 0;
    }
    before += (int32_t)(ahead > 0 ? ahead : 0);
    for (long i = 0; i < count; i += CS3D_ELEMENTS_AT_ONCE) {
        u16x8 row[8], pair[8], four[8], on;
        for (int j = 0; j < 8; j++) {
            memcpy(&row[j], place + 16 * (i + j), 16);
        }
        /* Rows are x, y, padding, sec, sec, nanosec, nanosec, polarity: transpose 8 x 8. */
        for (int j = 0; j < 4; j++) {
            pair[2 * j] = CS3D_LOW(row[j], row[j + 4]);
            pair[2 * j + 1] = CS3D_HIGH(row[j], row[j + 4]);
        }
        for (int j = 0; j < 2; j++) { /* j: lanes 0 to 3, or 4 to 7 */
            four[4 * j] = CS3D_LOW(pair[j], pair[j + 4]);
            four[4 * j + 1] = CS3D_LOW(pair[j + 2], pair[j + 6]);
            four[4 * j + 2] = CS3D_HIGH(pair[j], pair[j + 4]);
            four[4 * j + 3] = CS3D_HIGH(pair[j + 2], pair[j + 6]);
        }
        {
            const u16x8 xs = CS3D_LOW(four[0], four[1]), ys = CS3D_HIGH(four[0], four[1]);
            memcpy(x + i, &xs, 16);
            memcpy(y + i, &ys, 16);
            fault |= (u16x8)(xs > last_x) | (u16x8)(ys > last_y);
        }
        fault |= (CS3D_HIGH(four[2], four[3]) ^ sec_low) | (CS3D_LOW(four[4], four[5]) ^ sec_high);
        {
            const u16x8 low = CS3D_HIGH(four[4], four[5]), high = CS3D_LOW(four[6], four[7]);
            const i32x4 ns[2] = {(i32x4)CS3D_LOW(low, high), (i32x4)CS3D_HIGH(low, high)};
            for (int half = 0; half < 2; half++) {
                const i32x4 previous = __builtin_shuffle(before, ns[half], (i32x4){3, 4, 5, 6});
                const i64x2 times[2] = {
                    (i64x2)__builtin_shuffle(ns[half], zero, (i32x4){0, 4, 1, 5}) + starts,
                    (i64x2)__builtin_shuffle(ns[half], zero, (i32x4){2, 6, 3, 7}) + starts};
                memcpy(t + i + 4 * half, times, 32);
                fault |= (u16x8)(ns[half] < previous);
                before = ns[half];
            }
        }
        on = (u16x8)((CS3D_HIGH(four[6], four[7]) & 0xff) != 0) & 1;
        on = (u16x8)__builtin_shuffle((u8x16)on, (u8x16)on, (u8x16){0, 2, 4, 6, 8, 10, 12, 14,
                                                                      0, 2, 4, 6, 8, 10, 12, 14});
        memcpy(p + i, &on, 8);
    }
    {
        uint64_t faults[2];
        memcpy(faults, &fault, 16);
        return !(faults[0] | faults[1]);
    }
#else
    return 0; /* the caller decodes one by one */
#endif
}
#endif
