// Two ways through int8 and uint8, as they lie in memory. Sums of neighbours in x (a row each): pairs
// are added to int16 (uadalp), and these to int32 in time. Sums that begin at neighbours in x (a column
// each): a vector of int16 sums, from 256 terms on of int32; where the last vector is not whole, it
// overlaps the one before. Anything else is the scalar version's.
#include <arm_neon.h>

#include "kernels/reduce_sum/reduce_sum.h"
#include "kernels/requantize_neon.h"
#include "kernels/unroll.h"

#define EI_LEAST_COLUMNS 8

// Terms whose int8 sums int16 holds.
#define EI_SHORT_TERMS 256

// Pairs of bytes whose sums 16 bits hold: 128 * 510 < 2^16.
#define EI_SHORT_PAIRS 128

/// Sum of unsigned bytes, each with its bits flipped first; modulo 2^32.
static uint32_t sum_bytes(const uint8_t *x, size_t count, uint8_t flip) {
    const uint8x16_t flips = vdupq_n_u8(flip);
    uint32x4_t sums = vdupq_n_u32(0);
    size_t i = 0;
    while (i + 16 <= count) {
        const size_t whole = (count - i) / 16;
        size_t vectors = whole < EI_SHORT_PAIRS ? whole : EI_SHORT_PAIRS;
        uint16x8_t pairs = vdupq_n_u16(0);
        for (; vectors > 0; vectors--, i += 16) {
            pairs = vpadalq_u8(pairs, veorq_u8(vld1q_u8(x + i), flips));
        }
        sums = vpadalq_u16(sums, pairs);
    }
    if (i + 8 <= count) {
        const uint8x8_t bytes = veor_u8(vld1_u8(x + i), vget_low_u8(flips));
        sums = vaddw_u16(sums, vpaddl_u8(bytes));
        i += 8;
    }
    const uint64x2_t halves = vpaddlq_u32(sums);
    uint32_t sum = (uint32_t)(vgetq_lane_u64(halves, 0) + vgetq_lane_u64(halves, 1));
    for (; i < count; i++) {
        sum += (uint8_t)(x[i] ^ flip);
    }
    return sum;
}

/// Each sum is of rows of terms[2] neighbours. `flip` makes x unsigned; `offset` is taken away from
/// a sum.
static void sum_rows(const ei_reduce_sum_args *args, uint8_t flip, uint32_t offset) {
    for (size_t n = 0; n < args->count; n++) {
        const uint8_t *x = (const uint8_t *)args->x + n * args->step;
        uint32_t sum = 0;
        for (size_t i = 0; i < args->terms[0]; i++) {
            for (size_t j = 0; j < args->terms[1]; j++) {
                const uint8_t *row = x + i * args->strides[0] + j * args->strides[1];
                sum += sum_bytes(row, args->terms[2], flip);
            }
        }
        const float product = (float)(int32_t)(sum - offset) * args->multiplier;
        ((uint8_t *)args->y)[n] = (uint8_t)ei_requantize(product + args->offset, &args->out);
    }
}

typedef struct column_constants {
    int8x16_t flip;   // makes x signed
    int32x4_t offset; // added to a sum
    float32x4_t multiplier, addend;
    float32x4_t low, high;
} column_constants;

EI_ALWAYS_INLINE int32x4_t rescale(int32x4_t sum, const column_constants *c) {
    const float32x4_t exact = vcvtq_f32_s32(vaddq_s32(sum, c->offset));
    const float32x4_t scaled = vaddq_f32(vmulq_f32(exact, c->multiplier), c->addend);
    return ei_round_neon(vminq_f32(vmaxq_f32(scaled, c->low), c->high));
}

