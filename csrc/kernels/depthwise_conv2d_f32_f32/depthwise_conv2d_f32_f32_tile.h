/// Channels side by side in vectors, several pixels at a time: a weight is loaded once for all of them,
/// and as many chains of fused multiply-adds are under way as hide the instruction's latency. Inputs are
/// read in place: each tap is a pointer to the first pixel's value, the others lie at a constant distance.
/// Pixels whose windows leave the image at the left or right are computed alone, their taps outside
/// pointing to the row of zeros, with several tiles of channels at a time instead.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_TILE_H
#define EI_KERNELS_DEPTHWISE_CONV2D_F32_F32_TILE_H

#include "kernels/depthwise_conv2d_f32_f32/depthwise_conv2d_f32_f32_pixels.h"
#include "kernels/packed_gemm_f32/packed_gemm_f32_vector.h"

enum { EI_DEPTHWISE_TAPS = 512, EI_DEPTHWISE_PIXELS = 8, EI_DEPTHWISE_VECTORS = 16 };

typedef struct ei_depthwise_run {
    const ei_depthwise_conv2d_f32_args *args;
    size_t taps;
    size_t step; // floats from a pixel of x to that of the next pixel of y
    float *y;    // first pixel
    const float *first[EI_DEPTHWISE_TAPS];
} ei_depthwise_run;

/// Pixels [pixel, pixel + pixels) by `vectors` vectors of channels from channel `channel` on, which begins
/// a tile if they are more than one. All of these channels exist if `whole` says so.
EI_ALWAYS_INLINE void ei_depthwise_tile(const ei_depthwise_run *run, size_t pixel, size_t channel,
                                        int pixels, int vectors, int whole) {
    const ei_depthwise_conv2d_f32_args *args = run->args;
    const size_t channels = (size_t)args->window.out_c - channel;
    const size_t in_tile = channel % EI_TILE_CHANNELS;
    const float *weights = args->weights + (channel - in_tile) * run->taps + in_tile;
    const size_t offset = pixel * run->step + channel;
    ei_vector acc[EI_DEPTHWISE_PIXELS][EI_DEPTHWISE_VECTORS];
    EI_UNROLL
    for (int p = 0; p < pixels; p++) {
        EI_UNROLL
        for (int v = 0; v < vectors; v++) {
            acc[p][v] = ei_vector_load(args->bias + channel + v * EI_VECTOR);
        }
    }
    for (size_t tap = 0; tap < run->taps; tap++) {
        const float *x = run->first[tap] + offset;
        EI_UNROLL
        for (int v = 0; v < vectors; v++) {
            const size_t tile_weights =
                (size_t)(v / EI_TILE_VECTORS) * run->taps * EI_TILE_CHANNELS;
            const ei_vector w =
                ei_vector_load(weights + tile_weights + v % EI_TILE_VECTORS * EI_VECTOR);
            const size_t left = ei_lanes_left(channels, (size_t)v * EI_VECTOR);
            EI_UNROLL
            for (int p = 0; p < pixels; p++) {
                const float *from = x + (size_t)p * run->step + v * EI_VECTOR;
                const ei_vector value =
                    whole ? ei_vector_load(from) : ei_vector_load_part(from, left);
                acc[p][v] = ei_vector_fma(value, w, acc[p][v]);
            }
        }
        weights += EI_TILE_CHANNELS;
    }
    const ei_bounds_f32 bounds = args->bounds; // which y might share bytes with, for all C knows
    const size_t y_step = (size_t)args->window.out_c;
    float *y = run->y + pixel * y_step + channel;
    EI_UNROLL
    for (int p = 0; p < pixels; p++) {
        EI_UNROLL
        for (int v = 0; v < vectors; v++) {
            const ei_vector stored = ei_vector_bounded(acc[p][v], bounds);
            if (whole) {
                ei_vector_store(y + v * EI_VECTOR, stored);
            } else {
                ei_vector_store_part(y + v * EI_VECTOR, stored,
                                     ei_lanes_left(channels, (size_t)v * EI_VECTOR));
            }
        }
        y += y_step;
    }
}

