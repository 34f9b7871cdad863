// The tier's register tiles over the pixels that a tap meets.
#if defined(__aarch64__)
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32_taps.h"

void ei_transpose_conv2d_f32_f32_neon(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end) {
    ei_transpose_conv2d_f32_taps(args, ei_packed_gemm_f32_neon, begin, end);
}
#else
typedef int ei_transpose_conv2d_f32_f32_is_not_on_32_bit;
#endif
