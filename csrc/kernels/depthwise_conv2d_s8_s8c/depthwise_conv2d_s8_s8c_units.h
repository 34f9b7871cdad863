/// How the tiers of ARM compute a depthwise convolution: 16 channels side by side, in *units*.
///
/// Rows are copied first, to a buffer on the stack: input columns that a run of output columns reads,
/// zero points beside the image, so that no tap is a special case. There they stay for later output
/// rows. A tier that has them in another form beside it may read them where they are. Of an image with many channels it is those of a *block*, 16 of them; the last block overlaps
/// the one before. Pixels of a few channels, at stride 1, are copied whole and follow each other without
/// gaps: 16 bytes are then channels of more than one pixel, and unit u has the weights of *phase* u
/// modulo their number.
///
/// The file of a tier defines, after it includes this:
///
///     plan_lines(block)     how many rows a row of output takes copies of, and what else is kept in
///                           the buffer; 0 when weights are too many
///     prepare(block)        weights, and where in the buffer they meet values
///     find_values(block, image, top, values)
///                           fetches rows for the window whose first one is `top` of the padded image;
///                           a run of rows has the same `values`, which nothing else writes
///     add_products(block, acc, values, w, x, x_step, COUNT)
///                           sums of COUNT units, x bytes behind `values` and x_step bytes apart
///
/// and before it EI_SPREAD, the bytes that a value of the buffer takes where products read it.
#ifndef EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_UNITS_H
#define EI_KERNELS_DEPTHWISE_CONV2D_S8_S8C_UNITS_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c.h"
#include "kernels/move/run.h"
#include "kernels/packed_tile.h"
#include "kernels/requantize_neon.h"
#include "kernels/unroll.h"

enum {
    UNIT = EI_TILE_CHANNELS, // bytes
    WEIGHT_BYTES = 8 * 1024,
    ROW_BYTES = 16 * 1024, // half of the L1 data cache of a Cortex-A53 or A72
    MAX_TAPS = 256,
    MAX_PHASES = 16,
#if defined(__aarch64__)
    UNITS = 4, // whose sums registers hold
#else
    UNITS = 2,
#endif
};

/// Where values that meet the same weights are.
typedef struct dw_place {
    uint32_t line;   // of the window
    uint32_t offset; // bytes from the window's first column
} dw_place;

typedef struct dw_block {
    const ei_depthwise_conv2d_s8_s8c_args *args;
    int32_t first, count; // output channels
    int32_t flat;         // pixels follow each other without gaps
    size_t width;         // bytes of a pixel in the buffer
    size_t phases;
    size_t x_step, y_step; // bytes from a unit to the next, where products read it and in rows of y
    // The tier's:
    int32_t lines;      // rows that a row of output takes, 0: none is copied, ..
    int32_t beside;     // .. and rows' worth of bytes beside them
    int32_t spacing;    // groups of rows start at multiples of it
    int32_t shift;      // rows of a group above the window
    size_t phase_bytes; // of weights
    size_t shift_bytes; // of weights, for each row that they are moved down
    size_t places;
    dw_place at[MAX_TAPS];
    int32_t nearby; // the stride, 1 or 2, of kernels of three columns side by side; else 0
    // The buffer's:
    int64_t slots;          // rows that it holds
    int32_t keep;           // row r lies in slot r % slots; if not, in that of its line
    size_t slot_bytes;      // of a row
    int64_t held[MAX_TAPS]; // by slot: the row that it has, counted from the padding on
    int64_t held_group;     // the row that the group starts at
    // A run's:
    int32_t columns;        // of output, at most
    size_t x_columns;       // of input
    size_t left, inside;    // of these: beside the image, and in it
    size_t from;            // bytes in rows of x
    int64_t low, high;      // first and last row of the padded image that the band reads
    uint8_t channels[UNIT]; // of a unit's lanes, from the first input channel; one phase only
    int32_t bias[MAX_PHASES][UNIT];
    float multiplier[MAX_PHASES][UNIT];
    int8_t weights[WEIGHT_BYTES];
    int8_t rows[ROW_BYTES + EI_SPREAD * UNIT]; // and what lies beside them
} dw_block;

typedef struct dw_sums {
    int32x4_t of[4];
} dw_sums;

static int plan_lines(dw_block *block);
static void prepare(dw_block *block);
static void find_values(dw_block *block, uint32_t image, int64_t top,
                        const int8_t *values[MAX_TAPS]);
EI_ALWAYS_INLINE void add_products(const dw_block *block, dw_sums *acc, const int8_t *const *values,
                                   const int8_t *w, size_t x, size_t x_step, const int COUNT);

// --- weights

