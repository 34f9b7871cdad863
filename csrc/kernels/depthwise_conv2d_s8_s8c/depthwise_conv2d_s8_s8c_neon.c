// smull, smlal, saddw: products of two taps are summed as int16, 16 bytes at a time, and added to int32
// sums. That is twice as fast as products of int16 on cores that multiply in one of two pipelines.
//
// Two products fit int16 unless both weights are -128: then two inputs of -128 make 2^15. The second
// weight becomes -64 in such a lane, and the other -64 a tap of its own behind the others.
#define EI_SPREAD 1
#include "kernels/depthwise_conv2d_s8_s8c/depthwise_conv2d_s8_s8c_units.h"

static size_t taps_of(const dw_block *block) {
    const ei_window *w = &block->args->window;
    return (size_t)w->kernel_h * (size_t)w->kernel_w; // 2^24 at most
}

static int plan_lines(dw_block *block) {
    const size_t taps = taps_of(block);
    block->lines = block->args->window.kernel_h;
    block->beside = 0;
    block->spacing = 1;
    block->shift_bytes = 0;
    block->phase_bytes = (taps + taps / 2) * UNIT;
    return taps + taps / 2 <= MAX_TAPS && block->phases * block->phase_bytes <= WEIGHT_BYTES;
}

static int any(uint8x16_t mask) {
    const uint64x2_t halves = vreinterpretq_u64_u8(mask);
    return (vgetq_lane_u64(halves, 0) | vgetq_lane_u64(halves, 1)) != 0;
}

static void prepare(dw_block *block) {
    const ei_window *w = &block->args->window;
    const size_t taps = taps_of(block);
    block->places = 0;
    block->nearby = w->kernel_h == 3 ? block->nearby : 0;
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        for (int32_t kx = 0; kx < w->kernel_w; kx++) {
            const size_t offset = (size_t)kx * (size_t)w->dilation_w * block->width;
            block->at[block->places++] = (dw_place){(uint32_t)ky, (uint32_t)offset};
        }
    }
    for (size_t phase = 0; phase < block->phases; phase++) {
        gather(block, phase, taps, block->weights + phase * block->phase_bytes);
    }
    const int8x16_t lowest = vdupq_n_s8(-128), half = vdupq_n_s8(-64);
    for (size_t pair = 0; pair + 1 < taps; pair += 2) {
        int used = 0;
        for (size_t phase = 0; phase < block->phases; phase++) {
            int8_t *weights = block->weights + phase * block->phase_bytes;
            int8_t *second = weights + (pair + 1) * UNIT;
            const int8x16_t b = vld1q_s8(second);
            const uint8x16_t mask =
                vandq_u8(vceqq_s8(vld1q_s8(weights + pair * UNIT), lowest), vceqq_s8(b, lowest));
            const int8x16_t rest = vandq_s8(vreinterpretq_s8_u8(mask), half);
            vst1q_s8(second, vsubq_s8(b, rest));
            vst1q_s8(weights + block->places * UNIT, rest);
            used |= any(mask);
        }
        if (used) {
            block->at[block->places++] = block->at[pair + 1];
        }
    }
}

static void find_values(dw_block *block, uint32_t image, int64_t top,
                        const int8_t *values[MAX_TAPS]) {
    const ei_window *w = &block->args->window;
    const int8_t *lines[MAX_TAPS];
    for (int32_t ky = 0; ky < w->kernel_h; ky++) {
        lines[ky] = fetch_line(block, image, top + (int64_t)ky * w->dilation_h, ky);
    }
    for (size_t i = 0; i < block->places; i++) {
        values[i] = lines[block->at[i].line] + block->at[i].offset;
    }
}

EI_ALWAYS_INLINE void add_wide(dw_sums *acc, int16x8_t low, int16x8_t high) {
    acc->of[0] = vaddw_s16(acc->of[0], vget_low_s16(low));
    acc->of[1] = vaddw_s16(acc->of[1], vget_high_s16(low));
    acc->of[2] = vaddw_s16(acc->of[2], vget_low_s16(high));
    acc->of[3] = vaddw_s16(acc->of[3], vget_high_s16(high));
}

