// Weights without -128, which most models have: packed_gemm_smull.h with two groups at a time, three
// instructions in place of four.
#define EI_PAIRS 1
#include "kernels/packed_gemm/packed_gemm_smull.h"

static int lacks_lowest(const int8_t *weights, size_t bytes) {
    int8x16_t lowest[4];
    EI_UNROLL
    for (int i = 0; i < 4; i++) {
        lowest[i] = vdupq_n_s8(0);
    }
    for (const int8_t *end = weights + bytes; weights < end; weights += EI_TILE_BYTES) {
        EI_UNROLL
        for (int i = 0; i < 4; i++) {
            lowest[i] = vminq_s8(lowest[i], vld1q_s8(weights + 16 * i));
        }
    }
    int8_t all[16];
    vst1q_s8(all, vminq_s8(vminq_s8(lowest[0], lowest[1]), vminq_s8(lowest[2], lowest[3])));
    int least = 0;
    for (int i = 0; i < 16; i++) {
        least = all[i] < least ? all[i] : least;
    }
    return least > INT8_MIN;
}

const ei_packed_gemm ei_packed_gemm_pairs_neon = {.value_bytes = 1,
                                                  .reads_input = 1,
                                                  .tile_pixels = PIXELS,
                                                  .copy = copy_values,
                                                  .bias = copy_bias,
                                                  .multiply = multiply,
                                                  .takes = lacks_lowest,
                                                  .any_weights = &ei_packed_gemm_neon};
