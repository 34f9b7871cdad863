// A patch is the part of kernel_h input rows that a run of output columns reads, padded where it
// leaves the image: one buffer per input row. Windows of neighbouring pixels overlap in it, so nothing
// is copied per window; and the next output row finds most rows already there: input row j, counted
// from the topmost one of padding, always goes to buffer j % buffers.
//
// The weights of a block of output channels, as much as the L2 cache keeps, meet all rows of a band
// before those of the next block do. Where a row has no more than half the pixels of the widest tile,
// two rows of outputs share one (ei_packed_gemm.pairs_rows), for half the passes over weights.
#include "kernels/conv2d_s8_s8c/conv2d_s8_s8c_patches.h"

#include <string.h>

#include "kernels/packed_tile.h"

enum { NO_ROW = -1 };

typedef struct ei_patch {
    const ei_packed_gemm *gemm;
    const ei_conv2d_s8_s8c_args *args;
    int32_t in_first, in_count; // input channels of the group
    size_t pixel_bytes;         // in the patch
    size_t pitch;               // bytes of a buffer
    int32_t buffers; // of input rows: kernel_h, and stride_h more for two rows of outputs
    int64_t held[EI_PATCH_ROWS]; // the input row that a buffer holds
    const uint8_t *segments[EI_PATCH_SEGMENTS];
    const uint8_t *second_segments[EI_PATCH_ROWS]; // a segment for each kernel row
    _Alignas(64) int32_t bias[EI_PATCH_CHANNELS];
    _Alignas(64) uint8_t outside[64]; // zero points
    _Alignas(64) uint8_t bytes[EI_PATCH_BYTES];
} ei_patch;

/// Segments of a kernel row: one, unless its taps are not side by side in memory.
static size_t segments_of_row(const ei_conv2d_s8_s8c_args *args) {
    const int one_segment = args->groups == 1 && args->window.dilation_w == 1;
    return one_segment ? 1 : (size_t)args->window.kernel_w;
}

