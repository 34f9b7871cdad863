// The reference: 16 output channels at a time, tiles of weights being the outermost loop.
#include "kernels/conv2d_f32_f32/conv2d_f32_f32.h"

typedef struct ei_group_tile {
    const uint8_t *weights; // of this tile
    const float *bias;      // 16
    int32_t in_first;       // first input channel of the group
    int32_t in_count;       // input channels of the group
    int32_t out_first;      // first output channel of the tile
    int32_t out_count;      // 1 to 16
} ei_group_tile;

static void add(float acc[restrict EI_TILE_CHANNELS], const uint8_t *weights, const float *x,
                size_t count, int half) {
    if (half) {
        ei_tile_add_f16(acc, (const uint16_t *)(const void *)weights, x, count);
    } else {
        ei_tile_add_f32(acc, (const float *)(const void *)weights, x, count);
    }
}

static void convolve_row(const ei_conv2d_f32_args *args, const ei_group_tile *tile, int half,
                         uint32_t row) {
    const ei_window *w = &args->window;
    const size_t tap_bytes = (size_t)tile->in_count * EI_TILE_CHANNELS * ei_weight_bytes(half);
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    float *y = (float *)(void *)ei_row(&args->y, row) + tile->out_first;
    for (int32_t ox = 0; ox < w->out_w; ox++) {
        const int64_t ix = (int64_t)ox * w->stride_w - w->pad_left;
        const uint8_t *weights = tile->weights;
        float acc[EI_TILE_CHANNELS];
        ei_tile_start_f32(acc, tile->bias);
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            const float *in = (const float *)(const void *)ei_image_row(
                &args->x, image, iy + (int64_t)ky * w->dilation_h, (uint32_t)w->in_h,
                (const uint8_t *)args->zero);
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                const int64_t column = ix + (int64_t)kx * w->dilation_w;
                const int inside = column >= 0 && column < w->in_w;
                const float *pixel = inside ? in + (size_t)column * (size_t)w->in_c : args->zero;
                add(acc, weights, pixel + tile->in_first, (size_t)tile->in_count, half);
                weights += tap_bytes;
            }
        }
        ei_tile_store_f32(y, acc, tile->out_count, args->bounds);
        y += args->y_step;
    }
}

static void convolve(const ei_conv2d_f32_args *args, int half, uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    const int32_t group_in = w->in_c / args->groups;
    const int32_t group_out = w->out_c / args->groups;
    const size_t tile_bytes = (size_t)w->kernel_h * (size_t)w->kernel_w * (size_t)group_in *
                              EI_TILE_CHANNELS * ei_weight_bytes(half);
    ei_group_tile tile = {.weights = args->weights, .bias = args->bias, .in_count = group_in};
    for (int32_t group = 0; group < args->groups; group++) {
        tile.in_first = group * group_in;
        for (int32_t o = 0; o < group_out; o += EI_TILE_CHANNELS) {
            tile.out_first = group * group_out + o;
            tile.out_count = ei_tile_channels(o, group_out);
            for (uint32_t row = begin; row < end; row++) {
                convolve_row(args, &tile, half, row);
            }
            tile.weights += tile_bytes;
            tile.bias += EI_TILE_CHANNELS;
        }
    }
}

void ei_conv2d_f32_f32_scalar(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end) {
    convolve(args, 0, begin, end);
}

void ei_conv2d_f32_f16_scalar(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end) {
    convolve(args, 1, begin, end);
}
