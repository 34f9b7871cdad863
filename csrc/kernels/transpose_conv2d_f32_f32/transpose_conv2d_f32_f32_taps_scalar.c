// Of a row of outputs, those that a tap meets lie stride_w apart, and their inputs side by side: one run of
// pixels. Rows of y hold the sums: first the bias, then one tap after another, in the order of the chain, at
// last the bounds.
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32_taps.h"

#include <math.h>

typedef struct ei_taps {
    const ei_transpose_conv2d_f32_args *args;
    ei_packed_gemm_f32_fn multiply;
    ei_packed_gemm_f32 gemm;
    size_t in_first, in_count; // input channels of the group
    const float *weights;      // of the group
    float *y;                  // the row, from the group's first channel on
} ei_taps;

static int64_t divide_up(int64_t value, int64_t divisor) { // value >= 0
    return (value + divisor - 1) / divisor;
}

/// Adds tap kx of the kernel row whose weights begin at `weights`, on this line of the input.
static void add_tap(ei_taps *taps, const float *line, const float *weights, int32_t kx) {
    const ei_window *w = &taps->args->window;
    // Input column ix lands on output column ix * stride_w + shift.
    const int64_t shift = (int64_t)kx * w->dilation_w - w->pad_left;
    const int64_t first = shift >= 0 ? 0 : divide_up(-shift, w->stride_w);
    const int64_t room = (int64_t)w->out_w - 1 - shift;
    int64_t end = room < 0 ? 0 : room / w->stride_w + 1;
    end = end < w->in_w ? end : w->in_w;
    if (first >= end) {
        return;
    }
    const float *x = line + (size_t)first * (size_t)w->in_c + taps->in_first;
    ei_packed_gemm_f32 gemm = taps->gemm;
    gemm.segments = &x;
    gemm.pixels = (size_t)(end - first);
    gemm.weights = weights + (size_t)kx * taps->in_count * EI_TILE_CHANNELS;
    gemm.y = taps->y + (size_t)(first * w->stride_w + shift) * (size_t)w->out_c;
    taps->multiply(&gemm);
}

static void add_taps(ei_taps *taps, uint32_t row) {
    const ei_transpose_conv2d_f32_args *args = taps->args;
    const ei_window *w = &args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t oy = (int64_t)(row % (uint32_t)w->out_h) + w->pad_top;
    const float *weights = taps->weights;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const int64_t strided = oy - (int64_t)ky * w->dilation_h;
        const int64_t iy = strided / w->stride_h;
        if (strided >= 0 && strided % w->stride_h == 0 && iy < w->in_h) {
            const float *line = (const float *)(const void *)ei_row(
                &args->x, image * (uint32_t)w->in_h + (uint32_t)iy);
            for (int32_t kx = 0; kx < w->kernel_w; kx++) {
                add_tap(taps, line, weights, kx);
            }
        }
        weights += (size_t)w->kernel_w * taps->in_count * EI_TILE_CHANNELS;
    }
}

static void compute_row(ei_taps *taps, const float *bias, uint32_t row) {
    const ei_transpose_conv2d_f32_args *args = taps->args;
    const ei_window *w = &args->window;
    const size_t channels = taps->gemm.channels;
    float *y = taps->y;
    for (int32_t x = 0; x < w->out_w; x++) {
        memcpy(y, bias, channels * sizeof *y);
        y += w->out_c;
    }
    add_taps(taps, row);
    y = taps->y;
    for (int32_t x = 0; x < w->out_w; x++) {
        for (size_t n = 0; n < channels; n++) {
            y[n] = ei_bounded_f32(y[n], args->bounds);
        }
        y += w->out_c;
    }
}

void ei_transpose_conv2d_f32_taps(const ei_transpose_conv2d_f32_args *args,
                                  ei_packed_gemm_f32_fn gemm, uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    const size_t group_in = (size_t)(w->in_c / args->groups);
    const size_t group_out = (size_t)(w->out_c / args->groups);
    const size_t tiles = (group_out + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t tile = (size_t)w->kernel_h * (size_t)w->kernel_w * group_in * EI_TILE_CHANNELS;
    ei_taps taps = {.args = args,
                    .multiply = gemm,
                    .in_count = group_in,
                    .gemm = {.segment_count = 1,
                             .length = group_in,
                             .pixel_step = (size_t)w->in_c,
                             .k_step = EI_TILE_CHANNELS,
                             .tile_step = tile,
                             .y_step = (size_t)w->stride_w * (size_t)w->out_c,
                             .channels = group_out,
                             .bounds = {-INFINITY, INFINITY},
                             .resumes = 1}};
    for (size_t group = 0; group < (size_t)args->groups; group++) {
        taps.in_first = group * group_in;
        taps.weights = args->weights + group * tiles * tile;
        for (uint32_t row = begin; row < end; row++) {
            taps.y = (float *)(void *)ei_row(&args->y, row) + group * group_out;
            compute_row(&taps, args->bias + group * tiles * EI_TILE_CHANNELS, row);
        }
    }
}
