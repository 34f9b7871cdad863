// vpmaddwd by Winograd's inner product (S. Winograd, "A new algorithm for inner product", 1968): two
// products of K cost one multiplication and two additions,
//
//     (x0 + w2) * (x2 + w0) = x0 * w0 + x2 * w2  +  x0 * x2  +  w0 * w2
//
// where the last two terms belong to a row and to a channel alone: they are summed once and taken away.
// vpmaddwd adds two such products of int16, so that an instruction does four values of K of 8 channels; sums of
// two bytes are within 255 of 0, and int32 is right modulo 2^32 whatever happens on the way. On cores that
// multiply on one unit of 128 bits (the first Zen) this passes the peak of vpmaddwd.
//
// A group of four values is paired as (0, 2) and (1, 3), so that rows are widened as they lie. Weights are
// widened once for all rows, 192 values of K of 32 channels at a time:
//
//     [group][8 channels]:   (w2, w3) of 8 channels, int16 | (w0, w1) of 8 channels
//
// and tiles of 2 rows x 32 channels keep 8 sums in registers. A few rows do not pay for that. Their products are
// vpmaddubsw's, sums of two of unsigned and signed bytes in int16: the weights' magnitudes are the unsigned
// ones, and their signs go to x, so that two are at most 2 * 128 * 127 = 32512 from 0 and nothing saturates.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_s8c/packed_gemm_s8_s8c.h"
#include "kernels/unroll.h"

enum { HALF = 8, HALVES = 4, CHANNELS = HALVES * HALF, ROWS = 2, GROUPS = 48, FEW_ROWS = 6 };

typedef struct ei_widened {
    __m256i weights[GROUPS][HALVES][2];
    int16_t x[ROWS][GROUPS * EI_TILE_K];
    __m256i products[HALVES]; // sums over pairs of weights
    int32_t totals[EI_F4_MOST_ROWS][CHANNELS];
} ei_widened;

/// A piece of K for some channels.
typedef struct ei_piece {
    size_t first, groups;
    int is_first, is_last;
} ei_piece;

static inline __m256i load_four(const void *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

/// acc += the products of a group. Written down, since compilers load the weights by themselves, which costs as
/// much as the addition where 256 bits are two halves, and copy sums from one register to another.
EI_ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i x0, __m256i x2, const __m256i w[2]) {
    __m256i a, b;
    __asm__("vpaddw %[w2], %[x0], %[a]\n\t"
            "vpaddw %[w0], %[x2], %[b]\n\t"
            "vpmaddwd %[a], %[b], %[a]\n\t"
            "vpaddd %[a], %[acc], %[acc]"
            : [acc] "+x"(acc), [a] "=&x"(a), [b] "=&x"(b)
            : [x0] "x"(x0), [x2] "x"(x2), [w2] "m"(w[0]), [w0] "m"(w[1]));
    return acc;
}

static void widen_weights(ei_widened *to, const ei_packed_gemm_s8_f4_args *args, size_t half,
                          size_t halves, const ei_piece *piece) {
    // Bytes to the upper halves of int16, from where a shift brings them down, signed.
    const __m256i last_two = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
    const __m256i first_two = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
    for (size_t h = 0; h < halves; h++) {
        const uint8_t *w = args->weights + (half + h) / 2 * args->tile_bytes + (half + h) % 2 * 32 +
                           piece->first * EI_TILE_BYTES;
        __m256i products = _mm256_setzero_si256();
        for (size_t g = 0; g < piece->groups; g++) {
            const __m256i bytes = load(w + g * EI_TILE_BYTES);
            const __m256i high = _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, last_two), 8);
            const __m256i low = _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, first_two), 8);
            products = _mm256_add_epi32(products, _mm256_madd_epi16(high, low));
            to->weights[g][h][0] = high;
            to->weights[g][h][1] = low;
        }
        to->products[h] = products;
    }
}

static inline __m256i widen_sixteen(int16_t *to, const int8_t *x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
    _mm256_storeu_si256((__m256i *)(void *)to, wide);
    return wide;
}

#define shuffle_pairs(a, b, order)                                                                 \
    _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), order))

/// The sum over pairs of a row, in every lane.
static inline __m256i widen_row(int16_t *to, const int8_t *x, size_t groups) {
    __m256i products = _mm256_setzero_si256();
    size_t g = 0;
    for (; g + 8 <= groups; g += 8) {
        const __m256i first = widen_sixteen(to + g * EI_TILE_K, x + g * EI_TILE_K);
        const __m256i next = widen_sixteen(to + g * EI_TILE_K + 16, x + g * EI_TILE_K + 16);
        const __m256i x0 = shuffle_pairs(first, next, _MM_SHUFFLE(2, 0, 2, 0));
        const __m256i x2 = shuffle_pairs(first, next, _MM_SHUFFLE(3, 1, 3, 1));
        products = _mm256_add_epi32(products, _mm256_madd_epi16(x0, x2));
    }
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(products), _mm256_extracti128_si256(products, 1));
    for (; g < groups; g++) {
        int32_t four;
        memcpy(&four, x + g * EI_TILE_K, sizeof four);
        const __m128i wide = _mm_cvtepi8_epi16(_mm_cvtsi32_si128(four));
        _mm_storel_epi64((__m128i *)(to + g * EI_TILE_K), wide);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(wide, _mm_srli_epi64(wide, 32)));
    }
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm256_broadcastd_epi32(sum);
}

