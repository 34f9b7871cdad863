// The reference: 16 output channels at a time, so that the channel loop is what the compiler can
// vectorise on any CPU.
#include "kernels/depthwise_conv2d_s16_s8c/depthwise_conv2d_s16_s8c.h"

#include "kernels/packed_tile.h"

typedef struct ei_channel_tile {
    const int8_t *weights;   // of this tile
    const int64_t *bias;     // 16
    const float *multiplier; // 16
    int32_t first;           // first output channel
    int32_t count;           // 1 to 16
} ei_channel_tile;

/// Adds one tap: w[n][tap] * pixel[input channel of output channel first + n].
static void add_tap(uint64_t acc[restrict EI_TILE_CHANNELS], const ei_channel_tile *tile,
                    size_t tap, const int16_t *restrict pixel, int32_t multiplicity) {
    const int8_t *restrict w = tile->weights + tap / EI_TILE_K * EI_TILE_BYTES + tap % EI_TILE_K;
    if (multiplicity == 1 && tile->count == EI_TILE_CHANNELS) {
        const int16_t *restrict x = pixel + tile->first;
        for (size_t n = 0; n < EI_TILE_CHANNELS; n++) {
            acc[n] += (uint64_t)(int64_t)(w[EI_TILE_K * n] * x[n]);
        }
        return;
    }
    for (int32_t n = 0; n < tile->count; n++) {
        acc[n] += (uint64_t)(int64_t)(w[EI_TILE_K * n] * pixel[(tile->first + n) / multiplicity]);
    }
}

static void convolve_row(const ei_depthwise_conv2d_s16_s8c_args *args, const ei_channel_tile *tile,
                         uint32_t row) {
    const ei_window *w = &args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    int16_t *y = (int16_t *)ei_row(&args->y, row) + tile->first;
    for (int32_t ox = 0; ox < w->out_w; ox++) {
        const int64_t ix = (int64_t)ox * w->stride_w - w->pad_left;
        uint64_t acc[EI_TILE_CHANNELS];
        ei_tile_start_s16(acc, tile->bias);
        size_t tap = 0;
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            const int16_t *in =
                (const int16_t *)ei_image_row(&args->x, image, iy + (int64_t)ky * w->dilation_h,
                                              (uint32_t)w->in_h, (const uint8_t *)args->zero);
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                const int64_t column = ix + (int64_t)kx * w->dilation_w;
                const int inside = column >= 0 && column < w->in_w;
                const int16_t *pixel = inside ? in + (size_t)column * (size_t)w->in_c : args->zero;
                add_tap(acc, tile, tap++, pixel, args->multiplicity);
            }
        }
        ei_tile_store_s16(y, acc, tile->multiplier, tile->count, &args->requant);
        y += w->out_c;
    }
}

void ei_depthwise_conv2d_s16_s8c_scalar(const ei_depthwise_conv2d_s16_s8c_args *args,
                                        uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    ei_channel_tile tile = {
        .weights = args->weights, .bias = args->bias, .multiplier = args->multiplier};
    for (tile.first = 0; tile.first < w->out_c; tile.first += EI_TILE_CHANNELS) {
        tile.count = ei_tile_channels(tile.first, w->out_c);
        for (uint32_t row = begin; row < end; row++) {
            convolve_row(args, &tile, row);
        }
        tile.weights += ei_segment_bytes((size_t)w->kernel_h * (size_t)w->kernel_w);
        tile.bias += EI_TILE_CHANNELS;
        tile.multiplier += EI_TILE_CHANNELS;
    }
}
