// The reference.
#include "kernels/batch_matmul_f32_f32/batch_matmul_f32_f32.h"

void ei_batch_matmul_f32_f32_scalar(const ei_batch_matmul_f32_args *args) {
    const size_t k = args->k;
    const size_t column = args->transpose_b ? k : 1; // from one column of b to the next
    const size_t line = args->transpose_b ? 1 : args->n;
    for (uint32_t i = 0; i < args->m; i++) {
        const float *a = args->a + i * k;
        for (uint32_t j = 0; j < args->n; j++) {
            const float *b = args->b + j * column;
            float sum = 0.0f;
            for (size_t l = 0; l < k; l++) {
                sum = ei_exact_fma(a[l], b[l * line], sum);
            }
            args->y[(size_t)i * args->n + j] = ei_bounded_f32(sum, args->bounds);
        }
    }
}
