// Transposed copies by unpacking. Sixteen bytes at a time although the tier has 32: an unpacking
// stays within halves of 16, so longer vectors would only move the work to loads and stores.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/unroll.h"

typedef __m128i ei_vector;

EI_ALWAYS_INLINE __m128i low1(__m128i a, __m128i b) {
    return _mm_unpacklo_epi8(a, b);
}
EI_ALWAYS_INLINE __m128i high1(__m128i a, __m128i b) {
    return _mm_unpackhi_epi8(a, b);
}
EI_ALWAYS_INLINE __m128i low2(__m128i a, __m128i b) {
    return _mm_unpacklo_epi16(a, b);
}
EI_ALWAYS_INLINE __m128i high2(__m128i a, __m128i b) {
    return _mm_unpackhi_epi16(a, b);
}
EI_ALWAYS_INLINE __m128i low4(__m128i a, __m128i b) {
    return _mm_unpacklo_epi32(a, b);
}
EI_ALWAYS_INLINE __m128i high4(__m128i a, __m128i b) {
    return _mm_unpackhi_epi32(a, b);
}

EI_ALWAYS_INLINE __m128i load(const uint8_t *x) {
    return _mm_loadu_si128((const __m128i *)(const void *)x);
}
EI_ALWAYS_INLINE void store(uint8_t *y, __m128i v) {
    _mm_storeu_si128((__m128i *)(void *)y, v);
}

/// Sixteen bytes that lie in pieces of 4, 8 or 16, `step` bytes from one to the next.
EI_ALWAYS_INLINE __m128i load_pieces(const uint8_t *x, ptrdiff_t step, int piece) {
    if (piece == 16) {
        return load(x);
    }
    if (piece == 8) {
        return _mm_unpacklo_epi64(_mm_loadu_si64(x), _mm_loadu_si64(x + step));
    }
    const __m128i front = _mm_unpacklo_epi32(_mm_loadu_si32(x), _mm_loadu_si32(x + step));
    const __m128i back =
        _mm_unpacklo_epi32(_mm_loadu_si32(x + 2 * step), _mm_loadu_si32(x + 3 * step));
    return _mm_unpacklo_epi64(front, back);
}

EI_ALWAYS_INLINE void store_pieces(uint8_t *y, ptrdiff_t step, int piece, __m128i v) {
    if (piece == 16) {
        store(y, v);
    } else if (piece == 8) {
        _mm_storeu_si64(y, v);
        _mm_storeu_si64(y + step, _mm_unpackhi_epi64(v, v));
    } else {
        _mm_storeu_si32(y, v);
        _mm_storeu_si32(y + step, _mm_shuffle_epi32(v, 1));
        _mm_storeu_si32(y + 2 * step, _mm_shuffle_epi32(v, 2));
        _mm_storeu_si32(y + 3 * step, _mm_shuffle_epi32(v, 3));
    }
}

#include "kernels/move/move_blocks.h"

/// Two lines of 16 bytes, to be 32 bytes one behind another.
static void interleave2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)y_step;
    const __m128i a = load(x);
    const __m128i b = load(x + x_step);
    store(y, _mm_unpacklo_epi8(a, b));
    store(y + 16, _mm_unpackhi_epi8(a, b));
}

