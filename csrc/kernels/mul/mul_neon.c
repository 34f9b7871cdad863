// smull: differences from the zero points fit int16, their products int32.
#include <arm_neon.h>

#include "kernels/mul/mul_blocks.h"
#include "kernels/requantize_neon.h"
#include "kernels/unroll.h"

static void mul_s8(const ei_binary_blocks *blocks, const void *mul_args) {
    const ei_mul_args *args = mul_args;
    const int8x8_t a_zero_point = vdup_n_s8((int8_t)args->a_zero_point);
    const int8x8_t b_zero_point = vdup_n_s8((int8_t)args->b_zero_point);
    const float32x4_t multiplier = vdupq_n_f32(args->multiplier);
    const ei_requant_neon requant = ei_requant_neon_of(&args->out);
    const int8_t *a = blocks->a;
    const int8_t *b = blocks->b;
    int8_t *y = blocks->y;
    for (size_t n = 0; n < blocks->count; n++) {
        for (size_t i = 0; i < EI_BLOCK; i += 16) {
            int32x4_t v[4];
            EI_UNROLL
            for (int half = 0; half < 2; half++) {
                const int16x8_t a16 = vsubl_s8(vld1_s8(a + i + 8 * half), a_zero_point);
                const int16x8_t b16 = vsubl_s8(vld1_s8(b + i + 8 * half), b_zero_point);
                v[2 * half] = vmull_s16(vget_low_s16(a16), vget_low_s16(b16));
                v[2 * half + 1] = vmull_s16(vget_high_s16(a16), vget_high_s16(b16));
            }
            EI_UNROLL
            for (int k = 0; k < 4; k++) {
                v[k] = ei_scale_neon(v[k], multiplier);
            }
            vst1q_s8(y + i, ei_pack_neon(v[0], v[1], v[2], v[3], &requant));
        }
        a += blocks->a_step;
        b += blocks->b_step;
        y += EI_BLOCK;
    }
}

void ei_mul_s8_neon(const ei_binary_run *run, const ei_mul_args *args) {
    ei_binary_in_blocks(run, sizeof(int8_t), mul_s8, args);
}
