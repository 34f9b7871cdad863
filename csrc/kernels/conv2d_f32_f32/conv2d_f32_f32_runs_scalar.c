// Pixels of a row of outputs lie at a constant distance in the input, and so does each kernel row or tap
// of theirs: a run of them is multiplied in place. Where windows leave the image to the left or right, a
// run is copied into a patch on the stack first, with its padding; above and below, the row of zeros
// takes part. Rows of 1x1 kernels that lie one behind another are one run.
//
// The weights of a block of output channels, as much as the L2 cache keeps, meet all rows of a band
// before those of the next block do.
#include "kernels/conv2d_f32_f32/conv2d_f32_f32_runs.h"

#include <math.h>

enum {
    BLOCK_BYTES = 512 * 1024, // of weights
    // Tiles of a block at least: what is multiplied at once for few pixels, or for a full run.
    LEAST_TILES = 4,
    LEAST_TILES_OF_PAIRS = 2,
    SEGMENTS = 512,
    FULL_RUN = 14, // pixels of the largest register tile
    PATCH_FLOATS = 14 * 1024,
};

typedef struct ei_run {
    const ei_conv2d_f32_args *args;
    ei_packed_gemm_f32 gemm;
    ei_packed_gemm_f32_fn multiply;
    int pairs_rows;
    size_t in_first, in_count; // input channels of the group
    size_t out_first;          // first output channel of the block
    const float *segments[SEGMENTS];
    _Alignas(64) float patch[PATCH_FLOATS];
} ei_run;

static int one_segment(const ei_conv2d_f32_args *args) {
    return args->groups == 1 && args->window.dilation_w == 1;
}

/// Input columns that `columns` output columns read.
static int64_t input_columns(const ei_window *w, int64_t columns) {
    return (columns - 1) * w->stride_w + (int64_t)(w->kernel_w - 1) * w->dilation_w + 1;
}

static float *output(const ei_run *run, uint32_t row, int64_t column) {
    float *y = (float *)(void *)ei_row(&run->args->y, row);
    return y + (size_t)column * run->args->y_step + run->out_first;
}

/// The line of the input under kernel row ky of output row `row`.
static const float *input_line(const ei_run *run, uint32_t row, int32_t ky) {
    const ei_window *w = &run->args->window;
    const uint32_t image = row / (uint32_t)w->out_h;
    const int64_t iy = (int64_t)(row % (uint32_t)w->out_h) * w->stride_h - w->pad_top +
                       (int64_t)ky * w->dilation_h;
    return (const float *)(const void *)ei_image_row(&run->args->x, image, iy, (uint32_t)w->in_h,
                                                     (const uint8_t *)run->args->zero);
}

/// The segments of kernel row ky, whose first tap is at `first`; `pixel` floats are a column.
static void add_segments(ei_run *run, int32_t ky, const float *first, size_t pixel) {
    const ei_window *w = &run->args->window;
    if (one_segment(run->args)) {
        run->segments[ky] = first;
        return;
    }
    for (int32_t kx = 0; kx < w->kernel_w; kx++) {
        run->segments[ky * w->kernel_w + kx] = first + (size_t)kx * (size_t)w->dilation_w * pixel;
    }
}

/// Windows that stay between the left and the right edge.
static void multiply_in_place(ei_run *run, uint32_t row) {
    const ei_window *w = &run->args->window;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        add_segments(run, ky, input_line(run, row, ky) + run->in_first, (size_t)w->in_c);
    }
    run->gemm.pixel_step = (size_t)w->stride_w * (size_t)w->in_c;
    run->gemm.pixels = (size_t)w->out_w;
    run->gemm.y = output(run, row, 0);
    run->multiply(&run->gemm);
}

/// Columns [first, first + count) of a line, with the padding beside it.
static void copy_columns(const ei_run *run, float *to, const float *line, int64_t first,
                         int64_t count) {
    const ei_window *w = &run->args->window;
    const size_t pixel = run->in_count;
    const int64_t before = first >= 0 ? 0 : (-first < count ? -first : count);
    const int64_t end = first + count < w->in_w ? first + count : w->in_w;
    const int64_t inside = end > first + before ? end - first - before : 0;
    memset(to, 0, (size_t)before * pixel * sizeof *to);
    to += (size_t)before * pixel;
    // Columns that are padding throughout lie on no line: no pointer to them, even unused.
    const size_t inner = inside > 0 ? (size_t)(first + before) : 0;
    const float *from = line + inner * (size_t)w->in_c + run->in_first;
    if (inside > 0 && pixel == (size_t)w->in_c) {
        memcpy(to, from, (size_t)inside * pixel * sizeof *to);
    } else {
        for (int64_t i = 0; i < inside; i++) {
            memcpy(to + (size_t)i * pixel, from + (size_t)i * (size_t)w->in_c, pixel * sizeof *to);
        }
    }
    memset(to + (size_t)inside * pixel, 0, (size_t)(count - before - inside) * pixel * sizeof *to);
}

