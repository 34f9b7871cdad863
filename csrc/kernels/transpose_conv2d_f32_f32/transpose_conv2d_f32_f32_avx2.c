// The tier's register tiles over the pixels that a tap meets.
#include "kernels/transpose_conv2d_f32_f32/transpose_conv2d_f32_f32_taps.h"

void ei_transpose_conv2d_f32_f32_avx2(const ei_transpose_conv2d_f32_args *args, uint32_t begin,
                                      uint32_t end) {
    ei_transpose_conv2d_f32_taps(args, ei_packed_gemm_f32_avx2, begin, end);
}