/// Two taps of a unit.
EI_ALWAYS_INLINE void add_pair(dw_sums *acc, int8x16_t xa, int8x16_t xb, int8x16_t wa,
                               int8x16_t wb) {
    int16x8_t low = vmull_s8(vget_low_s8(xa), vget_low_s8(wa));
    int16x8_t high = vmull_s8(vget_high_s8(xa), vget_high_s8(wa));
    low = vmlal_s8(low, vget_low_s8(xb), vget_low_s8(wb));
    high = vmlal_s8(high, vget_high_s8(xb), vget_high_s8(wb));
    add_wide(acc, low, high);
}

EI_ALWAYS_INLINE void add_single(dw_sums *acc, int8x16_t x, int8x16_t w) {
    add_wide(acc, vmull_s8(vget_low_s8(x), vget_low_s8(w)),
             vmull_s8(vget_high_s8(x), vget_high_s8(w)));
}

/// The nine taps of 3x3 kernels whose columns lie side by side: a column of the image is at a constant
/// distance from the unit, and loaded once for all units that read it.
EI_ALWAYS_INLINE void add_nine(dw_sums *acc, const int8_t *const *values, const int8_t *w, size_t x,
                               const int STRIDE, const int COUNT) {
    const int8_t *row[3] = {values[0] + x, values[3] + x, values[6] + x};
    EI_UNROLL
    for (int tap = 0; tap < 8; tap += 2) {
        const int8x16_t wa = vld1q_s8(w + tap * UNIT), wb = vld1q_s8(w + (tap + 1) * UNIT);
        const int8_t *a = row[tap / 3] + tap % 3 * UNIT;
        const int8_t *b = row[(tap + 1) / 3] + (tap + 1) % 3 * UNIT;
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            const int at = u * STRIDE * UNIT;
            add_pair(&acc[u], vld1q_s8(a + at), vld1q_s8(b + at), wa, wb);
        }
    }
    const int8x16_t wa = vld1q_s8(w + 8 * UNIT);
    EI_UNROLL
    for (int u = 0; u < COUNT; u++) {
        add_single(&acc[u], vld1q_s8(row[2] + (2 + u * STRIDE) * UNIT), wa);
    }
}

EI_ALWAYS_INLINE void add_products(const dw_block *block, dw_sums *acc, const int8_t *const *values,
                                   const int8_t *w, size_t x, size_t x_step, const int COUNT) {
    size_t left = block->places;
    if (block->nearby != 0) {
        if (block->nearby == 2 && COUNT > 1) {
            add_nine(acc, values, w, x, 2, COUNT);
        } else {
            add_nine(acc, values, w, x, 1, COUNT);
        }
        values += 9;
        w += 9 * UNIT;
        left -= 9; // of pairs of -128
    }
    for (; left >= 2; left -= 2) {
        const int8x16_t wa = vld1q_s8(w), wb = vld1q_s8(w + UNIT);
        const int8_t *a = values[0], *b = values[1];
        values += 2;
        w += 2 * UNIT;
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            const size_t at = x + (size_t)u * x_step;
            add_pair(&acc[u], vld1q_s8(a + at), vld1q_s8(b + at), wa, wb);
        }
    }
    if (left > 0) {
        const int8x16_t wa = vld1q_s8(w);
        const int8_t *a = values[0];
        EI_UNROLL
        for (int u = 0; u < COUNT; u++) {
            add_single(&acc[u], vld1q_s8(a + x + (size_t)u * x_step), wa);
        }
    }
}

void ei_depthwise_conv2d_s8_s8c_neon(const ei_depthwise_conv2d_s8_s8c_args *args, uint32_t begin,
                                     uint32_t end) {
    convolve(args, begin, end);
}