/// Weights, bias and multipliers of the channels that are a phase's lanes.
static void gather(dw_block *block, size_t phase, size_t taps, int8_t *weights) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const size_t tile_bytes = ei_segment_bytes(taps);
    const size_t first = (size_t)block->first;
    const int aligned = first % UNIT == 0 && !block->flat;
    size_t channel[UNIT] = {0}; // read where not aligned
    if (aligned) {
        memcpy(block->bias[phase], args->bias + first, sizeof block->bias[phase]);
        memcpy(block->multiplier[phase], args->multiplier + first, sizeof block->multiplier[phase]);
    } else {
        for (size_t i = 0; i < UNIT; i++) {
            channel[i] = first + (phase * UNIT + i) % block->width;
            block->bias[phase][i] = args->bias[channel[i]];
            block->multiplier[phase][i] = args->multiplier[channel[i]];
        }
    }
    for (size_t k = 0; k < taps; k += EI_TILE_K) {
        const int8_t *tiles = args->weights + k * EI_TILE_CHANNELS;
        int8_t lanes[EI_TILE_BYTES];
        const int8_t *from = tiles + first / UNIT * tile_bytes;
        if (!aligned) {
            for (size_t i = 0; i < UNIT; i++) {
                const size_t c = channel[i];
                memcpy(lanes + EI_TILE_K * i, tiles + c / UNIT * tile_bytes + c % UNIT * EI_TILE_K,
                       EI_TILE_K);
            }
            from = lanes;
        }
        const int8x16x4_t four = vld4q_s8(from);
        for (size_t i = 0; i < EI_TILE_K && k + i < taps; i++) {
            vst1q_s8(weights + (k + i) * UNIT, four.val[i]);
        }
    }
}

// --- rows

/// A pixel's lanes where output channels share input channels.
static void spread_pixel(const dw_block *block, int8_t *to, const int8_t *pixel) {
    for (size_t i = 0; i < UNIT; i++) {
        to[i] = pixel[block->channels[i]];
    }
}

/// A few bytes: no call.
EI_ALWAYS_INLINE void fill(int8_t *to, int8x16_t value, size_t bytes) {
    size_t i = 0;
    for (; i + UNIT <= bytes; i += UNIT) {
        vst1q_s8(to + i, value);
    }
    for (; i < bytes; i++) {
        vst1q_lane_s8(to + i, value, 0);
    }
}

/// The columns of a row that a run reads.
static void copy_row(const dw_block *block, int8_t *to, const int8_t *row) {
    const size_t width = block->width;
    const size_t step = (size_t)block->args->window.in_c;
    const size_t inside = block->inside;
    const size_t right = block->x_columns - block->left - inside;
    if (block->left + right > 0) {
        const int8x16_t zeros = vdupq_n_s8(block->args->zero[0]);
        fill(to, zeros, block->left * width);
        fill(to + (block->left + inside) * width, zeros, right * width);
    }
    to += block->left * width;
    const int8_t *x = row + block->from;
    if (block->flat) {
        memcpy(to, x, inside * width);
        return;
    }
    if (block->args->multiplicity > 1) {
        for (size_t i = 0; i < inside; i++) {
            spread_pixel(block, to + i * UNIT, x + i * step);
        }
    } else if (block->count == UNIT) {
        size_t i = 0;
        for (; i + 4 <= inside; i += 4, x += 4 * step) {
            const int8x16_t a = vld1q_s8(x), b = vld1q_s8(x + step);
            const int8x16_t c = vld1q_s8(x + 2 * step), d = vld1q_s8(x + 3 * step);
            vst1q_s8(to + i * UNIT, a);
            vst1q_s8(to + (i + 1) * UNIT, b);
            vst1q_s8(to + (i + 2) * UNIT, c);
            vst1q_s8(to + (i + 3) * UNIT, d);
        }
        for (; i < inside; i++, x += step) {
            vst1q_s8(to + i * UNIT, vld1q_s8(x));
        }
    } else {
        for (size_t i = 0; i < inside; i++) {
            ei_copy_run((uint8_t *)to + i * UNIT, (const uint8_t *)x + i * step,
                        (size_t)block->count % UNIT);
        }
    }
}

/// Row `row` of the padded image, where it is.
static const int8_t *image_row(const dw_block *block, uint32_t image, int64_t row) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    return (const int8_t *)ei_image_row(&args->x, image, row - args->window.pad_top,
                                        (uint32_t)args->window.in_h, (const uint8_t *)args->zero);
}

/// The buffer's slot with row `row` of the padded image, which is the line'th that is needed.
static int8_t *fetch_line(dw_block *block, uint32_t image, int64_t row, int32_t line) {
    const int64_t slot = block->keep ? row % block->slots : line;
    int8_t *to = block->rows + (size_t)slot * block->slot_bytes;
    if (!block->keep || block->held[slot] != row) {
        block->held[slot] = row;
        copy_row(block, to, image_row(block, image, row));
    }
    return to;
}

