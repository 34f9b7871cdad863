// The tier's register tiles over runs of pixels.
#include "kernels/conv2d_f32_f32/conv2d_f32_f32_runs.h"

static const ei_conv2d_f32_tier tier = {.gemm = ei_packed_gemm_f32_avx2, .pairs_rows = 0};

void ei_conv2d_f32_f32_avx2(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end) {
    ei_conv2d_f32_runs(args, 0, tier, begin, end);
}

void ei_conv2d_f32_f16_avx2(const ei_conv2d_f32_args *args, uint32_t begin, uint32_t end) {
    ei_conv2d_f32_runs(args, 1, tier, begin, end);
}
