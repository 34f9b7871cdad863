// smull, smlal, saddw: products of two taps are summed as int16, 16 bytes at a time, and added to int32
// sums. That is twice as fast as products of int16 on cores that multiply in one of two pipelines.
//
// Two products fit int16 unless both weights are -128: then two inputs of -128 make 2^15. The second
// weight becomes -64 in such a lane, and the other -64 a tap of its own at the end.
//
// Rows are copied first, to a buffer on the stack: input columns that a run of output columns reads,
// zero points beside the image, so that no tap is a special case. There they stay for later output
// rows. Of an image with many channels it is those of a *block*, 16 of them; the last block overlaps
// the one before. Pixels of a few channels, at stride 1, are copied whole and follow each other without
// gaps: 16 bytes (a *unit*) are then channels of more than one pixel, and unit u has the weights
// of *phase* u modulo their number.
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
    MAX_TAPS = 256,        // with those at the end
    MAX_PHASES = 16,
#if defined(__aarch64__)
    UNITS = 4, // whose sums registers hold
#else
    UNITS = 2,
#endif
};

typedef struct tap {
    uint32_t line;   // of the window
    uint32_t offset; // bytes from the window's first column
} tap;

typedef struct dw_block {
    const ei_depthwise_conv2d_s8_s8c_args *args;
    int32_t first, count; // output channels
    int32_t flat;         // pixels follow each other without gaps
    size_t width;         // bytes of a pixel in the buffer
    size_t phases;
    size_t taps;            // with those at the end
    size_t x_step, y_step;  // bytes from a unit to the next, in rows of the buffer and of y
    int64_t slots;          // rows that the buffer holds
    int32_t keep;           // row r lies in slot r % slots; if not, in that of its tap
    size_t slot_bytes;      // of a row
    int32_t columns;        // output columns of the longest run
    size_t x_columns;       // input columns of a run
    size_t left, inside;    // of these: beside the image, and in it
    size_t from;            // bytes in rows of x
    uint8_t channels[UNIT]; // of a unit's lanes, from the first input channel; one phase only
    tap at[MAX_TAPS];       // where taps are
    int64_t held[MAX_TAPS]; // by slot: the row that it has, counted from the padding on
    int32_t bias[MAX_PHASES][UNIT];
    float multiplier[MAX_PHASES][UNIT];
    int8_t weights[WEIGHT_BYTES]; // [phase][tap][16]
    int8_t rows[ROW_BYTES + UNIT];
} dw_block;

// --- weights