/// 16 or 8 columns.
EI_ALWAYS_INLINE void sum_columns(const ei_reduce_sum_args *args, const column_constants *c,
                                  size_t column, int whole) {
    const size_t *terms = args->terms;
    const size_t *strides = args->strides;
    int32x4_t sums[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        sums[i] = vdupq_n_s32(0);
    }
    int16x8_t few[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
    uint32_t added = 0; // to few
    for (size_t i = 0; i < terms[0]; i++) {
        for (size_t j = 0; j < terms[1]; j++) {
            const int8_t *x = (const int8_t *)args->x + column + i * strides[0] + j * strides[1];
            for (size_t k = 0; k < terms[2]; k++, x += strides[2]) {
                if (whole) {
                    const int8x16_t values = veorq_s8(vld1q_s8(x), c->flip);
                    few[0] = vaddw_s8(few[0], vget_low_s8(values));
                    few[1] = vaddw_s8(few[1], vget_high_s8(values));
                } else {
                    few[0] = vaddw_s8(few[0], veor_s8(vld1_s8(x), vget_low_s8(c->flip)));
                }
                const int last = i + 1 == terms[0] && j + 1 == terms[1] && k + 1 == terms[2];
                if (++added == EI_SHORT_TERMS || last) {
                    EI_UNROLL
                    for (int n = 0; n < 2; n++) {
                        sums[2 * n] = vaddw_s16(sums[2 * n], vget_low_s16(few[n]));
                        sums[2 * n + 1] = vaddw_s16(sums[2 * n + 1], vget_high_s16(few[n]));
                        few[n] = vdupq_n_s16(0);
                    }
                    added = 0;
                }
            }
        }
    }
    EI_UNROLL
    for (int n = 0; n < 4; n++) {
        sums[n] = rescale(sums[n], c);
    }
    // Already within the type: the lowest byte of each.
    const int16x8_t ab = vcombine_s16(vmovn_s32(sums[0]), vmovn_s32(sums[1]));
    const int16x8_t cd = vcombine_s16(vmovn_s32(sums[2]), vmovn_s32(sums[3]));
    int8_t *y = (int8_t *)args->y + column;
    vst1_s8(y, vmovn_s16(ab));
    if (whole) {
        vst1_s8(y + 8, vmovn_s16(cd));
    }
}

/// What both types do; `flip` makes x signed, and `offset` is then added to a sum.
static void sum_all_columns(const ei_reduce_sum_args *args, uint8_t flip, int32_t offset) {
    const column_constants c = {
        .flip = vdupq_n_s8((int8_t)flip),
        .offset = vdupq_n_s32(offset),
        .multiplier = vdupq_n_f32(args->multiplier),
        .addend = vdupq_n_f32(args->offset),
        .low = vdupq_n_f32((float)args->out.clamp_min),
        .high = vdupq_n_f32((float)args->out.clamp_max),
    };
    const size_t count = args->count;
    for (size_t n = 0; count >= 16 && n < count; n += 16) {
        sum_columns(args, &c, n + 16 <= count ? n : count - 16, 1);
    }
    for (size_t n = 0; count < 16 && n < count; n += 8) {
        sum_columns(args, &c, n + 8 <= count ? n : count - 8, 0);
    }
}

static uint32_t terms_of(const ei_reduce_sum_args *args) {
    return (uint32_t)(args->terms[0] * args->terms[1] * args->terms[2]); // 2^23 at most
}

static int has_rows(const ei_reduce_sum_args *args) {
    return args->strides[2] == 1 && args->terms[2] > 1;
}

static int has_columns(const ei_reduce_sum_args *args) {
    return args->step == 1 && args->count >= EI_LEAST_COLUMNS;
}

void ei_reduce_sum_s8_neon(const ei_reduce_sum_args *args) {
    if (has_rows(args)) {
        sum_rows(args, 0x80, 128 * terms_of(args));
    } else if (has_columns(args)) {
        sum_all_columns(args, 0, 0);
    } else {
        ei_reduce_sum_s8_scalar(args);
    }
}

void ei_reduce_sum_u8_neon(const ei_reduce_sum_args *args) {
    if (has_rows(args)) {
        sum_rows(args, 0, 0);
    } else if (has_columns(args)) {
        sum_all_columns(args, 0x80, (int32_t)(128 * terms_of(args)));
    } else {
        ei_reduce_sum_u8_scalar(args);
    }
}
