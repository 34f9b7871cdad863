// vpdpbusd: sixteen sums of four products of unsigned and signed bytes, modulo 2^32. A register of
// packed weights is 16 output channels x 4 values, and meets four values of a pixel in all lanes:
//
//     acc[m][t] += x[m][k..k+3] . w[t][16 channels][k..k+3]
//
// Tiles of 14 pixels x 32 channels or 16 pixels x 16 channels keep 28 or 16 sums in registers, so
// that a load of weights serves 14 or 16 instructions; ten are under way at a time.
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
    const uint8_t *const *segments;
    size_t offset; // bytes from the first pixel to this tile's, in a patch
    int8_t *y;
    const uint8_t *const *second_segments; // of tiles of two halves: the second
    size_t second_offset;
    int8_t *second_y;
    ptrdiff_t ahead; // from weights to those that will be asked for next, or 0
    uint32_t mask;   // channels to store, a bit each
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

/// Tiles of so many pixels consist of halves, which may lie in different rows.
EI_ALWAYS_INLINE int has_halves(const int MR) {
    return MR % 2 == 0 && MR >= 8;
}

/// Adds all of K. MR pixels, NT tiles of channels: constants, so that sums live in registers.
EI_ALWAYS_INLINE void accumulate(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR,
                                 const int NT) {
    const ei_packed_gemm_args *args = tile->args;
    const size_t step = args->pixel_step;
    const size_t tile_bytes = args->tile_bytes;
    const ptrdiff_t ahead = tile->ahead;
    const int half = has_halves(MR) ? MR / 2 : MR;
    const int8_t *w = tile->weights;
    size_t s = 0;
    do { // there is a segment and a group: loops that could be empty cost registers
        // Pixels are addressed from every fourth one, plus one, two or three steps: so many addresses
        // would not find registers.
        const uint8_t *x[4];
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            if (4 * (i % 2) >= half || (i >= 2 && half == MR)) {
                continue;
            }
            const uint8_t *first = i < 2 ? tile->segments[s] + tile->offset
                                         : tile->second_segments[s] + tile->second_offset;
            x[i] = first + (size_t)(4 * (i % 2)) * step;
            __asm__("" : "+r"(x[i])); // hides how they are related
        }
        size_t group = args->groups;
        do {
            const __m512i w0 = _mm512_loadu_si512(w);
            const __m512i w1 = NT > 1 ? _mm512_loadu_si512(w + tile_bytes) : w0;
            if (NT > 1) {
                _mm_prefetch((const char *)w + ahead, _MM_HINT_T1);
            }
            EI_UNROLL
            for (int m = 0; m < MR; m++) {
                const int i = m % half;
                const uint8_t *from = x[i / 4 + (m < half ? 0 : 2)];
                const __m512i four = load_four(from + (size_t)(i % 4) * step);
                add_products(&acc[m][0], four, w0);
                if (NT > 1) {
                    add_products(&acc[m][1], four, w1);
                }
            }
            EI_UNROLL
            for (int i = 0; i < 4; i++) {
                if (4 * (i % 2) < half && (i < 2 || half < MR)) {
                    x[i] += EI_TILE_K;
                }
            }
            w += EI_TILE_BYTES;
        } while (--group > 0);
    } while (++s < args->segment_count);
}

/// Stores pixels of 32 channels, two at a time.
EI_ALWAYS_INLINE void store_pairs(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR) {
    const ei_requant_avx512 q = tile->requant; // copies: stores to y might change what is in memory
    const __m512 m0 = _mm512_loadu_ps(tile->multiplier);
    const __m512 m1 = _mm512_loadu_ps(tile->multiplier + EI_TILE_CHANNELS);
    // A lane has 4 channels of each tile of both pixels.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int8_t *y = tile->y;
    int8_t *second_y = tile->second_y;
    const size_t y_step = tile->args->y_step;
    const __mmask32 lower = tile->mask;
    // The upper half is stored from where it is, by a mask: no instruction to bring it down.
    const __mmask64 upper = (__mmask64)tile->mask << 32;
    EI_UNROLL
    for (int m = 0; m < MR; m += 2) {
        const int other = m + 1 < MR ? m + 1 : m;
        const __m512i a = ei_scale_below_one_avx512(acc[m][0], m0);
        const __m512i b = ei_scale_below_one_avx512(acc[m][1], m1);
        const __m512i c = ei_scale_below_one_avx512(acc[other][0], m0);
        const __m512i d = ei_scale_below_one_avx512(acc[other][1], m1);
        const __m512i bytes = _mm512_permutexvar_epi32(order, ei_pack_clamp_avx512(a, b, c, d, &q));
        _mm256_mask_storeu_epi8(y, lower, _mm512_castsi512_si256(bytes));
        y = has_halves(MR) && m + 1 == MR / 2 ? second_y : y + y_step;
        if (m + 1 < MR) {
            _mm512_mask_storeu_epi8(y - 32, upper, bytes);
            y = has_halves(MR) && m + 2 == MR / 2 ? second_y : y + y_step;
        }
    }
}