/// Weights, bias and multipliers of the channels that are a phase's lanes.
static void gather(dw_block *block, size_t phase, size_t taps, int8_t *weights) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const size_t tile_bytes = ei_segment_bytes(taps);
    size_t channel[UNIT];
    for (size_t i = 0; i < UNIT; i++) {
        channel[i] = (size_t)block->first + (phase * UNIT + i) % block->width;
        block->bias[phase][i] = args->bias[channel[i]];
        block->multiplier[phase][i] = args->multiplier[channel[i]];
    }
    const int aligned = channel[0] % UNIT == 0 && block->phases == 1 && block->width == UNIT;
    for (size_t k = 0; k < taps; k += EI_TILE_K) {
        const int8_t *tiles = args->weights + k * EI_TILE_CHANNELS;
        int8_t lanes[EI_TILE_BYTES];
        const int8_t *from = tiles + channel[0] / UNIT * tile_bytes;
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

static int any(uint8x16_t mask) {
    const uint64x2_t halves = vreinterpretq_u64_u8(mask);
    return (vgetq_lane_u64(halves, 0) | vgetq_lane_u64(halves, 1)) != 0;
}

/// Room for taps and those at the end.
static size_t room_of(size_t taps) {
    return taps + taps / 2;
}

static void prepare(dw_block *block) {
    const ei_window *w = &block->args->window;
    const size_t taps = (size_t)w->kernel_h * (size_t)w->kernel_w;
    const size_t phase_bytes = room_of(taps) * UNIT;
    for (size_t phase = 0; phase < block->phases; phase++) {
        gather(block, phase, taps, block->weights + phase * phase_bytes);
    }
    block->taps = taps;
    const int8x16_t lowest = vdupq_n_s8(-128), half = vdupq_n_s8(-64);
    for (size_t pair = 0; pair + 1 < taps; pair += 2) {
        int used = 0;
        for (size_t phase = 0; phase < block->phases; phase++) {
            int8_t *weights = block->weights + phase * phase_bytes;
            int8_t *second = weights + (pair + 1) * UNIT;
            const int8x16_t b = vld1q_s8(second);
            const uint8x16_t mask =
                vandq_u8(vceqq_s8(vld1q_s8(weights + pair * UNIT), lowest), vceqq_s8(b, lowest));
            const int8x16_t rest = vandq_s8(vreinterpretq_s8_u8(mask), half);
            vst1q_s8(second, vsubq_s8(b, rest));
            vst1q_s8(weights + block->taps * UNIT, rest);
            used |= any(mask);
        }
        if (used) {
            block->at[block->taps++] = block->at[pair + 1];
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

/// The columns of a row that a run reads.
static void copy_row(const dw_block *block, int8_t *to, const int8_t *row) {
    const size_t width = block->width;
    const size_t step = (size_t)block->args->window.in_c;
    const size_t inside = block->inside;
    const size_t right = block->x_columns - block->left - inside;
    if (block->left + right > 0) {
        const int8_t zero = block->args->zero[0];
        memset(to, zero, block->left * width);
        memset(to + (block->left + inside) * width, zero, right * width);
    }
    to += block->left * width;
    const int8_t *x = row + block->from;
    if (block->flat) {
        memcpy(to, x, inside * width);
        return;
    }
    for (size_t i = 0; i < inside; i++, x += step, to += UNIT) {
        if (block->args->multiplicity > 1) {
            spread_pixel(block, to, x);
        } else if (block->count == UNIT) {
            vst1q_s8(to, vld1q_s8(x));
        } else {
            ei_copy_run((uint8_t *)to, (const uint8_t *)x, (size_t)block->count % UNIT);
        }
    }
}

/// The window's lines whose first one is row `top` of the padded image.
static void find_taps(dw_block *block, uint32_t image, int64_t top, const int8_t *taps[MAX_TAPS]) {
    const ei_depthwise_conv2d_s8_s8c_args *args = block->args;
    const ei_window *w = &args->window;
    const int8_t *lines[MAX_TAPS];
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        const int64_t row = top + (int64_t)ky * w->dilation_h;
        const int64_t slot = block->keep ? row % block->slots : ky;
        int8_t *line = block->rows + (size_t)slot * block->slot_bytes;
        lines[ky] = line;
        if (!block->keep || block->held[slot] != row) {
            block->held[slot] = row;
            copy_row(block, line,
                     (const int8_t *)ei_image_row(&args->x, image, row - w->pad_top,
                                                  (uint32_t)w->in_h, (const uint8_t *)args->zero));
        }
    }
    for (size_t t = 0; t < block->taps; t++) {
        taps[t] = lines[block->at[t].line] + block->at[t].offset;
    }
}

// --- products

typedef struct sums {
    int32x4_t of[4];
} sums;

EI_ALWAYS_INLINE void add_wide(sums *acc, int16x8_t low, int16x8_t high) {
    acc->of[0] = vaddw_s16(acc->of[0], vget_low_s16(low));
    acc->of[1] = vaddw_s16(acc->of[1], vget_high_s16(low));
    acc->of[2] = vaddw_s16(acc->of[2], vget_low_s16(high));
    acc->of[3] = vaddw_s16(acc->of[3], vget_high_s16(high));
}

/// COUNT units of a phase. `x` is bytes from where taps are, `count` how many bytes of each are stored.
EI_ALWAYS_INLINE void multiply_units(const dw_block *block, const int8_t *const *taps, size_t phase,
                                     size_t x, size_t x_step, int8_t *y, size_t y_step,
                                     size_t count, const int COUNT) {
    const ei_requant_neon requant = ei_requant_neon_of(&block->args->requant);
    const ei_window *window = &block->args->window;
    const size_t room = room_of((size_t)window->kernel_h * (size_t)window->kernel_w);
    const int8_t *w = block->weights + phase * room * UNIT;
    sums acc[UNITS];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            acc[u].of[i] = vld1q_s32(block->bias[phase] + 4 * i);
        }
    }
    size_t left = block->taps;
    for (; left >= 2; left -= 2) {
        const int8x16_t wa = vld1q_s8(w), wb = vld1q_s8(w + UNIT);
        const int8_t *a = taps[0] + x, *b = taps[1] + x;
        taps += 2;
        w += 2 * UNIT;
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            const int8x16_t xa = vld1q_s8(a), xb = vld1q_s8(b);
            int16x8_t low = vmull_s8(vget_low_s8(xa), vget_low_s8(wa));
            int16x8_t high = vmull_s8(vget_high_s8(xa), vget_high_s8(wa));
            low = vmlal_s8(low, vget_low_s8(xb), vget_low_s8(wb));
            high = vmlal_s8(high, vget_high_s8(xb), vget_high_s8(wb));
            add_wide(&acc[u], low, high);
            a += x_step;
            b += x_step;
        }
    }
    if (left > 0) {
        const int8x16_t wa = vld1q_s8(w);
        const int8_t *a = taps[0] + x;
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            const int8x16_t xa = vld1q_s8(a);
            add_wide(&acc[u], vmull_s8(vget_low_s8(xa), vget_low_s8(wa)),
                     vmull_s8(vget_high_s8(xa), vget_high_s8(wa)));
            a += x_step;
        }
    }
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            const float32x4_t multiplier = vld1q_f32(block->multiplier[phase] + 4 * i);
            acc[u].of[i] = ei_scale_neon(acc[u].of[i], multiplier);
        }
        const int8x16_t bytes =
            ei_pack_neon(acc[u].of[0], acc[u].of[1], acc[u].of[2], acc[u].of[3], &requant);
        if (count == UNIT) {
            vst1q_s8(y, bytes);
        } else {
            int8_t all[UNIT];
            vst1q_s8(all, bytes);
            ei_copy_run((uint8_t *)y, (const uint8_t *)all, count % UNIT);
        }
        y += y_step;
    }
}

