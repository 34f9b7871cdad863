// Weights of any value: packed_gemm_smull.h with one group at a time.
#define EI_PAIRS 0
#include "kernels/packed_gemm/packed_gemm_smull.h"

const ei_packed_gemm ei_packed_gemm_neon = {.value_bytes = 1,
                                            .reads_input = 1,
                                            .tile_pixels = PIXELS,
                                            .copy = copy_values,
                                            .bias = copy_bias,
                                            .multiply = multiply};
