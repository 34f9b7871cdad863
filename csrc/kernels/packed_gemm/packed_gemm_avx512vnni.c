// vpdpbusd: sixteen sums of four products of unsigned and signed bytes, modulo 2^32. A register of
// packed weights is 16 output channels x 4 values, and meets four values of a pixel in all lanes:
//
//     acc[m][t] += x[m][k..k+3] . w[t][16 channels][k..k+3]
//
// Tiles of 12 pixels x 32 channels or 16 pixels x 16 channels keep 24 or 16 sums in registers, so
// that a load of weights serves 12 or 16 instructions; ten are under way at a time.
#include "kernels/packed_gemm/packed_gemm.h"

#include <immintrin.h>
#include <string.h>

#include "kernels/packed_tile.h"
#include "kernels/requantize_avx512.h"
#include "kernels/unroll.h"

/// A tile of the product: where it starts, and what is the same for all.
typedef struct ei_gemm_tile {
    const ei_packed_gemm_args *args;
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    size_t offset; // bytes from the first pixel to this tile's, in a patch
    int8_t *y;
    uint32_t mask; // channels to store, a bit each
    ei_requant_avx512 requant;
} ei_gemm_tile;

typedef void (*ei_gemm_tile_fn)(const ei_gemm_tile *tile);

static inline __m512i load_four(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/// acc += x . w. As an instruction and not an intrinsic, of which gcc 12 makes one with copies of
/// acc before and after it, and spills in the tiles below.
EI_ALWAYS_INLINE void add_products(__m512i *acc, __m512i x, __m512i w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*acc) : "v"(x), "v"(w));
}

/// Adds all of K. MR pixels, NT tiles of channels: constants, so that sums live in registers.
EI_ALWAYS_INLINE void accumulate(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR,
                                 const int NT) {
    const ei_packed_gemm_args *args = tile->args;
    const size_t step = args->pixel_step;
    const size_t tile_bytes = args->tile_bytes;
    const int8_t *w = tile->weights;
    for (size_t row = 0; row < args->row_count; row++) {
        const uint8_t *segment = args->rows[row] + tile->offset;
        for (size_t s = 0; s < args->segments; s++) {
            // Pixels are addressed from every third or fourth one, plus one, two or three steps:
            // sixteen of them would not find registers.
            const int apart = MR > 12 ? 4 : 3;
            const uint8_t *x[4];
            EI_UNROLL
            for (int i = 0; i < 4; i++) {
                if (i * apart < MR) {
                    x[i] = segment + (size_t)(apart * i) * step;
                    __asm__("" : "+r"(x[i])); // hides how they are related
                }
            }
            for (size_t group = args->groups; group > 0; group--) {
                const __m512i w0 = _mm512_loadu_si512(w);
                const __m512i w1 = NT > 1 ? _mm512_loadu_si512(w + tile_bytes) : w0;
                EI_UNROLL
                for (int m = 0; m < MR; m++) {
                    const __m512i four = load_four(x[m / apart] + (size_t)(m % apart) * step);
                    add_products(&acc[m][0], four, w0);
                    if (NT > 1) {
                        add_products(&acc[m][1], four, w1);
                    }
                }
                EI_UNROLL
                for (int i = 0; i < 4; i++) {
                    if (i * apart < MR) {
                        x[i] += EI_TILE_K;
                    }
                }
                w += EI_TILE_BYTES;
            }
            segment += args->segment_step;
        }
    }
}