// --- products

/// What the units of a phase share.
typedef struct dw_phase {
    const int8_t *weights;
    const int32_t *bias;
    const float *multiplier;
    ei_requant_neon requant;
} dw_phase;

static dw_phase phase_of(const dw_block *block, size_t phase) {
    const size_t shift_bytes = (size_t)block->shift * block->shift_bytes;
    return (dw_phase){.weights = block->weights + phase * block->phase_bytes + shift_bytes,
                      .bias = block->bias[phase],
                      .multiplier = block->multiplier[phase],
                      .requant = ei_requant_neon_of(&block->args->requant)};
}

/// COUNT units of a phase. Of each, `count` bytes are stored.
EI_ALWAYS_INLINE void multiply_units(const dw_block *block, const dw_phase *phase,
                                     const int8_t *const *values, size_t x, size_t x_step,
                                     int8_t *y, size_t y_step, size_t count, const int COUNT) {
    dw_sums acc[UNITS];
    const int32_t *bias = phase->bias;
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            acc[u].of[i] = vld1q_s32(bias + 4 * i);
        }
        __asm__("" : "+r"(bias)); // two registers are loaded at a time, but copied one by one
    }
    add_products(block, acc, values, phase->weights, x, x_step, COUNT);
    float32x4_t multiplier[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        multiplier[i] = vld1q_f32(phase->multiplier + 4 * i);
    }
    int8x16_t bytes[UNITS];
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            acc[u].of[i] = ei_scale_neon(acc[u].of[i], multiplier[i]);
        }
        const int16x8_t low = ei_narrow_neon(acc[u].of[0], acc[u].of[1], phase->requant.zero_point);
        const int16x8_t high =
            ei_narrow_neon(acc[u].of[2], acc[u].of[3], phase->requant.zero_point);
        bytes[u] = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
    }
    ei_clamp_neon(bytes, COUNT, &phase->requant);
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        if (count == UNIT) {
            vst1q_s8(y, bytes[u]);
        } else {
            int8_t all[UNIT];
            vst1q_s8(all, bytes[u]);
            ei_copy_run((uint8_t *)y, (const uint8_t *)all, count % UNIT);
        }
        y += y_step;
    }
}

/// A row of `columns` pixels.
static void multiply_row(const dw_block *block, const int8_t *const *values, int8_t *y,
                         int32_t columns) {
    const size_t phases = block->phases;
    const size_t bytes = (size_t)columns * block->width;
    const size_t x_step = block->x_step, y_step = block->y_step;
    const size_t units = block->flat ? bytes / UNIT : (size_t)columns; // whole ones
    const size_t count = block->flat ? (size_t)UNIT : (size_t)block->count;
    for (size_t i = 0; i < phases; i++) {
        const dw_phase phase = phase_of(block, i);
        size_t unit = i;
        if (count == UNIT) {
            // Where three are left over, one is computed a second time with them.
            const size_t short_by = phases == 1 && units >= UNITS && units % UNITS == UNITS - 1;
            const size_t last = short_by ? units - UNITS : units;
            const size_t beyond = (UNITS - 1 - short_by) * phases;
            const size_t end = units > beyond ? units - beyond : 0;
            while (unit < end) {
                const size_t at = unit < last ? unit : last;
                multiply_units(block, &phase, values, at * x_step, phases * x_step, y + at * y_step,
                               phases * y_step, UNIT, UNITS);
                unit += UNITS * phases;
            }
            for (; unit + phases < units; unit += 2 * phases) {
                multiply_units(block, &phase, values, unit * x_step, phases * x_step,
                               y + unit * y_step, phases * y_step, UNIT, 2);
            }
        }
        for (; unit * UNIT < bytes; unit += phases) {
            multiply_units(block, &phase, values, unit * x_step, 0, y + unit * y_step, 0,
                           unit < units ? count : bytes - unit * UNIT, 1);
        }
    }
}

