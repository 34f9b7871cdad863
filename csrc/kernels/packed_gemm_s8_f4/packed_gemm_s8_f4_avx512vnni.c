// vpdpbusd on 512 bits: four products of unsigned and signed bytes added to an int32, 16 channels at a
// time; |sum| is at most 32 * 24 * 128. Weights are decoded by a byte shuffle into w2 + 12, unsigned; what
// that adds, 12 * sum(x), is the same for all channels of a row and a block, and sums begin with its
// negative.
//
// With AVX-512 VBMI a tile is 8 rows x 32 channels, whose totals stay in the L1 cache: a block takes a
// multiplication of each of them and as many conversions, beside 8 (MXFP4) or 4 (NVFP4) products. Where that
// leaves less than 32 channels or 8 rows, and without VBMI, tiles are smaller; one row takes 32 channels,
// which memory feeds.
//
// Without AVX-512 VBMI a code is cut out of its byte before the shuffle, which looks at four bits and the
// sign; vpermb looks at six bits, and 64 entries of a table that repeats itself make of two of these no
// difference.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"
#include "kernels/unroll.h"

enum { ROWS = 8, TILES = 2, IN_REGISTERS = 8, AHEAD = 1024 };

typedef struct ei_f4_tile {
    const int8_t *x; // of the first row
    size_t x_step;
    size_t blocks;
    const uint8_t *weights; // of the first 16 channels
    size_t tile_bytes;
    float *sums; // of the first row and channel
    size_t sum_step;
    const int32_t *corrections; // [blocks][correction_step]
    size_t correction_step;
} ei_f4_tile;

typedef void (*ei_f4_multiply)(const ei_f4_tile *tile);

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

/// Bytes of the table, by the low six bits of codes: AVX-512 VBMI, whatever the compiler was told of it.
EI_ALWAYS_INLINE __m512i permute(__m512i codes, __m512i table) {
#if EI_EMULATED
    return _mm512_permutexvar_epi8(codes, table);
#else
    __m512i found;
    __asm__("vpermb %2, %1, %0" : "=v"(found) : "v"(codes), "v"(table));
    return found;
#endif
}

/// Of the low (half 0) or the high four bits of each byte.
EI_ALWAYS_INLINE __m512i decode(__m512i codes, __m512i table, const int half, const int VBMI) {
    const __m512i cut = half == 0 ? codes : _mm512_srli_epi16(codes, 4);
    if (VBMI) {
        return permute(cut, table);
    }
    return _mm512_shuffle_epi8(table, _mm512_and_si512(cut, _mm512_set1_epi8(15)));
}

