// Vectors are pixels of a pointwise convolution.
#include "kernels/fully_connected_s8_s8c/fully_connected_s8_s8c_patches.h"

void ei_fully_connected_s8_s8c_patches(const ei_packed_gemm *gemm,
                                       const ei_fully_connected_s8_s8c_args *args, uint32_t begin,
                                       uint32_t end) {
    gemm = ei_packed_gemm_for(gemm, args->multiplier, args->n);
    if (!ei_pixel_rows_fit(gemm, args->k)) {
        ei_fully_connected_s8_s8c_scalar(args, begin, end);
        return;
    }
    const ei_pixel_rows job = {.x = args->x,
                               .y = args->y,
                               .pixels = args->vectors,
                               .k = args->k,
                               .n = args->n,
                               .y_step = args->y_step,
                               .weights = args->weights,
                               .bias = args->bias,
                               .multiplier = args->multiplier,
                               .requant = args->requant,
                               .later = args->later};
    ei_multiply_pixel_rows(gemm, &job, begin, end);
}
