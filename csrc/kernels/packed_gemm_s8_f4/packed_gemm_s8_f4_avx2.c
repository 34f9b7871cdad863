// vpmaddubsw: sums of two products of unsigned and signed bytes in int16. With weights of 0 to 24 two
// products are at most 2 * 24 * 128 = 6144 from 0, so it never saturates; 16 of them leave int16, but the
// sum with the correction is at most 16 * 12 * 128 = 24576 from 0 and so is right modulo 2^16. A block
// needs one vpmaddwd, to add the even and the odd pairs of a channel.
#include <immintrin.h>

#define EI_F4_ADD(acc, w, x)    ((acc) = _mm256_add_epi16(acc, _mm256_maddubs_epi16(w, x)))
#define EI_F4_TOTAL(acc)        _mm256_madd_epi16(acc, _mm256_set1_epi16(1))
#define EI_F4_CORRECTION(pairs) _mm_sub_epi16(_mm_setzero_si128(), pairs)
#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4_ymm.h"

void ei_packed_gemm_s8_f4_avx2(const ei_packed_gemm_s8_f4_args *args) {
    multiply(args);
}