/// MR rows x 16 * NT channels, all blocks.
EI_ALWAYS_INLINE void compute(const ei_f4_tile *tile, const ei_f4_scheme scheme, const int MR,
                              const int NT, const int VBMI) {
    const size_t step = tile->x_step, tile_bytes = tile->tile_bytes;
    const size_t correction_step = tile->correction_step;
    const int PIECES = scheme == EI_MXF4 ? 4 : 2;
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const uint8_t *w = tile->weights;
    const uint8_t *scales = w;
    const int8_t *x = tile->x;
    const int32_t *corrections = tile->corrections;
    _Alignas(64) float kept[ROWS * TILES][16];
    __m512 totals[IN_REGISTERS];
    EI_UNROLL
    for (int i = 0; i < MR * NT; i++) {
        const __m512 sum = _mm512_loadu_ps(tile->sums + i / NT * tile->sum_step + 16 * (i % NT));
        if (MR * NT > IN_REGISTERS) {
            _mm512_store_ps(kept[i], sum);
        } else {
            totals[i] = sum;
        }
    }
    for (size_t block = 0; block < tile->blocks; block++) {
        if (block % EI_F4_GROUP == 0) {
            scales = w;
            w += EI_F4_SCALES_BYTES;
        }
        __m512i acc[ROWS * TILES];
        EI_UNROLL
        for (int i = 0; i < MR * NT; i++) {
            acc[i] = _mm512_set1_epi32(corrections[i / NT]);
        }
        EI_UNROLL
        for (int piece = 0; piece < PIECES; piece++) {
            __m512i weights[2][TILES];
            EI_UNROLL
            for (int t = 0; t < NT; t++) {
                const uint8_t *from = w + (size_t)t * tile_bytes + piece * EI_F4_PIECE_BYTES;
                _mm_prefetch((const char *)from + AHEAD, _MM_HINT_T0);
                const __m512i codes = _mm512_loadu_si512(from);
                weights[0][t] = decode(codes, table, 0, VBMI);
                weights[1][t] = decode(codes, table, 1, VBMI);
            }
            EI_UNROLL
            for (int i = 0; i < 2 * MR; i++) {
                const int m = i / 2, half = i % 2;
                const __m512i four =
                    load_four(x + (size_t)m * step + piece * EI_F4_PIECE_K + 4 * half);
                EI_UNROLL
                for (int t = 0; t < NT; t++) {
                    __m512i *sum = &acc[m * NT + t];
                    *sum = _mm512_dpbusd_epi32(*sum, weights[half][t], four);
                }
            }
        }
        w += ei_f4_block_pieces(scheme) * EI_F4_PIECE_BYTES;
        x += ei_f4_block(scheme);
        corrections += correction_step;
        EI_UNROLL
        for (int t = 0; t < NT; t++) {
            const __m512 scale = load_scales(scales + (size_t)t * tile_bytes, scheme);
            EI_UNROLL
            for (int i = t; i < MR * NT; i += NT) {
                const __m512 sum = _mm512_cvtepi32_ps(acc[i]);
                if (MR * NT > IN_REGISTERS) {
                    const __m512 total = _mm512_load_ps(kept[i]);
                    _mm512_store_ps(kept[i], _mm512_fmadd_ps(sum, scale, total));
                } else {
                    totals[i] = _mm512_fmadd_ps(sum, scale, totals[i]);
                }
            }
        }
        scales += EI_TILE_CHANNELS;
    }
    EI_UNROLL
    for (int i = 0; i < MR * NT; i++) {
        const __m512 sum = MR * NT > IN_REGISTERS ? _mm512_load_ps(kept[i]) : totals[i];
        _mm512_storeu_ps(tile->sums + i / NT * tile->sum_step + 16 * (i % NT), sum);
    }
}

static void mxf4_8x32_vbmi(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 8, 2, 1);
}

static void mxf4_1x32_vbmi(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 1, 2, 1);
}

static void nvf4_8x32_vbmi(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 8, 2, 1);
}

static void nvf4_1x32_vbmi(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 1, 2, 1);
}

static void mxf4_4x16(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 4, 1, 0);
}

static void mxf4_2x16(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 2, 1, 0);
}

static void mxf4_1x16(const ei_f4_tile *tile) {
    compute(tile, EI_MXF4, 1, 1, 0);
}

static void nvf4_4x16(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 4, 1, 0);
}

static void nvf4_2x16(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 2, 1, 0);
}

static void nvf4_1x16(const ei_f4_tile *tile) {
    compute(tile, EI_NVF4, 1, 1, 0);
}

/// -12 * sum(x) of 8 rows from `row` on, for every block.
static void correct_eight(const ei_packed_gemm_s8_f4_args *args, size_t row, int32_t *corrections) {
    const int two = args->scheme == EI_NVF4; // blocks in 32 values
    const __m256i twelve = _mm256_set1_epi8(12);
    const __m256i zero = _mm256_setzero_si256();
    const int8_t *x = args->x + row * args->x_step;
    for (size_t block = 0; block < args->blocks; block += 1 + (size_t)two) {
        const int last = two && block + 1 == args->blocks;
        __m256i sum[ROWS];
        EI_UNROLL
        for (int m = 0; m < ROWS; m++) {
            const void *from = x + (size_t)m * args->x_step;
            const __m256i values =
                last ? _mm256_zextsi128_si256(_mm_loadu_si128(from)) : _mm256_loadu_si256(from);
            sum[m] = _mm256_dpbusd_epi32(zero, twelve, values);
        }
        EI_UNROLL
        for (int count = ROWS / 2; count >= 2; count /= 2) {
            EI_UNROLL
            for (int m = 0; m < count; m++) {
                sum[m] = _mm256_hadd_epi32(sum[2 * m], sum[2 * m + 1]);
            }
        }
        // Lanes of 128 bits are 4 rows of the first and of the second 16 values.
        const __m256i first = _mm256_permute2x128_si256(sum[0], sum[1], 0x20);
        const __m256i second = _mm256_permute2x128_si256(sum[0], sum[1], 0x31);
        int32_t *to = corrections + block * args->rows + row;
        if (!two) {
            _mm256_storeu_si256((void *)to,
                                _mm256_sub_epi32(zero, _mm256_add_epi32(first, second)));
        } else {
            _mm256_storeu_si256((void *)to, _mm256_sub_epi32(zero, first));
            if (!last) {
                _mm256_storeu_si256((void *)(to + args->rows), _mm256_sub_epi32(zero, second));
            }
        }
        x += 32;
    }
}

