// mla of int32: 16 elements at a time, narrowed by instructions that saturate. (Compilers, left to
// add_blocks.h, clamp sums as int32.)
#include <arm_neon.h>

#include "kernels/add/add_blocks.h"
#include "kernels/requantize_neon.h"

EI_ADD_BLOCKS(add_s16, int16_t, int64_t)

typedef struct add_constants {
    int32x4_t a_multiplier, b_multiplier;
    int32x4_t bias;
    int32x4_t shift; // to the left: negative
} add_constants;

/// Four sums, shifted. Steps may wrap, the sum does not.
EI_ALWAYS_INLINE int32x4_t add_4(int16x4_t a, int16x4_t b, const add_constants *c) {
    const int32x4_t first = vmlaq_s32(c->bias, vmovl_s16(a), c->a_multiplier);
    return vshlq_s32(vmlaq_s32(first, vmovl_s16(b), c->b_multiplier), c->shift);
}

static void add_s8(const ei_binary_blocks *blocks, const void *add_args) {
    const ei_add_args *args = add_args;
    const add_constants c = {
        .a_multiplier = vdupq_n_s32(args->a_multiplier),
        .b_multiplier = vdupq_n_s32(args->b_multiplier),
        .bias = vdupq_n_s32((int32_t)args->bias),
        .shift = vdupq_n_s32(-(int32_t)args->shift),
    };
    const ei_requant out = {args->zero_point, args->clamp_min, args->clamp_max};
    const ei_requant_neon requant = ei_requant_neon_of(&out);
    const int8_t *a = blocks->a;
    const int8_t *b = blocks->b;
    int8_t *y = blocks->y;
    for (size_t n = 0; n < blocks->count; n++) {
        for (size_t i = 0; i < EI_BLOCK; i += 16) {
            const int8x16_t a8 = vld1q_s8(a + i), b8 = vld1q_s8(b + i);
            const int16x8_t a0 = vmovl_s8(vget_low_s8(a8)), a1 = vmovl_s8(vget_high_s8(a8));
            const int16x8_t b0 = vmovl_s8(vget_low_s8(b8)), b1 = vmovl_s8(vget_high_s8(b8));
            const int8x16_t bytes =
                ei_pack_neon(add_4(vget_low_s16(a0), vget_low_s16(b0), &c),
                             add_4(vget_high_s16(a0), vget_high_s16(b0), &c),
                             add_4(vget_low_s16(a1), vget_low_s16(b1), &c),
                             add_4(vget_high_s16(a1), vget_high_s16(b1), &c), &requant);
            vst1q_s8(y + i, bytes);
        }
        a += blocks->a_step;
        b += blocks->b_step;
        y += EI_BLOCK;
    }
}

void ei_add_s8_neon(const ei_binary_run *run, const ei_add_args *args) {
    ei_binary_in_blocks(run, sizeof(int8_t), add_s8, args);
}

void ei_add_s16_neon(const ei_binary_run *run, const ei_add_args *args) {
    ei_binary_in_blocks(run, sizeof(int16_t), add_s16, args);
}
