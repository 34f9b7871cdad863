// The reference: 16 output channels at a time, gathering (no scatter: an output pixel is written
// once, so a band of rows needs no accumulators beyond one tile).
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32.h"

typedef struct ei_group_tile {
    const float *weights; // of this tile
    const float *bias;    // 16
    int32_t in_first;     // first input channel of the group
    int32_t in_count;     // input channels of the group
    int32_t out_first;    // first output channel of the tile
    int32_t out_count;    // 1 to 16
} ei_group_tile;

/// The input coordinate that a tap `offset` of output coordinate `out` reads, or -1 when it falls
/// between inputs or outside them.
static int64_t input_coordinate(int64_t out, int64_t offset, int32_t stride, int32_t size) {
    const int64_t strided = out - offset;
    if (strided < 0 || strided % stride != 0 || strided / stride >= size) {
        return -1;
    }
    return strided / stride;
}

static void convolve_row(const ei_transpose_conv2d_f32_args *args, const ei_group_tile *tile,
                         uint32_t row) {
    const ei_window *w = &args->window;
    const size_t tap = (size_t)tile->in_count * EI_TILE_CHANNELS;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t oy = (int64_t)(row % (uint32_t)w->out_h) + w->pad_top;
    float *y = (float *)(void *)ei_row(&args->y, row) + tile->out_first;
    for (int32_t x = 0; x < w->out_w; x++) {
        const int64_t ox = (int64_t)x + w->pad_left;
        float acc[EI_TILE_CHANNELS];
        ei_tile_start_f32(acc, tile->bias);
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            const int64_t iy =
                input_coordinate(oy, (int64_t)ky * w->dilation_h, w->stride_h, w->in_h);
            if (iy < 0) {
                continue;
            }
            const float *in = (const float *)(const void *)ei_row(
                &args->x, image * (uint32_t)w->in_h + (uint32_t)iy);
            const float *weights = tile->weights + (size_t)ky * (size_t)w->kernel_w * tap;
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                const int64_t ix =
                    input_coordinate(ox, (int64_t)kx * w->dilation_w, w->stride_w, w->in_w);
                if (ix >= 0) {
                    const float *pixel = in + (size_t)ix * (size_t)w->in_c + tile->in_first;
                    ei_tile_add_f32(acc, weights + (size_t)kx * tap, pixel, (size_t)tile->in_count);
                }
            }
        }
        ei_tile_store_f32(y, acc, tile->out_count, args->bounds);
        y += w->out_c;
    }
}

void ei_transpose_conv2d_f32_f32_scalar(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                        uint32_t end) {
    const ei_window *w = &args->window;
    const int32_t group_in = w->in_c / args->groups;
    const int32_t group_out = w->out_c / args->groups;
    const size_t taps = (size_t)w->kernel_h * (size_t)w->kernel_w;
    ei_group_tile tile = {.weights = args->weights, .bias = args->bias, .in_count = group_in};
    for (int32_t group = 0; group < args->groups; group++) {
        tile.in_first = group * group_in;
        for (int32_t o = 0; o < group_out; o += EI_TILE_CHANNELS) {
            tile.out_first = group * group_out + o;
            tile.out_count = ei_tile_channels(o, group_out);
            for (uint32_t row = begin; row < end; row++) {
                convolve_row(args, &tile, row);
            }
            tile.weights += taps * (size_t)group_in * EI_TILE_CHANNELS;
            tile.bias += EI_TILE_CHANNELS;
        }
    }
}
