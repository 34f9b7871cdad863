// vfmadd231ps on 256 bits: 12 of the 16 registers are accumulators, of 6 pixels by 16 channels or of 3
// by 32; 8 are enough where 4 pixels by 16 channels leave none over. A vector alone has 8 of them, 64
// channels, and is bounded by reading weights.
#include "kernels/packed_gemm_f32/packed_gemm_f32_tile.h"

EI_GEMM_COLUMNS(columns_of_6, 6, 1)
EI_GEMM_COLUMNS(columns_of_4, 4, 1)
EI_GEMM_COLUMNS(columns_of_3, 3, 2)
EI_GEMM_COLUMNS(columns_of_1, 1, 4)

void ei_packed_gemm_f32_avx2(const ei_packed_gemm_f32 *gemm) {
    // What comes first of so many pixels: all numbers but 1, 2 and 5 are sums of 6, 4 and 3.
    static const uint8_t first[12] = {0, 1, 1, 3, 4, 4, 6, 4, 4, 6, 6, 4};
    for (size_t pixel = 0; pixel < gemm->pixels;) {
        const size_t left = gemm->pixels - pixel;
        const size_t rows = left < 12 ? first[left] : 6;
        if (rows == 6) {
            columns_of_6(gemm, pixel);
        } else if (rows == 4) {
            columns_of_4(gemm, pixel);
        } else if (rows == 3) {
            columns_of_3(gemm, pixel);
        } else {
            columns_of_1(gemm, pixel);
        }
        pixel += rows;
    }
}
