// vfmadd231ps on 512 bits: 28 of the 32 registers are accumulators, of 14 pixels by 32 channels or of
// 7 by 64. A vector alone has 8 of them, 128 channels, and is bounded by reading weights.
#include "kernels/packed_gemm_f32/packed_gemm_f32_tile.h"

EI_GEMM_COLUMNS(columns_of_14, 14, 2)
EI_GEMM_COLUMNS(columns_of_7, 7, 4)
EI_GEMM_COLUMNS(columns_of_4, 4, 4)
EI_GEMM_COLUMNS(columns_of_1, 1, 8)

void ei_packed_gemm_f32_avx512vnni(const ei_packed_gemm_f32 *gemm) {
    static const size_t sizes[] = {14, 7, 4, 1};
    for (size_t pixel = 0; pixel < gemm->pixels;) {
        const size_t rows = ei_gemm_rows(gemm, &pixel, sizes);
        if (rows == 14) {
            columns_of_14(gemm, pixel);
        } else if (rows == 7) {
            columns_of_7(gemm, pixel);
        } else if (rows == 4) {
            columns_of_4(gemm, pixel);
        } else {
            columns_of_1(gemm, pixel);
        }
        pixel += rows;
    }
}