/// Stores pixels of 32 channels, two at a time.
EI_ALWAYS_INLINE void store_pairs(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR) {
    const ei_requant_avx512 *q = &tile->requant;
    const __m512 m0 = _mm512_loadu_ps(tile->multiplier);
    const __m512 m1 = _mm512_loadu_ps(tile->multiplier + EI_TILE_CHANNELS);
    // A lane has 4 channels of each tile of both pixels.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int8_t *y = tile->y;
    const size_t y_step = tile->args->y_step;
    EI_UNROLL
    for (int m = 0; m < MR; m += 2) {
        const int other = m + 1 < MR ? m + 1 : m;
        const __m512i a = ei_scale_avx512(acc[m][0], m0, q);
        const __m512i b = ei_scale_avx512(acc[m][1], m1, q);
        const __m512i c = ei_scale_avx512(acc[other][0], m0, q);
        const __m512i d = ei_scale_avx512(acc[other][1], m1, q);
        const __m512i bytes = _mm512_permutexvar_epi32(order, ei_pack_avx512(a, b, c, d, q));
        _mm256_mask_storeu_epi8(y, tile->mask, _mm512_castsi512_si256(bytes));
        if (m + 1 < MR) {
            _mm256_mask_storeu_epi8(y + y_step, tile->mask, _mm512_extracti64x4_epi64(bytes, 1));
        }
        y += 2 * y_step;
    }
}

/// Stores pixels of 16 channels, four at a time.
EI_ALWAYS_INLINE void store_quads(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR) {
    const ei_requant_avx512 *q = &tile->requant;
    const __m512 m0 = _mm512_loadu_ps(tile->multiplier);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __mmask16 mask = (__mmask16)tile->mask;
    int8_t *y = tile->y;
    const size_t y_step = tile->args->y_step;
    EI_UNROLL
    for (int m = 0; m < MR; m += 4) {
        __m512i scaled[4];
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            scaled[i] = ei_scale_avx512(acc[m + i < MR ? m + i : m][0], m0, q);
        }
        const __m512i packed = ei_pack_avx512(scaled[0], scaled[1], scaled[2], scaled[3], q);
        const __m512i bytes = _mm512_permutexvar_epi32(order, packed);
        _mm_mask_storeu_epi8(y, mask, _mm512_castsi512_si128(bytes));
        if (m + 1 < MR) {
            _mm_mask_storeu_epi8(y + y_step, mask, _mm512_extracti32x4_epi32(bytes, 1));
        }
        if (m + 2 < MR) {
            _mm_mask_storeu_epi8(y + 2 * y_step, mask, _mm512_extracti32x4_epi32(bytes, 2));
        }
        if (m + 3 < MR) {
            _mm_mask_storeu_epi8(y + 3 * y_step, mask, _mm512_extracti32x4_epi32(bytes, 3));
        }
        y += 4 * y_step;
    }
}

EI_ALWAYS_INLINE void compute(const ei_gemm_tile *tile, const int MR, const int NT) {
    __m512i acc[16][2];
    const __m512i b0 = _mm512_loadu_si512(tile->bias);
    const __m512i b1 = NT > 1 ? _mm512_loadu_si512(tile->bias + EI_TILE_CHANNELS) : b0;
    EI_UNROLL
    for (int m = 0; m < MR; m++) {
        acc[m][0] = b0;
        acc[m][1] = b1;
    }
    accumulate(acc, tile, MR, NT);
    if (NT > 1) {
        store_pairs(acc, tile, MR);
    } else {
        store_quads(acc, tile, MR);
    }
}

#define TILE(pixels, tiles)                                                                        \
    static void tile_##pixels##x##tiles(const ei_gemm_tile *tile) {                                \
        compute(tile, pixels, tiles);                                                              \
    }

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(7, 1)
TILE(8, 1)
TILE(12, 1)
TILE(16, 1)
TILE(1, 2)
TILE(2, 2)
TILE(3, 2)
TILE(4, 2)
TILE(5, 2)
TILE(6, 2)
TILE(7, 2)
TILE(8, 2)
TILE(10, 2)
TILE(12, 2)

/// By pixels; sizes that are missing are made of smaller tiles that overlap.
static const ei_gemm_tile_fn tiles_of_16[] = {
    NULL, tile_1x1, tile_2x1, tile_3x1,  tile_4x1, tile_5x1, tile_6x1, tile_7x1,  tile_8x1,
    NULL, NULL,     NULL,     tile_12x1, NULL,     NULL,     NULL,     tile_16x1,
};
static const ei_gemm_tile_fn tiles_of_32[] = {
    NULL,     tile_1x2, tile_2x2, tile_3x2,  tile_4x2, tile_5x2,  tile_6x2,
    tile_7x2, tile_8x2, NULL,     tile_10x2, NULL,     tile_12x2,
};