/// MR rows x 8 * NH channels, one piece of K.
EI_ALWAYS_INLINE void compute_wide(const ei_packed_gemm_s8_f4_args *args, ei_widened *with,
                                   const ei_piece *piece, size_t row, size_t half, const int MR,
                                   const int NH) {
    __m256i acc[ROWS][HALVES], products[ROWS];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        const int8_t *x = args->x + (row + (size_t)m) * args->x_step + piece->first * EI_TILE_K;
        products[m] = widen_row(with->x[m], x, piece->groups);
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            acc[m][h] = piece->is_first ? _mm256_setzero_si256()
                                        : load(with->totals[row + (size_t)m] + HALF * h);
        }
    }
    const __m256i(*w)[HALVES][2] = with->weights;
    const int16_t *x = with->x[0];
    for (size_t left = piece->groups; left > 0; left--) {
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            const __m256i x0 = load_four(x + m * GROUPS * EI_TILE_K);
            const __m256i x2 = load_four(x + m * GROUPS * EI_TILE_K + 2);
            EI_UNROLL
            for (int h = 0; h < NH; h++) {
                acc[m][h] = add_products(acc[m][h], x0, x2, (*w)[h]);
            }
        }
        w++;
        x += EI_TILE_K;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        float *sum = args->sums + (row + (size_t)m) * args->sum_step + half * HALF;
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            const __m256i both = _mm256_add_epi32(products[m], with->products[h]);
            const __m256i total = _mm256_sub_epi32(acc[m][h], both);
            if (piece->is_last) {
                const __m256 start = _mm256_loadu_ps(sum + HALF * h);
                _mm256_storeu_ps(sum + HALF * h, _mm256_add_ps(start, _mm256_cvtepi32_ps(total)));
            } else {
                int32_t *to = with->totals[row + (size_t)m] + HALF * h;
                _mm256_storeu_si256((__m256i *)to, total);
            }
        }
    }
}

/// All rows x 8 * NH channels.
EI_ALWAYS_INLINE void multiply_wide(const ei_packed_gemm_s8_f4_args *args, ei_widened *with,
                                    size_t half, const int NH) {
    for (size_t first = 0; first < args->blocks; first += GROUPS) {
        const size_t left = args->blocks - first;
        const ei_piece piece = {.first = first,
                                .groups = left < GROUPS ? left : GROUPS,
                                .is_first = first == 0,
                                .is_last = left <= GROUPS};
        widen_weights(with, args, half, (size_t)NH, &piece);
        size_t row = 0;
        for (; row + ROWS <= args->rows; row += ROWS) {
            compute_wide(args, with, &piece, row, half, ROWS, NH);
        }
        if (row < args->rows) {
            compute_wide(args, with, &piece, row, half, 1, NH);
        }
    }
}

static void multiply_many(const ei_packed_gemm_s8_f4_args *args) {
    ei_widened with;
    const size_t halves = 2 * args->tiles;
    size_t half = 0;
    for (; half + HALVES <= halves; half += HALVES) {
        multiply_wide(args, &with, half, HALVES);
    }
    if (half < halves) {
        multiply_wide(args, &with, half, HALVES / 2);
    }
}

/// A row x 8 channels.
static void compute_row(const ei_packed_gemm_s8_f4_args *args, const uint8_t *w, const int8_t *x,
                        float *sums) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc = _mm256_setzero_si256();
    for (size_t block = args->blocks; block > 0; block--) {
        const __m256i weights = load(w);
        const __m256i signed_x = _mm256_sign_epi8(load_four(x), weights);
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), signed_x);
        acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, ones));
        w += EI_TILE_BYTES;
        x += EI_TILE_K;
    }
    _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_loadu_ps(sums), _mm256_cvtepi32_ps(acc)));
}

void ei_packed_gemm_s8_s8c_avx2(const ei_packed_gemm_s8_f4_args *args) {
    if (args->rows >= FEW_ROWS) {
        multiply_many(args);
        return;
    }
    for (size_t half = 0; half < 2 * args->tiles; half++) {
        const uint8_t *w = args->weights + half / 2 * args->tile_bytes + half % 2 * 32;
        for (size_t row = 0; row < args->rows; row++) {
            compute_row(args, w, args->x + row * args->x_step,
                        args->sums + row * args->sum_step + half * HALF);
        }
    }
}
