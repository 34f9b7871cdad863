// vpmaddubsw: sums of two products of unsigned and signed bytes in int16. With weights of 0 to 24 two
// products are at most 2 * 24 * 128 = 6144 from 0, so it never saturates; 16 of them leave int16, but the
// sum with the correction is at most 16 * 12 * 128 = 24576 from 0 and so is right modulo 2^16. A block
// needs one vpmaddwd, to add the even and the odd pairs of a channel.
//
// Where there are many rows, weights and scales of 16 channels and 256 values of K are decoded once for all of
// them.
#include <immintrin.h>

#include "kernels/unroll.h"

/// acc + the products of four values of K, one after the other: compilers add in an order for which
/// registers do not suffice, and copy sums from one register to another.
EI_ALWAYS_INLINE __m256i add_products(__m256i acc, __m256i w, __m256i x) {
    __m256i products;
    __asm__("vpmaddubsw %[x], %[w], %[products]\n\t"
            "vpaddw %[products], %[acc], %[acc]"
            : [acc] "+x"(acc), [products] "=&x"(products)
            : [w] "x"(w), [x] "x"(x));
    return acc;
}

#define EI_F4_ROWS              4
#define EI_F4_ADD(acc, w, x)    ((acc) = add_products(acc, w, x))
#define EI_F4_TOTAL(acc)        _mm256_madd_epi16(acc, _mm256_set1_epi16(1))
#define EI_F4_CORRECTION(pairs) _mm_sub_epi16(_mm_setzero_si128(), pairs)
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_ymm.h"

enum { PAIR = 2, MANY_ROWS = 8, DECODED_K = 256, DECODED_BLOCKS = DECODED_K / 16 };

typedef struct ei_decoded {
    __m256i weights[DECODED_K / EI_TILE_K][HALVES]; // twice the values, plus 12
    __m256 scales[DECODED_BLOCKS][HALVES];
} ei_decoded;

/// Blocks of a tile from a group on; the next ones' codes.
static const uint8_t *decode(ei_decoded *to, const uint8_t *w, size_t blocks, ei_f4_scheme scheme) {
    const __m256i twelve_more = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i low_nibbles = _mm256_set1_epi8(15);
    const size_t pieces = ei_f4_block_pieces(scheme);
    const uint8_t *scales = w;
    __m256i(*weights)[HALVES] = to->weights;
    for (size_t block = 0; block < blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w;
            w += EI_F4_SCALES_BYTES;
        }
        for (size_t piece = 0; piece < pieces; piece++) {
            for (int h = 0; h < HALVES; h++) {
                const __m256i codes = load(w + 32 * h);
                const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_nibbles);
                const __m256i low = _mm256_and_si256(codes, low_nibbles);
                weights[0][h] = _mm256_shuffle_epi8(twelve_more, low);
                weights[1][h] = _mm256_shuffle_epi8(twelve_more, high);
            }
            weights += 2;
            w += EI_F4_PIECE_BYTES;
        }
        for (int h = 0; h < HALVES; h++) {
            to->scales[block][h] = load_scales(scales + 8 * h, scheme);
        }
        scales += EI_TILE_CHANNELS;
    }
    return w;
}

/// 2 rows x 16 channels, the blocks that are decoded.
EI_ALWAYS_INLINE void compute_decoded(const ei_packed_gemm_s8_f4_args *args,
                                      const ei_decoded *decoded, const int32_t *corrections,
                                      const int8_t *x, float *sums, size_t blocks,
                                      const int groups) {
    const size_t step = args->x_step;
    const __m256i(*w)[HALVES] = decoded->weights;
    __m256 total[PAIR][HALVES];
    EI_UNROLL
    for (int m = 0; m < PAIR; m++) {
        EI_UNROLL
        for (int h = 0; h < HALVES; h++) {
            total[m][h] = _mm256_loadu_ps(sums + (size_t)m * args->sum_step + 8 * h);
        }
    }
    for (size_t block = 0; block < blocks; block++) {
        __m256i acc[PAIR][HALVES];
        EI_UNROLL
        for (int m = 0; m < PAIR; m++) {
            EI_UNROLL
            for (int h = 0; h < HALVES; h++) {
                acc[m][h] = _mm256_set1_epi32(corrections[block * args->rows + (size_t)m]);
            }
        }
        EI_UNROLL
        for (int group = 0; group < groups; group++) {
            EI_UNROLL
            for (int m = 0; m < PAIR; m++) {
                const __m256i four = load_four(x + (size_t)m * step);
                EI_UNROLL
                for (int h = 0; h < HALVES; h++) {
                    acc[m][h] = add_products(acc[m][h], (*w)[h], four);
                }
            }
            w++;
            x += EI_TILE_K;
        }
        EI_UNROLL
        for (int m = 0; m < PAIR; m++) {
            EI_UNROLL
            for (int h = 0; h < HALVES; h++) {
                const __m256 sum = _mm256_cvtepi32_ps(EI_F4_TOTAL(acc[m][h]));
                total[m][h] = _mm256_fmadd_ps(sum, decoded->scales[block][h], total[m][h]);
            }
        }
    }
    EI_UNROLL
    for (int m = 0; m < PAIR; m++) {
        EI_UNROLL
        for (int h = 0; h < HALVES; h++) {
            _mm256_storeu_ps(sums + (size_t)m * args->sum_step + 8 * h, total[m][h]);
        }
    }
}

/// Whole tiles of rows; those that are left over are the caller's.
EI_ALWAYS_INLINE void multiply_many(const ei_packed_gemm_s8_f4_args *args, size_t rows,
                                    const ei_f4_scheme scheme) {
    ei_decoded decoded;
    int32_t corrections[EI_F4_MOST_BLOCKS];
    find_corrections(args, corrections);
    const size_t most = DECODED_K / ei_f4_block(scheme);
    for (size_t t = 0; t < args->tiles; t++) {
        const uint8_t *w = args->weights + t * args->tile_bytes;
        for (size_t first = 0; first < args->blocks; first += most) {
            const size_t left = args->blocks - first;
            const size_t blocks = left < most ? left : most;
            w = decode(&decoded, w, blocks, scheme);
            for (size_t row = 0; row < rows; row += PAIR) {
                compute_decoded(args, &decoded, corrections + first * args->rows + row,
                                args->x + row * args->x_step + first * ei_f4_block(scheme),
                                args->sums + row * args->sum_step + t * EI_TILE_CHANNELS, blocks,
                                2 * (int)ei_f4_block_pieces(scheme));
            }
        }
    }
}

void ei_packed_gemm_s8_f4_avx2(const ei_packed_gemm_s8_f4_args *args) {
    ei_packed_gemm_s8_f4_args rest = *args;
    if (args->rows >= MANY_ROWS) {
        const size_t rows = args->rows / PAIR * PAIR;
        if (args->scheme == EI_MXF4) {
            multiply_many(args, rows, EI_MXF4);
        } else {
            multiply_many(args, rows, EI_NVF4);
        }
        rest.x += rows * args->x_step;
        rest.sums += rows * args->sum_step;
        rest.rows -= rows;
    }
    if (rest.rows > 0) {
        multiply(&rest);
    }
}