/// Pixels of the tiles to cut `pixels` into: evenly, of a size that there is. The last one may have
/// to begin earlier than the one before it ends.
static size_t tile_size(const ei_gemm_tile_fn *table, size_t largest, size_t pixels) {
    size_t count = (pixels + largest - 1) / largest;
    for (;; count++) {
        size_t size = (pixels + count - 1) / count;
        while (table[size] == NULL) {
            size++;
        }
        if (size <= pixels) {
            return size;
        }
    }
}

static void multiply(const ei_packed_gemm_args *args) {
    ei_gemm_tile tile = {.args = args,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .requant = ei_requant_avx512_of(&args->requant)};
    const size_t size_16 = tile_size(tiles_of_16, 16, args->pixels);
    const size_t size_32 = tile_size(tiles_of_32, 12, args->pixels);
    for (size_t first = 0; first < args->channels;) {
        const size_t left = args->channels - first;
        const int two = left > EI_TILE_CHANNELS;
        const size_t size = two ? size_32 : size_16;
        const ei_gemm_tile_fn fn = two ? tiles_of_32[size] : tiles_of_16[size];
        const size_t width = two ? 2 * EI_TILE_CHANNELS : EI_TILE_CHANNELS;
        tile.mask = left >= 32 ? UINT32_MAX : (1u << left) - 1;
        for (size_t pixel = 0; pixel < args->pixels; pixel += size) {
            const size_t at = pixel + size <= args->pixels ? pixel : args->pixels - size;
            tile.offset = at * args->pixel_step;
            tile.y = args->y + at * args->y_step + first;
            fn(&tile);
        }
        tile.weights += width / EI_TILE_CHANNELS * args->tile_bytes;
        tile.bias += width;
        tile.multiplier += width;
        first += width;
    }
}

static void bias_of_unsigned(int32_t *out, const int32_t *bias, const int8_t *weights, size_t tiles,
                             size_t tile_bytes) {
    const __m512i offset = _mm512_set1_epi8((char)128);
    for (size_t tile = 0; tile < tiles; tile++) {
        __m512i sums[4];
        for (int i = 0; i < 4; i++) {
            sums[i] = _mm512_setzero_si512();
        }
        size_t at = 0;
        for (; at + 4 * EI_TILE_BYTES <= tile_bytes; at += 4 * EI_TILE_BYTES) {
            EI_UNROLL
            for (int i = 0; i < 4; i++) {
                const __m512i w = _mm512_loadu_si512(weights + at + i * EI_TILE_BYTES);
                sums[i] = _mm512_dpbusd_epi32(sums[i], offset, w);
            }
        }
        for (; at < tile_bytes; at += EI_TILE_BYTES) {
            sums[0] = _mm512_dpbusd_epi32(sums[0], offset, _mm512_loadu_si512(weights + at));
        }
        const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]),
                                             _mm512_add_epi32(sums[2], sums[3]));
        _mm512_storeu_si512(out, _mm512_sub_epi32(_mm512_loadu_si512(bias), sum));
        out += EI_TILE_CHANNELS;
        bias += EI_TILE_CHANNELS;
        weights += tile_bytes;
    }
}

static void copy_unsigned(uint8_t *out, const int8_t *x, size_t count) {
    const __m512i sign = _mm512_set1_epi8((char)128);
    size_t i = 0;
    for (; i + 64 <= count; i += 64) {
        _mm512_storeu_si512(out + i, _mm512_xor_si512(_mm512_loadu_si512(x + i), sign));
    }
    if (i < count) {
        const __mmask64 mask = UINT64_MAX >> (64 - (count - i));
        const __m512i values = _mm512_maskz_loadu_epi8(mask, x + i);
        _mm512_mask_storeu_epi8(out + i, mask, _mm512_xor_si512(values, sign));
    }
}

const ei_packed_gemm ei_packed_gemm_avx512vnni = {
    .value_bytes = 1, .copy = copy_unsigned, .bias = bias_of_unsigned, .multiply = multiply};
