// The reference: 16 output channels at a time, so that the tile loop is what the compiler can
// vectorise on any CPU. Tiles are the outermost loop: a tile's weights stay in the L1 cache while
// they meet every pixel of the band.
#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c.h"

#include "kernels/packed_tile.h"

typedef struct ei_group_tile {
    const int8_t *weights;   // of this tile
    const int32_t *bias;     // 16
    const float *multiplier; // 16
    int32_t in_first;        // first input channel of the group
    int32_t in_count;        // input channels of the group
    int32_t out_first;       // first output channel of the tile
    int32_t out_count;       // 1 to 16
} ei_group_tile;

/// Adds the taps of kernel row ky of one output pixel, whose window starts at column ix. `row` is the
/// input row, or the zero row.
static void add_kernel_row(uint32_t acc[restrict EI_TILE_CHANNELS],
                           const ei_conv2d_s8_s8c_args *args, const ei_group_tile *tile,
                           const int8_t *restrict weights, const int8_t *row, int64_t ix) {
    const ei_window *w = &args->window;
    const int one_segment = args->groups == 1 && w->dilation_w == 1;
    if (one_segment && ix >= 0 && ix + w->kernel_w <= w->in_w) {
        ei_tile_add_s8(acc, weights, 0, row + (size_t)ix * (size_t)w->in_c,
                       (size_t)w->kernel_w * (size_t)w->in_c, 0);
        return;
    }
    for (int32_t kx = 0; kx < w->kernel_w; kx++) {
        const int64_t column = ix + (int64_t)kx * w->dilation_w;
        const int inside = column >= 0 && column < w->in_w;
        const int8_t *pixel = inside ? row + (size_t)column * (size_t)w->in_c : args->zero;
        const size_t k = one_segment ? (size_t)kx * (size_t)w->in_c : 0;
        ei_tile_add_s8(acc, weights, k, pixel + tile->in_first, (size_t)tile->in_count, 0);
        if (!one_segment) {
            weights += ei_segment_bytes((size_t)tile->in_count);
        }
    }
}

static void convolve_row(const ei_conv2d_s8_s8c_args *args, const ei_group_tile *tile,
                         size_t kernel_row_bytes, uint32_t row) {
    const ei_window *w = &args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    int8_t *y = (int8_t *)ei_row(&args->y, row) + tile->out_first;
    for (int32_t ox = 0; ox < w->out_w; ox++) {
        const int64_t ix = (int64_t)ox * w->stride_w - w->pad_left;
        const int8_t *weights = tile->weights;
        uint32_t acc[EI_TILE_CHANNELS];
        ei_tile_start_s8(acc, tile->bias);
        for (int32_t ky = 0; ky < w->kernel_h; ky++) {
            const int8_t *in =
                (const int8_t *)ei_image_row(&args->x, image, iy + (int64_t)ky * w->dilation_h,
                                             (uint32_t)w->in_h, (const uint8_t *)args->zero);
            add_kernel_row(acc, args, tile, weights, in, ix);
            weights += kernel_row_bytes;
        }
        ei_tile_store_s8(y, acc, tile->multiplier, tile->out_count, &args->requant);
        y += args->y_step;
    }
}

void ei_conv2d_s8_s8c_scalar(const ei_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    const int32_t group_in = w->in_c / args->groups;
    const int32_t group_out = w->out_c / args->groups;
    const int one_segment = args->groups == 1 && w->dilation_w == 1;
    const size_t kernel_row_bytes = one_segment
                                        ? ei_segment_bytes((size_t)w->kernel_w * (size_t)w->in_c)
                                        : (size_t)w->kernel_w * ei_segment_bytes((size_t)group_in);
    ei_group_tile tile = {.weights = args->weights,
                          .bias = args->bias,
                          .multiplier = args->multiplier,
                          .in_count = group_in};
    for (int32_t group = 0; group < args->groups; group++) {
        tile.in_first = group * group_in;
        for (int32_t o = 0; o < group_out; o += EI_TILE_CHANNELS) {
            tile.out_first = group * group_out + o;
            tile.out_count = ei_tile_channels(o, group_out);
            for (uint32_t row = begin; row < end; row++) {
                convolve_row(args, &tile, kernel_row_bytes, row);
            }
            tile.weights += (size_t)w->kernel_h * kernel_row_bytes;
            tile.bias += EI_TILE_CHANNELS;
            tile.multiplier += EI_TILE_CHANNELS;
        }
    }
}