/// Rows [begin, end) of output columns [ox, ox + columns).
static void convolve_columns(dw_block *block, int32_t ox, int32_t columns, uint32_t begin,
                             uint32_t end) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const int64_t reach = (int64_t)(w->kernel_w - 1) * w->dilation_w + 1;
    const int64_t start = (int64_t)ox * w->stride_w - w->pad_left;
    const int64_t all = (int64_t)(columns - 1) * w->stride_w + reach;
    const int64_t first = start > 0 ? (start < w->in_w ? start : w->in_w) : 0;
    const int64_t last = start + all > 0 ? (start + all < w->in_w ? start + all : w->in_w) : 0;
    block->x_columns = (size_t)all;
    block->inside = (size_t)(last > first ? last - first : 0);
    block->left = block->inside > 0 ? (size_t)(first - start) : (size_t)all;
    const size_t channel = (size_t)(block->first / args->multiplicity);
    block->from = (size_t)first * (size_t)w->in_c + channel;
    const size_t y_offset = (size_t)ox * (size_t)w->out_c + (size_t)block->first;
    uint32_t image = UINT32_MAX;
    const int8_t *values[MAX_TAPS];
    for (uint32_t row = begin; row < end; row++) {
        const int64_t oy = row % (uint32_t)w->out_h;
        if (row == begin || oy == 0) {
            image = row / (uint32_t)w->out_h;
            const int64_t rows = (int64_t)(end - row) < w->out_h - oy ? end - row : w->out_h - oy;
            block->low = oy * w->stride_h;
            block->high =
                (oy + rows - 1) * w->stride_h + (int64_t)(w->kernel_h - 1) * w->dilation_h;
            block->held_group = -1;
            for (int64_t i = 0; i < block->slots; i++) {
                block->held[i] = -1;
            }
        }
        find_values(block, image, oy * w->stride_h, values);
        multiply_row(block, values, (int8_t *)ei_row(&args->y, row) + y_offset, columns);
    }
}

// --- blocks

/// Whether `slots` rows of a run fit; then how long it is.
static int plan_columns(dw_block *block, int64_t slots) {
    const ei_window *w = &block->args->window;
    const int64_t reach = (int64_t)(w->kernel_w - 1) * w->dilation_w + 1;
    if (slots > MAX_TAPS) {
        return 0;
    }
    const int64_t fit = ROW_BYTES / (slots + block->beside) / (int64_t)block->width - reach;
    if (fit < 0) {
        return 0;
    }
    int64_t columns = fit / w->stride_w + 1;
    if (columns < w->out_w) { // runs of about the same length
        const int64_t runs = (w->out_w + columns - 1) / columns;
        columns = (w->out_w + runs - 1) / runs;
    }
    block->slots = slots;
    block->columns = (int32_t)(columns < w->out_w ? columns : w->out_w);
    block->slot_bytes =
        (size_t)((int64_t)(block->columns - 1) * w->stride_w + reach) * block->width;
    return 1;
}

static size_t greatest_common_divisor(size_t a, size_t b) {
    while (b != 0) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/// Lays out all blocks, which are alike. 0 when they do not fit the buffers.
static int plan_blocks(dw_block *block) {
    const ei_window *w = &block->args->window;
    const size_t channels = (size_t)w->out_c;
    block->width = channels;
    block->phases = channels / greatest_common_divisor(channels, UNIT);
    block->flat = block->args->multiplicity == 1 && w->stride_w == 1 && channels % UNIT != 0 &&
                  channels < 4 * UNIT && block->phases <= MAX_PHASES;
    if (!block->flat || !plan_lines(block)) {
        block->flat = 0;
        block->width = UNIT;
        block->phases = 1;
        if (!plan_lines(block)) {
            return 0;
        }
    }
    const int narrow = w->kernel_w == 3 && w->dilation_w == 1 && w->stride_w <= 2;
    block->nearby = narrow && !block->flat ? w->stride_w : 0;
    block->x_step = (size_t)UNIT * (size_t)w->stride_w * EI_SPREAD;
    block->y_step = block->flat ? (size_t)UNIT : channels;
    block->shift = 0;
    block->keep =
        block->lines > 0 && plan_columns(block, (int64_t)(block->lines - 1) * w->dilation_h + 1);
    return block->keep || plan_columns(block, block->lines);
}

/// The block that starts at channel `first`.
static void begin_block(dw_block *block, int32_t first) {
    const int32_t multiplicity = block->args->multiplicity;
    const int32_t channels = block->args->window.out_c;
    block->first = first;
    block->count = channels - first < UNIT ? channels - first : UNIT;
    if (block->flat) {
        block->count = channels;
    } else if (multiplicity > 1) {
        for (int32_t i = 0; i < UNIT; i++) {
            const int32_t channel = first + (i < block->count ? i : 0);
            block->channels[i] = (uint8_t)(channel / multiplicity - first / multiplicity);
        }
    } else if (block->count < UNIT && channels >= UNIT) {
        block->first = channels - UNIT;
        block->count = UNIT;
    }
}

static void convolve(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin, uint32_t end) {
    const ei_window *w = &args->window;
    dw_block block;
    block.args = args;
    if (!plan_blocks(&block)) {
        ei_depthwise_conv2d_s8_s8c_scalar(args, begin, end);
        return;
    }
    for (int32_t first = 0; first < w->out_c; first = block.first + block.count) {
        begin_block(&block, first);
        prepare(&block);
        for (int32_t ox = 0; ox < w->out_w; ox += block.columns) {
            const int32_t rest = w->out_w - ox;
            convolve_columns(&block, ox, rest < block.columns ? rest : block.columns, begin, end);
        }
    }
}

#endif
