// vpdpbusd on registers of 256 bits, two of them to 16 output channels: tiles of 6 pixels keep 12
// sums in registers. Otherwise as packed_gemm_avx512vnni.c.
#include <immintrin.h>
#include <string.h>

#include "kernels/packed_gemm/packed_gemm.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_avx2.h"
#include "kernels/unroll.h"

enum { PIXELS = 6, ONE_PIXEL_TILES = 4 };

// The same instruction has two encodings, and CPUs have either or both. A build with
// EI_AVXVNNI_AS_EVEX tests this file on one that only has AVX-512's.
#if EI_AVXVNNI_AS_EVEX
#define VPDPBUSD "vpdpbusd"
#else
#define VPDPBUSD "%{vex%} vpdpbusd"
#endif

/// acc += x . w, x being unsigned.
EI_ALWAYS_INLINE void add_products(__m256i *acc, __m256i x, __m256i w) {
    __asm__(VPDPBUSD " %2, %1, %0" : "+x"(*acc) : "x"(x), "x"(w));
}

static inline __m256i load(const void *from) {
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline __m256i load_four(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

typedef struct ei_gemm_tile {
    const ei_packed_gemm_args *args;
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    size_t offset; // bytes from the first pixel to this tile's, in a patch
    int8_t *y;
    size_t channels; // to store
    ei_requant_avx2 requant;
} ei_gemm_tile;

/// MR pixels x 16 channels.
EI_ALWAYS_INLINE void compute(const ei_gemm_tile *tile, const int MR) {
    const ei_packed_gemm_args *args = tile->args;
    const size_t step = args->pixel_step;
    const int8_t *w = tile->weights;
    __m256i acc[PIXELS][2];
    EI_UNROLL
    for (int m = 0; m < PIXELS; m++) {
        acc[m][0] = load(tile->bias);
        acc[m][1] = load(tile->bias + 8);
    }
    for (size_t s = 0; s < args->segment_count; s++) {
        const uint8_t *segment = args->segments[s] + tile->offset;
        const uint8_t *x[2] = {segment, segment + 3 * step};
        __asm__("" : "+r"(x[1])); // hides how they are related: six addresses need registers
        for (size_t group = args->groups; group > 0; group--) {
            const __m256i w0 = load(w);
            const __m256i w1 = load(w + EI_TILE_BYTES / 2);
            EI_UNROLL
            for (int m = 0; m < PIXELS; m++) {
                if (m < MR) {
                    const __m256i four = load_four(x[m / 3] + (size_t)(m % 3) * step);
                    add_products(&acc[m][0], four, w0);
                    add_products(&acc[m][1], four, w1);
                }
            }
            x[0] += EI_TILE_K;
            x[1] += EI_TILE_K;
            w += EI_TILE_BYTES;
        }
    }
    const __m256 m0 = _mm256_loadu_ps(tile->multiplier);
    const __m256 m1 = _mm256_loadu_ps(tile->multiplier + 8);
    const ei_requant_avx2 requant =
        tile->requant; // a copy: stores to y might change what is in memory
    const ei_requant_avx2 *q = &requant;
    int8_t *y = tile->y;
    EI_UNROLL
    for (int m = 0; m < PIXELS; m += 2) {
        if (m < MR) {
            const int other = m + 1 < MR ? m + 1 : m;
            const __m256i bytes = ei_pack_clamp_avx2(ei_scale_below_one_avx2(acc[m][0], m0),
                                                     ei_scale_below_one_avx2(acc[m][1], m1),
                                                     ei_scale_below_one_avx2(acc[other][0], m0),
                                                     ei_scale_below_one_avx2(acc[other][1], m1), q);
            ei_store_channels_sse(y, _mm256_castsi256_si128(bytes), tile->channels);
            if (m + 1 < MR) {
                ei_store_channels_sse(y + args->y_step, _mm256_extracti128_si256(bytes, 1),
                                      tile->channels);
            }
            y += 2 * args->y_step;
        }
    }
}

static void compute_pixels(const ei_gemm_tile *tile, size_t pixels) {
    switch (pixels) {
    case 1: compute(tile, 1); return;
    case 2: compute(tile, 2); return;
    case 3: compute(tile, 3); return;
    case 4: compute(tile, 4); return;
    case 5: compute(tile, 5); return;
    default: compute(tile, PIXELS); return;
    }
}

/// One pixel x four tiles: a tile alone would wait for one instruction after the other.
static void compute_one_pixel(const ei_gemm_tile *tile) {
    const ei_packed_gemm_args *args = tile->args;
    const int8_t *w = tile->weights;
    __m256i acc[2 * ONE_PIXEL_TILES];
    EI_UNROLL
    for (int i = 0; i < 2 * ONE_PIXEL_TILES; i++) {
        acc[i] = load(tile->bias + 8 * i);
    }
    for (size_t s = 0; s < args->segment_count; s++) {
        const uint8_t *x = args->segments[s];
        for (size_t group = 0; group < args->groups; group++) {
            const __m256i four = load_four(x + group * EI_TILE_K);
            EI_UNROLL
            for (int i = 0; i < 2 * ONE_PIXEL_TILES; i++) {
                const int8_t *half = w + (size_t)(i / 2) * args->tile_bytes + 32 * (i % 2);
                add_products(&acc[i], four, load(half));
            }
            w += EI_TILE_BYTES;
        }
    }
    EI_UNROLL
    for (int i = 0; i < 2 * ONE_PIXEL_TILES; i += 2) {
        const float *multiplier = tile->multiplier + 8 * i;
        const ei_requant_avx2 *q = &tile->requant;
        const __m256i a = ei_scale_below_one_avx2(acc[i], _mm256_loadu_ps(multiplier));
        const __m256i b = ei_scale_below_one_avx2(acc[i + 1], _mm256_loadu_ps(multiplier + 8));
        const __m256i bytes = ei_pack_clamp_avx2(a, b, a, b, q);
        ei_store_channels_sse(tile->y + 8 * i, _mm256_castsi256_si128(bytes), EI_TILE_CHANNELS);
    }
}

static void multiply(const ei_packed_gemm_args *args) {
    ei_gemm_tile tile = {.args = args,
                         .weights = args->weights,
                         .bias = args->bias,
                         .multiplier = args->multiplier,
                         .requant = ei_requant_avx2_of(&args->requant)};
    const size_t tiles = (args->pixels + PIXELS - 1) / PIXELS;
    const size_t size = (args->pixels + tiles - 1) / tiles;
    for (size_t first = 0; first < args->channels;) {
        const size_t left = args->channels - first;
        const int four = args->pixels == 1 && left >= ONE_PIXEL_TILES * EI_TILE_CHANNELS;
        tile.channels = left < EI_TILE_CHANNELS ? left : EI_TILE_CHANNELS;
        for (size_t pixel = 0; pixel < args->pixels; pixel += size) {
            const size_t rest = args->pixels - pixel;
            tile.offset = pixel * args->pixel_step;
            tile.y = args->y + pixel * args->y_step + first;
            if (four) {
                compute_one_pixel(&tile);
            } else {
                compute_pixels(&tile, rest < size ? rest : size);
            }
        }
        const size_t done = four ? ONE_PIXEL_TILES : 1;
        tile.weights += done * args->tile_bytes;
        tile.bias += done * EI_TILE_CHANNELS;
        tile.multiplier += done * EI_TILE_CHANNELS;
        first += done * EI_TILE_CHANNELS;
    }
}

static void bias_of_unsigned(int32_t *out, const int32_t *bias, const int8_t *weights, size_t tiles,
                             size_t tile_bytes) {
    const __m256i offset = _mm256_set1_epi8((char)128);
    const size_t fours = tile_bytes / (4 * EI_TILE_BYTES);
    for (size_t tile = 0; tile < tiles; tile++) {
        const int8_t *w = weights + tile * tile_bytes;
        const int8_t *end = w + tile_bytes;
        __m256i sums[8]; // even ones: channels 0 .. 7
        EI_UNROLL
        for (int i = 0; i < 8; i++) {
            sums[i] = _mm256_setzero_si256();
        }
        for (size_t four = 0; four < fours; four++) {
            EI_UNROLL
            for (int i = 0; i < 8; i++) {
                add_products(&sums[i], offset, load(w + 32 * i));
            }
            w += 4 * EI_TILE_BYTES;
        }
        for (; w < end; w += EI_TILE_BYTES) {
            add_products(&sums[0], offset, load(w));
            add_products(&sums[1], offset, load(w + 32));
        }
        EI_UNROLL
        for (int i = 0; i < 2; i++) {
            const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(sums[i], sums[i + 2]),
                                                 _mm256_add_epi32(sums[i + 4], sums[i + 6]));
            const size_t at = tile * EI_TILE_CHANNELS + 8 * (size_t)i;
            _mm256_storeu_si256((__m256i *)(out + at), _mm256_sub_epi32(load(bias + at), sum));
        }
    }
}

static void copy_unsigned(uint8_t *out, const int8_t *x, size_t count) {
    const __m256i sign = _mm256_set1_epi8((char)128);
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_xor_si256(load(x + i), sign));
    }
    for (; i + 8 <= count; i += 8) {
        uint64_t eight;
        memcpy(&eight, x + i, sizeof eight);
        eight ^= UINT64_C(0x8080808080808080);
        memcpy(out + i, &eight, sizeof eight);
    }
    for (; i < count; i++) {
        out[i] = (uint8_t)x[i] ^ 0x80;
    }
}

const ei_packed_gemm ei_packed_gemm_avxvnni = {
    .value_bytes = 1,
    .tile_pixels = PIXELS,
    .copy = copy_unsigned,
    .bias = bias_of_unsigned,
    .multiply = multiply,
    .any_multiplier = &ei_packed_gemm_avx2,
};
