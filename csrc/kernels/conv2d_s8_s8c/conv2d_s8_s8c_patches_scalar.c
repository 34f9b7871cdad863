// A patch is the part of kernel_h input rows that a run of output columns reads, padded where it
// leaves the image: one buffer per kernel row. Windows of neighbouring pixels overlap in it, so
// nothing is copied per window; and the next output row finds most rows already there: input row j,
// counted from the topmost one of padding, always goes to buffer j % kernel_h.
#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c_patches.h"

#include <string.h>

#include "kernels/packed_tile.h"

enum { NO_ROW = -1 };

typedef struct ei_patch {
    const ei_packed_gemm *gemm;
    const ei_conv2d_s8_s8c_args *args;
    int32_t in_first, in_count;  // input channels of the group
    size_t pixel_bytes;          // in the patch
    size_t pitch;                // bytes of a buffer
    int64_t held[EI_PATCH_ROWS]; // the input row that a buffer holds
    const uint8_t *rows[EI_PATCH_ROWS];
    _Alignas(64) int32_t bias[EI_PATCH_CHANNELS];
    _Alignas(64) uint8_t outside[64]; // zero points
    _Alignas(64) uint8_t bytes[EI_PATCH_BYTES];
} ei_patch;

/// Input columns that `columns` output columns read.
static int64_t input_columns(const ei_window *w, int64_t columns) {
    return (columns - 1) * w->stride_w + (int64_t)(w->kernel_w - 1) * w->dilation_w + 1;
}

/// Bytes of a buffer that holds `columns` output columns' input.
static int64_t buffer_bytes(const ei_patch *patch, int64_t columns) {
    const int64_t bytes =
        input_columns(&patch->args->window, columns) * (int64_t)patch->pixel_bytes;
    return (bytes + EI_TILE_K * (int64_t)patch->gemm->value_bytes + 63) / 64 * 64;
}

