// Bytes that follow each other: first the best value, 32 at a time, then where it is, by a mask of
// equals. Searches side by side: a vector of the best, and for each of them four of indices. Flipping
// bits makes unsigned bytes signed, and the smallest the largest: one search for all.
#include <immintrin.h>

#include "kernels/argmax/argmax.h"
#include "kernels/unroll.h"

#define EI_BYTES 32

static uint8_t flip_of(const ei_argmax_args *args, uint8_t sign) {
    return args->minimum ? (uint8_t)~sign : sign;
}

static inline __m256i load(const uint8_t *x, __m256i flip) {
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)x), flip);
}

static inline void store(const ei_argmax_args *args, size_t i, int32_t index) {
    if (args->y_bytes == 4) {
        ((int32_t *)args->y)[i] = index;
    } else {
        ((int64_t *)args->y)[i] = index;
    }
}

static size_t search_few(const uint8_t *x, size_t size, uint8_t flip, int last) {
    int32_t best = (int8_t)(x[0] ^ flip);
    size_t found = 0;
    for (size_t i = 1; i < size; i++) {
        const int32_t key = (int8_t)(x[i] ^ flip);
        const int better = key > best - (last != 0);
        best = better ? key : best;
        found = better ? i : found;
    }
    return found;
}

/// Of 32 bytes or more. The last vector overlaps the one before.
static size_t search(const uint8_t *x, size_t size, uint8_t flip_bits, int last) {
    const __m256i flip = _mm256_set1_epi8((char)flip_bits);
    __m256i largest = load(x, flip);
    for (size_t i = EI_BYTES; i < size; i += EI_BYTES) {
        const size_t at = i + EI_BYTES <= size ? i : size - EI_BYTES;
        largest = _mm256_max_epi8(largest, load(x + at, flip));
    }
    // Across the vector: the largest of signed bytes is the smallest of the others, unsigned.
    const __m256i others = _mm256_xor_si256(largest, _mm256_set1_epi8(127));
    const __m128i half =
        _mm_min_epu8(_mm256_castsi256_si128(others), _mm256_extracti128_si256(others, 1));
    const __m128i pairs = _mm_min_epu8(half, _mm_srli_epi16(half, 8));
    const int least =
        _mm_extract_epi16(_mm_minpos_epu16(_mm_and_si128(pairs, _mm_set1_epi16(255))), 0);
    const __m256i best = _mm256_set1_epi8((char)(least ^ 127));
    for (size_t i = 0;; i += EI_BYTES) {
        const size_t step = i + EI_BYTES <= size ? i : size - EI_BYTES;
        const size_t at = last ? size - EI_BYTES - step : step;
        const __m256i equal = _mm256_cmpeq_epi8(load(x + at, flip), best);
        const uint32_t mask = (uint32_t)_mm256_movemask_epi8(equal);
        if (mask != 0) {
            return at + (size_t)(last ? 31 - __builtin_clz(mask) : __builtin_ctz(mask));
        }
    }
}

/// 32 searches that begin side by side at x.
static void search_columns(const ei_argmax_args *args, const uint8_t *x, uint8_t flip_bits,
                           size_t first) {
    const __m256i flip = _mm256_set1_epi8((char)flip_bits);
    const __m256i last = _mm256_set1_epi8(args->select_last ? -1 : 0);
    __m256i best = load(x, flip);
    __m256i index[4];
    EI_UNROLL
    for (int n = 0; n < 4; n++) {
        index[n] = _mm256_setzero_si256();
    }
    for (size_t i = 1; i < args->size; i++) {
        const __m256i key = load(x + i * args->stride, flip);
        const __m256i equal = _mm256_and_si256(_mm256_cmpeq_epi8(key, best), last);
        const __m256i better = _mm256_or_si256(_mm256_cmpgt_epi8(key, best), equal);
        const __m256i now = _mm256_set1_epi32((int32_t)i);
        const __m128i low = _mm256_castsi256_si128(better);
        const __m128i high = _mm256_extracti128_si256(better, 1);
        best = _mm256_max_epi8(best, key);
        index[0] = _mm256_blendv_epi8(index[0], now, _mm256_cvtepi8_epi32(low));
        index[1] = _mm256_blendv_epi8(index[1], now, _mm256_cvtepi8_epi32(_mm_srli_si128(low, 8)));
        index[2] = _mm256_blendv_epi8(index[2], now, _mm256_cvtepi8_epi32(high));
        index[3] = _mm256_blendv_epi8(index[3], now, _mm256_cvtepi8_epi32(_mm_srli_si128(high, 8)));
    }
    int32_t found[EI_BYTES];
    EI_UNROLL
    for (int n = 0; n < 4; n++) {
        _mm256_storeu_si256((__m256i *)(found + 8 * n), index[n]);
    }
    for (size_t i = 0; i < EI_BYTES; i++) {
        store(args, first + i, found[i]);
    }
}

/// Whether the searches are of one of the two kinds; then does them.
static int search_all(const ei_argmax_args *args, uint8_t sign) {
    const uint8_t flip = flip_of(args, sign);
    const uint8_t *x = args->x;
    if (args->stride == 1) {
        for (size_t n = 0; n < args->count; n++, x += args->step) {
            const size_t found = args->size < EI_BYTES
                                     ? search_few(x, args->size, flip, args->select_last)
                                     : search(x, args->size, flip, args->select_last);
            store(args, n, (int32_t)found);
        }
        return 1;
    }
    if (args->step != 1 || args->count < EI_BYTES) {
        return 0;
    }
    for (size_t n = 0; n < args->count; n += EI_BYTES) {
        const size_t first = n + EI_BYTES <= args->count ? n : args->count - EI_BYTES;
        search_columns(args, x + first, flip, first);
    }
    return 1;
}

void ei_argmax_s8_avx2(const ei_argmax_args *args) {
    if (!search_all(args, 0)) {
        ei_argmax_s8_scalar(args);
    }
}

void ei_argmax_u8_avx2(const ei_argmax_args *args) {
    if (!search_all(args, 0x80)) {
        ei_argmax_u8_scalar(args);
    }
}
