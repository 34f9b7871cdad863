// vpdpbusd on 512 bits: four products of unsigned and signed bytes added to an int32, 16 channels at a
// time; |sum| is at most 32 * 24 * 128. Weights are decoded by a byte shuffle into w2 + 12, unsigned; what
// that adds, 12 * sum(x), is the same for all channels of a row and a block, and sums begin with its
// negative. Tiles are 8 rows x 16 channels, or one row x 32, which memory feeds.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/unroll.h"

enum { ROWS = 8, TILES = 2, AHEAD = 1024 };

typedef struct ei_f4_tile {
    const ei_packed_gemm_s8_f4_args *args;
    const uint8_t *weights; // of the first 16 channels
    size_t row;             // the first
    float *sums;            // of the first row and channel
    const int32_t *corrections;
} ei_f4_tile;

/// Scales of 16 channels.
static inline __m512 load_scales(const uint8_t *codes, ei_f4_scheme scheme) {
    const __m128i sixteen = _mm_loadu_si128((const __m128i *)codes);
    if (scheme == EI_NVF4) {
        return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(sixteen), 7));
    }
    const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(sixteen), 23);
    return _mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_set1_epi32(1 << 22)));
}

static inline __m512i load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/// MR rows x 16 * NT channels, all blocks.
EI_ALWAYS_INLINE void compute(const ei_f4_tile *tile, const int MR, const int NT) {
    const ei_packed_gemm_s8_f4_args *args = tile->args;
    const size_t blocks = args->blocks;
    const size_t pieces = ei_f4_block_pieces(args->scheme);
    const size_t step = args->x_step;
    const ei_f4_scheme scheme = args->scheme;
    const __m512i twelve_more = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i low_nibbles = _mm512_set1_epi8(15);
    const uint8_t *w = tile->weights;
    const uint8_t *scales = w;
    const int8_t *x = args->x + tile->row * step;
    const int32_t *corrections = tile->corrections + tile->row * blocks;
    __m512 total[ROWS][TILES];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            total[m][t] = _mm512_loadu_ps(tile->sums + m * args->sum_step + 16 * t);
        }
    }
    for (size_t block = 0; block < blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w;
            w += EI_F4_SCALES_BYTES;
        }
        __m512i acc[ROWS][TILES];
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            EI_UNROLL
            for (int t = 0; t < NT; t++) {
                acc[m][t] = _mm512_set1_epi32(corrections[(size_t)m * blocks + block]);
            }
        }
        for (size_t piece = 0; piece < pieces; piece++) {
            EI_UNROLL
            for (int t = 0; t < NT; t++) {
                const uint8_t *from = w + (size_t)t * args->tile_bytes;
                if (MR == 1) {
                    _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                }
                const __m512i codes = _mm512_loadu_si512(from);
                const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), low_nibbles);
                const __m512i w0 =
                    _mm512_shuffle_epi8(twelve_more, _mm512_and_si512(codes, low_nibbles));
                const __m512i w1 = _mm512_shuffle_epi8(twelve_more, high);
                EI_UNROLL
                for (int m = 0; m < MR; m++) {
                    acc[m][t] = _mm512_dpbusd_epi32(acc[m][t], w0, load_four(x + (size_t)m * step));
                    acc[m][t] =
                        _mm512_dpbusd_epi32(acc[m][t], w1, load_four(x + (size_t)m * step + 4));
                }
            }
            w += EI_F4_PIECE_BYTES;
            x += EI_F4_PIECE_K;
        }
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            const __m512 scale = load_scales(scales + (size_t)t * args->tile_bytes, scheme);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                total[m][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[m][t]), scale, total[m][t]);
            }
        }
        scales += EI_TILE_CHANNELS;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            _mm512_storeu_ps(tile->sums + m * args->sum_step + 16 * t, total[m][t]);
        }
    }
}

/// What the sums of every row and block begin with: -12 * sum(x).
static void find_corrections(const ei_packed_gemm_s8_f4_args *args, int32_t *corrections) {
    const size_t halves = ei_f4_block_pieces(args->scheme) / 2; // of 16 values
    const __m128i twelve = _mm_set1_epi8(12);
    const __m128i minus = _mm_set1_epi16(-1);
    for (size_t row = 0; row < args->rows; row++) {
        const int8_t *x = args->x + row * args->x_step;
        for (size_t block = 0; block < args->blocks; block++) {
            __m128i sum = _mm_setzero_si128();
            for (size_t half = 0; half < halves; half++) {
                const __m128i values = _mm_loadu_si128((const __m128i *)x);
                const __m128i pairs = _mm_maddubs_epi16(twelve, values);
                sum = _mm_add_epi32(sum, _mm_madd_epi16(pairs, minus));
                x += 16;
            }
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
            sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
            *corrections++ = _mm_cvtsi128_si32(sum);
        }
    }
}

/// Rows from tile->row on x 16 channels; as many as are left.
static void compute_all_rows(ei_f4_tile *tile) {
    const ei_packed_gemm_s8_f4_args *args = tile->args;
    float *first = tile->sums;
    size_t taken = 0;
    for (; tile->row < args->rows; tile->row += taken) {
        const size_t left = args->rows - tile->row;
        tile->sums = first + tile->row * args->sum_step;
        if (left >= ROWS) {
            compute(tile, ROWS, 1);
            taken = ROWS;
        } else if (left >= 4) {
            compute(tile, 4, 1);
            taken = 4;
        } else if (left >= 2) {
            compute(tile, 2, 1);
            taken = 2;
        } else {
            compute(tile, 1, 1);
            taken = 1;
        }
    }
}

void ei_packed_gemm_s8_f4_avx512vnni(const ei_packed_gemm_s8_f4_args *args) {
    int32_t corrections[EI_F4_MOST_BLOCKS];
    find_corrections(args, corrections);
    for (size_t t = 0; t < args->tiles;) {
        ei_f4_tile tile = {.args = args,
                           .weights = args->weights + t * args->tile_bytes,
                           .sums = args->sums + t * EI_TILE_CHANNELS,
                           .corrections = corrections};
        if (args->rows == 1 && args->tiles - t >= TILES) {
            compute(&tile, 1, TILES);
            t += TILES;
        } else {
            compute_all_rows(&tile);
            t++;
        }
    }
}
