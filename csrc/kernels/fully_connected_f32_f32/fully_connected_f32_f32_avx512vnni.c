// The tier's register tiles over vectors.
#include "kernels/fully_connected_f32_f32/fully_connected_f32_f32_runs.h"

void ei_fully_connected_f32_f32_avx512vnni(const ei_fully_connected_f32_args *args, uint32_t begin,
                                           uint32_t end) {
    ei_fully_connected_f32_runs(args, 0, ei_packed_gemm_f32_avx512vnni, begin, end);
}

void ei_fully_connected_f32_f16_avx512vnni(const ei_fully_connected_f32_args *args, uint32_t begin,
                                           uint32_t end) {
    ei_fully_connected_f32_runs(args, 1, ei_packed_gemm_f32_avx512vnni, begin, end);
}