/// The channels of `pixels` pixels, `most` tiles at a time, then one; those behind the last whole tile
/// vector by vector.
EI_ALWAYS_INLINE void ei_depthwise_channels(const ei_depthwise_run *run, size_t pixel, int pixels,
                                            int most) {
    const size_t channels = (size_t)run->args->window.out_c;
    const size_t at_once = (size_t)most * EI_TILE_CHANNELS;
    size_t channel = 0;
    for (; channel + at_once <= channels; channel += at_once) {
        ei_depthwise_tile(run, pixel, channel, pixels, most * EI_TILE_VECTORS, 1);
    }
    for (; most > 1 && channel + EI_TILE_CHANNELS <= channels; channel += EI_TILE_CHANNELS) {
        ei_depthwise_tile(run, pixel, channel, pixels, EI_TILE_VECTORS, 1);
    }
    for (; EI_TILE_VECTORS > 1 && channel + EI_VECTOR <= channels; channel += EI_VECTOR) {
        ei_depthwise_tile(run, pixel, channel, pixels, 1, 1);
    }
    if (channel < channels) {
        ei_depthwise_tile(run, pixel, channel, pixels, 1, 0);
    }
}

/// All channels of `count` pixels, EI_DEPTHWISE_ROWS at a time. What is left over is done together with
/// pixels before it, which get the same values once more, where that loads less than doing it alone.
static void ei_depthwise_pixels(const ei_depthwise_run *run, size_t count) {
    const int few_channels = run->args->window.out_c < 4 * EI_TILE_CHANNELS;
    const size_t rest = count % EI_DEPTHWISE_ROWS;
    const int overlaps =
        count > EI_DEPTHWISE_ROWS && rest > 0 && (few_channels || rest > EI_DEPTHWISE_ROWS / 2);
    const size_t tiled = overlaps ? count : count - rest;
    for (size_t pixel = 0; pixel < tiled; pixel += EI_DEPTHWISE_ROWS) {
        const size_t last = count - EI_DEPTHWISE_ROWS;
        ei_depthwise_channels(run, pixel < last ? pixel : last, EI_DEPTHWISE_ROWS, 1);
    }
    for (size_t pixel = tiled; pixel < count; pixel++) {
        ei_depthwise_channels(run, pixel, 1, 4);
    }
}

static void ei_depthwise_columns(ei_depthwise_run *run, uint32_t row, int64_t first,
                                 int64_t count) {
    const ei_depthwise_conv2d_f32_args *args = run->args;
    const ei_window *w = &args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    const int64_t ix = first * w->stride_w - w->pad_left;
    const float **tap = run->first;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const float *line = (const float *)(const void *)ei_image_row(
            &args->x, image, iy + (int64_t)ky * w->dilation_h, (uint32_t)w->in_h,
            (const uint8_t *)args->zero);
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            const int64_t x = ix + (int64_t)kx * w->dilation_w;
            *tap++ = x >= 0 && x < w->in_w ? line + (size_t)x * (size_t)w->in_c : args->zero;
        }
    }
    run->y = (float *)(void *)ei_row(&args->y, row) + (size_t)first * (size_t)w->out_c;
    ei_depthwise_pixels(run, (size_t)count);
}

static void ei_depthwise_rows(const ei_depthwise_conv2d_f32_args *args, uint32_t begin,
                              uint32_t end) {
    const ei_window *w = &args->window;
    const size_t taps = (size_t)w->kernel_h * (size_t)w->kernel_w;
    if (args->multiplicity != 1 || taps > EI_DEPTHWISE_TAPS) {
        ei_depthwise_by_pixels(args, begin, end);
        return;
    }
    ei_depthwise_run run;
    run.args = args;
    run.taps = taps;
    run.step = (size_t)w->stride_w * (size_t)w->in_c;
    // Columns [left, right) see windows that lie between the edges.
    const int64_t reach = (int64_t)(w->kernel_w - 1) * w->dilation_w;
    int64_t left = ((int64_t)w->pad_left + w->stride_w - 1) / w->stride_w;
    const int64_t room = (int64_t)w->in_w - 1 - reach + w->pad_left;
    int64_t right = room < 0 ? 0 : room / w->stride_w + 1;
    right = right < w->out_w ? right : w->out_w;
    left = left < right ? left : right;
    for (uint32_t row = begin; row < end; row++) {
        for (int64_t x = 0; x < left; x++) {
            ei_depthwise_columns(&run, row, x, 1);
        }
        if (right > left) {
            ei_depthwise_columns(&run, row, left, right - left);
        }
        for (int64_t x = right; x < w->out_w; x++) {
            ei_depthwise_columns(&run, row, x, 1);
        }
    }
}

#endif
