/* Which of 64 event words are of which type, as bits. Words of 16 bits with their type in the top
   four, as Prophesee's EVT3 and libcaer_cmp have them. SSE2 is part of every x86-64; elsewhere, and
   with CS3D_PORTABLE, the same is done in 64-bit integers. */
#ifndef CS3D_EVENT_WORDS_H
#define CS3D_EVENT_WORDS_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(CS3D_PORTABLE)
#include <emmintrin.h>
#define CS3D_SSE2 1
#endif

#define CS3D_WORDS_AT_ONCE 64

typedef struct {
    uint64_t single; /* an event */
    uint64_t row;    /* the coordinate that events share */
    uint64_t low;    /* low bits of the time */
    uint64_t plain;  /* any of these, a word equal to `same`, or one of type 7, 14 or 15 if they are fill */
} word_types;

static inline int lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
static inline int highest_bit(uint64_t bits) { return 63 - __builtin_clzll(bits); }

typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef int64_t i64x2 __attribute__((vector_size(16)));

/* For each byte the places of its bits, lowest first, and how many they are. */
static uint16_t CS3D_PLACES[256][8] __attribute__((aligned(16)));
static uint8_t CS3D_COUNTS[256];

static inline void fill_bit_tables(void) {
    for (int byte = 0; byte < 256; byte++) {
        int count = 0;
        for (int bit = 0; bit < 8; bit++) {
            if (byte >> bit & 1) {
                CS3D_PLACES[byte][count++] = (uint16_t)bit;
            }
        }
        CS3D_COUNTS[byte] = (uint8_t)count;
    }
}

/* Write an event for each bit of a byte, in rows of eight at once, so that some rows are written
   for nothing; return how many count. No branch: nobody foretells the bits. */
static inline long write_byte(unsigned byte, unsigned first, unsigned row, int64_t t, unsigned polarity,
                              uint16_t *own_out, uint16_t *row_out, int64_t *t_out, uint8_t *p_out) {
    const i64x2 times = {t, t};
    const u16x8 rows = (u16x8){0, 0, 0, 0, 0, 0, 0, 0} + (uint16_t)row;
    const uint64_t polarities = polarity * 0x0101010101010101ull;
    u16x8 owns;
    memcpy(&owns, CS3D_PLACES[byte], 16);
    owns += (uint16_t)first;
    memcpy(own_out, &owns, 16);
    memcpy(row_out, &rows, 16);
    for (int i = 0; i < 8; i += 2) {
        memcpy(t_out + i, &times, 16);
    }
    memcpy(p_out, &polarities, 8);
    return CS3D_COUNTS[byte];
}

#ifdef CS3D_SSE2

static inline uint64_t pack_16(__m128i a, __m128i b) {
    return (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_packs_epi16(a, b));
}

static inline word_types types_of_words(const uint16_t *words, unsigned single, unsigned row,
                                        unsigned low, uint16_t same, int has_fill) {
    const __m128i vs = _mm_set1_epi16((short)single), vr = _mm_set1_epi16((short)row);
    const __m128i vl = _mm_set1_epi16((short)low), ve = _mm_set1_epi16((short)same);
    /* without fill: types that no word has */
    const __m128i fill = _mm_set1_epi16(has_fill ? 7 : 16), above = _mm_set1_epi16(has_fill ? 13 : 16);
    word_types types = {0, 0, 0, 0};
    for (int at = 0; at < CS3D_WORDS_AT_ONCE; at += 16) {
        __m128i s[2], r[2], l[2], p[2];
        for (int half = 0; half < 2; half++) {
            __m128i word = _mm_loadu_si128((const __m128i *)(words + at + 8 * half));
            __m128i type = _mm_srli_epi16(word, 12);
            s[half] = _mm_cmpeq_epi16(type, vs);
            r[half] = _mm_cmpeq_epi16(type, vr);
            l[half] = _mm_cmpeq_epi16(type, vl);
            p[half] = _mm_or_si128(
                _mm_or_si128(_mm_or_si128(s[half], r[half]), _mm_or_si128(l[half], _mm_cmpeq_epi16(word, ve))),
                _mm_or_si128(_mm_cmpeq_epi16(type, fill), _mm_cmpgt_epi16(type, above)));
        }
        types.single |= pack_16(s[0], s[1]) << at;
        types.row |= pack_16(r[0], r[1]) << at;
        types.low |= pack_16(l[0], l[1]) << at;
        types.plain |= pack_16(p[0], p[1]) << at;
    }
    return types;
}

#else

#define CS3D_LANES 0x0001000100010001ull

/* Bit 4 of each 16-bit lane: whether the lane, at most 15, is this number. */
static inline uint64_t lanes_equal(uint64_t lanes, unsigned number) {
    return ((CS3D_LANES << 4) - (lanes ^ (CS3D_LANES * number))) & (CS3D_LANES << 4);
}

/* Four bits from bit 4 of each lane. */
static inline uint64_t pack_4(uint64_t lanes) {
    return (((lanes >> 4) * 0x0001000200040008ull) >> 48) & 15;
}

static inline word_types types_of_words(const uint16_t *words, unsigned single, unsigned row,
                                        unsigned low, uint16_t same, int has_fill) {
    const uint64_t low_bits = CS3D_LANES * 0x7fff;
    word_types types = {0, 0, 0, 0};
    for (int at = 0; at < CS3D_WORDS_AT_ONCE; at += 4) {
        uint64_t four, type, other, s, r, l, p;
        memcpy(&four, words + at, 8);
        type = (four >> 12) & (CS3D_LANES * 15);
        s = lanes_equal(type, single);
        r = lanes_equal(type, row);
        l = lanes_equal(type, low);
        other = four ^ (CS3D_LANES * same);
        p = s | r | l | ((~(((other & low_bits) + low_bits) | other) >> 11) & (CS3D_LANES << 4));
        if (has_fill) {
            p |= lanes_equal(type, 7) | ((type + CS3D_LANES * 2) & (CS3D_LANES << 4));
        }
        types.single |= pack_4(s) << at;
        types.row |= pack_4(r) << at;
        types.low |= pack_4(l) << at;
        types.plain |= pack_4(p) << at;
    }
    return types;
}

#endif
#endif
