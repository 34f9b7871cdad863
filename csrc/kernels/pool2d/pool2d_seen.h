/// The part of a pool's window that lies inside the image.
#ifndef EI_KERNELS_POOL2D_SEEN_H
#define EI_KERNELS_POOL2D_SEEN_H

#include "kernels/pool2d/pool2d.h"
#include "kernels/pool2d/pool2d_mean.h"

typedef struct ei_seen {
    // Rows: the first one's place in the ring, how many, and how far apart.
    uint32_t line, lines, line_step;
    // Pixels of a row: the first one's byte, how many, and how many bytes apart.
    size_t column, columns, column_step;
} ei_seen;

/// What every window of output row r has in common.
static inline ei_seen ei_seen_lines(const ei_window *w, const ei_rows *x, uint32_t r,
                                    size_t pixel_bytes) {
    const uint32_t image = r / (uint32_t)w->out_h;
    const int64_t y0 = (int64_t)(r % (uint32_t)w->out_h) * w->stride_h - w->pad_top;
    const ei_taps down = ei_taps_inside(y0, w->kernel_h, w->dilation_h, w->in_h);
    const int64_t y = y0 + (int64_t)down.begin * w->dilation_h;
    return (ei_seen){
        .line = (image * (uint32_t)w->in_h + (uint32_t)y) % x->ring,
        .lines = (uint32_t)(down.end - down.begin),
        .line_step = (uint32_t)w->dilation_h,
        .column_step = (size_t)w->dilation_w * pixel_bytes,
    };
}

/// Adds what is window ox's own. Most windows lie inside, and need no division.
static inline void ei_seen_columns(ei_seen *seen, const ei_window *w, int32_t ox,
                                   size_t pixel_bytes) {
    const int64_t x0 = (int64_t)ox * w->stride_w - w->pad_left;
    const int64_t reach = (int64_t)(w->kernel_w - 1) * w->dilation_w;
    if (x0 >= 0 && x0 + reach < w->in_w) {
        seen->column = (size_t)x0 * pixel_bytes;
        seen->columns = (size_t)w->kernel_w;
        return;
    }
    const ei_taps across = ei_taps_inside(x0, w->kernel_w, w->dilation_w, w->in_w);
    seen->column = (size_t)(x0 + (int64_t)across.begin * w->dilation_w) * pixel_bytes;
    seen->columns = (size_t)(across.end - across.begin);
}

/// The place in the ring of the next row that a window sees. With more than one to see, a step is
/// less than the ring.
static inline uint32_t ei_seen_next_line(const ei_seen *seen, const ei_rows *x, uint32_t line) {
    line += seen->line_step;
    return line < x->ring ? line : line - x->ring;
}

static inline ei_mean ei_mean_over(const ei_avg_pool2d_args *args, const ei_seen *seen) {
    const int64_t inside = (int64_t)seen->lines * (int64_t)seen->columns;
    const int64_t all = (int64_t)args->window.kernel_h * args->window.kernel_w;
    return ei_mean_make(args->all_taps ? all : inside, inside * args->in_zero_point,
                        args->multiplier);
}

#endif
