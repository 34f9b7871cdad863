/// Register tiles on 256 bits, of EI_F4_ROWS or 2 rows x 8 output channels or 1 x 16, for the tiers whose
/// product is of unsigned and signed bytes (vpmaddubsw, vpdpbusd). A file defines, before it includes this,
///
///     EI_F4_ROWS                rows of the largest tile
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

enum { HALVES = 2, IN_REGISTERS = 4, AHEAD = 2048 }; // totals of more sums are in the L1 cache

typedef struct ei_f4_tile {
    const int8_t *x; // of the first row
    size_t x_step;
    size_t blocks;
    const uint8_t *weights; // of the tile of 16 channels
    size_t half;            // the first of its halves of 8
    float *sums;            // of the first row and channel
    size_t sum_step;
    const int32_t *corrections; // [blocks][correction_step]
    size_t correction_step;
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
EI_ALWAYS_INLINE void compute(const ei_f4_tile *tile, const ei_f4_scheme scheme, const int MR,
                              const int NH) {
    const int PIECES = scheme == EI_MXF4 ? 4 : 2;
    const size_t step = tile->x_step;
    const size_t correction_step = tile->correction_step;
    const __m256i twelve_more = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i low_nibbles = _mm256_set1_epi8(15);
    const uint8_t *w = tile->weights + 32 * tile->half;
    const uint8_t *scales = w;
    const int8_t *x = tile->x;
    const int32_t *corrections = tile->corrections;
    _Alignas(32) float kept[EI_F4_ROWS * HALVES][8];
    __m256 totals[IN_REGISTERS];
    EI_UNROLL
    for (int i = 0; i < MR * NH; i++) {
        const __m256 sum = _mm256_loadu_ps(tile->sums + i / NH * tile->sum_step + 8 * (i % NH));
        if (MR * NH > IN_REGISTERS) {
            _mm256_store_ps(kept[i], sum);
        } else {
            totals[i] = sum;
        }
    }
    for (size_t block = 0; block < tile->blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w - 24 * tile->half;
            w += EI_F4_SCALES_BYTES;
        }
        __m256i acc[EI_F4_ROWS * HALVES];
        EI_UNROLL
        for (int i = 0; i < MR * NH; i++) {
            acc[i] = _mm256_set1_epi32(corrections[i / NH]);
        }
        EI_UNROLL
        for (int piece = 0; piece < PIECES; piece++) {
            if (MR == 1) {
                _mm_prefetch((const char *)w + AHEAD + piece * EI_F4_PIECE_BYTES, _MM_HINT_T0);
            }
            EI_UNROLL
            for (int h = 0; h < NH; h++) {
                const __m256i codes = load(w + piece * EI_F4_PIECE_BYTES + 32 * h);
                const __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_nibbles);
                const __m256i w0 =
                    _mm256_shuffle_epi8(twelve_more, _mm256_and_si256(codes, low_nibbles));
                const __m256i w1 = _mm256_shuffle_epi8(twelve_more, high);
                EI_UNROLL
                for (int m = 0; m < MR; m++) {
                    const int8_t *from = x + (size_t)m * step + piece * EI_F4_PIECE_K;
                    EI_F4_ADD(acc[m * NH + h], w0, load_four(from));
                    EI_F4_ADD(acc[m * NH + h], w1, load_four(from + 4));
                }
            }
        }
        w += PIECES * EI_F4_PIECE_BYTES;
        x += PIECES * EI_F4_PIECE_K;
        corrections += correction_step;
        EI_UNROLL
        for (int h = 0; h < NH; h++) {
            const __m256 scale = load_scales(scales + 8 * h, scheme);
            EI_UNROLL
            for (int i = h; i < MR * NH; i += NH) {
                const __m256 sum = _mm256_cvtepi32_ps(EI_F4_TOTAL(acc[i]));
                if (MR * NH > IN_REGISTERS) {
                    _mm256_store_ps(kept[i], _mm256_fmadd_ps(sum, scale, _mm256_load_ps(kept[i])));
                } else {
                    totals[i] = _mm256_fmadd_ps(sum, scale, totals[i]);
                }
            }
        }
        scales += EI_TILE_CHANNELS;
    }
    EI_UNROLL
    for (int i = 0; i < MR * NH; i++) {
        const __m256 sum = MR * NH > IN_REGISTERS ? _mm256_load_ps(kept[i]) : totals[i];
        _mm256_storeu_ps(tile->sums + i / NH * tile->sum_step + 8 * (i % NH), sum);
    }
}

/// What the sums of every row and block begin with, [blocks][rows].
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
            corrections[block * args->rows + row] = _mm_cvtsi128_si32(EI_F4_CORRECTION(pairs));
        }
    }
}

static void mxf4_rows(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, EI_F4_ROWS, 1);
}

static void mxf4_2x8(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 2, 1);
}

static void mxf4_1x16(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 1, HALVES);
}

static void nvf4_rows(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, EI_F4_ROWS, 1);
}

static void nvf4_2x8(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 2, 1);
}

static void nvf4_1x16(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 1, HALVES);
}

/// Products of the tiles of a scheme.
typedef struct ei_f4_tiles {
    void (*by_rows)(const ei_f4_tile *tile);
    void (*by_2x8)(const ei_f4_tile *tile);
    void (*by_1x16)(const ei_f4_tile *tile);
} ei_f4_tiles;

static void multiply(const ei_packed_gemm_s8_f4_args *args) {
    static const ei_f4_tiles mxf4 = {mxf4_rows, mxf4_2x8, mxf4_1x16};
    static const ei_f4_tiles nvf4 = {nvf4_rows, nvf4_2x8, nvf4_1x16};
    const ei_f4_tiles *tiles = args->scheme == EI_MXF4 ? &mxf4 : &nvf4;
    int32_t corrections[EI_F4_MOST_BLOCKS];
    find_corrections(args, corrections);
    for (size_t t = 0; t < args->tiles; t++) {
        size_t taken = 0;
        for (size_t row = 0; row < args->rows; row += taken) {
            const size_t left = args->rows - row;
            ei_f4_tile tile = {.x = args->x + row * args->x_step,
                               .x_step = args->x_step,
                               .blocks = args->blocks,
                               .weights = args->weights + t * args->tile_bytes,
                               .sums = args->sums + row * args->sum_step + t * EI_TILE_CHANNELS,
                               .sum_step = args->sum_step,
                               .corrections = corrections + row,
                               .correction_step = args->rows};
            if (left == 1) {
                tiles->by_1x16(&tile);
                taken = 1;
                continue;
            }
            taken = left >= EI_F4_ROWS ? EI_F4_ROWS : 2;
            for (tile.half = 0; tile.half < HALVES; tile.half++) {
                (taken == 2 ? tiles->by_2x8 : tiles->by_rows)(&tile);
                tile.sums += 8;
            }
        }
    }
}