/// The most output columns whose input fits the patch; 0 when not even one does.
static int32_t columns_that_fit(const ei_patch *patch) {
    const ei_window *w = &patch->args->window;
    if (w->kernel_h > EI_PATCH_ROWS ||
        buffer_bytes(patch, 1) * w->kernel_h > (int64_t)sizeof patch->bytes) {
        return 0;
    }
    int32_t low = 1, high = w->out_w;
    while (low < high) {
        const int32_t middle = low + (high - low + 1) / 2;
        if (buffer_bytes(patch, middle) * w->kernel_h <= (int64_t)sizeof patch->bytes) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/// Copies pixels [column, column + count) of an input row.
static uint8_t *copy_pixels(const ei_patch *patch, uint8_t *out, const int8_t *row, int64_t column,
                            int64_t count) {
    const size_t in_c = (size_t)patch->args->window.in_c;
    const size_t bytes = (size_t)count * patch->pixel_bytes;
    const int8_t *x = row + (size_t)column * in_c + patch->in_first;
    if (patch->args->groups == 1) {
        patch->gemm->copy(out, x, (size_t)count * in_c);
        return out + bytes;
    }
    for (uint8_t *end = out + bytes; out < end; out += patch->pixel_bytes, x += in_c) {
        patch->gemm->copy(out, x, (size_t)patch->in_count);
    }
    return out;
}

/// Copies as many pixels of zero points.
static uint8_t *copy_outside(const ei_patch *patch, uint8_t *out, int64_t count) {
    for (uint8_t *end = out + (size_t)count * patch->pixel_bytes; out < end;) {
        const size_t left = (size_t)(end - out);
        const size_t run = left < sizeof patch->outside ? left : sizeof patch->outside;
        memcpy(out, patch->outside, run);
        out += run;
    }
    return out;
}

static int64_t between(int64_t low, int64_t value, int64_t high) {
    return value < low ? low : (value > high ? high : value);
}

/// Fills a buffer with columns [first, first + count) of an input row, NULL being one of padding.
static void fill(const ei_patch *patch, uint8_t *out, const int8_t *row, int64_t first,
                 int64_t count) {
    const int64_t width = patch->args->window.in_w;
    const int64_t inside = row == NULL ? first + count : between(first, 0, first + count);
    const int64_t after = row == NULL ? inside : between(inside, width, first + count);
    out = copy_outside(patch, out, inside - first);
    if (after > inside) {
        out = copy_pixels(patch, out, row, inside, after - inside);
    }
    out = copy_outside(patch, out, first + count - after);
    memset(out, 0, EI_TILE_K * patch->gemm->value_bytes); // read, and multiplied by 0
}

/// Has the rows of output row `oy` of an image in the patch.
static void load_rows(ei_patch *patch, uint32_t image, int64_t oy, int64_t first, int64_t count) {
    const ei_window *w = &patch->args->window;
    const int64_t top = oy * w->stride_h;
    int64_t place = top % w->kernel_h;
    // Dilated rows of one window could share a place: these begin anew, in order.
    const int ordered = w->dilation_h != 1;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const int64_t j = top + (int64_t)ky * w->dilation_h;
        const int64_t at = ordered ? ky : place;
        uint8_t *buffer = patch->bytes + (size_t)at * patch->pitch;
        patch->rows[ky] = buffer;
        if (patch->held[at] != j) {
            patch->held[at] = j;
            const int8_t *row = (const int8_t *)ei_image_row(&patch->args->x, image, j - w->pad_top,
                                                             (uint32_t)w->in_h, NULL);
            fill(patch, buffer, row, first, count);
        }
        place = place + 1 == w->kernel_h ? 0 : place + 1;
    }
}

/// Rows [begin, end) of output columns [ox, ox + args->pixels) for the channels from `channel` on.
static void multiply_columns(ei_patch *patch, ei_packed_gemm_args *args, int32_t ox, size_t channel,
                             uint32_t begin, uint32_t end) {
    const ei_window *w = &patch->args->window;
    const int64_t count = input_columns(w, (int64_t)args->pixels);
    const int64_t first = (int64_t)ox * w->stride_w - w->pad_left;
    const size_t y_offset = (size_t)ox * patch->args->y_step + channel;
    uint32_t image = begin / (uint32_t)w->out_h;
    uint32_t oy = begin % (uint32_t)w->out_h;
    for (uint32_t row = begin; row < end; row++) {
        if (row == begin || oy == 0) {
            for (int32_t ky = 0; ky < w->kernel_h; ky++) {
                patch->held[ky] = NO_ROW;
            }
        }
        load_rows(patch, image, oy, first, count);
        args->y = (int8_t *)ei_row(&patch->args->y, row) + y_offset;
        patch->gemm->multiply(args);
        if (++oy == (uint32_t)w->out_h) {
            oy = 0;
            image++;
        }
    }
}

/// All output channels of a group, so many at a time as there is room for their bias.
static void multiply_group(ei_patch *patch, ei_packed_gemm_args *args, int32_t group, int32_t most,
                           uint32_t begin, uint32_t end) {
    const ei_window *w = &patch->args->window;
    const size_t channels = (size_t)(w->out_c / patch->args->groups);
    const size_t padded = (channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS * EI_TILE_CHANNELS;
    for (size_t o = 0; o < channels; o += EI_PATCH_CHANNELS) {
        const size_t at = (size_t)group * padded + o;
        args->channels = channels - o < EI_PATCH_CHANNELS ? channels - o : EI_PATCH_CHANNELS;
        args->weights = patch->args->weights + at / EI_TILE_CHANNELS * args->tile_bytes;
        args->multiplier = patch->args->multiplier + at;
        const size_t tiles = (args->channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
        patch->gemm->bias(patch->bias, patch->args->bias + at, args->weights, tiles,
                          args->tile_bytes);
        const int32_t blocks = (w->out_w + most - 1) / most;
        const int32_t columns = (w->out_w + blocks - 1) / blocks;
        for (int32_t ox = 0; ox < w->out_w; ox += columns) {
            args->pixels = (size_t)(w->out_w - ox < columns ? w->out_w - ox : columns);
            multiply_columns(patch, args, ox, (size_t)group * channels + o, begin, end);
        }
    }
}

static void convolve(ei_patch *patch, int32_t most, uint32_t begin, uint32_t end) {
    const ei_conv2d_s8_s8c_args *conv = patch->args;
    const ei_window *w = &conv->window;
    const int one_segment = conv->groups == 1 && w->dilation_w == 1;
    const size_t length = (size_t)patch->in_count * (one_segment ? (size_t)w->kernel_w : 1);
    const size_t segments = one_segment ? 1 : (size_t)w->kernel_w;
    if (conv->zero != NULL) {
        int8_t zeros[64];
        memset(zeros, conv->zero[0], sizeof zeros);
        patch->gemm->copy(patch->outside, zeros, sizeof zeros / patch->gemm->value_bytes);
    }
    patch->pitch = (size_t)buffer_bytes(patch, most);
    ei_packed_gemm_args args = {.rows = patch->rows,
                                .row_count = (size_t)w->kernel_h,
                                .segments = segments,
                                .segment_step = (size_t)w->dilation_w * patch->pixel_bytes,
                                .groups = (length + EI_TILE_K - 1) / EI_TILE_K,
                                .pixel_step = (size_t)w->stride_w * patch->pixel_bytes,
                                .bias = patch->bias,
                                .tile_bytes =
                                    (size_t)w->kernel_h * segments * ei_segment_bytes(length),
                                .y_step = conv->y_step,
                                .requant = conv->requant};
    for (int32_t group = 0; group < conv->groups; group++) {
        patch->in_first = group * patch->in_count;
        multiply_group(patch, &args, group, most, begin, end);
    }
}

/// Whether output pixels are made of the input pixels at the same place.
static int is_pointwise(const ei_conv2d_s8_s8c_args *args) {
    const ei_window *w = &args->window;
    return args->groups == 1 && w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 &&
           w->stride_w == 1 && w->pad_top == 0 && w->pad_left == 0 && w->out_h == w->in_h &&
           w->out_w == w->in_w;
}

void ei_conv2d_s8_s8c_patches(const ei_packed_gemm *gemm, const ei_conv2d_s8_s8c_args *args,
                              uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    if (is_pointwise(args) && ei_pixel_rows_fit(gemm, (size_t)w->in_c)) {
        const ei_pixel_rows job = {.x = args->x,
                                   .y = args->y,
                                   .pixels = (size_t)w->in_w,
                                   .k = (size_t)w->in_c,
                                   .n = (size_t)w->out_c,
                                   .y_step = args->y_step,
                                   .weights = args->weights,
                                   .bias = args->bias,
                                   .multiplier = args->multiplier,
                                   .requant = args->requant};
        ei_multiply_pixel_rows(gemm, &job, begin, end);
        return;
    }
    ei_patch patch;
    patch.gemm = gemm;
    patch.args = args;
    patch.in_count = w->in_c / args->groups;
    patch.pixel_bytes = (size_t)patch.in_count * gemm->value_bytes;
    const int32_t most = columns_that_fit(&patch);
    if (most == 0) {
        ei_conv2d_s8_s8c_scalar(args, begin, end);
        return;
    }
    convolve(&patch, most, begin, end);
}