/// And back.
static void part2_b1(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {
    (void)x_step;
    const __m128i a = load(x);
    const __m128i b = load(x + 16);
    const __m128i low = _mm_set1_epi16(0xff);
    store(y, _mm_packus_epi16(_mm_and_si128(a, low), _mm_and_si128(b, low)));
    store(y + y_step, _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
}

/// For each of three vectors made of three, which byte of theirs comes from where, 0x80 where from
/// none: to interleave 16 bytes of three lines, or to part three times 16 bytes.
#define X 0x80
static const uint8_t interleave3_bytes[3][3][16] = {
    {{0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X, X, 5},
     {X, 0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X, X},
     {X, X, 0, X, X, 1, X, X, 2, X, X, 3, X, X, 4, X}},
    {{X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X, 10, X},
     {5, X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X, 10},
     {X, 5, X, X, 6, X, X, 7, X, X, 8, X, X, 9, X, X}},
    {{X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15, X, X},
     {X, X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15, X},
     {10, X, X, 11, X, X, 12, X, X, 13, X, X, 14, X, X, 15}},
};
static const uint8_t part3_bytes[3][3][16] = {
    {{0, 3, 6, 9, 12, 15, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, X, 2, 5, 8, 11, 14, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, X, 1, 4, 7, 10, 13}},
    {{1, 4, 7, 10, 13, X, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, 0, 3, 6, 9, 12, 15, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, X, 2, 5, 8, 11, 14}},
    {{2, 5, 8, 11, 14, X, X, X, X, X, X, X, X, X, X, X},
     {X, X, X, X, X, 1, 4, 7, 10, 13, X, X, X, X, X, X},
     {X, X, X, X, X, X, X, X, X, X, 0, 3, 6, 9, 12, 15}},
};
#undef X

/// The same of elements of 4 bytes: of the n-th one, and of none.
#define E(n) (0x03020100 + 0x04040404u * (n))
#define X    0x80808080u
static const uint32_t interleave3_words[3][3][4] = {
    {{E(0), X, X, E(1)}, {X, E(0), X, X}, {X, X, E(0), X}},
    {{X, X, E(2), X}, {E(1), X, X, E(2)}, {X, E(1), X, X}},
    {{X, E(3), X, X}, {X, X, E(3), X}, {E(2), X, X, E(3)}},
};
static const uint32_t part3_words[3][3][4] = {
    {{E(0), E(3), X, X}, {X, X, E(2), X}, {X, X, X, E(1)}},
    {{E(1), X, X, X}, {X, E(0), E(3), X}, {X, X, X, E(2)}},
    {{E(2), X, X, X}, {X, E(1), X, X}, {X, X, E(0), E(3)}},
};
#undef X
#undef E

/// Three vectors made of three. Here 32 bytes do pay: twice 16 of them, `half` bytes apart.
EI_ALWAYS_INLINE void shuffle3(const uint8_t *from, const uint8_t *x, ptrdiff_t x_step,
                               ptrdiff_t x_half, uint8_t *y, ptrdiff_t y_step, ptrdiff_t y_half) {
    __m256i v[3];
    EI_UNROLL
    for (int i = 0; i < 3; i++) {
        const uint8_t *at = x + i * x_step;
        v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load(at)), load(at + x_half), 1);
    }
    EI_UNROLL
    for (int i = 0; i < 3; i++) {
        __m256i all = _mm256_setzero_si256();
        EI_UNROLL
        for (int j = 0; j < 3; j++) {
            const __m256i bytes = _mm256_broadcastsi128_si256(load(from + (i * 3 + j) * 16));
            all = _mm256_or_si256(all, _mm256_shuffle_epi8(v[j], bytes));
        }
        store(y + i * y_step, _mm256_castsi256_si128(all));
        store(y + i * y_step + y_half, _mm256_extracti128_si256(all, 1));
    }
}

/// Three lines of 32 bytes, to be 96 bytes one behind another; and back.
#define EI_INTERLEAVE3(name, from)                                                                 \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        (void)y_step;                                                                              \
        shuffle3((const uint8_t *)(from), x, x_step, 16, y, 16, 48);                               \
    }
#define EI_PART3(name, from)                                                                       \
    static void name(const uint8_t *x, ptrdiff_t x_step, uint8_t *y, ptrdiff_t y_step) {           \
        (void)x_step;                                                                              \
        shuffle3((const uint8_t *)(from), x, 16, 48, y, y_step, 16);                               \
    }

EI_INTERLEAVE3(interleave3_b1, interleave3_bytes)
EI_INTERLEAVE3(interleave3_b4, interleave3_words)
EI_PART3(part3_b1, part3_bytes)
EI_PART3(part3_b4, part3_words)

/// The first that suits is taken.
static const ei_block blocks[] = {
    {1, 16, 16, transpose16_b1}, {1, 32, 3, interleave3_b1}, {1, 3, 32, part3_b1},
    {1, 16, 2, interleave2_b1},  {1, 2, 16, part2_b1},       {1, 16, 8, interleave8_b1},
    {1, 8, 16, part8_b1},        {1, 16, 4, interleave4_b1}, {1, 4, 16, part4_b1},
    {2, 8, 8, transpose8_b2},    {2, 8, 4, interleave4_b2},  {2, 4, 8, part4_b2},
    {4, 4, 4, transpose4_b4},    {4, 8, 3, interleave3_b4},  {4, 3, 8, part3_b4},
};

void ei_copy2d_avx2(const ei_copy2d_args *args) {
    copy_by(blocks, sizeof blocks / sizeof blocks[0], args);
}
