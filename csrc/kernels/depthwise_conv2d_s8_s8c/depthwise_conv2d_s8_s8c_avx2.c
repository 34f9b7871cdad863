// vpmaddwd on pairs of taps, widened to int16: 16 channels at a time,
//
//     acc[n] += x(tap, n) * w(tap, n) + x(tap + 1, n) * w(tap + 1, n)
//
// Taps are read where they lie, through a pointer each; taps outside the image point into the zero
// row. Channels in pairs of registers (0..3 8..11, 4..7 12..15) are put in order by the packs.
#include <immintrin.h>
#include <string.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_avx2.h"

enum { MOST_TAPS = 256 };

typedef struct ei_depthwise_tile {
    const ei_depthwise_conv2d_s8_s8c_args *args;
    int32_t first, count; // output channels
    size_t pairs;         // of taps
    __m256i bias[2];
    __m256 multiplier[2];
    __m256i weights[MOST_TAPS / 2]
                   [2]; // int16 (tap, tap + 1) of channels 0..3 8..11 and 4..7 12..15
    ei_requant_avx2 requant;
} ei_depthwise_tile;

/// Values 0..3 8..11 and 4..7 12..15 of 16.
static void split(__m256i out[2], const void *values) {
    const __m128i *from = values;
    const __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    out[0] = _mm256_inserti128_si256(_mm256_castsi128_si256(a), c, 1);
    out[1] = _mm256_inserti128_si256(_mm256_castsi128_si256(b), d, 1);
}

static void prepare_constants(ei_depthwise_tile *tile) {
    const ei_depthwise_conv2d_s8_s8c_args *args = tile->args;
    const size_t taps = (size_t)args->window.kernel_h * (size_t)args->window.kernel_w;
    const size_t first = (size_t)tile->first;
    const int8_t *packed = args->weights + first / EI_TILE_CHANNELS * ei_segment_bytes(taps);
    __m256 multiplier[2];
    __m256i bits[2];
    split(tile->bias, args->bias + first);
    split(bits, args->multiplier + first);
    multiplier[0] = _mm256_castsi256_ps(bits[0]);
    multiplier[1] = _mm256_castsi256_ps(bits[1]);
    memcpy(tile->multiplier, multiplier, sizeof multiplier);
    for (size_t pair = 0; pair < tile->pairs; pair++) { // a last tap without a partner: weight 0
        const int8_t *w = packed + pair / 2 * EI_TILE_BYTES + pair % 2 * 2;
        int16_t wide[2 * EI_TILE_CHANNELS];
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            wide[2 * n] = w[EI_TILE_K * n];
            wide[2 * n + 1] = w[EI_TILE_K * n + 1];
        }
        split(tile->weights[pair], wide);
    }
    tile->requant = ei_requant_avx2_of(&args->requant);
}

/// A tap's channels as int16. Short tiles and shared input channels are gathered: nothing beyond a
/// pixel may be read.
static inline __m256i load_tap(const ei_depthwise_tile *tile, const int8_t *pixel) {
    const int32_t multiplicity = tile->args->multiplicity;
    if (multiplicity == 1 && tile->count == EI_TILE_CHANNELS) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(pixel + tile->first)));
    }
    int8_t channels[EI_TILE_CHANNELS] = {0};
    for (int32_t n = 0; n < tile->count; n++) {
        channels[n] = pixel[(tile->first + n) / multiplicity];
    }
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)channels));
}

static void compute_pixel(const ei_depthwise_tile *tile, const int8_t *const *taps, int8_t *y) {
    __m256i low = tile->bias[0], high = tile->bias[1];
    for (size_t pair = 0; pair < tile->pairs; pair++) {
        const __m256i a = load_tap(tile, taps[2 * pair]);
        const __m256i b = load_tap(tile, taps[2 * pair + 1]);
        const __m256i *w = tile->weights[pair];
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w[0]));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w[1]));
    }
    const ei_requant_avx2 *q = &tile->requant;
    const __m256i words = _mm256_packs_epi32(ei_scale_avx2(low, tile->multiplier[0], q),
                                             ei_scale_avx2(high, tile->multiplier[1], q));
    const __m256i shifted = _mm256_adds_epi16(words, q->zero_point);
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(shifted), _mm256_extracti128_si256(shifted, 1));
    ei_store_channels_sse(y, _mm_max_epi8(bytes, _mm256_castsi256_si128(q->low)),
                          (size_t)tile->count);
}

static void convolve_row(const ei_depthwise_tile *tile, uint32_t row) {
    const ei_depthwise_conv2d_s8_s8c_args *args = tile->args;
    const ei_window *w = &args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    int8_t *y = (int8_t *)ei_row(&args->y, row) + tile->first;
    const int8_t *rows[MOST_TAPS];
    const int8_t *taps[MOST_TAPS + 1];
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        rows[ky] = (const int8_t *)ei_image_row(&args->x, image, iy + (int64_t)ky * w->dilation_h,
                                                (uint32_t)w->in_h, (const uint8_t *)args->zero);
    }
    for (int32_t ox = 0; ox < w->out_w; ox++) {
        const int64_t ix = (int64_t)ox * w->stride_w - w->pad_left;
        size_t tap = 0;
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                const int64_t column = ix + (int64_t)kx * w->dilation_w;
                const int inside = column >= 0 && column < w->in_w;
                taps[tap++] = inside ? rows[ky] + (size_t)column * (size_t)w->in_c : args->zero;
            }
        }
        taps[tap] = taps[0];
        compute_pixel(tile, taps, y);
        y += w->out_c;
    }
}

void ei_depthwise_conv2d_s8_s8c_avx2(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end) {
    const ei_window *w = &args->window;
    if ((int64_t)w->kernel_h * w->kernel_w > MOST_TAPS) {
        ei_depthwise_conv2d_s8_s8c_scalar(args, begin, end);
        return;
    }
    ei_depthwise_tile tile;
    tile.args = args;
    tile.pairs = ((size_t)w->kernel_h * (size_t)w->kernel_w + 1) / 2;
    for (tile.first = 0; tile.first < w->out_c; tile.first += EI_TILE_CHANNELS) {
        tile.count = ei_tile_channels(tile.first, w->out_c);
        prepare_constants(&tile);
        for (uint32_t row = begin; row < end; row++) {
            convolve_row(&tile, row);
        }
    }
}