/// A row of `columns` pixels.
static void multiply_row(const dw_block *block, const int8_t *const *taps, int8_t *y,
                         int32_t columns) {
    const size_t phases = block->phases;
    const size_t bytes = (size_t)columns * block->width;
    const size_t x_step = block->x_step, y_step = block->y_step;
    const size_t units = block->flat ? bytes / UNIT : (size_t)columns; // whole ones
    const size_t count = block->flat ? (size_t)UNIT : (size_t)block->count;
    for (size_t phase = 0; phase < phases; phase++) {
        size_t unit = phase;
        if (count == UNIT) {
            for (; unit + (UNITS - 1) * phases < units; unit += UNITS * phases) {
                multiply_units(block, taps, phase, unit * x_step, phases * x_step,
                               y + unit * y_step, phases * y_step, UNIT, UNITS);
            }
        }
        for (; unit * UNIT < bytes; unit += phases) {
            multiply_units(block, taps, phase, unit * x_step, 0, y + unit * y_step, 0,
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
    for (uint32_t row = begin; row < end; row++) {
        if (row / (uint32_t)w->out_h != image) {
            image = row / (uint32_t)w->out_h;
            for (int64_t i = 0; i < block->slots; i++) {
                block->held[i] = -1;
            }
        }
        const int8_t *taps[MAX_TAPS];
        find_taps(block, image, (int64_t)(row % (uint32_t)w->out_h) * w->stride_h, taps);
        multiply_row(block, taps, (int8_t *)ei_row(&args->y, row) + y_offset, columns);
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
    const int64_t fit = ROW_BYTES / slots / (int64_t)block->width - reach;
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

/// Lays out a block that starts at channel `first`. 0 when it does not fit the buffers.
static int plan_block(dw_block *block, int32_t first) {
    const ei_window *w = &block->args->window;
    const int32_t multiplicity = block->args->multiplicity;
    const size_t taps = (size_t)w->kernel_h * (size_t)w->kernel_w; // 2^24 at most
    const size_t channels = (size_t)w->out_c;
    const size_t phases = channels / greatest_common_divisor(channels, UNIT);
    if (room_of(taps) > MAX_TAPS) {
        return 0;
    }
    block->first = first;
    block->count = w->out_c - first < UNIT ? w->out_c - first : UNIT;
    if (multiplicity == 1 && block->count < UNIT && w->out_c >= UNIT) {
        block->first = w->out_c - UNIT;
        block->count = UNIT;
    }
    block->flat = first == 0 && multiplicity == 1 && w->stride_w == 1 && channels % UNIT != 0 &&
                  channels < 4 * UNIT && phases <= MAX_PHASES &&
                  phases * room_of(taps) * UNIT <= WEIGHT_BYTES;
    block->width = block->flat ? channels : UNIT;
    block->phases = block->flat ? phases : 1;
    block->count = block->flat ? w->out_c : block->count;
    block->x_step = block->flat ? (size_t)UNIT : (size_t)(UNIT * w->stride_w);
    block->y_step = block->flat ? (size_t)UNIT : channels;
    const int64_t lines = (int64_t)(w->kernel_h - 1) * w->dilation_h + 1;
    block->keep = plan_columns(block, lines);
    if (!block->keep && !plan_columns(block, w->kernel_h)) {
        return 0;
    }
    for (int32_t i = 0; i < UNIT; i++) {
        const int32_t channel = first + (i < block->count ? i : 0);
        block->channels[i] = (uint8_t)(channel / multiplicity - first / multiplicity);
    }
    size_t t = 0;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            const size_t column = (size_t)kx * (size_t)w->dilation_w;
            block->at[t++] = (tap){(uint32_t)ky, (uint32_t)(column * block->width)};
        }
    }
    return 1;
}

void ei_depthwise_conv2d_s8_s8c_neon(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end) {
    const ei_window *w = &args->window;
    dw_block block;
    block.args = args;
    for (int32_t first = 0; first < w->out_c; first = block.first + block.count) {
        // All blocks but the first have the same buffers, and it is not smaller.
        if (!plan_block(&block, first)) {
            ei_depthwise_conv2d_s8_s8c_scalar(args, begin, end);
            return;
        }
        prepare(&block);
        for (int32_t ox = 0; ox < w->out_w; ox += block.columns) {
            const int32_t rest = w->out_w - ox;
            convolve_columns(&block, ox, rest < block.columns ? rest : block.columns, begin, end);
        }
    }
}