/// Output columns [first, first + count) of `rows` rows, through a patch that holds `lines` kernel rows of
/// them; y holds the sums between one patch and the next.
static void multiply_patch(ei_run *run, uint32_t row, uint32_t rows, int64_t first, int64_t count,
                           int32_t lines) {
    const ei_window *w = &run->args->window;
    const int64_t columns = input_columns(w, count);
    const size_t line_segments = run->gemm.segment_count / (size_t)w->kernel_h;
    const size_t line_weights = (size_t)w->kernel_w * run->in_count * EI_TILE_CHANNELS;
    ei_packed_gemm_f32 gemm = run->gemm;
    gemm.pixel_step = (size_t)w->stride_w * run->in_count;
    gemm.pixels = (size_t)count * rows;
    gemm.y = output(run, row, first);
    for (int32_t begin = 0; begin < w->kernel_h; begin += lines) {
        const int32_t end = w->kernel_h - begin < lines ? w->kernel_h : begin + lines;
        float *line = run->patch;
        for (uint32_t i = 0; i < rows; i++) {
            for (int32_t ky = begin; ky < end; ky++) {
                copy_columns(run, line, input_line(run, row + i, ky),
                             first * w->stride_w - w->pad_left, columns);
                if (i == 0) {
                    add_segments(run, ky - begin, line, run->in_count);
                }
                line += (size_t)columns * run->in_count;
            }
        }
        gemm.row_step = rows == 1 ? 0 : (size_t)(end - begin) * (size_t)columns * run->in_count;
        const size_t skipped = (size_t)begin * line_weights * ei_weight_bytes(gemm.half);
        gemm.segment_count = (size_t)(end - begin) * line_segments;
        gemm.weights = (const uint8_t *)run->gemm.weights + skipped;
        gemm.bounds = end == w->kernel_h ? run->gemm.bounds : (ei_bounds_f32){-INFINITY, INFINITY};
        gemm.bias = begin == 0 ? run->gemm.bias : NULL;
        gemm.resumes = begin > 0;
        run->multiply(&gemm);
    }
}

/// One output pixel whose window no patch holds: a segment for every tap.
static void multiply_taps(ei_run *run, uint32_t row, int64_t column) {
    const ei_window *w = &run->args->window;
    const int64_t ix = column * w->stride_w - w->pad_left;
    size_t segment = 0;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const float *line = input_line(run, row, ky);
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            const int64_t x = ix + (int64_t)kx * w->dilation_w;
            const float *pixel =
                x >= 0 && x < w->in_w ? line + (size_t)x * (size_t)w->in_c : run->args->zero;
            run->segments[segment++] = pixel + run->in_first;
        }
    }
    ei_packed_gemm_f32 gemm = run->gemm;
    gemm.segment_count = segment;
    gemm.length = run->in_count;
    gemm.pixels = 1;
    gemm.y = output(run, row, column);
    run->multiply(&gemm);
}

/// Rows from `row` on that lie one behind another, at most to `end`.
static uint32_t contiguous_rows(const ei_rows *rows, uint32_t row, uint32_t end) {
    const uint32_t left = rows->ring - row % rows->ring;
    return left < end - row ? left : end - row;
}

/// Whether two rows of outputs fill a register tile, and patches hold a kernel row of both.
static int pairs_rows(const ei_conv2d_f32_args *args) {
    const ei_window *w = &args->window;
    const int64_t line = input_columns(w, w->out_w) * (w->in_c / args->groups);
    return 2 * w->out_w == FULL_RUN && 2 * line <= PATCH_FLOATS;
}

static void multiply_padded(ei_run *run, uint32_t row, uint32_t rows) {
    const ei_window *w = &run->args->window;
    const int64_t column = (int64_t)run->in_count * w->kernel_h; // floats of a patch's
    const int64_t most = PATCH_FLOATS / column;
    const int64_t taps = input_columns(w, 1);
    if (most < taps) {
        for (int64_t x = 0; x < w->out_w; x++) {
            multiply_taps(run, row, x);
        }
        return;
    }
    // Runs of about one length. Where they would be short, patches of fewer kernel rows hold more.
    int32_t lines = w->kernel_h;
    if (rows > 1) {
        const int64_t line = input_columns(w, w->out_w) * (int64_t)run->in_count;
        const int64_t fit = PATCH_FLOATS / (line * rows);
        multiply_patch(run, row, rows, 0, w->out_w, fit < lines ? (int32_t)fit : lines);
        return;
    }
    int64_t longest = (most - taps) / w->stride_w + 1;
    while (lines > 1 && longest < w->out_w && longest < FULL_RUN) {
        lines = (lines + 1) / 2;
        longest = (PATCH_FLOATS / ((int64_t)run->in_count * lines) - taps) / w->stride_w + 1;
    }
    const int64_t runs = (w->out_w + longest - 1) / longest;
    for (int64_t i = 0; i < runs; i++) {
        const int64_t first = w->out_w * i / runs;
        multiply_patch(run, row, 1, first, w->out_w * (i + 1) / runs - first, lines);
    }
}

