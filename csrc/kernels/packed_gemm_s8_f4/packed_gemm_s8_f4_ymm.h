/// Register tiles on 256 bits, of 8 or 16 output channels and up to 4 rows, for the tiers whose product
/// is of unsigned and signed bytes (vpmaddubsw, vpdpbusd). A file defines, before it includes this,
///
///     EI_F4_ADD(acc, w, x)      acc += sums of products of w (unsigned) and x, as the tier has them
///     EI_F4_TOTAL(acc)          int32 of 8 channels
///     EI_F4_CORRECTION(pairs)   what acc begins with, from sums of 12 * x over even and odd pairs
///
/// Weights are decoded by a byte shuffle into w2 + 12, unsigned. What that adds, 12 * sum(x), is the
/// same for all channels of a row and a block: sums begin with its negative.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/unroll.h"

enum { ROWS = 4, HALVES = 2, AHEAD = 2048 };

typedef struct ei_f4_tile {
    const ei_packed_gemm_s8_f4_args *args;
    const uint8_t *weights; // of the tile of 16 channels
    size_t half;            // the first of its halves of 8
    size_t row;             // the first
    float *sums;            // of the first row and channel
    const int32_t *corrections;
} ei_f4_tile;

/// Scales of 8 channels.
static inline __m256 load_scales(const uint8_t *codes, ei_f4_scheme scheme) {
    const __m128i eight = _mm_loadl_epi64((const __m128i *)codes);
    if (scheme == EI_NVF4) {
        return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(eight), 7));
    }
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(eight), 23);
    return _mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(1 << 22)));
}

static inline __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline __m256i load_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/// MR rows x 8 * NH channels, all blocks.
EI_ALWAYS_INLINE void compute(const ei_f4_tile *tile, const int MR, const int NH) {
    const ei_packed_gemm_s8_f4_args *args = tile->args;
    const size_t blocks = args->blocks;
    const size_t pieces = ei_f4_block_pieces(args->scheme);
    const size_t step = args->x_step;
    const ei_f4_scheme scheme = args->scheme;
    const __m256i twelve_more = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i low_nibbles = _mm256_set1_epi8(15);
    const uint8_t *w = tile->weights;
    const uint8_t *scales = w;
    const int8_t *x = args->x + tile->row * step;
    const int32_t *corrections = tile->corrections + tile->row * blocks;
    __m256 total[ROWS][HALVES];
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            total[m][h] = _mm256_loadu_ps(tile->sums + m * args->sum_step + 8 * h);
        }
    }
    for (size_t block = 0; block < blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w;
            w += EI_F4_SCALES_BYTES;
        }
        __m256i acc[ROWS][HALVES];
        EI_UNROLL
        for (int m = 0; m < MR; m++) {
            EI_UNROLL
            for (int h = 0; h < NH; h++) {
                acc[m][h] = _mm256_set1_epi32(corrections[(size_t)m * blocks + block]);
            }
        }
        for (size_t piece = 0; piece < pieces; piece++) {
            if (MR == 1) {
                _mm_prefetch((const char *)w + AHEAD, _MM_HINT_T0);
            }
            EI_UNROLL
            for (int h = 0; h < NH; h++) {
                const __m256i codes = load(w + 32 * (tile->half + h));
                const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_nibbles);
                const __m256i w0 =
                    _mm256_shuffle_epi8(twelve_more, _mm256_and_si256(codes, low_nibbles));
                const __m256i w1 = _mm256_shuffle_epi8(twelve_more, high);
                EI_UNROLL
                for (int m = 0; m < MR; m++) {
                    EI_F4_ADD(acc[m][h], w0, load_four(x + (size_t)m * step));
                    EI_F4_ADD(acc[m][h], w1, load_four(x + (size_t)m * step + 4));
                }
            }
            w += EI_F4_PIECE_BYTES;
            x += EI_F4_PIECE_K;
        }
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            const __m256 scale = load_scales(scales + 8 * (tile->half + h), scheme);
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                const __m256 sum = _mm256_cvtepi32_ps(EI_F4_TOTAL(acc[m][h]));
                total[m][h] = _mm256_fmadd_ps(sum, scale, total[m][h]);
            }
        }
        scales += EI_TILE_CHANNELS;
    }
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            _mm256_storeu_ps(tile->sums + m * args->sum_step + 8 * h, total[m][h]);
        }
    }
}

/// What the sums of every row and block begin with.
static void find_corrections(const ei_packed_gemm_s8_f4_args *args, int32_t *corrections) {
    const size_t halves = ei_f4_block_pieces(args->scheme) / 2; // of 16 values
    const __m128i twelve = _mm_set1_epi8(12);
    for (size_t row = 0; row < args->rows; row++) {
        const int8_t *x = args->x + row * args->x_step;
        for (size_t block = 0; block < args->blocks; block++) {
            __m128i pairs = _mm_setzero_si128();
            for (size_t half = 0; half < halves; half++) {
                const __m128i values = _mm_loadu_si128((const __m128i *)x);
                pairs = _mm_add_epi16(pairs, _mm_maddubs_epi16(twelve, values));
                x += 16;
            }
            pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, _MM_SHUFFLE(1, 0, 3, 2)));
            pairs = _mm_add_epi16(pairs, _mm_shuffle_epi32(pairs, _MM_SHUFFLE(2, 3, 0, 1)));
            *corrections++ = _mm_cvtsi128_si32(EI_F4_CORRECTION(pairs));
        }
    }
}

/// MR rows x 16 channels.
EI_ALWAYS_INLINE void compute_rows(ei_f4_tile *tile, const int MR) {
    for (tile->half = 0; tile->half < HALVES; tile->half++) {
        compute(tile, MR, 1);
        tile->sums += 8;
    }
}

static void multiply(const ei_packed_gemm_s8_f4_args *args) {
    int32_t corrections[EI_F4_MOST_BLOCKS];
    find_corrections(args, corrections);
    for (size_t t = 0; t < args->tiles; t++) {
        ei_f4_tile tile = {.args = args,
                           .weights = args->weights + t * args->tile_bytes,
                           .corrections = corrections};
        size_t taken = 0;
        for (; tile.row < args->rows; tile.row += taken) {
            const size_t left = args->rows - tile.row;
            tile.sums = args->sums + tile.row * args->sum_step + t * EI_TILE_CHANNELS;
            if (left >= ROWS) {
                compute_rows(&tile, ROWS);
                taken = ROWS;
            } else if (left >= 2) {
                compute_rows(&tile, 2);
                taken = 2;
            } else {
                tile.half = 0;
                compute(&tile, 1, HALVES);
                taken = 1;
            }
        }
    }
}
