// vpdpbusd on 256 bits: four products of unsigned and signed bytes added to an int32. |sum| is at most
// 32 * 24 * 128.
#include <immintrin.h>

#include "kernels/dot_avxvnni.h"

#define EI_F4_ROWS              8
#define EI_F4_ADD(acc, w, x)    ((acc) = ei_dot_avxvnni(acc, w, x))
#define EI_F4_TOTAL(acc)        (acc)
#define EI_F4_CORRECTION(pairs) _mm_madd_epi16(pairs, _mm_set1_epi16(-1))
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_ymm.h"

void ei_packed_gemm_s8_f4_avxvnni(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
