// fmla on 128 bits: 24 of the 32 registers are accumulators, of 6 pixels by 16 channels. A vector alone
// has 16 of them, 64 channels. 64 bit only: NEON of 32 bit flushes subnormal numbers to zero.
#if defined(__aarch64__)
#include "kernels/packed_gemm_f32/packed_gemm_f32_tile.h"

EI_GEMM_COLUMNS(columns_of_6, 6, 1)
EI_GEMM_COLUMNS(columns_of_3, 3, 1)
EI_GEMM_COLUMNS(columns_of_1, 1, 4)

void ei_packed_gemm_f32_neon(const ei_packed_gemm_f32 *gemm) {
    static const size_t sizes[] = {6, 3, 1};
    for (size_t pixel = 0; pixel < gemm->pixels;) {
        const size_t rows = ei_gemm_rows(gemm, &pixel, sizes);
        if (rows == 6) {
            columns_of_6(gemm, pixel);
        } else if (rows == 3) {
            columns_of_3(gemm, pixel);
        } else {
            columns_of_1(gemm, pixel);
        }
        pixel += rows;
    }
}
#else
typedef int ei_packed_gemm_f32_is_not_on_32_bit;
#endif