/// Stores pixels of 16 channels, four at a time.
EI_ALWAYS_INLINE void store_quads(__m512i acc[16][2], const ei_gemm_tile *tile, const int MR) {
    const ei_requant_avx512 q = tile->requant;
    const __m512 m0 = _mm512_loadu_ps(tile->multiplier);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __mmask64 mask = tile->mask;
    int8_t *y = tile->y;
    const size_t y_step = tile->args->y_step;
    EI_UNROLL
    for (int m = 0; m < MR; m += 4) {
        __m512i scaled[4];
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            scaled[i] = ei_scale_below_one_avx512(acc[m + i < MR ? m + i : m][0], m0);
        }
        const __m512i packed = ei_pack_clamp_avx512(scaled[0], scaled[1], scaled[2], scaled[3], &q);
        const __m512i bytes = _mm512_permutexvar_epi32(order, packed);
        _mm_mask_storeu_epi8(y, (__mmask16)mask, _mm512_castsi512_si128(bytes));
        y += y_step;
        if (m + 1 < MR) {
            _mm256_mask_storeu_epi8(y - 16, (__mmask32)(mask << 16), _mm512_castsi512_si256(bytes));
            y += y_step;
        }
        if (m + 2 < MR) {
            _mm512_mask_storeu_epi8(y - 32, mask << 32, bytes);
            y += y_step;
        }
        if (m + 3 < MR) {
            _mm512_mask_storeu_epi8(y - 48, mask << 48, bytes);
            y += y_step;
        }
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
TILE(14, 2)

/// The tiles of a width, by pixels, ascending.
typedef struct ei_gemm_tile_size {
    uint32_t pixels;
    ei_gemm_tile_fn compute;
} ei_gemm_tile_size;

static const ei_gemm_tile_size sizes_of_16[] = {
    {1, tile_1x1}, {2, tile_2x1}, {3, tile_3x1}, {4, tile_4x1},   {5, tile_5x1},
    {6, tile_6x1}, {7, tile_7x1}, {8, tile_8x1}, {12, tile_12x1}, {16, tile_16x1},
};
static const ei_gemm_tile_size sizes_of_32[] = {
    {1, tile_1x2}, {2, tile_2x2}, {3, tile_3x2},   {4, tile_4x2},   {5, tile_5x2},   {6, tile_6x2},
    {7, tile_7x2}, {8, tile_8x2}, {10, tile_10x2}, {12, tile_12x2}, {14, tile_14x2},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/// How to cut a number of pixels into few tiles: `large_count` large ones, the others the next size
/// below. The last one may have to begin before the one in front of it ends.
typedef struct ei_gemm_cut {
    const ei_gemm_tile_size *large;
    size_t large_count;
} ei_gemm_cut;

static ei_gemm_cut cut_pixels(const ei_gemm_tile_size *sizes, uint32_t size_count,
                              uint32_t pixels) {
    if (pixels <= 8) { // these there are, and need no division
        return (ei_gemm_cut){&sizes[pixels - 1], 1};
    }
    const uint32_t largest = sizes[size_count - 1].pixels;
    for (uint32_t count = (pixels + largest - 1) / largest;; count++) {
        const ei_gemm_tile_size *large = &sizes[size_count - 1];
        while (large[-1].pixels * count >= pixels) {
            large--;
        }
        if (large->pixels <= pixels) {
            const uint32_t small = large[-1].pixels;
            const uint32_t more = large->pixels - small;
            return (ei_gemm_cut){large, (pixels - count * small + more - 1) / more};
        }
    }
}

/// Takes its share of the weights to prefetch: a line for each group of four values.
static ptrdiff_t take_ahead(const ei_packed_gemm_args *args, const int8_t *weights) {
    ei_weights_ahead *ahead = args->ahead;
    if (ahead->next >= ahead->end) {
        if (ahead->later.bytes == 0) {
            return 0;
        }
        const size_t most = EI_LATER_BYTES;
        ahead->next = ahead->later.weights;
        ahead->end = ahead->next + (ahead->later.bytes < most ? ahead->later.bytes : most);
        ahead->later.bytes = 0;
    }
    const ptrdiff_t distance = ahead->next - weights;
    ahead->next += args->tile_bytes;
    return distance;
}

/// All pixels of a row.
static void multiply_row(ei_gemm_tile *tile, const ei_gemm_cut *cut, int two, int8_t *y) {
    const ei_packed_gemm_args *args = tile->args;
    const ei_gemm_tile_size *size = cut->large;
    size_t count = 0;
    for (size_t pixel = 0; pixel < args->pixels; pixel += size->pixels) {
        size = count++ < cut->large_count ? cut->large : cut->large - 1;
        const size_t last = args->pixels - size->pixels;
        const size_t at = pixel < last ? pixel : last;
        tile->offset = at * args->pixel_step;
        tile->y = y + at * args->y_step;
        tile->second_segments = tile->segments;
        tile->second_offset = tile->offset + size->pixels / 2 * args->pixel_step;
        tile->second_y = tile->y + size->pixels / 2 * args->y_step;
        tile->ahead = two ? take_ahead(args, tile->weights) : 0;
        size->compute(tile);
    }
}

static const ei_gemm_tile_fn two_rows[] = {tile_8x2, tile_10x2, tile_12x2, tile_14x2};

/// As many pixels in each of two rows.
static void multiply_two_rows(ei_gemm_tile *tile, int8_t *y, int8_t *second_y) {
    tile->segments = tile->args->segments;
    tile->offset = 0;
    tile->y = y;
    tile->second_segments = tile->args->second_segments;
    tile->second_offset = 0;
    tile->second_y = second_y;
    tile->ahead = take_ahead(tile->args, tile->weights);
    two_rows[tile->args->pixels - EI_LEAST_PAIRED](tile);
}

static void multiply(const ei_packed_gemm_args *args) {
    ei_gemm_tile tile = {.args = args,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .requant = ei_requant_avx512_of(&args->requant)};
    const uint32_t pixels = (uint32_t)args->pixels;
    ei_gemm_cut cut = {NULL,
                       0}; // of the width of tiles that is going on: the last one may be narrow
    int cut_two = -1;
    for (size_t first = 0; first < args->channels;) {
        const size_t left = args->channels - first;
        const int two = left > EI_TILE_CHANNELS;
        tile.mask = left >= 32 ? UINT32_MAX : (1u << left) - 1;
        if (two && args->second_segments != NULL) {
            multiply_two_rows(&tile, args->y + first, args->second_y + first);
        } else {
            if (two != cut_two) {
                cut_two = two;
                cut = two ? cut_pixels(sizes_of_32, COUNT(sizes_of_32), pixels)
                          : cut_pixels(sizes_of_16, COUNT(sizes_of_16), pixels);
            }
            tile.segments = args->segments;
            multiply_row(&tile, &cut, two, args->y + first);
            if (args->second_segments != NULL) {
                tile.segments = args->second_segments;
                multiply_row(&tile, &cut, two, args->second_y + first);
            }
        }
        const size_t width = two ? 2 * EI_TILE_CHANNELS : EI_TILE_CHANNELS;
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
    .value_bytes = 1,
    .tile_pixels = 14,
    .pairs_rows = 1,
    .copy = copy_unsigned,
    .bias = bias_of_unsigned,
    .multiply = multiply,
    .any_multiplier = &ei_packed_gemm_avx2,
};