/// The same of one row.
static void correct_one(const ei_packed_gemm_s8_f4_args *args, size_t row, int32_t *corrections) {
    const size_t halves = ei_f4_block_pieces(args->scheme) / 2; // of 16 values
    const __m128i twelve = _mm_set1_epi8(12);
    const int8_t *x = args->x + row * args->x_step;
    for (size_t block = 0; block < args->blocks; block++) {
        __m128i sum = _mm_setzero_si128();
        for (size_t half = 0; half < halves; half++) {
            sum = _mm_dpbusd_epi32(sum, twelve, _mm_loadu_si128((const __m128i *)x));
            x += 16;
        }
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
        corrections[block * args->rows + row] = -_mm_cvtsi128_si32(sum);
    }
}

/// What the sums of every row and block begin with, [blocks][rows].
static void find_corrections(const ei_packed_gemm_s8_f4_args *args, int32_t *corrections) {
    size_t row = 0;
    for (; row + ROWS <= args->rows; row += ROWS) {
        correct_eight(args, row, corrections);
    }
    for (; row < args->rows; row++) {
        correct_one(args, row, corrections);
    }
}

/// Products of the tiles of a scheme. Those of 32 channels are there with VBMI only: servers without it
/// are few, and all of this is in every wheel.
typedef struct ei_f4_tiles {
    ei_f4_multiply by_8x32, by_1x32, by_4x16, by_2x16, by_1x16;
} ei_f4_tiles;

static void multiply(const ei_packed_gemm_s8_f4_args *args, const ei_f4_tiles *tiles) {
    int32_t corrections[EI_F4_MOST_BLOCKS];
    find_corrections(args, corrections);
    for (size_t t = 0; t < args->tiles; t += TILES) {
        const size_t wide = args->tiles - t < TILES ? 1 : TILES;
        size_t taken = 0;
        for (size_t row = 0; row < args->rows; row += taken) {
            const size_t left = args->rows - row;
            ei_f4_tile tile = {.x = args->x + row * args->x_step,
                               .x_step = args->x_step,
                               .blocks = args->blocks,
                               .weights = args->weights + t * args->tile_bytes,
                               .tile_bytes = args->tile_bytes,
                               .sums = args->sums + row * args->sum_step + t * EI_TILE_CHANNELS,
                               .sum_step = args->sum_step,
                               .corrections = corrections + row,
                               .correction_step = args->rows};
            if (tiles->by_8x32 != NULL && wide == TILES && (left >= ROWS || left == 1)) {
                taken = left == 1 ? 1 : ROWS;
                (left == 1 ? tiles->by_1x32 : tiles->by_8x32)(&tile);
                continue;
            }
            taken = left >= 4 ? 4 : (left >= 2 ? 2 : 1);
            for (size_t i = 0; i < wide; i++) {
                (taken == 4 ? tiles->by_4x16 : taken == 2 ? tiles->by_2x16 : tiles->by_1x16)(&tile);
                tile.weights += args->tile_bytes;
                tile.sums += EI_TILE_CHANNELS;
            }
        }
    }
}

void ei_packed_gemm_s8_f4_avx512vnni(const ei_packed_gemm_s8_f4_args *args) {
    static const ei_f4_tiles mxf4 = {NULL, NULL, mxf4_4x16, mxf4_2x16, mxf4_1x16};
    static const ei_f4_tiles nvf4 = {NULL, NULL, nvf4_4x16, nvf4_2x16, nvf4_1x16};
    multiply(args, args->scheme == EI_MXF4 ? &mxf4 : &nvf4);
}

void ei_packed_gemm_s8_f4_vbmi_avx512vnni(const ei_packed_gemm_s8_f4_args *args) {
    static const ei_f4_tiles mxf4 = {mxf4_8x32_vbmi, mxf4_1x32_vbmi, mxf4_4x16, mxf4_2x16,
                                     mxf4_1x16};
    static const ei_f4_tiles nvf4 = {nvf4_8x32_vbmi, nvf4_1x32_vbmi, nvf4_4x16, nvf4_2x16,
                                     nvf4_1x16};
    multiply(args, args->scheme == EI_MXF4 ? &mxf4 : &nvf4);
}
