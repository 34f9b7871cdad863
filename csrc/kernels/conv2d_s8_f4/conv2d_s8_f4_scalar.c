// Windows are gathered, one after the other along the rows of the band, and multiplied as rows.
#include "kernels/conv2d_s8_f4/conv2d_s8_f4.h"

#include <string.h>

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_rows.h"

typedef struct ei_f4_windows {
    const ei_conv2d_s8_f4_args *args;
    uint32_t begin;          // first output row
    size_t in_first;         // first input channel of the group
    size_t in_count;         // input channels of the group
    size_t out_first;        // first output channel of the group
    const float *multiplier; // of the group
} ei_f4_windows;

/// The window of an output pixel as runs of inputs that are contiguous in memory: kernel rows that lie
/// inside the image, else taps.
static void load_window(const ei_f4_rows *job, size_t slot, size_t row, size_t k, size_t count,
                        int8_t *out) {
    (void)slot;
    const ei_f4_windows *windows = job->context;
    const ei_conv2d_s8_f4_args *args = windows->args;
    const ei_window *w = &args->window;
    const uint32_t out_row = windows->begin + (uint32_t)(row / (size_t)w->out_w);
    const int64_t ox = (int64_t)(row % (size_t)w->out_w);
    const uint32_t image = out_row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(out_row % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    const int64_t ix = ox * w->stride_w - w->pad_left;
    const int rows_run =
        args->groups == 1 && w->dilation_w == 1 && ix >= 0 && ix + w->kernel_w <= w->in_w;
    const size_t taps = rows_run ? 1 : (size_t)w->kernel_w; // of a kernel row
    const size_t length = rows_run ? (size_t)w->kernel_w * windows->in_count : windows->in_count;
    size_t tap = k / length;
    size_t skipped = k % length;
    while (count > 0) {
        const int64_t y = iy + (int64_t)(tap / taps) * w->dilation_h;
        const int64_t x = ix + (int64_t)(tap % taps) * w->dilation_w;
        const int8_t *in = (const int8_t *)ei_image_row(&args->x, image, y, (uint32_t)w->in_h,
                                                        (const uint8_t *)args->zero);
        const int inside = x >= 0 && x < w->in_w;
        const int8_t *pixel = inside ? in + (size_t)x * (size_t)w->in_c : args->zero;
        const size_t bytes = count < length - skipped ? count : length - skipped;
        memcpy(out, pixel + windows->in_first + skipped, bytes);
        out += bytes;
        count -= bytes;
        skipped = 0;
        tap++;
    }
}

/// As ei_requantize; NaN becomes clamp_min.
static void store_pixel(const ei_f4_rows *job, size_t slot, size_t row, size_t first, size_t count,
                        const float *sums) {
    (void)slot;
    const ei_f4_windows *windows = job->context;
    const ei_conv2d_s8_f4_args *args = windows->args;
    const size_t out_w = (size_t)args->window.out_w;
    int8_t *y = (int8_t *)ei_row(&args->y, windows->begin + (uint32_t)(row / out_w)) +
                row % out_w * args->y_step + windows->out_first + first;
    const float *multiplier = windows->multiplier + first;
    const ei_requant requant = args->requant;
    const float low = (float)(requant.clamp_min - requant.zero_point);
    for (size_t n = 0; n < count; n++) {
        const float scaled = sums[n] * multiplier[n];
        y[n] = (int8_t)ei_requantize(scaled >= low ? scaled : low, &requant);
    }
}

void ei_conv2d_s8_f4(const ei_conv2d_s8_f4_args *args, ei_packed_gemm_s8_f4_fn gemm, uint32_t begin,
                     uint32_t end) {
    const ei_window *w = &args->window;
    const size_t groups = (size_t)args->groups;
    const size_t in_count = (size_t)w->in_c / groups;
    const size_t out_count = (size_t)w->out_c / groups;
    const size_t k = (size_t)w->kernel_h * (size_t)w->kernel_w * in_count;
    const size_t block = ei_f4_block(args->scheme);
    const size_t tiles = (out_count + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t group_bytes = tiles * ei_f4_bytes((k + block - 1) / block, args->scheme);
    for (size_t group = 0; group < groups; group++) {
        const size_t at = group * tiles * EI_TILE_CHANNELS;
        ei_f4_windows windows = {.args = args,
                                 .begin = begin,
                                 .in_first = group * in_count,
                                 .in_count = in_count,
                                 .out_first = group * out_count,
                                 .multiplier = args->multiplier + at};
        const ei_f4_rows job = {.gemm = gemm,
                                .scheme = args->scheme,
                                .rows = (size_t)(end - begin) * (size_t)w->out_w,
                                .k = k,
                                .n = out_count,
                                .weights = args->weights + group * group_bytes,
                                .start = args->bias + at,
                                .load = load_window,
                                .store = store_pixel,
                                .context = &windows};
        ei_multiply_rows_f4(&job);
    }
}