/// Output channels in the packed layout.
static size_t packed_channels(const ei_conv2d_s8_s8c_args *args) {
    const size_t channels = (size_t)(args->window.out_c / args->groups);
    const size_t tiles = (channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    return tiles * EI_TILE_CHANNELS * (size_t)args->groups;
}

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

/// Whether a row for each of so many buffers, each of so many output columns' input, fits.
static int fits(const ei_patch *patch, int32_t buffers, int64_t columns) {
    return buffers <= EI_PATCH_ROWS &&
           buffer_bytes(patch, columns) * buffers <= (int64_t)sizeof patch->bytes;
}

/// The most output columns whose input fits the patch; 0 when not even one does.
static int32_t columns_that_fit(const ei_patch *patch) {
    const int32_t rows = patch->args->window.kernel_h;
    int32_t low = 0, high = patch->args->window.out_w;
    while (low < high) {
        const int32_t middle = low + (high - low + 1) / 2;
        if (fits(patch, rows, middle)) {
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
    const uint64_t zeros = 0; // read, and multiplied by 0
    if (patch->gemm->value_bytes == 1) {
        memcpy(out, &zeros, EI_TILE_K);
    } else {
        memcpy(out, &zeros, EI_TILE_K * 2);
    }
}

/// Has the rows of output row `oy` of an image in the patch, and gives where its segments begin.
static void load_rows(ei_patch *patch, const uint8_t **segments, uint32_t image, int64_t oy,
                      int64_t first, int64_t count) {
    const ei_window *w = &patch->args->window;
    const size_t row_segments = segments_of_row(patch->args);
    const size_t segment_step = (size_t)w->dilation_w * patch->pixel_bytes;
    const int64_t top = oy * w->stride_h;
    int64_t place = top % patch->buffers;
    // Dilated rows of one window could share a place: these begin anew, in order.
    const int ordered = w->dilation_h != 1;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const int64_t j = top + (int64_t)ky * w->dilation_h;
        const int64_t at = ordered ? ky : place;
        uint8_t *buffer = patch->bytes + (size_t)at * patch->pitch;
        for (size_t s = 0; s < row_segments; s++) {
            *segments++ = buffer + s * segment_step;
        }
        if (patch->held[at] != j) {
            patch->held[at] = j;
            const int8_t *row = (const int8_t *)ei_image_row(&patch->args->x, image, j - w->pad_top,
                                                             (uint32_t)w->in_h, NULL);
            fill(patch, buffer, row, first, count);
        }
        place = place + 1 == patch->buffers ? 0 : place + 1;
    }
}

/// Rows [begin, end) of output columns [ox, ox + args->pixels) for the channels from `channel` on.
static void multiply_columns(ei_patch *patch, ei_packed_gemm_args *args, int32_t ox, size_t channel,
                             uint32_t begin, uint32_t end) {
    const ei_window *w = &patch->args->window;
    const ei_rows *y = &patch->args->y;
    const int64_t count = input_columns(w, (int64_t)args->pixels);
    const int64_t first = (int64_t)ox * w->stride_w - w->pad_left;
    const size_t y_offset = (size_t)ox * patch->args->y_step + channel;
    uint32_t image = begin / (uint32_t)w->out_h;
    uint32_t oy = begin % (uint32_t)w->out_h;
    args->spare_kept = 0;
    for (uint32_t row = begin; row < end;) {
        if (row == begin || oy == 0) {
            for (int32_t i = 0; i < patch->buffers; i++) {
                patch->held[i] = NO_ROW;
            }
        }
        load_rows(patch, patch->segments, image, oy, first, count);
        args->y = (int8_t *)ei_row(y, row) + y_offset;
        args->second_segments = NULL;
        uint32_t rows = 1;
        if (patch->buffers > w->kernel_h && row + 1 < end && oy + 1 < (uint32_t)w->out_h) {
            load_rows(patch, patch->second_segments, image, oy + 1, first, count);
            args->second_segments = patch->second_segments;
            args->second_y = (int8_t *)ei_row(y, row + 1) + y_offset;
            rows = 2;
        }
        patch->gemm->multiply(args);
        args->spare_kept = 1;
        row += rows;
        oy += rows;
        if (oy == (uint32_t)w->out_h) {
            oy = 0;
            image++;
        }
    }
}

/// All output channels of a group, a block at a time.
static void multiply_group(ei_patch *patch, ei_packed_gemm_args *args, int32_t group, int32_t most,
                           uint32_t begin, uint32_t end) {
    const ei_window *w = &patch->args->window;
    const size_t channels = (size_t)(w->out_c / patch->args->groups);
    const size_t padded = (channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS * EI_TILE_CHANNELS;
    const size_t block = ei_block_channels(channels, args->tile_bytes);
    for (size_t o = 0; o < channels; o += block) {
        const size_t at = (size_t)group * padded + o;
        args->channels = channels - o < block ? channels - o : block;
        args->weights = patch->args->weights + at / EI_TILE_CHANNELS * args->tile_bytes;
        args->multiplier = patch->args->multiplier + at;
        const size_t tiles = (args->channels + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
        patch->gemm->bias(patch->bias, patch->args->bias + at, args->weights, tiles,
                          args->tile_bytes);
        args->ahead->next = args->weights + tiles * args->tile_bytes;
        const int32_t blocks = (w->out_w + most - 1) / most;
        const int32_t columns = (w->out_w + blocks - 1) / blocks;
        for (int32_t ox = 0; ox < w->out_w; ox += columns) {
            args->pixels = (size_t)(w->out_w - ox < columns ? w->out_w - ox : columns);
            multiply_columns(patch, args, ox, (size_t)group * channels + o, begin, end);
        }
    }
}

/// Whether the product of two rows of outputs at a time is to be had.
static int takes_two_rows(const ei_patch *patch) {
    const ei_conv2d_s8_s8c_args *conv = patch->args;
    const ei_window *w = &conv->window;
    return patch->gemm->pairs_rows && w->out_w >= EI_LEAST_PAIRED && w->out_w <= EI_MOST_PAIRED &&
           w->out_h > 1 && segments_of_row(conv) == 1 && w->dilation_h == 1 &&
           w->stride_h <= EI_PATCH_ROWS && fits(patch, w->kernel_h + w->stride_h, w->out_w);
}

static void convolve(ei_patch *patch, int32_t most, uint32_t begin, uint32_t end) {
    const ei_conv2d_s8_s8c_args *conv = patch->args;
    const ei_window *w = &conv->window;
    const size_t row_segments = segments_of_row(conv);
    const size_t segment_count = (size_t)w->kernel_h * row_segments;
    const size_t length = (size_t)patch->in_count * (row_segments == 1 ? (size_t)w->kernel_w : 1);
    if (conv->zero != NULL) {
        int8_t zeros[64];
        memset(zeros, conv->zero[0], sizeof zeros);
        patch->gemm->copy(patch->outside, zeros, sizeof zeros / patch->gemm->value_bytes);
    }
    patch->buffers = w->kernel_h + (takes_two_rows(patch) ? w->stride_h : 0);
    patch->pitch = (size_t)buffer_bytes(patch, most);
    const size_t used = patch->pitch * (size_t)patch->buffers;
    ei_weights_ahead ahead = {.later = conv->later};
    ei_packed_gemm_args args = {.segments = patch->segments,
                                .segment_count = segment_count,
                                .groups = (length + EI_TILE_K - 1) / EI_TILE_K,
                                .pixel_step = (size_t)w->stride_w * patch->pixel_bytes,
                                .bias = patch->bias,
                                .tile_bytes = segment_count * ei_segment_bytes(length),
                                .spare = patch->bytes + used,
                                .spare_bytes = sizeof patch->bytes - used,
                                .y_step = conv->y_step,
                                .requant = conv->requant,
                                .ahead = &ahead};
    const size_t weight_bytes = packed_channels(conv) / EI_TILE_CHANNELS * args.tile_bytes;
    ahead.end = conv->weights + weight_bytes;
    patch->gemm = ei_packed_gemm_taking(patch->gemm, conv->weights, weight_bytes,
                                        (size_t)(end - begin) * (size_t)w->out_w);
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

/// Not inlined: its buffers and those of ei_multiply_pixel_rows would lie on the stack together.
static __attribute__((noinline)) void multiply_windows(const ei_packed_gemm *gemm,
                                                       const ei_conv2d_s8_s8c_args *args,
                                                       uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    ei_patch patch;
    patch.gemm = gemm;
    patch.args = args;
    patch.in_count = w->in_c / args->groups;
    patch.pixel_bytes = (size_t)patch.in_count * gemm->value_bytes;
    const int32_t most = columns_that_fit(&patch);
    if (most == 0 || segments_of_row(args) > EI_PATCH_SEGMENTS / (size_t)w->kernel_h) {
        ei_conv2d_s8_s8c_scalar(args, begin, end);
        return;
    }
    convolve(&patch, most, begin, end);
}

void ei_conv2d_s8_s8c_patches(const ei_packed_gemm *gemm, const ei_conv2d_s8_s8c_args *args,
                              uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    gemm = ei_packed_gemm_for(gemm, args->multiplier, packed_channels(args));
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
                                   .requant = args->requant,
                                   .later = args->later};
        ei_multiply_pixel_rows(gemm, &job, begin, end);
        return;
    }
    multiply_windows(gemm, args, begin, end);
}
