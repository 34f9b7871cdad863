/// Products of int8 rows and int8 weights per output channel, with sums that stay sums:
///
///     sums[m][n] += (float)(sum over k of w[n, k] * x[m][k])
///
/// The sum is an exact integer, since K is at most EI_S8C_MOST_K; it is rounded to float32 once. x is from
/// -127 to 127, as fully_connected_dynamic rounds it; w is any int8, packed [N/16][K/4][16][4]. Operands
/// are those of kernels/packed_gemm_s8_f4 with the scheme EI_S8C, whose blocks are four values of K.
#ifndef EI_KERNELS_PACKED_GEMM_S8_S8C_H
#define EI_KERNELS_PACKED_GEMM_S8_S8C_H

#include "kernels/packed_gemm_s8_f4/packed_gemm_s8_f4.h"

void ei_packed_gemm_s8_s8c_scalar(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_s8c_avx2(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_s8c_avxvnni(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_s8c_avx512vnni(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_s8c_neon(const ei_packed_gemm_s8_f4_args *args);
void ei_packed_gemm_s8_s8c_dotprod(const ei_packed_gemm_s8_f4_args *args);

#endif