/// Whether every pixel of y is made of the one pixel of x at the same place.
static int is_pointwise(const ei_window *w) {
    return w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1 &&
           w->pad_top == 0 && w->pad_left == 0 && w->in_h == w->out_h && w->in_w == w->out_w;
}

static void multiply_pixels(ei_run *run, uint32_t begin, uint32_t end) {
    const ei_conv2d_f32_args *args = run->args;
    for (uint32_t row = begin; row < end;) {
        const uint32_t of_x = contiguous_rows(&args->x, row, end);
        const uint32_t of_y = contiguous_rows(&args->y, row, end);
        const uint32_t rows = of_x < of_y ? of_x : of_y;
        const float *x = (const float *)(const void *)ei_row(&args->x, row);
        run->segments[0] = x + run->in_first;
        run->gemm.pixel_step = (size_t)args->window.in_c;
        run->gemm.pixels = (size_t)rows * (size_t)args->window.out_w;
        run->gemm.y = output(run, row, 0);
        run->multiply(&run->gemm);
        row += rows;
    }
}

static void multiply_rows(ei_run *run, uint32_t begin, uint32_t end) {
    const ei_window *w = &run->args->window;
    if (is_pointwise(w)) {
        multiply_pixels(run, begin, end);
        return;
    }
    const int64_t last = input_columns(w, w->out_w) - w->pad_left;
    const int inside = w->pad_left == 0 && last <= w->in_w;
    for (uint32_t row = begin; row < end;) {
        const uint32_t rows =
            run->pairs_rows && !inside && contiguous_rows(&run->args->y, row, end) > 1 ? 2 : 1;
        if (inside) {
            multiply_in_place(run, row);
        } else {
            multiply_padded(run, row, rows);
        }
        row += rows;
    }
}

void ei_conv2d_f32_runs(const ei_conv2d_f32_args *args, int half, ei_conv2d_f32_tier tier,
                        uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    const size_t taps = (size_t)w->kernel_h * (size_t)w->kernel_w;
    if (taps > SEGMENTS) {
        if (half) {
            ei_conv2d_f32_f16_scalar(args, begin, end);
        } else {
            ei_conv2d_f32_f32_scalar(args, begin, end);
        }
        return;
    }
    const size_t group_in = (size_t)(w->in_c / args->groups);
    const size_t group_out = (size_t)(w->out_c / args->groups);
    const size_t group_tiles = (group_out + EI_TILE_CHANNELS - 1) / EI_TILE_CHANNELS;
    const size_t tile = taps * group_in * EI_TILE_CHANNELS; // weights
    const size_t fit = BLOCK_BYTES / (tile * ei_weight_bytes(half));
    const int pairs = tier.pairs_rows && pairs_rows(args);
    const size_t tiles = pairs ? LEAST_TILES_OF_PAIRS : LEAST_TILES;
    const size_t block = (fit < tiles ? tiles : fit) * EI_TILE_CHANNELS;
    ei_run run;
    ei_weights_ahead ahead = {NULL, NULL};
    run.args = args;
    run.multiply = tier.gemm;
    run.pairs_rows = pairs;
    run.in_count = group_in;
    run.gemm = (ei_packed_gemm_f32){.segments = run.segments,
                                    .segment_count = one_segment(args) ? (size_t)w->kernel_h : taps,
                                    .length = one_segment(args) ? (size_t)w->kernel_w * group_in
                                                                : group_in,
                                    .half = half,
                                    .ahead = &ahead,
                                    .k_step = EI_TILE_CHANNELS,
                                    .tile_step = tile,
                                    .y_step = args->y_step,
                                    .bounds = args->bounds};
    for (size_t group = 0; group < (size_t)args->groups; group++) {
        run.in_first = group * group_in;
        for (size_t o = 0; o < group_out; o += block) {
            const size_t first = group * group_tiles + o / EI_TILE_CHANNELS;
            run.out_first = group * group_out + o;
            run.gemm.channels = group_out - o < block ? group_out - o : block;
            run.gemm.weights =
                (const uint8_t *)args->weights + first * tile * ei_weight_bytes(half);
            run.gemm.bias = args->bias + first * EI_TILE_CHANNELS;
            const size_t after = group_out - o - run.gemm.channels;
            const size_t bytes = tile / EI_TILE_CHANNELS * ei_weight_bytes(half);
            ahead.at = (const uint8_t *)run.gemm.weights + run.gemm.channels * bytes;
            ahead.end = ahead.at + (after < block ? after : block) * bytes;
            multiply_rows(&run, begin, end);
        }
    }
}
